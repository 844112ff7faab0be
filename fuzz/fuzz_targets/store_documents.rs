//! The small documents of a store, with any content: `store.json`, `current` and `state/snapshots.json`, by the first byte.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use fleet_store::Store;
use mirrorfleet_fuzz::store;
use tempfile::TempDir;

static STORE: LazyLock<TempDir> = LazyLock::new(|| store::filled().0);

libfuzzer_sys::fuzz_target!(|content: &[u8]| {
    let Some((first, content)) = content.split_first() else {
        return;
    };
    let names = ["store.json", "current", "state/snapshots.json"];
    let file: PathBuf = STORE.path().join(names[usize::from(*first) % names.len()]);
    let before = std::fs::read(&file).expect("a document");
    std::fs::write(&file, content).expect("a document");
    if let Ok(store) = Store::open(STORE.path()) {
        drop(store.current_snapshot());
        drop(store.pinned());
        drop(store.rolled_back_from());
        for info in store.snapshots().into_iter().flatten() {
            assert!(
                store.snapshot(&info.id).is_ok(),
                "a document damages no snapshot"
            );
        }
    }
    std::fs::write(&file, before).expect("a document");
});
