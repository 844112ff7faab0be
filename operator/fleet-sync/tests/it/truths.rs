//! Endpoints that do not tell the same: several truths of one date are nobody's to choose from.

use fleet_sync::{RunResult, SyncOptions};
use fleet_types::Reason;

use crate::support::archive::Release;
use crate::support::server::{Fault, Server};
use crate::support::{World, endpoint, process, sync, told};

const PUBLISHED: (RunResult, Reason) = (RunResult::Published, Reason::Published);
const IN_RELEASE: &str = "dists/stable/InRelease";

/// Two endpoints; the second has what the archive holds now, the first what is published from here on.
async fn two_endpoints(world: &World) -> (Server, SyncOptions) {
    let other = Server::start(world.archive.freeze("other")).await;
    let mut options = world.options(&["stable"]);
    options.endpoints = vec![
        endpoint("first", &world.server.url, 10),
        endpoint("second", &other.url, 20),
    ];
    options.authority = world.server.url.clone();
    (other, options)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_contents_of_one_date_are_held_whichever_is_asked_first() {
    let world = World::new(&["stable"]).await;
    let (other, mut options) = two_endpoints(&world).await;
    let publish = |count: usize, later| {
        let release = Release::of(world.date + later);
        world
            .archive
            .publish("stable", &world.packages[..count], &release);
    };
    publish(2, 0);
    for _ in 0..2 {
        options.endpoints.swap(0, 1);
        for (priority, endpoint) in options.endpoints.iter_mut().enumerate() {
            endpoint.priority = priority as i32;
        }
        let report = sync(&options).await;
        assert_eq!(
            (told(&report), report.exit_code()),
            ((RunResult::Failed, Reason::Equivocation), 3),
            "{report:?}"
        );
        let has = |text: &str| report.message.contains(text);
        assert!(
            has(world.server.url.as_str()) && has(other.url.as_str()),
            "{report:?}"
        );
        let digests = report.message.split([' ', ',', ';']);
        let digests = digests.filter(|word| word.len() == 64).count();
        assert_eq!(digests, 2, "{report:?}");
    }
    // The next state of one of them is newer than what the other has.
    publish(3, 10);
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    assert_eq!(report.revision[0].date, world.date + 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_is_not_fetched_from_is_a_witness_too() {
    let world = World::new(&["stable"]).await;
    let (other, mut options) = two_endpoints(&world).await;
    options.endpoints.truncate(1);
    options.authority = other.url.clone();
    world
        .archive
        .publish("stable", &world.packages[..2], &Release::of(world.date));
    let report = sync(&options).await;
    assert_eq!(told(&report).1, Reason::Equivocation, "{report:?}");
    assert!(report.message.contains(other.url.as_str()), "{report:?}");
    other.change(world.archive.root());
    assert_eq!(told(&sync(&options).await), PUBLISHED);
}

#[tokio::test(flavor = "multi_thread")]
async fn witnesses_cost_one_request_while_something_is_new_and_none_otherwise() {
    let world = World::new(&["stable"]).await;
    let (other, options) = two_endpoints(&world).await;
    assert_eq!(told(&sync(&options).await), PUBLISHED);
    // What the first endpoint lacks of the indices is asked for at the second too, whoever is a witness.
    let asked = |server: &Server| {
        let seen = server.take_seen().into_iter().map(|seen| seen.path);
        seen.filter(|path| !path.contains("/main/"))
            .collect::<Vec<_>>()
    };
    let once = [format!("/debian/{IN_RELEASE}")];
    assert_eq!(asked(&other), once);
    asked(&world.server);
    assert_eq!(told(&sync(&options).await).1, Reason::Unchanged);
    let lacking = [once[0].clone(), "/debian/dists/stable/Release".to_owned()];
    assert_eq!(
        (asked(&world.server), asked(&other).len()),
        (lacking.to_vec(), 0)
    );

    // One that stayed behind with what we have already.
    let release = Release::of(world.date + 10);
    world
        .archive
        .publish("stable", &world.packages[..2], &release);
    assert_eq!(told(&sync(&options).await), PUBLISHED);
    assert_eq!(asked(&other), once);
}

#[tokio::test(flavor = "multi_thread")]
async fn witnesses_that_are_away_or_tell_nonsense_are_no_obstacle() {
    for fault in [
        Fault::Status(500),
        Fault::Status(404),
        Fault::Content(b"<html>".to_vec()),
    ] {
        let world = World::new(&["stable"]).await;
        let (other, options) = two_endpoints(&world).await;
        other.fault(IN_RELEASE, usize::MAX, fault.clone());
        let report = sync(&options).await;
        assert_eq!(told(&report), PUBLISHED, "{fault:?}: {report:?}");
        assert!(other.seen_count() > 0);
    }
    let world = World::new(&["stable"]).await;
    let (other, options) = two_endpoints(&world).await;
    drop(other);
    // All that is listed is there, so that nothing but the state is asked for elsewhere.
    let index = world
        .archive
        .path("dists/stable/main/binary-amd64/Packages.xz");
    process::run(std::process::Command::new("xz").arg("-dk").arg(index));
    assert_eq!(told(&sync(&options).await), PUBLISHED);
}
