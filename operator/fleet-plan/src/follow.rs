//! What a replica copies next that follows another one, from whom, and when; and the one that fetches, where its volume is
//! a new one.

use fleet_api::mirror::Retries;
use fleet_api::{Attempt, MirrorStatus, Trigger};
use fleet_types::documents::IndexPin;
use fleet_types::{Outcome, Reason, Sha256};
use jiff::{SignedDuration, Timestamp};

use crate::build::Following;
use crate::fleet::{Fleet, Place, Source};
use crate::freshness;
use crate::orders::Agreed;
use crate::plan::FinishedRun;
use crate::publication::sources::{lacks, sources};
use crate::publication::together::Member;
use crate::report::instant;
use crate::schedule::{later, seconds, spread};
use crate::site::Site;
use crate::timing::Due;

/// Copies that fail are tried again after so long at most.
const LONGEST_BACKOFF: u64 = 3600;
/// A source that has just gone away, or given up what was asked for, may be another one the next time.
const ANOTHER_SOURCE: SignedDuration = SignedDuration::from_secs(5);

/// A run that is due, now or later.
#[derive(Debug)]
pub struct Next {
    pub due: Due,
    pub following: Following,
}

/// A volume that is new is filled from the upstream after so many copies have failed.
const ATTEMPTS_TO_REFILL: i32 = 3;

/// The next run of the site at this index; none where it follows nobody or has all that it can get.
pub fn next(
    fleet: &Fleet,
    sites: &[Site],
    at: usize,
    agreed: &Agreed,
    before: &MirrorStatus,
) -> Option<Next> {
    let site = sites.get(at)?;
    let followed: Vec<Option<usize>> = fleet
        .places
        .iter()
        .map(|place| followed(place.source))
        .collect();
    let fetches = followed.get(at).copied().flatten().is_none();
    if fetches && !is_refilled(sites, at, agreed) {
        return None;
    }
    let member = agreed.members.get(at)?;
    let volume = site.view.claim.and_then(|claim| claim.meta.created_at);
    let hub = sites
        .iter()
        .find(|site| site.view.place.source == Source::Upstream)?;
    let wanted = match fetches {
        true => (agreed.standing.decided.snapshot).filter(|_| member.copy.told.is_some()),
        false => lacks(&agreed.standing, member),
    };
    let (snapshot, due) = match wanted {
        Some(snapshot) => (snapshot, copies(site, &snapshot, volume)),
        None if fetches => return None,
        None => renews(fleet, site, hub, member, agreed)?,
    };
    let index = pin(before, &snapshot)?;
    let from = sources(&snapshot, &agreed.members, &followed, at);
    let from = from.into_iter().filter_map(|at| sites.get(at));
    // Whoever has other bytes of it made it anew; and its Service leads to none that is not ready.
    let fits = |site: &&Site| {
        let same = told_pin(site, &snapshot).is_none_or(|told| told == index);
        same && site.view.ready()
    };
    let from = from.filter(fits).filter_map(|site| {
        let url = fleet.follow_url(site.view.place, site.view.pod?)?;
        Some((site.view.place, url))
    });
    let mut from: Vec<(&Place, String)> = from.collect();
    // What a sibling has crosses no link between regions.
    from.sort_by_key(|(place, _)| place.region.name != site.name());
    let source = from.first()?.0;
    Some(Next {
        due,
        following: Following {
            snapshot,
            index,
            source: source.region.name.clone(),
            known_as: fleet
                .trace_name(source)
                .unwrap_or_else(|| source.region.name.clone()),
            urls: from.into_iter().map(|(_, url)| url).collect(),
            confirmed: confirmed(hub, &snapshot, before),
        },
    })
}

/// Whether the one that fetches is to copy what is served from another one first: its volume is a new one, and the others
/// have that still. The upstream is not asked again for what is here.
pub fn is_refilled(sites: &[Site], at: usize, agreed: &Agreed) -> bool {
    let Some((site, served)) = sites.get(at).zip(agreed.standing.decided.snapshot) else {
        return false;
    };
    let keeps = |at: usize| {
        let member = agreed.members.get(at);
        member.is_some_and(|member| member.copy.keeps(&served))
    };
    let mut others = sites.iter().enumerate().filter(|(other, _)| *other != at);
    let is_elsewhere = others.any(|(other, site)| keeps(other) && site.view.ready());
    let status = &site.runs.status;
    let volume = site.view.claim.and_then(|claim| claim.meta.created_at);
    // A run that only copied has not met the upstream since.
    let is_new = status
        .last_attempt
        .as_ref()
        .zip(volume)
        .is_some_and(|(last, since)| last.copies.is_some() || since > last.started_at.0);
    let hopeless = status.consecutive_failures >= ATTEMPTS_TO_REFILL;
    is_new && is_elsewhere && !keeps(at) && !hopeless
}

fn followed(source: Source) -> Option<usize> {
    match source {
        Source::Upstream => None,
        Source::Replica(at) => Some(at),
    }
}

/// The run that brings what is lacking: at once, and after a failure ever later.
fn copies(site: &Site, snapshot: &Sha256, volume: Option<Timestamp>) -> Due {
    let status = &site.runs.status;
    let is_of_it = |last: &&Attempt| {
        let same = last.copies == Some(snapshot.to_string());
        same && volume.is_none_or(|since| since <= last.started_at.0)
    };
    let last = status.last_attempt.as_ref().filter(is_of_it);
    let failed = last.filter(|last| last.reason.outcome() != Outcome::Good);
    let born = volume.map_or_else(String::new, |at| at.to_string());
    let occasion = match last.filter(|last| last.reason.outcome() == Outcome::Good) {
        // It was here, and it is not any more.
        Some(last) => format!("{snapshot} {born} {}", last.started_at.0),
        None => format!("{snapshot} {born}"),
    };
    Due {
        trigger: Trigger::Follow,
        at: failed.map_or(site.now, |last| again(site, last)),
        retry: failed.map_or(0, |last| last.retry.saturating_add(1)),
        occasion,
    }
}

fn again(site: &Site, last: &Attempt) -> Timestamp {
    let fleet = site.fleet;
    again_at(&fleet.timing.retries, &fleet.uid, &site.title(), last)
}

/// When a copy that failed is tried again. `seed` is the Mirror's uid, and `title` says which replica copies.
pub fn again_at(retries: &Retries, seed: &str, title: &str, last: &Attempt) -> Timestamp {
    let times = u32::try_from(last.retry).unwrap_or(0);
    let ended = last.finished_at.0;
    let elsewhere = matches!(
        last.reason,
        Reason::SnapshotGone | Reason::SourceUnreachable
    );
    if elsewhere && times == 0 {
        return later(ended, ANOTHER_SOURCE);
    }
    let first = retries.backoff.as_secs().max(1);
    let doubled = first.saturating_mul(1 << times.min(20));
    let wait = doubled.min(LONGEST_BACKOFF.max(first));
    let began = last.started_at.0.to_string();
    let jitter = spread(&[seed, title, &began], wait / 4);
    later(ended, seconds(wait + jitter))
}

/// The run that brings nothing but what was edited, or what the hub has confirmed since: what a mirror tells of itself is
/// written by runs. One that only confirms comes twice within the objective at most, however often the hub looks.
fn renews(
    fleet: &Fleet,
    site: &Site,
    hub: &Site,
    member: &Member,
    agreed: &Agreed,
) -> Option<(Sha256, Due)> {
    let snapshot = agreed.standing.decided.snapshot?;
    let served = site.view.served().filter(|_| member.copy.told.is_some())?;
    let status = &site.runs.status;
    let inputs = fleet.inputs_of(site.view.place);
    let is_current = |last: &Attempt| inputs.are_those_of(last);
    let of_hub = fleet.inputs_of(hub.view.place);
    let last = status.last_attempt.as_ref()?;
    let hub_went_first = hub
        .runs
        .status
        .last_attempt
        .as_ref()
        .is_some_and(|last| of_hub.are_those_of(last));
    let due = |at: Timestamp, occasion: String| Due {
        trigger: Trigger::Follow,
        at,
        retry: 0,
        occasion,
    };
    if !is_current(last) && hub_went_first && agreed.standing.target.is_none() {
        let edited = Due {
            trigger: Trigger::SpecChange,
            ..due(last.finished_at.0, inputs.occasion())
        };
        return Some((snapshot, edited));
    }
    if last.reason.outcome() != Outcome::Good && last.copies == Some(snapshot.to_string()) {
        let again = Due {
            trigger: Trigger::Retry,
            retry: last.retry.saturating_add(1),
            ..due(again(site, last), last.started_at.0.to_string())
        };
        return Some((snapshot, again));
    }
    let confirmed = hub.view.served()?.last_success.as_ref()?;
    let known = served.last_success.as_ref()?;
    let of_it = |told: &Option<String>| *told == Some(snapshot.to_string());
    let is_newer = confirmed.at > known.at && of_it(&confirmed.snapshot) && of_it(&served.snapshot);
    let half = freshness::objective(fleet) / 2;
    is_newer.then(|| {
        let known_at = instant(known.at);
        (
            snapshot,
            due(later(known_at, half), format!("confirmed {known_at}")),
        )
    })
}

/// When the hub last found a snapshot to be what the upstream has; of one that it has gone on from, when it was made.
fn confirmed(hub: &Site, snapshot: &Sha256, before: &MirrorStatus) -> Timestamp {
    let id = snapshot.to_string();
    let served = hub.view.served();
    let success = served.and_then(|served| served.last_success.as_ref());
    let success = success.filter(|success| success.snapshot.as_ref() == Some(&id));
    let known = before.snapshots.iter().find(|known| known.id == id);
    let made = || known?.created.clone();
    match success {
        Some(success) => instant(success.at),
        None => made().map_or(hub.now, |made| made.0),
    }
}

/// The index of a snapshot, as the status has it.
fn pin(before: &MirrorStatus, snapshot: &Sha256) -> Option<IndexPin> {
    let id = snapshot.to_string();
    let known = before.snapshots.iter().find(|known| known.id == id)?;
    known.index.as_ref()?.parse().ok()
}

/// The index of a snapshot, as a site's pod says it.
fn told_pin(site: &Site, snapshot: &Sha256) -> Option<IndexPin> {
    let mut kept = site.view.served()?.kept.iter();
    kept.find(|kept| kept.id == *snapshot)?.index
}

/// The index of a snapshot: as the hub's run told that made it, else as it is known, else as its pods say.
pub fn index(sites: &[Site], known: Option<&String>, snapshot: &str) -> Option<String> {
    let id: Sha256 = snapshot.parse().ok()?;
    let hub = sites
        .iter()
        .find(|site| site.view.place.source == Source::Upstream)?;
    let reported = |run: &FinishedRun| {
        let prepared = run.report.as_ref()?.prepared.filter(|kept| kept.id == id)?;
        prepared.index
    };
    let reported = hub.runs.finished.iter().find_map(reported);
    let known = || known.and_then(|known| known.parse().ok());
    let told = || {
        let others = sites.iter().find_map(|site| told_pin(site, &id));
        told_pin(hub, &id).or(others)
    };
    let pin: Option<IndexPin> = reported.or_else(known).or_else(told);
    pin.map(|pin| pin.to_string())
}
