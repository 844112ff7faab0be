//! What `/healthz` and `/readyz` answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the process may be sent work, and one line for each thing worth knowing about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    pub ready: bool,
    pub detail: Vec<String>,
}

/// The readiness check of a process: local facts only, never the state of an upstream or of other pods.
///
/// It runs on a thread that may block. `/healthz` does not ask it: a process that answers is alive.
#[derive(Clone)]
pub struct Health(Arc<dyn Fn() -> Readiness + Send + Sync>);

impl Health {
    pub fn new(check: impl Fn() -> Readiness + Send + Sync + 'static) -> Health {
        Health(Arc::new(check))
    }

    /// For a process that is ready as soon as it listens.
    pub fn always_ready() -> Health {
        Health::new(|| Readiness {
            ready: true,
            detail: Vec::new(),
        })
    }

    /// Ready from the moment the returned switch is set; until then `reason` is the detail.
    pub fn switch(reason: &'static str) -> (Health, Arc<AtomicBool>) {
        let ready = Arc::new(AtomicBool::new(false));
        let seen = ready.clone();
        let health = Health::new(move || match seen.load(Ordering::Acquire) {
            true => Readiness {
                ready: true,
                detail: Vec::new(),
            },
            false => Readiness {
                ready: false,
                detail: vec![reason.to_owned()],
            },
        });
        (health, ready)
    }

    pub fn readiness(&self) -> Readiness {
        (self.0)()
    }
}
