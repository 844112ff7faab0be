//! Which links between regions a snapshot crosses, and how often.

use super::replicas::{sources, store};
use super::serving;
use super::together::{SECOND, id};

/// `e2e/acceptance/replicas.py` has the same, and counts what crosses each link.
#[test]
fn six_replicas_cross_each_link_between_regions_once() {
    let mut world = serving(&["eu*2", "us<eu*2", "asia<us*2"]);
    world.request("one more");
    world.step();
    world.pass(10);
    let mut told = sources(&world);
    for _ in 0..6 {
        let report = fleet_types::documents::Report {
            snapshot: Some(id(SECOND)),
            ..world.report("Prepared")
        };
        world.end_run(&report);
        for _ in 0..3 {
            world.round();
        }
        told.extend(sources(&world));
    }
    told.sort();
    told.dedup();
    let copy = |title: &str, from: &str| (title.to_owned(), Some(from.to_owned()));
    let wanted = [
        copy("asia/0", "us"),
        copy("asia/1", "asia"),
        ("eu/0".to_owned(), None),
        copy("eu/1", "eu"),
        copy("us/0", "eu"),
        copy("us/1", "us"),
    ];
    assert_eq!(told, wanted);
    world.settle();
    for (region, replica) in ["eu", "us", "asia"]
        .into_iter()
        .flat_map(|it| [(it, 0), (it, 1)])
    {
        assert_eq!(store(&world, region, replica), Some(id(SECOND)));
    }
    assert_eq!(
        world.settle(),
        0,
        "three regions of two replicas come to rest"
    );
}
