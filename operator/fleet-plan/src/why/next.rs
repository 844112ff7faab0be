//! What happens next by itself.

use fleet_api::{ConditionType, Trigger};
use fleet_types::{Outcome, Reason};

use super::sentence as ended_sentence;
use crate::summary::{Known, MirrorSummary, RunSummary, copies, span};
use crate::timing::Due;

/// The sentence for the paragraph.
pub fn sentence(known: &Known, told: &MirrorSummary) -> String {
    let mut parts = Vec::new();
    if known.mirror.metadata.deletion_timestamp.is_some() {
        return "It is being deleted.".to_owned();
    }
    if known.is_unseen() {
        return "The controller looks at it within seconds, if one runs.".to_owned();
    }
    let runs = known.runs();
    for (region, run) in &runs {
        parts.push(self::run(known, region, run));
    }
    let copies = copies::to_come(known);
    let is_idle = runs.is_empty() && copies.is_empty();
    parts.extend(copies);
    parts.extend(copies::publication(known));
    let suspended = known.mirror.spec.suspend;
    if suspended && is_idle {
        parts.push("nothing happens by itself: no sync begins while it is suspended".to_owned());
    } else if suspended {
        parts.push("no other begins while it is suspended".to_owned());
    } else if runs.is_empty() {
        parts.push(coming(known));
    }
    parts.extend(by_kubernetes(known, told));
    if told.held.iter().any(|note| note.reason == Reason::Pinned) {
        parts.push("what is synced is kept beside the pinned snapshot and not served".to_owned());
    }
    ended_sentence(&parts.join("; "))
}

fn run(known: &Known, region: &str, run: &RunSummary) -> String {
    let since = span(known.now.duration_since(run.started_at).as_secs());
    let progress = run.progress.as_ref();
    let progress = progress.map_or(String::new(), |progress| format!(", {progress}"));
    // Without a cluster there is no Job.
    let job = match run.job.as_str() {
        "" => String::new(),
        job => format!("Job {job}, "),
    };
    format!("a sync of region {region} runs ({job}for {since}{progress})")
}

/// The sync that comes next.
fn coming(known: &Known) -> String {
    if known.mirror.spec.fills_itself() {
        return "what clients ask for is fetched then; no sync is planned".to_owned();
    }
    if known.is_waiting() {
        return "its next sync begins when it is its turn at the Upstream".to_owned();
    }
    if known.misfit().is_some() {
        return "its next sync begins once the regions read what it would write".to_owned();
    }
    if let Some(region) = known.fetching_is_down() {
        let instead = copies::stands_by(known, &region)
            .map_or(String::new(), |other| format!(", or in region {other}"));
        return format!(
            "its next sync begins once the serving pod of region {region} is back{instead}"
        );
    }
    if let Some(since) = known.overdue() {
        return format!(
            "its next sync has been due since {since}, and begins once a controller runs"
        );
    }
    let Some((at, due)) = known.next() else {
        let stalled = known.complaint(ConditionType::Stalled).is_some();
        return match stalled {
            true => "nothing happens by itself until that is done".to_owned(),
            false => "no sync is planned".to_owned(),
        };
    };
    let seconds = at.duration_since(known.now).as_secs();
    let when = match seconds {
        ..=0 => "begins now".to_owned(),
        _ => format!("begins at {at}, in {}", span(seconds)),
    };
    format!("{} {when}", self::words(known, due.as_ref()))
}

pub fn words(known: &Known, due: Option<&Due>) -> String {
    let limit = known.mirror.spec.sync.retries.limit;
    match due {
        None => "the next sync".to_owned(),
        Some(due) => match due.trigger {
            Trigger::First => "the first sync".to_owned(),
            Trigger::Schedule if is_spent(known) => {
                "all retries are used up, and the next scheduled sync".to_owned()
            }
            Trigger::Schedule => "the next scheduled sync".to_owned(),
            Trigger::Request => "the sync that was asked for".to_owned(),
            Trigger::SpecChange => "a sync of what was edited".to_owned(),
            Trigger::Push => "a sync of what somebody said is new".to_owned(),
            Trigger::UpstreamChange => "a sync of what is new at the authority".to_owned(),
            Trigger::Follow => "a copy from another region".to_owned(),
            Trigger::Retry => format!("retry {} of {limit}", due.retry),
        },
    }
}

/// Whether the last round ended with its last retry.
fn is_spent(known: &Known) -> bool {
    let limit = known.mirror.spec.sync.retries.limit;
    let status = known.status();
    let mut last = (status.replicas()).filter_map(|(_, replica)| replica.last_attempt.as_ref());
    last.any(|last| {
        let retries = u32::try_from(last.retry).unwrap_or(0);
        last.reason.outcome() != Outcome::Good && retries >= limit
    })
}

/// What Kubernetes goes on trying.
fn by_kubernetes(known: &Known, told: &MirrorSummary) -> Option<String> {
    let root = told.problems.first()?;
    let words = match root.reason {
        Reason::ImageNotPulled => "Kubernetes tries again to pull the image",
        Reason::PodUnschedulable | Reason::SyncUnschedulable => {
            "Kubernetes starts the pod as soon as a node fits"
        }
        Reason::PodCrashing => "Kubernetes starts the pod again and again",
        Reason::CreationRefused => "the controller tries again until it is let",
        Reason::VolumePending => "the rest follows as soon as the volume is there",
        Reason::PodNotReady => return copies::comes_back(known),
        _ => return None,
    };
    Some(words.to_owned())
}
