//! What is bad about one package costs that package: left out and named, held with a way around, never the suite for good.

use fleet_store::EntryState;
use fleet_sync::{Report, RunResult, SyncOptions};
use fleet_types::Reason;
use serde_json::json;

use crate::support::archive::{Package, Release, stanza};
use crate::support::forge::{INDEX, Listed, compressed};
use crate::support::trial::{SUITE, Trial};
use crate::support::{World, plan, set_content, sync, told};

const PUBLISHED: (RunResult, Reason) = (RunResult::Published, Reason::Published);

fn with_packages(options: &mut SyncOptions, packages: serde_json::Value) {
    let content = json!({
        "suites": [SUITE], "components": ["main"], "architectures": ["amd64"], "packages": packages,
    });
    set_content(options, content);
}

/// Its stanza without the digest.
fn without_digest(package: &Package) -> String {
    let text = stanza(package, false);
    let lines = text.lines().filter(|line| !line.starts_with("SHA256:"));
    lines.map(|line| line.to_owned() + "\n").collect()
}

/// The rule as a person would take it out of the message.
fn pasted(report: &Report) -> Vec<String> {
    let (_, rule) = report.message.split_once("content.exclude: ").unwrap();
    let list = &rule[..=rule.find("\"]").unwrap() + 1];
    serde_json::from_str(list).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_cannot_be_used_are_named_until_the_upstream_mends_them() {
    let mut trial = Trial::new().await;
    let fresh = trial.world.archive.package("delta", b"delta 1");
    let nexus = Package {
        path: format!("//{}", fresh.path.replacen('/', "//", 1)),
        ..fresh.clone()
    };
    let [alpha, beta, _] = &trial.world.packages.clone()[..] else {
        panic!()
    };
    let index = stanza(&nexus, false) + &without_digest(alpha) + &stanza(beta, false);
    trial.publish_index(index.as_bytes());
    let foreseen = plan(&trial.options).await;
    assert!(foreseen.units[0].message.contains("alpha"), "{foreseen:?}");
    let report = sync(&trial.options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    assert_eq!(trial.world.served(&fresh.path), b"delta 1");
    let entry = trial.world.store().current_snapshot().unwrap().unwrap();
    let entry = entry.get(&alpha.path).unwrap();
    assert!(entry.is_unusable(), "{entry:?}");

    // Nothing is new: it is still not there, and still said.
    let again = sync(&trial.options).await;
    assert_eq!(told(&again).1, Reason::Unchanged);
    for report in [report, again] {
        let suite = &report.units[0];
        let left_out = suite.left_out.as_ref().unwrap();
        assert_eq!((left_out.entries, left_out.sample.len()), (1, 1));
        assert!(suite.message.contains("alpha (WeakHash"), "{report:?}");
        let short = report.to_termination_message();
        assert!(short.len() <= 2048 && short.contains("alpha"), "{short}");
    }

    // What a rule leaves out is not judged, whichever rule.
    trial.options.exclude = vec![alpha.path.clone()];
    let report = sync(&trial.options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    assert_eq!(report.units[0].left_out, None, "{report:?}");
    trial.options.exclude.clear();
    with_packages(&mut trial.options, json!({"exclude": [{"name": "alpha"}]}));
    let report = sync(&trial.options).await;
    assert_eq!(
        (told(&report).1.outcome(), &report.units[0].left_out),
        (fleet_types::Outcome::Good, &None)
    );
    with_packages(&mut trial.options, json!({}));
    trial.heals("a good index").await;
    assert!(!trial.world.served(&alpha.path).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_with_many_bad_entries_is_none_unless_rules_leave_them_out() {
    let mut trial = Trial::new().await;
    let many = trial.world.archive.many_packages(21);
    let bad = |count: usize| -> String { many[..count].iter().map(without_digest).collect() };
    trial.publish_beside(bad(20).as_bytes());
    let report = sync(&trial.options).await;
    assert_eq!(told(&report), PUBLISHED, "20 are not many: {report:?}");
    assert_eq!(report.units[0].left_out.as_ref().unwrap().entries, 20);
    let mut trial = trial.remembering().await;

    trial.publish_beside(bad(21).as_bytes());
    let words = [
        INDEX,
        "21 of 24 entries",
        "p000000 (WeakHash",
        "packages.exclude",
    ];
    trial.is_refused("21", Reason::IndexMalformed, &words).await;
    with_packages(&mut trial.options, json!({"exclude": [{"name": "p0*"}]}));
    let report = sync(&trial.options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    assert_eq!(report.units[0].left_out, None);

    with_packages(&mut trial.options, json!({}));
    let good = trial.good_stanzas().repeat(700);
    trial.publish_index((good + &bad(21)).as_bytes());
    let report = sync(&trial.options).await;
    assert_eq!(
        told(&report),
        PUBLISHED,
        "a hundredth is not much: {report:?}"
    );
}

/// An upstream whose tool forgets the digests has not dropped its packages, and clients lose them all the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_any_more_counts_as_lost() {
    let mut trial = Trial::new().await;
    let many = trial.world.archive.many_packages(40);
    let listed = |bad: usize| -> String {
        let (bad, good) = many.split_at(bad);
        let bad = bad.iter().map(without_digest);
        bad.chain(good.iter().map(|package| stanza(package, false)))
            .collect()
    };
    trial.publish_index(listed(0).as_bytes());
    assert_eq!(told(&sync(&trial.options).await), PUBLISHED);
    let mut trial = trial.remembering().await;
    trial.publish_index(listed(20).as_bytes());
    let words = ["20 of 40 files", "verification.shrink"];
    trial
        .is_refused("20 of 40", Reason::ShrinkRefused, &words)
        .await;
    trial.publish_index(listed(19).as_bytes());
    assert_eq!(
        told(&sync(&trial.options).await),
        PUBLISHED,
        "a few never count"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn listed_files_that_are_not_there_hold_the_suite_and_the_message_lets_the_rest_through() {
    let mut trial = Trial::new().await;
    let odd = [
        trial
            .world
            .archive
            .package_at("pool/a[1]*{b}.deb", "odd", b"odd"),
        trial
            .world
            .archive
            .package_at("pool/it's \"c\".deb", "odder", b"odder"),
        trial
            .world
            .archive
            .package_at("pool/damaged.deb", "damaged", b"damaged"),
    ];
    let fresh = trial.world.archive.package("delta", b"delta 1");
    std::fs::remove_file(trial.world.archive.path(&odd[0].path)).unwrap();
    std::fs::remove_file(trial.world.archive.path(&odd[1].path)).unwrap();
    trial.world.archive.write(&odd[2].path, b"damaged more");
    let listed = |packages: &[Package]| -> String {
        packages
            .iter()
            .map(|package| stanza(package, false))
            .collect()
    };
    trial.publish_beside((listed(&odd) + &stanza(&fresh, false)).as_bytes());
    let report = sync(&trial.options).await;
    assert_eq!(told(&report).0, RunResult::Failed, "{report:?}");
    assert!(report.message.contains("2 more listed files"), "{report:?}");

    trial.options.exclude = pasted(&report);
    let report = sync(&trial.options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    assert_eq!(report.files_fetched, 0, "all of it was there: {report:?}");
    assert_eq!(trial.world.served(&fresh.path), b"delta 1");
    for package in &odd {
        assert_eq!(
            trial.world.state_of(&package.path),
            Some(EntryState::Excluded)
        );
    }
    let mut trial = trial.remembering().await;

    // An upstream that lacks a pool is asked for a few of it, and no rule of a hundred names is printed.
    let many = trial.world.archive.many_packages(100);
    for package in &many {
        std::fs::remove_file(trial.world.archive.path(&package.path)).unwrap();
    }
    trial.publish_beside(listed(&many).as_bytes());
    trial.liar.take_heads();
    let report = sync(&trial.options).await;
    assert_eq!(
        told(&report),
        (RunResult::Failed, Reason::UpstreamIncomplete)
    );
    assert!(
        report.message.contains("more than 20") && report.message.contains("packages.exclude"),
        "{report:?}"
    );
    assert!(!report.message.contains("content.exclude: ["), "{report:?}");
    assert!(trial.liar.take_heads().len() < 80);
}

/// Two contents, a file in a directory's place, new bytes under a known name: each holds the suite, each message says a
/// rule, and what the rule leaves out is not judged any more.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_excluded_contradicts_nothing() {
    let mut trial = Trial::new().await;
    let fresh = trial.world.archive.package("delta", b"delta 1");
    let other = Package {
        sha256: "a".repeat(64),
        ..fresh.clone()
    };
    let at = |path: &str| Package {
        path: path.to_owned(),
        ..fresh.clone()
    };
    trial.world.archive.write("pool/d/inside.deb", b"delta 1");
    let cases = [
        vec![fresh.clone(), other],
        vec![at("pool/d/inside.deb"), at("pool/d")],
        vec![at("dists/stable/InRelease")],
        vec![at(&Trial::index_path())],
        vec![at("dists/stable/InRelease/x")],
    ];
    for packages in cases {
        let listed: String = packages
            .iter()
            .map(|package| stanza(package, false))
            .collect();
        trial.publish_beside(listed.as_bytes());
        trial.options.exclude.clear();
        let report = sync(&trial.options).await;
        assert_eq!(
            told(&report),
            (RunResult::Failed, Reason::PathConflict),
            "{report:?}"
        );
        trial.options.exclude = pasted(&report);
        let report = sync(&trial.options).await;
        assert_eq!(told(&report), PUBLISHED, "{packages:?}: {report:?}");
    }
    trial.options.exclude.clear();
    trial.heals("all of them").await;
    let alpha = trial.world.packages[0].clone();
    let changed = Package {
        sha256: "b".repeat(64),
        ..alpha.clone()
    };
    let rest: String = trial.world.packages[1..]
        .iter()
        .map(|package| stanza(package, false))
        .collect();
    trial.publish_index((stanza(&changed, false) + &rest).as_bytes());
    let words = [alpha.path.as_str()];
    trial
        .is_refused("a mutation", Reason::ContentMutated, &words)
        .await;
    trial.options.exclude = vec![alpha.path];
    assert_eq!(told(&sync(&trial.options).await), PUBLISHED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_leaves_a_file_out_is_not_held_by_it() {
    let world = World::new(&[]).await;
    let beta = world.packages[1].clone();
    let other = Package {
        sha256: "c".repeat(64),
        fields: "Section: doc\n".to_owned(),
        ..beta.clone()
    };
    world.archive.publish(
        "stable",
        &[other, world.packages[0].clone()],
        &Release::of(world.date),
    );
    world.archive.publish(
        "updates",
        std::slice::from_ref(&beta),
        &Release::of(world.date),
    );
    let mut options = world.options(&["stable", "updates"]);
    let content = json!({
        "suites": ["stable", "updates"], "components": ["main"], "architectures": ["amd64"],
        "packages": {"exclude": [{"section": "doc"}]},
    });
    set_content(&mut options, content);
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    assert_eq!(world.served(&beta.path), world.archive.read(&beta.path));
}

/// apt compares what it has decompressed: one reader's index must not be another's.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_decompresses_to_something_else_is_refused() {
    let mut trial = Trial::new().await;
    let good = trial.good_stanzas();
    let fresh = trial.world.archive.package("delta", b"delta 1");
    let more = stanza(&fresh, false);
    let form = |text: &str| {
        compressed("xz", "xz", text.as_bytes())
            .into_values()
            .next()
            .unwrap()
    };
    let listed = |xz: Vec<u8>, plain: &str| -> Listed {
        [
            (format!("{INDEX}.xz"), xz),
            (INDEX.to_owned(), plain.as_bytes().to_vec()),
        ]
        .into()
    };
    let cases = [
        // Of two streams apt reads the first.
        listed([form(&good), form(&more)].concat(), &(good.clone() + &more)),
        listed(form(&good), &(good.clone() + &more)),
    ];
    for listed in cases {
        let release = trial.newer();
        trial
            .world
            .archive
            .forge(SUITE, &listed, &release, |text| text);
        trial
            .is_refused("another text", Reason::DigestMismatch, &[INDEX])
            .await;
    }
    let release = trial.newer();
    let behind = listed([form(&more), b"\0\0garbage".to_vec()].concat(), &more);
    trial
        .world
        .archive
        .forge(SUITE, &behind, &release, |text| text);
    let report = sync(&trial.options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    assert_eq!(trial.world.served(&fresh.path), b"delta 1");
}
