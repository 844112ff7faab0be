//! The metrics of a serving process. Labels are bounded: a mirror's name, never a path or a client's address.

use std::sync::Mutex;

use fleet_types::lock;
use prometheus::{IntCounter, IntGauge};

use crate::Definition;
use crate::by_mirror::{ByMirror, Series, ServerPlace};
use crate::definition::definitions;
use crate::samples::{Samples, histogram};

definitions! {
    /// Answered requests by class of status code. Requests outside every mirror have no mirror label.
    REQUESTS: Counter = "mirrorfleet_http_requests_total" [namespace, mirror, region, code];
    /// Bytes of response bodies handed to connections.
    RESPONSE_BYTES: Counter = "mirrorfleet_http_response_bytes_total" [namespace, mirror, region];
    /// Time from a request's head to the last byte of its answer.
    DURATION: Histogram = "mirrorfleet_http_request_duration_seconds" [namespace, mirror, region];
    /// Requests for files that are fetched on demand, by where their bytes came from: `stored`, `fetched`, `nowhere`. 0 for mirrors that store everything.
    ON_DEMAND: Counter = "mirrorfleet_http_on_demand_requests_total" [namespace, mirror, region, source];
    /// Requests that are being answered.
    IN_FLIGHT: Gauge = "mirrorfleet_http_requests_in_flight" [namespace, mirror, region];
    /// Always 1; the label names the snapshot that this process serves.
    SNAPSHOT: Gauge = "mirrorfleet_served_snapshot_info" [namespace, mirror, region, snapshot];
    /// Unix time at which the snapshot that this process serves was published.
    PUBLISHED: Gauge = "mirrorfleet_served_snapshot_published_timestamp_seconds" [namespace, mirror, region];
    /// Stored files that are known to be damaged; the next sync fetches them again.
    DAMAGED: Gauge = "mirrorfleet_damaged_blobs" [namespace, mirror, region];
    /// Unix time at which the last check of all stored files came to its end; absent before the first.
    SCRUBBED: Gauge = "mirrorfleet_scrub_finished_timestamp_seconds" [namespace, mirror, region];
}

const DURATION_BUCKETS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0,
];
const CODE_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

const ON_DEMAND_SOURCES: [&str; 3] = ["stored", "fetched", "nowhere"];

/// Where the bytes of a file came from that is fetched on demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDemand {
    Stored,
    Fetched,
    Nowhere,
}

/// The metrics of one serving process.
pub type ServerMetrics = ByMirror<MirrorTraffic>;

/// The handles of one mirror.
pub struct MirrorTraffic {
    codes: [IntCounter; CODE_CLASSES.len()],
    response_bytes: IntCounter,
    duration: prometheus::Histogram,
    in_flight: IntGauge,
    on_demand: [IntCounter; ON_DEMAND_SOURCES.len()],
    served: Mutex<Option<ServedSnapshot>>,
    health: Mutex<Option<StoreHealth>>,
}

/// What is served now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedSnapshot {
    pub id: String,
    /// Unix seconds; none where the store does not tell.
    pub published: Option<i64>,
}

/// What is known of the stored files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreHealth {
    pub damaged_blobs: u64,
    /// When all of them were last checked; Unix seconds.
    pub scrubbed_at: Option<i64>,
}

impl Default for MirrorTraffic {
    fn default() -> MirrorTraffic {
        // Names of parts are never shown: the samples take the name from the definition.
        let counter = || IntCounter::new("count", "count").expect("a constant name is valid");
        MirrorTraffic {
            codes: std::array::from_fn(|_| counter()),
            response_bytes: counter(),
            duration: histogram(DURATION_BUCKETS),
            in_flight: IntGauge::new("count", "count").expect("a constant name is valid"),
            on_demand: std::array::from_fn(|_| counter()),
            served: Mutex::new(None),
            health: Mutex::new(None),
        }
    }
}

impl MirrorTraffic {
    /// A request's head has been read.
    pub fn begin(&self) {
        self.in_flight.inc();
    }

    /// A request that [`begin`](Self::begin) counted is over, whether or not the client took the whole answer.
    pub fn end(&self, code: u16, response_bytes: u64, seconds: f64) {
        self.in_flight.dec();
        let class = usize::from(code / 100).clamp(1, CODE_CLASSES.len()) - 1;
        if let Some(counter) = self.codes.get(class) {
            counter.inc();
        }
        self.response_bytes.inc_by(response_bytes);
        self.duration.observe(seconds);
    }

    /// A file that is fetched on demand was asked for.
    pub fn on_demand(&self, source: OnDemand) {
        if let Some(counter) = self.on_demand.get(source as usize) {
            counter.inc();
        }
    }

    /// What this process serves from now on; none before the first snapshot.
    pub fn set_served(&self, served: Option<ServedSnapshot>) {
        *lock(&self.served) = served;
    }

    pub fn set_health(&self, health: StoreHealth) {
        *lock(&self.health) = Some(health);
    }
}

impl Series for MirrorTraffic {
    const DEFINITIONS: &'static [Definition] = ALL;

    fn collect(&self, out: &mut Samples, place: &ServerPlace, mirror: &str) {
        let (namespace, region) = (place.namespace.as_str(), place.region.as_str());
        let labels = [namespace, mirror, region];
        for (class, counter) in CODE_CLASSES.iter().zip(&self.codes) {
            out.counter(
                &REQUESTS,
                &[namespace, mirror, region, class],
                counter.get() as f64,
            );
        }
        out.counter(&RESPONSE_BYTES, &labels, self.response_bytes.get() as f64);
        out.histogram(&DURATION, &labels, &self.duration);
        out.gauge(&IN_FLIGHT, &labels, self.in_flight.get() as f64);
        for (source, counter) in ON_DEMAND_SOURCES.iter().zip(&self.on_demand) {
            let labels = [namespace, mirror, region, source];
            out.counter(&ON_DEMAND, &labels, counter.get() as f64);
        }
        let served = lock(&self.served);
        if let Some(served) = served.as_ref() {
            out.gauge(&SNAPSHOT, &[namespace, mirror, region, &served.id], 1.0);
            if let Some(published) = served.published {
                out.gauge(&PUBLISHED, &labels, published as f64);
            }
        }
        let health = lock(&self.health);
        if let Some(health) = health.as_ref() {
            out.gauge(&DAMAGED, &labels, health.damaged_blobs as f64);
            if let Some(at) = health.scrubbed_at {
                out.gauge(&SCRUBBED, &labels, at as f64);
            }
        }
    }
}
