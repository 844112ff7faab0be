//! What `-f` holds: Upstreams, Mirrors and the Secrets and ConfigMaps that they refer to.
//!
//! Loading refuses what an API server would refuse at the door (syntax, unknown kinds and fields, one object twice).
//! Whether a Mirror makes sense is asked per Mirror, in [`crate::resolve`], so that one wrong Mirror does not keep the
//! others from being synced.

pub mod check;
mod documents;
mod objects;
mod read;

use std::collections::BTreeMap;
use std::path::PathBuf;

use fleet_api::upstream::RefKind;
use fleet_api::{Mirror, Upstream};

pub use objects::{ObjectName, Values};

use crate::failure::Failure;
use documents::Place;
use objects::Metadata;
use read::Object;

/// All objects of the given files.
#[derive(Default)]
pub struct Manifests {
    pub upstreams: BTreeMap<ObjectName, Upstream>,
    pub mirrors: BTreeMap<ObjectName, Mirror>,
    values: BTreeMap<(RefKind, ObjectName), Values>,
}

impl Manifests {
    /// Reads files and folders; at least one Mirror must come of it.
    pub fn load(arguments: &[PathBuf]) -> Result<Manifests, Failure> {
        let mut manifests = Manifests::default();
        let mut seen = BTreeMap::new();
        for document in documents::read_all(arguments)? {
            for object in read::objects(&document)? {
                manifests.add(object, &document.place, &mut seen)?;
            }
        }
        if manifests.mirrors.is_empty() {
            let files: Vec<_> = arguments
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            return Err(Failure::invalid(format!(
                "there is no Mirror in {}; `mirrorfleet init` writes one for this machine's own sources",
                files.join(", ")
            )));
        }
        Ok(manifests)
    }

    /// The Mirror of that name, in whichever namespace.
    pub fn mirror(&self, name: &str) -> Result<&Mirror, Failure> {
        self.mirrors
            .iter()
            .find(|(id, _)| id.name == name)
            .map(|(_, mirror)| mirror)
            .ok_or_else(|| {
                let names: Vec<_> = self.mirrors.keys().map(|id| id.name.as_str()).collect();
                Failure::invalid(format!(
                    "--mirror {name}: no such Mirror in the manifests, which hold {}",
                    names.join(", ")
                ))
            })
    }

    /// The Upstream that a Mirror in `namespace` calls `name`.
    pub fn upstream(&self, namespace: &str, name: &str) -> Option<&Upstream> {
        lookup(namespace, |namespace| {
            self.upstreams.get(&ObjectName {
                namespace,
                name: name.to_owned(),
            })
        })
    }

    /// The values of the Secret or ConfigMap that an object in `namespace` calls `name`.
    pub fn values(&self, kind: RefKind, namespace: &str, name: &str) -> Option<&Values> {
        lookup(namespace, |namespace| {
            self.values.get(&(
                kind,
                ObjectName {
                    namespace,
                    name: name.to_owned(),
                },
            ))
        })
    }

    fn add(
        &mut self,
        object: Object,
        place: &Place,
        seen: &mut BTreeMap<String, String>,
    ) -> Result<(), Failure> {
        match object {
            Object::Upstream(upstream) => {
                let name = identify("Upstream", &upstream.metadata, place, seen)?;
                self.upstreams.insert(name, *upstream);
            }
            Object::Mirror(mirror) => {
                let name = identify("Mirror", &mirror.metadata, place, seen)?;
                self.mirrors.insert(name, *mirror);
            }
            Object::Secret(secret) => {
                let name = identify("Secret", &secret.metadata, place, seen)?;
                let values = secret
                    .values()
                    .map_err(|problem| in_object("Secret", &name, place, &problem))?;
                self.values.insert((RefKind::Secret, name), values);
            }
            Object::ConfigMap(map) => {
                let name = identify("ConfigMap", &map.metadata, place, seen)?;
                let values = map
                    .values()
                    .map_err(|problem| in_object("ConfigMap", &name, place, &problem))?;
                self.values.insert((RefKind::ConfigMap, name), values);
            }
        }
        Ok(())
    }
}

/// Objects refer to each other within a namespace. One that names no namespace is in whichever `kubectl -n` says, so
/// it fits any.
fn lookup<'a, T>(namespace: &str, mut get: impl FnMut(String) -> Option<&'a T>) -> Option<&'a T> {
    get(namespace.to_owned()).or_else(|| get(String::new()))
}

fn identify(
    kind: &str,
    metadata: &Metadata,
    place: &Place,
    seen: &mut BTreeMap<String, String>,
) -> Result<ObjectName, Failure> {
    let name = ObjectName {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
    };
    check::object_name(&name.name)
        .map_err(|problem| in_object(kind, &name, place, &format!("metadata.name {problem}")))?;
    let key = format!("{kind}/{}/{}", name.namespace, name.name);
    match seen.insert(key, place.to_string()) {
        None => Ok(name),
        Some(first) => Err(in_object(
            kind,
            &name,
            place,
            &format!("it is already declared in {first}; keep one of the two"),
        )),
    }
}

fn in_object(kind: &str, name: &ObjectName, place: &Place, problem: &str) -> Failure {
    let name = if name.name.is_empty() {
        "(without a name)"
    } else {
        &name.name
    };
    Failure::invalid(format!("{place}: {kind} {name}: {problem}"))
}

#[cfg(test)]
mod tests;
