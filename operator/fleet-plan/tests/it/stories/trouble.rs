//! What keeps pods and volumes from doing their work is the reason that people read.

use fleet_plan::observed::{RunEnd, Trouble, VolumePhase};
use fleet_plan::{Object, Write};
use fleet_types::documents::{NotKept, UnixSeconds};

use super::{begun, last_reason, not_ready, running, serving};
use crate::model::{World, at, render};

#[test]
fn trouble_is_told_in_kubernetes_words() {
    let mut world = serving(&["eu"]);
    world.objects.claims[0].phase = VolumePhase::Lost;
    let pod = world.serving_pod();
    pod.ready = false;
    pod.trouble = Some(Trouble {
        reason: "ImagePullBackOff".to_owned(),
        message: "no such image".to_owned(),
    });
    insta::assert_snapshot!("trouble", render(&world.plan()));
}

/// What Kubernetes' controllers say about an object.
fn warned(world: &mut World, uid: &str, message: &str) {
    world.objects.warnings.push(fleet_plan::SeenWarning {
        uid: uid.to_owned(),
        message: message.to_owned(),
        at: Some(world.now),
    });
}

#[test]
fn what_keeps_a_serving_pod_from_running_is_the_reason_of_not_being_ready() {
    let trouble = |reason: &str, message: &str| {
        Some(Trouble {
            reason: reason.to_owned(),
            message: message.to_owned(),
        })
    };
    let crash = |message: &str| {
        Some(RunEnd {
            exit_code: 1,
            at: None,
            message: message.to_owned(),
            reason: "Error".to_owned(),
        })
    };
    for image in [
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
    ] {
        let told = not_ready(&mut begun(|pod| {
            pod.trouble = trouble(image, "no such host")
        }));
        assert_eq!(told.0, "ImageNotPulled");
        assert!(
            told.1.contains("mirrorfleet:1") && told.1.contains("no such host"),
            "{}",
            told.1
        );
    }
    let told = not_ready(&mut begun(|pod| {
        pod.node = None;
        pod.unschedulable = Some("0/2 nodes are available: 2 Insufficient memory.".to_owned());
    }));
    assert_eq!(told.0, "PodUnschedulable");
    assert!(told.1.contains("2 Insufficient memory"), "{}", told.1);
    let told = not_ready(&mut begun(|pod| {
        pod.crash = crash("the store is of a newer version")
    }));
    assert_eq!(told.0, "PodCrashing");
    assert!(
        told.1
            .ends_with("(exit code 1); the last that it said: the store is of a newer version"),
        "{}",
        told.1
    );
    let told = not_ready(&mut begun(|pod| {
        pod.trouble = trouble("CreateContainerConfigError", "secret \"x\" not found")
    }));
    assert_eq!(told.0, "PodNotReady");
    assert!(told.1.contains("secret \"x\" not found"), "{}", told.1);
}

#[test]
fn a_claim_without_a_volume_and_a_pod_that_is_refused_are_told_in_the_words_of_who_refuses() {
    let mut world = begun(|pod| pod.unschedulable = Some("pod has unbound claims".to_owned()));
    world.objects.claims[0].phase = VolumePhase::Pending;
    let uid = world.objects.claims[0].meta.uid.clone();
    warned(&mut world, "another", "of a claim before this one");
    assert_eq!(not_ready(&mut world).0, "PodUnschedulable");
    warned(
        &mut world,
        &uid,
        "storageclass.storage.k8s.io \"fast\" not found",
    );
    let told = not_ready(&mut world);
    assert_eq!(
        told.0, "VolumePending",
        "the root, not what follows from it"
    );
    assert!(told.1.contains("\"fast\" not found"), "{}", told.1);

    let mut world = begun(|_| {});
    world.objects.pods.clear();
    assert_eq!(not_ready(&mut world).0, "FirstSyncPending");
    let uid = world.objects.stateful_sets[0].meta.uid.clone();
    warned(
        &mut world,
        &uid,
        "pods \"debian-0\" is forbidden: exceeded quota: small",
    );
    let told = not_ready(&mut world);
    assert_eq!(told.0, "CreationRefused");
    assert!(told.1.contains("exceeded quota: small"), "{}", told.1);
    assert_eq!(world.condition("Serving").unwrap().1, "CreationRefused");
}

#[test]
fn what_holds_up_the_first_run_is_told_and_later_ones_are_a_remark() {
    let mut world = World::new(&["eu"]);
    for _ in 0..2 {
        world.step();
        world.kubernetes();
    }
    let uid = world.objects.jobs[0].meta.uid.clone();
    world.objects.pods.retain(|pod| pod.job.is_none());
    assert_eq!(not_ready(&mut world).0, "FirstSyncRunning");
    warned(&mut world, &uid, "exceeded quota: small");
    let told = not_ready(&mut world);
    assert_eq!(told.0, "CreationRefused");
    world.pass(301);
    world.step();
    assert_eq!(last_reason(&world), "CreationRefused");

    let mut world = running();
    let pod = world.sync_pod();
    pod.running = false;
    pod.trouble = Some(Trouble {
        reason: "ErrImagePull".to_owned(),
        message: "gone".to_owned(),
    });
    world.step();
    let status = world.status();
    let ready = status
        .conditions
        .iter()
        .find(|found| found.type_ == "Ready")
        .unwrap();
    assert_eq!(ready.status, "True", "what is served stays served");
    assert!(
        ready.message.contains("cannot get the image") && ready.message.contains("gone"),
        "{}",
        ready.message
    );
}

#[test]
fn what_a_lazy_mirror_cannot_keep_is_told_until_it_can() {
    let mut world = serving(&["eu"]);
    let full = NotKept::full(UnixSeconds(world.now.as_second()));
    let tells = |world: &mut World, told: Option<NotKept>| {
        for store in world.stores.values_mut() {
            store.not_kept = told.clone();
        }
    };
    tells(&mut world, Some(full.clone()));
    world.step();
    let is_full = |world: &World| {
        let status = world.status();
        let mut conditions = status.conditions.iter();
        let known = conditions.find(|it| it.type_ == "StorageReady").unwrap();
        assert_eq!((&*known.status, &*known.reason), ("False", "StorageFull"));
        assert_eq!(known.message, format!("region eu: {}", full.message));
    };
    is_full(&world);
    assert_eq!(world.condition("Ready").unwrap().0, "True");
    world.not_asked = true;
    world.step();
    is_full(&world);
    world.not_asked = false;
    tells(&mut world, None);
    world.step();
    assert_eq!(world.condition("StorageReady").unwrap().1, "VolumeBound");
}

#[test]
fn what_a_pod_found_damaged_is_told_and_handed_to_the_next_run() {
    let mut world = serving(&["eu"]);
    let digest = fleet_types::Sha256([7; 32]);
    let store = world.stores.values_mut().next().unwrap();
    store.damaged = vec![digest];
    store.problem = Some("state/report.json is damaged: it is empty".to_owned());
    let plan = world.plan();
    let condition = plan
        .status
        .conditions
        .iter()
        .find(|known| known.type_ == "StorageReady");
    let message = &condition.unwrap().message;
    assert_eq!(condition.unwrap().status, "False");
    assert!(
        message.contains("1 stored file is damaged") && message.contains("it is empty"),
        "{message}"
    );
    world.now = at("2026-01-01T11:00:00Z");
    let arguments = world
        .plan()
        .writes
        .into_iter()
        .find_map(|write| match write {
            Write::Create(Object::Job(job)) => job.spec?.template.spec?.containers.pop()?.args,
            _ => None,
        });
    let arguments = arguments.unwrap();
    let at = arguments
        .iter()
        .position(|argument| argument == "--damaged")
        .unwrap();
    assert_eq!(arguments[at + 1], format!("[\"{digest}\"]"));
}
