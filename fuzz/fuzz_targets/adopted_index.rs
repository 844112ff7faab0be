//! An index that another mirror hands over, changed at some places and with a digest that fits again: whoever copies it was
//! told these very bytes. Each three bytes of the input are a place and what is written there.
//!
//! Nothing of it may end the program; and what is taken over holds safe paths only, is in order, and is the snapshot that
//! was asked for.
#![no_main]

use std::fs;
use std::sync::LazyLock;

use fleet_store::{SnapshotId, Writer};
use fleet_types::Sha256;
use fleet_types::documents::IndexPin;
use mirrorfleet_fuzz::{assert_safe, store};
use sha2::Digest as _;
use tempfile::TempDir;

const TRAILER_BYTES: usize = 32;

struct World {
    _dir: TempDir,
    writer: Writer,
    id: SnapshotId,
    index: Vec<u8>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    // What is caught is no failure; what is not ends the process all the same.
    std::panic::set_hook(Box::new(|_| {}));
    let (dir, id) = store::filled();
    let index = fs::read(dir.path().join("snapshots").join(id.to_string())).expect("an index");
    let writer = Writer::open_existing(dir.path()).expect("a store");
    World {
        _dir: dir,
        writer,
        id,
        index,
    }
});

libfuzzer_sys::fuzz_target!(|content: &[u8]| {
    let mut index = WORLD.index.clone();
    for change in content.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % index.len();
        index[at] = change[2];
    }
    let end = index.len() - TRAILER_BYTES;
    let digest: [u8; 32] = sha2::Sha256::digest(&index[..end]).into();
    index[end..].copy_from_slice(&digest);
    let pin = IndexPin {
        sha256: Sha256(sha2::Sha256::digest(&index).into()),
        size: index.len() as u64,
    };
    let blob = WORLD.writer.blob_path(&pin.sha256);
    fs::create_dir_all(blob.parent().expect("a folder")).expect("a folder");
    fs::write(&blob, &index).expect("a blob");
    let examined = WORLD.writer.examine(&WORLD.id, &pin);
    fs::remove_file(&blob).expect("no blob");
    let Ok(adoptable) = examined else { return };
    let snapshot = adoptable.snapshot();
    let mut before = None;
    let mut count = 0;
    for (path, entry) in snapshot.iter() {
        assert_safe(&path);
        assert_eq!(snapshot.get(path.as_str()), Some(entry));
        assert!(before.is_none_or(|before| before < path));
        before = Some(path);
        count += 1;
    }
    assert_eq!(count, snapshot.len(), "nothing ends early");
    assert_eq!(snapshot.id(), WORLD.id);
});
