//! How tools that wait (kubectl, Flux, Argo, Helm) read our status: a port of the generic rules of kstatus.
//! <https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/status/generic.go>

use crate::model::World;
use fleet_api::Mirror;
use serde_json::json;

#[derive(Debug, PartialEq, Eq)]
enum Kstatus {
    InProgress,
    Failed,
    Current,
    Terminating,
}

fn kstatus(mirror: &Mirror) -> Kstatus {
    if mirror.metadata.deletion_timestamp.is_some() {
        return Kstatus::Terminating;
    }
    let Some(status) = &mirror.status else {
        return Kstatus::InProgress;
    };
    if Some(status.observed_generation) != mirror.metadata.generation {
        return Kstatus::InProgress;
    }
    for condition in status
        .conditions
        .iter()
        .filter(|condition| condition.status == "True")
    {
        match condition.type_.as_str() {
            "Reconciling" => return Kstatus::InProgress,
            "Stalled" => return Kstatus::Failed,
            _ => {}
        }
    }
    match status
        .conditions
        .iter()
        .find(|condition| condition.type_ == "Ready")
    {
        Some(ready) if ready.status != "True" => Kstatus::InProgress,
        _ => Kstatus::Current,
    }
}

#[test]
fn every_stage_of_a_mirror_is_read_as_what_it_is() {
    let mut world = World::new(&["eu"]);
    assert_eq!(
        kstatus(&world.mirror),
        Kstatus::InProgress,
        "not visited yet"
    );
    world.step();
    assert_eq!(
        kstatus(&world.mirror),
        Kstatus::InProgress,
        "objects are being made"
    );
    world.settle();
    assert_eq!(kstatus(&world.mirror), Kstatus::Current, "serves");

    world.pass(3600);
    world.step();
    assert!(world.status().regions[0].replicas[0].current_run.is_some());
    assert_eq!(
        kstatus(&world.mirror),
        Kstatus::Current,
        "a routine sync is nothing to wait for"
    );
    let report = world.report("SignatureBad");
    world.end_run(&report);
    world.step();
    assert_eq!(
        world.condition("Verified").unwrap(),
        ("False".into(), "SignatureBad".into())
    );
    assert_eq!(
        kstatus(&world.mirror),
        Kstatus::Current,
        "a lying upstream does not unready what is served"
    );

    world.edit("/spec/sync/schedule", json!("at noon"));
    assert_eq!(
        kstatus(&world.mirror),
        Kstatus::InProgress,
        "the edit was not seen yet"
    );
    world.step();
    assert_eq!(
        kstatus(&world.mirror),
        Kstatus::Failed,
        "only an edit helps"
    );
    assert_eq!(
        world.condition("Stalled").unwrap(),
        ("True".into(), "InvalidSpec".into())
    );
    assert_eq!(
        world.condition("Ready").unwrap().0,
        "True",
        "and what is served stays served"
    );

    world.edit("/spec/sync/schedule", json!("0 * * * *"));
    world.settle();
    assert_eq!(kstatus(&world.mirror), Kstatus::Current);
    assert_eq!(world.condition("Stalled"), None);
}

#[test]
fn a_missing_keyring_is_stalled_until_it_is_there() {
    let mut world = World::new(&["eu"]);
    for _ in 0..2 {
        world.step();
        world.kubernetes();
    }
    let report = world.report("KeyringNotFound");
    world.end_run(&report);
    world.step();
    assert_eq!(
        world.condition("Ready").unwrap(),
        ("False".into(), "KeyringNotFound".into())
    );
    assert_eq!(kstatus(&world.mirror), Kstatus::Failed);
    world.pass(600);
    world.settle();
    assert_eq!(
        kstatus(&world.mirror),
        Kstatus::Current,
        "the retry found it"
    );
}
