//! Sync runs, and how they end.

use fleet_api::labels;
use fleet_plan::observed::{JobEnd, RunEnd};
use fleet_plan::{SeenJob, Turn};
use fleet_types::documents::{IndexPin, KeptSnapshot, Report, RunResult, Success, UnixSeconds};
use fleet_types::{Reason, Sha256, UnitRevision};

use super::{SUITE, World, digest};

/// Of every snapshot's index, as its run tells.
pub const INDEX: IndexPin = IndexPin {
    sha256: Sha256([0x1d; 32]),
    size: 4711,
};

impl World {
    pub fn report(&self, reason: &str) -> Report {
        let published = ["Published", "Prepared", "Unchanged"].contains(&reason);
        Report {
            result: match reason {
                "Published" => RunResult::Published,
                "Prepared" => RunResult::Prepared,
                "Unchanged" => RunResult::Unchanged,
                _ => RunResult::Failed,
            },
            reason: Reason::of(reason),
            message: format!("as the test says: {reason}"),
            snapshot: published.then(|| "aa".repeat(32)),
            revision: published
                .then(|| UnitRevision {
                    unit: SUITE.to_owned(),
                    digest: digest(1),
                    date: 1_767_225_600,
                    valid_until: None,
                })
                .into_iter()
                .collect(),
            started_at: UnixSeconds(self.now.as_second()),
            finished_at: UnixSeconds(self.now.as_second()),
            ..Report::default()
        }
    }

    /// The running Job ends with a report; the store keeps it too.
    pub fn end_run(&mut self, report: &Report) {
        let mut jobs = self.objects.jobs.iter_mut();
        let runs = |job: &&mut SeenJob| job.end.is_none() && !job.audits();
        let job = jobs.find(runs).expect("no Job runs");
        let (region, replica) = (job.meta.region().unwrap().to_owned(), job.meta.replica());
        let (good, reason) = (report.is_good(), report.reason);
        job.end = Some(JobEnd {
            succeeded: good,
            at: Some(self.now),
            message: String::new(),
        });
        let name = job.meta.name.clone();
        let copies = job.meta.annotation(labels::COPIES).map(str::to_owned);
        let report = &self.in_full(report, copies);
        let pod = self
            .objects
            .pods
            .iter_mut()
            .find(|pod| pod.job.as_ref() == Some(&name))
            .unwrap();
        pod.running = false;
        pod.end = Some(RunEnd {
            exit_code: i32::from(!good),
            at: Some(self.now),
            message: serde_json::to_string(report).unwrap(),
            reason: "Completed".to_owned(),
        });
        if good {
            let child = fleet_plan::names::replica_name("debian", &region, replica);
            let pod = format!("{child}-0");
            let mut store = self.stores.get(&pod).cloned().unwrap_or_default();
            let made = report.snapshot.as_ref().map(|id| id.parse().unwrap());
            let is_new = |id: &Sha256| store.kept.iter().all(|kept| kept.id != *id);
            if made.is_some_and(|id| is_new(&id)) {
                store.kept.extend(report.prepared);
                store.kept.sort_by_key(|kept| kept.created);
            }
            if reason == Reason::Published {
                store.snapshot = report.snapshot.clone();
            }
            if store.snapshot.is_some() && store.snapshot == report.snapshot {
                store.revision.clone_from(&report.revision);
            }
            store.mirror = "debian".to_owned();
            store.last_report = Some(report.clone());
            store.last_success = Some(Success {
                at: UnixSeconds(self.now.as_second()),
                snapshot: report.snapshot.clone(),
            });
            self.stores.insert(pod, store);
        }
    }

    pub fn is_running(&self) -> bool {
        let mut jobs = self.objects.jobs.iter();
        jobs.any(|job| job.end.is_none() && !job.audits())
    }

    pub fn is_auditing(&self) -> bool {
        let mut jobs = self.objects.jobs.iter();
        jobs.any(|job| job.end.is_none() && job.audits())
    }

    /// The audit that goes on ends so.
    pub fn end_audit(&mut self, reason: &str) {
        let report = self.report(reason);
        let mut jobs = self.objects.jobs.iter_mut();
        let job = jobs.find(|job| job.end.is_none() && job.audits());
        let job = job.expect("nothing is audited");
        job.end = Some(JobEnd {
            succeeded: reason == "Audited",
            at: Some(self.now),
            message: String::new(),
        });
        let mut pods = self.objects.pods.iter_mut();
        let pod = pods.find(|pod| pod.job.as_ref() == Some(&job.meta.name));
        let pod = pod.unwrap();
        pod.running = false;
        pod.end = Some(RunEnd {
            exit_code: i32::from(reason != "Audited"),
            at: Some(self.now),
            message: serde_json::to_string(&report).unwrap(),
            reason: "Completed".to_owned(),
        });
    }

    /// A reconciliation, and what Kubernetes makes of it.
    pub fn round(&mut self) {
        self.step();
        self.kubernetes();
    }

    /// The region that fetches has prepared one more, and the others have been told of it.
    pub fn hub_prepares(&mut self, byte: u8) {
        self.request(&format!("one more: {byte}"));
        self.step();
        self.pass(10);
        let report = Report {
            snapshot: Some(digest(byte).to_string()),
            ..self.report("Prepared")
        };
        self.end_run(&report);
        for _ in 0..3 {
            self.round();
        }
    }

    /// What a run leaves that ends so: whoever copies has what it copied.
    fn in_full(&self, report: &Report, copies: Option<String>) -> Report {
        let snapshot = match report.is_good() {
            true => copies.or(report.snapshot.clone()),
            false => None,
        };
        let mut known = self.stores.values().flat_map(|store| &store.kept);
        let prepared = snapshot.as_ref().map(|snapshot| {
            let id = snapshot.parse().unwrap();
            let known = known.find(|kept| kept.id == id).copied();
            known.unwrap_or(KeptSnapshot {
                id,
                created: UnixSeconds(self.now.as_second()),
                date: None,
                superseded_at: None,
                index: Some(INDEX),
                changes: None,
                bytes: None,
            })
        });
        Report {
            snapshot,
            prepared,
            ..report.clone()
        }
    }

    /// So many rounds that all comes to rest which can; runs end well.
    pub fn settle_around(&mut self) {
        for _ in 0..20 {
            self.round();
            if self.is_running() {
                self.pass(10);
                let report = self.report("Prepared");
                self.end_run(&report);
            }
        }
    }

    /// Plans and applies until nothing is left to write; runs end well after ten seconds each.
    pub fn settle(&mut self) -> usize {
        for round in 0..120 {
            let plan = self.plan();
            let quiet =
                plan.writes.is_empty() && !plan.status_changed && plan.after_status.is_empty();
            self.apply(&plan);
            self.kubernetes();
            if self.is_auditing() {
                self.end_audit("Audited");
            }
            if self.is_running() {
                self.pass(10);
                let report = self.report(match self.runs_publish {
                    true => "Published",
                    false => "Prepared",
                });
                self.end_run(&report);
                self.kubernetes();
            } else if quiet && plan.turn == Turn::Idle {
                return round;
            }
        }
        panic!("does not settle: {:#?}", self.plan());
    }
}
