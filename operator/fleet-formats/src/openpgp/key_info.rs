//! What a keyring holds, for people.

use pgp::types::KeyDetails;

use super::certificate::Certificate;
use super::keyring::{Keyring, fingerprint_text};
use super::problems::Fault;
use super::standing;

/// One certificate of a keyring, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// Upper-case hexadecimal, of the primary key.
    pub fingerprint: String,
    /// Seconds since 1970-01-01T00:00:00Z.
    pub created: i64,
    /// When the primary key expires, in the same unit; none where it does not.
    pub expires: Option<i64>,
    pub revoked: bool,
    pub user_ids: Vec<String>,
}

impl Keyring {
    /// What the keyring holds, as of `now` (seconds since 1970-01-01T00:00:00Z).
    pub fn keys(&self, now: i64) -> Vec<KeyInfo> {
        self.certificates
            .iter()
            .map(|certificate| self.key_info(certificate, now))
            .collect()
    }

    fn key_info(&self, certificate: &Certificate, now: i64) -> KeyInfo {
        let standing = standing::primary(certificate, self, now);
        KeyInfo {
            fingerprint: fingerprint_text(&certificate.primary.fingerprint()),
            created: certificate.primary.created_at().as_secs().into(),
            expires: standing::primary_expiry(certificate, now),
            revoked: standing == Err(Fault::Revoked),
            user_ids: certificate
                .users
                .iter()
                .map(|user| String::from_utf8_lossy(user.id.id()).into_owned())
                .collect(),
        }
    }
}
