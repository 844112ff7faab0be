//! A damaged snapshot index: each three bytes of the input are a place and what is written there. As the file is, its own
//! digest must give the damage away; with a digest that fits again, header, description and records are read with all
//! their lies.
//!
//! The table of paths (the `fst` crate's) is left out of the second part: it is trusted once the file's digest fits, and
//! who can forge that can write the whole volume.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use fleet_store::{SnapshotId, Store};
use mirrorfleet_fuzz::{assert_safe, store};
use sha2::Digest as _;
use tempfile::TempDir;

const TRAILER_BYTES: usize = 32;

struct World {
    dir: TempDir,
    id: SnapshotId,
    index: Vec<u8>,
    table: std::ops::Range<usize>,
}

impl World {
    fn file(&self) -> PathBuf {
        self.dir.path().join("snapshots").join(self.id.to_string())
    }
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let (dir, id) = store::filled();
    let index = std::fs::read(dir.path().join("snapshots").join(id.to_string())).expect("an index");
    let length = index[72..80]
        .try_into()
        .map(u64::from_le_bytes)
        .expect("its length");
    let end = index.len() - TRAILER_BYTES;
    let table = end - usize::try_from(length).expect("a length")..end;
    World {
        dir,
        id,
        index,
        table,
    }
});

libfuzzer_sys::fuzz_target!(|content: &[u8]| {
    let mut index = WORLD.index.clone();
    for change in content.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % index.len();
        index[at] = change[2];
    }
    let opened = open(&index);
    assert_eq!(
        opened,
        index == WORLD.index,
        "its digest tells of any damage"
    );
    index[WORLD.table.clone()].copy_from_slice(&WORLD.index[WORLD.table.clone()]);
    let end = index.len() - TRAILER_BYTES;
    let digest: [u8; 32] = sha2::Sha256::digest(&index[..end]).into();
    index[end..].copy_from_slice(&digest);
    open(&index);
});

fn open(index: &[u8]) -> bool {
    replace(index);
    let store = Store::open(WORLD.dir.path()).expect("a store");
    drop(store.snapshots());
    let Ok(snapshot) = store.snapshot(&WORLD.id) else {
        return false;
    };
    let mut count = 0;
    for (path, entry) in snapshot.iter() {
        assert_safe(&path);
        assert_eq!(snapshot.get(path.as_str()), Some(entry));
        count += 1;
    }
    assert!(count <= snapshot.len());
    for directory in ["", "dists", "pool/main", "nowhere"] {
        assert!(snapshot.children(directory).count() as u64 <= snapshot.len());
    }
    true
}

/// Never changes a file that is mapped.
fn replace(index: &[u8]) {
    let (file, new) = (WORLD.file(), WORLD.dir.path().join("new-index"));
    std::fs::write(&new, index).expect("an index");
    std::fs::rename(new, file).expect("an index");
}
