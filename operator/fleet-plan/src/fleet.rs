//! The strict inside: a Mirror and its Upstream after every check, so that what follows cannot fail.

use std::net::IpAddr;

use fleet_api::mirror::{Block, Mirror, MirrorSpec, Mode, PodSettings, RouteKind};
use fleet_api::{MirrorStatus, Upstream, UpstreamSpec};
use fleet_types::{Reason, shown_url};
use kube_core::ResourceExt;

use crate::build::FOLLOW_PORT;
use crate::inputs::Inputs;
use crate::lists::{self, Listed, Networks};
use crate::object::Owned;
use crate::observed::{Observed, SeenMeta, SeenPod};
use crate::place::places;
use crate::timing::Timing;
use crate::{inputs, names, pods};

pub use crate::place::{Place, Source};

/// Something that only a person can put right, in words that say what to edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub reason: Reason,
    pub message: String,
}

impl Problem {
    pub fn new(reason: Reason, message: impl Into<String>) -> Problem {
        Problem {
            reason,
            message: message.into(),
        }
    }
}

/// A Mirror that can be carried out.
#[derive(Debug)]
pub struct Fleet<'a> {
    pub mirror: &'a Mirror,
    pub spec: &'a MirrorSpec,
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub upstream: &'a Upstream,
    pub timing: Timing,
    /// What holds for its pods.
    pub pods: PodSettings,
    /// Digests of everything that a run's result depends on and that manifests say, but for what is one region's own.
    pub inputs: Inputs,
    /// The value of the request annotation, if there is one.
    pub request: Option<String>,
    pub places: Vec<Place<'a>>,
    /// What its serving pods tell clients of the regions.
    pub list: Listed,
}

impl<'a> Fleet<'a> {
    /// Checks everything that the schema cannot: what crosses objects, and what was stored before a rule existed.
    pub fn new(mirror: &'a Mirror, seen: &'a Observed) -> Result<Fleet<'a>, Problem> {
        let spec = &mirror.spec;
        let name = mirror.name_any();
        let upstream = upstream_of(mirror, seen)?;
        let invalid = |message: String| Problem::new(Reason::InvalidSpec, message);
        let uid = mirror.uid().unwrap_or_default();
        let timing = Timing::new(&spec.sync, &upstream.spec.politeness, &uid).map_err(invalid)?;
        let settings = &seen.settings;
        let pods =
            pods::settings(&spec.pods, &settings.pods, &settings.pods_allowed).map_err(invalid)?;
        let status = mirror.status.as_ref();
        let fetcher = status.and_then(|status| status.fetcher.as_ref());
        let places = places(spec, &name, fetcher).map_err(invalid)?;
        room_for_fillers(spec, upstream).map_err(invalid)?;
        let request = requested(mirror).cloned();
        if !seen.settings.allow_control_plane {
            away_from_control_plane(spec).map_err(invalid)?;
        }
        let networks = Networks::of(spec).map_err(invalid)?;
        let inputs = Inputs::of(spec, &name, &upstream.spec);
        let namespace = mirror.namespace().unwrap_or_default();
        let mut fleet = Fleet {
            mirror,
            spec,
            name,
            namespace,
            uid,
            upstream,
            timing,
            pods,
            inputs,
            request,
            places,
            list: Listed::default(),
        };
        fleet.strangers(seen)?;
        fleet.list = lists::of(&fleet, &networks, seen);
        Ok(fleet)
    }

    /// Whether some copy follows another, so that all of them publish together.
    pub fn is_together(&self) -> bool {
        self.spec.is_together()
    }

    pub fn status(&self) -> MirrorStatus {
        self.mirror.status.clone().unwrap_or_default()
    }

    pub fn upstream_spec(&self) -> &UpstreamSpec {
        &self.upstream.spec
    }

    /// What the runs of a replica carry out.
    pub fn inputs_of(&self, place: &Place) -> Inputs {
        let of_all = self.spec.serving.trace_name();
        let own = place.region.own_trace_name(of_all);
        self.inputs.of_region(own.as_deref())
    }

    /// By which name a region tells of itself.
    pub fn trace_name(&self, place: &Place) -> Option<String> {
        self.spec.trace_name(Some(place.region))
    }

    /// The Secret with the certificate, where the serving pods speak TLS.
    pub fn tls_secret(&self) -> Option<&str> {
        let tls = self.spec.serving.tls.as_ref()?;
        Some(tls.secret_name.as_str()).filter(|name| !name.is_empty())
    }

    /// Where a serving pod gives others what they copy: at its region's Service, which stays when the pod moves; where that
    /// leads to several, which do not keep the same all the time, at the pod itself.
    pub fn follow_url(&self, place: &Place, pod: &SeenPod) -> Option<String> {
        let host = match place.region.is_replicated() {
            false => format!("{}.{}.svc", place.service, self.namespace),
            true => match pod.ip.as_deref()?.parse().ok()? {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => format!("[{address}]"),
            },
        };
        let name = &self.name;
        Some(format!(
            "http://{host}:{FOLLOW_PORT}/.mirrorfleet/follow/{name}"
        ))
    }

    /// The replicas of a region, by their indices among the places.
    pub fn replicas_of(&self, region: &str) -> impl Iterator<Item = usize> {
        let places = self.places.iter().enumerate();
        let of_it = places.filter(move |(_, place)| place.region.name == region);
        of_it.map(|(at, _)| at)
    }

    /// Whether an object belongs to a replica of a region that is declared, or to all regions that are offered.
    pub fn declares(&self, kind: Owned, meta: &SeenMeta) -> bool {
        let of_all = self.is_together() && meta.name == names::mirror_name(&self.name);
        of_all
            || self
                .places
                .iter()
                .any(|place| place.owns(meta) && self.has(place, kind))
    }

    /// Whether a replica has objects of a kind; the others that there are for each region are with its first one.
    fn has(&self, place: &Place, kind: Owned) -> bool {
        let is_routed_by = |kind| {
            let route = self.route_of(place);
            route.is_some_and(|(route, _)| route.kind == kind)
        };
        match kind {
            Owned::Service | Owned::DisruptionBudget => place.is_first(),
            Owned::Ingress => is_routed_by(RouteKind::Ingress),
            Owned::HttpRoute => is_routed_by(RouteKind::HTTPRoute),
            Owned::Claim | Owned::StatefulSet | Owned::Job => true,
        }
    }

    /// Refuses if an object under one of our names is not ours, or a claim holds another repository's store.
    fn strangers(&self, seen: &Observed) -> Result<(), Problem> {
        let of_all = names::mirror_name(&self.name);
        let mut services = seen.objects.services.iter().map(|service| &service.meta);
        let stranger = services.find(|meta| meta.name == of_all && !meta.belongs_to(&self.name));
        if let Some(meta) = stranger.filter(|_| self.is_together()) {
            return Err(Problem::new(
                Reason::NameConflict,
                format!(
                    "Service {} exists and is not ours, so nothing was written for the regions that follow each other: delete or rename it",
                    meta.name
                ),
            ));
        }
        for place in &self.places {
            let under_name = |(_, meta): &(Owned, &SeenMeta)| meta.name == place.child;
            for (kind, meta) in seen.objects.metas().filter(under_name) {
                // Nobody's object stands in the way of one that is not wanted.
                if !self.has(place, kind) {
                    continue;
                }
                if !meta.belongs_to(&self.name) || !place.owns(meta) {
                    return Err(Problem::new(
                        Reason::NameConflict,
                        format!(
                            "{} {} exists and is not ours, so nothing was written for region {}: delete or rename it, or rename the region",
                            kind.as_str(),
                            meta.name,
                            place.title()
                        ),
                    ));
                }
                if kind == Owned::Claim {
                    self.same_store(meta, &place.title())?;
                }
            }
        }
        Ok(())
    }

    fn same_store(&self, claim: &SeenMeta, region: &str) -> Result<(), Problem> {
        let (upstream_type, authority) = inputs::identity(self.upstream_spec());
        let held = (
            claim.annotation(fleet_api::labels::STORE_TYPE),
            claim.annotation(fleet_api::labels::STORE_AUTHORITY),
        );
        if held == (Some(upstream_type.as_str()), Some(authority.as_str())) {
            return Ok(());
        }
        let (held_type, held_authority) = (
            held.0.unwrap_or("nothing known"),
            held.1.unwrap_or("unknown"),
        );
        Err(Problem::new(
            Reason::StoreMismatch,
            format!(
                "PersistentVolumeClaim {} holds the store of {held_type} {}, this Mirror copies {upstream_type} {}: point the Upstream's authority back, delete the claim, or rename region {region}",
                claim.name,
                shown_url(held_authority),
                shown_url(&authority),
            ),
        ))
    }
}

/// Taints by which a cluster keeps pods off the nodes that run it.
const CONTROL_PLANE: [&str; 4] = [
    "node-role.kubernetes.io/control-plane",
    "node-role.kubernetes.io/controlplane",
    "node-role.kubernetes.io/master",
    "node-role.kubernetes.io/etcd",
];

/// Refuses tolerations that let pods onto nodes of the control plane: a tenant's pods have no business beside what runs the
/// cluster, unless its administrator says so.
pub(crate) fn away_from_control_plane(spec: &MirrorSpec) -> Result<(), String> {
    for region in &spec.regions {
        for toleration in &region.tolerations {
            let key = toleration.key.as_deref().unwrap_or_default();
            let what = match key {
                "" => "of every taint".to_owned(),
                key if CONTROL_PLANE.contains(&key) => format!("of {key}"),
                _ => continue,
            };
            return Err(format!(
                "spec.regions: region {} has a toleration {what}, which leads to nodes of the control plane; leave it out, or \
                 have the installation allow it (chart value allowControlPlaneTolerations)",
                region.name
            ));
        }
    }
    Ok(())
}

fn upstream_of<'a>(mirror: &Mirror, seen: &'a Observed) -> Result<&'a Upstream, Problem> {
    let wanted = &mirror.spec.upstream_ref.name;
    if let Some(error) = &seen.upstream_error {
        let message = format!("Upstream {wanted} cannot be read: {error}; correct it");
        return Err(Problem::new(Reason::InvalidSpec, message));
    }
    let Some(upstream) = &seen.upstream else {
        return Err(Problem::new(
            Reason::UpstreamNotFound,
            format!(
                "there is no Upstream {wanted} in namespace {}: create it, or correct spec.upstreamRef.name in a new Mirror",
                mirror.namespace().unwrap_or_default()
            ),
        ));
    };
    let given = mirror.spec.content.block().map(Block::upstream_type);
    if given != Some(upstream.spec.upstream_type) {
        let wanted_type = upstream.spec.upstream_type.as_str();
        return Err(Problem::new(
            Reason::ContentTypeMismatch,
            format!(
                "Upstream {wanted} is of type {wanted_type}, but spec.content has {}: write the block spec.content.{}",
                given.map_or("no block".to_owned(), |given| format!(
                    "the block of type {}",
                    given.as_str()
                )),
                wanted_type.to_lowercase()
            ),
        ));
    }
    Ok(upstream)
}

/// Where things are fetched on demand, each region has connections of its own to the Upstream, beside those of runs.
fn room_for_fillers(spec: &MirrorSpec, upstream: &Upstream) -> Result<(), String> {
    let regions = u32::try_from(spec.regions.len()).unwrap_or(u32::MAX);
    let (needed, whose) = match spec.fills_itself() {
        true => (regions, "one for each region"),
        false => (
            regions.saturating_mul(2),
            "one half for runs and the other for its regions",
        ),
    };
    let most = upstream.spec.max_connections();
    match spec.mode == Mode::PullThrough && most < needed {
        true => Err(format!(
            "mode PullThrough needs politeness.maxConnections of Upstream {} to be {needed} or more, {whose}; it is {most}: raise it, or declare fewer regions",
            spec.upstream_ref.name
        )),
        false => Ok(()),
    }
}

/// The value of the request annotation, if there is one.
pub fn requested(mirror: &Mirror) -> Option<&String> {
    mirror
        .annotations()
        .get(fleet_api::labels::SYNC_REQUESTED_AT)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn judged(toleration: serde_json::Value) -> Result<(), String> {
        let spec = json!({
            "upstreamRef": {"name": "debian"},
            "content": {"debian": {"suites": ["trixie"]}},
            "regions": [{"name": "here"}, {"name": "there", "tolerations": [toleration]}],
        });
        away_from_control_plane(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn tolerations_lead_to_the_control_plane_only_by_the_installations_leave() {
        for toleration in [
            json!({"operator": "Exists"}),
            json!({"key": "", "operator": "Exists", "effect": "NoSchedule"}),
            json!({"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}),
            json!({"key": "node-role.kubernetes.io/control-plane", "operator": "Equal", "value": ""}),
            json!({"key": "node-role.kubernetes.io/master", "effect": "NoSchedule"}),
        ] {
            let refusal = judged(toleration.clone()).unwrap_err();
            let told = refusal.contains("region there")
                && refusal.contains("allowControlPlaneTolerations");
            assert!(told, "{toleration}: {refusal}");
        }
        for toleration in [
            json!({"key": "dedicated", "operator": "Exists"}),
            json!({"key": "node-role.kubernetes.io/infra", "operator": "Exists"}),
            json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists", "tolerationSeconds": 30}),
        ] {
            assert_eq!(judged(toleration.clone()), Ok(()), "{toleration}");
        }
    }
}
