//! What a failed write and a passed slot look like in status and metrics.

use serde_json::json;

use super::*;

fn mirror(status: serde_json::Value) -> Mirror {
    serde_json::from_value(json!({
        "apiVersion": "mirrorfleet.dev/v1alpha1", "kind": "Mirror",
        "metadata": {"name": "debian", "namespace": "ns", "generation": 3},
        "spec": {"upstreamRef": {"name": "debian"}, "content": {}},
        "status": status,
    }))
    .unwrap()
}

fn plan(status: &MirrorStatus, changed: bool) -> Plan {
    Plan {
        writes: Vec::new(),
        status: status.clone(),
        status_changed: changed,
        after_status: Vec::new(),
        events: Vec::new(),
        finished: Vec::new(),
        turn: crate::Turn::Idle,
        rollouts: 0,
        copies: 0,
        wake_at: None,
    }
}

fn failed(reason: Reason, unmade_job: Option<&str>) -> Failure {
    Failure {
        reason,
        message: "debian-eu-1: exceeded quota".to_owned(),
        unmade_jobs: unmade_job.into_iter().map(str::to_owned).collect(),
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn a_failed_write_enters_the_status_once_with_its_words() {
    let mut mirror = mirror(json!({"observedGeneration": 3}));
    let planned = plan(mirror.status.as_ref().unwrap(), false);
    let refused = failed(Reason::ApiError, None);
    let first = planned.clone().after(&mirror, &refused, at(100));
    assert!(first.status_changed);
    let [condition] = first.status.conditions.as_slice() else {
        panic!("{:?}", first.status.conditions)
    };
    assert_eq!(
        (condition.type_.as_str(), condition.reason.as_str()),
        ("Reconciling", "ApiError")
    );
    assert!(
        condition.message.contains("debian-eu-1") && condition.message.contains("exceeded quota")
    );
    assert_eq!(first.events.len(), 1);
    // The same failure again, later: nothing new to write or to tell.
    mirror.status = Some(first.status);
    let again = planned.after(&mirror, &refused, at(200));
    assert!(!again.status_changed && again.events.is_empty());
}

/// What is not ready names the refusal, and a run whose Job was refused did not begin.
#[test]
fn a_refused_job_is_the_cause_and_not_a_run() {
    let condition = json!({"type": "Ready", "status": "False", "reason": "FirstSyncRunning", "message": "runs",
        "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let planned: MirrorStatus = serde_json::from_value(json!({
        "observedGeneration": 3, "lastHandledSyncRequest": "b", "conditions": [condition],
        "regions": [{"name": "eu-1", "state": "Syncing", "replicas": [{"handledSyncRequest": "b",
            "roundStartedAt": "2026-01-01T00:00:00Z",
            "currentRun": {"job": "debian-eu-1", "trigger": "First", "startedAt": "2026-01-01T00:00:00Z"}}]}],
    }))
    .unwrap();
    let refused = failed(Reason::CreationRefused, Some("debian-eu-1"));
    let before = mirror(json!({"observedGeneration": 3, "lastHandledSyncRequest": "a"}));
    let status = plan(&planned, true)
        .after(&before, &refused, at(100))
        .status;
    let region = &status.regions[0].replicas[0];
    assert_eq!(
        (
            &region.current_run,
            &region.round_started_at,
            &region.handled_sync_request
        ),
        (&None, &None, &None)
    );
    assert_eq!(status.last_handled_sync_request.as_deref(), Some("a"));
    let ready = status
        .conditions
        .iter()
        .find(|found| found.type_ == "Ready")
        .unwrap();
    assert_eq!(ready.reason, "CreationRefused");
    assert!(
        ready.message.contains("exceeded quota"),
        "{}",
        ready.message
    );
    assert_eq!(status.state.as_deref(), Some("CreationRefused"));
}

#[test]
fn a_slot_is_missed_only_if_no_run_started_since() {
    let status = |next: i64, started: Option<i64>| {
        let regions = started.map(|at_second| {
            let started = at(at_second).to_string();
            let run = json!({"job": "j", "trigger": "Schedule", "startedAt": started});
            json!({"name": "eu-1", "replicas": [{"currentRun": run}]})
        });
        let next = at(next).to_string();
        let regions: Vec<_> = regions.into_iter().collect();
        serde_json::from_value::<MirrorStatus>(json!({"nextSyncTime": next, "regions": regions}))
            .unwrap()
    };
    let before = status(100, None);
    let missed = |before: Option<&MirrorStatus>, after: &MirrorStatus, now| {
        plan(after, true).missed_slot(before, now)
    };
    assert!(missed(Some(&before), &status(500, None), at(200)));
    assert!(
        missed(Some(&before), &status(500, Some(50)), at(200)),
        "a run from before the slot does not count"
    );
    assert!(!missed(Some(&before), &status(500, Some(120)), at(200)));
    assert!(
        !missed(Some(&before), &status(100, None), at(200)),
        "still waiting for its turn"
    );
    assert!(
        !missed(Some(&before), &status(500, None), at(90)),
        "an edit moved the slot before it came"
    );
    assert!(!missed(None, &status(500, None), at(200)));
}
