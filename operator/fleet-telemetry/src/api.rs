//! The metrics of a process that calls the Kubernetes API. They are of the process, so a standby has them too.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use fleet_types::lock;

use crate::Definition;
use crate::definition::definitions;
use crate::registry::{Registry, RegistryError, Source};
use crate::samples::{Samples, histogram};

definitions! {
    /// Answered requests to the Kubernetes API by verb (get, list, watch, create, update, patch, delete, deletecollection) and status code, or `error` where none came. What is repeated counts each time.
    REQUESTS: Counter = "mirrorfleet_api_requests_total" [verb, code];
    /// Seconds from a request to the Kubernetes API to the head of its answer.
    DURATION: Histogram = "mirrorfleet_api_request_duration_seconds" [verb];
}

const BUCKETS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// The calls of one process.
#[derive(Default)]
pub struct ApiMetrics {
    calls: Mutex<BTreeMap<&'static str, Calls>>,
}

/// Those of one verb.
struct Calls {
    /// By status code; none where there was no answer.
    answers: BTreeMap<Option<u16>, u64>,
    duration: prometheus::Histogram,
}

impl Default for Calls {
    fn default() -> Self {
        Calls {
            answers: BTreeMap::new(),
            duration: histogram(BUCKETS),
        }
    }
}

impl ApiMetrics {
    pub fn register(registry: &Registry) -> Result<Arc<ApiMetrics>, RegistryError> {
        let metrics = Arc::new(ApiMetrics::default());
        registry.add(metrics.clone())?;
        Ok(metrics)
    }

    /// Counts one request; `verb` is one fixed word, `code` none where there was no answer.
    pub fn record(&self, verb: &'static str, code: Option<u16>, seconds: f64) {
        let mut all = lock(&self.calls);
        let calls = all.entry(verb).or_default();
        *calls.answers.entry(code).or_default() += 1;
        calls.duration.observe(seconds);
    }
}

impl Source for ApiMetrics {
    fn definitions(&self) -> &'static [Definition] {
        ALL
    }

    fn collect(&self, out: &mut Samples) {
        for (verb, calls) in lock(&self.calls).iter() {
            for (code, count) in &calls.answers {
                let code = code.map_or("error".to_owned(), |code| code.to_string());
                out.counter(&REQUESTS, &[*verb, code.as_str()], *count as f64);
            }
            out.histogram(&DURATION, &[*verb], &calls.duration);
        }
    }
}
