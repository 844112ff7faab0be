//! What a signature packet claims, and whether apt and gpgv read a file that holds it. Nothing is computed here.
//!
//! gpgv gives up a file, or reports an error beside every good signature in it, for one packet that it cannot read; so
//! these rules hold for signatures by strangers too.

use fleet_types::Reason;
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::packet::{Signature, SignatureType, SignatureVersion, Subpacket, SubpacketData};
use pgp::ser::Serialize;
use pgp::types::{KeyVersion, PublicParams, SignatureBytes};

use super::certificate::Component;

/// What the signatures of a file are made over.
#[derive(Clone, Copy)]
pub(super) enum Form<'a> {
    /// A cleartext-signed text, with the hashes that it announces.
    Cleartext(&'a [HashAlgorithm]),
    /// Another file, and whether it is one that everybody reads alike as a text; see [`super::cleartext::is_plain`].
    Detached { plain: bool },
}

/// Why apt or gpgv refuse a file that holds a signature, whoever made it.
pub(super) enum Obstacle {
    /// A kind of signature that they do not have.
    Kind(String),
    Other(Reason, String),
}

/// The first thing that apt or gpgv cannot read in it.
pub(super) fn obstacle(signature: &Signature, form: Form<'_>) -> Option<Obstacle> {
    use PublicKeyAlgorithm::{DSA, ECDSA, EdDSALegacy, RSA, RSASign};
    let bad = |text: String| Some(Obstacle::Other(Reason::SignatureBad, text));
    let weak = |text: String| Some(Obstacle::Other(Reason::SignatureTooWeak, text));
    let config = match (signature.version(), signature.config()) {
        (SignatureVersion::V4, Some(config)) => config,
        (SignatureVersion::V2 | SignatureVersion::V3, _) => {
            return weak("a signature of the obsolete version 3".to_owned());
        }
        (version, _) => {
            let version: u8 = version.into();
            return Some(Obstacle::Kind(format!(
                "a signature of version {version}, which gpgv does not read"
            )));
        }
    };
    if !matches!(config.pub_alg, RSA | RSASign | DSA | ECDSA | EdDSALegacy) {
        let algorithm: u8 = config.pub_alg.into();
        return Some(Obstacle::Kind(format!(
            "a signature by algorithm {algorithm}, which gpgv does not have"
        )));
    }
    let hash = config.hash_alg;
    match form {
        _ if hash == HashAlgorithm::Md5 => {
            return weak(
                "the signature uses MD5; the upstream must sign with SHA-256 or better".to_owned(),
            );
        }
        _ if !is_known_hash(hash) => {
            return bad(format!(
                "the signature uses {hash}, which gpgv does not have"
            ));
        }
        Form::Cleartext(announced) if !announced.contains(&hash) => {
            return bad(format!(
                "the signature uses {hash}, and no Hash header announces it; gpgv takes no such file"
            ));
        }
        _ => {}
    }
    match (config.typ, form) {
        (SignatureType::Text, Form::Detached { plain: false }) => bad(
            "a signature over a text with very long lines, carriage returns or NULs inside lines, which apt, gpgv and sqv understand differently"
                .to_owned(),
        ),
        (SignatureType::Text, _) | (SignatureType::Binary, Form::Detached { .. }) => None,
        // apt takes the text out of its block for gpgv, and so other bytes than gpgv does by itself.
        (SignatureType::Binary, Form::Cleartext(_)) => bad(
            "a signature over bytes in a cleartext-signed file, which apt and gpgv understand differently"
                .to_owned(),
        ),
        _ => bad("the signature is not one over a document".to_owned()),
    }
}

fn is_known_hash(hash: HashAlgorithm) -> bool {
    use HashAlgorithm::{Ripemd160, Sha1, Sha224, Sha256, Sha384, Sha512};
    matches!(hash, Sha1 | Ripemd160 | Sha224 | Sha256 | Sha384 | Sha512)
}

/// The issuer as the signature names it: fingerprint or key id in upper-case hexadecimal, or `unknown`.
pub(super) fn issuer(signature: &Signature) -> String {
    let fingerprint = signature
        .issuer_fingerprint()
        .first()
        .map(|fingerprint| hex::encode_upper(fingerprint.as_bytes()));
    let key_id = || signature.issuer_key_id().first().map(hex::encode_upper);
    fingerprint
        .or_else(key_id)
        .unwrap_or_else(|| "unknown".to_owned())
}

/// Whether any issuer that the signature names, in the part that is signed or in the part that is not, is this key:
/// clients then compute it with this key.
pub(super) fn names(signature: &Signature, component: Component<'_>) -> bool {
    signature
        .issuer_key_id()
        .contains(&&component.key().legacy_key_id())
        || signature
            .issuer_fingerprint()
            .contains(&&component.key().fingerprint())
}

/// Whether it names this key and no other, and by the key id: apt takes no file whose only good signature does not.
pub(super) fn names_only(signature: &Signature, component: Component<'_>) -> bool {
    !signature.issuer_key_id().is_empty() && names_no_other(signature, component)
}

/// Whether it names no key but this one.
pub(super) fn names_no_other(signature: &Signature, component: Component<'_>) -> bool {
    let (key_id, fingerprint) = (
        component.key().legacy_key_id(),
        component.key().fingerprint(),
    );
    let (ids, fingerprints) = (signature.issuer_key_id(), signature.issuer_fingerprint());
    ids.into_iter().all(|named| *named == key_id)
        && fingerprints.into_iter().all(|named| *named == fingerprint)
}

/// Whether this key can have made a signature of this version, algorithm and length at all.
pub(super) fn can_be_by(signature: &Signature, component: Component<'_>) -> bool {
    let key = component.key();
    let version = match key.version() {
        KeyVersion::V6 => SignatureVersion::V6,
        _ => SignatureVersion::V4,
    };
    let obsolete = matches!(
        signature.version(),
        SignatureVersion::V2 | SignatureVersion::V3
    );
    let algorithm = signature.config().map(|config| config.pub_alg);
    (signature.version() == version || (obsolete && version == SignatureVersion::V4))
        && algorithm == Some(key.algorithm())
        && length_fits(signature, key.public_params())
}

/// The numbers of a signature are as long as the curve's order, short of a few leading zeros.
fn length_fits(signature: &Signature, parameters: &PublicParams) -> bool {
    let bits = match parameters {
        PublicParams::ECDSA(parameters) => parameters.curve().nbits(),
        PublicParams::EdDSALegacy(parameters) => parameters.curve().nbits(),
        // Computed, or not a curve's: the computation tells.
        _ => 0,
    };
    let bytes = usize::from(bits).div_ceil(8);
    match signature.signature() {
        Some(SignatureBytes::Mpis(numbers)) if bits > 0 => numbers
            .iter()
            .all(|number| number.len() <= bytes && number.len() + 8 >= bytes),
        Some(_) => true,
        None => false,
    }
}

/// Whether a hash is as long as gpgv, or the one who computes it here, demands it for this key.
pub(super) fn hash_is_long_enough(signature: &Signature, component: Component<'_>) -> bool {
    let needed = match component.key().public_params() {
        // 512 for P-521.
        PublicParams::ECDSA(parameters) => parameters.curve().nbits().min(512),
        PublicParams::EdDSALegacy(_) => 256,
        _ => 0,
    };
    let digest = signature.hash_alg().and_then(|hash| hash.digest_size());
    digest.is_some_and(|bytes| bytes * 8 >= usize::from(needed))
}

/// Whether the signature demands, in either part, that something is understood which gpgv does not know.
pub(super) fn has_unknown_critical(signature: &Signature) -> bool {
    use SubpacketData::{
        EmbeddedSignature, ExportableCertification, Features, IsPrimary, IssuerFingerprint,
        IssuerKeyId, KeyExpirationTime, KeyFlags, PolicyURI, PreferredCompressionAlgorithms,
        PreferredHashAlgorithms, PreferredKeyServer, PreferredSymmetricAlgorithms,
        RegularExpression, Revocable, RevocationKey, RevocationReason, SignatureCreationTime,
        SignatureExpirationTime, TrustSignature,
    };
    let known = |data: &SubpacketData| {
        matches!(
            data,
            SignatureCreationTime(_)
                | SignatureExpirationTime(_)
                | ExportableCertification(_)
                | TrustSignature(..)
                | RegularExpression(_)
                | Revocable(_)
                | KeyExpirationTime(_)
                | PreferredSymmetricAlgorithms(_)
                | RevocationKey(_)
                | IssuerKeyId(_)
                | PreferredHashAlgorithms(_)
                | PreferredCompressionAlgorithms(_)
                | PreferredKeyServer(_)
                | IsPrimary(_)
                | PolicyURI(_)
                | KeyFlags(_)
                | RevocationReason(..)
                | Features(_)
                | EmbeddedSignature(_)
                | IssuerFingerprint(_)
        )
    };
    subpackets(signature).any(|packet| packet.is_critical && !known(&packet.data))
}

/// In both parts.
fn subpackets(signature: &Signature) -> impl Iterator<Item = &Subpacket> {
    let config = signature.config().into_iter();
    config.flat_map(|config| {
        config
            .hashed_subpackets()
            .chain(config.unhashed_subpackets())
    })
}

/// Attested certifications, which the library does not know by name.
const ATTESTED: u8 = 37;

/// What sqv, and with it the apt of Debian 13, gives a signature up for where gpgv does not. `body` is the packet without
/// its header.
pub(super) fn unread_by_sqv(signature: &Signature, body: &[u8]) -> Option<&'static str> {
    use SubpacketData::{
        EmbeddedSignature, Notation, Other, RegularExpression, SignatureCreationTime,
        SignatureExpirationTime,
    };
    let numbers: Vec<u8> = match signature.signature() {
        Some(SignatureBytes::Mpis(numbers)) => {
            let bytes = numbers.iter().filter_map(|number| number.to_bytes().ok());
            bytes.flatten().collect()
        }
        _ => Vec::new(),
    };
    if !body.ends_with(&numbers) {
        return Some("a number in it is longer than it need be");
    }
    let odd = |packet: &Subpacket| match &packet.data {
        RegularExpression(_) | EmbeddedSignature(_) | Other(ATTESTED, _) => true,
        Notation(notation) => std::str::from_utf8(&notation.name).is_err(),
        _ => false,
    };
    if subpackets(signature).any(odd) {
        return Some("it holds what has no place in a signature over data");
    }
    let hashed = || {
        let config = signature.config().into_iter();
        config.flat_map(|config| config.hashed_subpackets())
    };
    let times = hashed().filter(|packet| matches!(packet.data, SignatureCreationTime(_)));
    let ends = hashed().filter(|packet| matches!(packet.data, SignatureExpirationTime(_)));
    (times.count() > 1 || ends.count() > 1).then_some("it says one of its times twice")
}
