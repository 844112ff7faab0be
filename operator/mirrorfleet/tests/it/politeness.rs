//! The budget of an Upstream is one for all Mirrors of it.

use std::fs;

use crate::support::World;
use crate::support::serving::Serving;
use crate::support::upstream::CountingUpstream;

const CONNECTIONS: usize = 2;

/// Two Mirrors of one Upstream that may have two connections, and an upstream that counts.
fn two_mirrors() -> (World, CountingUpstream) {
    let world = World::new();
    for number in 0..8 {
        world.add_package(&format!("extra{number}"), "1.0");
    }
    world.publish();
    let upstream = CountingUpstream::start(world.archive());
    world.write_manifests(&upstream.url);
    let text = fs::read_to_string(world.manifests()).unwrap();
    let text = text.replace(
        "  type: Debian\n",
        &format!("  type: Debian\n  politeness: {{maxConnections: {CONNECTIONS}}}\n"),
    );
    let mirror = text.rsplit("---\n").next().unwrap();
    let second = mirror.replace("metadata: {name: debian}", "metadata: {name: second}");
    fs::write(world.manifests(), format!("{text}---\n{second}")).unwrap();
    (world, upstream)
}

#[test]
fn two_mirrors_synced_at_once_share_the_connections_of_their_upstream() {
    let (world, upstream) = two_mirrors();
    let run = world.once().expect(0);
    assert_eq!(run.stdout.lines().count(), 2, "{run}");
    let (most, all) = upstream.counted();
    assert!(all >= 2 * 10, "each mirror fetches all: {all}");
    assert_eq!(most, CONNECTIONS);
}

#[test]
fn two_mirrors_that_a_daemon_syncs_share_the_connections_of_their_upstream() {
    let (world, upstream) = two_mirrors();
    let (manifests, data) = (world.manifests(), world.data());
    let serving = Serving::start(&[
        "local",
        "-f",
        manifests.to_str().unwrap(),
        "--data",
        data.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
    ]);
    crate::support::wait_for("both snapshots", || {
        let served = |mirror: &str| {
            let path = format!("/{mirror}/dists/trixie/InRelease");
            serving.get(&path).0 == 200
        };
        (served("debian") && served("second")).then_some(())
    });
    assert_eq!(serving.terminate(), 0);
    assert_eq!(upstream.counted().0, CONNECTIONS);
}
