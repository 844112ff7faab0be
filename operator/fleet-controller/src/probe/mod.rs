//! Asks an upstream's authority which revision it has: the smallest request that tells, as seldom as the manifest says.
//!
//! A probe believes nothing: no signature is judged here, and what an answer says counts for freshness only. The
//! answer's body goes no further than this module: only digests, dates and fixed words leave it, so that an Upstream
//! cannot be used to read what the controller's network reaches.

mod address;
mod authorities;
mod declared;
mod fetch;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use fleet_api::Upstream;
use fleet_formats::seam::{
    Allowances, Format, RootContent, RootFile, SignaturePolicy, Trust, VerifyContext,
};
use fleet_types::{Reason, RepoPath, UnitRevision};
use jiff::Timestamp;
use url::Url;

pub use authorities::{Authorities, Authority};
pub use declared::{Declared, declared};
pub use fetch::{Access, HttpFetcher};
use fetch::{Fetched, Fetcher, Validators};

/// Why the authority's state is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ProbeError {
    pub reason: Reason,
    pub message: String,
}

impl ProbeError {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        ProbeError {
            reason,
            message: message.into(),
        }
    }
}

/// What one probe found out, by unit.
pub type Findings = BTreeMap<String, Result<UnitRevision, ProbeError>>;

/// Remembers what each authority said last, so that an unchanged one answers with a header only.
#[derive(Default)]
pub struct Memory(Mutex<BTreeMap<String, (Validators, UnitRevision)>>);

impl Memory {
    fn get(&self, url: &Url) -> Option<(Validators, UnitRevision)> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(url.as_str())
            .cloned()
    }

    fn put(&self, url: &Url, validators: Validators, revision: UnitRevision) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(url.as_str().to_owned(), (validators, revision));
    }
}

/// Probes every declared unit of an upstream, one request after another.
pub async fn probe(
    upstream: &Upstream,
    declared: &Declared,
    fetcher: &impl Fetcher,
    memory: &Memory,
    now: Timestamp,
) -> Findings {
    let mut findings = Findings::new();
    for (unit, formats) in declared {
        let asked = Asked {
            authority: &upstream.spec.authority.url,
            unit,
            formats,
            fetcher,
            memory,
            now,
        };
        let found = asked.revision().await;
        if let Err(error) = &found {
            tracing::debug!(unit, reason = %error.reason, %error, "the authority's state is not known");
        }
        findings.insert(unit.clone(), found);
    }
    findings
}

/// One unit of an authority.
struct Asked<'a, F> {
    authority: &'a Url,
    unit: &'a str,
    formats: &'a [Box<dyn Format>],
    fetcher: &'a F,
    memory: &'a Memory,
    now: Timestamp,
}

impl<F: Fetcher> Asked<'_, F> {
    async fn revision(&self) -> Result<UnitRevision, ProbeError> {
        for file in self.probes()? {
            let url = file_url(self.authority, &file.path)?;
            let known = self.memory.get(&url);
            let validators = known.as_ref().map(|(validators, _)| validators);
            match (
                self.fetcher.fetch(&url, file.max_bytes, validators).await?,
                known,
            ) {
                (Fetched::Absent, _) => {}
                (Fetched::Unchanged, Some((_, revision))) => return Ok(revision),
                (Fetched::Unchanged, None) => return Err(unasked_for(&url)),
                (Fetched::Content(bytes, validators), _) => {
                    let revision = self.read(RootContent {
                        path: file.path,
                        bytes,
                    })?;
                    self.memory.put(&url, validators, revision.clone());
                    return Ok(revision);
                }
            }
        }
        Err(ProbeError::new(
            Reason::UpstreamIncomplete,
            format!(
                "{}: the authority has no index of {}; check the URL and the name",
                self.authority, self.unit
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
        let trust = Trust {
            keyring: None,
            signatures: SignaturePolicy::None,
            min_good_signatures: 0,
            all_signatures_good: false,
            max_index_age: None,
        };
        let context = VerifyContext {
            now: self.now.as_second(),
            trust: &trust,
            accepted: None,
            // What the authority has is asked, not whether it still vouches for it.
            allowances: &Allowances {
                expired: true,
                ..Allowances::default()
            },
            settled: true,
        };
        let roots = [root];
        let mut refused = Reason::IndexMalformed;
        for format in self.formats {
            match format.verify(self.unit, &roots, &context) {
                Ok(verified) => return Ok(verified.into_inner().revision),
                Err(rejected) => refused = rejected.reason,
            }
        }
        Err(ProbeError::new(
            refused,
            format!(
                "{}: {} at the authority: {}",
                self.authority,
                self.unit,
                refused.description()
            ),
        ))
    }
}

fn unasked_for(url: &Url) -> ProbeError {
    ProbeError::new(
        Reason::UpstreamUnreachable,
        format!("{url}: the authority answered 304 to an unconditional request"),
    )
}

/// The URL of a file of the repository at `root`.
fn file_url(root: &Url, path: &RepoPath) -> Result<Url, ProbeError> {
    let mut url = root.clone();
    url.path_segments_mut()
        .map_err(|()| {
            ProbeError::new(
                Reason::InvalidSpec,
                format!("{root} cannot hold files; authority.url must be http or https"),
            )
        })?
        .pop_if_empty()
        .extend(path.as_str().split('/'));
    Ok(url)
}

#[cfg(test)]
mod tests;
