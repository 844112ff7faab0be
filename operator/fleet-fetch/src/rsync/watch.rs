//! What a run may write, and how soon it must write something. The program's own options do not bound it: `--timeout`
//! counts any byte of any talk as progress, and `--max-size` believes what the daemon announces. Decided with plain
//! values.

use std::time::Duration;

use crate::pace::Pace;

/// Beyond what was promised, so that what is only a little too large is told by its name.
const SLACK_BYTES: u64 = 1 << 20;

/// What is in the private directory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// The lengths of all files.
    pub bytes: u64,
    /// What they take on the disk; that of a stand-in grows while its length does not.
    pub on_disk: u64,
    /// Files, directories and whatever else.
    pub entries: usize,
}

/// What a run may come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Most {
    pub bytes: u64,
    pub entries: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// More than was asked for.
    TooMuch,
    /// Too little for too long.
    Stalled,
}

pub(super) struct Watch {
    most: Most,
    pace: Pace,
    before: Extent,
}

impl Most {
    /// `limits` are the largest sizes of the files that are asked for; `there` is the length of a stand-in.
    pub fn of<'a>(names: impl Iterator<Item = &'a str>, limits: u64, there: u64) -> Most {
        // Each part of a name is an entry, and a file has another name until it is complete.
        let parts = names.map(|name| name.split('/').count() + 1);
        Most {
            bytes: limits.max(there).saturating_add(SLACK_BYTES),
            entries: parts.sum::<usize>() + 1,
        }
    }
}

impl Watch {
    /// `before` is what is there at the beginning.
    pub fn new(most: Most, stall: Duration, before: Extent) -> Watch {
        Watch {
            most,
            pace: Pace::new(stall),
            before,
        }
    }

    pub fn most_entries(&self) -> usize {
        self.most.entries
    }

    /// `waited` is the time since the last look that was spent waiting for the upstream.
    pub fn look(&mut self, now: Extent, waited: Duration) -> Option<Trouble> {
        if now.bytes > self.most.bytes || now.entries > self.most.entries {
            return Some(Trouble::TooMuch);
        }
        let bytes = now.bytes.saturating_sub(self.before.bytes);
        let on_disk = now.on_disk.saturating_sub(self.before.on_disk);
        let grown = usize::try_from(bytes.max(on_disk)).unwrap_or(usize::MAX);
        self.before = now;
        self.pace.arrived(grown, waited);
        self.pace.patience().is_zero().then_some(Trouble::Stalled)
    }

    /// Complete files were taken away, and this is what is left: progress, however small they are.
    pub fn took_up(&mut self, left: Extent) {
        self.before = left;
        self.pace.arrived(Pace::LEAST_BYTES, Duration::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn watch() -> Watch {
        let most = Most::of(["a/b/c", "d"].into_iter(), 100_000, 0);
        Watch::new(most, 10 * SECOND, Extent::default())
    }

    fn extent(bytes: u64, on_disk: u64, entries: usize) -> Extent {
        Extent {
            bytes,
            on_disk,
            entries,
        }
    }

    #[test]
    fn what_was_promised_may_come_and_not_much_more() {
        let mut watch = watch();
        assert_eq!(watch.look(extent(100_000, 0, 6), SECOND), None);
        for more in [extent(100_001 + SLACK_BYTES, 0, 1), extent(0, 0, 8)] {
            assert_eq!(watch.look(more, SECOND), Some(Trouble::TooMuch));
        }
    }

    #[test]
    fn drops_are_no_progress_and_a_complete_file_is() {
        let mut watch = watch();
        for second in 1..10 {
            assert_eq!(watch.look(extent(second, 0, 1), SECOND), None);
        }
        watch.took_up(extent(0, 0, 0));
        for second in 1..10 {
            assert_eq!(watch.look(extent(0, second, 1), SECOND), None);
        }
        assert_eq!(watch.look(extent(0, 5000, 1), SECOND), None);
        for second in 1..10 {
            assert_eq!(watch.look(extent(second, 5000, 1), SECOND), None);
        }
        let stalled = watch.look(extent(10, 5000, 1), SECOND);
        assert_eq!(stalled, Some(Trouble::Stalled));
    }
}
