//! What one region tries for the others: the audits of it over its URL, and what came of them.
//!
//! That it tries something is decided in [`publication`](crate::publication::together). Here its audits are begun, and their
//! results become what that goes by; the status holds both before a Job goes.

use fleet_api::{Audit, Halted, MirrorStatus, Trial};
use fleet_types::documents::Report;
use fleet_types::{Outcome, Reason, Sha256};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube_core::ResourceExt;

use crate::build;
use crate::fleet::{Fleet, Problem};
use crate::object::Owned;
use crate::observed::{Observed, PodRole, SeenJob, SeenPod};
use crate::plan::{PlannedEvent, Write};
use crate::publication::together::{self, Together, Verdict};
use crate::runs::{JOB_PATIENCE, MESSAGE_LENGTH, REPORT_PATIENCE, whole};
use crate::schedule::later;
use crate::site::Site;

/// An audit of which nobody can tell is begun again after so long.
const AGAIN: SignedDuration = SignedDuration::from_mins(1);

/// What is known of the trial that the status tells of.
#[derive(Debug)]
pub struct Tried {
    trial: Trial,
    snapshot: Sha256,
    /// Why it is not well.
    bad: Option<(Reason, String)>,
}

/// What follows from a decision.
#[derive(Debug, Default)]
pub struct Audits {
    pub writes: Vec<Write>,
    /// Jobs whose result the status holds, or that nobody waits for.
    pub discard: Vec<Write>,
    pub look_again: Option<Timestamp>,
}

/// Whether a site is of the region that goes first.
pub fn is_canary(site: &Site) -> bool {
    let canary = site.fleet.spec.rollout.canary.as_ref();
    canary.is_some_and(|canary| canary.region == site.name())
}

/// The trial that goes on, with what its audit came to.
pub fn tried(
    fleet: &Fleet,
    sites: &[Site],
    before: &MirrorStatus,
    seen: &Observed,
) -> Option<Tried> {
    let canary = fleet.spec.rollout.canary.as_ref()?;
    let publication = before.publication.as_ref()?;
    let snapshot = publication.preparing.as_ref()?.snapshot.parse().ok()?;
    let trial = publication.canary.clone();
    let mut trial = trial.filter(|trial| trial.region == canary.region)?;
    if let Some(audit) = &mut trial.audit {
        learn(audit, seen);
    }
    let bad = found_bad(&trial).or_else(|| not_served(sites, &snapshot));
    Some(Tried {
        trial,
        snapshot,
        bad,
    })
}

/// What an audit found that is about what is served, and not about the way there.
fn found_bad(trial: &Trial) -> Option<(Reason, String)> {
    let audit = trial.audit.as_ref()?;
    let reason = audit.reason.filter(|_| !is_well(audit))?;
    let is_bad = reason.outcome() == Outcome::Refused || reason == Reason::UpstreamIncomplete;
    is_bad.then(|| (reason, audit.message.clone()))
}

/// Whether an audit found nothing that speaks for what the others serve: what is too old here is there too.
fn is_well(audit: &Audit) -> bool {
    let is_well = |reason: Reason| reason == Reason::Audited || reason.is_of_age();
    audit.reason.is_some_and(is_well)
}

/// The canary's pod says why it does not serve the snapshot, although it had its time. One that says nothing may not have heard
/// of it yet, and is made anew.
fn not_served(sites: &[Site], snapshot: &Sha256) -> Option<(Reason, String)> {
    let mut canaries = sites.iter().filter(|site| is_canary(site));
    canaries.find_map(|site| {
        let unheeded = site.unheeded()?;
        let problem = site.view.served()?.problem.as_ref()?;
        let is_late = site.now >= unheeded.is_told_at() && unheeded.order.snapshot == *snapshot;
        is_late.then(|| {
            let words = format!(
                "its pod was told at {} to serve it and does not: {problem}",
                unheeded.since
            );
            (Reason::OrderNotTaken, words)
        })
    })
}

/// Takes over what an audit came to.
fn learn(audit: &mut Audit, seen: &Observed) {
    if audit.reason.is_some() {
        return;
    }
    let pods = seen.objects.pods.iter();
    let mut pods = pods.filter(|pod| pod.role == PodRole::Audit);
    let pod = pods.find(|pod| pod.job.as_ref() == Some(&audit.job));
    let job = seen.objects.jobs.iter();
    let job = job.clone().find(|job| job.meta.name == audit.job);
    let started = audit.started_at.as_ref().map_or(seen.now, |at| at.0);
    let Some((reason, message)) = result(audit, pod, job, started, seen.now) else {
        return;
    };
    audit.reason = Some(reason);
    audit.message = message.chars().take(MESSAGE_LENGTH).collect();
    audit.finished_at = Some(Time(whole(seen.now)));
}

fn result(
    audit: &Audit,
    pod: Option<&SeenPod>,
    job: Option<&SeenJob>,
    started: Timestamp,
    now: Timestamp,
) -> Option<(Reason, String)> {
    let name = &audit.job;
    let end = pod.and_then(|pod| pod.end.as_ref());
    if let Some(report) = end.and_then(|end| Report::parse(&end.message)) {
        return Some((report.reason, report.message));
    }
    match job {
        Some(SeenJob { end: None, .. }) => None,
        Some(job) => {
            let at = job.end.as_ref().and_then(|end| end.at).unwrap_or(started);
            let words = crate::runs::end_words(pod, job);
            let message = format!("audit Job {name} ended without a report: {words}");
            (now >= later(at, REPORT_PATIENCE)).then_some((Reason::SyncInterrupted, message))
        }
        None => (now >= later(started, JOB_PATIENCE)).then(|| {
            let message = format!("audit Job {name} disappeared without leaving a report");
            (Reason::SyncJobLost, message)
        }),
    }
}

impl Tried {
    /// As the decision takes it.
    pub fn trial(&self) -> together::Trial {
        let audit = self.trial.audit.as_ref();
        let is_good = audit.is_some_and(is_well);
        together::Trial {
            snapshot: self.snapshot,
            since: self.trial.since.0.as_second(),
            verdict: match (&self.bad, is_good) {
                (Some(_), _) => Some(Verdict::Bad),
                (None, true) => Some(Verdict::Good),
                (None, false) => None,
            },
        }
    }
}

/// What the status says was found bad, as long as the manifest is the one by which it was tried.
pub fn halted(fleet: &Fleet, before: &MirrorStatus) -> Option<Halted> {
    let halted = before.publication.as_ref()?.halted.as_ref()?;
    let is_same = fleet.mirror.metadata.generation == Some(halted.generation);
    let counts = is_same && fleet.spec.rollout.canary.is_some();
    counts.then(|| halted.clone())
}

/// What the status says from now on of what was found bad.
pub fn halts(
    fleet: &Fleet,
    tried: Option<&Tried>,
    known: Option<Halted>,
    decision: &Together,
    now: Timestamp,
) -> Option<Halted> {
    let snapshot = decision.halted?.to_string();
    if let Some(known) = known.filter(|known| known.snapshot == snapshot) {
        return Some(known);
    }
    let tried = tried?;
    let (reason, message) = tried.bad.clone()?;
    Some(Halted {
        snapshot,
        region: tried.trial.region.clone(),
        since: Time(whole(now)),
        reason,
        message: message.chars().take(MESSAGE_LENGTH).collect(),
        generation: fleet.mirror.metadata.generation.unwrap_or(0),
    })
}

/// What the status says from now on of the trial, and the audit that begins now.
pub fn goes_on(
    fleet: &Fleet,
    sites: &[Site],
    tried: Option<Tried>,
    decision: &Together,
    seen: &Observed,
) -> (Option<Trial>, Audits) {
    let mut audits = Audits::default();
    let canary = fleet.spec.rollout.canary.as_ref();
    let trial = decision.trial.zip(canary).map(|(trial, canary)| {
        let since = Timestamp::from_second(trial.since).unwrap_or(seen.now);
        let known = tried.map(|tried| tried.trial);
        let known = known.filter(|known| known.since.0.as_second() == trial.since);
        let mut known = known.unwrap_or_else(|| Trial {
            region: canary.region.clone(),
            since: Time(since),
            audit: None,
        });
        audits.begin(fleet, sites, &trial.snapshot, &mut known, seen);
        known
    });
    let waited_for = trial.as_ref().and_then(|trial| trial.audit.as_ref());
    let waited_for = waited_for.filter(|audit| audit.reason.is_none());
    audits.look_again = audits
        .look_again
        .into_iter()
        .chain(look(waited_for, seen))
        .min();
    audits.clean_up(fleet, waited_for, seen);
    (trial, audits)
}

/// When time alone says that an audit is lost.
fn look(audit: Option<&Audit>, seen: &Observed) -> Option<Timestamp> {
    let audit = audit?;
    let mut jobs = seen.objects.jobs.iter();
    let job = jobs.find(|job| job.meta.name == audit.job);
    let at = match job {
        None => later(audit.started_at.as_ref()?.0, JOB_PATIENCE),
        Some(job) => later(job.end.as_ref()?.at?, REPORT_PATIENCE),
    };
    (at > seen.now).then_some(at)
}

impl Audits {
    /// Begins the audit that is due: the first once the region serves what it tries, another where nobody could tell.
    fn begin(
        &mut self,
        fleet: &Fleet,
        sites: &[Site],
        snapshot: &Sha256,
        trial: &mut Trial,
        seen: &Observed,
    ) {
        let last = trial.audit.as_ref();
        let number = last.map_or(1, |last| last.number.saturating_add(1));
        if let Some(last) = last {
            let Some(at) = last.finished_at.as_ref().filter(|_| !is_well(last)) else {
                return;
            };
            let due = later(at.0, AGAIN);
            if due > seen.now {
                self.look_again = Some(due);
                return;
            }
        }
        let mut led_to = sites
            .iter()
            .filter(|site| is_canary(site) && site.withdrawn_at.is_none());
        let mut region = sites.iter().filter(|site| is_canary(site));
        let Some((first, of_region)) = led_to.clone().next().zip(region.next()) else {
            return;
        };
        if !led_to.all(|site| site.serves(snapshot)) {
            return;
        }
        let place = first.view.place;
        let occasion = format!("{snapshot}/{}/{number}", trial.since.0);
        let name = crate::names::job_name(&place.child, "Audit", &occasion);
        let image = first.view.pod.and_then(|pod| pod.image.as_deref());
        let image = image.unwrap_or(&seen.settings.image);
        // The route is of the region's first replica.
        let url = fleet.url_now(place, of_region.wanted.route.is_accepted());
        let job = build::audit(fleet, place, &name, &url, image);
        trial.audit = Some(Audit {
            job: job.name_any(),
            number,
            started_at: Some(Time(whole(seen.now))),
            ..Audit::default()
        });
        self.writes.push(Write::Create(job.into()));
    }

    fn clean_up(&mut self, fleet: &Fleet, waited_for: Option<&Audit>, seen: &Observed) {
        let ours = |job: &&SeenJob| {
            let meta = &job.meta;
            let is_waited_for = waited_for.is_some_and(|audit| audit.job == meta.name);
            let ours = meta.belongs_to(&fleet.name) && meta.owners.contains(&fleet.uid);
            job.audits() && ours && !meta.deleting && !is_waited_for
        };
        let jobs = seen.objects.jobs.iter().filter(ours);
        let gone = jobs.map(|job| Write::delete(Owned::Job, &job.meta));
        self.discard.extend(gone);
    }
}

impl Site<'_> {
    /// Whether its pod says that it serves this by order, and clients can ask it.
    fn serves(&self, snapshot: &Sha256) -> bool {
        let order = self.view.served().and_then(|served| served.order);
        self.view.ready() && order.is_some_and(|order| order.snapshot == *snapshot)
    }
}

/// What is halted, as a condition says it: what was wrong, what happens next, what helps.
pub fn problem(halted: &Halted) -> Problem {
    let Halted {
        snapshot,
        region,
        since,
        reason,
        message,
        ..
    } = halted;
    let short = snapshot.get(..12).unwrap_or(snapshot);
    let message = message.trim_end_matches(['.', ' ']);
    Problem::new(
        Reason::CanaryFailed,
        format!(
            "snapshot {short} was found bad in region {region}, which served it first, at {}: {reason}: {message}; no other \
             region serves it, and region {region} goes back to what they serve; the next state of the upstream is tried by \
             itself; any edit of the Mirror has this one tried again, and a pin serves it all the same",
            since.0
        ),
    )
}

/// What people should hear of.
pub fn events(before: &MirrorStatus, after: &MirrorStatus) -> Vec<PlannedEvent> {
    let (Some(was), Some(is)) = (&before.publication, &after.publication) else {
        return Vec::new();
    };
    let event = |warning, reason, message| PlannedEvent {
        warning,
        reason,
        action: "Publish",
        message,
    };
    let mut events = Vec::new();
    let halted = is.halted.as_ref().filter(|_| is.halted != was.halted);
    events.extend(halted.map(|halted| event(true, Reason::CanaryFailed, problem(halted).message)));
    if let (Some(trial), None, Some(next)) = (&is.canary, &was.canary, &is.preparing) {
        let message = format!(
            "region {} serves snapshot {} before the others",
            trial.region, next.snapshot
        );
        events.push(event(false, Reason::CanarySoaking, message));
    }
    if let (Some(trial), Some(next), None) = (&was.canary, &was.preparing, &is.canary) {
        let audit = trial.audit.as_ref();
        let is_good = audit.is_some_and(is_well);
        // Its result can have come with this very decision.
        let is_told = audit.is_none_or(|audit| audit.reason.is_some());
        if is.snapshot == next.snapshot && !is.pinned && !is_good && is_told {
            let why = audit.and_then(|audit| Some((audit.reason?, &audit.message)));
            let why = why.map_or_else(
                || "it did not serve it in time".to_owned(),
                |(reason, message)| format!("{reason}: {message}"),
            );
            let message = format!(
                "snapshot {} is served by all regions without an audit of region {}: {why}",
                next.snapshot, trial.region
            );
            events.push(event(true, Reason::CanaryNotAudited, message));
        }
    }
    events
}
