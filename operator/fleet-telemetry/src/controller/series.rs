//! From what is known of an object to its series.

use fleet_types::ConditionStatus;
use fleet_types::gauges::{CheckGauges, ConditionGauges, EndpointGauges, RegionGauges, RunGauges};

use super::{
    CONSECUTIVE_FAILURES, Definition, ENDPOINT_REACHABLE, ENDPOINT_REVISION, ENDPOINT_SUPERSEDED,
    INDEX_VALID_UNTIL, LAST_RUN, LAST_RUN_BYTES, LAST_RUN_DURATION, LAST_RUN_FILES,
    LAST_RUN_FINISHED, MIRROR, MIRROR_CONDITION, MIRROR_TRANSITION, MirrorEntry, NEXT_RUN,
    ObjectKey, PUBLICATION_CANARY, PUBLICATION_EPOCH, PUBLICATION_HALTED, PUBLICATION_PREPARING,
    PUBLICATION_WAITING, RECONCILE_DURATION, RECONCILE_ERRORS, RECONCILES, REGION_CHECKS,
    REGION_CLOCK_SKEW, REGION_COMPLETION, REGION_CREATED, REGION_DELAY, REGION_DURATION_MEAN,
    REGION_DURATION_STDDEV, REGION_LAST_SUCCESS, REGION_OBJECTIVE, REGION_SCORE, REGION_SNAPSHOT,
    REGION_SUPERSEDED, REGION_WITHDRAWN, Reconciles, STORAGE_CAPACITY, STORAGE_USED, SYNC_BYTES,
    SYNC_DURATION, SYNC_FILES, SYNC_INTERVAL, SYNC_MISSED, SYNC_RUNS, Samples, UPSTREAM_CONDITION,
    UPSTREAM_KEY_EXPIRY, UPSTREAM_PROBES, UPSTREAM_REVISION, UPSTREAM_TRANSITION, UpstreamEntry,
};

pub(super) fn mirror(out: &mut Samples, key: &ObjectKey, entry: &MirrorEntry) {
    let (namespace, mirror) = (key.namespace.as_str(), key.name.as_str());
    let state = &entry.state;
    out.counter(&SYNC_MISSED, &[namespace, mirror], entry.missed_runs as f64);
    if let Some(upstream) = &state.upstream {
        out.gauge(&MIRROR, &[namespace, mirror, upstream], 1.0);
    }
    let numbers = [
        (&NEXT_RUN, state.next_run.map(|at| at as f64)),
        (&SYNC_INTERVAL, state.sync_interval.map(|long| long as f64)),
    ];
    gauges(out, &[namespace, mirror], numbers);
    if let Some(publication) = &state.publication {
        let numbers = [
            (&PUBLICATION_EPOCH, Some(publication.epoch as f64)),
            (
                &PUBLICATION_PREPARING,
                Some(publication.preparing.unwrap_or(0) as f64),
            ),
            (
                &PUBLICATION_WAITING,
                Some(f64::from(publication.waiting_regions)),
            ),
            (
                &PUBLICATION_CANARY,
                Some(publication.trial.unwrap_or(0) as f64),
            ),
            (
                &PUBLICATION_HALTED,
                Some(publication.halted.unwrap_or(0) as f64),
            ),
        ];
        gauges(out, &[namespace, mirror], numbers);
    }
    let definitions = (&MIRROR_CONDITION, &MIRROR_TRANSITION);
    conditions(out, definitions, key, &state.conditions);
    for region in &state.regions {
        let labels = [namespace, mirror, region.region.as_str()];
        let objective = state.freshness_objective.map(|long| long as f64);
        gauges(out, &labels, [(&REGION_OBJECTIVE, objective)]);
        self::region(out, labels, region);
    }
    for (region, told) in &entry.checks {
        checks(out, &[namespace, mirror, region], told);
    }
    for (region, runs) in &entry.runs {
        let labels = [namespace, mirror, region.as_str()];
        for ((result, reason), count) in &runs.finished {
            out.counter(
                &SYNC_RUNS,
                &[namespace, mirror, region, result.as_str(), reason.as_str()],
                *count as f64,
            );
        }
        out.histogram(&SYNC_DURATION, &labels, &runs.duration);
        out.counter(&SYNC_BYTES, &labels, runs.bytes as f64);
        out.counter(&SYNC_FILES, &labels, runs.files as f64);
    }
}

fn region(out: &mut Samples, labels: [&str; 3], state: &RegionGauges) {
    let [namespace, mirror, region] = labels;
    let superseded = state.superseded.map(|since| since.unwrap_or(0));
    let withdrawn = state.withdrawn.map(|since| since.unwrap_or(0));
    let numbers = [
        (&REGION_WITHDRAWN, withdrawn.map(|since| since as f64)),
        (&REGION_SUPERSEDED, superseded.map(|since| since as f64)),
        (
            &REGION_CLOCK_SKEW,
            state.clock_skew.map(|seconds| seconds as f64),
        ),
        (&REGION_CREATED, state.created.map(|at| at as f64)),
        (&REGION_LAST_SUCCESS, state.last_success.map(|at| at as f64)),
        (
            &CONSECUTIVE_FAILURES,
            Some(f64::from(state.consecutive_failures)),
        ),
        (
            &STORAGE_USED,
            state.storage_used_bytes.map(|bytes| bytes as f64),
        ),
        (
            &STORAGE_CAPACITY,
            state.storage_capacity_bytes.map(|bytes| bytes as f64),
        ),
    ];
    gauges(out, &labels, numbers);
    if let Some(run) = &state.last_run {
        last_run(out, labels, run);
    }
    if let Some(snapshot) = &state.snapshot {
        out.gauge(
            &REGION_SNAPSHOT,
            &[namespace, mirror, region, snapshot],
            1.0,
        );
    }
    for (unit, at) in &state.index_valid_until {
        let labels = [namespace, mirror, region, unit];
        out.gauge(&INDEX_VALID_UNTIL, &labels, *at as f64);
    }
}

fn checks(out: &mut Samples, labels: &[&str], told: &CheckGauges) {
    let numbers = [
        (&REGION_CHECKS, Some(f64::from(told.checks))),
        (&REGION_COMPLETION, Some(told.completion)),
        (&REGION_DELAY, told.delay),
        (&REGION_DURATION_MEAN, told.duration_avg),
        (&REGION_DURATION_STDDEV, told.duration_stddev),
        (&REGION_SCORE, told.score),
    ];
    gauges(out, labels, numbers);
}

fn last_run(out: &mut Samples, labels: [&str; 3], run: &RunGauges) {
    let [namespace, mirror, region] = labels;
    let labelled = [namespace, mirror, region, run.reason.as_str()];
    out.gauge(&LAST_RUN, &labelled, 1.0);
    let numbers = [
        (&LAST_RUN_FINISHED, Some(run.finished_at as f64)),
        (&LAST_RUN_DURATION, run.seconds),
        (&LAST_RUN_BYTES, run.bytes.map(|bytes| bytes as f64)),
        (&LAST_RUN_FILES, run.files.map(|files| files as f64)),
    ];
    gauges(out, &labels, numbers);
}

pub(super) fn upstream(out: &mut Samples, key: &ObjectKey, entry: &UpstreamEntry) {
    let labels = [key.namespace.as_str(), key.name.as_str()];
    let [namespace, upstream] = labels;
    for (unit, date) in &entry.state.revision {
        let labels = [namespace, upstream, unit.as_str()];
        out.gauge(&UPSTREAM_REVISION, &labels, *date as f64);
    }
    let expiry = entry.state.key_expiry.map(|at| at as f64);
    gauges(out, &labels, [(&UPSTREAM_KEY_EXPIRY, expiry)]);
    for endpoint in &entry.state.endpoints {
        self::endpoint(out, labels, endpoint);
    }
    for (result, count) in [
        ("answered", entry.answered_probes),
        ("failed", entry.failed_probes),
    ] {
        let labels = [namespace, upstream, result];
        out.counter(&UPSTREAM_PROBES, &labels, count as f64);
    }
    let definitions = (&UPSTREAM_CONDITION, &UPSTREAM_TRANSITION);
    conditions(out, definitions, key, &entry.state.conditions);
}

fn endpoint(out: &mut Samples, [namespace, upstream]: [&str; 2], state: &EndpointGauges) {
    let superseded = state.superseded.map(|since| since.unwrap_or(0));
    let numbers = [
        (
            &ENDPOINT_REACHABLE,
            state.reachable.map(|is| f64::from(u8::from(is))),
        ),
        (&ENDPOINT_REVISION, state.revision.map(|date| date as f64)),
        (&ENDPOINT_SUPERSEDED, superseded.map(|since| since as f64)),
    ];
    gauges(out, &[namespace, upstream, &state.endpoint], numbers);
}

/// What is not known has no series.
fn gauges<const N: usize>(
    out: &mut Samples,
    labels: &[&str],
    numbers: [(&Definition, Option<f64>); N],
) {
    for (definition, value) in numbers {
        if let Some(value) = value {
            out.gauge(definition, labels, value);
        }
    }
}

fn conditions(
    out: &mut Samples,
    (definition, transition): (&Definition, &Definition),
    key: &ObjectKey,
    conditions: &[ConditionGauges],
) {
    let (namespace, name) = (key.namespace.as_str(), key.name.as_str());
    for condition in conditions {
        let kind = condition.kind.as_str();
        for status in ConditionStatus::ALL {
            let is = status == condition.status;
            let reason = condition.reason.filter(|_| is);
            let reason = reason.map_or("", |reason| reason.as_str());
            let labels = [namespace, name, kind, status.as_str(), reason];
            out.gauge(definition, &labels, f64::from(u8::from(is)));
        }
        let since = condition.since.map(|at| at as f64);
        gauges(out, &[namespace, name, kind], [(transition, since)]);
    }
}

pub(super) fn reconciles(out: &mut Samples, kind: &str, reconciles: &Reconciles) {
    out.counter(&RECONCILES, &[kind], reconciles.finished as f64);
    out.histogram(&RECONCILE_DURATION, &[kind], &reconciles.duration);
    for (reason, count) in &reconciles.errors {
        out.counter(&RECONCILE_ERRORS, &[kind, reason.as_str()], *count as f64);
    }
}
