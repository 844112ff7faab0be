//! OpenPGP keyrings and signatures, judged at least as strictly as `gpgv` does.

mod armour;
mod certificate;
mod cleartext;
mod computing;
mod detached;
mod key_info;
mod keyring;
mod ownertrust;
mod packets;
mod problems;
mod rsa;
mod signature;
mod split;
mod standing;
mod strength;
mod verify;
mod web_of_trust;

use fleet_types::Reason;

pub use armour::ArmourError;
pub use key_info::KeyInfo;
pub use keyring::{Keyring, KeyringError};
pub use ownertrust::{ListError, Ownertrust, parse_disabled, parse_trusted};
pub(crate) use problems::not_all_good;
pub use split::{RawCertificate, split_certificates};
pub use verify::{unverified_cleartext, verify_cleartext, verify_detached};
pub use web_of_trust::{Pinned, WebOfTrust};

/// A payload with at least one good signature, and no bad one by a known key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedPayload {
    /// Exactly the bytes that the signatures cover: dash-escapes undone, nothing from outside the signed block.
    pub payload: Vec<u8>,
    /// Fingerprints (upper-case hexadecimal) of the distinct primary keys with a good signature, sorted.
    pub good: Vec<String>,
    /// When each of these keys vouches for nothing more, in seconds since 1970-01-01T00:00:00Z; `i64::MAX` where that never
    /// comes.
    pub good_until: Vec<i64>,
    /// The signatures that do not count, and why.
    pub problems: Vec<SignatureProblem>,
}

/// Why one signature does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureProblem {
    /// The issuer as the signature names it: fingerprint or key id in upper-case hexadecimal, or `unknown`.
    pub key_id: String,
    pub reason: Reason,
    pub text: String,
}
