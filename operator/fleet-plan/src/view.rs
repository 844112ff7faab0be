//! One replica of a region as it is seen: everything under its name, and what its pod says.

use fleet_api::{MirrorStatus, RegionState, ReplicaStatus, labels};
use fleet_types::documents::{RegistryState, ServedStatus};
use fleet_types::{Order, UnitRevision};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use crate::cause::{self, Cause};
use crate::fleet::Place;
use crate::observed::{
    Answer, Observed, PodRole, Refusal, SeenApplied, SeenClaim, SeenJob, SeenMeta, SeenPod,
    SeenRoute, SeenSlice, SeenWarning, VolumePhase,
};
use crate::routing;

/// What is seen of one replica.
#[derive(Debug)]
pub struct RegionView<'a> {
    pub place: &'a Place<'a>,
    /// What the status says of its copy.
    pub before: ReplicaStatus,
    /// What the status says of the region in one word.
    pub state_before: RegionState,
    /// Since when it has been behind, as the status says.
    pub superseded_before: Option<Time>,
    /// Since when the Mirror's Service has left it out, as the status says; none while it does not.
    pub withdrawn_before: Option<Time>,
    /// Whether the Mirror's Service led to it by the status before. To one that is new, or of a Mirror none of whose copies
    /// followed another, it did not.
    pub was_offered: bool,
    /// Whether its region's Service is to lead to it, by the status before.
    pub leads: bool,
    /// Whether that leads to others, once it is left out.
    pub leads_elsewhere: bool,
    /// How its region's Service finds its pods.
    pub routing: Routing,
    pub claim: Option<&'a SeenClaim>,
    pub stateful_set: Option<&'a SeenApplied>,
    pub service: Option<&'a SeenApplied>,
    pub disruption_budget: Option<&'a SeenApplied>,
    pub ingress: Option<&'a SeenRoute>,
    pub http_route: Option<&'a SeenRoute>,
    /// The serving pod.
    pub pod: Option<&'a SeenPod>,
    pub jobs: Vec<&'a SeenJob>,
    pub sync_pods: Vec<&'a SeenPod>,
    pub answer: Option<&'a Answer>,
    /// Why the serving pod could not be evicted when that was last tried.
    pub refusal: Option<&'a Refusal>,
    warnings: &'a [SeenWarning],
}

/// How the Service of a region finds its pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routing {
    /// It leads to the only one that there is.
    Plain,
    /// Pods say whether it leads to them, and not all of them do yet: it leads to all.
    Coming,
    /// By what pods say.
    ByLabel,
}

impl<'a> RegionView<'a> {
    pub fn new(
        place: &'a Place<'a>,
        mirror: &str,
        status: &MirrorStatus,
        seen: &'a Observed,
    ) -> RegionView<'a> {
        let region = place.region.name.as_str();
        let before = status.regions.iter().find(|before| before.name == region);
        let number = place.replica as usize;
        let stands = routing::stands(place.region, before, status);
        let leads = routing::leads(&stands);
        let objects = &seen.objects;
        let ours = |meta: &SeenMeta| meta.belongs_to(mirror) && place.owns(meta);
        let named = |meta: &SeenMeta| meta.name == place.child && ours(meta);
        let routes = |all: &'a [SeenRoute]| all.iter().find(|route| named(&route.applied.meta));
        let pod_name = crate::names::serving_pod_name(&place.child);
        let pod = objects
            .pods
            .iter()
            .find(|pod| pod.meta.name == pod_name && pod.role == PodRole::Serving);
        RegionView {
            place,
            before: before
                .and_then(|before| before.replicas.get(number))
                .map(|before| before.clone().in_full())
                .unwrap_or_default(),
            state_before: before.map(|before| before.state).unwrap_or_default(),
            superseded_before: before.and_then(|before| before.superseded_at.clone()),
            withdrawn_before: before.and_then(|before| before.withdrawn(number).cloned()),
            was_offered: before.is_some_and(|before| routing::is_offered(before, number)),
            leads: (leads.get(number)).is_some_and(|leads| *leads),
            leads_elsewhere: routing::leads_elsewhere(&stands, number),
            routing: routing_of(place, mirror, &objects.pods),
            claim: objects.claims.iter().find(|claim| named(&claim.meta)),
            stateful_set: objects.stateful_sets.iter().find(|set| named(&set.meta)),
            service: objects.services.iter().find(|service| named(&service.meta)),
            disruption_budget: objects
                .disruption_budgets
                .iter()
                .find(|budget| named(&budget.meta)),
            ingress: routes(&objects.ingresses),
            http_route: routes(&objects.http_routes),
            pod,
            jobs: objects
                .jobs
                .iter()
                .filter(|job| ours(&job.meta) && !job.audits())
                .collect(),
            sync_pods: objects
                .pods
                .iter()
                .filter(|pod| pod.role == PodRole::Sync && ours(&pod.meta))
                .collect(),
            refusal: pod.and_then(|pod| seen.refusals.get(&pod.meta.uid)),
            answer: seen.answers.get(&pod_name).filter(|_| pod.is_some()),
            warnings: &objects.warnings,
        }
    }

    pub fn name(&self) -> &'a str {
        &self.place.region.name
    }

    /// What people call it.
    pub fn title(&self) -> String {
        self.place.title()
    }

    /// Whether its volume is lost, as Kubernetes says: what the pod still has is there as long as the pod, and no run begins.
    pub fn is_lost(&self) -> bool {
        let claim = self.claim.map(|claim| claim.phase);
        claim == Some(VolumePhase::Lost)
    }

    /// What the serving pod says, if it says anything about a store.
    pub fn served(&self) -> Option<&'a ServedStatus> {
        match self.answer {
            Some(Answer::Serves(served)) => Some(served),
            _ => None,
        }
    }

    /// How its registry is, if it is one and says so.
    pub fn registry(&self) -> Option<&'a RegistryState> {
        self.served()?.registry.as_ref()
    }

    /// What the status says that it was told to serve: what is not there yet, nobody is told.
    pub fn order(&self) -> Option<Order> {
        self.before.order()
    }

    /// Whether the serving pod can be asked and has not been.
    pub fn not_asked(&self) -> bool {
        matches!(self.answer, Some(Answer::NotAsked))
    }

    /// What it says that it serves, by unit.
    pub fn revision(&self) -> &'a [UnitRevision] {
        self.served().map_or(&[], |served| &served.revision)
    }

    pub fn ready(&self) -> bool {
        self.pod.is_some_and(|pod| pod.ready && !pod.meta.deleting)
    }

    pub fn pod_of(&self, job: &str) -> Option<&'a SeenPod> {
        self.sync_pods
            .iter()
            .copied()
            .find(|pod| pod.job.as_deref() == Some(job))
    }

    /// The newest that Kubernetes said about an object.
    pub fn warning(&self, meta: &SeenMeta) -> Option<&'a SeenWarning> {
        let about = self
            .warnings
            .iter()
            .filter(|warning| warning.uid == meta.uid);
        about.max_by(|one, other| (one.at, &one.message).cmp(&(other.at, &other.message)))
    }

    /// Why the serving pod does not run, where Kubernetes tells; none while it is ready.
    pub fn pod_cause(&self) -> Option<Cause> {
        match self.pod {
            Some(pod) if self.ready() || pod.meta.deleting => None,
            Some(pod) => cause::of_pod(pod),
            None => {
                let set = self.stateful_set?;
                cause::of_missing_pod(self.warning(&set.meta))
            }
        }
    }

    /// Why the pod of a sync Job does not start, where Kubernetes tells; none once it runs.
    pub fn job_cause(&self, job: &str) -> Option<Cause> {
        match self.pod_of(job) {
            Some(pod) if pod.running || pod.end.is_some() => None,
            Some(pod) => cause::of_pod(pod),
            None => {
                let job = self.jobs.iter().find(|known| known.meta.name == job)?;
                cause::of_missing_pod(self.warning(&job.meta))
            }
        }
    }

    /// Whether a Service that finds pods by this label leads to the serving pod, or will to one that is made anew.
    pub fn is_routed(&self, slices: &[SeenSlice], service: &str, label: &str) -> bool {
        let template = self.stateful_set.is_some_and(|set| {
            let spec: Value = serde_json::from_str(&set.spec).unwrap_or_default();
            spec["template"]["metadata"]["labels"][label] == "true"
        });
        let Some(pod) = self.pod else {
            return template;
        };
        let mut slices = slices
            .iter()
            .filter(|slice| slice.service() == Some(service));
        // Nothing is led to a pod that leaves but what its slices say.
        let labelled = !pod.meta.deleting && pod.meta.label(label) == Some("true");
        template || labelled || slices.any(|slice| slice.pods.contains(&pod.meta.name))
    }

    /// Whether the serving pod was made from the pod template that is applied now.
    pub fn pod_is_current(&self, wanted_template: Option<&str>) -> bool {
        self.pod
            .is_some_and(|pod| pod.meta.annotation(labels::APPLIED) == wanted_template)
    }
}

/// Pods are found by label where there are several, and as long as one is left of several.
fn routing_of(place: &Place, mirror: &str, pods: &[SeenPod]) -> Routing {
    let region = place.region;
    let of_region = |pod: &&SeenPod| {
        let ours = pod.meta.belongs_to(mirror) && pod.role == PodRole::Serving;
        ours && pod.meta.region() == Some(&region.name)
    };
    let mut left = pods.iter().filter(of_region);
    if !region.is_replicated() && !left.any(|pod| pod.meta.replica() >= region.count()) {
        return Routing::Plain;
    }
    let mut all = pods.iter().filter(of_region);
    match all.all(|pod| pod.meta.label(labels::ROUTED).is_some()) {
        true => Routing::ByLabel,
        false => Routing::Coming,
    }
}
