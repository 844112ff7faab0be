//! The world as one planning sees it: plain values. What is not here, no decision can depend on.
//!
//! The controller fills it from its watches (projections keep its memory small), from the serving pods' answers and
//! from its clock. Everything in `objects` lies in the Mirror's namespace.

mod claim;
mod job;
mod meta;
mod pod;
mod route;
mod served;
mod slice;
mod warning;

use fleet_api::Upstream;
use fleet_api::mirror::PodSettings;
use jiff::Timestamp;

use crate::object::Owned;
use crate::pods::PodsAllowed;
use crate::routes::RoutesAllowed;

pub use claim::{SeenClaim, VolumePhase};
pub use job::{JobEnd, SeenJob};
pub use meta::{SeenApplied, SeenMeta};
pub use pod::{PodRole, RunEnd, SeenPod, Trouble, last_line};
pub use route::SeenRoute;
pub use served::Answer;
pub use slice::SeenSlice;
pub use warning::SeenWarning;

/// Everything that planning one Mirror may look at, besides the Mirror itself.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The instant that all decisions are made for.
    pub now: Timestamp,
    /// The Upstream that `upstreamRef` names; none if there is no such object.
    pub upstream: Option<Upstream>,
    /// Why the Upstream of that name cannot be read, if there is one that cannot.
    pub upstream_error: Option<String>,
    /// Objects that carry our labels for this Mirror, and every object that stands under one of the names that
    /// [`crate::wanted_names`] gives, whoever made it.
    pub objects: SeenObjects,
    /// What each serving pod answered when it was last asked, by pod name. A pod that there is no way to ask is absent.
    pub answers: std::collections::BTreeMap<String, Answer>,
    /// Whether it may be us who cannot reach the pods: that one cannot be asked tells nothing of it then.
    pub cut_off: bool,
    /// Why pods that were to be evicted may not go yet, by their uid.
    pub refusals: std::collections::BTreeMap<String, Refusal>,
    /// The other Mirrors of the same Upstream. See [`crate::TurnBook`].
    pub line: crate::Line,
    /// How many other regions of the fleet are being restarted by us right now.
    pub rollouts_elsewhere: u32,
    /// How many runs of other Mirrors copy from one region to another right now.
    pub copies_elsewhere: u32,
    /// Whether the cluster has HTTPRoutes: the Gateway API need not be installed.
    pub serves_http_routes: bool,
    /// How this controller was started.
    pub settings: Settings,
}

/// That the API server did not let a pod be evicted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// In its words.
    pub message: String,
    pub at: Timestamp,
}

/// What was seen of each kind.
#[derive(Debug, Clone, Default)]
pub struct SeenObjects {
    pub claims: Vec<SeenClaim>,
    pub stateful_sets: Vec<SeenApplied>,
    pub services: Vec<SeenApplied>,
    pub disruption_budgets: Vec<SeenApplied>,
    pub ingresses: Vec<SeenRoute>,
    pub http_routes: Vec<SeenRoute>,
    pub jobs: Vec<SeenJob>,
    pub pods: Vec<SeenPod>,
    /// Where the Services lead that lead to all regions of a Mirror.
    pub slices: Vec<SeenSlice>,
    /// What Kubernetes' own controllers say about claims, StatefulSets and Jobs, in any order.
    pub warnings: Vec<SeenWarning>,
}

impl SeenObjects {
    /// Everything that a region can own, kind by kind: Jobs before what they run beside, and what is named first that
    /// outlives the others.
    pub fn metas(&self) -> impl Iterator<Item = (Owned, &SeenMeta)> {
        // Without `..`: a kind that is forgotten here does not compile.
        let SeenObjects {
            claims,
            jobs,
            disruption_budgets,
            services,
            stateful_sets,
            ingresses,
            http_routes,
            pods: _,
            slices: _,
            warnings: _,
        } = self;
        let applied = [
            (Owned::DisruptionBudget, disruption_budgets),
            (Owned::Service, services),
            (Owned::StatefulSet, stateful_sets),
        ];
        let applied = applied
            .into_iter()
            .flat_map(|(kind, all)| all.iter().map(move |seen| (kind, &seen.meta)));
        let routes = [(Owned::Ingress, ingresses), (Owned::HttpRoute, http_routes)];
        let routes = routes
            .into_iter()
            .flat_map(|(kind, all)| all.iter().map(move |seen| (kind, &seen.applied.meta)));
        let claims = claims.iter().map(|claim| (Owned::Claim, &claim.meta));
        let jobs = jobs.iter().map(|job| (Owned::Job, &job.meta));
        claims.chain(jobs).chain(routes).chain(applied)
    }
}

/// What the controller's flags decide for all pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The image that serving pods run; a Job runs the image of its serving pod.
    pub image: String,
    /// The version of indices that the image reads and writes; 0 where that is not known.
    pub index_version: u32,
    /// What holds for pods where their Mirror says nothing.
    pub pods: PodSettings,
    /// What Mirrors may ask for their pods.
    pub pods_allowed: PodsAllowed,
    /// What may be made to lead clients outside of the cluster here.
    pub routes_allowed: RoutesAllowed,
    /// How many regions of the whole fleet may be restarted at once for a changed pod template.
    pub max_rollouts: u32,
    /// How many runs of the whole fleet may copy from one region to another at once.
    pub max_copies: u32,
    /// Whether a Mirror's author may send pods to nodes of the control plane.
    pub allow_control_plane: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            image: String::new(),
            index_version: 0,
            pods: PodSettings::default(),
            pods_allowed: PodsAllowed::default(),
            routes_allowed: RoutesAllowed::default(),
            max_rollouts: 4,
            max_copies: 64,
            allow_control_plane: false,
        }
    }
}
