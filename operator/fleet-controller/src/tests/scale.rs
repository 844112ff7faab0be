//! What a change costs when there are many Mirrors.

use super::*;
use crate::context::listener;
use crate::world::Change;

/// A fleet at rest, each Mirror with an Upstream of its own.
async fn fleet_at_rest(mirrors: usize) -> Api {
    let api = Api::default();
    for number in 0..mirrors {
        let name = format!("mirror-{number}");
        api.upstream(&name, &["trixie"]);
        let mut manifest = manifest(&name, &name, "trixie", &["eu"]);
        manifest["spec"]["suspend"] = json!(true);
        api.mirror(manifest);
    }
    let mut leader = Leader::new(&api);
    leader.rest().await;
    leader.kubernetes();
    leader.ask(|| serves("trixie"));
    leader.rest().await;
    api
}

#[tokio::test]
async fn a_restart_with_many_mirrors_writes_nothing() {
    const MIRRORS: usize = 50;
    let api = fleet_at_rest(MIRRORS).await;
    let status = api.status("mirror-7");
    assert_eq!(condition(&status, "Fresh"), "True", "{status}");
    let before = api.writes().len();
    assert!(before >= 6 * MIRRORS, "objects and a status each: {before}");

    let mut leader = Leader::new(&api);
    leader.rest().await;
    assert_eq!(api.writes()[before..], [""; 0], "nobody was asked yet");
    leader.ask(|| Answer::Unreachable("connection refused".to_owned()));
    leader.rest().await;
    assert_eq!(api.writes()[before..], [""; 0], "once is no news");
    leader.ask(|| serves("trixie"));
    leader.rest().await;
    assert_eq!(api.writes()[before..], [""; 0]);
    assert_eq!(
        leader.plans,
        2 * MIRRORS,
        "for the list, and for the answer"
    );
}

#[tokio::test]
async fn a_run_that_ends_costs_the_same_however_many_wait_for_their_turn() {
    const MIRRORS: usize = 40;
    let api = Api::default();
    api.upstream("debian", &["trixie"]);
    for number in 0..MIRRORS {
        api.mirror(manifest(
            &format!("mirror-{number}"),
            "debian",
            "trixie",
            &["eu"],
        ));
    }
    let mut leader = Leader::new(&api);
    leader.rest().await;
    leader.kubernetes();
    leader.ask(|| serves("trixie"));
    leader.rest().await;
    let mut ran = BTreeSet::new();
    loop {
        let (plans, writes) = (leader.plans, api.writes().len());
        let Some(mirror) = leader.end_run() else {
            break;
        };
        ran.insert(mirror);
        leader.rest().await;
        let (plans, writes) = (leader.plans - plans, api.writes().len() - writes);
        assert!(
            plans <= 8 && writes <= 8,
            "{plans} plans, {writes} writes after run {}",
            ran.len()
        );
    }
    assert_eq!(ran.len(), MIRRORS);
}

#[tokio::test]
async fn an_upstreams_change_wakes_the_mirrors_of_its_unit() {
    let api = Api::default();
    api.upstream("debian", &["trixie", "bookworm"]);
    api.upstream("other", &["trixie"]);
    for (name, upstream, suite) in [
        ("a", "debian", "trixie"),
        ("b", "debian", "bookworm"),
        ("c", "debian", "trixie"),
        ("d", "other", "trixie"),
    ] {
        api.mirror(manifest(name, upstream, suite, &["eu"]));
    }
    let mut leader = Leader::new(&api);
    leader.rest().await;
    let tell = listener(&leader.context);
    let world = leader.context.world.clone();
    let mut after = |pointer: &str, value: Value| {
        let mut debian = api.all("upstreams").into_iter();
        let mut debian = debian
            .find(|found| found["metadata"]["name"] == "debian")
            .unwrap();
        *debian.pointer_mut(pointer).unwrap() = value;
        let debian = api.put(
            &path("apis/mirrorfleet.dev/v1alpha1", "upstreams", "debian"),
            debian,
        );
        let debian: Upstream = serde_json::from_value(debian).unwrap();
        let item = by_itself(DeserializeGuard(Ok(debian))).unwrap();
        let before = world
            .upstreams
            .replace(item)
            .expect("it is another version");
        tell(Change::Upstream(before), &mirror("debian"));
        let woken: BTreeSet<String> = leader
            .mirrors
            .drain()
            .into_iter()
            .map(|woken| woken.name)
            .collect();
        woken.into_iter().collect::<Vec<_>>()
    };
    let newer = json!(Sha256([2; 32]).to_string());
    assert_eq!(
        after("/status/revision/0/digest", newer.clone()),
        ["a", "c"]
    );
    assert_eq!(after("/status/revision/1/digest", newer), ["b"]);
    assert_eq!(
        after("/status/observedGeneration", json!(2)),
        [""; 0],
        "our own words"
    );
    assert_eq!(after("/metadata/generation", json!(2)), ["a", "b", "c"]);
}
