//! What the page is told: by the controller of what it watches, by `mirrorfleet local` of its stores.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_api::{Mirror, Upstream};
use fleet_plan::score::Score;
use fleet_plan::summary::Progress;
use jiff::Timestamp;

/// Where the page learns how things are. Asked at most once a second; it must not wait for a network.
pub trait Source: Send + Sync {
    fn look(&self, now: Timestamp) -> Look;

    /// What the checks of a Mirror's regions come to, by region; nothing of those that nobody has checked.
    fn scores(&self, namespace: &str, mirror: &str, now: Timestamp) -> BTreeMap<String, Score>;
}

/// How things are at one moment. Objects are shared, not copied.
#[derive(Clone, Default)]
pub struct Look {
    /// Whether everything is known; false while a cluster's objects are being listed.
    pub complete: bool,
    /// Who tells, in a few words: `the controller, which leads`.
    pub teller: String,
    /// What the teller does not know, and why; empty where there is nothing.
    pub caveat: String,
    pub mirrors: Vec<Seen>,
    /// How far runs are that could be asked, by namespace and name of the Mirror, and by Job.
    pub progress: BTreeMap<(String, String), BTreeMap<String, Progress>>,
}

/// A Mirror, or why it cannot be read.
#[derive(Clone)]
pub struct Seen {
    pub namespace: String,
    pub name: String,
    /// Of the Mirror and of its Upstream: as long as both are as they were, so is what is said of it, but for what time does.
    pub versions: (u64, u64),
    pub mirror: Arc<dyn Held<Mirror>>,
    pub upstream: Option<Arc<dyn Held<Upstream>>>,
}

/// An object that somebody keeps.
pub trait Held<T>: Send + Sync {
    /// The object.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn object(&self) -> Result<&T, &str>;
}

impl<T: Send + Sync> Held<T> for T {
    fn object(&self) -> Result<&T, &str> {
        Ok(self)
    }
}

impl Seen {
    /// Where it stands among others and in addresses.
    pub fn key(&self) -> (String, String) {
        (self.namespace.clone(), self.name.clone())
    }
}
