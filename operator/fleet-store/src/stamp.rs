//! Whether a store may have other snapshots than when they were listed.

use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::Store;

/// A change within so long after another can bear the same time: kernels stamp files by a clock that ticks every ten milliseconds
/// at worst.
const TICK: Duration = Duration::from_millis(20);

/// When the folder of snapshots was last changed, where that tells what was listed after it from all that comes later.
#[derive(Debug, Clone, Copy)]
pub struct ListStamp(Option<SystemTime>);

impl ListStamp {
    /// That of snapshots that are listed next.
    pub fn before_listing(store: &Store) -> ListStamp {
        let age = |at: &SystemTime| SystemTime::now().duration_since(*at);
        // Where the volume's clock is ahead of ours, nothing tells how long ago it was.
        let settled = |at: &SystemTime| age(at).map_or(true, |age| age >= TICK);
        ListStamp(changed(&store.layout().snapshots()).filter(settled))
    }

    /// Whether no snapshot has come or gone since.
    pub fn still_holds(self, store: &Store) -> bool {
        self.0.is_some() && self.0 == changed(&store.layout().snapshots())
    }
}

fn changed(folder: &Path) -> Option<SystemTime> {
    std::fs::metadata(folder).ok()?.modified().ok()
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::Writer;
    use crate::numbered::identity;

    fn store(folder: &Path) -> Writer {
        Writer::open(folder, &identity()).unwrap()
    }

    fn set_changed(store: &Store, at: SystemTime) {
        let folder = File::open(store.layout().snapshots()).unwrap();
        folder.set_modified(at).unwrap();
    }

    #[test]
    fn a_list_holds_until_a_name_comes() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = store(folder.path());
        set_changed(&store, SystemTime::now() - 2 * TICK);
        let stamp = ListStamp::before_listing(&store);
        assert!(stamp.still_holds(&store));
        File::create(store.layout().snapshots().join("new")).unwrap();
        assert!(!stamp.still_holds(&store));
    }

    #[test]
    fn one_that_has_just_changed_may_change_again_unseen() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = store(folder.path());
        set_changed(&store, SystemTime::now());
        assert!(!ListStamp::before_listing(&store).still_holds(&store));
    }

    #[test]
    fn one_that_cannot_be_asked_holds_nothing() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = store(folder.path());
        std::fs::remove_dir(store.layout().snapshots()).unwrap();
        assert!(!ListStamp::before_listing(&store).still_holds(&store));
    }
}
