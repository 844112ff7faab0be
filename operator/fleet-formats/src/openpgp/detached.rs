//! Detached signatures in a file of their own, over files of any size: as pacman's packages and databases have them.
//!
//! The signed file is read once and never held: each signature is computed while it passes by.

use std::io::Read;

use digest::DynDigest;
use fleet_types::Reason;
use pgp::packet::{Packet, Signature, SignatureType};
use pgp::types::VerifyingKey;

use super::armour;
use super::certificate::Component;
use super::computing::computable;
use super::packets::Packets;
use super::rsa;
use super::signature::{self, Form, Obstacle};
use super::standing::{self, CLOCK_TOLERANCE_SECONDS};
use super::strength::is_strong_hash;
use crate::seam::Rejected;

/// A file has one, and two while a key is being replaced.
const MAX_SIGNATURES: usize = 8;
const BLOCK_BYTES: usize = 128 << 10;
/// Files up to here are kept while they are judged: to hash them a second time costs less than what that saves.
const SMALL_BYTES: usize = 128 << 10;

/// The signatures that a file holds, at least one. Errors: `SignatureMissing` for an empty file, and the reason for which
/// GnuPG would not read it.
pub(super) fn read(file: &[u8]) -> Result<Vec<Signature>, Rejected> {
    let bad = |text: String| Rejected::new(Reason::SignatureBad, text);
    if file.is_empty() {
        let text = "the file in the signature's place is empty";
        return Err(Rejected::new(Reason::SignatureMissing, text));
    }
    if !armour::is_binary(file) {
        let text = "the file in the signature's place is not a binary OpenPGP signature, and repo-add takes no other";
        return Err(bad(text.to_owned()));
    }
    let mut signatures = Vec::new();
    for framed in Packets::new(file) {
        if signatures.len() == MAX_SIGNATURES {
            return Err(bad(format!("more than {MAX_SIGNATURES} signatures")));
        }
        let packet = framed.and_then(|framed| framed.packet);
        match packet.map_err(|text| bad(format!("the signature cannot be read: {text}")))? {
            Packet::Signature(signature) => signatures.push(readable(signature)?),
            _ => return Err(bad("a packet that is no signature".to_owned())),
        }
    }
    Ok(signatures)
}

fn readable(signature: Signature) -> Result<Signature, Rejected> {
    if signature.typ() == Some(SignatureType::Text) {
        let text = "a signature over text, which readers understand differently; packages are signed as bytes";
        return Err(Rejected::new(Reason::SignatureBad, text));
    }
    match signature::obstacle(&signature, Form::Detached { plain: false }) {
        Some(Obstacle::Kind(text)) => Err(Rejected::new(Reason::SignatureUnsupported, text)),
        Some(Obstacle::Other(reason, text)) => Err(Rejected::new(reason, text)),
        None => Ok(signature),
    }
}

/// What a signature is over.
pub(super) struct Signed {
    /// The hash that it has to sign.
    digest: Box<[u8]>,
    /// All that is hashed, where the file is small.
    whole: Option<Vec<u8>>,
}

/// What each signature would have to sign, with all that it says of itself. Errors: `StorageFailed` where the content
/// cannot be read, `SignatureBad` where the signature demands what nobody knows.
pub(super) fn read_signed(
    signatures: &[Signature],
    content: &mut dyn Read,
) -> Result<Vec<Signed>, Rejected> {
    let mut hashers: Vec<(&Signature, Box<dyn DynDigest + Send>)> = Vec::new();
    for signature in signatures {
        let hasher = signature.hash_alg().unwrap_or_default().new_hasher();
        let hasher = hasher
            .map_err(|error| Rejected::new(Reason::SignatureUnsupported, error.to_string()))?;
        hashers.push((signature, hasher));
    }
    let mut block = vec![0; BLOCK_BYTES];
    let mut small = Some(Vec::new());
    loop {
        let count = match content.read(&mut block) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let text = format!("what is signed cannot be read: {error}");
                return Err(Rejected::new(Reason::StorageFailed, text));
            }
        };
        let bytes = block.get(..count).unwrap_or_default();
        hashers
            .iter_mut()
            .for_each(|(_, hasher)| hasher.update(bytes));
        small = small.filter(|small| small.len() + count <= SMALL_BYTES);
        small
            .iter_mut()
            .for_each(|small| small.extend_from_slice(bytes));
    }
    let ended = hashers.into_iter().map(|(signature, mut hasher)| {
        let end = rsa::recorded(signature.config()?)?;
        hasher.update(&end);
        Some(Signed {
            digest: hasher.finalize(),
            whole: small
                .as_ref()
                .map(|small| [small.as_slice(), &end].concat()),
        })
    });
    ended.collect::<Option<_>>().ok_or_else(|| {
        let text = "the signature demands that something is understood which nobody knows";
        Rejected::new(Reason::SignatureBad, text)
    })
}

/// Whether this key made the signature over it.
pub(super) fn fits(signature: &Signature, signed: &Signed, by: Component<'_>) -> bool {
    let digest = &signed.digest;
    let parameters = by.key().public_params();
    let computable = computable(signature, parameters);
    let begins_as_said = signature
        .signed_hash_value()
        .is_some_and(|start| digest.starts_with(&start));
    let (Some(hash), Some(numbers)) = (signature.hash_alg(), computable.signature()) else {
        return false;
    };
    let is_good = |whole: &Vec<u8>| rsa::is_good(parameters, hash, numbers, whole);
    begins_as_said
        && (signed.whole.as_ref().is_some_and(is_good)
            || match by.subkey {
                Some(subkey) => subkey.key.verify(hash, digest, numbers).is_ok(),
                None => {
                    let primary = &by.certificate.primary;
                    primary.verify(hash, digest, numbers).is_ok()
                }
            })
}

/// What makes a signature worthless that fits.
pub(super) fn counts(
    signature: &Signature,
    key: Component<'_>,
    now: i64,
) -> Result<(), (Reason, String)> {
    let bad = |text: &str| Err((Reason::SignatureBad, text.to_owned()));
    if signature::has_unknown_critical(signature) {
        return bad("the signature demands that something is understood which GnuPG does not know");
    }
    if !signature::names_no_other(signature, key) {
        return bad("the signature names several keys");
    }
    let Some(created) = signature.created() else {
        return bad("the signature does not say when it was made");
    };
    if created < key.key().created_at() {
        return bad("the signature claims to be older than its key");
    }
    if i64::from(created.as_secs()) > now.saturating_add(CLOCK_TOLERANCE_SECONDS) {
        return bad("the signature claims to be made in the future; check both clocks");
    }
    let hash = signature.hash_alg().unwrap_or_default();
    if !is_strong_hash(hash) {
        let text =
            format!("the signature uses {hash}; the packager must sign with SHA-256 or better");
        return Err((Reason::SignatureTooWeak, text));
    }
    match standing::signature_expiry(signature).filter(|expires| *expires <= now) {
        Some(_) => Err((
            Reason::SignatureExpired,
            "the signature has expired".to_owned(),
        )),
        None => Ok(()),
    }
}
