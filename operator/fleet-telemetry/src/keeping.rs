//! Whether what is fetched on demand can be kept.

use std::sync::Mutex;

use fleet_types::lock;

/// Of one Mirror.
#[derive(Debug, Default)]
pub struct Keeping(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    not_kept: u64,
    /// Unix seconds.
    full_since: Option<i64>,
}

impl Keeping {
    /// Something was kept. Since when nothing could be, where that is over now.
    pub fn kept(&self) -> Option<i64> {
        lock(&self.0).full_since.take()
    }

    /// Something was not kept for want of room. True where it is the first.
    pub fn not_kept(&self, now: i64) -> bool {
        let mut state = lock(&self.0);
        state.not_kept += 1;
        let is_first = state.full_since.is_none();
        state.full_since.get_or_insert(now);
        is_first
    }

    /// How much was not kept.
    pub fn count(&self) -> u64 {
        lock(&self.0).not_kept
    }

    /// Since when nothing can be kept (Unix seconds).
    pub fn full_since(&self) -> Option<i64> {
        lock(&self.0).full_since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_full_from_the_first_that_was_not_kept_until_something_is() {
        let keeping = Keeping::default();
        assert_eq!((keeping.kept(), keeping.full_since()), (None, None));
        assert!(keeping.not_kept(5));
        assert!(!keeping.not_kept(9));
        assert_eq!((keeping.count(), keeping.full_since()), (2, Some(5)));
        assert_eq!((keeping.kept(), keeping.full_since()), (Some(5), None));
        assert!(keeping.not_kept(12), "it begins anew");
    }
}
