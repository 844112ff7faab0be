//! What this process remembers of one Mirror, in the words of the judge of when ([`fleet_plan::timing`]).

use fleet_plan::report::instant;
use fleet_plan::schedule::{later, seconds};
use fleet_plan::timing::{Due, Ended, History, Timing, begins_round, next};
use fleet_sync::Report;
use jiff::Timestamp;

/// What is remembered; over a change of the manifests too.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// What is declared, and what the newest run carried out.
    declared: String,
    carried_out: String,
    history: History,
    pub probed_at: Option<Timestamp>,
}

/// A run that has begun.
pub struct Begun {
    at: Timestamp,
    retry: i32,
}

impl Memory {
    /// Of a Mirror that this process has not seen before. `report` is the last that its store knows.
    pub fn new(declared: &str, report: Option<&Report>, now: Timestamp) -> Memory {
        let ended = |report: &Report| {
            let begun = Begun {
                at: instant(report.started_at),
                retry: 0,
            };
            ended(&begun, report, instant(report.finished_at))
        };
        let last = report.map(ended);
        Memory {
            declared: declared.to_owned(),
            carried_out: declared.to_owned(),
            history: History {
                declared_at: now,
                round_started_at: last.as_ref().map(|last| last.started_at),
                started_up_at: Some(now),
                last,
                ..History::default()
            },
            probed_at: None,
        }
    }

    /// The manifests were read again.
    pub fn declare(&mut self, declared: &str) {
        declared.clone_into(&mut self.declared);
        let edited = self.declared != self.carried_out;
        self.history.edited = edited.then(|| self.declared.clone());
    }

    /// `news_at` is when the authority was first seen to have what no run here has taken.
    pub fn next(&self, timing: &Timing, news_at: Option<Timestamp>) -> Option<Due> {
        let history = History {
            news_at,
            ..self.history.clone()
        };
        next(timing, &history)
    }

    pub fn begin(&mut self, due: &Due, now: Timestamp) -> Begun {
        if begins_round(due.trigger) {
            self.history.round_started_at = Some(now);
        }
        self.carried_out.clone_from(&self.declared);
        self.history.edited = None;
        self.history.started_up_at = None;
        Begun {
            at: now,
            retry: due.retry,
        }
    }

    pub fn end(&mut self, run: &Begun, report: &Report, now: Timestamp) {
        self.history.last = Some(ended(run, report, now));
    }

    /// When the authority was last heard of, if all was well; a run tells what it has, too. What was heard before this
    /// process started is forgotten.
    pub fn heard_at(&self) -> Option<Timestamp> {
        let last = self.history.last.as_ref().filter(|last| last.good)?;
        let heard = self.probed_at.max(Some(last.finished_at));
        heard.max(self.history.started_up_at)
    }
}

fn ended(run: &Begun, report: &Report, now: Timestamp) -> Ended {
    let wait = report.retry_after_seconds;
    Ended {
        started_at: run.at,
        finished_at: now,
        good: report.is_good(),
        retry: run.retry,
        not_before: wait.map(|wait| later(now, seconds(wait))),
    }
}
