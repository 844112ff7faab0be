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

/// Verbs and status codes whose series are there from the start, since `increase` sees no step from nothing to 1.
const VERBS: [&str; 8] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
];
/// Those that Kubernetes documents, but for redirects; others come with their first answer.
const CODES: [u16; 15] = [
    200, 201, 202, 400, 401, 403, 404, 405, 409, 410, 422, 429, 500, 503, 504,
];

/// The calls of one process.
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
        let codes = CODES.into_iter().map(Some).chain([None]);
        Calls {
            answers: codes.map(|code| (code, 0)).collect(),
            duration: histogram(BUCKETS),
        }
    }
}

impl ApiMetrics {
    pub fn register(registry: &Registry) -> Result<Arc<ApiMetrics>, RegistryError> {
        let calls = VERBS.into_iter().map(|verb| (verb, Calls::default()));
        let metrics = Arc::new(ApiMetrics {
            calls: Mutex::new(calls.collect()),
        });
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
