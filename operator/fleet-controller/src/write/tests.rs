//! The rules of writing, against an API server that answers from a script: what a real one cannot be made to do at the
//! right instant.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::ApiResource;
use kube::client::Body;
use serde_json::Value;

use super::*;

/// What was asked: method, path with query, body.
type Asked = Arc<Mutex<Vec<(String, String, Value)>>>;

fn api(answers: Vec<(u16, Value)>) -> (Client, Asked) {
    let asked = Asked::default();
    let (notes, answers) = (asked.clone(), Arc::new(Mutex::new(VecDeque::from(answers))));
    let service = tower::service_fn(move |request: Request<Body>| {
        let (notes, answers) = (notes.clone(), answers.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect_bytes().await.unwrap_or_default();
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            notes
                .lock()
                .unwrap()
                .push((head.method.to_string(), head.uri.to_string(), body));
            let (code, answer) = answers
                .lock()
                .unwrap()
                .pop_front()
                .expect("one request too many");
            let answer = Response::builder()
                .status(code)
                .body(Body::from(answer.to_string().into_bytes()));
            Ok::<_, Infallible>(answer.unwrap())
        }
    });
    (Client::new(service, "ns"), asked)
}

fn mirror() -> ObjectName {
    ObjectName::new("ns", "debian")
}

fn service(version: &str, managed_by: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "debian-eu-1", "namespace": "ns", "uid": "u1", "resourceVersion": version,
            "labels": {"app.kubernetes.io/managed-by": managed_by, "mirrorfleet.dev/mirror": "debian"},
            "managedFields": [{"manager": "mirrorfleet-controller", "operation": "Apply"}],
        },
        "spec": {"ports": [{"port": 80}]},
    })
}

fn wanted() -> Write {
    let mut service: Service = serde_json::from_value(service("", "mirrorfleet")).unwrap();
    service.metadata.resource_version = None;
    service.metadata.uid = None;
    service.metadata.managed_fields = None;
    Write::Apply(service.into())
}

fn refusal(code: u16, reason: &str) -> (u16, Value) {
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": reason}),
    )
}

fn writer(client: Client) -> Writer {
    Writer::new(client.clone(), client)
}

async fn carry_out(
    answers: Vec<(u16, Value)>,
    write: &Write,
) -> (Result<(), WriteError>, World, Vec<(String, String, Value)>) {
    let (client, asked) = api(answers);
    let world = World::default();
    let result = writer(client).carry_out(&world, &mirror(), write).await;
    let asked = asked.lock().unwrap().clone();
    (result, world, asked)
}

#[tokio::test]
async fn what_is_not_there_is_created_and_known_at_once() {
    let answers = vec![refusal(404, "NotFound"), (201, service("5", "mirrorfleet"))];
    let (result, world, asked) = carry_out(answers, &wanted()).await;
    assert_eq!(result, Ok(()));
    assert_eq!(
        asked
            .iter()
            .map(|(method, ..)| method.as_str())
            .collect::<Vec<_>>(),
        ["GET", "POST"]
    );
    assert_eq!(
        Service::kept(&world.owned).version(&mirror(), "debian-eu-1"),
        Some(5)
    );
}

#[tokio::test]
async fn what_is_ours_is_applied_only_in_the_version_that_was_seen() {
    let answers = vec![
        (200, service("5", "mirrorfleet")),
        (200, service("6", "mirrorfleet")),
    ];
    let (result, world, asked) = carry_out(answers, &wanted()).await;
    assert_eq!(result, Ok(()));
    let (method, uri, body) = &asked[1];
    assert_eq!(
        (
            method.as_str(),
            body["metadata"]["resourceVersion"].as_str()
        ),
        ("PATCH", Some("5"))
    );
    assert!(
        uri.contains("fieldManager=mirrorfleet-controller") && uri.contains("force=true"),
        "{uri}"
    );
    assert_eq!(
        Service::kept(&world.owned).version(&mirror(), "debian-eu-1"),
        Some(6)
    );
}

#[tokio::test]
async fn a_strangers_object_is_never_written_and_the_next_plan_sees_it() {
    for answers in [
        vec![(200, service("5", "somebody"))],
        // It appears between the look and the creation.
        vec![
            refusal(404, "NotFound"),
            refusal(409, "AlreadyExists"),
            (200, service("5", "somebody")),
        ],
    ] {
        let (result, world, asked) = carry_out(answers, &wanted()).await;
        assert_eq!(
            result,
            Err(WriteError::NameConflict {
                kind: "Service".into(),
                name: "debian-eu-1".into()
            })
        );
        assert!(
            asked
                .iter()
                .all(|(method, ..)| method != "PATCH" && method != "DELETE")
        );
        assert!(world.strangers.any(&mirror()) && !world.owned.any(&mirror()));
    }
}

#[tokio::test]
async fn what_changed_in_between_is_left_for_the_next_plan() {
    let answers = vec![(200, service("5", "mirrorfleet")), refusal(409, "Conflict")];
    let (result, ..) = carry_out(answers, &wanted()).await;
    assert!(matches!(result, Err(WriteError::Outdated { .. })));
}

#[tokio::test]
async fn a_job_that_exists_and_is_ours_counts_as_created() {
    let job: Job = serde_json::from_value(json!({
        "metadata": {"name": "run", "labels": {"app.kubernetes.io/managed-by": "mirrorfleet", "mirrorfleet.dev/mirror": "debian"}},
    }))
    .unwrap();
    let mut found = job.clone();
    found.metadata.uid = Some("j1".into());
    let answers = vec![refusal(409, "AlreadyExists"), (200, json!(found))];
    let (result, world, _) = carry_out(answers, &Write::Create(job.into())).await;
    assert_eq!(result, Ok(()));
    assert_eq!(Job::kept(&world.owned).names(&mirror()), ["run"]);
}

#[tokio::test]
async fn a_deletion_names_the_very_object_and_gone_is_as_good() {
    let write = Write::Delete {
        kind: Owned::Job,
        part: "eu-1".into(),
        name: "run".into(),
        uid: "j1".into(),
    };
    let (result, _, asked) = carry_out(vec![refusal(404, "NotFound")], &write).await;
    assert_eq!(result, Ok(()));
    assert_eq!(asked[0].2["preconditions"]["uid"], "j1");
    assert_eq!(asked[0].2["propagationPolicy"], "Background");
    let (result, ..) = carry_out(vec![refusal(409, "Conflict")], &write).await;
    assert!(
        matches!(result, Err(WriteError::Outdated { .. })),
        "its successor is not the one that was meant"
    );
}

fn named(uid: &str) -> (String, String, String) {
    (
        "eu-1".to_owned(),
        "debian-eu-1-0".to_owned(),
        uid.to_owned(),
    )
}

#[tokio::test]
async fn an_eviction_names_the_very_pod_and_what_came_of_it_is_known_at_once() {
    let (part, name, uid) = named("p1");
    let write = Write::Evict { part, name, uid };
    let leaving = json!({"metadata": {"name": "debian-eu-1-0", "namespace": "ns", "uid": "p1", "resourceVersion": "7",
        "deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 60}});
    let evicted = json!({"kind": "Status", "apiVersion": "v1", "status": "Success", "code": 201});
    let (result, world, asked) = carry_out(vec![(201, evicted), (200, leaving)], &write).await;
    assert_eq!(result, Ok(()));
    let (method, uri, body) = &asked[0];
    assert_eq!(method, "POST");
    assert!(uri.ends_with("/pods/debian-eu-1-0/eviction?"), "{uri}");
    assert_eq!(body["deleteOptions"]["preconditions"]["uid"], "p1");
    let known = Pod::kept(&world.owned).get(&mirror(), "debian-eu-1-0");
    assert!(known.unwrap().meta.deleting);
    let (result, ..) = carry_out(vec![refusal(409, "Conflict")], &write).await;
    assert!(matches!(result, Err(WriteError::Outdated { .. })));
}

#[tokio::test]
async fn an_eviction_that_a_budget_refuses_is_noted_and_no_failure() {
    let (part, name, uid) = named("p1");
    let write = Write::Evict { part, name, uid };
    let refused = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 429, "reason": "TooManyRequests",
        "message": "Cannot evict pod as it would violate the pod's disruption budget.", "details": {"causes": [
            {"reason": "DisruptionBudget", "message": "The disruption budget x needs 1 healthy pods and has 1 currently"}]}});
    let (result, world, asked) = carry_out(vec![(429, refused)], &write).await;
    assert_eq!((result, asked.len()), (Ok(()), 1));
    let pod = |uid: &str| {
        let mut pod = fleet_plan::SeenPod::default();
        pod.meta.uid = uid.to_owned();
        pod
    };
    let known = world.refusals.of(&[pod("p1"), pod("p2")]);
    let told: Vec<_> = known.into_iter().collect();
    assert_eq!((told.len(), told[0].0.as_str()), (1, "p1"));
    let words = "Cannot evict pod as it would violate the pod's disruption budget. \
                 The disruption budget x needs 1 healthy pods and has 1 currently";
    assert_eq!(told[0].1.message, words);
}

#[tokio::test]
async fn a_stateful_set_is_taken_from_its_pods_and_they_are_labelled_by_uid() {
    let (part, name, uid) = named("s1");
    let write = Write::Orphan { part, name, uid };
    let (result, _, asked) = carry_out(vec![refusal(404, "NotFound")], &write).await;
    assert_eq!(result, Ok(()));
    assert_eq!(asked[0].2["propagationPolicy"], "Orphan");
    assert_eq!(asked[0].2["preconditions"]["uid"], "s1");

    let (part, name, uid) = named("p1");
    let labels = [("mirrorfleet.dev/replica".to_owned(), "0".to_owned())].into();
    let kind = Labelled::Pod;
    let write = Write::Label {
        kind,
        part,
        name,
        uid,
        labels,
    };
    let pod = json!({"metadata": {"name": "debian-eu-1-0", "namespace": "ns", "uid": "p1", "resourceVersion": "7"}});
    let (result, world, asked) = carry_out(vec![(200, pod)], &write).await;
    assert_eq!(result, Ok(()));
    let body = json!({"metadata": {"uid": "p1", "labels": {"mirrorfleet.dev/replica": "0"}}});
    assert_eq!(asked[0].2, body);
    assert_eq!(Pod::kept(&world.owned).names(&mirror()), ["debian-eu-1-0"]);
}

#[tokio::test]
async fn what_cannot_be_read_gets_a_condition_and_keeps_the_rest_of_its_status() {
    let object = |status: Value| {
        json!({
            "apiVersion": "mirrorfleet.dev/v1alpha1", "kind": "Mirror",
            "metadata": {"name": "debian", "namespace": "ns", "uid": "u1", "resourceVersion": "3", "generation": 7},
            "spec": {"storage": {"size": "not a size"}}, "status": status,
        })
    };
    let regions = json!([{"name": "eu", "highWater": [{"unit": "trixie"}]}]);
    let before = json!({"observedGeneration": 6, "regions": regions});
    let kind = ApiResource::erase::<Mirror>(&());
    let meta: ObjectMeta = serde_json::from_value(object(json!({}))["metadata"].clone()).unwrap();
    let (client, asked) = api(vec![(200, object(before.clone())), (200, object(before))]);
    let now = Timestamp::UNIX_EPOCH;
    assert_eq!(
        writer(client)
            .unreadable(&kind, &meta, "size: bad", now)
            .await,
        Ok(true)
    );
    let (method, uri, body) = asked.lock().unwrap()[1].clone();
    assert!(
        method == "PATCH" && uri.contains("/mirrors/debian/status"),
        "{method} {uri}"
    );
    assert_eq!(body["metadata"]["resourceVersion"], "3");
    let status = &body["status"];
    assert_eq!(
        (&status["regions"], &status["observedGeneration"]),
        (&regions, &json!(7))
    );
    assert_eq!(status["conditions"][1]["type"], "Stalled");
    assert!(
        status["conditions"][1]["message"]
            .as_str()
            .unwrap()
            .contains("size: bad")
    );

    let (client, asked) = api(vec![(200, object(status.clone()))]);
    assert_eq!(
        writer(client)
            .unreadable(&kind, &meta, "size: bad", now)
            .await,
        Ok(false)
    );
    assert_eq!(asked.lock().unwrap().len(), 1, "said once");
}

/// A leader that was deposed without knowing it.
#[tokio::test]
async fn a_status_is_written_only_over_the_version_that_it_was_planned_from() {
    let object = json!({
        "apiVersion": "mirrorfleet.dev/v1alpha1", "kind": "Mirror",
        "metadata": {"name": "debian", "namespace": "ns", "uid": "u1", "resourceVersion": "3"},
        "spec": {"upstreamRef": {"name": "debian"}, "content": {}},
    });
    let seen: Mirror = serde_json::from_value(object).unwrap();
    let (client, asked) = api(vec![refusal(409, "Conflict")]);
    let status = fleet_api::MirrorStatus::default();
    let written = writer(client);
    let written = written
        .mirror_status(&World::default(), &seen, &status)
        .await;
    assert!(matches!(written, Err(WriteError::Outdated { .. })));
    let (.., body) = &asked.lock().unwrap()[0];
    assert_eq!(body["metadata"]["resourceVersion"], "3");
}
