//! Forms of an index that archives list and mostly do not have: asked for in passing, and taken where they are there.

use fleet_store::EntryState;
use fleet_sync::RunResult;
use sha2::{Digest as _, Sha256};

use crate::pipeline::{Pipe, usual};
use crate::support::archive::{Release, hex, now, stanza};
use crate::support::{sync, told};

const FOLDER: &str = "dists/stable/main/binary-amd64";

impl Pipe {
    /// The text of the index that is published for these packages.
    fn plain_index(&self) -> Vec<u8> {
        let stanzas = self.packages.iter().map(|it| stanza(it, false));
        stanzas.collect::<String>().into_bytes()
    }

    fn state_of(&self, name: &str) -> EntryState {
        let store = fleet_store::Store::open(&self.store.path().join("test")).unwrap();
        let snapshot = store.current_snapshot().unwrap().unwrap();
        snapshot.get(&format!("{FOLDER}/{name}")).unwrap().state
    }

    /// Another state with one package more.
    fn publish_another(&mut self) {
        let name = format!("new{}", self.packages.len());
        self.packages
            .push(self.archive.package(&name, name.as_bytes()));
        let date = now() - 3600 + self.packages.len() as i64;
        let release = Release::of(date);
        self.archive.publish("stable", &self.packages, &release);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_was_likely_missing_comes_where_it_is_there() {
    // Beyond what shares a connection, and below.
    for packages in [1500, 20] {
        let mut pipe = Pipe::new(packages, usual).await;
        for is_there in [false, true, false, true] {
            pipe.publish_another();
            if is_there {
                let name = format!("{FOLDER}/Packages");
                pipe.archive.write(&name, &pipe.plain_index());
            }
            pipe.publishes().await;
            let expected = match is_there {
                true => EntryState::Present,
                false => EntryState::AbsentUpstream,
            };
            assert_eq!(pipe.state_of("Packages"), expected, "{packages} packages");
        }
        let asked = pipe.server.asked_for(&format!("{FOLDER}/Packages"));
        // Once where it is as expected, and once more alone where it is not; also where it is there and is large.
        let times = if packages > 1000 { 6 } else { 5 };
        assert_eq!(asked.len(), times, "{asked:?}");
        // It spoils nothing for the others.
        assert!(pipe.server.deepest() >= 4, "{}", pipe.server.deepest());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_form_of_what_clients_need_is_asked_for_by_all_its_names() {
    let mut pipe = Pipe::new(20, usual).await;
    pipe.publishes().await;
    assert_eq!(pipe.state_of("Packages"), EntryState::AbsentUpstream);
    pipe.publish_another();
    let plain = pipe.plain_index();
    let by_hash = format!("{FOLDER}/by-hash/SHA256/{}", hex(&Sha256::digest(&plain)));
    pipe.archive.write(&by_hash, &plain);
    for suffix in ["xz", "gz"] {
        let path = format!("{FOLDER}/Packages.{suffix}");
        let content = pipe.archive.read(&path);
        let digest = hex(&Sha256::digest(&content));
        for gone in [path, format!("{FOLDER}/by-hash/SHA256/{digest}")] {
            std::fs::remove_file(pipe.archive.path(&gone)).unwrap();
        }
    }
    let report = pipe.publishes().await;
    assert_eq!(told(&report).0, RunResult::Published, "{report:?}");
    assert_eq!(pipe.state_of("Packages"), EntryState::Present);
    let unchanged = sync(&pipe.options()).await;
    assert_eq!(told(&unchanged).0, RunResult::Unchanged, "{unchanged:?}");
}
