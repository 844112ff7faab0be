//! Upstreams that change while they are read, contradict themselves, or that a person or a refusal holds back.

use std::path::PathBuf;

use fleet_sync::RunResult;
use fleet_types::Reason;

use crate::support::archive::{Release, Signed};
use crate::support::server::Fault;
use crate::support::{World, process, set_content, sync, told, writer};

const PUBLISHED: (RunResult, Reason) = (RunResult::Published, Reason::Published);

fn release(world: &World, later: i64, by_hash: bool, signed: Signed) -> Release {
    Release {
        by_hash,
        signed,
        ..Release::of(world.date + later)
    }
}

/// An upstream with a first state, which is returned, and a second one that it has now.
async fn two_states(by_hash: bool, signed: Signed) -> (World, PathBuf) {
    let world = World::new(&[]).await;
    let first = release(&world, 0, by_hash, signed);
    world
        .archive
        .publish("stable", &world.packages[..2], &first);
    let before = world.archive.freeze("before");
    let second = release(&world, 10, by_hash, signed);
    world.archive.publish("stable", &world.packages, &second);
    world.server.change(before.clone());
    (world, before)
}

#[tokio::test(flavor = "multi_thread")]
async fn roots_that_are_replaced_while_they_are_read_are_read_once_more() {
    let (world, before) = two_states(true, Signed::Both).await;
    let options = world.options(&["stable"]);
    world.server.change(world.archive.root());
    // They are asked for together: in whichever order they are answered, this one is of the state before.
    let older = std::fs::read(before.join("dists/stable/InRelease")).unwrap();
    world.server.bare();
    world
        .server
        .fault("dists/stable/InRelease", 1, Fault::Content(older));
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    assert_eq!(report.revision[0].date, world.date + 10);
    for root in ["InRelease", "Release", "Release.gpg"] {
        let path = format!("dists/stable/{root}");
        assert_eq!(world.served(&path), world.archive.read(&path));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn roots_that_never_fit_each_other_are_refused_after_one_more_try() {
    let (world, before) = two_states(true, Signed::Both).await;
    let options = world.options(&["stable"]);
    // Both signed: what nobody signed would merely be left out.
    for name in ["dists/stable/Release", "dists/stable/Release.gpg"] {
        let newer = world.archive.path(name);
        process::run(
            std::process::Command::new("cp")
                .arg(newer)
                .arg(before.join(name)),
        );
    }
    let report = sync(&options).await;
    assert_eq!(
        (told(&report), report.exit_code()),
        ((RunResult::Failed, Reason::ReleasePairMismatch), 3),
        "{report:?}"
    );
    let seen = world.server.take_seen();
    let asked = |name: &str| seen.iter().filter(|seen| seen.path.ends_with(name)).count();
    assert_eq!((asked("/InRelease"), asked("/Release")), (2, 2), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_publishes_before_its_indices_are_read_is_listed_once_more() {
    for by_hash in [false, true] {
        let (world, before) = two_states(by_hash, Signed::Inline).await;
        if by_hash {
            // An upstream that does not keep the indices of its state before.
            let folder = "dists/stable/main/binary-amd64/by-hash";
            let old = std::fs::read_dir(before.join(folder).join("SHA256")).unwrap();
            for file in old {
                let name = file.unwrap().file_name();
                drop(std::fs::remove_file(
                    world.archive.path(folder).join("SHA256").join(name),
                ));
            }
        }
        let options = world.options(&["stable"]);
        world
            .server
            .change_after("dists/stable/InRelease", world.archive.root());
        let report = sync(&options).await;
        assert_eq!(told(&report), PUBLISHED, "by-hash {by_hash}: {report:?}");
        assert_eq!(report.revision[0].date, world.date + 10);
        let index = "dists/stable/main/binary-amd64/Packages.xz";
        assert_eq!(world.served(index), world.archive.read(index));
        assert_eq!(
            world.served(&world.packages[2].path),
            world.archive.read(&world.packages[2].path)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn by_hash_gives_the_state_that_was_listed_although_a_newer_one_appeared() {
    let (world, _) = two_states(true, Signed::Inline).await;
    let options = world.options(&["stable"]);
    world
        .server
        .change_after("dists/stable/InRelease", world.archive.root());
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    assert_eq!(
        report.revision[0].date, world.date,
        "one state, not a mixture"
    );
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    assert_eq!(report.revision[0].date, world.date + 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn indices_that_never_fit_their_release_are_refused() {
    let (world, before) = two_states(false, Signed::Inline).await;
    let options = world.options(&["stable"]);
    let indices = "dists/stable/main";
    process::run(
        std::process::Command::new("cp")
            .arg("-rT")
            .arg(world.archive.path(indices))
            .arg(before.join(indices)),
    );
    let report = sync(&options).await;
    assert_eq!(
        (told(&report), report.exit_code()),
        ((RunResult::Failed, Reason::DigestMismatch), 3),
        "{report:?}"
    );
    let seen = world.server.take_seen();
    let listed = seen.iter().filter(|seen| seen.path.ends_with("/InRelease"));
    assert_eq!(listed.count(), 2, "listed once more, not for ever");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roll_back_holds_until_the_upstream_publishes_something_newer() {
    let world = World::new(&["stable"]).await;
    let options = world.options(&["stable"]);
    let first = sync(&options).await.snapshot.unwrap();
    let publish = |count: usize, later| {
        let release = Release::of(world.date + later);
        world
            .archive
            .publish("stable", &world.packages[..count], &release);
    };
    publish(2, 10);
    let second = sync(&options).await.snapshot.unwrap();
    assert_ne!(first, second);
    let writer = writer(&options);
    writer
        .rollback(&first.parse().unwrap(), world.date)
        .unwrap();
    drop(writer);
    for _ in 0..2 {
        let report = sync(&options).await;
        assert_eq!(
            (told(&report), report.exit_code()),
            ((RunResult::Unchanged, Reason::RolledBack), 0),
            "{report:?}"
        );
        assert_eq!(report.snapshot.as_ref(), Some(&first));
    }
    publish(3, 20);
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    assert!(report.snapshot != Some(first) && report.snapshot != Some(second));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_name_with_two_contents_or_as_file_and_directory_refuses_the_later_suite() {
    let world = World::new(&["stable", "updates"]).await;
    let options = world.options(&["stable", "updates"]);
    assert_eq!(told(&sync(&options).await), PUBLISHED);
    let known = &world.packages[1];
    let other = world.archive.package("zeta", b"zeta in stable");
    let mut contradicting = other.clone();
    (contradicting.size, contradicting.sha256) = (known.size, known.sha256.clone());
    let below = world
        .archive
        .package_at("pool/main/y/yps.d/inside.deb", "yps", b"inside");
    let mut file = below.clone();
    file.path = "pool/main/y/yps.d".to_owned();
    for (later, (stable, updates)) in [(10, (other, contradicting)), (20, (below, file))] {
        for (suite, package) in [("stable", &stable), ("updates", &updates)] {
            let mut packages = world.packages.clone();
            packages.push(package.clone());
            let release = Release::of(world.date + later);
            world.archive.publish(suite, &packages, &release);
        }
        let report = sync(&options).await;
        assert_eq!(
            (told(&report), report.exit_code()),
            ((RunResult::Published, Reason::PathConflict), 3),
            "{report:?}"
        );
        let reasons: Vec<_> = report.units.iter().map(|suite| suite.reason).collect();
        assert_eq!(reasons, [Reason::Published, Reason::PathConflict]);
        assert!(report.message.contains(&stable.path), "{report:?}");
        assert_eq!(world.served(&stable.path), world.archive.read(&stable.path));
    }
}

/// The declared slice changes twice while one suite is refused: it is carried by the slice that it was taken by.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_suite_is_carried_under_the_slice_that_it_was_taken_by() {
    let world = World::new(&[]).await;
    let mut packages = world.packages.clone();
    packages.push(world.archive.package("delta-arm64", b"delta"));
    packages.push(world.archive.package("epsilon-riscv64", b"epsilon"));
    let publish = |suite: &str, later| {
        let release = Release {
            architectures: vec!["amd64", "arm64", "riscv64"],
            ..Release::of(world.date + later)
        };
        world.archive.publish(suite, &packages, &release);
    };
    publish("stable", 0);
    publish("updates", 0);
    let mut options = world.options(&["stable", "updates"]);
    assert_eq!(told(&sync(&options).await), PUBLISHED);
    let index = |suite: &str, architecture: &str| {
        let path = format!("dists/{suite}/main/binary-{architecture}/Packages.xz");
        world.state_of(&path).is_some()
    };

    publish("updates", -10);
    let slices = [vec!["amd64", "arm64"], vec!["amd64", "arm64", "riscv64"]];
    for architectures in &slices {
        let slice = serde_json::json!({
            "suites": ["stable", "updates"], "components": ["main"], "architectures": architectures,
        });
        set_content(&mut options, slice);
        let report = sync(&options).await;
        assert_eq!(
            told(&report),
            (RunResult::Published, Reason::RollbackDetected),
            "{report:?}"
        );
        for architecture in architectures {
            let carried = *architecture == "amd64";
            assert!(index("stable", architecture), "{architecture}");
            assert_eq!(index("updates", architecture), carried, "{architecture}");
        }
        let again = sync(&options).await;
        assert_eq!(
            told(&again),
            (RunResult::Failed, Reason::RollbackDetected),
            "nothing is gained: {again:?}"
        );
        assert_eq!(again.snapshot, report.snapshot);
    }

    // The very state that is carried, now under the new slice.
    publish("updates", 0);
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    assert!(index("updates", "arm64") && index("updates", "riscv64"));
    assert_eq!(told(&sync(&options).await).1, Reason::Unchanged);
}
