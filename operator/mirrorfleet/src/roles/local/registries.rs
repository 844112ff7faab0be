//! The Mirrors that fill themselves on demand: they are no task of any lane, and are served as soon as they are declared.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use fleet_api::{Mirror, Upstream};
use fleet_npm::NpmRegistry;
use fleet_origin::Registry;
use fleet_plan::alone::Alone;
use fleet_serve::Registries;
use fleet_store::Space;
use fleet_telemetry::{ObjectKey, PackageRegistryMetrics};
use fleet_types::documents::ServedStatus;
use fleet_types::lock;
use jiff::Timestamp;

use super::freshness::Told;
use super::lane::Shared;
use crate::failure::Failure;
use crate::manifests::Manifests;
use crate::resolve::{References, Resolver, namespace};

/// Keeps what is served by what is declared.
pub struct Keeper {
    pub registries: Registries,
    pub metrics: Arc<PackageRegistryMetrics>,
    pub shared: Arc<Shared>,
    /// What is served now, by Mirror.
    pub served: BTreeMap<String, Arc<NpmRegistry>>,
}

impl Keeper {
    /// Serves what these manifests declare, and nothing else. One that cannot be served is told, and keeps no other from it.
    pub fn declare(&mut self, manifests: &Manifests) {
        let resolver = Resolver {
            manifests,
            references: References::Manifests,
            data: &self.shared.data,
        };
        let declared = manifests
            .mirrors
            .values()
            .filter(|mirror| mirror.spec.fills_itself());
        let (mut served, mut told) = (BTreeMap::new(), Vec::new());
        for mirror in declared {
            let name = mirror.metadata.name.clone().unwrap_or_default();
            let key = ObjectKey::new(namespace(mirror), &name);
            let opened = self.open(&resolver, mirror);
            match &opened {
                Ok((_, registry)) => drop(served.insert(name, registry.clone())),
                Err(failure) => tracing::error!(
                    mirror = name,
                    reason = failure.reason.as_str(),
                    "{failure}; correct it and send SIGHUP"
                ),
            }
            told.push((key, mirror, opened));
        }
        self.shared.registries.declare(told, Timestamp::now());
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

    fn open<'a>(&self, resolver: &'a Resolver<'_>, mirror: &'a Mirror) -> Opened<'a> {
        let upstream = resolver.upstream_of(mirror)?;
        let options = resolver.registry(mirror, &self.metrics)?;
        // Nobody is kept waiting by the change: what is on its way goes on, and the new one shares what the former one has.
        let name = mirror.metadata.name.as_deref().unwrap_or_default();
        let before = self.served.get(name).map(|before| &**before);
        let registry = NpmRegistry::open(options, before)
            .map_err(|problem| Failure::new(problem.reason, problem.message))?;
        Ok((upstream, Arc::new(registry)))
    }
}

/// What is declared of registries, for people.
#[derive(Default)]
pub struct Declared(Mutex<BTreeMap<ObjectKey, Result<Served, String>>>);

struct Served {
    copy: Alone,
    registry: Arc<NpmRegistry>,
}

type Opened<'a> = Result<(&'a Upstream, Arc<NpmRegistry>), Failure>;

impl Declared {
    fn declare(&self, all: Vec<(ObjectKey, &Mirror, Opened<'_>)>, now: Timestamp) {
        let mut known = lock(&self.0);
        let mut before = std::mem::take(&mut *known);
        for (key, mirror, opened) in all {
            let served = opened.map(|(upstream, registry)| {
                // What was said of it stays said.
                let copy = match before.remove(&key) {
                    Some(Ok(Served { mut copy, .. })) => {
                        copy.declare(mirror, upstream);
                        copy
                    }
                    _ => Alone::new(mirror, upstream, None, now),
                };
                Served { copy, registry }
            });
            known.insert(key, served.map_err(|failure| failure.to_string()));
        }
    }

    /// How each is at this moment. Registries have no runs, at whose ends that would be noted. Blocks on the disk.
    pub fn told(&self, data: &Path, now: Timestamp) -> Vec<(ObjectKey, Told)> {
        let mut declared = lock(&self.0);
        let of_one = |(key, known): (&ObjectKey, &mut Result<Served, String>)| {
            let told = match known {
                Err(problem) => Told::Refused(problem.clone()),
                Ok(Served { copy, registry }) => {
                    copy.judge(Some(served(registry.as_ref(), data)), None, now);
                    let (mirror, upstream) = copy.objects();
                    Told::Copy {
                        mirror: Box::new(mirror.clone()),
                        upstream: Box::new(upstream.clone()),
                        next_run: None,
                    }
                }
            };
            (key.clone(), told)
        };
        declared.iter_mut().map(of_one).collect()
    }
}

/// What a serving pod would say of it.
fn served(registry: &NpmRegistry, data: &Path) -> ServedStatus {
    ServedStatus {
        registry: Some(registry.state()),
        not_kept: registry.not_kept(),
        storage: Space::of(data).ok().map(|space| space.in_use()),
        ..ServedStatus::default()
    }
}
