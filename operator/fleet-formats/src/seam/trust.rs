//! Whom to believe, and what a person lets through.

use fleet_types::{Accepted, Reason, Sha256, UnitRevision};

use crate::openpgp::{Keyring, WebOfTrust};

/// All that a verification may look at besides the roots.
pub struct VerifyContext<'a> {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub now: i64,
    pub trust: &'a Trust,
    /// The newest state of this unit that was ever accepted, from the store and from the controller's memory.
    pub accepted: Option<&'a Accepted>,
    pub allowances: &'a Allowances,
    /// The roots were read a second time, so what does not fit together is not an update in the middle of which we came.
    pub settled: bool,
}

/// What a person lets through of one unit although it would be refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowances {
    /// `verification.allowed`, for this unit.
    pub states: Vec<AllowedState>,
    /// `verification.expired`: states past their Valid-Until, whichever.
    pub expired: bool,
}

/// One state that is let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedState {
    /// [`UnitRevision::digest`]
    pub digest: Sha256,
    /// Of `RollbackDetected`, `IndexExpired`, `Equivocation` and `ReleaseInfoChanged`.
    pub reasons: Vec<Reason>,
}

impl Allowances {
    /// Nothing.
    pub const NONE: &'static Allowances = &Allowances {
        states: Vec::new(),
        expired: false,
    };

    /// For which reasons this state is let through.
    pub fn reasons_for(&self, digest: Sha256) -> impl Iterator<Item = Reason> {
        let states = self
            .states
            .iter()
            .filter(move |state| state.digest == digest);
        states.flat_map(|state| state.reasons.iter().copied())
    }

    pub fn allows(&self, digest: Sha256, reason: Reason) -> bool {
        self.reasons_for(digest).any(|allowed| allowed == reason)
    }
}

/// How a person takes exactly this state: what to put into the Mirror, ready to paste.
pub fn let_through(revision: &UnitRevision, reasons: &[Reason]) -> String {
    let reasons: Vec<&str> = reasons.iter().map(|reason| reason.as_str()).collect();
    format!(
        "to take this very state, put into the Mirror's spec `verification: {{allowed: [{{unit: {:?}, digest: \"{}\", reasons: [{}]}}]}}`",
        revision.unit,
        revision.digest,
        reasons.join(", ")
    )
}

/// Whom to believe, as the Upstream declares it.
#[derive(Debug, Clone)]
pub struct Trust {
    /// None only with [`SignaturePolicy::None`] or when an `Optional` upstream has no keyring.
    pub keyring: Option<Keyring>,
    pub signatures: SignaturePolicy,
    pub min_good_signatures: u32,
    /// Whether a signature that is not good, by whichever key, is one too many.
    pub all_signatures_good: bool,
    /// Seconds; the limit where the upstream gives no Valid-Until.
    pub max_index_age: Option<i64>,
    /// What is asked of signatures over whole indices where payload is signed file by file.
    pub indices: SignaturePolicy,
    /// How files are judged that are signed one by one; none where the format has no such files, or they are not judged.
    pub web: Option<WebOfTrust>,
    /// The package that brings the keys of packagers with it.
    pub keyring_package: Option<String>,
}

impl Trust {
    /// Where no root of an upstream is judged.
    pub const fn nothing_is_judged() -> Trust {
        Trust {
            keyring: None,
            signatures: SignaturePolicy::None,
            min_good_signatures: 0,
            all_signatures_good: false,
            max_index_age: None,
            indices: SignaturePolicy::None,
            web: None,
            keyring_package: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignaturePolicy {
    /// Not signed, or not good: refused.
    Required,
    /// Not signed is accepted; signed must be good.
    Optional,
    /// Signatures are not looked at. Must be spelled out in the manifest.
    None,
}
