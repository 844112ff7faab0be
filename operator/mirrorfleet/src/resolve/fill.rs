//! What is fetched on demand: its options, and its half of what the upstream may be asked for.

use fleet_api::mirror::{Mode, PullThrough};
use fleet_api::{Mirror, Upstream};
use fleet_fetch::{FetchOptions, RetryPolicy};
use fleet_fill::{FillOptions, Keep, Lines, Vouching};
use fleet_sync::{Politeness, SyncOptions};
use std::sync::Arc;
use std::time::Duration;

use super::{Resolver, namespace, politeness};
use crate::failure::Failure;

/// A client waits: once more after a failure, and not for long.
const RETRY: RetryPolicy = RetryPolicy {
    limit: 1,
    longest_wait: Duration::from_secs(1),
};

/// A Mirror of mode PullThrough, ready to be filled.
#[derive(Clone)]
pub struct Filling {
    pub fetch: FetchOptions,
    pub politeness: Politeness,
    options: SyncOptions,
    keep: Keep,
    settings: PullThrough,
}

impl Filling {
    /// Its part of what so many processes may cost the upstream together.
    pub fn shared_by(mut self, fillers: u32) -> Filling {
        let fillers = fillers.max(1);
        let connections = self.politeness.max_connections / fillers as usize;
        self.politeness.max_connections = connections.max(1);
        self.fetch.max_connections = self.politeness.max_connections;
        let part = |bandwidth: u64| (bandwidth / u64::from(fillers)).max(1);
        self.politeness.bandwidth = self.politeness.bandwidth.map(part);
        self
    }

    /// With the connections to its upstream.
    pub fn over(&self, lines: Arc<Lines>) -> FillOptions {
        FillOptions {
            mirror: self.options.mirror.clone(),
            store_dir: self.options.store_dir.clone(),
            lines,
            vouching: Vouching {
                format: self.options.format.clone(),
                trust: self.options.trust.clone(),
            },
            keep: self.keep.clone(),
            is_offline: self.settings.offline,
            negative_age: self.settings.negative_age.0,
            abandoned_after: fleet_origin::ABANDONED_AFTER,
        }
    }
}

/// What an Upstream may be asked for is halved where runs and clients ask it at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    Runs,
    Clients,
}

impl Half {
    /// Connections are halved, the odd one is for runs.
    pub fn of(self, all: Politeness) -> Politeness {
        let for_clients = all.max_connections / 2;
        Politeness {
            max_connections: match self {
                Half::Runs => all.max_connections - for_clients,
                Half::Clients => for_clients,
            },
            bandwidth: all.bandwidth.map(|bandwidth| (bandwidth / 2).max(1)),
            contact: all.contact,
        }
    }
}

impl Resolver<'_> {
    /// How a Mirror's store is filled on demand; none where it is copied as a whole. `options` are those of its runs.
    pub fn filling(
        &self,
        mirror: &Mirror,
        options: &SyncOptions,
    ) -> Result<Option<Filling>, Failure> {
        if mirror.spec.mode == Mode::Full {
            return Ok(None);
        }
        let upstream = self.upstream_of(mirror)?;
        let politeness = Half::Clients.of(politeness(upstream));
        let cache = mirror.spec.storage.cache.as_ref();
        Ok(Some(Filling {
            fetch: FetchOptions {
                authority: options.authority.clone(),
                endpoints: options.endpoints.clone(),
                access: options.access.clone(),
                max_connections: politeness.max_connections,
                user_agent: options.user_agent.clone(),
                contact: politeness.contact.clone(),
                stall: options.timeouts.stall,
                connect: options.timeouts.connect,
                follows_redirects: true,
                retry: RETRY,
                scratch: options.store_dir.join("filling"),
            },
            politeness,
            keep: Keep {
                cache_bytes: cache.map(|cache| cache.max_bytes.bytes()),
                pinned: Some(mirror.spec.snapshots.pinned.clone()).filter(|id| !id.is_empty()),
            },
            settings: mirror.spec.pull_through.clone().unwrap_or_default(),
            options: options.clone(),
        }))
    }

    /// What runs may cost the Upstream: half of it where some Mirror of it is filled on demand.
    pub(super) fn politeness_of_runs(
        &self,
        mirror: &Mirror,
        upstream: &Upstream,
    ) -> Result<Politeness, Failure> {
        let all = politeness(upstream);
        let is_shared = |other: &&Mirror| {
            other.spec.mode == Mode::PullThrough
                && namespace(other) == namespace(mirror)
                && other.spec.upstream_ref == mirror.spec.upstream_ref
        };
        let Some(shared) = self.manifests.mirrors.values().find(is_shared) else {
            return Ok(all);
        };
        if all.max_connections < 2 {
            return Err(Failure::invalid(format!(
                "Upstream {}: politeness.maxConnections must be at least 2, since Mirror {} has mode PullThrough: runs and clients ask the upstream at the same time",
                mirror.spec.upstream_ref.name,
                shared.metadata.name.as_deref().unwrap_or_default()
            )));
        }
        Ok(Half::Runs.of(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_halves_together_are_the_whole() {
        for connections in 2..=9 {
            let all = Politeness {
                max_connections: connections,
                bandwidth: Some(1_000_001),
                contact: None,
            };
            let (runs, clients) = (Half::Runs.of(all.clone()), Half::Clients.of(all));
            assert_eq!(runs.max_connections + clients.max_connections, connections);
            assert!(clients.max_connections >= 1 && runs.max_connections >= 1);
            assert_eq!(
                (runs.bandwidth, clients.bandwidth),
                (Some(500_000), Some(500_000))
            );
        }
    }
}
