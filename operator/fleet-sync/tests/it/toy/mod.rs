//! A whole other format through the real engine: one module, one content block, one line.

mod clocks;
mod clocks_stand;
mod format;
mod one_clock;
mod pipelined;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use fleet_formats::seam::{Format, Rejected};
use fleet_store::{Entry, EntryState, Store};
use fleet_sync::{RunResult, SyncOptions};
use fleet_types::documents::OwnFiles;
use fleet_types::{Reason, Sha256};
use sha2::Digest as _;
use tempfile::TempDir;
use url::Url;

use crate::support::archive::{Key, hex};
use crate::support::server::{Fault, Server};
use crate::support::{options, plan, sync, told};

const PUBLISHED: (RunResult, Reason) = (RunResult::Published, Reason::Published);
const UNCHANGED: (RunResult, Reason) = (RunResult::Unchanged, Reason::Unchanged);

/// The line that turns what is declared into the format.
fn make_format(content: &serde_json::Value) -> Result<Arc<dyn Format>, Rejected> {
    let toy: format::Toy = serde_json::from_value(content.clone())
        .map_err(|error| Rejected::new(Reason::InvalidSpec, error.to_string()))?;
    Ok(Arc::new(toy))
}

/// A repository that people publish packages in, and a store.
struct Shop {
    // Dropped before the directory that it is in.
    key: Key,
    dir: TempDir,
    server: Server,
    packages: BTreeMap<(&'static str, &'static str), String>,
    /// Seconds since 1970-01-01T00:00:00Z.
    updated: u64,
    /// In the notes of each package.
    more: String,
}

impl Shop {
    async fn new() -> Shop {
        let dir = TempDir::new().unwrap();
        let top = dir.path().join("top");
        let mut shop = Shop {
            key: Key::new(&dir.path().join("key")),
            server: Server::start(top).await,
            dir,
            packages: BTreeMap::new(),
            updated: 1_700_000_000,
            more: String::new(),
        };
        shop.publish("core", "alpha", "alpha 1");
        shop.publish("extra", "beta", "beta 1");
        shop
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("top").join(name)
    }

    /// A package with a signature and an index that lists it.
    fn publish(&mut self, unit: &'static str, name: &'static str, content: &str) {
        let path = self.path(&format!("{unit}/{name}.pkg"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        let signature = path.with_extension("pkg.sig");
        self.key.sign("--detach-sign", &path, &signature);
        self.packages.insert((unit, name), content.to_owned());
        self.updated += 1;
        let mut index = format!("updated {}\n", self.updated);
        for ((_, name), content) in self.packages.iter().filter(|((of, _), _)| *of == unit) {
            let digest = hex(&sha2::Sha256::digest(content));
            let size = content.len();
            index += &format!("{name} {digest} {size} notes-of-{name}{}\n", self.more);
        }
        let path = self.path(&format!("{unit}/{unit}.db"));
        fs::write(&path, index).unwrap();
        // Not of when the test runs: several states can be of one second.
        let date = UNIX_EPOCH + Duration::from_secs(self.updated);
        let file = fs::File::options().append(true).open(&path).unwrap();
        file.set_modified(date).unwrap();
        fs::write(self.path("lastupdate"), self.updated.to_string()).unwrap();
        self.beats();
    }

    /// The upstream is alive.
    fn beats(&mut self) {
        self.updated += 1;
        fs::write(self.path("lastsync"), self.updated.to_string()).unwrap();
    }

    /// What the mirror says of itself.
    fn says(&self, path: &str) -> Option<String> {
        let store = Store::open(&self.dir.path().join("store")).unwrap();
        let own: OwnFiles = store.state(OwnFiles::DOCUMENT).unwrap()?;
        let mut files = own.files.into_iter();
        Some(files.find(|file| file.path == path)?.content)
    }

    fn upstream_says(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path(path)).ok()
    }

    /// The id of the snapshot that is served.
    fn current(&self) -> String {
        let store = Store::open(&self.dir.path().join("store")).unwrap();
        store.current().unwrap().unwrap().to_string()
    }

    fn options(&self) -> SyncOptions {
        self.options_at(&self.server.url)
    }

    fn options_at(&self, upstream: &Url) -> SyncOptions {
        let content = serde_json::json!({"repositories": ["core", "extra"]});
        let store = self.dir.path().join("store");
        SyncOptions {
            upstream_type: "Toy".to_owned(),
            format: make_format(&content).unwrap(),
            make_format,
            content,
            ..options(&self.key.public, upstream, &store, &["core"])
        }
    }

    fn entry(&self, path: &str) -> Option<Entry> {
        let store = Store::open(&self.dir.path().join("store")).unwrap();
        let snapshot = store.current_snapshot().unwrap()?;
        let entry = snapshot.get(path)?;
        (entry.state == EntryState::Present).then_some(entry)
    }

    fn served(&self, path: &str) -> Option<Vec<u8>> {
        let store = Store::open(&self.dir.path().join("store")).unwrap();
        Some(fs::read(store.blob_path(&self.entry(path)?.digest)).unwrap())
    }

    /// As the upstream has it.
    fn is_served(&self, path: &str) -> bool {
        self.served(path) == fs::read(self.path(path)).ok()
    }

    fn asked(&self, part: &str) -> usize {
        let seen = self.server.take_seen();
        seen.iter().filter(|seen| seen.path.ends_with(part)).count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn roots_that_are_indices_signed_payload_given_content_and_other_names() {
    let mut shop = Shop::new().await;
    let options = shop.options();
    let foreseen = plan(&options).await;
    assert_eq!(foreseen.reason, Reason::Published, "{foreseen:?}");
    shop.server.take_seen();
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    assert_eq!(shop.asked(".db"), 2, "a root that is an index comes once");
    for path in [
        "core/core.db",
        "core/alpha.pkg",
        "core/alpha.pkg.sig",
        "extra/beta.pkg.sig",
    ] {
        assert!(shop.is_served(path), "{path}");
    }
    assert_eq!(shop.served("core/alpha.notes").unwrap(), b"notes-of-alpha");
    let index = fs::read(shop.path("core/core.db")).unwrap();
    assert_eq!(shop.served("core/core.db.txt").unwrap(), index);
    assert!(shop.entry("core/core.db.txt").unwrap().mutable);
    let pool = format!("pool/{}.pkg", hex(&sha2::Sha256::digest("alpha 1")));
    assert_eq!(shop.served(&pool).unwrap(), b"alpha 1");
    assert!(!shop.entry(&pool).unwrap().mutable);
    assert_eq!(told(&sync(&options).await), UNCHANGED);

    shop.publish("core", "gamma", "gamma 1");
    shop.server.take_seen();
    assert_eq!(told(&sync(&options).await), PUBLISHED);
    assert_eq!(shop.asked(".sig"), 1, "what is signed is as it was");
    let index = fs::read(shop.path("core/core.db")).unwrap();
    assert_eq!(shop.served("core/core.db.txt").unwrap(), index);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_over_something_else_holds_its_unit_until_it_is_mended() {
    let mut shop = Shop::new().await;
    let options = shop.options();
    assert_eq!(told(&sync(&options).await), PUBLISHED);
    let before = shop.served("core/core.db").unwrap();

    shop.publish("core", "gamma", "gamma 1");
    shop.publish("extra", "delta", "delta 1");
    let others = fs::read(shop.path("core/alpha.pkg.sig")).unwrap();
    let lie = Fault::Content(others);
    shop.server.fault("core/gamma.pkg.sig", 100, lie);
    let report = sync(&options).await;
    assert_eq!(
        (report.reason, report.result),
        (Reason::SignatureBad, RunResult::Published),
        "{report:?}"
    );
    let text = &report.units[0].message;
    assert!(text.starts_with("core/gamma.pkg.sig: "), "{text}");
    assert!(
        text.contains("content.exclude: [\"core/gamma.pkg\"]"),
        "{text}"
    );
    assert_eq!(shop.served("core/core.db").unwrap(), before);
    assert_eq!(shop.served("core/gamma.pkg"), None);
    assert!(
        shop.is_served("extra/delta.pkg.sig"),
        "no matter of another unit"
    );

    // The remedy that the message names.
    let mut without = options.clone();
    without.exclude = vec!["core/gamma.pkg".to_owned()];
    assert_eq!(told(&sync(&without).await), PUBLISHED);
    assert_eq!(
        (
            shop.served("core/gamma.pkg"),
            shop.served("core/gamma.pkg.sig")
        ),
        (None, None)
    );

    // Not there at all.
    shop.server.heal();
    shop.server
        .fault("core/gamma.pkg.sig", 100, Fault::Status(404));
    assert_eq!(
        sync(&options).await.units[0].reason,
        Reason::SignatureMissing
    );
    shop.server.heal();
    assert_eq!(told(&sync(&options).await), PUBLISHED);
    assert!(shop.is_served("core/gamma.pkg.sig"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_over_what_is_not_there_says_nothing_and_holds_only_its_unit() {
    let mut shop = Shop::new().await;
    let options = shop.options();
    assert_eq!(told(&sync(&options).await), PUBLISHED);
    shop.publish("core", "gamma", "gamma 1");
    shop.publish("extra", "delta", "delta 1");
    shop.server.fault("core/gamma.pkg", 100, Fault::Status(404));
    let report = sync(&options).await;
    assert_eq!(
        (report.reason, report.result),
        (Reason::UpstreamIncomplete, RunResult::Published),
        "{report:?}"
    );
    assert!(shop.is_served("extra/delta.pkg.sig"));
    shop.server.heal();
    assert_eq!(told(&sync(&options).await), PUBLISHED);
    assert!(shop.is_served("core/gamma.pkg.sig"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_trusted_is_asked_anew_of_what_is_there() {
    let mut shop = Shop::new().await;
    let options = shop.options();
    assert_eq!(told(&sync(&options).await), PUBLISHED);
    let stranger = Key::new(&shop.dir.path().join("stranger"));
    let mut changed = SyncOptions {
        trust_digest: Sha256([8; 32]),
        ..options.clone()
    };
    changed.trust.keyring = Some(fleet_formats::openpgp::Keyring::parse(&stranger.public).unwrap());
    let report = sync(&changed).await;
    let reasons: Vec<_> = report.units.iter().map(|unit| unit.reason).collect();
    assert_eq!(reasons, [Reason::KeyUnknown; 2], "{report:?}");
    assert!(
        shop.is_served("core/alpha.pkg.sig"),
        "what was served still is"
    );

    // The upstream signs anew, and nothing else changes.
    shop.key = stranger;
    shop.publish("core", "alpha", "alpha 1");
    shop.publish("extra", "beta", "beta 1");
    assert_eq!(told(&sync(&changed).await), PUBLISHED);
    assert!(shop.is_served("core/alpha.pkg.sig") && shop.is_served("extra/beta.pkg.sig"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_the_format_does_not_believe_holds_its_unit() {
    let mut shop = Shop::new().await;
    let options = shop.options();
    shop.publish("core", "gamma", "gamma 1");
    assert_eq!(told(&sync(&options).await), PUBLISHED);
    shop.packages.remove(&("core", "gamma"));
    shop.publish("core", "alpha", "alpha 1");
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED);
    assert!(
        report.units[0].message.contains("1 packages are gone"),
        "{report:?}"
    );

    let index = format!("updated {}\n", shop.updated + 1);
    fs::write(shop.path("core/core.db"), index).unwrap();
    fs::write(shop.path("lastupdate"), "later").unwrap();
    let report = sync(&options).await;
    assert_eq!(report.units[0].reason, Reason::ShrinkRefused, "{report:?}");
    assert_eq!(shop.served("core/alpha.pkg").unwrap(), b"alpha 1");
    shop.publish("core", "alpha", "alpha 1");
    assert_eq!(told(&sync(&options).await), PUBLISHED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_root_is_read_from_the_disk_and_one_beyond_its_bound_is_refused() {
    let mut shop = Shop::new().await;
    let options = shop.options();
    shop.more = "x".repeat(2 << 20);
    shop.publish("core", "alpha", "alpha 1");
    assert_eq!(told(&sync(&options).await), PUBLISHED);
    assert!(shop.is_served("core/core.db"));
    let notes = format!("notes-of-alpha{}", shop.more);
    assert!(shop.served("core/alpha.notes").unwrap() == notes.as_bytes());
    // By its clock, by its date, and as it is here.
    assert_eq!(told(&sync(&options).await), UNCHANGED);
    fs::remove_file(shop.path("lastupdate")).unwrap();
    assert_eq!(told(&sync(&options).await), UNCHANGED);
    shop.publish("extra", "beta", "beta 2");
    let mut carrying = options.clone();
    carrying.verification.allow_mutation = true;
    shop.server.fault("core/core.db", 100, Fault::Status(500));
    let report = sync(&carrying).await;
    assert_eq!(
        report.units[0].reason,
        Reason::UpstreamUnreachable,
        "{report:?}"
    );
    assert_eq!(shop.served("extra/beta.pkg").unwrap(), b"beta 2");
    assert!(shop.is_served("core/core.db"), "carried");
    shop.server.heal();

    let beyond = "x".repeat(format::MAX_INDEX_BYTES as usize + 1);
    fs::write(shop.path("core/core.db"), beyond).unwrap();
    fs::write(shop.path("lastupdate"), "later").unwrap();
    let report = sync(&carrying).await;
    assert_eq!(report.units[0].reason, Reason::TooLarge, "{report:?}");
    shop.publish("core", "alpha", "alpha 1");
    assert_eq!(told(&sync(&carrying).await), PUBLISHED);
    let left = shop.dir.path().join("store/staging");
    assert_eq!(
        fs::read_dir(left).unwrap().count(),
        0,
        "nothing is left of what was spooled"
    );
}
