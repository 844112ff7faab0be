//! From a Mirror of `mode: PullThrough` and its Upstream to a registry that fills itself.

use std::time::Duration;

use fleet_api::Mirror;
use fleet_api::mirror::{Block, NpmContent};
use fleet_api::upstream::UpstreamType;
use fleet_fetch::{FetchOptions, RetryPolicy};
use fleet_formats::npm::{Deny, Guard, Integrity, Mutation, Patterns, Waiver};
use fleet_npm::Options;
use fleet_telemetry::PackageRegistryMetrics;
use fleet_types::Reason;
use jiff::Timestamp;
use url::Url;

use super::{Resolver, USER_AGENT, politeness};
use crate::failure::Failure;

/// A client waits behind every question: it is given up earlier than in a run.
const LONGEST_STALL: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(10);

impl Resolver<'_> {
    /// The registry that a Mirror declares. Errors carry the reason that a condition would have.
    pub fn registry(
        &self,
        mirror: &Mirror,
        metrics: &PackageRegistryMetrics,
    ) -> Result<Options, Failure> {
        let upstream = self.checked(mirror)?;
        let name = mirror.metadata.name.as_deref().unwrap_or_default();
        let Some(Block::Npm(content)) = mirror.spec.content.block() else {
            return Err(Failure::invalid(format!(
                "Mirror {name}: spec.content has no block npm"
            )));
        };
        if upstream.spec.upstream_type != UpstreamType::Npm {
            return Err(Failure::new(
                Reason::ContentTypeMismatch,
                format!("Mirror {name}: spec.content.npm needs an Upstream of type Npm"),
            ));
        }
        let spec = &upstream.spec;
        let politeness = politeness(upstream);
        let aliases = mirror.spec.serving.aliases.iter().cloned();
        let folder = self.data.join(name);
        let settings = mirror.spec.pull_through.clone().unwrap_or_default();
        Ok(Options {
            mirror: name.to_owned(),
            paths: std::iter::once(mirror.serving_path().to_owned())
                .chain(aliases)
                .collect(),
            public: mirror
                .spec
                .regions
                .iter()
                .filter_map(|region| Url::parse(region.public_url.as_deref()?).ok())
                .collect(),
            fetch: FetchOptions {
                authority: spec.authority.url.clone(),
                endpoints: Vec::new(),
                access: self.access(mirror, upstream)?,
                max_connections: politeness.max_connections,
                user_agent: USER_AGENT.to_owned(),
                contact: politeness.contact,
                stall: mirror.spec.sync.stall_timeout.0.min(LONGEST_STALL),
                connect: CONNECT,
                follows_redirects: true,
                // Who asked may ask again.
                retry: RetryPolicy {
                    limit: 0,
                    longest_wait: Duration::ZERO,
                },
                scratch: folder.join("staging"),
            },
            cache_bytes: mirror
                .spec
                .storage
                .cache
                .as_ref()
                .map(|cache| cache.max_bytes.bytes()),
            folder,
            bandwidth: politeness.bandwidth,
            guard: guard(mirror, content)?,
            is_offline: settings.offline,
            negative_age: settings.negative_age.0,
            traffic: metrics.mirror(name),
        })
    }
}

fn guard(mirror: &Mirror, content: &NpmContent) -> Result<Guard, Failure> {
    let declared = mirror.spec.guard.clone().unwrap_or_default();
    let patterns = |patterns: &[String]| {
        Patterns::new(patterns.iter().map(String::as_str)).map_err(Failure::invalid)
    };
    let deny = content.deny.iter().map(|deny| {
        Ok(Deny {
            packages: patterns(std::slice::from_ref(&deny.package))?,
            version: deny.version.clone(),
            reason: deny.reason.clone(),
        })
    });
    let waivers = declared.waivers.iter().map(|waiver| {
        let until = waiver
            .until
            .parse::<Timestamp>()
            .map_err(|error| Failure::invalid(format!("spec.guard.waivers: {error}")))?;
        Ok(Waiver {
            package: waiver.package.clone(),
            version: waiver.version.clone(),
            until: until.as_second(),
        })
    });
    let mutations = declared.allow_mutations.iter().map(|mutation| {
        let integrity = Integrity::parse(&mutation.integrity).ok_or_else(|| {
            Failure::invalid(format!(
                "spec.guard.allowMutations: {:?} is no digest of a tarball",
                mutation.integrity
            ))
        })?;
        Ok(Mutation {
            package: mutation.package.clone(),
            version: mutation.version.clone(),
            integrity,
        })
    });
    Ok(Guard {
        reserved: patterns(&declared.reserved)?,
        allow: match content.allow.is_empty() {
            true => None,
            false => Some(patterns(&content.allow)?),
        },
        deny: deny.collect::<Result<_, Failure>>()?,
        waivers: waivers.collect::<Result<_, Failure>>()?,
        mutations: mutations.collect::<Result<_, Failure>>()?,
        minimum_age: i64::try_from(declared.minimum_release_age.as_secs()).unwrap_or(i64::MAX),
        trust_upstream_time: declared.trust_upstream_time,
        dry_run: declared.dry_run,
    })
}
