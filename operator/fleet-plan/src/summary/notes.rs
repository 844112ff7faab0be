//! What is wrong with a Mirror and what is held, each as one note.

use fleet_api::{Attempt, ConditionStatus, ConditionType, RegionState, RegionStatus};
use fleet_types::{Outcome, Reason, counted};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{Known, copies, enumeration};
use crate::schedule::later;
use crate::verdict::{Verdict, said};

/// One thing that a person should know.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Note {
    /// One fixed word.
    pub reason: Reason,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// What is so, where, and what comes of it.
    pub message: String,
}

impl Note {
    fn new(reason: Reason, since: Option<Timestamp>, message: impl Into<String>) -> Note {
        Note {
            reason,
            since,
            message: message.into(),
        }
    }
}

/// The conditions that complain, in the order in which one is the root of the next.
const CONDITIONS: [ConditionType; 6] = [
    ConditionType::Stalled,
    ConditionType::Ready,
    ConditionType::StorageReady,
    ConditionType::Verified,
    ConditionType::Serving,
    ConditionType::Fresh,
];

/// What is wrong, the root first; each reason once.
pub fn problems(known: &Known) -> Vec<Note> {
    let mut all: Vec<Note> = Vec::new();
    all.extend(unseen(known));
    for kind in CONDITIONS {
        if kind == ConditionType::Fresh {
            all.extend(failures(known));
        }
        let found = known.complaint(kind);
        all.extend(found.map(|(verdict, since)| complaint(known, kind, verdict, since)));
    }
    all.extend(replicas_down(known));
    let misfit = known.misfit().into_iter();
    all.extend(
        misfit.map(|(verdict, since)| Note::new(verdict.reason, Some(since), verdict.message)),
    );
    all.extend(halted(known));
    all.extend(stale_by_now(known));
    all.extend(untold(known));
    all.extend(authority(known));
    all.extend(overdue(known));
    let mut told: Vec<Note> = Vec::new();
    for note in all {
        if !told.iter().any(|earlier| earlier.reason == note.reason) {
            told.push(note);
        }
    }
    told
}

fn complaint(known: &Known, kind: ConditionType, verdict: Verdict, since: Timestamp) -> Note {
    // The condition changed once the objective was over; the region has been behind for longer.
    let behind = || Some(known.status().superseded_at?.0);
    let since = match (kind, verdict.reason) {
        (ConditionType::Fresh, Reason::Stale) => behind().unwrap_or(since),
        _ => since,
    };
    Note::new(verdict.reason, Some(since), verdict.message)
}

/// Replicas that are away while others of their region serve its clients.
fn replicas_down(known: &Known) -> Option<Note> {
    let status = known.status();
    let is_partly = |region: &&RegionStatus| region.replicas.iter().any(|replica| replica.ready);
    let regions = status.regions.iter().filter(is_partly);
    let down = regions.flat_map(|region| {
        let replicas = region.replicas.iter().enumerate();
        let down = replicas.filter(|(_, replica)| !replica.ready);
        down.map(move |(number, _)| region.title(number))
    });
    let down: Vec<String> = down.collect();
    let what = match down.as_slice() {
        [] => return None,
        [one] => format!("replica {one} is not ready"),
        several => format!("replicas {} are not ready", enumeration(several)),
    };
    let message = format!("{what}; others of the same region serve its clients");
    Some(Note::new(Reason::PodNotReady, None, message))
}

/// Runs that fail while what they would replace is served.
fn failures(known: &Known) -> Option<Note> {
    let status = known.status();
    let failing = |last: &&Attempt| last.reason.outcome() != Outcome::Good;
    let mut replicas = status.titled();
    replicas.find_map(|(name, replica)| {
        let last = replica.last_attempt.as_ref().filter(failing)?;
        let times = match replica.consecutive_failures {
            ..=1 => "the last sync".to_owned(),
            many => format!("each of the last {}", counted(many, "sync")),
        };
        Some(Note::new(
            last.reason,
            Some(last.finished_at.0),
            format!("{times} of region {name} failed: {}", last.message),
        ))
    })
}

/// What was found bad in the region that served it first.
fn halted(known: &Known) -> Option<Note> {
    let halted = known.status().publication?.halted?;
    let problem = crate::canary::problem(&halted);
    Some(Note::new(
        problem.reason,
        Some(halted.since.0),
        problem.message,
    ))
}

/// The objective is over since the controller last looked.
fn stale_by_now(known: &Known) -> Option<Note> {
    let status = known.status();
    let since = status.superseded_at.as_ref()?.0;
    (known.now > later(since, known.objective())).then(|| {
        let objective = known.mirror.spec.freshness.objective;
        let message = format!(
            "a region has been behind the authority since {since}, longer than spec.freshness.objective ({objective})"
        );
        Note::new(Reason::Stale, Some(since), message)
    })
}

/// Freshness that cannot be told, of a Mirror that serves.
fn untold(known: &Known) -> Option<Note> {
    let found = ConditionType::Fresh.find(known.conditions())?;
    let fresh = Verdict::of(found);
    let ready = known.said(ConditionType::Ready);
    let serves = ready.is_some_and(|ready| ready.is(ConditionStatus::True));
    let since = found.last_transition_time.0;
    (serves && fresh.is(ConditionStatus::Unknown) && !is_first_asked(known, &fresh, since))
        .then(|| Note::new(fresh.reason, Some(since), fresh.message))
}

/// So long nobody is called for an authority that has said nothing at all yet.
const FIRST_ANSWER: SignedDuration = SignedDuration::from_mins(1);

/// Whether the first question ever to the authority may still be on its way.
fn is_first_asked(known: &Known, fresh: &Verdict, since: Timestamp) -> bool {
    let status = known.upstream.and_then(|upstream| upstream.status.as_ref());
    let answered = status.and_then(|status| ConditionType::Reachable.find(&status.conditions));
    fresh.reason == Reason::Unknown && answered.is_none() && known.now < later(since, FIRST_ANSWER)
}

/// What is wrong with the Upstream, whatever was measured before.
fn authority(known: &Known) -> Option<Note> {
    let upstream = known.upstream?;
    let name = &known.mirror.spec.upstream_ref.name;
    let conditions = upstream.status.as_ref().map(|status| &status.conditions)?;
    let kinds = [ConditionType::Reachable, ConditionType::Consistent];
    kinds.into_iter().find_map(|kind| {
        let found = kind.find(conditions)?;
        let verdict = said(kind, conditions)?;
        verdict.is(ConditionStatus::False).then(|| {
            Note::new(
                verdict.reason,
                Some(found.last_transition_time.0),
                format!("Upstream {name}: {}", verdict.message),
            )
        })
    })
}

/// Nobody has looked at the manifest as it is now.
fn unseen(known: &Known) -> Option<Note> {
    if !known.is_unseen() {
        return None;
    }
    let seen = known.status().observed_generation;
    let message = match seen {
        ..0 => "no controller has looked at it yet".to_owned(),
        seen => format!(
            "no controller has looked at its last edit yet (generation {seen} was the last that one did)"
        ),
    };
    Some(Note::new(Reason::Progressing, None, message))
}

/// A run that nothing holds and nobody starts.
fn overdue(known: &Known) -> Option<Note> {
    let at = known.overdue()?;
    Some(Note::new(
        Reason::Progressing,
        Some(at),
        format!("a sync has been due since {at} and none began: the controller may not run"),
    ))
}

/// What does not go on by itself as it would, and why.
pub fn held(known: &Known) -> Vec<Note> {
    let spec = &known.mirror.spec;
    let mut notes = Vec::new();
    if spec.suspend {
        notes.push(Note::new(
            Reason::Suspended,
            None,
            "spec.suspend stops new syncs; what is served stays served",
        ));
    }
    if !spec.snapshots.pinned.is_empty() {
        let pinned = &spec.snapshots.pinned;
        notes.push(Note::new(
            Reason::Pinned,
            None,
            format!(
                "spec.snapshots.pinned keeps snapshot {} served, whatever the upstream publishes",
                short(pinned)
            ),
        ));
    }
    if !spec.snapshots.skip.is_empty() {
        let skipped: Vec<&str> = spec.snapshots.skip.iter().map(|id| short(id)).collect();
        notes.push(Note::new(
            Reason::RolledBack,
            None,
            format!(
                "spec.snapshots.skip keeps {} from being served; the newest other snapshot is",
                skipped.join(", ")
            ),
        ));
    }
    if spec.rollout.paused {
        notes.push(Note::new(
            Reason::RolloutPaused,
            None,
            "spec.rollout.paused keeps what is newer from being served; it is synced and waits",
        ));
    }
    if known.is_waiting() {
        let ready = known.said(ConditionType::Ready);
        let words = ready.map(|ready| ready.message);
        let words = words.unwrap_or_else(|| Reason::WaitingForTurn.description().trim().to_owned());
        notes.push(Note::new(Reason::WaitingForTurn, None, words));
    }
    notes.extend(taken_over(known));
    notes.extend(left_out(known));
    notes.extend(copying(known));
    notes.extend(tried(known));
    notes.extend(on_its_way(known));
    notes.extend(asked_to_wait(known));
    notes
}

/// That another one fetches than the manifest says first.
fn taken_over(known: &Known) -> Option<Note> {
    let status = known.status();
    let fetcher = status.fetcher.as_ref()?;
    let since = fetcher.since.0;
    let title = fetcher.title(&status.regions);
    let (reason, then) = match fetcher.reason {
        // A run there could tell, and none begins there.
        Reason::UpstreamUnreachable => (fetcher.reason, "until it cannot itself"),
        reason => (reason, "until that is over and it has caught up"),
    };
    let message = format!(
        "region {title} fetches since {since}, as the one that comes before it cannot ({reason}), {then}"
    );
    Some(Note::new(reason, Some(since), message))
}

/// Regions to which clients are not led until they have caught up.
fn left_out(known: &Known) -> Vec<Note> {
    let status = known.status();
    let joining = |region: &&RegionStatus| region.state == RegionState::Joining;
    let joining = status.regions.iter().filter(joining);
    let withdrawn = status.regions.iter().filter_map(|region| {
        let words =
            (region.state == RegionState::Withdrawn).then(|| crate::status::withdrawn(region));
        let since = region.withdrawn_at.as_ref()?.0;
        Some(Note::new(Reason::Withdrawn, Some(since), words.flatten()?))
    });
    let notes = joining.filter_map(|region| {
        let (title, since) = match &region.withdrawn_at {
            Some(since) => (region.name.clone(), since.0),
            None => {
                let numbers = 0..region.replicas.len();
                let mut left_out = numbers.filter_map(|it| Some((it, region.withdrawn(it)?)));
                let (number, since) = left_out.next()?;
                (region.title(number), since.0)
            }
        };
        let does = copies::doing(known, region);
        let message = format!(
            "region {title} has been left out of the Mirror's Service since {since}, until it serves what the others do: {does}"
        );
        Some(Note::new(Reason::Joining, Some(since), message))
    });
    notes.chain(withdrawn).collect()
}

/// The next snapshot, while regions are waited for that do not have it.
fn copying(known: &Known) -> Option<Note> {
    let status = known.status();
    let preparing = status.publication.as_ref()?.preparing.as_ref()?;
    let waiting = |region: &&RegionStatus| preparing.waiting_for.contains(&region.name);
    let waiting = status.regions.iter().filter(waiting);
    let waiting: Vec<String> = waiting
        .map(|region| format!("region {} ({})", region.name, copies::doing(known, region)))
        .collect();
    let since = preparing.since.0;
    let until = copies::until(known, since);
    (!waiting.is_empty()).then(|| {
        let message = format!(
            "snapshot {} is copied to every region before one serves it; waited for, until {until} at most: {}",
            short(&preparing.snapshot),
            enumeration(&waiting)
        );
        Note::new(Reason::Copying, Some(since), message)
    })
}

/// The next snapshot, while one region serves it before the others.
fn tried(known: &Known) -> Option<Note> {
    let publication = known.status().publication?;
    let (trial, next) = (publication.canary?, publication.preparing?);
    let since = trial.since.0;
    let rollout = &known.mirror.spec.rollout;
    let soak = rollout.canary.as_ref().map_or(0, |it| it.soak.as_secs());
    let soaked = later(since, crate::schedule::seconds(soak));
    let audit = match trial.audit {
        None => "it is audited once it serves it".to_owned(),
        Some(audit) => match audit.reason {
            None => format!("Job {} audits it", audit.job),
            Some(Reason::Audited) => "it was audited and is well".to_owned(),
            Some(reason) => format!(
                "nobody could tell yet whether it is well ({reason}: {}); it is audited again, and not waited for beyond {}",
                audit.message.trim_end_matches(['.', ' ']),
                copies::until(known, soaked)
            ),
        },
    };
    let message = format!(
        "region {} serves snapshot {} before the others, at least until {soaked}: {audit}",
        trial.region,
        short(&next.snapshot)
    );
    Some(Note::new(Reason::CanarySoaking, Some(since), message))
}

/// What is being changed while all serve, for example which region's pod gets another image next.
fn on_its_way(known: &Known) -> Option<Note> {
    let ready = known.said(ConditionType::Ready)?;
    let found = ConditionType::Reconciling.find(known.conditions())?;
    let verdict = Verdict::of(found);
    let is_told = ready.is(ConditionStatus::True)
        && verdict.is(ConditionStatus::True)
        && verdict.reason == Reason::Progressing;
    let since = Some(found.last_transition_time.0);
    is_told.then(|| Note::new(verdict.reason, since, verdict.message))
}

/// The upstream asked not to be visited for a while.
fn asked_to_wait(known: &Known) -> Option<Note> {
    let status = known.status();
    let attempts = (status.replicas()).filter_map(|(_, replica)| replica.last_attempt.as_ref());
    let waits = attempts.filter_map(|last| last.not_before.as_ref());
    let until = waits.map(|wait| wait.0).max()?;
    (until > known.now).then(|| {
        let message = format!("the upstream asked not to be visited before {until}");
        Note::new(Reason::UpstreamBusy, None, message)
    })
}

/// The beginning of an id, enough to tell it from others.
pub fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
