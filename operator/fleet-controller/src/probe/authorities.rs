//! What is known of each Upstream's authority between two probes. In memory only, so that a quiet world is not written to.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use fleet_plan::Probe;
use fleet_types::lock;

use super::Memory;
use crate::world::ObjectName;

/// All authorities, by the name of their Upstream.
#[derive(Default)]
pub struct Authorities(Mutex<HashMap<ObjectName, Authority>>);

/// One authority.
#[derive(Default, Clone)]
pub struct Authority {
    /// The generation of the manifest by which it was asked.
    pub generation: Option<i64>,
    /// The last answer for each unit.
    pub probes: Vec<Probe>,
    /// The same of each endpoint, by its name.
    pub endpoints: BTreeMap<String, Vec<Probe>>,
    pub memory: Arc<Memory>,
    /// The Job whose answers are among these, by its uid.
    pub heard: Option<String>,
    /// Why the next Job could not be made.
    pub refused: Option<String>,
    /// The CA bundle as it was last read.
    pub ca_bundle: Option<Vec<u8>>,
}

impl Authorities {
    /// What is known by the manifest of this generation; nothing after an edit, which may name another authority.
    pub fn get(&self, upstream: &ObjectName, generation: Option<i64>) -> Authority {
        let known = self
            .known()
            .get(upstream)
            .filter(|known| known.generation == generation)
            .cloned();
        known.unwrap_or_else(|| Authority {
            generation,
            ..Default::default()
        })
    }

    pub fn put(&self, upstream: &ObjectName, authority: Authority) {
        self.known().insert(upstream.clone(), authority);
    }

    pub fn forget(&self, upstream: &ObjectName) {
        self.known().remove(upstream);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<ObjectName, Authority>> {
        lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edited_manifest_makes_everything_be_asked_again() {
        let (authorities, name) = (Authorities::default(), ObjectName::new("ns", "debian"));
        authorities.put(
            &name,
            Authority {
                generation: Some(1),
                ca_bundle: Some(vec![1]),
                ..Default::default()
            },
        );
        assert_eq!(authorities.get(&name, Some(1)).ca_bundle, Some(vec![1]));
        assert_eq!(authorities.get(&name, Some(2)).ca_bundle, None);
        authorities.forget(&name);
        assert_eq!(authorities.get(&name, Some(1)).ca_bundle, None);
    }
}
