//! What became of the runs: a run that ended enters the status, and only then its Job goes.

mod kept;
mod words;

use fleet_api::{Attempt, Contradiction, ReplicaStatus, Run, Trigger, labels};
use fleet_types::Reason;
use fleet_types::documents::Report;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use self::kept::{failed, is_kept, is_same, ours, volume_stays};
pub use self::words::end_words;
use self::words::held_up;
use crate::fleet::Source;
use crate::object::Owned;
use crate::observed::{Answer, SeenJob};
use crate::plan::{FinishedRun, Write};
use crate::report::instant;
use crate::schedule::later;
use crate::timing;
use crate::view::RegionView;

/// A run that was pending for so long cannot be scheduled.
const PENDING_LIMIT: SignedDuration = SignedDuration::from_mins(5);
/// Watches of Jobs and pods run apart and answers of serving pods come late: so long a report is waited for.
pub const REPORT_PATIENCE: SignedDuration = SignedDuration::from_secs(20);
/// A watch may lag behind our own write: only after so long a Job that is not seen is lost.
pub const JOB_PATIENCE: SignedDuration = SignedDuration::from_secs(60);
/// Longest message that enters a status.
pub const MESSAGE_LENGTH: usize = 1024;

/// What a region's runs are, after the results of those that ended were taken over.
#[derive(Debug)]
pub struct Runs {
    /// The copy's status with the results in it.
    pub status: ReplicaStatus,
    pub finished: Vec<FinishedRun>,
    /// Deletions of Jobs whose result the status holds.
    pub discard: Vec<Write>,
    /// Deletions of Jobs that stand in the way of their serving pod.
    pub displace: Vec<Write>,
    /// Whether anything of a Job exists or may exist: no other may be created beside it.
    pub occupied: bool,
    /// When time alone changes this.
    pub look_again: Option<Timestamp>,
}

impl Runs {
    /// As the status has it.
    pub fn new(status: ReplicaStatus) -> Runs {
        Runs {
            status,
            finished: Vec::new(),
            discard: Vec::new(),
            displace: Vec::new(),
            occupied: false,
            look_again: None,
        }
    }

    /// Takes stock. `leaving` says that the serving pod goes for another template: serving wins.
    pub fn take_stock(&mut self, view: &RegionView, owner: &str, now: Timestamp, leaving: bool) {
        for job in &view.jobs {
            self.job(view, job, owner, now, leaving);
        }
        self.keep_newest(view, owner, now);
        self.vanished(view, now);
    }

    fn job(
        &mut self,
        view: &RegionView,
        job: &SeenJob,
        owner: &str,
        now: Timestamp,
        leaving: bool,
    ) {
        let run = run_of(job, now);
        let last = view.before.last_attempt.as_ref();
        if ours(job, owner) && is_kept(view, job, &run) {
            return;
        }
        self.occupied = true;
        if !ours(job, owner) {
            return;
        }
        // No run begins before the one before it is in the status.
        let superseded = |last: &Attempt| job.end.is_some() && run.started_at < last.started_at;
        if last.is_some_and(|last| is_same(last, &run) || superseded(last)) {
            self.discard.push(delete(job));
            return;
        }
        self.learn(job, &run);
        if job.end.is_some() {
            self.ended(view, job, run, now);
        } else if leaving || moved(view, job) || fetches_no_more(view, job) {
            self.displaced(job);
        } else {
            self.under_way(view, job, run, now);
        }
    }

    /// A controller that ended between making a Job and saying so left its successor a run that the status does not
    /// know. What it was started for stands on the Job.
    fn learn(&mut self, job: &SeenJob, run: &Run) {
        let known = self.status.current_run.as_ref();
        if known.is_some_and(|known| known.job == run.job) {
            return;
        }
        if let Some(request) = job.meta.annotation(labels::REQUEST) {
            self.status.handled_sync_request = Some(request.to_owned());
        }
        if timing::begins_round(run.trigger) {
            self.status.round_started_at = Some(run.started_at.clone());
        }
    }

    /// The run stands in the way of its serving pod. What a person asked for is not done, so it is due again.
    fn displaced(&mut self, job: &SeenJob) {
        self.displace.push(delete(job));
        self.status.current_run = None;
        if job.meta.annotation(labels::REQUEST) == self.status.handled_sync_request.as_deref() {
            self.status.handled_sync_request = None;
        }
    }

    fn under_way(&mut self, view: &RegionView, job: &SeenJob, run: Run, now: Timestamp) {
        let pod = view.pod_of(&job.meta.name);
        let limit = later(run.started_at.0, PENDING_LIMIT);
        let started = pod.is_some_and(|pod| pod.running || pod.end.is_some());
        if started || now < limit {
            if !started {
                self.look_at(limit);
            }
            self.status.current_run = Some(run);
            return;
        }
        let (reason, words) = held_up(view, &job.meta.name);
        let message = format!(
            "sync Job {} could not start within five minutes: its pod {words}",
            job.meta.name,
        );
        self.record(view.name(), run, Ending::lost(reason, message, now));
        self.discard.push(delete(job));
    }

    fn ended(&mut self, view: &RegionView, job: &SeenJob, run: Run, now: Timestamp) {
        let pod = view.pod_of(&job.meta.name);
        let end_at = pod.and_then(|pod| pod.end.as_ref()).and_then(|end| end.at);
        let end_at = end_at
            .or(job.end.as_ref().and_then(|end| end.at))
            .unwrap_or(now);
        let told = pod
            .and_then(|pod| pod.end.as_ref())
            .and_then(|end| Report::parse(&end.message));
        if let Some(report) = told.or_else(|| kept_report(view, run.started_at.0)) {
            self.record(view.name(), run, Ending::reported(report, end_at));
        } else if now < later(end_at, REPORT_PATIENCE) || view.not_asked() {
            self.look_at(later(end_at, REPORT_PATIENCE));
            self.status.current_run = Some(run);
        } else {
            let message = format!(
                "sync Job {} ended without a report: {}",
                job.meta.name,
                end_words(pod, job)
            );
            self.record(
                view.name(),
                run,
                Ending::lost(Reason::SyncInterrupted, message, end_at),
            );
        }
    }

    /// The Job of the last run that failed stays, for its log, until another run has ended. All others go once their
    /// result is in the status.
    fn keep_newest(&mut self, view: &RegionView, owner: &str, now: Timestamp) {
        for job in view
            .jobs
            .iter()
            .filter(|job| job.end.is_some() && ours(job, owner))
        {
            let run = run_of(job, now);
            let last = self.status.last_attempt.as_ref();
            let newest = last.is_some_and(|last| is_same(last, &run));
            let recorded = newest || is_kept(view, job, &run);
            let failed = last.is_some_and(failed);
            let gone = delete(job);
            if recorded
                && !(newest && failed && volume_stays(view))
                && !self.discard.contains(&gone)
            {
                self.discard.push(gone);
            }
        }
    }

    /// A run that the status knows and of which there is no Job.
    fn vanished(&mut self, view: &RegionView, now: Timestamp) {
        let Some(run) = self.status.current_run.clone() else {
            return;
        };
        let is_there = |job: &&SeenJob| job.meta.name == run.job;
        let there = view.jobs.iter().copied().find(is_there);
        if there.is_some_and(|job| !is_kept(view, job, &run_of(job, now))) {
            return;
        }
        let patience = later(run.started_at.0, JOB_PATIENCE);
        if now < patience || view.not_asked() {
            self.occupied = true;
            self.look_at(patience);
        } else if let Some(report) = kept_report(view, run.started_at.0) {
            let at = instant(report.finished_at);
            self.record(view.name(), run, Ending::reported(report, at));
        } else {
            let message = format!(
                "sync Job {} disappeared without leaving a report; it is tried again",
                run.job
            );
            self.record(
                view.name(),
                run,
                Ending::lost(Reason::SyncJobLost, message, now),
            );
        }
    }

    /// The run ended.
    pub fn record(&mut self, region: &str, run: Run, ending: Ending) {
        let status = &mut self.status;
        status.current_run = None;
        if ending.succeeded {
            // Only who asks the upstream can tell that there is nothing newer.
            if run.copies.is_none() {
                status.last_success = Some(Time(ending.at));
            }
            status.consecutive_failures = 0;
        } else {
            status.consecutive_failures = status.consecutive_failures.saturating_add(1);
        }
        let wait = ending
            .report
            .as_ref()
            .and_then(|report| report.retry_after_seconds);
        let contradiction = ending
            .report
            .as_ref()
            .and_then(Report::contradiction)
            .map(|told| Contradiction {
                unit: told.unit.clone(),
                reason: told.reason,
                message: told.message.chars().take(MESSAGE_LENGTH).collect(),
            });
        let key_expires_at = (ending.report.as_ref()).and_then(|report| report.key_expires_at);
        let told = ending.report.clone();
        let prepared = told.as_ref().filter(|_| ending.succeeded);
        let prepared = prepared.and_then(|report| Some(report.prepared?.id.to_string()));
        let count = |of: fn(&Report) -> u64| {
            told.as_ref()
                .map(|report| i64::try_from(of(report)).unwrap_or(i64::MAX))
        };
        self.finished.push(FinishedRun {
            region: region.to_owned(),
            job: run.job.clone(),
            trigger: run.trigger.as_str().to_owned(),
            reason: ending.reason,
            report: ending.report,
        });
        status.last_attempt = Some(Attempt {
            job: run.job,
            trigger: run.trigger,
            retry: run.retry,
            copies: run.copies,
            prepared,
            reason: ending.reason,
            message: ending.message.chars().take(MESSAGE_LENGTH).collect(),
            contradiction,
            started_at: run.started_at,
            finished_at: Time(whole(ending.at)),
            files_fetched: count(|report| report.files_fetched),
            bytes_fetched: count(|report| report.bytes_fetched),
            seconds: count(|report| report.seconds.max(0.0).round() as u64),
            not_before: wait
                .map(|wait| Time(whole(later(ending.at, crate::schedule::seconds(wait))))),
            key_expires_at: key_expires_at.map(|at| Time(instant(at))),
            inputs: run.inputs,
            snapshots_inputs: run.snapshots_inputs,
        });
    }

    fn look_at(&mut self, at: Timestamp) {
        self.look_again = Some(self.look_again.map_or(at, |before| before.min(at)));
    }
}

/// What is known about the end of a run.
pub struct Ending {
    reason: Reason,
    message: String,
    succeeded: bool,
    at: Timestamp,
    report: Option<Report>,
}

impl Ending {
    pub fn reported(report: Report, at: Timestamp) -> Ending {
        let (reason, message, succeeded) =
            (report.reason, report.message.clone(), report.is_good());
        Ending {
            reason,
            message,
            succeeded,
            at: whole(at),
            report: Some(report),
        }
    }

    fn lost(reason: Reason, message: String, at: Timestamp) -> Ending {
        Ending {
            reason,
            message,
            succeeded: false,
            at: whole(at),
            report: None,
        }
    }
}

/// Kubernetes keeps whole seconds; finer instants would differ from themselves after a round trip.
pub fn whole(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

fn run_of(job: &SeenJob, now: Timestamp) -> Run {
    let trigger = job.meta.annotation(labels::TRIGGER);
    let trigger = Trigger::ALL
        .into_iter()
        .find(|known| Some(known.as_str()) == trigger)
        .unwrap_or(Trigger::Schedule);
    let noted = |annotation| {
        let text = job.meta.annotation(annotation);
        text.unwrap_or_default().to_owned()
    };
    Run {
        job: job.meta.name.clone(),
        trigger,
        retry: noted(labels::RETRY).parse().unwrap_or(0),
        started_at: Time(whole(job.meta.created_at.unwrap_or(now))),
        copies: job.meta.annotation(labels::COPIES).map(str::to_owned),
        inputs: noted(labels::INPUTS),
        snapshots_inputs: noted(labels::SNAPSHOTS_INPUTS),
    }
}

/// Whether it asks the upstream, and another one fetches now.
fn fetches_no_more(view: &RegionView, job: &SeenJob) -> bool {
    let fetches = job.meta.label(labels::UPSTREAM).is_some();
    fetches && view.place.source != Source::Upstream
}

/// Whether the serving pod is bound to another node than when the Job was made.
fn moved(view: &RegionView, job: &SeenJob) -> bool {
    let made_for = job.meta.annotation(labels::NODE);
    view.pod
        .filter(|pod| pod.holds_its_node())
        .is_some_and(|pod| pod.node.as_deref() != made_for)
}

/// The report that the store kept, if it is about a run that ended after `started`.
fn kept_report(view: &RegionView, started: Timestamp) -> Option<Report> {
    let Some(Answer::Serves(served)) = view.answer else {
        return None;
    };
    let report = served.last_report.as_ref()?;
    let of_it = |at| instant(at) >= started;
    (of_it(report.finished_at) && of_it(report.started_at)).then(|| report.clone())
}

fn delete(job: &SeenJob) -> Write {
    Write::delete(Owned::Job, &job.meta)
}
