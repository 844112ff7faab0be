//! The Mirrors that fill themselves on demand: they are no task of any lane, and are served as soon as they are declared.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use fleet_npm::NpmRegistry;
use fleet_origin::Registry;
use fleet_serve::Registries;
use fleet_telemetry::PackageRegistryMetrics;

use crate::failure::Failure;
use crate::manifests::Manifests;
use crate::resolve::{References, Resolver};

/// Keeps what is served by what is declared.
pub struct Keeper {
    pub registries: Registries,
    pub metrics: Arc<PackageRegistryMetrics>,
    pub data: PathBuf,
    /// What is served now, by Mirror.
    pub served: BTreeMap<String, Arc<NpmRegistry>>,
}

impl Keeper {
    /// Serves what these manifests declare, and nothing else. One that cannot be served is told, and keeps no other from it.
    pub fn declare(&mut self, manifests: &Manifests) {
        let resolver = Resolver {
            manifests,
            references: References::Manifests,
            data: &self.data,
        };
        let declared = manifests
            .mirrors
            .values()
            .filter(|mirror| mirror.spec.fills_itself());
        let mut served = BTreeMap::new();
        for mirror in declared {
            let name = mirror.metadata.name.clone().unwrap_or_default();
            // Nobody is kept waiting by the change: what is on its way goes on, and the new one shares what the former one has.
            let before = self.served.get(&name).map(|before| &**before);
            let opened = resolver
                .registry(mirror, &self.metrics)
                .and_then(|options| {
                    NpmRegistry::open(options, before)
                        .map_err(|problem| Failure::new(problem.reason, problem.message))
                });
            match opened {
                Ok(registry) => drop(served.insert(name, Arc::new(registry))),
                Err(failure) => tracing::error!(
                    mirror = name,
                    reason = failure.reason.as_str(),
                    "{failure}; correct it and send SIGHUP"
                ),
            }
        }
        self.metrics
            .keep_only(&served.keys().cloned().collect::<Vec<_>>());
        self.registries.replace(
            served
                .values()
                .map(|registry| registry.clone() as Arc<dyn Registry>)
                .collect(),
        );
        self.served = served;
        for (mirror, registry) in &self.served {
            tracing::info!(
                mirror,
                "serving under /{}/, filled on demand",
                registry.paths().join("/, /")
            );
        }
    }
}
