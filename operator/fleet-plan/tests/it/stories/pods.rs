//! What a Mirror and the installation ask of pods.

use fleet_plan::{Object, Write};
use serde_json::json;

use crate::model::{World, render};

/// The pod templates that are planned: of the StatefulSet and of the first Job.
fn templates(world: &mut World) -> Vec<k8s_openapi::api::core::v1::PodTemplateSpec> {
    let plan = world.plan();
    world.apply(&plan);
    world.kubernetes();
    let next = world.plan();
    let writes = plan.writes.into_iter().chain(next.writes);
    writes
        .filter_map(|write| match write {
            Write::Apply(Object::StatefulSet(set)) => Some(set.spec?.template),
            Write::Create(Object::Job(job)) => Some(job.spec?.template),
            _ => None,
        })
        .collect()
}

#[test]
fn pods_are_as_the_mirror_and_the_installation_ask_and_still_restricted() {
    let mut world = World::new(&["eu"]);
    world.pods = serde_json::from_value(json!({
        "labels": {"example.org/team": "mirrors", "example.org/cost": "1"}, "priorityClassName": "low",
        "imagePullPolicy": "Always", "imagePullSecrets": [{"name": "registry"}],
    }))
    .unwrap();
    world.pods_allowed = serde_json::from_value(json!({
        "priorityClasses": ["high"], "runtimeClasses": ["sandbox"],
        "labelPrefixes": ["example.org/"], "annotationPrefixes": ["example.org/"],
    }))
    .unwrap();
    world.edit_pods(json!({
        "labels": {"example.org/cost": "2"}, "annotations": {"example.org/scan": "no"},
        "priorityClassName": "high", "runtimeClassName": "sandbox", "imagePullPolicy": "IfNotPresent",
        "imagePullSecrets": [{"name": "own"}],
        "securityContext": {"identity": "Platform", "seLinuxOptions": {"level": "s0:c1,c2"}},
    }));
    let templates = templates(&mut world);
    assert_eq!(templates.len(), 2);
    for template in templates {
        let meta = template.metadata.unwrap();
        let labels = meta.labels.unwrap();
        assert_eq!(
            (
                labels["example.org/team"].as_str(),
                labels["example.org/cost"].as_str()
            ),
            ("mirrors", "2")
        );
        assert_eq!(labels["mirrorfleet.dev/mirror"], "debian");
        assert_eq!(meta.annotations.unwrap()["example.org/scan"], "no");
        let spec = serde_json::to_value(template.spec.unwrap()).unwrap();
        assert_eq!(spec["priorityClassName"], "high");
        assert_eq!(spec["runtimeClassName"], "sandbox");
        assert_eq!(
            spec["imagePullSecrets"],
            json!([{"name": "registry"}, {"name": "own"}])
        );
        assert_eq!(spec["containers"][0]["imagePullPolicy"], "IfNotPresent");
        assert_eq!(
            spec["securityContext"],
            json!({
                "runAsNonRoot": true, "fsGroupChangePolicy": "OnRootMismatch",
                "seLinuxOptions": {"level": "s0:c1,c2"}, "seccompProfile": {"type": "RuntimeDefault"},
            })
        );
        assert_eq!(
            spec["containers"][0]["securityContext"]["allowPrivilegeEscalation"],
            false
        );
        assert_eq!(spec["automountServiceAccountToken"], false);
    }
    world.settle();
    let quiet = world.plan();
    assert!(
        quiet.writes.is_empty() && !quiet.status_changed,
        "{}",
        render(&quiet)
    );
    world.edit_pods(json!({"annotations": {"example.org/scan": "yes"}}));
    assert!(
        matches!(
            world.plan().writes.as_slice(),
            [Write::Apply(Object::StatefulSet(_))]
        ),
        "an annotation alone is a change too"
    );
}

#[test]
fn what_the_installation_does_not_allow_stalls_with_the_list_that_would() {
    for (pods, list) in [
        (
            json!({"priorityClassName": "high"}),
            "podsAllowed.priorityClasses",
        ),
        (
            json!({"runtimeClassName": "kata"}),
            "podsAllowed.runtimeClasses",
        ),
        (
            json!({"labels": {"example.org/a": "b"}}),
            "podsAllowed.labelPrefixes",
        ),
        (
            json!({"annotations": {"example.org/a": "b"}}),
            "podsAllowed.annotationPrefixes",
        ),
        (
            json!({"labels": {"app.kubernetes.io/component": "serving"}}),
            "not yours to set",
        ),
        (
            json!({"securityContext": {"runAsUser": 0}}),
            "from 1 to 2147483647",
        ),
        (
            json!({"securityContext": {"fsGroup": 2_147_483_648_i64}}),
            "from 1 to 2147483647",
        ),
    ] {
        let mut world = World::new(&["eu"]);
        world.edit_pods(pods);
        let plan = world.plan();
        assert!(plan.writes.is_empty());
        world.apply(&plan);
        assert_eq!(world.condition("Stalled").unwrap().1, "InvalidSpec");
        let status = world.status();
        assert!(
            status
                .conditions
                .iter()
                .any(|found| found.message.contains(list)),
            "{}",
            render(&plan)
        );
    }
}

#[test]
fn resources_are_ours_where_the_manifest_gives_none() {
    let mut world = World::new(&["eu"]);
    world.edit(
        "/spec/sync",
        json!({"resources": {"requests": {"cpu": "2"}}}),
    );
    let resources: Vec<_> = templates(&mut world)
        .into_iter()
        .map(|template| {
            serde_json::to_value(&template.spec.unwrap().containers[0].resources).unwrap()
        })
        .collect();
    assert_eq!(
        resources[0],
        json!({"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}})
    );
    assert_eq!(resources[1], json!({"requests": {"cpu": "2"}}));
}
