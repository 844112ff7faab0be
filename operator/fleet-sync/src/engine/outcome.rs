//! From what happened to each unit to the one report.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_fetch::Meter;
use fleet_store::Writer;
use fleet_types::documents::{Success, UnixSeconds, cut};
use fleet_types::{Outcome, Reason, UnitRevision, counted};

use super::blocking::blocking;
use super::memory::Memory;
use super::own_files::Left;
use super::plan::{Foreseen, Plan, Refusals};
use super::publish::Served;
use super::shelves::Shelves;
use super::watch::Notes;
use crate::{LeftOut, PlanReport, Problem, Report, RunResult, SyncOptions, UnitReport};

const MESSAGE_BYTES: usize = 2000;

/// What a run came to, before its costs are added.
pub(super) struct Outcomes {
    each: Vec<UnitReport>,
    result: RunResult,
    reason: Reason,
    message: String,
    /// None where the run did not come so far.
    revision: Option<Vec<UnitRevision>>,
    retry_after: Option<u64>,
    files: u64,
    key_expiry: Option<i64>,
    index_bytes: u64,
    confirmed_at: Option<UnixSeconds>,
}

pub(super) struct Cost {
    pub requests: u64,
    pub bytes: u64,
    pub seconds: f64,
    pub started_at: i64,
    pub finished_at: i64,
}

impl Outcomes {
    /// The run ended before any unit was looked at.
    pub fn failed(units: &[String], problem: Problem) -> Outcomes {
        Outcomes::stopped(units, Refusals::new(), problem)
    }

    /// The run ended as a whole; units that were refused before have their own reason.
    pub fn stopped(units: &[String], refusals: Refusals, problem: Problem) -> Outcomes {
        let each = each(units, &refusals, |unit| failed(unit, &problem));
        let retry_after = problem.retry_after;
        let worst = refusals.into_values().fold(problem, Problem::worst);
        Outcomes {
            each,
            result: RunResult::Failed,
            reason: worst.reason,
            message: worst.message,
            revision: None,
            retry_after,
            files: 0,
            key_expiry: None,
            index_bytes: 0,
            confirmed_at: None,
        }
    }

    /// The run came to its end.
    /// `still` says what goes on being served where nothing new is.
    pub fn of(
        units: &[String],
        refusals: Refusals,
        served: Option<Served>,
        still: &str,
    ) -> Outcomes {
        let good = |unit: &str| good(unit, served.as_ref());
        let each = each(units, &refusals, good);
        let result = match &served {
            Some(served) if served.result.is_new() => served.result,
            Some(served) if refusals.is_empty() => served.result,
            _ => RunResult::Failed,
        };
        let retry_after = refusals
            .values()
            .filter_map(|problem| problem.retry_after)
            .max();
        let worst = refusals.into_values().reduce(Problem::worst);
        let (reason, message) = match (worst, &served) {
            (Some(problem), Some(served)) => (
                problem.reason,
                format!("{}; {}", problem.message, served.message),
            ),
            (Some(problem), None) => (problem.reason, format!("{}; {still}", problem.message)),
            (None, Some(served)) => (served.reason, served.message.clone()),
            (None, None) => (Reason::Unchanged, "nothing is new".to_owned()),
        };
        Outcomes {
            each,
            result,
            reason,
            message,
            revision: served.map(|served| served.revision),
            retry_after,
            files: 0,
            key_expiry: None,
            index_bytes: 0,
            confirmed_at: None,
        }
    }

    /// Something of the store as a whole that people should know.
    pub fn and(mut self, text: &str) -> Outcomes {
        self.message = format!("{}; {text}", self.message);
        self
    }

    pub fn with_files(self, files: u64) -> Outcomes {
        Outcomes { files, ..self }
    }

    /// Of a copy: how much of an index came, and when others found that it is what the upstream has.
    pub fn with_copy(self, index_bytes: u64, confirmed_at: Option<UnixSeconds>) -> Outcomes {
        Outcomes {
            index_bytes,
            confirmed_at,
            ..self
        }
    }

    pub fn with_key_expiry(self, key_expiry: Option<i64>) -> Outcomes {
        Outcomes { key_expiry, ..self }
    }

    /// What is to be known of a unit that went well is said in the place of what is wrong with another.
    pub fn with_notes(mut self, notes: &Notes) -> Outcomes {
        for unit in &mut self.each {
            if let Some(notes) = notes.get(&unit.unit).filter(|_| unit.message.is_empty()) {
                let text: Vec<&str> = notes.iter().map(String::as_str).collect();
                unit.message = cut(&text.join("; "), MESSAGE_BYTES);
            }
        }
        self
    }

    /// What is served of a unit that was refused is as incomplete as before; why it was refused is the greater news.
    pub fn with_left_out(mut self, left_out: &BTreeMap<String, LeftOut>) -> Outcomes {
        for unit in &mut self.each {
            let Some(left_out) = left_out.get(&unit.unit) else {
                continue;
            };
            if unit.result != RunResult::Failed {
                let said = std::mem::take(&mut unit.message);
                let parts = [Some(said).filter(|said| !said.is_empty()), left_out.note()];
                let parts: Vec<String> = parts.into_iter().flatten().collect();
                unit.message = cut(&parts.join("; "), MESSAGE_BYTES);
            }
            unit.left_out = Some(left_out.clone());
        }
        self
    }

    pub fn report(self, options: &SyncOptions, cost: &Cost, store: Option<&Writer>) -> Report {
        let snapshot = store.and_then(|store| store.current().ok().flatten());
        let kept = || store.and_then(|store| store.snapshots().ok());
        let newest = || kept()?.pop();
        let copied = || {
            let follow = options.follow.as_ref()?;
            let mut kept = kept()?.into_iter();
            kept.find(|info| info.id == follow.snapshot)
        };
        let prepared = copied().or_else(newest);
        Report {
            mirror: options.mirror.clone(),
            result: self.result,
            reason: self.reason,
            message: cut(&self.message, MESSAGE_BYTES),
            units: self.each,
            snapshot: snapshot.map(|id| id.to_string()),
            prepared: store
                .zip(prepared.as_ref())
                .map(|(store, prepared)| store.told(prepared)),
            revision: self
                .revision
                .or_else(|| prepared.map(|prepared| prepared.meta.revision))
                .unwrap_or_default(),
            accepted: store
                .map(|store| Memory::unlike(store, &options.high_water))
                .unwrap_or_default(),
            files_fetched: self.files,
            bytes_fetched: cost.bytes,
            index_bytes: self.index_bytes,
            requests: cost.requests,
            seconds: cost.seconds,
            retry_after_seconds: self.retry_after,
            key_expires_at: self.key_expiry.map(UnixSeconds),
            confirmed_at: self.confirmed_at,
            started_at: UnixSeconds(cost.started_at),
            finished_at: UnixSeconds(cost.finished_at),
        }
    }
}

fn each(
    units: &[String],
    refusals: &Refusals,
    otherwise: impl Fn(&str) -> UnitReport,
) -> Vec<UnitReport> {
    let of = |(number, unit): (usize, &String)| match u16::try_from(number)
        .ok()
        .and_then(|number| refusals.get(&number))
    {
        Some(problem) => failed(unit, problem),
        None => otherwise(unit),
    };
    units.iter().enumerate().map(of).collect()
}

fn failed(unit: &str, problem: &Problem) -> UnitReport {
    UnitReport {
        unit: unit.to_owned(),
        result: RunResult::Failed,
        reason: problem.reason,
        message: cut(&problem.message, MESSAGE_BYTES),
        left_out: None,
    }
}

fn good(unit: &str, served: Option<&Served>) -> UnitReport {
    let (result, reason, message) = match served {
        Some(served) => (served.result, served.reason, String::new()),
        None => (
            RunResult::Unchanged,
            Reason::Unchanged,
            "verified; nothing new is published while other suites are refused".to_owned(),
        ),
    };
    UnitReport {
        unit: unit.to_owned(),
        result,
        reason,
        message,
        left_out: None,
    }
}

/// Keeps the report where the serving side and the next run find it. A store that cannot be written is the worse news.
pub(super) async fn record(shelves: Arc<Shelves>, report: Report, left: Left) -> Report {
    let written = report.clone();
    let recorded = blocking(move || {
        let writer = &shelves.writer;
        writer.state_write(Report::DOCUMENT, &written)?;
        if written.reason.outcome() == Outcome::Good {
            writer.state_write(
                Success::DOCUMENT,
                &Success {
                    at: written.found_at(),
                    snapshot: written.snapshot.clone(),
                },
            )?;
        }
        left.write(writer)
    });
    match recorded.await {
        Ok(()) => report,
        Err(problem) => {
            let known = Problem::new(report.reason, report.message.clone());
            let worst = known.worst(problem);
            Report {
                reason: worst.reason,
                message: worst.message,
                ..report
            }
        }
    }
}

pub(super) fn plan_report(
    options: &SyncOptions,
    planned: Result<Foreseen, Problem>,
    meter: &Meter,
    seconds: f64,
) -> PlanReport {
    let units = options.format.units();
    let (outcomes, plan, room) = match planned {
        Err(problem) => (Outcomes::failed(&units, problem), None, None),
        Ok(mut foreseen) => {
            let room = foreseen.room.take();
            let left_out = std::mem::take(&mut foreseen.left_out);
            let (outcomes, plan) = foreseen_outcomes(&units, foreseen);
            (outcomes.with_left_out(&left_out), plan, room)
        }
    };
    let (fetch, keep, remove, exclude, on_demand) = plan
        .map(|plan| {
            let Plan {
                fetch,
                keep,
                remove,
                exclude,
                on_demand,
                ..
            } = plan;
            (fetch, keep, remove, exclude, on_demand)
        })
        .unwrap_or_default();
    PlanReport {
        mirror: options.mirror.clone(),
        result: outcomes.result,
        reason: outcomes.reason,
        message: cut(&outcomes.message, MESSAGE_BYTES),
        units: outcomes.each,
        fetch,
        keep,
        remove,
        exclude,
        on_demand,
        room,
        revision: outcomes.revision.unwrap_or_default(),
        requests: meter.requests(),
        bytes_fetched: meter.bytes(),
        seconds,
        retry_after_seconds: outcomes.retry_after,
    }
}

fn foreseen_outcomes(units: &[String], foreseen: Foreseen) -> (Outcomes, Option<Plan>) {
    let Foreseen {
        refusals,
        plan,
        shortage,
        revision,
        still,
        ..
    } = foreseen;
    if let Some(problem) = shortage {
        return (Outcomes::stopped(units, refusals, problem), plan);
    }
    let served = match &plan {
        Some(plan) => Some((
            RunResult::Published,
            Reason::Published,
            format!(
                "would fetch {} with {} and publish",
                counted(plan.fetch.files, "file"),
                counted(plan.fetch.bytes, "byte")
            ),
        )),
        None if refusals.is_empty() => Some((
            RunResult::Unchanged,
            Reason::Unchanged,
            "nothing is new".to_owned(),
        )),
        None => None,
    };
    let served = served.map(|(result, reason, message)| Served {
        result,
        reason,
        message,
        revision,
    });
    (Outcomes::of(units, refusals, served, &still), plan)
}

#[cfg(test)]
mod tests;
