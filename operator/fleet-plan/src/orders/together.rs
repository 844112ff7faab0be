//! The decision about copies of which some follow another.

use fleet_api::{MirrorStatus, Preparing, SnapshotStatus, labels};
use fleet_types::documents::{KeptSnapshot, UnixSeconds};
use fleet_types::{Outcome, Sha256};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Agreed, Ordering, copy, decided, known_or_new, note, orderable, problem, publication};
use crate::canary::{self, Tried};
use crate::fleet::{Fleet, Source};
use crate::lists;
use crate::names;
use crate::observed::{Answer, Observed, SeenSlice};
use crate::publication::together::{self, Clock, Member, Standing, Target, Together};
use crate::publication::{Copy, Known, Told, Wish};
use crate::runs::whole;
use crate::schedule::later;
use crate::site::Site;
use crate::view::Routing;

/// So long after a run its pod may not say yet what it brought.
const UNTOLD: SignedDuration = SignedDuration::from_secs(60);

/// Decides, and notes in each site what it is told and whether it is offered.
pub fn decide(
    fleet: &Fleet,
    sites: &mut [Site],
    (before, known): (&MirrorStatus, &[Known]),
    wish: &Wish,
    seen: &Observed,
) -> Ordering {
    let (tried, halted) = (
        canary::tried(fleet, sites, before, seen),
        canary::halted(fleet, before),
    );
    let standing = Standing {
        decided: decided(before),
        target: target(before),
        trial: tried.as_ref().map(Tried::trial),
        halted: halted.as_ref().and_then(|it| it.snapshot.parse().ok()),
    };
    let next = standing.target.map(|target| target.snapshot);
    let service = names::mirror_name(&fleet.name);
    let left = lists::left(fleet, seen);
    let members = sites.iter().map(|site| {
        let member = member(site, next, &before.snapshots);
        Member {
            is_away: member.is_away && !seen.cut_off,
            is_routed: is_routed(site, &service, &seen.objects.slices)
                || left.contains(site.name()),
            ..member
        }
    });
    let members: Vec<Member> = members.collect();
    let clock = Clock {
        now: seen.now.as_second(),
        patience: i64::try_from(fleet.spec.rollout.patience.as_secs()).unwrap_or(i64::MAX),
    };
    let decision = together::decide(&standing, wish, known, &members, clock);
    note(sites, &decision.decision.orders, seen.now);
    for (site, withdrawn) in sites.iter_mut().zip(&decision.withdrawn) {
        site.withdrawn_at = known_or_new(site.view.withdrawn_before.clone(), *withdrawn);
    }
    let untold = sites.iter();
    let untold = untold.filter_map(|site| untold_until(site, &before.snapshots));
    let untold = untold.min();
    let mut publication = publication(before, &decision.decision.decided, seen.now);
    let halted = canary::halts(fleet, tried.as_ref(), halted, &decision, seen.now);
    let (trial, audits) = canary::goes_on(fleet, sites, tried, &decision, seen);
    if let Some(publication) = &mut publication {
        publication.preparing = preparing(sites, &decision);
        publication.canary = trial;
        publication.halted = halted;
    }
    Ordering {
        publication,
        problem: (decision.decision.unfulfilled).map(|why| problem(fleet, why)),
        rolled_back: false,
        look_again: (decision.look_again.and_then(second).map(|at| at.0))
            .into_iter()
            .chain(untold)
            .chain(audits.look_again)
            .min(),
        audits,
        agreed: Some(Agreed {
            standing: Standing {
                decided: decision.decision.decided,
                target: decision.target,
                trial: decision.trial,
                halted: decision.halted,
            },
            members,
        }),
    }
}

/// Whether clients are led there who are led to others too: by the Service of all regions, or by its region's Service,
/// which goes on leading to a region that is left out as a whole.
fn is_routed(site: &Site, of_all: &str, slices: &[SeenSlice]) -> bool {
    let (view, of_region) = (&site.view, &site.view.place.service);
    let beside_others = view.routing != Routing::Plain && view.leads_elsewhere;
    view.is_routed(slices, of_all, labels::OFFERED)
        || beside_others && view.is_routed(slices, of_region, labels::ROUTED)
}

fn second(at: i64) -> Option<Time> {
    Timestamp::from_second(at).ok().map(Time)
}

/// What the status says that comes next.
fn target(before: &MirrorStatus) -> Option<Target> {
    let preparing = before.publication.as_ref()?.preparing.as_ref()?;
    Some(Target {
        snapshot: preparing.snapshot.parse().ok()?,
        since: preparing.since.0.as_second(),
    })
}

fn preparing(sites: &[Site], decision: &Together) -> Option<Preparing> {
    let target = decision.target?;
    let waited_for = sites.iter().zip(&decision.waited_for);
    let waited_for = waited_for.filter(|(_, waited_for)| **waited_for);
    let mut waiting_for: Vec<String> = Vec::new();
    for (site, _) in waited_for {
        let name = site.name();
        if waiting_for.iter().all(|other| other != name) {
            waiting_for.push(name.to_owned());
        }
    }
    Some(Preparing {
        snapshot: target.snapshot.to_string(),
        since: second(target.since)?,
        waiting_for,
    })
}

fn member(site: &Site, target: Option<Sha256>, known: &[SnapshotStatus]) -> Member {
    let copy = told(site, known);
    let view = &site.view;
    let withdrawn = view.withdrawn_before.as_ref().map(|at| at.0.as_second());
    let reads_less = site.misfit.is_some() && view.place.source != Source::Upstream;
    Member {
        is_hub: view.place.source == Source::Upstream,
        is_canary: canary::is_canary(site),
        is_away: copy.told.is_none() && !view.not_asked(),
        fails: target.is_some_and(|target| fails(site, &target)) || reads_less || view.is_lost(),
        is_deaf: (site.unheeded()).is_some_and(|unheeded| site.now >= unheeded.is_told_at()),
        withdrawn: match view.was_offered {
            true => None,
            false => withdrawn.or(Some(whole(site.now).as_second())),
        },
        is_routed: false,
        copy,
    }
}

/// What a pod keeps, as far as it is known.
fn told(site: &Site, known: &[SnapshotStatus]) -> Copy {
    let mut copy = as_asked(site);
    if let Some(told) = &mut copy.told {
        let is_new = |new: &KeptSnapshot| told.kept.iter().all(|kept| kept.id != new.id);
        told.kept.extend(just_prepared(site, known).filter(is_new));
        told.kept.sort_by_key(|kept| kept.created);
    }
    copy
}

/// What the last run brought, which the pod may not say yet: it was asked before, or has not looked since.
fn just_prepared(site: &Site, known: &[SnapshotStatus]) -> Option<KeptSnapshot> {
    let last = site.last()?;
    let id = last.prepared.as_ref()?;
    let known = known.iter().find(|known| known.id == *id)?;
    let is_new = site.now < later(last.finished_at.0, UNTOLD);
    // What was on a volume that is gone is not on the one that came in its place.
    let volume = site.view.claim.and_then(|claim| claim.meta.created_at);
    let is_here = volume.is_none_or(|since| since <= last.started_at.0);
    (is_new && is_here).then_some(KeptSnapshot {
        id: id.parse().ok()?,
        created: UnixSeconds(known.created.as_ref()?.0.as_second()),
        date: None,
        superseded_at: None,
        index: known.index.as_ref().and_then(|index| index.parse().ok()),
        changes: None,
        bytes: None,
    })
}

/// When what the last run brought does not count any more, since the pod has not said so for too long.
fn untold_until(site: &Site, known: &[SnapshotStatus]) -> Option<Timestamp> {
    let brought = just_prepared(site, known)?;
    let told = as_asked(site).told;
    let says_so = told.is_some_and(|told| told.kept.iter().any(|kept| kept.id == brought.id));
    let finished = site.last()?.finished_at.0;
    (!says_so).then(|| later(finished, UNTOLD))
}

/// A pod whose volume is empty says so, too. One that has served something before does not: it may be about to open it.
fn as_asked(site: &Site) -> Copy {
    let view = &site.view;
    let is_empty = matches!(view.answer, Some(Answer::Nothing)) && view.before.snapshot.is_none();
    let takes_orders = (view.pod).is_some_and(|pod| pod.takes_orders && !pod.meta.deleting);
    let copy = copy(site);
    let empty = (is_empty && takes_orders).then(|| Told {
        kept: orderable(site, None),
        follows: None,
    });
    Copy {
        told: copy.told.or(empty),
        ..copy
    }
}

/// Whether a region does not get on by itself with copying the target: its volume is at fault, or it was tried twice.
fn fails(site: &Site, target: &Sha256) -> bool {
    let status = &site.runs.status;
    let last = status.last_attempt.as_ref();
    last.is_some_and(|last| {
        let of_it = last.copies == Some(target.to_string());
        let again = status.consecutive_failures > 1;
        match last.reason.outcome() {
            Outcome::Good => false,
            Outcome::Storage | Outcome::Manifest => of_it,
            Outcome::Upstream | Outcome::Refused | Outcome::Cluster => of_it && again,
        }
    })
}
