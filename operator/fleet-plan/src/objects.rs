//! Which of a region's objects are missing, differ, or belong to no region any more.

use fleet_api::labels;
use fleet_api::mirror::ReclaimPolicy;
use jiff::{SignedDuration, Timestamp};
use kube_core::ResourceExt;

use crate::build;
use crate::canonical::is_as_wanted;
use crate::fleet::Fleet;
use crate::observed::{Observed, SeenMeta};
use crate::plan::{ChildKind, Write};
use crate::schedule::later;
use crate::view::RegionView;

/// A restarted pod that is not ready after so long holds up only its own Mirror, not the whole fleet.
const ROLLOUT_PATIENCE: SignedDuration = SignedDuration::from_mins(5);

/// What must be written for the regions' objects, in order.
#[derive(Debug, Default)]
pub struct Objects {
    /// Finalizer; then per region claim, Service, StatefulSet, budget (a pod without its claim would only wait, and a
    /// Service from the start gives clients a name that stays); then what regions left behind.
    pub writes: Vec<Write>,
    /// Per region: what holds with the present writes.
    pub regions: Vec<RegionObjects>,
    /// Regions that are being restarted.
    pub rollouts: u32,
    pub look_again: Option<Timestamp>,
}

/// How one region's objects stand.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct RegionObjects {
    /// All objects exist as wanted, and the pod is made from the present template.
    pub settled: bool,
    /// This plan replaces the pod template, so the pod goes.
    pub replacing: bool,
    /// What is still missing, for people.
    pub waiting_for: Option<String>,
}

pub fn converge(fleet: &Fleet, views: &[RegionView], seen: &Observed) -> Objects {
    let mut objects = Objects::default();
    objects.writes.extend(finalizer(fleet));
    let mut rolling: Vec<bool> = views
        .iter()
        .map(|view| is_rolling(fleet, view, seen))
        .collect();
    for (index, view) in views.iter().enumerate() {
        let others = rolling
            .iter()
            .enumerate()
            .any(|(other, rolling)| other != index && *rolling);
        let region = region_writes(fleet, view, seen, others, &mut objects.writes);
        rolling[index] |= region.replacing;
        objects.regions.push(region);
    }
    for (view, rolling) in views.iter().zip(&rolling) {
        let until = restarted_at(fleet, view, seen).map(|at| later(at, ROLLOUT_PATIENCE));
        if *rolling && until.is_none_or(|until| seen.now < until) {
            objects.rollouts += 1;
            objects.look_again = objects.look_again.into_iter().chain(until).min();
        }
    }
    objects.writes.extend(left_behind(fleet, seen));
    objects
}

/// The finalizer exists only while volumes are to go with the Mirror.
fn finalizer(fleet: &Fleet) -> Option<Write> {
    let has = fleet
        .mirror
        .finalizers()
        .iter()
        .any(|name| name == labels::CLAIM_FINALIZER);
    match (fleet.spec.storage.reclaim_policy, has) {
        (ReclaimPolicy::Delete, false) => Some(Write::AddFinalizer),
        (ReclaimPolicy::Retain, true) => Some(Write::RemoveFinalizer),
        _ => None,
    }
}

/// A region whose pod has yet to follow its StatefulSet's present template.
fn is_rolling(fleet: &Fleet, view: &RegionView, seen: &Observed) -> bool {
    let set = build::stateful_set(fleet, view.site, &seen.settings);
    let applied = view
        .stateful_set
        .is_some_and(|live| same(live, &set.metadata, &set.spec));
    applied && view.pod.is_some() && !(view.ready() && view.pod_is_current(template_of(&set)))
}

/// When the pod was made, if it is the new one already.
fn restarted_at(fleet: &Fleet, view: &RegionView, seen: &Observed) -> Option<Timestamp> {
    let set = build::stateful_set(fleet, view.site, &seen.settings);
    let current = view.pod_is_current(template_of(&set));
    view.pod
        .filter(|_| current)
        .and_then(|pod| pod.meta.created_at)
}

fn region_writes(
    fleet: &Fleet,
    view: &RegionView,
    seen: &Observed,
    other_region_rolls: bool,
    writes: &mut Vec<Write>,
) -> RegionObjects {
    let mut region = RegionObjects::default();
    let before = writes.len();
    match view.claim {
        None => writes.push(Write::CreateClaim(Box::new(build::claim(fleet, view.site)))),
        Some(claim) if claim.meta.deleting => {
            region.waiting_for = Some(format!(
                "PersistentVolumeClaim {} is being deleted",
                claim.meta.name
            ))
        }
        Some(claim)
            if claim
                .requested
                .is_some_and(|requested| requested < fleet.spec.storage.size.bytes()) =>
        {
            writes.push(Write::GrowClaim {
                region: view.name().to_owned(),
                name: claim.meta.name.clone(),
                size: fleet.spec.storage.size.to_string(),
            });
        }
        Some(_) => {}
    }
    let service = build::service(fleet, view.site);
    if !view
        .service
        .is_some_and(|live| same(live, &service.metadata, &service.spec))
    {
        writes.push(Write::ApplyService(Box::new(service)));
    }
    let set = build::stateful_set(fleet, view.site, &seen.settings);
    let template = template_of(&set).map(str::to_owned);
    if !view
        .stateful_set
        .is_some_and(|live| same(live, &set.metadata, &set.spec))
    {
        let restart = view.ready();
        let full = seen.rollouts_elsewhere >= seen.settings.max_rollouts;
        if restart && (other_region_rolls || full) {
            region.waiting_for =
                Some("other regions are being restarted; this one follows".to_owned());
        } else {
            region.replacing =
                view.stateful_set.is_some() && !view.pod_is_current(template.as_deref());
            writes.push(Write::ApplyStatefulSet(Box::new(set)));
        }
    }
    let budget = build::disruption_budget(fleet, view.site);
    if !view
        .disruption_budget
        .is_some_and(|live| same(live, &budget.metadata, &budget.spec))
    {
        writes.push(Write::ApplyDisruptionBudget(Box::new(budget)));
    }
    let written = writes.len() > before;
    if written && region.waiting_for.is_none() {
        region.waiting_for = Some("its objects are being written".to_owned());
    } else if !written && !view.pod_is_current(template.as_deref()) && region.waiting_for.is_none()
    {
        region.waiting_for = Some("its serving pod is being made".to_owned());
    }
    region.settled = region.waiting_for.is_none();
    region
}

fn same<S: serde::Serialize>(
    live: &crate::observed::SeenApplied,
    wanted: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
    spec: &Option<S>,
) -> bool {
    let empty = std::collections::BTreeMap::new();
    let owners = wanted.owner_references.iter().flatten();
    let owned = owners
        .into_iter()
        .all(|owner| live.meta.owners.contains(&owner.uid));
    // An object on its way out comes back only after it is gone: applying to it now would be lost.
    live.meta.deleting
        || owned
            && spec.as_ref().is_some_and(|spec| {
                is_as_wanted(live, spec, wanted.labels.as_ref().unwrap_or(&empty))
            })
}

fn template_of(set: &k8s_openapi::api::apps::v1::StatefulSet) -> Option<&str> {
    let template = set.spec.as_ref()?.template.metadata.as_ref()?;
    template
        .annotations
        .as_ref()?
        .get(labels::APPLIED)
        .map(String::as_str)
}

/// Objects of regions that are no longer declared. Their claims stay.
fn left_behind(fleet: &Fleet, seen: &Observed) -> Vec<Write> {
    let gone = |meta: &SeenMeta| {
        let undeclared = meta
            .region()
            .is_none_or(|region| fleet.site(region).is_none());
        undeclared
            && !meta.deleting
            && meta.belongs_to(&fleet.name)
            && meta.owners.contains(&fleet.uid)
    };
    let objects = &seen.objects;
    let jobs = objects.jobs.iter().map(|job| (ChildKind::Job, &job.meta));
    let budgets = objects.disruption_budgets.iter();
    let budgets = budgets.map(|budget| (ChildKind::DisruptionBudget, &budget.meta));
    let services = objects.services.iter();
    let services = services.map(|service| (ChildKind::Service, &service.meta));
    let sets = objects.stateful_sets.iter();
    let sets = sets.map(|set| (ChildKind::StatefulSet, &set.meta));
    let all = jobs.chain(budgets).chain(services).chain(sets);
    all.filter(|(_, meta)| gone(meta))
        .map(|(kind, meta)| Write::delete(kind, meta))
        .collect()
}

/// Claims of ours whose region is not declared.
pub fn retained_claims(mirror: &fleet_api::Mirror, seen: &Observed) -> Vec<String> {
    let name = mirror.name_any();
    let declared = |region: &str| {
        mirror
            .spec
            .regions
            .iter()
            .any(|declared| declared.name == region)
    };
    let claims = seen.objects.claims.iter().map(|claim| &claim.meta);
    let mut names: Vec<_> = claims
        .filter(|meta| {
            meta.belongs_to(&name) && !meta.deleting && !meta.region().is_some_and(declared)
        })
        .map(|meta| meta.name.clone())
        .collect();
    names.sort();
    names
}
