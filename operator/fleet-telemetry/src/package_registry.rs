//! The metrics of registries that fill themselves on demand. Never the name of a package as a label.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use fleet_types::lock;
use prometheus::IntCounter;

use crate::Definition;
use crate::by_mirror::{ByMirror, Series, ServerPlace};
use crate::definition::definitions;
use crate::keeping::Keeping;
use crate::samples::Samples;

definitions! {
    /// Answers by where they came from: `ready` and `kept` without asking the upstream, `fetched` with, `stale` because the upstream did not answer, `refused` without what was asked for.
    ANSWERS: Counter = "mirrorfleet_registry_answers_total" [namespace, mirror, region, source];
    /// Questions to the upstream by result: `changed`, `unchanged`, `absent`, `failed`.
    QUESTIONS: Counter = "mirrorfleet_registry_upstream_requests_total" [namespace, mirror, region, result];
    /// Unix time until which the upstream is left alone, because it failed several times or said so; absent while it is asked.
    BLOCKED: Gauge = "mirrorfleet_registry_upstream_blocked_until_timestamp_seconds" [namespace, mirror, region];
    /// New decisions about packages and versions by the guard, by what was decided (`held`, `would-be-held`, `waived`) and by which rule.
    DECISIONS: Counter = "mirrorfleet_registry_decisions_total" [namespace, mirror, region, decision, rule];
    /// Unix time at which the next version that is held back for its age opens, of those that were looked at; absent if there is none.
    OPENS: Gauge = "mirrorfleet_registry_next_opening_timestamp_seconds" [namespace, mirror, region];
    /// Files that were given up so that others had room: those that were used longest ago.
    EVICTED_FILES: Counter = "mirrorfleet_registry_evicted_files_total" [namespace, mirror, region];
    /// Bytes of files that were given up so that others had room.
    EVICTED_BYTES: Counter = "mirrorfleet_registry_evicted_bytes_total" [namespace, mirror, region];
    /// Bytes of what is kept and could be fetched or made again, each file rounded up to 4 KiB.
    CACHED_BYTES: Gauge = "mirrorfleet_registry_cached_bytes" [namespace, mirror, region];
    /// Documents and tarballs that were given to who asked and not kept, because the volume had no room for them.
    NOT_KEPT: Counter = "mirrorfleet_registry_not_kept_files_total" [namespace, mirror, region];
    /// Unix time since which what is fetched cannot be kept, because the volume has no room; absent while it can.
    FULL_SINCE: Gauge = "mirrorfleet_registry_full_since_timestamp_seconds" [namespace, mirror, region];
}

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerSource {
    Ready,
    Kept,
    Fetched,
    Stale,
    Refused,
}

const SOURCES: [(AnswerSource, &str); 5] = [
    (AnswerSource::Ready, "ready"),
    (AnswerSource::Kept, "kept"),
    (AnswerSource::Fetched, "fetched"),
    (AnswerSource::Stale, "stale"),
    (AnswerSource::Refused, "refused"),
];

/// What came of a question to the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuestionResult {
    Changed,
    Unchanged,
    Absent,
    Failed,
}

const RESULTS: [(QuestionResult, &str); 4] = [
    (QuestionResult::Changed, "changed"),
    (QuestionResult::Unchanged, "unchanged"),
    (QuestionResult::Absent, "absent"),
    (QuestionResult::Failed, "failed"),
];

/// What the guard decides, and by which of its rules.
const DECIDED: [&str; 3] = ["held", "would-be-held", "waived"];
const RULES: [&str; 5] = ["reserved", "deny", "allow", "mutation", "age"];

/// The metrics of all registries of a process.
pub type PackageRegistryMetrics = ByMirror<RegistryTraffic>;

/// The handles of one registry.
pub struct RegistryTraffic {
    answers: [IntCounter; SOURCES.len()],
    questions: [IntCounter; RESULTS.len()],
    decisions: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    /// Unix seconds.
    blocked_until: Mutex<Option<i64>>,
    opens: Mutex<Option<i64>>,
    evicted_files: IntCounter,
    evicted_bytes: IntCounter,
    cached_bytes: AtomicU64,
    keeping: Keeping,
}

impl Default for RegistryTraffic {
    fn default() -> RegistryTraffic {
        // Names of parts are never shown: the samples take the name from the definition.
        let counter = || IntCounter::new("count", "count").expect("a constant name is valid");
        RegistryTraffic {
            answers: std::array::from_fn(|_| counter()),
            questions: std::array::from_fn(|_| counter()),
            decisions: Mutex::default(),
            blocked_until: Mutex::default(),
            opens: Mutex::default(),
            evicted_files: counter(),
            evicted_bytes: counter(),
            cached_bytes: AtomicU64::new(0),
            keeping: Keeping::default(),
        }
    }
}

impl RegistryTraffic {
    pub fn answered(&self, source: AnswerSource) {
        if let Some(counter) = self.answers.get(source as usize) {
            counter.inc();
        }
    }

    pub fn asked(&self, result: QuestionResult) {
        if let Some(counter) = self.questions.get(result as usize) {
            counter.inc();
        }
    }

    /// Both are words of the lists above.
    pub fn decided(&self, decision: &'static str, rule: &'static str) {
        *lock(&self.decisions).entry((decision, rule)).or_default() += 1;
    }

    /// Unix seconds; none while the upstream is asked.
    pub fn set_blocked(&self, until: Option<i64>) {
        *lock(&self.blocked_until) = until;
    }

    /// A version that was looked at opens then (Unix seconds). Of several that are still to come, the first one is told.
    pub fn opens_at(&self, at: i64, now: i64) {
        let mut opens = lock(&self.opens);
        *opens = Some(
            opens
                .filter(|known| *known > now)
                .map_or(at, |known| known.min(at)),
        );
    }

    pub fn evicted(&self, files: u64, bytes: u64) {
        self.evicted_files.inc_by(files);
        self.evicted_bytes.inc_by(bytes);
    }

    pub fn set_cached(&self, bytes: u64) {
        self.cached_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Whether what is fetched can be kept.
    pub fn keeping(&self) -> &Keeping {
        &self.keeping
    }
}

impl Series for RegistryTraffic {
    const DEFINITIONS: &'static [Definition] = ALL;

    fn collect(&self, out: &mut Samples, place: &ServerPlace, mirror: &str) {
        let (namespace, region) = (place.namespace.as_str(), place.region.as_str());
        for ((_, source), counter) in SOURCES.iter().zip(&self.answers) {
            out.counter(
                &ANSWERS,
                &[namespace, mirror, region, source],
                counter.get() as f64,
            );
        }
        for ((_, result), counter) in RESULTS.iter().zip(&self.questions) {
            out.counter(
                &QUESTIONS,
                &[namespace, mirror, region, result],
                counter.get() as f64,
            );
        }
        let decisions = lock(&self.decisions);
        for decision in DECIDED {
            for rule in RULES {
                let count = decisions.get(&(decision, rule)).copied().unwrap_or(0);
                let labels = [namespace, mirror, region, decision, rule];
                out.counter(&DECISIONS, &labels, count as f64);
            }
        }
        if let Some(until) = *lock(&self.blocked_until) {
            out.gauge(&BLOCKED, &[namespace, mirror, region], until as f64);
        }
        if let Some(at) = *lock(&self.opens) {
            out.gauge(&OPENS, &[namespace, mirror, region], at as f64);
        }
        let labels = [namespace, mirror, region];
        out.counter(&EVICTED_FILES, &labels, self.evicted_files.get() as f64);
        out.counter(&EVICTED_BYTES, &labels, self.evicted_bytes.get() as f64);
        let cached = self.cached_bytes.load(Ordering::Relaxed);
        out.gauge(&CACHED_BYTES, &labels, cached as f64);
        self.keeping.collect(out, (&NOT_KEPT, &FULL_SINCE), &labels);
    }
}
