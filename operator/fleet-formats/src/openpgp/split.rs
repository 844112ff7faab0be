//! A keyring taken apart into its certificates, as bytes: for whoever hands on some of them.

use pgp::packet::Packet;
use pgp::types::{KeyDetails, Tag};

use super::keyring::{KeyringError, fingerprint_text};
use super::packets::Packets;

/// One certificate, still in the packets that it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawCertificate {
    /// Of the primary key, in upper-case hexadecimal.
    pub fingerprint: String,
    /// The primary key with its signatures and user ids.
    pub primary: Vec<u8>,
    /// Each subkey's fingerprint, and its packets.
    pub subkeys: Vec<(String, Vec<u8>)>,
}

impl RawCertificate {
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.primary.clone();
        for (_, subkey) in &self.subkeys {
            bytes.extend_from_slice(subkey);
        }
        bytes
    }
}

/// The certificates of `gpg --export`'s binary output. Keys that cannot be read are passed over, as by
/// [`super::Keyring::parse`]; packets that belong to no key are, too.
pub fn split_certificates(bytes: &[u8]) -> Result<Vec<RawCertificate>, KeyringError> {
    let mut certificates: Vec<RawCertificate> = Vec::new();
    // Since a key that cannot be read, and until the next one that can.
    let mut skipping = true;
    for framed in Packets::new(bytes) {
        let framed = framed.map_err(KeyringError::Malformed)?;
        match (framed.tag, framed.packet) {
            (Tag::SecretKey | Tag::SecretSubkey, _) => return Err(KeyringError::PrivateKey),
            (_, Ok(Packet::PublicKey(key))) => {
                skipping = false;
                certificates.push(RawCertificate {
                    fingerprint: fingerprint_text(&key.fingerprint()),
                    primary: framed.raw.to_vec(),
                    subkeys: Vec::new(),
                });
            }
            (Tag::PublicKey, _) => skipping = true,
            // GnuPG's own notes.
            (Tag::Trust, _) => {}
            (_, packet) => {
                let Some(certificate) = certificates.last_mut().filter(|_| !skipping) else {
                    continue;
                };
                if let Ok(Packet::PublicSubkey(key)) = packet {
                    let fingerprint = fingerprint_text(&key.fingerprint());
                    certificate.subkeys.push((fingerprint, Vec::new()));
                }
                let section = match certificate.subkeys.last_mut() {
                    Some((_, section)) => section,
                    None => &mut certificate.primary,
                };
                section.extend_from_slice(framed.raw);
            }
        }
    }
    Ok(certificates)
}
