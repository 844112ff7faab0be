//! Which certificates a keyring holds.

use std::collections::HashMap;
use std::sync::Arc;

use pgp::types::{Fingerprint, KeyDetails, Tag};

use super::armour::{self, ArmourError};
use super::certificate::{Certificate, Component, Grouping};
use super::packets::Packets;

/// The keys that an upstream is believed by. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Keyring {
    pub(super) certificates: Arc<[Certificate]>,
}

/// Why some bytes are not a keyring.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    #[error(
        "the keyring holds no OpenPGP certificate; export the archive's keys with `gpg --export`"
    )]
    Empty,
    #[error(
        "the keyring is a GnuPG keybox, which only GnuPG reads; export its keys with `gpg --export`"
    )]
    Keybox,
    #[error(
        "the keyring holds a private key; give only the public part, from `gpg --export`, and treat that key as leaked"
    )]
    PrivateKey,
    #[error("the keyring's armour is damaged: {0}")]
    Armour(#[from] ArmourError),
    #[error("the keyring is damaged {0}; export it again with `gpg --export`")]
    Malformed(String),
}

impl Keyring {
    /// Reads certificates from `gpg --export` output, binary or armoured (several blocks may follow each other).
    pub fn parse(bytes: &[u8]) -> Result<Keyring, KeyringError> {
        if bytes.get(8..12) == Some(b"KBXf") {
            return Err(KeyringError::Keybox);
        }
        let certificates = if armour::is_binary(bytes) {
            certificates(bytes)?
        } else {
            armoured(bytes)?
        };
        if certificates.is_empty() {
            return Err(KeyringError::Empty);
        }
        Ok(Keyring {
            certificates: certificates.into(),
        })
    }

    /// All certificates of several keyrings, each once, with all that any copy of it holds.
    pub fn merged<'a>(keyrings: impl Iterator<Item = &'a Keyring>) -> Keyring {
        let mut merged: Vec<Certificate> = Vec::new();
        let mut known: HashMap<Fingerprint, usize> = HashMap::new();
        for copy in keyrings.flat_map(|keyring| keyring.certificates.iter()) {
            let number = known.entry(copy.primary.fingerprint());
            let number = *number.or_insert(merged.len());
            match merged.get_mut(number) {
                Some(certificate) => certificate.merge(copy),
                None => merged.push(copy.clone()),
            }
        }
        Keyring {
            certificates: merged.into(),
        }
    }

    /// Every primary key and subkey.
    pub(super) fn components(&self) -> impl Iterator<Item = Component<'_>> {
        self.certificates.iter().flat_map(|certificate| {
            let subkeys = certificate.subkeys.iter().map(Some);
            std::iter::once(None)
                .chain(subkeys)
                .map(move |subkey| Component {
                    certificate,
                    subkey,
                })
        })
    }

    /// The copies of the certificate with this fingerprint (20 octets for version 4): a keyring may hold an older one beside
    /// one that tells of a revocation.
    pub(super) fn copies<'a>(
        &'a self,
        fingerprint: &'a [u8],
    ) -> impl Iterator<Item = &'a Certificate> {
        let all = self.certificates.iter();
        all.filter(move |copy| copy.primary.fingerprint().as_bytes() == fingerprint)
    }
}

/// Upper-case hexadecimal, as `gpg` prints it.
pub(super) fn fingerprint_text(fingerprint: &Fingerprint) -> String {
    hex::encode_upper(fingerprint.as_bytes())
}

fn armoured(text: &[u8]) -> Result<Vec<Certificate>, KeyringError> {
    let mut found = Vec::new();
    for block in armour::blocks(text)? {
        match block.label.as_str() {
            armour::PUBLIC_KEY => found.extend(certificates(&block.bytes)?),
            armour::PRIVATE_KEY => return Err(KeyringError::PrivateKey),
            _ => {}
        }
    }
    Ok(found)
}

fn certificates(bytes: &[u8]) -> Result<Vec<Certificate>, KeyringError> {
    let mut grouping = Grouping::new();
    for framed in Packets::new(bytes) {
        let framed = framed.map_err(KeyringError::Malformed)?;
        match framed.packet {
            Ok(packet) => grouping.push(packet),
            Err(_) if matches!(framed.tag, Tag::SecretKey | Tag::SecretSubkey) => {
                return Err(KeyringError::PrivateKey);
            }
            Err(_) => grouping.skip(framed.tag),
        }
    }
    Ok(grouping.certificates)
}
