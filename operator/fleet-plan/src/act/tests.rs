use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Two regions that serve what `snapshots` says, synced at 11:00 and on the hour.
fn mirror(spec: Value, snapshots: [&str; 2]) -> Mirror {
    let regions: Vec<Value> = ["eu", "us"]
        .iter()
        .zip(snapshots)
        .map(|(name, snapshot)| {
            json!({"name": name, "state": "Serving", "replicas": [{"ready": true, "snapshot": snapshot.repeat(32),
                "lastSuccess": "2026-01-01T11:00:10Z", "lastAttempt": {"job": "j", "trigger": "Schedule", "reason": "Published",
                    "startedAt": "2026-01-01T11:00:00Z", "finishedAt": "2026-01-01T11:00:10Z"}}]})
        })
        .collect();
    let mut spec = spec;
    spec["upstreamRef"] = json!({"name": "debian"});
    spec["content"] = json!({"debian": {"suites": ["trixie"]}});
    spec["sync"] = json!({"schedule": "0 * * * *"});
    spec["regions"] = json!([{"name": "eu"}, {"name": "us"}]);
    serde_json::from_value(json!({
        "apiVersion": "mirrorfleet.dev/v1alpha1", "kind": "Mirror",
        "metadata": {"name": "debian", "namespace": "ns", "resourceVersion": "7", "generation": 1},
        "spec": spec, "status": {"observedGeneration": 1, "regions": regions},
    }))
    .unwrap()
}

fn told(act: &Act, mirror: &Mirror, changed: bool) -> String {
    let known = Known {
        mirror,
        upstream: None,
        progress: &BTreeMap::new(),
        now: at("2026-01-01T11:30:00Z"),
    };
    let program = Program {
        name: "mirrorfleet".to_owned(),
        cluster: Vec::new(),
    };
    act.told(&known, changed, &program)
}

#[test]
fn what_is_so_already_is_not_written_again() {
    let now = at("2026-01-01T11:30:00Z");
    let plain = mirror(json!({}), ["aa", "aa"]);
    let id = "aa".repeat(32);
    let held = mirror(
        json!({"suspend": true, "snapshots": {"pinned": id}}),
        ["aa", "aa"],
    );
    let pin = Act::Pin(id.clone());
    let version = json!({"resourceVersion": "7"});
    for (act, mirror, patch) in [
        (
            &Act::Suspend,
            &plain,
            Some(json!({"spec": {"suspend": true}})),
        ),
        (&Act::Suspend, &held, None),
        (&Act::Resume, &plain, None),
        (
            &Act::Resume,
            &held,
            Some(json!({"spec": {"suspend": false}})),
        ),
        (&Act::Unpin, &plain, None),
        (
            &Act::Unpin,
            &held,
            Some(json!({"spec": {"snapshots": {"pinned": null}}})),
        ),
        (&pin, &held, None),
        (
            &pin,
            &plain,
            Some(json!({"metadata": version, "spec": {"snapshots": {"pinned": id}}})),
        ),
    ] {
        assert_eq!(act.patch(mirror, now), patch, "{act:?}");
        if patch.is_none() {
            assert!(told(act, mirror, false).ends_with("nothing was changed."));
        }
    }
    let asked = Act::SyncNow.patch(&held, now).unwrap();
    let value = &asked["metadata"]["annotations"][labels::SYNC_REQUESTED_AT];
    assert_eq!(value, "2026-01-01T11:30:00Z");
}

#[test]
fn a_pin_is_what_is_served_or_what_is_named() {
    let same = mirror(json!({}), ["aa", "aa"]);
    let differ = mirror(json!({}), ["aa", "ab"]);
    let pinned = |mirror: &Mirror, id: Option<&str>| Act::pin(mirror, id);
    let of = |word: &str| Ok(Act::Pin(word.repeat(32)));
    assert_eq!(pinned(&same, None), of("aa"));
    assert_eq!(pinned(&same, Some("aaaaaaaa")), of("aa"));
    assert_eq!(pinned(&differ, Some("abab")), of("ab"));
    assert_eq!(
        pinned(&same, Some("cccccccc")),
        Ok(Act::Pin("cccccccc".to_owned()))
    );
    assert!(
        pinned(&differ, None)
            .unwrap_err()
            .contains("different snapshots")
    );
    let mut none = same.clone();
    none.status = None;
    assert!(
        pinned(&none, None)
            .unwrap_err()
            .contains("no region serves")
    );
}

#[test]
fn a_skip_is_added_to_those_that_still_matter() {
    let with = |skip: Value, kept: &[&str]| {
        let mut mirror = mirror(json!({"snapshots": {"skip": skip}}), ["aa", "aa"]);
        let kept: Vec<Value> = kept.iter().map(|id| json!({"id": id.repeat(32)})).collect();
        mirror.status.as_mut().unwrap().snapshots = serde_json::from_value(json!(kept)).unwrap();
        mirror
    };
    let id = |word: &str| word.repeat(32);
    let skip = |mirror: &Mirror, id: Option<&str>| Act::skip(mirror, id);
    let plain = with(json!([]), &["aa", "bb"]);
    assert_eq!(
        skip(&plain, None),
        Ok(Act::Skip(vec![id("aa")])),
        "what is served"
    );
    assert_eq!(
        skip(&plain, Some("bbbbbbbb")),
        Ok(Act::Skip(vec![id("bb")]))
    );
    let some = with(json!(["bbbbbbbb", "cccccccc"]), &["aa", "bb"]);
    let both = Act::Skip(vec!["bbbbbbbb".to_owned(), id("aa")]);
    assert_eq!(
        skip(&some, None),
        Ok(both.clone()),
        "nobody keeps the other"
    );
    let patch = both.patch(&some, at("2026-01-01T11:30:00Z")).unwrap();
    assert_eq!(
        patch["spec"]["snapshots"]["skip"],
        json!(["bbbbbbbb", id("aa")])
    );
    assert!(told(&both, &some, true).contains("snapshot aaaaaaaaaaaa is not served any more"));
    let all: Vec<String> = (0..8).map(|n| format!("{n:02x}").repeat(32)).collect();
    let kept: Vec<String> = (0..8).map(|n| format!("{n:02x}")).collect();
    let kept: Vec<&str> = kept.iter().map(String::as_str).collect();
    let full = with(json!(all), &kept);
    assert!(
        skip(&full, None)
            .unwrap_err()
            .contains("8 snapshots already")
    );
    assert_eq!(
        skip(&full, Some(&all[3]))
            .unwrap()
            .patch(&full, Timestamp::UNIX_EPOCH),
        None
    );
}

#[test]
fn what_happens_next_is_said() {
    let plain = mirror(json!({}), ["aa", "aa"]);
    let suspended = mirror(json!({"suspend": true}), ["aa", "aa"]);
    let mut running = plain.clone();
    let status = running.status.as_mut().unwrap();
    status.regions[0].replicas[0].current_run = serde_json::from_value(
        json!({"job": "j2", "trigger": "Retry", "startedAt": "2026-01-01T11:29:00Z"}),
    )
    .unwrap();
    let pin = Act::Pin("aa".repeat(32));
    for (act, mirror, words) in [
        (
            &Act::SyncNow,
            &plain,
            "begins within seconds, or when it is its turn at Upstream debian.",
        ),
        (
            &Act::SyncNow,
            &running,
            "begins when the one that runs has ended (Job j2).",
        ),
        (
            &Act::SyncNow,
            &suspended,
            "suspended: `mirrorfleet resume debian -n ns`.",
        ),
        (
            &pin,
            &plain,
            "snapshot aaaaaaaaaaaa is pinned. Regions that keep it serve it within seconds",
        ),
        (&pin, &plain, "`mirrorfleet unpin debian -n ns`."),
        (
            &Act::Unpin,
            &plain,
            "Regions serve the newest snapshot that they keep within seconds.",
        ),
        (
            &Act::Suspend,
            &suspended,
            "no new sync begins, and clients go on getting what is served.",
        ),
        (
            &Act::Suspend,
            &running,
            "what runs goes on to its end (Job j2)",
        ),
        (
            &Act::Resume,
            &plain,
            "the next scheduled sync begins at 2026-01-01T12:00:00Z, in 30m.",
        ),
    ] {
        let text = told(act, mirror, true);
        assert!(text.contains(words), "{act:?}: {text}");
    }
}

#[test]
fn who_applies_the_manifest_is_named() {
    let mut mirror = mirror(json!({}), ["aa", "aa"]);
    let entry = |manager: &str, operation: &str| {
        json!({"manager": manager, "operation": operation, "apiVersion": "mirrorfleet.dev/v1alpha1", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:suspend": {}, "f:snapshots": {"f:keep": {}}}}})
    };
    mirror.metadata.managed_fields = serde_json::from_value(json!([
        entry("kustomize-controller", "Apply"),
        entry("kubectl-edit", "Update"),
        entry(FIELD_MANAGER, "Apply"),
    ]))
    .unwrap();
    assert_eq!(Act::Suspend.others(&mirror), ["kustomize-controller"]);
    assert_eq!(Act::Unpin.others(&mirror), Vec::<String>::new());
}
