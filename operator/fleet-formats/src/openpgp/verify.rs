//! Judging the signatures over some bytes.
//!
//! Like apt, a file is believed when at least one signature by a key of the keyring is good and none by such a key is
//! forged; signatures by strangers, and by keys that are past their time, merely do not count.

use std::collections::BTreeSet;

use fleet_types::Reason;
use pgp::packet::{Packet, Signature, SignatureType, SignatureVersion};
use pgp::types::{KeyDetails, Tag};

use super::armour;
use super::cleartext;
use super::keyring::{Component, Keyring, fingerprint_text};
use super::packets::Packets;
use super::standing::{self, CLOCK_TOLERANCE_SECONDS, Fault};
use super::{SignatureProblem, VerifiedPayload};
use crate::seam::Rejected;

/// No archive has this many signers; each costs us a hash over the whole payload.
const MAX_SIGNATURES: usize = 64;

/// Verifies a cleartext-signed text (`InRelease`) at `now`, in seconds since 1970-01-01T00:00:00Z. Errors: a signature
/// reason when no signature is good or one is forged, `SignatureMissing`, `IndexMalformed` for broken framing.
pub fn verify_cleartext(
    bytes: &[u8],
    keyring: &Keyring,
    now: i64,
) -> Result<VerifiedPayload, Rejected> {
    let cleartext = cleartext::split(bytes)?;
    let (good, problems) = judge(&cleartext.canonical, &cleartext.signatures, keyring, now)?;
    Ok(VerifiedPayload {
        payload: cleartext.payload,
        good,
        problems,
    })
}

/// Verifies a detached signature (`Release` and `Release.gpg`), binary or armoured. Errors as [`verify_cleartext`].
pub fn verify_detached(
    payload: &[u8],
    signature: &[u8],
    keyring: &Keyring,
    now: i64,
) -> Result<VerifiedPayload, Rejected> {
    let packets = detached_packets(signature)?;
    let (good, problems) = judge(payload, &packets, keyring, now)?;
    Ok(VerifiedPayload {
        payload: payload.to_vec(),
        good,
        problems,
    })
}

/// Takes a cleartext-signed text apart *without judging its signatures*: for upstreams that are declared as not
/// signed. Errors as [`verify_cleartext`] for the framing.
pub fn unverified_cleartext(bytes: &[u8]) -> Result<Vec<u8>, Rejected> {
    Ok(cleartext::split(bytes)?.payload)
}

fn detached_packets(signature: &[u8]) -> Result<Vec<u8>, Rejected> {
    if armour::is_binary(signature) {
        return Ok(signature.to_vec());
    }
    let blocks = armour::blocks(signature).map_err(|error| {
        Rejected::new(
            Reason::SignatureBad,
            format!("the detached signature's armour is damaged: {error}"),
        )
    })?;
    let signatures = blocks
        .into_iter()
        .filter(|block| block.label == armour::SIGNATURE);
    Ok(signatures.flat_map(|block| block.bytes).collect())
}

/// What one signature is worth.
enum Verdict {
    /// Fingerprint of the primary key.
    Good(String),
    /// By a key of the keyring, and it does not fit the data: somebody tampered.
    Forged(SignatureProblem),
    /// It does not count.
    Worthless(SignatureProblem),
}

fn judge(
    data: &[u8],
    packets: &[u8],
    keyring: &Keyring,
    now: i64,
) -> Result<(Vec<String>, Vec<SignatureProblem>), Rejected> {
    let (mut good, mut forged, mut worthless) = (BTreeSet::new(), Vec::new(), Vec::new());
    for (count, framed) in Packets::new(packets).enumerate() {
        if count == MAX_SIGNATURES {
            return Err(Rejected::new(
                Reason::SignatureBad,
                format!("more than {MAX_SIGNATURES} signatures"),
            ));
        }
        let verdict = match framed.map(|framed| (framed.tag, framed.packet)) {
            Ok((_, Ok(Packet::Signature(signature)))) => judge_one(data, &signature, keyring, now),
            Ok((Tag::Marker | Tag::Padding, _)) => continue,
            Ok((_, Ok(_))) => {
                Verdict::Worthless(unreadable("a packet that is no signature".to_owned()))
            }
            Ok((_, Err(text))) | Err(text) => Verdict::Worthless(unreadable(text)),
        };
        match verdict {
            Verdict::Good(primary) => drop(good.insert(primary)),
            Verdict::Forged(problem) => forged.push(problem),
            Verdict::Worthless(problem) => worthless.push(problem),
        }
    }
    if let Some(first) = forged.first() {
        return Err(Rejected::new(
            first.reason,
            explain("the signature is forged or the file damaged", &forged),
        ));
    }
    if good.is_empty() {
        return Err(no_good_signature(&worthless));
    }
    Ok((good.into_iter().collect(), worthless))
}

fn unreadable(text: String) -> SignatureProblem {
    SignatureProblem {
        key_id: "unknown".to_owned(),
        reason: Reason::SignatureBad,
        text,
    }
}

/// Without a good signature, the reason is that of the signature that came closest: known keys before unknown ones.
fn no_good_signature(problems: &[SignatureProblem]) -> Rejected {
    match closest(problems) {
        Some(reason) => Rejected::new(reason, explain("no signature is good", problems)),
        None => Rejected::new(
            Reason::SignatureMissing,
            "there is no signature in the signature's place",
        ),
    }
}

/// The answer where every signature must be good and these are not.
pub(crate) fn not_all_good(problems: &[SignatureProblem]) -> Rejected {
    Rejected::new(
        closest(problems).unwrap_or(Reason::TooFewSignatures),
        explain(
            "not every signature is good (trust.allSignaturesGood)",
            problems,
        ),
    )
}

fn closest(problems: &[SignatureProblem]) -> Option<Reason> {
    use Reason::{
        KeyExpired, KeyRevoked, KeyUnknown, SignatureBad, SignatureExpired, SignatureTooWeak,
    };
    let order = [
        KeyRevoked,
        KeyExpired,
        SignatureExpired,
        SignatureTooWeak,
        KeyUnknown,
        SignatureBad,
    ];
    order
        .into_iter()
        .find(|reason| problems.iter().any(|problem| problem.reason == *reason))
}

fn explain(what: &str, problems: &[SignatureProblem]) -> String {
    let each: Vec<_> = problems
        .iter()
        .take(8)
        .map(|problem| format!("{}: {}", problem.key_id, problem.text))
        .collect();
    format!("{what}: {}", each.join("; "))
}

fn judge_one(data: &[u8], signature: &Signature, keyring: &Keyring, now: i64) -> Verdict {
    let issuer = issuer(signature);
    let problem = |reason, text: String| SignatureProblem {
        key_id: issuer.clone(),
        reason,
        text,
    };
    let worthless = |reason, text: String| Verdict::Worthless(problem(reason, text));
    let candidates: Vec<_> = keyring
        .components()
        .filter(|component| names(signature, *component))
        .collect();
    if candidates.is_empty() {
        return worthless(
            Reason::KeyUnknown,
            "the key is not in the keyring; add it if the upstream announced it by a way that you trust".to_owned(),
        );
    }
    if let Err((reason, text)) = acceptable(signature) {
        return worthless(reason, text);
    }
    let Some(signer) = candidates
        .into_iter()
        .find(|component| verifies(data, signature, *component))
    else {
        return Verdict::Forged(problem(
            Reason::SignatureBad,
            "the signature does not fit the content".to_owned(),
        ));
    };
    let judged = standing::component(signer, keyring, now).map_err(explain_fault);
    match judged.and_then(|()| in_time(signature, signer, now)) {
        Ok(()) => Verdict::Good(fingerprint_text(&signer.certificate.primary.fingerprint())),
        Err((reason, text)) => worthless(reason, text),
    }
}

fn issuer(signature: &Signature) -> String {
    let fingerprint = signature
        .issuer_fingerprint()
        .first()
        .map(|fingerprint| fingerprint_text(fingerprint));
    let key_id = || signature.issuer_key_id().first().map(hex::encode_upper);
    fingerprint
        .or_else(key_id)
        .unwrap_or_else(|| "unknown".to_owned())
}

fn names(signature: &Signature, component: Component<'_>) -> bool {
    let (fingerprint, key_id) = match component.subkey {
        Some(subkey) => (subkey.key.fingerprint(), subkey.key.legacy_key_id()),
        None => (
            component.certificate.primary.fingerprint(),
            component.certificate.primary.legacy_key_id(),
        ),
    };
    let fingerprints = signature.issuer_fingerprint();
    if fingerprints.is_empty() {
        signature.issuer_key_id().contains(&&key_id)
    } else {
        fingerprints.contains(&&fingerprint)
    }
}

/// What can be said against a signature before it is computed.
fn acceptable(signature: &Signature) -> Result<(), (Reason, String)> {
    if matches!(
        signature.version(),
        SignatureVersion::V2 | SignatureVersion::V3
    ) {
        return Err((
            Reason::SignatureTooWeak,
            "a signature of the obsolete version 3".to_owned(),
        ));
    }
    let Some(hash) = signature.hash_alg() else {
        return Err((
            Reason::SignatureBad,
            "a signature of an unknown version".to_owned(),
        ));
    };
    if !standing::is_strong_hash(hash) {
        return Err((
            Reason::SignatureTooWeak,
            format!("the signature uses {hash}; the upstream must sign with SHA-256 or better"),
        ));
    }
    if !matches!(
        signature.typ(),
        Some(SignatureType::Binary | SignatureType::Text)
    ) {
        return Err((
            Reason::SignatureBad,
            "the signature is not one over a document".to_owned(),
        ));
    }
    if standing::has_critical_notation(signature) {
        return Err((
            Reason::SignatureBad,
            "the signature demands a notation that we do not know".to_owned(),
        ));
    }
    Ok(())
}

fn verifies(data: &[u8], signature: &Signature, component: Component<'_>) -> bool {
    match component.subkey {
        Some(subkey) => signature.verify(&subkey.key, data).is_ok(),
        None => signature
            .verify(&component.certificate.primary, data)
            .is_ok(),
    }
}

fn explain_fault(fault: Fault) -> (Reason, String) {
    match fault {
        Fault::Revoked => (Reason::KeyRevoked, "the key has been revoked".to_owned()),
        Fault::Expired(since) => (
            Reason::KeyExpired,
            format!(
                "the key expired at {}; get a newer keyring from the upstream",
                crate::instant(since)
            ),
        ),
        Fault::TooWeak(text) => (Reason::SignatureTooWeak, text),
        Fault::NotBound(text) => (Reason::KeyUnknown, text.to_owned()),
    }
}

fn in_time(signature: &Signature, signer: Component<'_>, now: i64) -> Result<(), (Reason, String)> {
    let Some(created) = signature.created() else {
        return Err((
            Reason::SignatureBad,
            "the signature does not say when it was made".to_owned(),
        ));
    };
    let key_created = match signer.subkey {
        Some(subkey) => subkey.key.created_at(),
        None => signer.certificate.primary.created_at(),
    };
    let at = i64::from(created.as_secs());
    if at > now.saturating_add(CLOCK_TOLERANCE_SECONDS) {
        return Err((
            Reason::SignatureBad,
            format!(
                "the signature claims to be made in the future, at {}; check both clocks",
                crate::instant(at)
            ),
        ));
    }
    if created < key_created {
        return Err((
            Reason::SignatureBad,
            "the signature claims to be older than its key".to_owned(),
        ));
    }
    match standing::signature_expiry(signature).filter(|expires| *expires <= now) {
        Some(expired) => Err((
            Reason::SignatureExpired,
            format!("the signature expired at {}", crate::instant(expired)),
        )),
        None => Ok(()),
    }
}
