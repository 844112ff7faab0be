//! An upstream in order, a server for it and a store.

use fleet_store::{EntryState, Store};
use fleet_sync::{Report, RunResult, SyncOptions};
use fleet_types::Reason;
use tempfile::TempDir;

use super::archive::{Package, Release, now};
use super::server::Server;
use super::{Archive, options};

/// An archive with one suite of three packages, a server for it and an empty store.
pub struct World {
    pub archive: Archive,
    pub server: Server,
    pub store: TempDir,
    pub packages: Vec<Package>,
    pub date: i64,
}

impl World {
    pub async fn new(suites: &[&str]) -> World {
        let archive = Archive::new();
        let packages = vec![
            archive.package("alpha", b"alpha 1"),
            archive.package("beta", &[7; 300_000]),
            archive.package("c++", b"c++ 1"),
        ];
        let date = now() - 3600;
        for suite in suites {
            archive.publish(suite, &packages, &Release::of(date));
        }
        let server = Server::start(archive.root()).await;
        World {
            archive,
            server,
            store: TempDir::new().unwrap(),
            packages,
            date,
        }
    }

    pub fn options(&self, suites: &[&str]) -> SyncOptions {
        options(
            self.archive.keyring(),
            &self.server.url,
            &self.store.path().join("test"),
            suites,
        )
    }

    pub fn store(&self) -> Store {
        Store::open(&self.store.path().join("test")).unwrap()
    }

    pub fn state_of(&self, path: &str) -> Option<EntryState> {
        self.store()
            .current_snapshot()
            .unwrap()?
            .get(path)
            .map(|entry| entry.state)
    }

    pub fn served(&self, path: &str) -> Vec<u8> {
        let store = self.store();
        let entry = store
            .current_snapshot()
            .unwrap()
            .unwrap()
            .get(path)
            .unwrap();
        std::fs::read(store.blob_path(&entry.digest)).unwrap()
    }
}

pub fn told(report: &Report) -> (RunResult, Reason) {
    (report.result, report.reason)
}
