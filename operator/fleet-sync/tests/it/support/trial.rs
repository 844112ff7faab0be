//! One hostile upstream after the other: each is refused with its own reason, changes nothing of what is served, and is
//! forgotten when the upstream is good again.

use std::collections::BTreeMap;

use fleet_store::EntryState;
use fleet_sync::{Report, RunResult, SyncOptions};
use fleet_types::Reason;
use sha2::Digest as _;

use super::archive::{Package, Release, hex, now, stanza};
use super::forge::{INDEX, Liar, Listed, compressed};
use super::{World, sync, told};

pub const SUITE: &str = "stable";
pub const PUBLISHED: (RunResult, Reason) = (RunResult::Published, Reason::Published);

/// Every path of what is served, with its state and the content that is really there.
type Picture = BTreeMap<String, (EntryState, Vec<u8>)>;

/// An upstream that was good once.
pub struct Trial {
    pub world: World,
    pub liar: Liar,
    pub options: SyncOptions,
    snapshot: Option<String>,
    picture: Picture,
    /// Of the next state that the upstream publishes; each is newer than the one before.
    next_date: i64,
}

impl Trial {
    pub async fn new() -> Trial {
        let world = World::new(&[SUITE]).await;
        let liar = Liar::start(world.archive.root()).await;
        let mut options = world.options(&[SUITE]);
        options.authority = liar.url.clone();
        let mut trial = Trial {
            next_date: world.date + 10,
            world,
            liar,
            options,
            snapshot: None,
            picture: Picture::new(),
        };
        let report = sync(&trial.options).await;
        assert_eq!(told(&report), PUBLISHED, "{report:?}");
        trial.remember(&report);
        trial
    }

    /// After a state that the test published itself.
    pub async fn remembering(mut self) -> Trial {
        let report = sync(&self.options).await;
        assert_eq!(told(&report).0, RunResult::Unchanged, "{report:?}");
        self.remember(&report);
        self
    }

    fn remember(&mut self, report: &Report) {
        self.snapshot = report.snapshot.clone();
        self.picture = self.picture();
    }

    fn picture(&self) -> Picture {
        let store = self.world.store();
        let snapshot = store.current_snapshot().unwrap().unwrap();
        let content = |path: &str| {
            let entry = snapshot.get(path).unwrap();
            if entry.state != EntryState::Present {
                return (entry.state, Vec::new());
            }
            let content = std::fs::read(store.blob_path(&entry.digest)).unwrap();
            let digest = hex(&sha2::Sha256::digest(&content));
            assert_eq!(digest, entry.digest.to_string(), "{path}");
            (entry.state, content)
        };
        snapshot
            .iter()
            .map(|(path, _)| (path.to_string(), content(path.as_str())))
            .collect()
    }

    /// Every path of what is served, but for roots and indices, which have other names in each state.
    pub fn paths(&self) -> Vec<String> {
        let paths = self.picture().into_keys();
        paths.filter(|path| !path.starts_with("dists/")).collect()
    }

    /// A Release that is newer than all before.
    pub fn newer(&mut self) -> Release {
        self.next_date += 1;
        assert!(self.next_date < now(), "an hour of seconds is used up");
        Release::of(self.next_date)
    }

    /// Publishes an index with these stanzas instead of those of the good packages.
    pub fn publish_index(&mut self, text: &[u8]) {
        let release = self.newer();
        let listed = compressed("xz", "xz", text);
        self.world
            .archive
            .forge(SUITE, &listed, &release, |text| text);
    }

    /// Publishes the good packages and something more.
    pub fn publish_beside(&mut self, more: &[u8]) {
        let good = self.good_stanzas();
        self.publish_index(&[good.as_bytes(), more].concat());
    }

    pub fn good_stanzas(&self) -> String {
        let packages = self.world.packages.iter();
        packages.map(|package| stanza(package, false)).collect()
    }

    /// Publishes the good index under a Release that `edit` has changed before it was signed.
    pub fn publish_release(&mut self, release: &Release, edit: impl FnOnce(String) -> String) {
        let listed = self.good_index();
        self.world.archive.forge(SUITE, &listed, release, edit);
    }

    pub fn good_index(&self) -> Listed {
        compressed("xz", "xz", self.good_stanzas().as_bytes())
    }

    /// The upstream's `InRelease` as it is now.
    pub fn in_release(&self) -> String {
        String::from_utf8(self.world.archive.read("dists/stable/InRelease")).unwrap()
    }

    /// A run is refused for `reason`, in words that hold all of `words`; what is served is as it was, byte for byte.
    pub async fn is_refused(&self, case: &str, reason: Reason, words: &[&str]) -> Report {
        let report = sync(&self.options).await;
        assert_eq!(
            told(&report),
            (RunResult::Failed, reason),
            "{case}: {report:?}"
        );
        for word in words {
            assert!(report.message.contains(word), "{case}: {word}: {report:?}");
        }
        assert!(
            !report.message.contains(char::is_control),
            "{case}: {report:?}"
        );
        assert_eq!(report.snapshot, self.snapshot, "{case}");
        assert!(
            self.picture() == self.picture,
            "{case}: what is served changed"
        );
        report
    }

    /// The upstream publishes a good and newer state: nobody has to do anything.
    pub async fn heals(&mut self, case: &str) {
        self.liar.heal();
        let number = self.next_date;
        let fresh: Package = self
            .world
            .archive
            .package(&format!("new{number}"), number.to_string().as_bytes());
        self.world.packages.truncate(3);
        self.world.packages.push(fresh.clone());
        let release = self.newer();
        self.publish_release(&release, |text| text);
        let report = sync(&self.options).await;
        assert_eq!(told(&report), PUBLISHED, "{case}: {report:?}");
        assert_eq!(
            self.world.served(&fresh.path),
            number.to_string().as_bytes(),
            "{case}"
        );
        self.remember(&report);
    }

    /// The path of the index below the repository, in its one form.
    pub fn index_path() -> String {
        format!("dists/{SUITE}/{INDEX}.xz")
    }
}
