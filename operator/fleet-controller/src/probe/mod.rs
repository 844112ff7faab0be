//! Asks an upstream's authority and its endpoints which revision they have: the smallest request that tells, as seldom as
//! the manifest says.
//!
//! A probe believes nothing: no signature is judged here, and what an answer says counts for freshness only. The
//! answer's body goes no further than this module: only digests, dates and one fixed sentence leave it, so that an
//! Upstream cannot be used to find out what the controller's network reaches. Why a probe failed stands in the
//! controller's log, and in the report of the next sync, which asks from a network of the tenant's own. A Job that asks does
//! so too, and may tell all of it ([`Audience`]).

mod address;
mod authorities;
mod budget;
mod declared;
mod error;
mod fetch;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleet_api::Upstream;
use fleet_api::upstream::{Signatures, UpstreamType};
use fleet_formats::seam::{Format, RootContent, RootFile};
use fleet_types::{Reason, RepoPath, UnitRevision, lock, shown_url};
use jiff::Timestamp;
use url::Url;

pub(crate) use authorities::{Authorities, Authority};
pub use budget::{Budget, MAX_BYTES};
pub use declared::{Declared, declared};
pub use error::ProbeError;
pub(crate) use fetch::{Access, HttpFetcher};
pub use fetch::{Fetched, Fetcher, Validators};

/// For all units of an Upstream together. Those that it does not suffice for are asked in the next round, after others'
/// Upstreams.
const TIMEOUT: Duration = Duration::from_secs(60);

/// For all units at an endpoint: that one of many does not answer must not hold up the others.
const ENDPOINT_TIMEOUT: Duration = Duration::from_secs(15);
/// So many endpoints of an Upstream are asked at once.
pub const ENDPOINTS_AT_ONCE: usize = 4;

/// What one probe found out, by unit.
pub type Findings = BTreeMap<String, Result<UnitRevision, ProbeError>>;

/// Remembers what each authority said last, so that an unchanged one answers with a header only.
#[derive(Default)]
pub struct Memory(Mutex<BTreeMap<String, (Validators, UnitRevision)>>);

impl Memory {
    fn get(&self, url: &Url) -> Option<(Validators, UnitRevision)> {
        lock(&self.0).get(url.as_str()).cloned()
    }

    fn put(&self, url: &Url, validators: Validators, revision: UnitRevision) {
        let mut known = lock(&self.0);
        known.insert(url.as_str().to_owned(), (validators, revision));
    }
}

/// Who may read why something is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Whoever reads an Upstream's status, of what the controller's network answered.
    Everybody,
    /// The same of what the tenant's own network answered.
    Tenant,
}

/// What is asked for, whom it is asked of.
pub struct Inquiry<'a, F> {
    pub upstream: &'a Upstream,
    pub declared: &'a Declared,
    pub fetcher: &'a F,
    pub memory: &'a Memory,
    pub budget: &'a Budget,
    pub audience: Audience,
    pub now: Timestamp,
}

impl<F: Fetcher> Inquiry<'_, F> {
    /// Asks the authority for the declared units, one request after another, for as long as a probe may take.
    pub async fn of_authority(&self) -> Findings {
        self.at(&self.upstream.spec.authority.url, TIMEOUT).await
    }

    /// The same at an endpoint. What it had no time to tell counts as what it did not tell.
    pub async fn of_endpoint(&self, endpoint: &Url) -> Findings {
        self.of_endpoint_within(endpoint, ENDPOINT_TIMEOUT).await
    }

    async fn of_endpoint_within(&self, endpoint: &Url, timeout: Duration) -> Findings {
        let mut findings = self.at(endpoint, timeout).await;
        for unit in self.declared.keys() {
            let late = || Err(self.told(too_late(timeout)));
            findings.entry(unit.clone()).or_insert_with(late);
        }
        findings
    }

    async fn at(&self, place: &Url, timeout: Duration) -> Findings {
        let until = tokio::time::Instant::now() + timeout;
        let mut findings = Findings::new();
        for (unit, formats) in self.declared {
            let asked = Asked {
                place,
                unit,
                formats,
                inquiry: self,
            };
            let found = tokio::time::timeout_at(until, asked.revision()).await;
            let is_late = found.is_err();
            let found = found.unwrap_or_else(|_| Err(too_late(timeout)));
            if let Err(error) = &found {
                tracing::info!(
                    namespace = self.upstream.metadata.namespace,
                    upstream = self.upstream.metadata.name,
                    unit,
                    reason = %error.reason,
                    %error,
                    "what the upstream has is not known"
                );
            }
            findings.insert(unit.clone(), found.map_err(|error| self.told(error)));
            if is_late {
                break;
            }
        }
        findings
    }

    fn told(&self, error: ProbeError) -> ProbeError {
        match self.audience {
            Audience::Everybody => error.told(),
            Audience::Tenant => error,
        }
    }

    /// Whether what somebody signs there has a date.
    fn is_dated(&self) -> bool {
        self.upstream.spec.upstream_type == UpstreamType::Debian
            && self.upstream.spec.trust.signatures != Signatures::None
    }
}

fn too_late(timeout: Duration) -> ProbeError {
    ProbeError::new(
        Reason::UpstreamUnreachable,
        format!("a probe may take {} s", timeout.as_secs()),
    )
}

/// One unit of an authority or of an endpoint.
struct Asked<'a, F> {
    place: &'a Url,
    unit: &'a str,
    formats: &'a [Arc<dyn Format>],
    inquiry: &'a Inquiry<'a, F>,
}

impl<F: Fetcher> Asked<'_, F> {
    async fn revision(&self) -> Result<UnitRevision, ProbeError> {
        let Inquiry {
            fetcher,
            memory,
            budget,
            ..
        } = self.inquiry;
        for file in self.probes()? {
            let url = file_url(self.place, &file.path)?;
            let known = memory.get(&url);
            let validators = known.as_ref().map(|(validators, _)| validators);
            match (
                fetcher.fetch(&url, file.max_bytes, validators).await?,
                known,
            ) {
                (Fetched::Absent, _) => {}
                (Fetched::Unchanged, Some((_, revision))) => return Ok(revision),
                (Fetched::Unchanged, None) => return Err(unasked_for(&url)),
                (Fetched::Content(bytes, validators, share), _) => {
                    let turn = budget.parse().await;
                    let revision = self.read(RootContent::new(file.path, bytes));
                    drop((turn, share));
                    let revision = revision?;
                    memory.put(&url, validators, revision.clone());
                    return Ok(revision);
                }
            }
        }
        Err(ProbeError::new(
            Reason::UpstreamIncomplete,
            format!(
                "{}: there is no index of {}; check the URL and the name",
                shown_url(self.place.as_str()),
                self.unit
            ),
        ))
    }

    fn probes(&self) -> Result<Vec<RootFile>, ProbeError> {
        let format = self
            .formats
            .first()
            .ok_or_else(|| ProbeError::new(Reason::InvalidSpec, "nothing is declared"))?;
        format
            .roots(self.unit)
            .map(|plan| plan.probes)
            .map_err(|rejected| ProbeError::new(rejected.reason, rejected.message))
    }

    /// The state that a root describes. Only the reason of a refusal is passed on: the message may quote the body.
    fn read(&self, root: RootContent) -> Result<UnitRevision, ProbeError> {
        let roots = [root];
        let mut refused = Reason::IndexMalformed;
        for format in self.formats {
            // Of what nobody signs, the rest of the state may lie in the indices.
            let rest = format.unlisted(self.unit, &roots);
            let told_by_roots = rest.is_ok_and(|rest| rest.is_empty());
            match format.read(self.unit, &roots).map(|index| index.revision) {
                Ok(revision) if revision.is_from_future(self.inquiry.now.as_second()) => {
                    refused = Reason::IndexFromFuture;
                }
                Ok(revision)
                    if told_by_roots && (revision.is_dated() || !self.inquiry.is_dated()) =>
                {
                    return Ok(revision);
                }
                Ok(_) => {}
                Err(rejected) => refused = rejected.reason,
            }
        }
        Err(ProbeError::new(
            refused,
            format!(
                "{}: {}: {}",
                shown_url(self.place.as_str()),
                self.unit,
                refused.description()
            ),
        ))
    }
}

fn unasked_for(url: &Url) -> ProbeError {
    ProbeError::new(
        Reason::UpstreamUnreachable,
        format!(
            "{}: answered 304 to an unconditional request",
            shown_url(url.as_str())
        ),
    )
}

/// The URL of a file of the repository at `root`.
fn file_url(root: &Url, path: &RepoPath) -> Result<Url, ProbeError> {
    let mut url = root.clone();
    url.path_segments_mut()
        .map_err(|()| {
            ProbeError::new(
                Reason::InvalidSpec,
                format!(
                    "{} cannot hold files; authority.url must be http or https",
                    shown_url(root.as_str())
                ),
            )
        })?
        .pop_if_empty()
        .extend(path.as_str().split('/'));
    Ok(url)
}

#[cfg(test)]
mod tests;
