//! Copies of what another mirror of ours made. The one that is followed is a plain file server here, with faults on request;
//! the real one stands in the stories under `e2e/acceptance`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fleet_formats::seam::Trust;
use fleet_store::{EntryState, SnapshotId, Store};
use fleet_sync::{Endpoint, Follow, Publishing, Report, RunResult, SyncOptions};
use fleet_types::documents::{OwnFiles, Success, UnixSeconds};
use fleet_types::{Accepted, Order, Reason, RunFacts, Sha256};
use tempfile::TempDir;
use url::Url;

use crate::support::archive::Release;
use crate::support::server::{Fault, Server};
use crate::support::volume::Volume;
use crate::support::{World, sync, told};

const PUBLISHED: (RunResult, Reason) = (RunResult::Published, Reason::Published);
/// Of [`World`]'s packages the one that is worth resuming.
const LARGE_BYTES: usize = 300_000;

/// A hub, what it shows to those that follow it, and a mirror that does.
struct Pair {
    hub: World,
    shown: TempDir,
    server: Server,
    edge: TempDir,
    made: Report,
    date: i64,
}

impl Pair {
    async fn new() -> Pair {
        let hub = World::new(&["stable"]).await;
        let shown = TempDir::new().unwrap();
        for folder in ["blobs", "snapshots"] {
            fs::create_dir(shown.path().join(folder)).unwrap();
        }
        let server = Server::start(shown.path().to_owned()).await;
        let date = hub.date;
        let mut pair = Pair {
            hub,
            shown,
            server,
            edge: TempDir::new().unwrap(),
            made: Report::default(),
            date,
        };
        pair.sync_hub().await;
        pair
    }

    async fn sync_hub(&mut self) {
        self.made = sync(&self.hub.options(&["stable"])).await;
        assert_eq!(told(&self.made), PUBLISHED, "{:?}", self.made);
        let store = self.hub.store();
        for info in store.snapshots().unwrap() {
            let (shown, index) = (self.index(&info.id), store.dir().join("snapshots"));
            show(&index.join(info.id.to_string()), &shown);
            let snapshot = store.snapshot(&info.id).unwrap();
            for (_, entry) in snapshot.iter() {
                if entry.state == EntryState::Present {
                    show(&store.blob_path(&entry.digest), &self.blob(&entry.digest));
                }
            }
        }
    }

    /// The hub has one package more.
    async fn publish(&mut self, name: &str, content: &[u8]) {
        self.date += 10;
        let package = self.hub.archive.package(name, content);
        self.hub.packages.push(package);
        let release = Release::of(self.date);
        self.hub
            .archive
            .publish("stable", &self.hub.packages, &release);
        self.sync_hub().await;
    }

    fn index(&self, id: &SnapshotId) -> std::path::PathBuf {
        self.shown.path().join("snapshots").join(id.to_string())
    }

    fn blob(&self, digest: &Sha256) -> std::path::PathBuf {
        self.shown.path().join("blobs").join(digest.to_string())
    }

    fn follow(&self) -> Follow {
        let made = self.made.prepared.unwrap();
        Follow {
            snapshot: SnapshotId(made.id),
            index: made.index.unwrap(),
            confirmed: Some(UnixSeconds(1_900_000_000)),
            name: "eu-1".to_owned(),
        }
    }

    fn options(&self) -> SyncOptions {
        self.following(&[&self.server.url])
    }

    /// Neither a key nor a login; the upstream is nowhere.
    fn following(&self, sources: &[&Url]) -> SyncOptions {
        let mut options = self.hub.options(&["stable"]);
        options.store_dir = self.edge.path().join("test");
        options.trust = Trust::nothing_is_judged();
        options.authority = "http://upstream.invalid/debian/".parse().unwrap();
        let endpoint = |(number, url): (usize, &&Url)| Endpoint {
            name: format!("source-{number}"),
            url: (*url).clone(),
            priority: number as i32,
        };
        options.endpoints = sources.iter().enumerate().map(endpoint).collect();
        options.follow = Some(self.follow());
        options
    }

    fn edge(&self) -> Store {
        Store::open(&self.edge.path().join("test")).unwrap()
    }

    /// What the newest snapshot of the hub names, each content once.
    fn contents(&self) -> BTreeMap<Sha256, u64> {
        let snapshot = self.hub.store().current_snapshot().unwrap().unwrap();
        let present = |state| state == EntryState::Present;
        let entries = snapshot.iter().map(|(_, entry)| entry);
        let entries = entries.filter(|entry| present(entry.state));
        entries.map(|entry| (entry.digest, entry.size)).collect()
    }

    fn bytes(&self) -> u64 {
        self.contents().values().sum()
    }

    /// The largest content of the newest snapshot, and how it is asked for.
    fn large(&self) -> (Sha256, String) {
        let contents = self.contents();
        let large = contents.iter().max_by_key(|(_, size)| **size).unwrap();
        assert_eq!(*large.1, LARGE_BYTES as u64);
        (*large.0, format!("blobs/{}", large.0))
    }

    /// The edge serves this, all of it, byte for byte, by the same index as the hub.
    fn serves(&self, id: SnapshotId) {
        let (hub, edge) = (self.hub.store(), self.edge());
        assert_eq!(edge.current().unwrap(), Some(id));
        assert!(edge.scrub(&mut |_| {}).unwrap().is_clean());
        assert_eq!(edge.index_pin(&id).unwrap(), hub.index_pin(&id).unwrap());
    }
}

fn show(file: &Path, shown: &Path) {
    if !shown.exists() {
        fs::copy(file, shown).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_costs_the_index_and_what_is_lacking_and_tells_of_the_hubs_confirmation() {
    let mut pair = Pair::new().await;
    let (follow, index) = (pair.follow(), pair.follow().index);
    let report = sync(&pair.options()).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    assert_eq!(report.index_bytes, index.size);
    assert_eq!(report.bytes_fetched, index.size + pair.bytes());
    assert_eq!(report.files_fetched, pair.contents().len() as u64);
    assert_eq!(report.prepared.unwrap().index, Some(index));
    assert_eq!(report.prepared.unwrap().id, follow.snapshot.0);
    assert_eq!(report.revision, pair.made.revision);
    pair.serves(follow.snapshot);

    // What it says of itself is as old as what the hub found out, and names the hub.
    let edge = pair.edge();
    let success: Success = edge.state(Success::DOCUMENT).unwrap().unwrap();
    let facts: RunFacts = edge.state(RunFacts::DOCUMENT).unwrap().unwrap();
    let own: OwnFiles = edge.state(OwnFiles::DOCUMENT).unwrap().unwrap();
    let confirmed = UnixSeconds(1_900_000_000);
    assert_eq!((success.at, own.modified), (confirmed, confirmed));
    assert_eq!(
        (facts.finished_at, facts.upstream.as_str()),
        (confirmed.0, "eu-1")
    );
    let trace = own.files.iter().find(|file| file.path.ends_with("/test"));
    let date = "Date: Sun, 17 Mar 2030 17:46:40 +0000";
    assert!(trace.unwrap().content.contains(date), "{trace:?}");

    // Again: not one request.
    let again = sync(&pair.options()).await;
    assert_eq!(
        (told(&again), again.requests),
        ((RunResult::Unchanged, Reason::Unchanged), 0),
        "{again:?}"
    );

    let before = pair.contents();
    pair.publish("delta", &[9; 5000]).await;
    pair.server.take_seen();
    let report = sync(&pair.options()).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    let after = pair.contents();
    let lacking = after
        .iter()
        .filter(|(digest, _)| !before.contains_key(digest));
    let lacking: u64 = lacking.map(|(_, size)| size).sum();
    assert_eq!(
        report.bytes_fetched,
        pair.follow().index.size + lacking,
        "{report:?}"
    );
    pair.serves(pair.follow().snapshot);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_instant_from_the_hub_a_copy_is_as_old_as_its_snapshot() {
    let pair = Pair::new().await;
    let mut options = pair.options();
    options.follow.as_mut().unwrap().confirmed = None;
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    let made = pair.made.prepared.unwrap().created;
    assert_eq!(report.confirmed_at, Some(made));
    let success: Success = pair.edge().state(Success::DOCUMENT).unwrap().unwrap();
    assert_eq!(success.at, made);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_a_run_ended_is_not_fetched_again_also_for_another_snapshot() {
    let mut pair = Pair::new().await;
    let (_, large) = pair.large();
    pair.server
        .fault(&large, 100, Fault::BreaksOffAfter(200_000));
    let mut options = pair.options();
    options.timeouts.retry_limit = 0;
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Failed, Reason::SourceUnreachable),
        "{report:?}"
    );
    assert!(report.message.contains("copying snapshot"), "{report:?}");
    assert_eq!(pair.edge().current().unwrap(), None);
    let (came, index) = (report.bytes_fetched, report.index_bytes);
    pair.server.heal();

    // It is told of a newer one now.
    let first = pair.bytes();
    pair.publish("delta", &[9; 5000]).await;
    let both = pair.hub.store().snapshots().unwrap();
    assert_eq!(both.len(), 2);
    pair.server.take_seen();
    let report = sync(&pair.options()).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    let resumed = pair.server.take_seen().into_iter().find(|seen| {
        let path = format!("/debian/{large}");
        seen.path == path && seen.range.is_some()
    });
    assert!(resumed.is_some(), "the large file goes on where it ended");
    // Of what both snapshots name no byte came twice; what only the first has may have come for nothing.
    let newest = pair.contents();
    let only_first = first.saturating_sub(newest.values().sum());
    let total = came - index + report.bytes_fetched - report.index_bytes;
    let all: u64 = newest.values().sum();
    let of_first: u64 = {
        let store = pair.hub.store();
        let snapshot = store.snapshot(&both[0].id).unwrap();
        let entries = snapshot.iter().map(|(_, entry)| entry);
        let gone = entries.filter(|entry| !newest.contains_key(&entry.digest));
        gone.map(|entry| entry.size).sum()
    };
    assert!(total <= all + of_first + only_first, "{total}: {report:?}");
    pair.serves(pair.follow().snapshot);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_is_known_to_be_damaged_is_fetched_again() {
    let mut pair = Pair::new().await;
    assert_eq!(told(&sync(&pair.options()).await), PUBLISHED);
    let (large, path) = pair.large();
    let file = pair.edge().blob_path(&large);
    fs::remove_file(&file).unwrap();
    fs::write(&file, vec![0; LARGE_BYTES]).unwrap();
    // Also where it is of no other snapshot than the one that is here.
    for new in [false, true] {
        if new {
            pair.publish("delta", b"delta").await;
        }
        let mut options = pair.options();
        options.damaged = vec![large];
        pair.server.take_seen();
        let report = sync(&options).await;
        assert_eq!(
            report.reason.outcome(),
            fleet_types::Outcome::Good,
            "{report:?}"
        );
        let asked = pair.server.take_seen();
        let path = format!("/debian/{path}");
        assert!(asked.iter().any(|seen| seen.path == path), "{asked:?}");
        pair.serves(pair.follow().snapshot);
    }
}

/// A source that lies, and what the copy comes to.
type Lie = (&'static str, String, Fault, Reason);

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_lies_changes_nothing_of_what_is_served() {
    let mut pair = Pair::new().await;
    assert_eq!(told(&sync(&pair.options()).await), PUBLISHED);
    let served = pair.follow().snapshot;
    pair.publish("delta", &[9; 5000]).await;
    let follow = pair.follow();
    let index = format!("snapshots/{}", follow.snapshot);
    let small = sha2_of(&[9; 5000]);
    let small = format!("blobs/{small}");
    let true_index = fs::read(pair.index(&follow.snapshot)).unwrap();
    let older_index = fs::read(pair.index(&served)).unwrap();
    let mut bent = true_index.clone();
    bent[100] ^= 1;
    let longer = [true_index.as_slice(), b"x"].concat();
    let away = "http://127.0.0.1:9/".to_owned();
    let lies: Vec<Lie> = vec![
        (
            "gone",
            index.clone(),
            Fault::Status(404),
            Reason::SnapshotGone,
        ),
        (
            "another index",
            index.clone(),
            Fault::Content(older_index),
            Reason::DigestMismatch,
        ),
        (
            "a bent index",
            index.clone(),
            Fault::Content(bent),
            Reason::DigestMismatch,
        ),
        (
            "too long an index",
            index.clone(),
            Fault::Content(longer),
            Reason::DigestMismatch,
        ),
        (
            "a cut index",
            index.clone(),
            Fault::BreaksOffAfter(50),
            Reason::SourceUnreachable,
        ),
        (
            "an endless index",
            index.clone(),
            Fault::Endless,
            Reason::DigestMismatch,
        ),
        (
            "a redirect",
            index.clone(),
            Fault::Redirect(away.clone()),
            Reason::SourceUnreachable,
        ),
        (
            "no index today",
            index.clone(),
            Fault::Status(500),
            Reason::SourceUnreachable,
        ),
        (
            "forbidden",
            index,
            Fault::Status(403),
            Reason::SourceUnreachable,
        ),
        (
            "a blob that is gone",
            small.clone(),
            Fault::Status(404),
            Reason::SnapshotGone,
        ),
        (
            "another blob",
            small.clone(),
            Fault::Content(vec![8; 5000]),
            Reason::DigestMismatch,
        ),
        (
            "an endless blob",
            small.clone(),
            Fault::Endless,
            Reason::DigestMismatch,
        ),
        (
            "a cut blob",
            small.clone(),
            Fault::BreaksOffAfter(50),
            Reason::SourceUnreachable,
        ),
        (
            "a blob elsewhere",
            small,
            Fault::Redirect(away),
            Reason::SourceUnreachable,
        ),
    ];
    for (case, path, fault, reason) in lies {
        pair.server.fault(&path, 1000, fault);
        let report = sync(&pair.options()).await;
        pair.server.heal();
        assert_eq!(
            told(&report),
            (RunResult::Failed, reason),
            "{case}: {report:?}"
        );
        let edge = pair.edge();
        assert_eq!(edge.current().unwrap(), Some(served), "{case}");
        assert_eq!(edge.snapshots().unwrap().len(), 1, "{case}");
        assert!(edge.scrub(&mut |_| {}).unwrap().is_clean(), "{case}");
    }
    assert_eq!(told(&sync(&pair.options()).await), PUBLISHED);
    pair.serves(follow.snapshot);
}

fn sha2_of(content: &[u8]) -> Sha256 {
    use sha2::Digest as _;
    Sha256(sha2::Sha256::digest(content).into())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_source_that_is_away_or_lies_is_no_hindrance_while_another_is_good() {
    let pair = Pair::new().await;
    let nobody: Url = "http://127.0.0.1:9/.mirrorfleet/follow/test"
        .parse()
        .unwrap();
    let liar = Server::start(pair.shown.path().to_owned()).await;
    let index = format!("snapshots/{}", pair.follow().snapshot);
    liar.fault(&index, 1000, Fault::Content(b"not at all".to_vec()));
    let (_, large) = pair.large();
    liar.fault(&large, 1000, Fault::Status(404));
    let report = sync(&pair.following(&[&nobody, &liar.url, &pair.server.url])).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    pair.serves(pair.follow().snapshot);

    let alone = sync(&SyncOptions {
        store_dir: pair.edge.path().join("other"),
        ..pair.following(&[&nobody])
    })
    .await;
    assert_eq!(
        told(&alone),
        (RunResult::Failed, Reason::SourceUnreachable),
        "{alone:?}"
    );
    assert!(alone.message.contains("127.0.0.1:9"), "{alone:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_state_is_copied_only_where_servers_are_ordered_to_serve_it() {
    let mut pair = Pair::new().await;
    let older = pair.follow();
    let mark: Accepted = pair.made.revision[0].clone().into();
    pair.publish("delta", b"delta").await;
    let newer: Accepted = pair.made.revision[0].clone().into();
    let mut options = pair.options();
    options.follow = Some(older.clone());
    let by_order = |order| Publishing::ByOrder {
        order,
        keep: Vec::new(),
    };
    for (marks, reason) in [
        (vec![newer.clone()], Reason::RollbackDetected),
        (vec![mark, newer.clone()], Reason::RollbackDetected),
    ] {
        options.high_water = marks;
        options.publishing = by_order(None);
        let report = sync(&options).await;
        assert_eq!(told(&report), (RunResult::Failed, reason), "{report:?}");
        assert!(report.message.contains("stable"), "{report:?}");
    }
    options.publishing = by_order(Some(Order {
        epoch: 3,
        snapshot: older.snapshot.0,
    }));
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Prepared, Reason::Prepared),
        "{report:?}"
    );
    assert_eq!(report.prepared.unwrap().id, older.snapshot.0);
    // The mark stays where it was.
    options.follow = Some(pair.follow());
    options.high_water = vec![newer.clone()];
    assert_eq!(told(&sync(&options).await).1, Reason::Prepared);
    options.follow = Some(older.clone());
    options.publishing = by_order(None);
    options.high_water = Vec::new();
    let here = sync(&options).await;
    assert_eq!(
        told(&here),
        (RunResult::Unchanged, Reason::Unchanged),
        "{here:?}"
    );
    assert_eq!(
        here.prepared.unwrap().id,
        older.snapshot.0,
        "not the newest"
    );
    let told_of = here.accepted.iter().map(|mark| mark.revision.date).max();
    assert_eq!(told_of, Some(newer.revision.date));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_of_another_kind_is_not_followed() {
    let pair = Pair::new().await;
    let mut options = pair.options();
    options.upstream_type = "Other".to_owned();
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Failed, Reason::ContentTypeMismatch),
        "{report:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_too_small_is_told_of_with_bytes_before_any_content_comes() {
    let Some(volume) = Volume::ext4(8) else {
        return;
    };
    let mut pair = Pair::new().await;
    pair.publish("huge", &vec![3; 12 << 20]).await;
    let options = SyncOptions {
        store_dir: volume.path().join("test"),
        ..pair.options()
    };
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Failed, Reason::StorageFull),
        "{report:?}"
    );
    assert!(report.message.contains("this run adds"), "{report:?}");
    assert_eq!(report.bytes_fetched, report.index_bytes);
}
