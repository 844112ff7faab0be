//! The conditions of a Mirror: lists of small questions. Each answers with a reason (a fixed word) and a message (what
//! is wrong, where, what happens next). Messages hold instants, never ages, or a quiet fleet would write all day.

mod complaints;

use fleet_api::upstream::Signatures;
use fleet_api::{ConditionStatus, ConditionType};
use fleet_types::{Outcome, Reason, counted};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use self::complaints::{
    damaged, first_run_held_up, indices_do_not_fit, joining, left_behind, manifest_at_fault,
    never_synced, objects_pending, order_not_taken, pod_held_up, pod_not_ready, refused,
    route_not_made, route_pending, run_held_up, storage_at_fault, volume_leaving, volume_lost,
    volume_pending, volume_refused,
};
use crate::canary;
use crate::fleet::{Fleet, Problem};
use crate::freshness::{self, Freshness};
use crate::observed::Answer;
use crate::orders::Ordering;
use crate::report::instant;
use crate::schedule::later;
use crate::site::Site;
use crate::verdict::{Verdict, said};
use crate::view::RegionView;

type Check = fn(&Site) -> Option<Problem>;

/// What speaks against "this Mirror serves verified content" and is the root of all else that does.
const ROOTS: &[Check] = &[volume_lost, volume_refused, pod_held_up, first_run_held_up];
/// What editing a manifest, Secret or ConfigMap would mend.
const STALLED: &[Check] = &[manifest_at_fault];
/// The same of what holds up nobody but clients outside of the cluster.
const UNROUTED: &[Check] = &[route_not_made];
/// What is still on its way.
const RECONCILING: &[Check] = &[
    volume_refused,
    pod_held_up,
    first_run_held_up,
    left_behind,
    objects_pending,
    never_synced,
    pod_not_ready,
    indices_do_not_fit,
    joining,
    route_pending,
];
const UNSERVED: &[Check] = &[never_synced, pod_not_ready];
const SERVING: &[Check] = &[pod_not_ready, order_not_taken];
const STORAGE: &[Check] = &[
    volume_lost,
    volume_leaving,
    volume_pending,
    storage_at_fault,
    damaged,
];
const VERIFIED: &[Check] = &[refused];

/// The first region's first answer.
fn first<'s, 'a: 's>(
    checks: &[Check],
    sites: impl IntoIterator<Item = &'s Site<'a>> + Clone,
) -> Option<Problem> {
    let mut checks = checks.iter();
    checks.find_map(|check| sites.clone().into_iter().find_map(check))
}

/// Those of regions none of whose replicas is without such a problem: clients of such a region notice.
fn down<'s, 'a>(checks: &[&[Check]], sites: &'s [Site<'a>]) -> Vec<&'s Site<'a>> {
    let is_well = |site: &Site| {
        let mut checks = checks.iter().copied().flatten();
        checks.all(|check| check(site).is_none())
    };
    let is_down = |site: &&Site| {
        let mut replicas = sites.iter().filter(|other| other.name() == site.name());
        !replicas.any(is_well)
    };
    sites.iter().filter(is_down).collect()
}

/// All conditions of a Mirror that can be carried out; those that are not listed are absent.
pub fn verdicts(
    fleet: &Fleet,
    sites: &[Site],
    ordering: &Ordering,
    before: &[Condition],
    now: Timestamp,
) -> Vec<(ConditionType, Verdict)> {
    let stalled = first(STALLED, sites)
        .or_else(|| ordering.problem.clone())
        .or_else(|| first(UNROUTED, sites));
    let reconciling = first(RECONCILING, sites).or_else(|| first_in_one_region(ordering));
    let reconciling = reconciling.filter(|_| stalled.is_none());
    let mut verdicts = vec![(ConditionType::Ready, ready(fleet, sites))];
    verdicts.extend(stalled.map(|problem| {
        (
            ConditionType::Stalled,
            Verdict::yes(problem.reason, problem.message),
        )
    }));
    verdicts.extend(reconciling.map(|problem| {
        (
            ConditionType::Reconciling,
            Verdict::yes(problem.reason, problem.message),
        )
    }));
    verdicts.extend([
        (ConditionType::Verified, verified(fleet, sites, before)),
        (ConditionType::Fresh, fresh(fleet, sites, before, now)),
        (ConditionType::Serving, serving(sites)),
        (ConditionType::StorageReady, storage(sites, before)),
    ]);
    verdicts
}

/// What one region tries for the others, or was found bad there.
fn first_in_one_region(ordering: &Ordering) -> Option<Problem> {
    let trial = || {
        let trial = ordering.trial()?;
        let words = format!(
            "region {} has served the next snapshot since {}, and the others follow once it has soaked and was audited",
            trial.region, trial.since.0
        );
        Some(Problem::new(Reason::CanarySoaking, words))
    };
    ordering.halted().map(canary::problem).or_else(trial)
}

/// Whether clients of every region are served. That one of several replicas is not is told, and no more.
fn serving(sites: &[Site]) -> Verdict {
    if let Some(problem) = first(SERVING, down(&[SERVING], sites)) {
        return problem.into();
    }
    let message = match first(SERVING, sites) {
        Some(problem) => format!("every region serves; {}", problem.message),
        None => "every serving pod is ready".to_owned(),
    };
    Verdict::yes(Reason::Serving, message)
}

fn ready(fleet: &Fleet, sites: &[Site]) -> Verdict {
    if let Some(problem) = not_ready(fleet, sites) {
        return problem.into();
    }
    let content = match fleet.spec.fills_itself() {
        true => "a registry that fills itself on demand",
        false if unsigned(fleet) => "content that nobody vouches for",
        false => "verified content",
    };
    let number = fleet.spec.regions.len();
    let serve = if number == 1 { "serves" } else { "serve" };
    let regions = counted(number, "region");
    let serves = format!("{number} of {regions} {serve} {content}");
    if fleet.spec.suspend {
        return Verdict::yes(
            Reason::Suspended,
            format!("{serves}; spec.suspend stops new syncs"),
        );
    }
    match sites.iter().find_map(remark) {
        Some(words) => Verdict::yes(Reason::Ready, format!("{serves}; {words}")),
        None => Verdict::yes(Reason::Ready, serves),
    }
}

/// What speaks against "this Mirror serves verified content", the root first.
fn not_ready(fleet: &Fleet, sites: &[Site]) -> Option<Problem> {
    let down = &down(&[ROOTS, UNSERVED], sites)[..];
    let down = || down.iter().copied();
    let synced = down().all(Site::has_content);
    first(ROOTS, down())
        .or_else(|| first(STALLED, sites).filter(|_| !synced))
        .or_else(|| {
            let suspended = fleet.spec.suspend && !synced;
            let message =
                "no snapshot exists and spec.suspend stops the first sync: set it to false";
            suspended.then(|| Problem::new(Reason::Suspended, message))
        })
        .or_else(|| first(UNSERVED, down()))
}

/// Whether the Upstream's manifest says that nobody's signature is looked at.
fn unsigned(fleet: &Fleet) -> bool {
    fleet.upstream_spec().trust.signatures == Signatures::None
}

/// What does not take back what is served, and is said all the same.
fn remark(site: &Site) -> Option<String> {
    let held_up = run_held_up(site).map(|problem| problem.message);
    let waiting = || {
        let words = site.waiting.as_ref()?;
        Some(format!("the next sync of region {} {words}", site.title()))
    };
    let unrouted = || {
        let problem = route_not_made(site).or_else(|| route_pending(site))?;
        Some(problem.message)
    };
    held_up
        .or_else(|| failing(site))
        .or_else(waiting)
        .or_else(unrouted)
}

/// The last run failed.
fn failing(site: &Site) -> Option<String> {
    let last = site
        .last()
        .filter(|last| last.reason.outcome() != Outcome::Good)?;
    Some(format!(
        "the last sync of region {} failed: {}: {}",
        site.title(),
        last.reason,
        last.message
    ))
}

fn verified(fleet: &Fleet, sites: &[Site], before: &[Condition]) -> Verdict {
    if let Some(problem) = first(VERIFIED, sites) {
        return problem.into();
    }
    if fleet.spec.fills_itself() {
        return Verdict::unknown(
            Reason::NotVerified,
            "nobody signs what a registry says; each tarball is compared with what was promised when it was first seen",
        );
    }
    if unsigned(fleet) {
        let upstream = &fleet.spec.upstream_ref.name;
        return Verdict::unknown(
            Reason::NotVerified,
            format!(
                "trust.signatures of Upstream {upstream} is None: nobody vouches for what it sends"
            ),
        );
    }
    if sites
        .iter()
        .all(|site| site.last_was(Outcome::Good).is_some())
    {
        return Verdict::yes(
            Reason::Verified,
            "everything was verified when it was last synced",
        );
    }
    // A run that could not reach the upstream says nothing about signatures: what was said before stands.
    said(ConditionType::Verified, before)
        .filter(|known| !known.is(ConditionStatus::Unknown))
        .unwrap_or_else(|| Verdict::unknown(Reason::FirstSyncPending, "nothing was verified yet"))
}

/// What was said before stands while a pod that it is about has not been asked.
fn held(kind: ConditionType, sites: &[Site], before: &[Condition]) -> Option<Verdict> {
    let not_asked = sites.iter().any(|site| site.view.not_asked());
    said(kind, before).filter(|_| not_asked)
}

fn storage(sites: &[Site], before: &[Condition]) -> Verdict {
    // What pods tell.
    let told = || {
        let known = held(ConditionType::StorageReady, sites, before)?;
        matches!(known.reason, Reason::StoreCorrupt | Reason::StorageFull).then_some(known)
    };
    match first(STORAGE, sites) {
        Some(problem) => problem.into(),
        None => told()
            .unwrap_or_else(|| Verdict::yes(Reason::VolumeBound, "every region has its volume")),
    }
}

fn fresh(fleet: &Fleet, sites: &[Site], before: &[Condition], now: Timestamp) -> Verdict {
    if let Some(known) = held(ConditionType::Fresh, sites, before) {
        return known;
    }
    if fleet.spec.fills_itself() {
        return registry_fresh(fleet, sites, now);
    }
    let sites = || sites.iter().filter(|site| site.counts());
    if let Some(problem) = sites().find_map(|site| expired(fleet, site, now)) {
        return problem.into();
    }
    let objective = freshness::objective(fleet);
    let stale = sites().find_map(|site| {
        let since = site.freshness.stale_since(objective, now)?;
        Some(Problem::new(
            Reason::Stale,
            format!(
                "region {} has been behind the authority since {since}, longer than spec.freshness.objective ({}){}",
                site.title(),
                fleet.spec.freshness.objective,
                failing(site).map(|words| format!("; {words}")).unwrap_or_default()
            ),
        ))
    });
    if let Some(problem) = stale {
        return problem.into();
    }
    let unknown = sites().find_map(|site| match &site.freshness {
        Freshness::Unknown(reason, message) => Some((*reason, message.clone())),
        _ => None,
    });
    if let Some((reason, message)) = unknown {
        return Verdict::unknown(reason, message);
    }
    let behind = sites().find_map(|site| Some((site.title(), site.freshness.superseded_at()?)));
    if let Some((region, since)) = behind {
        let message = format!(
            "region {region} has been behind the authority since {since}, which the objective allows"
        );
        return Verdict::yes(Reason::Fresh, message);
    }
    let assumed = sites().find_map(|site| match site.freshness {
        Freshness::Assumed(since) => Some((site.title(), since)),
        _ => None,
    });
    match assumed {
        Some((region, since)) => Verdict::yes(
            Reason::AssumedFresh,
            format!(
                "assumed, not measured: only syncs can tell what the authority has, and region {region} had it at {since}"
            ),
        ),
        None => Verdict::yes(Reason::Fresh, "every region serves what the authority has"),
    }
}

/// A registry asks its upstream again about what it gives out, as long as the upstream answers.
fn registry_fresh(fleet: &Fleet, sites: &[Site], now: Timestamp) -> Verdict {
    let objective = freshness::objective(fleet);
    let blocked = sites.iter().find_map(|site| {
        let since = site.view.registry()?.upstream_blocked_since?;
        Some((site, instant(since)))
    });
    if let Some((site, since)) = blocked {
        let message = format!(
            "the upstream has failed for region {} and is left alone again and again since {since}: what is kept is served, however old, and nothing else",
            site.title()
        );
        return match now > later(since, objective) {
            true => Problem::new(Reason::UpstreamBlocked, message).into(),
            false => Verdict::unknown(Reason::UpstreamBlocked, message),
        };
    }
    let told = sites.iter().filter_map(|site| site.view.registry());
    if told.clone().any(|registry| registry.is_offline) {
        let message = "pullThrough.offline keeps the registry from asking the upstream: what is kept is served, however old";
        return Verdict::unknown(Reason::Offline, message);
    }
    if told.count() < sites.len() {
        return Verdict::unknown(Reason::Unknown, "not every region says how its registry is");
    }
    Verdict::yes(
        Reason::Fresh,
        "the upstream answers, and is asked again about what is older than five minutes",
    )
}

fn expired(fleet: &Fleet, site: &Site, now: Timestamp) -> Option<Problem> {
    let (unit, end) = freshness::expired(site.view.revision(), now)?;
    let words = failing(site)
        .map(|words| format!("; {words}"))
        .unwrap_or_default();
    let what_helps = match freshness::expired_is_allowed(fleet, site.view.revision(), unit) {
        true => {
            "which spec.verification lets through; clients need `Check-Valid-Until: no` in their sources for it"
        }
        false => "and clients refuse it; the upstream has to publish a newer one",
    };
    Some(Problem::new(
        Reason::IndexExpired,
        format!(
            "region {} serves an index of {unit} that expired at {end}, {what_helps}{words}",
            site.title()
        ),
    ))
}

/// Whether the pod answered at all; an answer that there is no store is one.
pub fn answered(view: &RegionView) -> bool {
    matches!(view.answer, Some(Answer::Serves(_) | Answer::Nothing))
}
