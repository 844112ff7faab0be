//! Upstreams that are away, refuse or do not have it; disks that rot.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use fleet_origin::Obtained;
use fleet_types::Reason;

use crate::upstream::{Reply, Upstream};
use crate::world::{World, bytes, digest};

#[tokio::test(flavor = "multi_thread")]
async fn what_an_upstream_does_not_have_is_asked_for_once_in_a_while() {
    let upstream = Upstream::start().await;
    let content = bytes(5_000, 1);
    let mut world = World::new(&upstream.url, &[("a.deb", &content)]);
    let told = world.ask("a.deb", &content).await;
    assert!(matches!(told, Obtained::Absent), "{told:?}");
    // On a connection of its own too: what is missing on a shared one is in doubt.
    let asked = upstream.asked("a.deb");
    assert!((1..=2).contains(&asked), "{asked}");
    for _ in 0..3 {
        let told = world.ask("a.deb", &content).await;
        assert!(matches!(told, Obtained::Absent), "{told:?}");
    }
    assert_eq!(upstream.asked("a.deb"), asked);
    upstream.set("a.deb", Reply::Body(content.clone()));
    // Time goes faster where nothing is remembered.
    world.declare(|options| options.negative_age = Duration::ZERO);
    assert!(matches!(
        world.ask("a.deb", &content).await,
        Obtained::Blob(_)
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_away_or_asks_for_a_rest_is_told_of_as_such() {
    let upstream = Upstream::start().await;
    let (here, other) = (bytes(5_000, 1), bytes(5_000, 2));
    let contents: [(&str, &[u8]); 3] = [("a.deb", &here), ("b.deb", &other), ("c.deb", b"c")];
    let world = World::new(&upstream.url, &contents);
    upstream.set("a.deb", Reply::Body(here.clone()));
    upstream.set("c.deb", Reply::Status(503, "Retry-After: 7\r\n"));
    assert!(matches!(world.ask("a.deb", &here).await, Obtained::Blob(_)));
    let told = world.ask("c.deb", b"c").await;
    assert!(
        matches!(told, Obtained::Busy(wait) if wait == Duration::from_secs(7)),
        "{told:?}"
    );
    upstream.go_away().await;
    let world = World::new(&upstream.url, &contents);
    let Obtained::Refused(reason, why) = world.ask("b.deb", &other).await else {
        panic!("nobody is there")
    };
    assert_eq!(reason, Reason::UpstreamUnreachable, "{why}");
    assert!(why.contains("b.deb"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_what_is_here_is_here_and_nobody_is_asked_for_the_rest() {
    let upstream = Upstream::start().await;
    let (here, other) = (bytes(5_000, 1), bytes(5_000, 2));
    let mut world = World::new(&upstream.url, &[("a.deb", &here), ("b.deb", &other)]);
    upstream.set("a.deb", Reply::Body(here.clone()));
    upstream.set("b.deb", Reply::Body(other.clone()));
    assert!(matches!(world.ask("a.deb", &here).await, Obtained::Blob(_)));
    world.declare(|options| options.is_offline = true);
    assert!(matches!(world.ask("a.deb", &here).await, Obtained::Blob(_)));
    let told = world.ask("b.deb", &other).await;
    assert!(
        matches!(told, Obtained::Refused(Reason::Offline, _)),
        "{told:?}"
    );
    assert_eq!(upstream.asked("b.deb"), 0);
    world.declare(|options| options.is_offline = false);
    assert!(matches!(
        world.ask("b.deb", &other).await,
        Obtained::Blob(_)
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_content_is_refused_and_never_kept() {
    let upstream = Upstream::start().await;
    let content = bytes(5_000, 1);
    let world = World::new(&upstream.url, &[("a.deb", &content)]);
    upstream.set("a.deb", Reply::Body(bytes(5_000, 2)));
    let told = world.ask("a.deb", &content).await;
    assert!(
        matches!(told, Obtained::Refused(Reason::DigestMismatch, _)),
        "{told:?}"
    );
    assert!(world.blob(&content).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_rotted_is_fetched_again() {
    let upstream = Upstream::start().await;
    let content = bytes(5_000, 1);
    let world = World::new(&upstream.url, &[("a.deb", &content)]);
    upstream.set("a.deb", Reply::Body(content.clone()));
    assert!(matches!(
        world.ask("a.deb", &content).await,
        Obtained::Blob(_)
    ));
    let blob = world.store().blob_path(&digest(&content));
    fs::set_permissions(&blob, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&blob, bytes(5_000, 9)).unwrap();
    // The first fetch is over a little after it has told what came: until then it speaks for all who ask.
    while upstream.asked("a.deb") == 1 {
        assert!(matches!(
            world.ask("a.deb", &content).await,
            Obtained::Blob(_)
        ));
    }
    assert_eq!(world.blob(&content), Some(content));
    assert_eq!(upstream.asked("a.deb"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_no_sync_has_made_yet_and_one_that_is_not_declared_say_so() {
    let upstream = Upstream::start().await;
    let mut world = World::new(&upstream.url, &[("a.deb", b"a")]);
    world.declare(|options| options.store_dir = options.store_dir.with_file_name("none"));
    let told = world.ask("a.deb", b"a").await;
    assert!(
        matches!(told, Obtained::Refused(Reason::StorageFailed, _)),
        "{told:?}"
    );
    world.filler.declare(&[]);
    let told = world.ask("a.deb", b"a").await;
    assert!(matches!(told, Obtained::Refused(..)), "{told:?}");
    assert_eq!(upstream.asked("a.deb"), 0);
}
