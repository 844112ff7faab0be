//! Which keys a keyring holds.

/// The keys that an upstream is believed by. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Keyring {}

/// Why some bytes are not a keyring.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    #[error("the keyring is empty; export the archive's keys with `gpg --export`")]
    Empty,
}

/// One certificate of a keyring, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// Upper-case hexadecimal, of the primary key.
    pub fingerprint: String,
    /// Seconds since 1970-01-01T00:00:00Z.
    pub created: i64,
    /// When the primary key expires, in the same unit.
    pub expires: Option<i64>,
    pub revoked: bool,
    pub user_ids: Vec<String>,
}

impl Keyring {
    /// Reads certificates from `gpg --export` output, binary or armoured.
    pub fn parse(bytes: &[u8]) -> Result<Keyring, KeyringError> {
        if bytes.is_empty() { Err(KeyringError::Empty) } else { Ok(Keyring {}) }
    }

    /// What the keyring holds, as of `now` (seconds since 1970-01-01T00:00:00Z).
    pub fn keys(&self, _now: i64) -> Vec<KeyInfo> {
        Vec::new()
    }
}
