//! Everything that a declared slice of an archive has is copied, and nothing is half there: checked by walking what the
//! signed files and the indices name, without any code of ours.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use fleet_store::{EntryState, Snapshot, Store};
use fleet_sync::{Publishing, RunResult, SyncOptions};
use fleet_types::Reason;
use sha2::Digest as _;
use tempfile::TempDir;

use crate::support::archive::{Archive, Release, Signed, hex, now};
use crate::support::complete::{Complete, files};
use crate::support::distribution::listed;
use crate::support::server::{Fault, Server};
use crate::support::{World, options, process, set_content, sync, told};

const SUITES: [&str; 3] = ["trixie", "trixie-updates", "bookworm/updates"];

fn slice(include: serde_json::Value) -> serde_json::Value {
    serde_json::json!({
        "suites": SUITES, "components": ["main"], "architectures": ["amd64"], "include": include,
        "aliases": [
            {"name": "stable", "suite": "trixie"}, {"name": "stable-updates", "suite": "trixie-updates"},
            {"name": "testing", "suite": "trixie"},
        ],
    })
}

fn everything() -> serde_json::Value {
    serde_json::json!({"sources": false, "contents": true, "dep11": true, "installer": true, "pdiffs": true})
}

struct Walk<'a> {
    archive: &'a Complete,
    store: &'a Store,
    snapshot: &'a Snapshot,
}

impl Walk<'_> {
    /// The path is there, with this digest; its content.
    fn has(&self, path: &str, sha256: &str) -> Vec<u8> {
        let entry = self.snapshot.get(path);
        let entry = entry.unwrap_or_else(|| panic!("{path} is missing"));
        assert_eq!(entry.state, EntryState::Present, "{path}");
        let content = fs::read(self.store.blob_path(&entry.digest)).unwrap();
        assert_eq!(hex(&sha2::Sha256::digest(&content)), sha256, "{path}");
        content
    }

    /// Walks a suite; the indices that it names and that the upstream has, by name below the suite.
    fn suite(&self, suite: &str, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let folder = self.archive.path(&format!("dists/{suite}"));
        let release = fs::read(folder.join("Release")).unwrap();
        let mut seen = Vec::new();
        for (name, digest) in listed(&release, "SHA256") {
            let path = format!("dists/{suite}/{name}");
            if !wanted(&name) {
                assert!(
                    self.snapshot.get(&path).is_none(),
                    "{path} is not asked for"
                );
                continue;
            }
            if !folder.join(&name).exists() {
                let state = self
                    .snapshot
                    .get(&path)
                    .unwrap_or_else(|| panic!("{path}"))
                    .state;
                assert_eq!(state, EntryState::AbsentUpstream, "{path}");
                continue;
            }
            let content = self.has(&path, &digest);
            let parent = path.rsplit_once('/').unwrap().0;
            for algorithm in ["MD5Sum", "SHA1", "SHA256", "SHA512"] {
                let by = &listed(&release, algorithm)[&name];
                self.has(&format!("{parent}/by-hash/{algorithm}/{by}"), &digest);
            }
            self.payload(&name, parent, &content);
            seen.push(name);
        }
        seen
    }

    fn payload(&self, name: &str, parent: &str, content: &[u8]) {
        if name.ends_with("SHA256SUMS") {
            for line in String::from_utf8_lossy(content).lines() {
                let (digest, file) = line.split_once("  ./").unwrap();
                self.has(&format!("{parent}/{file}"), digest);
            }
        } else if name.ends_with(".diff/Index") {
            let patches = listed(content, "SHA256-Download");
            assert_eq!(patches.len(), 3, "{name}");
            for (patch, digest) in patches {
                self.has(&format!("{parent}/{patch}"), &digest);
            }
        } else if name.ends_with("Packages.xz") {
            let text = process::output(
                Command::new("xz")
                    .arg("-dc")
                    .arg(self.archive.path(&format!("{parent}/Packages.xz"))),
            );
            let text = String::from_utf8(text).unwrap();
            let field = |stanza: &str, name: &str| {
                let line = stanza.lines().find_map(|line| line.strip_prefix(name));
                line.unwrap().trim().to_owned()
            };
            for stanza in text
                .split("\n\n")
                .filter(|stanza| !stanza.trim().is_empty())
            {
                self.has(&field(stanza, "Filename:"), &field(stanza, "SHA256:"));
            }
        }
    }
}

async fn copied(archive: &Complete, include: serde_json::Value) -> (TempDir, Server, SyncOptions) {
    let (dir, server) = (TempDir::new().unwrap(), Server::start(archive.root()).await);
    let mut options = options(&archive.key.public, &server.url, dir.path(), &SUITES);
    set_content(&mut options, slice(include));
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Published, Reason::Published),
        "{report:?}"
    );
    let note = &report.units[0].message;
    assert!(note.contains("alias testing"), "{report:?}");
    assert_eq!(told(&sync(&options).await).1, Reason::Unchanged);
    (dir, server, options)
}

fn unwanted(name: &str) -> bool {
    name.contains("arm64") || name.contains("20250101")
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_a_slice_has_is_copied_and_what_nobody_serves_is_known_as_absent() {
    let archive = Complete::new();
    let (dir, server, _) = copied(&archive, everything()).await;
    let store = Store::open(dir.path()).unwrap();
    let snapshot = store.current_snapshot().unwrap().unwrap();
    let walk = Walk {
        archive: &archive,
        store: &store,
        snapshot: &snapshot,
    };
    let seen = walk.suite("trixie", |name| !unwanted(name));
    let expected = [
        "Contents-amd64.gz",
        "main/Contents-amd64.diff/Index",
        "main/Contents-amd64.gz",
        "main/Contents-udeb-amd64.gz",
        "main/binary-all/Packages.gz",
        "main/binary-all/Packages.xz",
        "main/binary-all/Release",
        "main/binary-amd64/Packages.diff/Index",
        "main/binary-amd64/Packages.gz",
        "main/binary-amd64/Packages.xz",
        "main/binary-amd64/Release",
        "main/cnf/Commands-amd64.xz",
        "main/debian-installer/binary-amd64/Packages.xz",
        "main/dep11/CID-Index-amd64.json.gz",
        "main/dep11/Components-amd64.yml.gz",
        "main/dep11/Components-amd64.yml.xz",
        "main/dep11/icons-48x48.tar.gz",
        "main/i18n/Translation-en.bz2",
        "main/i18n/Translation-en.diff/Index",
        "main/installer-amd64/current/images/SHA256SUMS",
    ];
    assert_eq!(seen, expected);
    for suite in &SUITES[1..] {
        assert_eq!(
            walk.suite(suite, |name| !unwanted(name)).len(),
            6,
            "{suite}"
        );
    }
    // Three suites share a pool: every package came once.
    let mut asked: BTreeMap<String, usize> = BTreeMap::new();
    for seen in server.take_seen() {
        *asked.entry(seen.path).or_default() += 1;
    }
    let pool: Vec<_> = asked
        .iter()
        .filter(|(path, _)| path.contains("/pool/"))
        .collect();
    assert_eq!(pool.len(), 3, "{asked:?}");
    assert!(pool.iter().all(|(_, times)| **times == 1), "{pool:?}");
    assert!(
        pool.iter()
            .any(|(path, _)| path.contains("hello_1%253a2.0~rc1")),
        "{pool:?}"
    );

    let links = serde_json::to_value(&snapshot.meta().links).unwrap();
    assert_eq!(
        links,
        serde_json::json!({"dists/stable": "dists/trixie", "dists/stable-updates": "dists/trixie-updates"})
    );
    let openings = serde_json::to_value(&snapshot.meta().openings).unwrap();
    assert_eq!(
        openings,
        serde_json::json!({
            "dists/trixie/InRelease": true,
            "dists/trixie-updates/InRelease": false,
            "dists/bookworm/updates/Release": false,
        })
    );
    // What is there besides is what suites begin with.
    let known = files(&archive.root());
    assert!(
        known
            .iter()
            .all(|name| unwanted(name) || snapshot.get(name).is_some()),
        "{known:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_asked_for_is_not_there_in_part() {
    let archive = Complete::new();
    let (dir, ..) = copied(&archive, serde_json::json!({})).await;
    let store = Store::open(dir.path()).unwrap();
    let snapshot = store.current_snapshot().unwrap().unwrap();
    let walk = Walk {
        archive: &archive,
        store: &store,
        snapshot: &snapshot,
    };
    let extra = [".diff/", "Contents-", "dep11/", "installer"];
    let seen = walk.suite("trixie", |name| {
        !unwanted(name) && !extra.iter().any(|part| name.contains(part))
    });
    assert!(
        seen.contains(&"main/i18n/Translation-en.bz2".to_owned()),
        "{seen:?}"
    );
    let some = |entry: &(fleet_types::RepoPath, fleet_store::Entry)| {
        let path = entry.0.as_str();
        path.contains(".diff") || path.contains("mini.iso")
    };
    assert_eq!(snapshot.iter().find(some), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_ends_with_the_name_and_a_refused_suite_keeps_its_own() {
    let archive = Complete::new();
    let (dir, server, options) = copied(&archive, serde_json::json!({})).await;
    let links = || {
        let store = Store::open(dir.path()).unwrap();
        let snapshot = store.current_snapshot().unwrap().unwrap();
        snapshot.meta().links.keys().cloned().collect::<Vec<_>>()
    };
    let both = ["dists/stable", "dists/stable-updates"];
    assert_eq!(links(), both);
    // The one suite is refused while another moves on.
    server.fault(
        "dists/trixie/InRelease",
        usize::MAX,
        Fault::Content(b"nonsense".to_vec()),
    );
    fs::write(
        archive.path("dists/trixie-updates/main/binary-arm64/Release"),
        "changed",
    )
    .unwrap();
    republish(&archive, "trixie-updates", "stable-updates");
    let report = sync(&options).await;
    assert_eq!(report.result, RunResult::Published, "{report:?}");
    assert_eq!(links(), both, "{report:?}");
    server.heal();
    republish(&archive, "trixie-updates", "oldstable-updates");
    let report = sync(&options).await;
    assert_eq!(told(&report).1, Reason::Published, "{report:?}");
    assert!(
        report.units[1].message.contains("alias stable-updates"),
        "{report:?}"
    );
    assert_eq!(links(), ["dists/stable"]);
}

/// The same indices under a later date, by another name.
fn republish(archive: &Complete, suite: &str, name: &str) {
    let folder = archive.path(&format!("dists/{suite}"));
    let text = fs::read_to_string(folder.join("Release")).unwrap();
    let later = |line: &str| match line.split_once(": ") {
        Some(("Suite", _)) => format!("Suite: {name}\n"),
        Some(("Date", date)) => {
            let output = process::output(Command::new("date").env("LC_ALL", "C").args([
                "-u",
                "-R",
                "-d",
                &format!("{date} + 1 second"),
            ]));
            format!(
                "Date: {}",
                String::from_utf8(output).unwrap().replace("+0000", "UTC")
            )
        }
        _ => format!("{line}\n"),
    };
    fs::write(
        folder.join("Release"),
        text.lines().map(later).collect::<String>(),
    )
    .unwrap();
    for (mode, signed) in [
        ("--clearsign", "InRelease"),
        ("--detach-sign", "Release.gpg"),
    ] {
        archive
            .key
            .sign(mode, &folder.join("Release"), &folder.join(signed));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_says_it_is_being_updated_is_believed_and_asked_only_then() {
    let world = World::new(&["stable"]).await;
    let options = world.options(&["stable"]);
    let mark = format!(
        "Archive-Update-in-Progress-{}",
        world.server.url.host_str().unwrap()
    );
    let asked = |world: &World| {
        let seen = world.server.take_seen();
        seen.iter()
            .filter(|seen| seen.path.contains("Archive-Update"))
            .count()
    };
    let beta = "pool/main/b/beta_1_amd64.deb";
    // Nothing unsigned takes anything from a refusal by verification.
    for (fault, plain, with_mark) in [
        (
            Fault::Status(404),
            Reason::UpstreamIncomplete,
            Reason::UpstreamUpdating,
        ),
        (
            Fault::Content(vec![8; 300_000]),
            Reason::DigestMismatch,
            Reason::DigestMismatch,
        ),
    ] {
        world.server.fault(beta, usize::MAX, fault);
        let report = sync(&options).await;
        assert_eq!(told(&report), (RunResult::Failed, plain), "{report:?}");
        assert_eq!(asked(&world), 1);
        world.archive.write(&mark, b"");
        let report = sync(&options).await;
        assert_eq!(told(&report), (RunResult::Failed, with_mark), "{report:?}");
        assert!(report.message.contains(&mark), "{report:?}");
        assert_eq!(report.exit_code(), with_mark.outcome().exit_code());
        assert_eq!(asked(&world), 1);
        fs::remove_file(world.archive.path(&mark)).unwrap();
        world.server.heal();
    }
    // Good runs and unchanged ones do not ask, mark or not.
    world.archive.write(&mark, b"");
    assert_eq!(told(&sync(&options).await).1, Reason::Published);
    assert_eq!(told(&sync(&options).await).1, Reason::Unchanged);
    assert_eq!(asked(&world), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_facts_for_a_trace_move_with_good_runs_alone() {
    let world = World::new(&["stable"]).await;
    let mut options = world.options(&["stable"]);
    let trace = || {
        world
            .store()
            .state::<fleet_types::RunFacts>(fleet_types::RunFacts::DOCUMENT)
            .unwrap()
    };
    let beta = "pool/main/b/beta_1_amd64.deb";
    world.server.fault(beta, usize::MAX, Fault::Status(404));
    sync(&options).await;
    assert_eq!(trace(), None);
    world.server.heal();
    let report = sync(&options).await;
    let first = trace().unwrap();
    assert_eq!(
        (first.finished_at, first.received_bytes),
        (report.finished_at.0, report.bytes_fetched)
    );
    assert_eq!(
        (first.transport.as_str(), first.upstream.as_str()),
        ("http", world.server.url.host_str().unwrap())
    );
    assert_eq!(told(&sync(&options).await).1, Reason::Unchanged);
    let second = trace().unwrap();
    assert!(
        second.finished_at >= first.finished_at && second.received_bytes < first.received_bytes
    );
    // What is served is not what the upstream has.
    world.archive.publish(
        "stable",
        &world.packages[..2],
        &Release::of(world.date + 60),
    );
    let pinned = world.store().current().unwrap().map(|id| id.to_string());
    options.publishing = Publishing::ByRun {
        pinned,
        skip: Vec::new(),
    };
    assert_eq!(told(&sync(&options).await).1, Reason::Pinned);
    assert_eq!(trace().unwrap(), second);
}

/// Third-party repositories as they are met.
#[tokio::test(flavor = "multi_thread")]
async fn flat_repositories_below_a_folder_and_with_names_that_need_care_are_copied() {
    let archive = Archive::new();
    let dir = TempDir::new().unwrap();
    let server = Server::start(archive.root()).await;
    let names = [
        "sub/a+b~1_1%3a2_all.deb",
        "sub/x:y_1.deb",
        "sub/with space.deb",
        "sub/ä.deb",
    ];
    let mut packages = String::new();
    for name in names {
        let package = archive.package_at(name, "a", name.as_bytes());
        packages.push_str(&format!(
            "Package: a\nVersion: 1\nArchitecture: all\nFilename: ./{name}\nSize: {}\nSHA256: {}\n\n",
            package.size, package.sha256
        ));
    }
    // Only Packages.gz is there, and only that is listed: nothing tells what it decompresses to.
    archive.write("sub/Packages", packages.as_bytes());
    process::run(
        Command::new("gzip")
            .arg("-n")
            .arg(archive.path("sub/Packages")),
    );
    let index = archive.read("sub/Packages.gz");
    let date = jiff::Timestamp::from_second(now() - 60).unwrap();
    let release = format!(
        "Date: {}\nSHA256:\n {} {} Packages.gz\n",
        date.strftime("%a, %d %b %Y %H:%M:%S UTC"),
        hex(&sha2::Sha256::digest(&index)),
        index.len()
    );
    archive.sign_at("sub", &release, Signed::Inline);
    let mut options = options(archive.keyring(), &server.url, dir.path(), &["sub/"]);
    set_content(&mut options, serde_json::json!({"suites": ["sub/"]}));
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Published, Reason::Published),
        "{report:?}"
    );
    let store = Store::open(dir.path()).unwrap();
    let snapshot = store.current_snapshot().unwrap().unwrap();
    for name in names {
        let entry = snapshot.get(name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(
            fs::read(store.blob_path(&entry.digest)).unwrap(),
            name.as_bytes()
        );
    }
    assert_eq!(snapshot.meta().openings.get("sub/InRelease"), Some(&false));
}
