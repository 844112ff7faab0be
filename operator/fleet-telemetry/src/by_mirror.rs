//! What a process counts apart for each Mirror.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use fleet_types::lock;

use crate::Definition;
use crate::registry::{Registry, RegistryError, Source};
use crate::samples::Samples;

/// Where a serving process stands. Empty where there is no cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerPlace {
    pub namespace: String,
    pub region: String,
}

/// The series of one Mirror: handles that are resolved once, and then used without a lock for each request. Which
/// there are is decided in this crate.
pub trait Series: Default + Send + Sync + 'static {
    const DEFINITIONS: &'static [Definition];

    fn collect(&self, out: &mut Samples, place: &ServerPlace, mirror: &str);
}

/// The series of all Mirrors of a process, by their names.
pub struct ByMirror<T> {
    place: ServerPlace,
    mirrors: Mutex<BTreeMap<String, Arc<T>>>,
}

impl<T: Series> ByMirror<T> {
    pub fn register(
        registry: &Registry,
        place: ServerPlace,
    ) -> Result<Arc<ByMirror<T>>, RegistryError> {
        let metrics = Arc::new(ByMirror {
            place,
            mirrors: Mutex::default(),
        });
        registry.add(metrics.clone())?;
        Ok(metrics)
    }

    /// The series of a Mirror, made on first use. The empty name stands for what is outside every mirror.
    pub fn mirror(&self, name: &str) -> Arc<T> {
        let mut mirrors = lock(&self.mirrors);
        mirrors.entry(name.to_owned()).or_default().clone()
    }

    /// Drops the series of a Mirror that is gone.
    pub fn remove(&self, name: &str) {
        lock(&self.mirrors).remove(name);
    }

    /// Drops the series of all other Mirrors.
    pub fn keep_only(&self, names: &[impl AsRef<str>]) {
        let mut mirrors = lock(&self.mirrors);
        mirrors.retain(|mirror, _| names.iter().any(|name| name.as_ref() == mirror));
    }
}

impl<T: Series> Source for ByMirror<T> {
    fn definitions(&self) -> &'static [Definition] {
        T::DEFINITIONS
    }

    fn collect(&self, out: &mut Samples) {
        for (mirror, series) in lock(&self.mirrors).iter() {
            series.collect(out, &self.place, mirror);
        }
    }
}
