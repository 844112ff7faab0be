//! From a Mirror, its Upstream and what they refer to, to the options of a run.
//!
//! The one place where manifests meet the sync engine.

mod access;
mod content;
mod fill;
mod npm;
mod trust;
mod verification;

use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet_api::mirror;
use fleet_api::upstream::RefKind;
use fleet_api::{Mirror, Upstream};
use fleet_formats::seam::Trust;
use fleet_plan::client_files::list_forms;
use fleet_store::{Clients, Retention, Transactions};
use fleet_sync::{
    Access, Endpoint, Follow, Payload, Politeness, Publishing, SyncOptions, Timeouts,
};
use fleet_types::{Accepted, Reason, Sha256};
use url::Url;

pub use self::content::format_of_snapshot;
pub use self::fill::Filling;
use crate::failure::Failure;
use crate::manifests::{Manifests, check};

/// The product that upstreams see.
pub const USER_AGENT: &str = concat!("mirrorfleet/", env!("CARGO_PKG_VERSION"));
/// Requests are repeated this often within a run; `sync.retries` speaks of whole runs.
const REQUEST_RETRIES: u32 = 4;
const REQUEST_BACKOFF: Duration = Duration::from_secs(1);

const CONNECT: Duration = Duration::from_secs(30);

/// A pod answers or is gone; another source may be there at once.
const FOLLOW_CONNECT: Duration = Duration::from_secs(2);
/// A source that was away is left alone for up to so long, while others are asked.
const FOLLOW_BACKOFF: Duration = Duration::from_secs(10);
/// The one who is copied from is one of ours, and has room for this and as many from each of the others.
const FOLLOW_CONNECTIONS: usize = 16;

/// An audit is one client of many.
const AUDIT_CONNECTIONS: usize = 4;
const AUDIT_CONNECT: Duration = Duration::from_secs(10);
/// What only a second try brings is there: apt tries three times too.
const AUDIT_RETRIES: u32 = 2;

/// By what a run gets at content and believes it.
struct Means {
    trust: (Trust, Sha256),
    access: Access,
    politeness: Politeness,
    endpoints: Vec<Endpoint>,
    connect: Duration,
    backoff: Duration,
}

/// Where the values of Secrets and ConfigMaps come from.
#[derive(Debug, Clone)]
pub enum References {
    /// The `-f` documents themselves.
    Manifests,
    /// `DIR/{Secret,ConfigMap}/<name>/<key>`, as a pod mounts them. Implies a cluster: `file` URLs are refused, since
    /// a manifest could read what else is mounted there.
    Directory(PathBuf),
}

/// Turns manifests into options.
pub struct Resolver<'a> {
    pub manifests: &'a Manifests,
    pub references: References,
    /// Holds one store per Mirror.
    pub data: &'a Path,
}

impl Resolver<'_> {
    /// The options of one run. Errors carry the reason that a condition would have.
    pub fn options(
        &self,
        mirror: &Mirror,
        high_water: Vec<Accepted>,
    ) -> Result<SyncOptions, Failure> {
        let upstream = self.checked(mirror)?;
        let means = Means {
            trust: self.trust(mirror, upstream)?,
            access: self.access(mirror, upstream)?,
            politeness: self.politeness_of_runs(mirror, upstream)?,
            endpoints: endpoints(upstream),
            connect: CONNECT,
            backoff: REQUEST_BACKOFF,
        };
        self.declared(mirror, upstream, means, high_water)
    }

    /// Those of a run that copies what another mirror of ours made, from one of these. No Secret and no ConfigMap is looked
    /// at: signatures are judged, and logins given, by whoever asks the upstream.
    pub fn following(
        &self,
        mirror: &Mirror,
        high_water: Vec<Accepted>,
        (follow, sources): (Follow, &[Url]),
    ) -> Result<SyncOptions, Failure> {
        let endpoint = |(number, url): (usize, &Url)| Endpoint {
            name: format!("source-{}", number + 1),
            url: url.clone(),
            priority: i32::try_from(number).unwrap_or(i32::MAX),
        };
        let means = Means {
            // No root of an upstream is read.
            trust: (Trust::nothing_is_judged(), Sha256([0; 32])),
            access: Access::default(),
            politeness: Politeness {
                max_connections: FOLLOW_CONNECTIONS,
                bandwidth: None,
                contact: None,
            },
            endpoints: sources.iter().enumerate().map(endpoint).collect(),
            connect: FOLLOW_CONNECT,
            backoff: FOLLOW_BACKOFF,
        };
        let upstream = self.checked(mirror)?;
        let options = self.declared(mirror, upstream, means, high_water)?;
        Ok(SyncOptions {
            follow: Some(follow),
            ..options
        })
    }

    /// Those of an audit of what is served at `url`. It asks as clients do: no login is given, and no Secret with one is
    /// looked at.
    pub fn auditing(
        &self,
        mirror: &Mirror,
        url: Url,
        ca_bundle_pem: Option<Vec<u8>>,
        total: Duration,
    ) -> Result<SyncOptions, Failure> {
        let upstream = self.checked(mirror)?;
        let means = Means {
            trust: self.trust(mirror, upstream)?,
            access: Access {
                ca_bundle_pem,
                ..Access::default()
            },
            politeness: Politeness {
                max_connections: AUDIT_CONNECTIONS,
                bandwidth: None,
                contact: None,
            },
            endpoints: Vec::new(),
            connect: AUDIT_CONNECT,
            backoff: REQUEST_BACKOFF,
        };
        let options = self.declared(mirror, upstream, means, Vec::new())?;
        Ok(SyncOptions {
            authority: url,
            // What a mirror fetches on demand it fetches for an audit too.
            payload: Payload::Copied,
            timeouts: Timeouts {
                total,
                retry_limit: AUDIT_RETRIES,
                ..options.timeouts
            },
            ..options
        })
    }

    fn declared(
        &self,
        mirror: &Mirror,
        upstream: &Upstream,
        means: Means,
        high_water: Vec<Accepted>,
    ) -> Result<SyncOptions, Failure> {
        let name = mirror.metadata.name.clone().unwrap_or_default();
        let (trust, trust_digest) = means.trust;
        let content = content::declared(&mirror.spec.content)?;
        let spec = &upstream.spec;
        Ok(SyncOptions {
            store_dir: self.data.join(&name),
            mirror: name,
            upstream_type: spec.upstream_type.as_str().to_owned(),
            serving_path: mirror.serving_path().to_owned(),
            directory_listing: mirror.spec.serving.directory_listing,
            clients: clients(mirror, upstream),
            authority: spec.authority.url.clone(),
            endpoints: means.endpoints,
            access: means.access,
            politeness: means.politeness,
            format: content::make_format(&content)
                .map_err(|rejected| Failure::new(rejected.reason, rejected.message))?,
            make_format: content::make_format,
            content,
            payload: match mirror.spec.mode {
                mirror::Mode::Full => Payload::Copied,
                mirror::Mode::PullThrough => Payload::OnDemand,
            },
            trust,
            trust_digest,
            exclude: mirror.spec.content.exclude.clone(),
            verification: verification::options(&mirror.spec.verification)?,
            retention: Retention {
                keep: usize::try_from(mirror.spec.snapshots.keep).unwrap_or(usize::MAX),
                min_age: mirror.spec.snapshots.min_age.0,
            },
            publishing: Publishing::ByRun {
                pinned: Some(mirror.spec.snapshots.pinned.clone()).filter(|id| !id.is_empty()),
                skip: mirror.spec.snapshots.skip.clone(),
            },
            follow: None,
            timeouts: Timeouts {
                total: mirror.spec.sync.timeout.0,
                stall: mirror.spec.sync.stall_timeout.0,
                retry_limit: REQUEST_RETRIES,
                retry_backoff: means.backoff,
                connect: means.connect,
            },
            high_water,
            damaged: Vec::new(),
            user_agent: USER_AGENT.to_owned(),
        })
    }

    /// The Upstream of a Mirror, and that both are as they should be.
    fn checked(&self, mirror: &Mirror) -> Result<&Upstream, Failure> {
        let upstream = self.upstream_of(mirror)?;
        let name = mirror.metadata.name.as_deref().unwrap_or_default();
        all_well(&format!("Mirror {name}"), check::mirror(name, &mirror.spec))?;
        self.check_paths(mirror)?;
        Ok(upstream)
    }

    /// The Upstream of a Mirror, checked.
    pub fn upstream_of(&self, mirror: &Mirror) -> Result<&Upstream, Failure> {
        let (name, reference) = (
            mirror.metadata.name.as_deref().unwrap_or_default(),
            &mirror.spec.upstream_ref.name,
        );
        let upstream = self.manifests.upstream(namespace(mirror), reference).ok_or_else(|| {
            Failure::new(
                Reason::UpstreamNotFound,
                format!("Mirror {name}: spec.upstreamRef names Upstream {reference:?}, which is not among the manifests; add it or correct the name"),
            )
        })?;
        all_well(
            &format!("Upstream {reference}"),
            check::upstream(reference, &upstream.spec),
        )?;
        self.refuse_files_in_a_cluster(upstream)?;
        Ok(upstream)
    }

    fn refuse_files_in_a_cluster(&self, upstream: &Upstream) -> Result<(), Failure> {
        let mut urls = std::iter::once(&upstream.spec.authority.url)
            .chain(upstream.spec.endpoints.iter().map(|endpoint| &endpoint.url));
        match (&self.references, urls.find(|url| url.scheme() == "file")) {
            (References::Directory(_), Some(url)) => Err(Failure::invalid(format!(
                "Upstream {}: {url} is a file URL; in a cluster only http, https and (for endpoints) rsync are possible",
                upstream.metadata.name.as_deref().unwrap_or_default()
            ))),
            _ => Ok(()),
        }
    }

    /// Two Mirrors cannot be served under one path, or one below the other, nor kept in one folder.
    fn check_paths(&self, mirror: &Mirror) -> Result<(), Failure> {
        let name = mirror.metadata.name.as_deref().unwrap_or_default();
        let within = |inner: &str, outer: &str| {
            inner == outer
                || inner
                    .strip_prefix(outer)
                    .is_some_and(|rest| rest.starts_with('/'))
        };
        for other in self.manifests.mirrors.values() {
            if other.metadata.name == mirror.metadata.name
                && other.metadata.namespace == mirror.metadata.namespace
            {
                continue;
            }
            let other_name = other.metadata.name.as_deref().unwrap_or_default();
            let pairs = serving_paths(mirror)
                .flat_map(|path| serving_paths(other).map(move |other_path| (path, other_path)));
            let meeting = pairs
                .into_iter()
                .find(|(path, other_path)| within(path, other_path) || within(other_path, path));
            let clash = match meeting {
                _ if name == other_name => format!(
                    "another Mirror, in another namespace, has the name {name} and so the same store"
                ),
                Some((path, other_path)) => format!(
                    "it is served under /{path}/, and Mirror {other_name} under /{other_path}/"
                ),
                None => continue,
            };
            return Err(Failure::new(
                Reason::PathTaken,
                format!("Mirror {name}: {clash}; change spec.serving.path or the name of one"),
            ));
        }
        Ok(())
    }

    /// Errors say what is missing and what to do.
    fn value(
        &self,
        kind: RefKind,
        mirror: &Mirror,
        name: &str,
        key: &str,
    ) -> Result<Vec<u8>, String> {
        let kind_name = kind.as_str();
        match &self.references {
            References::Manifests => {
                let values = self.manifests.values(kind, namespace(mirror), name);
                let values = values.ok_or_else(|| format!("{kind_name} {name:?} is not among the manifests; add it or correct the name"))?;
                values.get(key).cloned().ok_or_else(|| {
                    let keys: Vec<_> = values.keys().map(String::as_str).collect();
                    let keys = keys.join(", ");
                    format!("{kind_name} {name:?} has no key {key:?}; name one that it has ({keys}), or add it")
                })
            }
            References::Directory(directory) => {
                // Both are names that Kubernetes allows, by the rules of the definitions: no way out of the folder.
                let path = directory.join(kind_name).join(name).join(key);
                std::fs::read(path).map_err(|error| {
                    format!("{kind_name} {name:?} with key {key:?} is not mounted ({error}); create it in the Mirror's namespace or correct the name")
                })
            }
        }
    }
}

/// The namespace that a manifest gives; empty where it leaves that to `kubectl -n`.
pub fn namespace(mirror: &Mirror) -> &str {
    mirror.metadata.namespace.as_deref().unwrap_or_default()
}

/// Every path under which a Mirror is served.
fn serving_paths(mirror: &Mirror) -> impl Iterator<Item = &str> {
    let aliases = mirror.spec.serving.aliases.iter().map(String::as_str);
    std::iter::once(mirror.serving_path()).chain(aliases)
}

/// What clients are told besides the files.
fn clients(mirror: &Mirror, upstream: &Upstream) -> Clients {
    let serving = &mirror.spec.serving;
    Clients {
        // Who runs for a region says so.
        trace_name: mirror.spec.trace_name(None),
        contact: upstream.spec.politeness.contact.clone(),
        transactions: match serving.transactions {
            mirror::Transactions::WithoutByHash => Transactions::WithoutByHash,
            mirror::Transactions::Always => Transactions::Always,
            mirror::Transactions::Never => Transactions::Never,
        },
        lists: list_forms(&mirror.spec.content),
    }
}

fn endpoints(upstream: &Upstream) -> Vec<Endpoint> {
    let endpoints = upstream.spec.endpoints.iter();
    endpoints
        .map(|endpoint| Endpoint {
            name: endpoint.name.clone(),
            url: endpoint.url.clone(),
            priority: endpoint.priority,
        })
        .collect()
}

fn politeness(upstream: &Upstream) -> Politeness {
    let spec = &upstream.spec.politeness;
    Politeness {
        max_connections: usize::try_from(upstream.spec.max_connections()).unwrap_or(usize::MAX),
        bandwidth: spec.bandwidth.as_ref().map(|bandwidth| bandwidth.bytes()),
        contact: spec.contact.clone(),
    }
}

fn all_well(object: &str, problems: Vec<String>) -> Result<(), Failure> {
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Failure::invalid(format!(
            "{object}: {}",
            problems.join("; ")
        ))),
    }
}

#[cfg(test)]
mod tests;
