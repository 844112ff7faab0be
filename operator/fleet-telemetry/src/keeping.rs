//! Whether what is fetched on demand can be kept.

use std::sync::Mutex;

use fleet_types::lock;

use crate::Definition;
use crate::samples::Samples;

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
    /// Something was kept (Unix seconds).
    pub fn kept(&self, now: i64) {
        if let Some(since) = lock(&self.0).full_since.take() {
            tracing::info!(
                seconds = now.saturating_sub(since),
                "the volume has room again: what is fetched is kept"
            );
        }
    }

    /// Something was not kept for want of room (Unix seconds).
    pub fn not_kept(&self, now: i64) {
        let mut state = lock(&self.0);
        state.not_kept += 1;
        if state.full_since.is_none() {
            state.full_since = Some(now);
            tracing::error!(
                "the volume is full: what is asked for is fetched for whoever asks, and not kept; give it more room, or remove what else is on it"
            );
        }
    }

    /// Since when nothing can be kept (Unix seconds).
    pub fn full_since(&self) -> Option<i64> {
        lock(&self.0).full_since
    }

    pub(crate) fn collect(
        &self,
        out: &mut Samples,
        (not_kept, full_since): (&Definition, &Definition),
        labels: &[&str],
    ) {
        let state = lock(&self.0);
        out.counter(not_kept, labels, state.not_kept as f64);
        if let Some(since) = state.full_since {
            out.gauge(full_since, labels, since as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_full_from_the_first_that_was_not_kept_until_something_is() {
        let keeping = Keeping::default();
        keeping.kept(1);
        assert_eq!(keeping.full_since(), None);
        keeping.not_kept(5);
        keeping.not_kept(9);
        assert_eq!(keeping.full_since(), Some(5));
        keeping.kept(10);
        assert_eq!(keeping.full_since(), None);
        keeping.not_kept(12);
        assert_eq!(keeping.full_since(), Some(12), "it begins anew");
    }
}
