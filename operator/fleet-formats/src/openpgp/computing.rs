//! Computing signatures, and the keys that we cannot compute with.

use std::borrow::Cow;

use pgp::packet::Signature;
use pgp::types::{EcdsaPublicParams, EddsaLegacyPublicParams, Mpi, PublicParams, SignatureBytes};

/// Why signatures by a key cannot be computed here; none where they can.
pub(super) fn obstacle(parameters: &PublicParams) -> Option<String> {
    match parameters {
        PublicParams::ECDSA(EcdsaPublicParams::Unsupported { curve, .. })
        | PublicParams::EdDSALegacy(EddsaLegacyPublicParams::Unsupported { curve, .. }) => {
            Some(format!("a key on the curve {}", curve.name()))
        }
        PublicParams::RSA(_)
        | PublicParams::DSA(_)
        | PublicParams::ECDSA(_)
        | PublicParams::EdDSALegacy(_)
        | PublicParams::Ed25519(_)
        | PublicParams::Ed448(_) => None,
        _ => Some("a key of an algorithm that does not sign, or that we do not have".to_owned()),
    }
}

/// The signature in the form that the library computes: of the two numbers that fit a secp256k1 key it takes only the
/// lower one, though ECDSA and everybody else's OpenPGP take both.
pub(super) fn computable<'a>(
    signature: &'a Signature,
    parameters: &PublicParams,
) -> Cow<'a, Signature> {
    let lower = match parameters {
        PublicParams::ECDSA(EcdsaPublicParams::Secp256k1 { .. }) => with_lower_number(signature),
        _ => None,
    };
    lower.map_or(Cow::Borrowed(signature), Cow::Owned)
}

fn with_lower_number(signature: &Signature) -> Option<Signature> {
    let (config, hash, Some(SignatureBytes::Mpis(numbers))) = (
        signature.config()?,
        signature.signed_hash_value()?,
        signature.signature(),
    ) else {
        return None;
    };
    let [r, s] = numbers.as_slice() else {
        return None;
    };
    let mut both = [0; 64];
    let (first, second) = both.split_at_mut(32);
    right_align(first, r.as_ref())?;
    right_align(second, s.as_ref())?;
    let lower = k256::ecdsa::Signature::from_slice(&both)
        .ok()?
        .normalize_s()?;
    let s = Mpi::from_slice(&lower.s().to_bytes());
    let numbers = SignatureBytes::Mpis(vec![r.clone(), s]);
    Signature::from_config(config.clone(), hash, numbers).ok()
}

fn right_align(field: &mut [u8], number: &[u8]) -> Option<()> {
    let start = field.len().checked_sub(number.len())?;
    field.get_mut(start..)?.copy_from_slice(number);
    Some(())
}
