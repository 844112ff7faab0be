//! One answer, or one endpoint, lacks or alters a root of a suite: what the upstream has comes to clients all the same.

use std::fs;

use fleet_sync::RunResult;
use fleet_types::Reason;

use crate::support::archive::{Release, Signed};
use crate::support::server::{Fault, Server};
use crate::support::{World, endpoint, sync, told};

const ROOTS: [&str; 3] = [
    "dists/stable/InRelease",
    "dists/stable/Release",
    "dists/stable/Release.gpg",
];
const UNCHANGED: (RunResult, Reason) = (RunResult::Unchanged, Reason::Unchanged);

async fn world_with_all_roots() -> World {
    let world = World::new(&[]).await;
    publish(&world, 0);
    world
}

fn publish(world: &World, later: i64) {
    let release = Release {
        signed: Signed::Both,
        ..Release::of(world.date + later)
    };
    world.archive.publish("stable", &world.packages, &release);
}

fn serves_all(world: &World) -> bool {
    ROOTS
        .iter()
        .all(|root| world.served(root) == world.archive.read(root))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_one_answer_lacks_is_kept_or_comes_with_the_next_run() {
    let page = Fault::Content(b"<html><body>Welcome</body></html>".to_vec());
    for (lacking, fault) in [
        (vec![0], Fault::Status(404)),
        (vec![1], Fault::Status(410)),
        (vec![2], Fault::Status(403)),
        (vec![1, 2], Fault::Status(404)),
        (vec![0, 2], Fault::Status(404)),
        (vec![2], page.clone()),
        (vec![1], page),
        (vec![2], Fault::Status(500)),
    ] {
        let world = world_with_all_roots().await;
        let options = world.options(&["stable"]);
        assert_eq!(told(&sync(&options).await).0, RunResult::Published);
        for root in &lacking {
            world.server.fault(ROOTS[*root], usize::MAX, fault.clone());
        }
        let same = sync(&options).await;
        assert!(serves_all(&world), "{lacking:?} {fault:?}: {same:?}");

        publish(&world, 10);
        let newer = sync(&options).await;
        world.server.heal();
        sync(&options).await;
        assert!(serves_all(&world), "{lacking:?} {fault:?}: {newer:?}");
        let unchanged = sync(&options).await;
        assert_eq!(told(&unchanged), UNCHANGED, "{unchanged:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_of_another_state_holds_only_if_it_is_signed() {
    let world = world_with_all_roots().await;
    let options = world.options(&["stable"]);
    let older: Vec<Vec<u8>> = ROOTS.iter().map(|root| world.archive.read(root)).collect();
    publish(&world, 10);
    let content = |root: usize| Fault::Content(older[root].clone());
    world.server.fault(ROOTS[1], usize::MAX, content(1));
    let unsigned = sync(&options).await;
    assert_eq!(told(&unsigned).0, RunResult::Published, "{unsigned:?}");
    assert_eq!(world.served(ROOTS[0]), world.archive.read(ROOTS[0]));

    publish(&world, 20);
    world.server.fault(ROOTS[2], usize::MAX, content(2));
    let signed = sync(&options).await;
    let expected = (RunResult::Failed, Reason::ReleasePairMismatch);
    assert_eq!(told(&signed), expected, "{signed:?}");
    assert!(signed.message.contains("content.exclude"), "{signed:?}");
    let mut leaving_out = world.options(&["stable"]);
    leaving_out.exclude = vec![ROOTS[1].to_owned()];
    let without = sync(&leaving_out).await;
    assert_eq!(told(&without).0, RunResult::Published, "{without:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authoritys_file_is_taken_and_an_altered_one_does_not_stay() {
    let world = world_with_all_roots().await;
    let third_party = Server::start(world.archive.root()).await;
    let mut options = world.options(&["stable"]);
    options.endpoints = vec![endpoint("third-party", &third_party.url, 0)];
    // Clients take it, and so do we; and yet it is not what the archive has.
    let good = String::from_utf8(world.archive.read(ROOTS[0])).unwrap();
    let altered = good.replace("MESSAGE-----\n", "MESSAGE----- \n");
    third_party.fault(ROOTS[0], usize::MAX, Fault::Content(altered.into_bytes()));
    let first = sync(&options).await;
    assert_eq!(told(&first).0, RunResult::Published, "{first:?}");
    assert_eq!(world.served(ROOTS[0]), good.as_bytes());
    let unchanged = sync(&options).await;
    assert_eq!(told(&unchanged), UNCHANGED, "{unchanged:?}");

    publish(&world, 5);
    third_party.heal();
    third_party.fault(ROOTS[0], usize::MAX, Fault::Status(404));
    let without = sync(&options).await;
    assert_eq!(told(&without).0, RunResult::Published, "{without:?}");
    assert!(serves_all(&world), "the authority has it");
    world.server.take_seen();
    assert_eq!(told(&sync(&options).await), UNCHANGED);
    assert_eq!(world.server.take_seen().len(), 1);

    publish(&world, 10);
    let good = world.archive.read(ROOTS[0]);
    let spoilt = [&good[..], b"\n"].concat();
    third_party.heal();
    third_party.fault(ROOTS[0], usize::MAX, Fault::Content(spoilt));
    let refused = sync(&options).await;
    assert_eq!(told(&refused).1, Reason::IndexMalformed, "{refused:?}");
    options
        .endpoints
        .push(endpoint("another", &world.server.url, 1));
    let passed_over = sync(&options).await;
    assert_eq!(
        told(&passed_over).0,
        RunResult::Published,
        "{passed_over:?}"
    );
    assert_eq!(world.served(ROOTS[0]), good);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_for_in_release_means_that_it_is_not_there_where_release_answers() {
    let world = World::new(&[]).await;
    let release = Release {
        signed: Signed::Detached,
        ..Release::of(world.date)
    };
    world.archive.publish("stable", &world.packages, &release);
    let options = world.options(&["stable"]);
    world.server.fault(ROOTS[0], usize::MAX, Fault::Status(403));
    let report = sync(&options).await;
    assert_eq!(told(&report).0, RunResult::Published, "{report:?}");
    world.server.fault(ROOTS[1], usize::MAX, Fault::Status(403));
    let report = sync(&options).await;
    assert_eq!(told(&report).1, Reason::UpstreamForbidden, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_with_a_root_comes_again_only_where_it_is_another() {
    let world = World::new(&[]).await;
    let release = Release {
        signed: Signed::Both,
        ..Release::of(world.date)
    };
    world.archive.publish("stable", &world.packages, &release);
    let options = world.options(&["stable"]);
    assert_eq!(told(&sync(&options).await).1, Reason::Published);
    // Signed anew, with the same beside it.
    let folder = world.archive.path("dists/stable");
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    let text = String::from_utf8(read("Release")).unwrap();
    let kept = ["Release", "Release.gpg"].map(read);
    world.archive.sign("stable", &text, Signed::Inline);
    // Two signatures of one second may be the same bytes.
    let armor = "-----BEGIN PGP SIGNATURE-----\n";
    let signed = String::from_utf8(read("InRelease")).unwrap();
    let signed = signed.replace(armor, &format!("{armor}Comment: anew\n"));
    fs::write(folder.join("InRelease"), signed).unwrap();
    for (name, content) in ["Release", "Release.gpg"].iter().zip(&kept) {
        fs::write(folder.join(name), content).unwrap();
    }
    world.archive.date_roots("stable", world.date);
    // But for the one that is new.
    let now = fs::File::options()
        .append(true)
        .open(folder.join("InRelease"));
    let later = std::time::UNIX_EPOCH + std::time::Duration::from_secs(world.date as u64 + 1);
    now.unwrap().set_modified(later).unwrap();
    let report = sync(&options).await;
    let new = read("InRelease").len() as u64;
    assert_eq!(
        (told(&report).1, report.bytes_fetched),
        (Reason::Published, new),
        "{report:?}"
    );

    // Of another state, and of the same second: what does not fit is read again without conditions.
    let newer = Release {
        signed: Signed::Both,
        ..Release::of(world.date + 60)
    };
    world
        .archive
        .publish("stable", &world.packages[..2], &newer);
    world.archive.date_roots("stable", world.date);
    let now = fs::File::options()
        .append(true)
        .open(folder.join("InRelease"));
    let later = later + std::time::Duration::from_secs(1);
    now.unwrap().set_modified(later).unwrap();
    assert_eq!(told(&sync(&options).await).1, Reason::Published);
    assert_eq!(world.served("dists/stable/Release"), read("Release"));
}
