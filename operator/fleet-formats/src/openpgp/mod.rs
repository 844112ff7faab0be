//! OpenPGP keyrings and signatures, judged at least as strictly as `gpgv` does.

mod armour;
mod certificate;
mod cleartext;
mod computing;
mod key_info;
mod keyring;
mod packets;
mod problems;
mod signature;
mod split;
mod standing;
mod verify;

use fleet_types::Reason;

pub use armour::ArmourError;
pub use key_info::KeyInfo;
pub use keyring::{Keyring, KeyringError};
pub(crate) use problems::not_all_good;
pub use split::{RawCertificate, split_certificates};
pub use verify::{unverified_cleartext, verify_cleartext, verify_detached};

/// A payload with at least one good signature, and no bad one by a known key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedPayload {
    /// Exactly the bytes that the signatures cover: dash-escapes undone, nothing from outside the signed block.
    pub payload: Vec<u8>,
    /// Fingerprints (upper-case hexadecimal) of the distinct primary keys with a good signature, sorted.
    pub good: Vec<String>,
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
