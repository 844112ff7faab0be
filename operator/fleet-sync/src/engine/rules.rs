//! What was asked of a run: it stands before the run begins.

use fleet_formats::seam::{Allowances, Rejected, RootPlan, SignaturePolicy, VerifyContext};
use fleet_types::{Accepted, Reason, RepoPath, Sha256};
use globset::GlobSet;

use super::blocking::now;
use super::inputs;
use crate::{Payload, Problem, SyncOptions};

pub(super) struct Rules {
    pub options: SyncOptions,
    /// In declared order; a unit is often named by its place here.
    pub units: Vec<String>,
    /// What of these choices decides about the content of a snapshot.
    pub inputs: Sha256,
    pub exclude: GlobSet,
    /// One instant for all that a run decides; seconds since 1970-01-01T00:00:00Z.
    pub now: i64,
}

impl Rules {
    pub fn new(options: SyncOptions) -> Result<Rules, Problem> {
        let units = options.format.units();
        if units.is_empty() || units.len() > usize::from(u16::MAX) {
            return Err(Problem::new(
                Reason::InvalidSpec,
                "the content block names no unit to copy, or too many",
            ));
        }
        Ok(Rules {
            inputs: inputs::digest(&options),
            exclude: inputs::exclude(&options.exclude)?,
            now: now(),
            options,
            units,
        })
    }

    pub fn name(&self, unit: u16) -> &str {
        let name = self.units.get(usize::from(unit));
        name.map(String::as_str).unwrap_or_default()
    }

    /// Whether this payload is fetched when somebody asks for it. What brings keys is needed by who judges the rest.
    pub fn is_on_demand(&self, path: &RepoPath) -> bool {
        let options = &self.options;
        options.payload == Payload::OnDemand && !options.format.holds_keys(path, &options.trust)
    }

    /// What to ask for to learn the state of a unit, as far as anything is asked of it.
    pub fn roots(&self, unit: &str) -> Result<RootPlan, Rejected> {
        let plan = self.options.format.roots(unit)?;
        Ok(match self.options.trust.indices {
            SignaturePolicy::None => plan,
            SignaturePolicy::Required | SignaturePolicy::Optional => plan.with_signatures(),
        })
    }

    /// `accepted` is the unit's high-water mark.
    pub fn verify_context<'a>(
        &'a self,
        unit: &str,
        accepted: Option<&'a Accepted>,
        settled: bool,
    ) -> VerifyContext<'a> {
        VerifyContext {
            now: self.now,
            trust: &self.options.trust,
            accepted,
            allowances: self.allowances(unit),
            settled,
        }
    }

    /// What a person lets through of a unit.
    pub fn allowances(&self, unit: &str) -> &Allowances {
        let allowances = &self.options.verification.allowances;
        allowances.get(unit).unwrap_or(Allowances::NONE)
    }
}
