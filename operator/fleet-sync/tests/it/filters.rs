//! Rules over packages: what they leave out is listed and not copied.

use fleet_store::EntryState;
use fleet_sync::{RunResult, SyncOptions};
use fleet_types::Reason;
use serde_json::{Value, json};

use crate::support::archive::{Package, Release, now};
use crate::support::{World, plan, set_content, sync, told, writer};

const PUBLISHED: (RunResult, Reason) = (RunResult::Published, Reason::Published);

fn with_rules(options: &mut SyncOptions, suites: &[&str], packages: Value) {
    let content = json!({
        "suites": suites, "components": ["main"], "architectures": ["amd64"], "packages": packages,
    });
    set_content(options, content);
}

fn in_section(package: &Package, section: &str) -> Package {
    Package {
        fields: format!("Section: {section}\nPriority: optional\nSource: {section}-source (1.0)\n"),
        ..package.clone()
    }
}

/// alpha in libs, beta in doc, c++ in devel.
fn sections(world: &World) -> Vec<Package> {
    let packages = world.packages.iter().zip(["libs", "doc", "devel"]);
    packages
        .map(|(package, section)| in_section(package, section))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rules_leave_out_is_listed_goes_from_the_disk_and_comes_back() {
    let world = World::new(&[]).await;
    let packages = sections(&world);
    world
        .archive
        .publish("stable", &packages, &Release::of(world.date));
    let mut options = world.options(&["stable"]);
    options.retention.keep = 1;
    let states = |options: &SyncOptions, expected: [EntryState; 3]| {
        // The run itself had the snapshot before open until its end.
        writer(options).collect(now(), &[]).unwrap();
        let found: Vec<_> = packages
            .iter()
            .map(|package| world.state_of(&package.path).unwrap())
            .collect();
        assert_eq!(found, expected);
        let on_disk = |package: &Package| {
            let store = world.store();
            store.blob_path(&package.sha256.parse().unwrap()).exists()
        };
        for (package, state) in packages.iter().zip(expected) {
            assert_eq!(
                on_disk(package),
                state == EntryState::Present,
                "{package:?}"
            );
        }
        let index = "dists/stable/main/binary-amd64/Packages.xz";
        assert_eq!(world.served(index), world.archive.read(index));
        let root = "dists/stable/InRelease";
        assert_eq!(world.served(root), world.archive.read(root));
    };
    use EntryState::{Excluded, Present};

    with_rules(
        &mut options,
        &["stable"],
        json!({"exclude": [{"section": "do?"}]}),
    );
    let foreseen = plan(&options).await;
    assert_eq!(
        (foreseen.fetch.files, foreseen.exclude.files),
        (2, 1),
        "{foreseen:?}"
    );
    assert_eq!(foreseen.exclude.sample, [packages[1].path.clone()]);
    assert_eq!(told(&sync(&options).await), PUBLISHED);
    states(&options, [Present, Excluded, Present]);
    let seen = world.server.take_seen();
    assert!(!seen.iter().any(|seen| seen.path.contains("beta")));
    assert_eq!(told(&sync(&options).await).1, Reason::Unchanged);

    let only = json!({
        "include": [{"name": "c++", "priority": "opt*"}, {"source": "doc-source"}],
        "exclude": [{"section": "devel", "name": "nothing"}],
    });
    with_rules(&mut options, &["stable"], only);
    let foreseen = plan(&options).await;
    assert_eq!(
        (
            foreseen.fetch.files,
            foreseen.exclude.files,
            foreseen.remove.files
        ),
        (1, 1, 1),
        "{foreseen:?}"
    );
    assert_eq!(told(&sync(&options).await), PUBLISHED);
    states(&options, [Excluded, Present, Present]);

    with_rules(&mut options, &["stable"], json!({}));
    assert_eq!(told(&sync(&options).await), PUBLISHED);
    states(&options, [Present, Present, Present]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_one_listing_wants_is_copied_whatever_the_others_say() {
    for suites in [["stable", "updates"], ["updates", "stable"]] {
        let world = World::new(&[]).await;
        let beta = &world.packages[1];
        let publish = |suite: &str, packages: &[Package]| {
            let release = Release::of(world.date);
            world.archive.publish(suite, packages, &release);
        };
        publish(
            "stable",
            &[in_section(beta, "doc"), world.packages[0].clone()],
        );
        publish("updates", &[in_section(beta, "libs")]);
        let mut options = world.options(&suites);
        with_rules(
            &mut options,
            &suites,
            json!({"exclude": [{"section": "doc"}]}),
        );
        assert_eq!(told(&sync(&options).await), PUBLISHED);
        assert_eq!(world.state_of(&beta.path), Some(EntryState::Present));
        assert_eq!(world.served(&beta.path), world.archive.read(&beta.path));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_suite_keeps_the_rules_that_it_was_taken_by() {
    let world = World::new(&[]).await;
    let own = world.archive.package("only-updates", b"only in updates");
    let old = world.archive.package("old", b"only in stable");
    let publish = |suite: &str, package: &Package, later| {
        let mut packages = sections(&world);
        packages.push(in_section(package, "doc"));
        let release = Release::of(world.date + later);
        world.archive.publish(suite, &packages, &release);
    };
    publish("stable", &old, 0);
    publish("updates", &own, 0);
    let suites = ["stable", "updates"];
    let mut options = world.options(&suites);
    let no_docs = json!({"exclude": [{"section": "doc"}]});
    with_rules(&mut options, &suites, no_docs);
    assert_eq!(told(&sync(&options).await), PUBLISHED);
    let state = |package: &Package| world.state_of(&package.path).unwrap();
    let beta = &world.packages[1];
    use EntryState::{Excluded, Present};
    for package in [beta, &own, &old] {
        assert_eq!(state(package), Excluded);
    }

    // Looser for the suite that advances.
    publish("updates", &own, -10);
    with_rules(&mut options, &suites, json!({}));
    let report = sync(&options).await;
    let in_part = (RunResult::Published, Reason::RollbackDetected);
    assert_eq!(told(&report), in_part, "{report:?}");
    assert_eq!(
        [state(beta), state(&old), state(&own)],
        [Present, Present, Excluded]
    );

    // Tighter for the suite that advances, and taken back for what only the other wanted by its rules of before.
    with_rules(&mut options, &suites, json!({"exclude": [{"name": "*"}]}));
    let report = sync(&options).await;
    assert_eq!(told(&report), in_part, "{report:?}");
    assert_eq!([state(beta), state(&old), state(&own)], [Excluded; 3]);
    assert_eq!(
        state(&world.packages[0]),
        Present,
        "wanted by the carried suite"
    );

    publish("updates", &own, 10);
    with_rules(
        &mut options,
        &suites,
        json!({"include": [{"name": "only-*"}]}),
    );
    assert_eq!(told(&sync(&options).await), PUBLISHED);
    assert_eq!(
        [state(beta), state(&old), state(&own)],
        [Excluded, Excluded, Present]
    );
    assert_eq!(state(&world.packages[0]), Excluded);
}

/// What no kept snapshot names any more is gone with the run that gave up the last one which did.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_excluded_leaves_the_disk_with_the_last_snapshot_that_has_it() {
    for keep in [1, 2] {
        let world = World::new(&["stable"]).await;
        let mut options = world.options(&["stable"]);
        options.retention.keep = keep;
        assert_eq!(told(&sync(&options).await), PUBLISHED);
        let beta = &world.packages[1].path;
        let snapshot = world.store().current_snapshot().unwrap().unwrap();
        let blob = world.store().blob_path(&snapshot.get(beta).unwrap().digest);
        drop(snapshot);
        options.exclude = vec![beta.clone()];
        for publish in 1..=keep {
            assert!(blob.exists(), "keep {keep}: kept snapshots have it");
            let release = Release::of(world.date + publish as i64);
            world.archive.publish("stable", &world.packages, &release);
            assert_eq!(told(&sync(&options).await), PUBLISHED);
        }
        assert_eq!(world.state_of(beta), Some(EntryState::Excluded));
        assert!(!blob.exists(), "keep {keep}");
    }
}
