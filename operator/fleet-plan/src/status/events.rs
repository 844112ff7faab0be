//! What people should hear of, when a status changes.

use fleet_api::{ConditionStatus, ConditionType, MirrorStatus, RegionStatus};
use fleet_types::{Outcome, Reason};

use crate::plan::{FinishedRun, PlannedEvent};
use crate::verdict::{Verdict, said};
use crate::{canary, orders};

/// What people should hear of: runs that published or failed, and Stalled and Fresh when they change.
pub fn events(
    before: &MirrorStatus,
    after: &MirrorStatus,
    finished: &[FinishedRun],
) -> Vec<PlannedEvent> {
    let mut events: Vec<PlannedEvent> = finished
        .iter()
        .filter(|run| !matches!(run.reason, Reason::Unchanged | Reason::Prepared))
        .map(|run| run_event(run, after))
        .collect();
    events.extend(orders::events(before, after));
    events.extend(canary::events(before, after));
    events.extend(withdrawal_events(before, after));
    events.extend(clock_events(before, after));
    events.extend(handed_over(before, after));
    for kind in [ConditionType::Stalled, ConditionType::Fresh] {
        let was = said(kind, &before.conditions);
        let Some(is) = said(kind, &after.conditions) else {
            continue;
        };
        let of = |verdict: &Verdict| (verdict.status, verdict.reason);
        let changed = was.as_ref().map(of) != Some(of(&is));
        let bad = (kind == ConditionType::Stalled) == is.is(ConditionStatus::True);
        let recovered =
            kind == ConditionType::Fresh && was.is_some_and(|was| was.is(ConditionStatus::False));
        if changed && !is.is(ConditionStatus::Unknown) && (bad || recovered) {
            events.push(PlannedEvent {
                warning: bad,
                reason: is.reason,
                action: "Reconcile",
                message: is.message,
            });
        }
    }
    events
}

/// Of regions that fetch each for itself: the lists leave one out, or have it again.
fn withdrawal_events(before: &MirrorStatus, after: &MirrorStatus) -> Vec<PlannedEvent> {
    let news = after.regions.iter().filter_map(|region| {
        let mut known = before.regions.iter();
        let known = known.find(|known| known.name == region.name);
        let was = known.is_some_and(|known| known.withdrawn_at.is_some());
        let is = region.withdrawn_at.is_some();
        let name = &region.name;
        let (reason, message) = match is {
            true => (Reason::Withdrawn, withdrawn(region)?),
            false => (
                Reason::Readmitted,
                format!("region {name} is in the lists of regions again"),
            ),
        };
        (region.role.is_none() && was != is).then_some(PlannedEvent {
            warning: is,
            reason,
            action: "Withdraw",
            message,
        })
    });
    news.collect()
}

/// That a region is left out, in words.
pub fn withdrawn(region: &RegionStatus) -> Option<String> {
    let (since, behind) = (region.withdrawn_at.as_ref()?.0, &region.superseded_at);
    let behind = behind
        .as_ref()
        .map(|behind| format!(", as it has been behind the authority since {}", behind.0));
    Some(format!(
        "region {} has been left out of the lists of regions since {since}{}; it is in them again once it has caught up",
        region.name,
        behind.unwrap_or_default()
    ))
}

/// Of clocks that have gone wrong.
fn clock_events(before: &MirrorStatus, after: &MirrorStatus) -> Vec<PlannedEvent> {
    let wrong = |status: &MirrorStatus| -> Vec<String> {
        let replicas = status.replicas();
        let wrong = replicas.filter(|(_, replica)| replica.clock_wrong_since.is_some());
        wrong.map(|(region, _)| region.name.clone()).collect()
    };
    let was = wrong(before);
    let news = wrong(after)
        .into_iter()
        .filter(|region| !was.contains(region));
    let told = news.map(|region| PlannedEvent {
        warning: true,
        reason: Reason::ClockSkew,
        action: "Reconcile",
        message: format!(
            "the clock of the node of region {region} differs from the controller's by more than five seconds: set both by NTP"
        ),
    });
    told.collect()
}

/// That somebody else fetches now.
fn handed_over(before: &MirrorStatus, after: &MirrorStatus) -> Option<PlannedEvent> {
    let who = |status: &MirrorStatus| {
        let fetcher = status.fetcher.as_ref()?;
        Some((fetcher.region.clone(), fetcher.replica))
    };
    if who(before) == who(after) {
        return None;
    }
    let (reason, message) = match &after.fetcher {
        Some(fetcher) => {
            let title = fetcher.title(&after.regions);
            let words = "as the one that comes before it cannot";
            (
                fetcher.reason,
                format!("region {title} fetches from now on, {words}"),
            )
        }
        None => {
            let words = "the region that others follow fetches again";
            (Reason::Progressing, words.to_owned())
        }
    };
    Some(PlannedEvent {
        warning: after.fetcher.is_some(),
        reason,
        action: "TakeOver",
        message,
    })
}

fn run_event(run: &FinishedRun, after: &MirrorStatus) -> PlannedEvent {
    let mut attempts = (after.replicas()).filter_map(|(_, replica)| replica.last_attempt.as_ref());
    let last = attempts.find(|last| last.job == run.job);
    let message = last.map(|last| last.message.clone());
    let message = message
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| run.reason.description().trim().to_owned());
    PlannedEvent {
        warning: run.reason.outcome() != Outcome::Good,
        reason: run.reason,
        action: "Sync",
        message: format!("region {}, Job {}: {message}", run.region, run.job),
    }
}
