//! The test hook that ends the process between two writes.

use std::sync::atomic::{AtomicU64, Ordering};

/// Number of writes after which the process ends; no such end without it. Documented in CONTRIBUTING.md.
const FAULT_AFTER_WRITES: &str = "MIRRORFLEET_FAULT_AFTER_WRITES";
/// The exit code of a process that was ended so.
const FAULT_EXIT_CODE: i32 = 99;

/// Counts writes.
pub struct Faults {
    after: Option<u64>,
    written: AtomicU64,
}

impl Faults {
    pub fn from_environment() -> Self {
        Faults::after(
            std::env::var(FAULT_AFTER_WRITES)
                .ok()
                .and_then(|text| text.parse().ok()),
        )
    }

    fn after(after: Option<u64>) -> Self {
        Faults {
            after,
            written: AtomicU64::new(0),
        }
    }

    /// Whether the process ends after some write.
    pub fn counts(&self) -> bool {
        self.after.is_some()
    }

    /// A write succeeded.
    pub fn written(&self) {
        if self.is_due() {
            tracing::error!("ending the process: {FAULT_AFTER_WRITES} writes are done");
            std::process::exit(FAULT_EXIT_CODE);
        }
    }

    fn is_due(&self) -> bool {
        let written = self.written.fetch_add(1, Ordering::SeqCst) + 1;
        self.after.is_some_and(|after| written >= after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fault_comes_after_exactly_so_many_writes_and_never_without_the_variable() {
        let faults = Faults::after(Some(3));
        assert_eq!(
            [faults.is_due(), faults.is_due(), faults.is_due()],
            [false, false, true]
        );
        let none = Faults::after(None);
        assert!((0..100).all(|_| !none.is_due()));
    }
}
