//! What clients need decides about a suite, and nothing else does: what is good to have is left out where it cannot be
//! had, asked for again in every run, and comes when it is there.

use fleet_formats::seam::SignaturePolicy;
use fleet_store::EntryState;
use fleet_sync::{Credentials, Report, RunResult, SyncOptions};
use fleet_types::Reason;

use crate::support::archive::{Release, stanza};
use crate::support::forge::{INDEX, Listed, compressed};
use crate::support::pdiffs::write_differences;
use crate::support::server::Fault;
use crate::support::trial::PUBLISHED;
use crate::support::{World, plan, set_content, sync, told};

const TRANSLATION: &str = "main/i18n/Translation-en.bz2";
const FOR_EVER: usize = usize::MAX;
const UNCHANGED: (RunResult, Reason) = (RunResult::Unchanged, Reason::Unchanged);

fn below(name: &str) -> String {
    format!("dists/stable/{name}")
}

/// The good packages in two forms, and more.
fn published(world: &World, more: &[(&str, &[u8])], edit: impl FnOnce(String) -> String) -> Listed {
    let text: String = world
        .packages
        .iter()
        .map(|package| stanza(package, false))
        .collect();
    let mut listed = compressed("xz", "xz", text.as_bytes());
    listed.extend(compressed("gzip", "gz", text.as_bytes()));
    for (name, content) in more {
        listed.insert((*name).to_owned(), content.to_vec());
    }
    let release = Release {
        by_hash: false,
        ..Release::of(world.date + 1)
    };
    world.archive.forge("stable", &listed, &release, edit);
    listed
}

fn notes(report: &Report) -> &str {
    &report.units[0].message
}

/// An unchanged state costs one request for InRelease, one for the Release that is not there, and one for each of `more`,
/// and makes no snapshot. What is wrong in a row of
/// answers is asked for once more alone, which is not counted here.
async fn is_unchanged(world: &World, options: &SyncOptions, before: &Report, more: &[&str]) {
    world.server.take_seen();
    let again = sync(options).await;
    assert_eq!(told(&again), UNCHANGED, "{again:?}");
    assert_eq!(again.snapshot, before.snapshot);
    let seen = world.server.take_seen().into_iter();
    let mut seen: Vec<_> = seen
        .map(|seen| seen.path.replace("/debian/dists/stable/", ""))
        .collect();
    seen.dedup();
    assert_eq!(
        seen,
        [&["InRelease", "Release"], more].concat(),
        "{again:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_optional_index_that_cannot_be_had_is_left_out_and_comes_when_it_is_there() {
    let page = b"<!DOCTYPE html><title>Nothing here</title>".to_vec();
    for (case, fault) in [
        ("gone", Fault::Status(410)),
        ("an object store without it", Fault::Status(403)),
        ("a page for everything", Fault::Content(page)),
        (
            "another state",
            Fault::Content(b"translation of another state".to_vec()),
        ),
        ("a server in trouble", Fault::Status(500)),
    ] {
        let world = World::new(&[]).await;
        published(&world, &[(TRANSLATION, b"translated")], |text| text);
        let options = world.options(&["stable"]);
        world
            .server
            .fault(&below(TRANSLATION), FOR_EVER, fault.clone());
        let report = sync(&options).await;
        assert_eq!(told(&report), PUBLISHED, "{case}: {report:?}");
        assert!(
            notes(&report).contains("Translation-en.bz2 is left out"),
            "{case}: {report:?}"
        );
        assert_eq!(
            world.state_of(&below(TRANSLATION)),
            Some(EntryState::AbsentUpstream)
        );
        if !matches!(fault, Fault::Status(500)) {
            is_unchanged(&world, &options, &report, &[TRANSLATION]).await;
        }
        world.server.heal();
        assert_eq!(told(&sync(&options).await), PUBLISHED, "{case}");
        assert_eq!(world.served(&below(TRANSLATION)), b"translated");
        let report = sync(&options).await;
        is_unchanged(&world, &options, &report, &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_good_form_of_a_needed_index_is_enough_and_none_is_told() {
    let xz = below(&format!("{INDEX}.xz"));
    let gz = below(&format!("{INDEX}.gz"));
    let wrong = || Fault::Content(b"of another state".to_vec());
    for (case, fault) in [
        ("forbidden", Fault::Status(403)),
        ("other bytes", wrong()),
        ("gone", Fault::Status(410)),
    ] {
        let world = World::new(&[]).await;
        published(&world, &[], |text| text);
        let options = world.options(&["stable"]);
        world.server.fault(&xz, FOR_EVER, fault);
        let report = sync(&options).await;
        assert_eq!(told(&report), PUBLISHED, "{case}: {report:?}");
        assert_eq!(
            world.state_of(&xz),
            Some(EntryState::AbsentUpstream),
            "{case}"
        );
        assert_eq!(world.state_of(&gz), Some(EntryState::Present), "{case}");
        // Nobody needs the other form, and most archives list some that they never serve.
        is_unchanged(&world, &options, &report, &[]).await;
    }
    for (case, of_xz, of_gz, reason) in [
        (
            "all forbidden",
            Fault::Status(403),
            Fault::Status(403),
            Reason::UpstreamForbidden,
        ),
        (
            "all of another state",
            wrong(),
            wrong(),
            Reason::DigestMismatch,
        ),
        (
            "one of each",
            Fault::Status(404),
            wrong(),
            Reason::DigestMismatch,
        ),
        (
            "one forbidden",
            Fault::Status(404),
            Fault::Status(403),
            Reason::UpstreamForbidden,
        ),
        (
            "none",
            Fault::Status(404),
            Fault::Status(410),
            Reason::UpstreamIncomplete,
        ),
    ] {
        let world = World::new(&[]).await;
        published(&world, &[], |text| text);
        world.server.fault(&xz, FOR_EVER, of_xz);
        world.server.fault(&gz, FOR_EVER, of_gz);
        let report = sync(&world.options(&["stable"])).await;
        assert_eq!(
            told(&report),
            (RunResult::Failed, reason),
            "{case}: {report:?}"
        );
        assert!(report.message.contains(INDEX), "{case}: {report:?}");
    }
}

/// The remedy that the message names, followed literally.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_component_whose_index_never_comes_the_rest_can_be_had() {
    let world = World::new(&[]).await;
    let name = "extra/binary-amd64/Packages.xz";
    let empty = compressed("xz", "xz", b"");
    published(&world, &[(name, &empty[&format!("{INDEX}.xz")])], |text| {
        text
    });
    world
        .server
        .fault(&below(name), FOR_EVER, Fault::Status(403));
    let mut options = world.options(&["stable"]);
    let content = |components: &[&str]| serde_json::json!({"suites": ["stable"], "components": components, "architectures": ["amd64"]});
    set_content(&mut options, content(&["main", "extra"]));
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Failed, Reason::UpstreamForbidden),
        "{report:?}"
    );
    for words in [
        "extra/binary-amd64/Packages",
        "without its component",
        "nothing was served yet",
    ] {
        assert!(report.message.contains(words), "{words}: {report:?}");
    }
    set_content(&mut options, content(&["main"]));
    assert_eq!(told(&sync(&options).await), PUBLISHED);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_credentials_a_refusal_is_no_sign_that_something_is_not_there() {
    let world = World::new(&[]).await;
    published(&world, &[(TRANSLATION, b"translated")], |text| text);
    let mut options = world.options(&["stable"]);
    options.access.credentials = Some(Credentials::Bearer {
        token: "secret".to_owned(),
    });
    world
        .server
        .fault(&below(TRANSLATION), FOR_EVER, Fault::Status(403));
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Failed, Reason::UpstreamForbidden),
        "{report:?}"
    );
    // The remedy that the message names.
    let rule = report.message.split('"').nth(1).unwrap().to_owned();
    assert!(
        report
            .message
            .contains(&format!("content.exclude: [\"{rule}\"]")),
        "{report:?}"
    );
    options.exclude = vec![rule];
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_form_of_a_needed_index_cannot_be_excluded() {
    let world = World::new(&[]).await;
    published(&world, &[(TRANSLATION, b"translated")], |text| text);
    let mut options = world.options(&["stable"]);
    options.exclude = vec!["**/Packages.xz".to_owned(), "**/i18n/**".to_owned()];
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    let state = |name: &str| world.state_of(&below(name));
    assert_eq!(state(&format!("{INDEX}.xz")), Some(EntryState::Excluded));
    assert_eq!(state(&format!("{INDEX}.gz")), Some(EntryState::Present));
    assert_eq!(notes(&report), "");

    options.exclude = vec!["dists/**".to_owned()];
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    assert_eq!(state(&format!("{INDEX}.gz")), Some(EntryState::Present));
    assert!(
        notes(&report).contains(
            "content.exclude names every form of dists/stable/main/binary-amd64/Packages"
        ),
        "{report:?}"
    );

    world
        .server
        .fault(&below(&format!("{INDEX}.gz")), FOR_EVER, Fault::Status(404));
    options.exclude = vec!["**/Packages.xz".to_owned()];
    options.store_dir = world.store.path().join("other");
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Failed, Reason::UpstreamIncomplete),
        "{report:?}"
    );
    assert!(
        report
            .message
            .contains("content.exclude leaves out 1 of its forms"),
        "{report:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn binary_all_that_apt_never_asks_for_decides_nothing() {
    let all = "main/binary-all/Packages.xz";
    let world = World::new(&[]).await;
    let listed = published(&world, &[(all, b"no index at all")], |text| text);
    let options = world.options(&["stable"]);
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "it cannot be read: {report:?}");
    assert!(
        notes(&report).contains("binary-all/Packages is left out"),
        "{report:?}"
    );
    is_unchanged(&world, &options, &report, &[]).await;

    let world = World::new(&[]).await;
    let good = &listed[&format!("{INDEX}.xz")];
    published(&world, &[(all, good)], |text| text);
    world
        .server
        .fault(&below(all), FOR_EVER, Fault::Content(b"stale".to_vec()));
    let options = world.options(&["stable"]);
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "of another state: {report:?}");
    is_unchanged(&world, &options, &report, &[all]).await;

    let needed = |text: String| text.replace("Architectures: amd64", "Architectures: all amd64");
    published(&world, &[(all, good)], needed);
    let mut options = world.options(&["stable"]);
    options.store_dir = world.store.path().join("other");
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Failed, Reason::DigestMismatch),
        "{report:?}"
    );
}

/// An index of differences of which one patch is not there.
fn with_differences(world: &World) -> Vec<String> {
    let path = world.archive.path(&below(INDEX));
    let states = [b"old\n".to_vec(), b"older\n".to_vec(), b"new\n".to_vec()];
    world.archive.write(&below(INDEX), b"new\n");
    write_differences(&path, &states);
    std::fs::remove_file(&path).unwrap();
    let folder = format!("{INDEX}.diff");
    let index = world.archive.read(&below(&format!("{folder}/Index")));
    published(world, &[(&format!("{folder}/Index"), &index)], |text| text);
    let numbers = 0..2;
    numbers
        .map(|number| {
            format!("{folder}/T-2025-01-0{number}-0000.00-F-2025-01-0{number}-0000.00.gz")
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn differences_with_a_missing_patch_are_left_out_as_a_whole() {
    let world = World::new(&[]).await;
    let patches = with_differences(&world);
    let mut options = world.options(&["stable"]);
    set_content(
        &mut options,
        serde_json::json!({"suites": ["stable"], "components": ["main"], "architectures": ["amd64"], "include": {"pdiffs": true}}),
    );
    let index = below(&format!("{INDEX}.diff/Index"));
    world
        .server
        .fault(&below(&patches[1]), FOR_EVER, Fault::Status(404));
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    assert!(
        notes(&report).contains("Packages.diff/Index is left out"),
        "{report:?}"
    );
    assert_eq!(world.state_of(&index), Some(EntryState::AbsentUpstream));
    assert_eq!(
        world.state_of(&below(&patches[0])),
        None,
        "no client asks for it"
    );
    assert_eq!(
        world.state_of(&below(&format!("{INDEX}.xz"))),
        Some(EntryState::Present)
    );
    is_unchanged(&world, &options, &report, &[&patches[1]]).await;
    let foreseen = plan(&options).await;
    assert_eq!(foreseen.result, RunResult::Unchanged, "{foreseen:?}");

    world.server.heal();
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    assert_eq!(notes(&report), "");
    for name in [&index, &below(&patches[0]), &below(&patches[1])] {
        assert_eq!(world.state_of(name), Some(EntryState::Present), "{name}");
    }
    is_unchanged(&world, &options, &report, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_suite_offers_the_other_need_not() {
    let world = World::new(&["stable"]).await;
    let text = |text: String| {
        text.replace(": stable\n", ": other\n")
            .replace(" main/", " extra/")
            .replace(": main", ": extra")
    };
    let good: String = world
        .packages
        .iter()
        .map(|package| stanza(package, false))
        .collect();
    let listed: Listed = compressed("xz", "xz", good.as_bytes());
    let release = Release {
        by_hash: false,
        ..Release::of(world.date)
    };
    world.archive.forge("other", &listed, &release, text);
    let packages = &listed[&format!("{INDEX}.xz")];
    world
        .archive
        .write("dists/other/extra/binary-amd64/Packages.xz", packages);
    let mut options = world.options(&["stable", "other"]);
    let content = |components: &[&str]| serde_json::json!({"suites": ["stable", "other"], "components": components, "architectures": ["amd64"]});
    set_content(&mut options, content(&["main", "extra"]));
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    assert!(
        notes(&report).contains("suite stable has no component extra; it offers main"),
        "{report:?}"
    );

    set_content(&mut options, content(&["main", "extra", "contrib"]));
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Failed, Reason::NotOffered),
        "{report:?}"
    );
    assert!(
        report.message.contains("has no component contrib"),
        "{report:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_of_no_bytes_lists_nothing() {
    let world = World::new(&[]).await;
    let good = compressed("xz", "xz", stanza(&world.packages[0], false).as_bytes());
    let name = "extra/binary-amd64/Packages";
    let empty: &[u8] = b"";
    let more = [
        (format!("{name}.xz"), empty),
        (format!("{name}.gz"), empty),
        (format!("{INDEX}.xz"), &good[&format!("{INDEX}.xz")]),
        (format!("{INDEX}.gz"), empty),
    ];
    let more: Vec<(&str, &[u8])> = more
        .iter()
        .map(|(name, content)| (name.as_str(), *content))
        .collect();
    published(&world, &more, |text| text);
    let mut options = world.options(&["stable"]);
    set_content(
        &mut options,
        serde_json::json!({"suites": ["stable"], "components": ["main", "extra"], "architectures": ["amd64"]}),
    );
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    assert_eq!(
        world.state_of(&world.packages[0].path),
        Some(EntryState::Present)
    );
    assert_eq!(world.served(&below(&format!("{name}.gz"))), b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_signatures_nothing_rests_on_what_would_be_signed() {
    let world = World::new(&[]).await;
    let index = |count: usize| -> String {
        world.packages[..count]
            .iter()
            .map(|package| stanza(package, false))
            .collect()
    };
    let mut options = world.options(&["stable"]);
    options.trust.signatures = SignaturePolicy::None;
    options.trust.keyring = None;
    let plain = below(INDEX);
    world.archive.write(&plain, index(2).as_bytes());
    let first = sync(&options).await;
    assert_eq!(told(&first), PUBLISHED, "no Release: {first:?}");
    assert_eq!(
        world.served(&world.packages[1].path),
        world.archive.read(&world.packages[1].path)
    );
    assert_eq!(world.served(&plain), index(2).as_bytes());
    let again = sync(&options).await;
    assert_eq!(
        (told(&again), &again.snapshot),
        (UNCHANGED, &first.snapshot),
        "{again:?}"
    );

    world.archive.write(&plain, index(3).as_bytes());
    let next = sync(&options).await;
    assert_eq!(told(&next), PUBLISHED, "another state of no date: {next:?}");
    world.archive.write(&plain, index(2).as_bytes());
    let back = sync(&options).await;
    assert_eq!(told(&back), PUBLISHED, "and back: {back:?}");

    world
        .archive
        .write(&below("Release"), b"Suite: stable\nOrigin: nobody\n");
    let with_release = sync(&options).await;
    assert_eq!(
        told(&with_release),
        PUBLISHED,
        "no sums and no Date: {with_release:?}"
    );
    let again = sync(&options).await;
    assert_eq!(told(&again), UNCHANGED, "{again:?}");
    world.archive.write(&plain, index(1).as_bytes());
    let changed = sync(&options).await;
    assert_eq!(told(&changed), PUBLISHED, "the same Release: {changed:?}");

    std::fs::remove_file(world.archive.path(&plain)).unwrap();
    let gone = sync(&options).await;
    assert_eq!(told(&gone).0, RunResult::Failed, "{gone:?}");
    assert_eq!(
        world.served(&plain),
        index(1).as_bytes(),
        "what was served still is"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsigned_suite_that_is_refused_is_carried_forward() {
    let world = World::new(&["signed"]).await;
    let text = stanza(&world.packages[0], false);
    world.archive.write(&below(INDEX), text.as_bytes());
    let mut options = world.options(&["stable", "signed"]);
    options.trust.signatures = SignaturePolicy::None;
    options.trust.keyring = None;
    assert_eq!(told(&sync(&options).await), PUBLISHED);
    std::fs::remove_file(world.archive.path(&below(INDEX))).unwrap();
    world
        .archive
        .publish("signed", &world.packages[..2], &Release::of(world.date + 5));
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Published, Reason::UpstreamIncomplete),
        "{report:?}"
    );
    assert_eq!(world.served(&below(INDEX)), text.as_bytes());
    assert_eq!(
        world.served(&world.packages[0].path),
        world.archive.read(&world.packages[0].path)
    );
}
