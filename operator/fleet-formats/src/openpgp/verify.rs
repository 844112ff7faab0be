//! Judging the signatures over some bytes.
//!
//! Like apt, a file is believed when at least one signature by a key of the keyring is good and none by such a key is
//! forged; signatures by strangers, by keys that are past their time, and those that we cannot compute merely do not
//! count. What apt or gpgv cannot read refuses the file, since they are who is served it: a file that we accept is one
//! for which gpgv has a good signature and nothing to complain of but strangers and expired keys.

use std::collections::BTreeMap;

use fleet_types::Reason;
use fleet_types::documents::UnixSeconds;
use pgp::packet::{Packet, Signature, SignatureType};
use pgp::types::KeyDetails;

use super::armour::{self, Signatures};
use super::certificate::Component;
use super::cleartext;
use super::computing;
use super::keyring::{Keyring, fingerprint_text};
use super::packets::Packets;
use super::problems::{Fault, closest, explain, explain_fault, no_good_signature, unreadable};
use super::signature::{self, Form, Obstacle};
use super::standing::{self, CLOCK_TOLERANCE_SECONDS};
use super::strength::is_strong_hash;
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
    let document = Document {
        data: &cleartext.canonical,
        form: Form::Cleartext(&cleartext.hashes),
    };
    judge(document, &cleartext.signatures, keyring, now).map(|judged| judged.of(cleartext.payload))
}

/// Verifies a detached signature (`Release` and `Release.gpg`), in armour from its first byte to its last as apt demands
/// it. Errors as [`verify_cleartext`], `SignatureBad` for broken framing.
pub fn verify_detached(
    payload: &[u8],
    signature: &[u8],
    keyring: &Keyring,
    now: i64,
) -> Result<VerifiedPayload, Rejected> {
    let signatures = detached_signatures(signature)?;
    let document = Document {
        data: payload,
        form: Form::Detached {
            plain: cleartext::is_plain(payload),
        },
    };
    judge(document, &signatures, keyring, now).map(|judged| judged.of(payload.to_vec()))
}

/// Takes a cleartext-signed text apart *without judging its signatures*: for upstreams that are declared as not
/// signed. Errors as [`verify_cleartext`] for the framing.
pub fn unverified_cleartext(bytes: &[u8]) -> Result<Vec<u8>, Rejected> {
    Ok(cleartext::split(bytes)?.payload)
}

fn detached_signatures(signature: &[u8]) -> Result<Signatures, Rejected> {
    let bad = |text: String| Err(Rejected::new(Reason::SignatureBad, text));
    if armour::is_binary(signature) {
        return bad(
            "the detached signature is not in armour, and apt takes no other; the upstream must make it with `gpg --armor`"
                .to_owned(),
        );
    }
    let lines: Vec<&[u8]> = cleartext::lines(signature)
        .map(cleartext::without_blanks)
        .collect();
    if !lines.contains(&armour::BEGIN_SIGNATURE) {
        return Ok(Signatures::default());
    }
    armour::signatures(&lines).or_else(|(line, what)| {
        let line = line + 1;
        bad(format!(
            "line {line} of the detached signature: {what}; apt takes no such file"
        ))
    })
}

/// What signatures are computed over.
#[derive(Clone, Copy)]
struct Document<'a> {
    data: &'a [u8],
    form: Form<'a>,
}

/// What one signature is worth.
enum Verdict {
    /// Fingerprint of the primary key, and until when the one that signed vouches for anything.
    Good(String, i64),
    /// It does not count.
    Worthless(SignatureProblem),
    /// By a key of the keyring, and it does not fit the data: somebody tampered.
    Forged(SignatureProblem),
    /// apt or gpgv refuse the whole file for it.
    Refused(SignatureProblem),
}

/// What all signatures over something are worth.
struct Judged {
    /// By the primary key's fingerprint, until when.
    good: BTreeMap<String, i64>,
    problems: Vec<SignatureProblem>,
}

impl Judged {
    fn of(self, payload: Vec<u8>) -> VerifiedPayload {
        let (good, good_until) = self.good.into_iter().unzip();
        VerifiedPayload {
            payload,
            good,
            good_until,
            problems: self.problems,
        }
    }
}

fn judge(
    document: Document<'_>,
    signatures: &Signatures,
    keyring: &Keyring,
    now: i64,
) -> Result<Judged, Rejected> {
    let (mut good, mut forged, mut refused) = (BTreeMap::new(), Vec::new(), Vec::new());
    let mut worthless = Vec::new();
    let mut kind: Option<SignatureType> = None;
    let (mut end, mut in_first_block) = (0, false);
    for (count, framed) in Packets::new(&signatures.packets).enumerate() {
        if count == MAX_SIGNATURES {
            return Err(Rejected::new(
                Reason::SignatureBad,
                format!("more than {MAX_SIGNATURES} signatures"),
            ));
        }
        end += framed.as_ref().map_or(0, |framed| framed.raw.len());
        let verdict = match framed.and_then(|framed| Ok((framed.packet?, framed.raw))) {
            Ok((Packet::Signature(signature), raw)) => {
                let first = *kind.get_or_insert(signature.typ().unwrap_or(SignatureType::Binary));
                let verdict = judge_one(document, &signature, raw, keyring, now);
                of_one_kind(verdict, first, &signature)
            }
            Ok(_) => Verdict::Refused(unreadable("a packet that is no signature".to_owned())),
            Err(text) => Verdict::Refused(unreadable(text)),
        };
        match verdict {
            Verdict::Good(primary, until) => {
                let known = good.entry(primary).or_insert(until);
                *known = until.max(*known);
                in_first_block |= end <= signatures.first_block;
            }
            Verdict::Worthless(problem) => worthless.push(problem),
            Verdict::Forged(problem) => forged.push(problem),
            Verdict::Refused(problem) => refused.push(problem),
        }
    }
    if !forged.is_empty() {
        let text = explain("the signature is forged or the file damaged", &forged);
        return Err(Rejected::new(Reason::SignatureBad, text));
    }
    if let Some(reason) = closest(&refused) {
        let what = match good.is_empty() {
            true => "no signature is good",
            false => "beside a good signature stands one for which gpgv refuses the file",
        };
        return Err(Rejected::new(reason, explain(what, &refused)));
    }
    if good.is_empty() {
        return Err(no_good_signature(&worthless));
    }
    if !in_first_block {
        let text = "no signature of the first signature block is good, and sqv, by which today's apt verifies, reads no other; the \
             upstream must put its signatures into one block, or that of a key of the keyring first";
        return Err(Rejected::new(Reason::SignatureBad, text));
    }
    Ok(Judged {
        good,
        problems: worthless,
    })
}

/// gpgv reads a file once: as text or as bytes, as its first signature says, and passes over the others.
fn of_one_kind(verdict: Verdict, first: SignatureType, signature: &Signature) -> Verdict {
    match verdict {
        Verdict::Good(..) if signature.typ() != Some(first) => {
            Verdict::Worthless(SignatureProblem {
                key_id: signature::issuer(signature),
                reason: Reason::SignatureBad,
                text: "the first signature is over text and this one over bytes, or the reverse; gpgv passes over it"
                    .to_owned(),
            })
        }
        verdict => verdict,
    }
}

fn judge_one(
    document: Document<'_>,
    signature: &Signature,
    raw: &[u8],
    keyring: &Keyring,
    now: i64,
) -> Verdict {
    let problem = |reason, text: String| SignatureProblem {
        key_id: signature::issuer(signature),
        reason,
        text,
    };
    let named: Vec<_> = keyring
        .components()
        .filter(|component| signature::names(signature, *component))
        .collect();
    let candidates: Vec<_> = named
        .iter()
        .copied()
        .filter(|component| signature::can_be_by(signature, *component))
        .collect();
    if candidates.is_empty() && !named.is_empty() {
        let text = "the key that it names cannot have made such a signature";
        return Verdict::Forged(problem(Reason::SignatureBad, text.to_owned()));
    }
    match signature::obstacle(signature, document.form) {
        Some(Obstacle::Kind(text)) if candidates.is_empty() => {
            return Verdict::Refused(problem(Reason::SignatureBad, text));
        }
        Some(Obstacle::Kind(text)) => {
            return Verdict::Refused(problem(Reason::SignatureUnsupported, text));
        }
        Some(Obstacle::Other(reason, text)) => return Verdict::Refused(problem(reason, text)),
        None => {}
    }
    if candidates.is_empty() {
        return Verdict::Worthless(problem(
            Reason::KeyUnknown,
            "the key is not in the keyring; add it if the upstream announced it by a way that you trust".to_owned(),
        ));
    }
    // Not computed: gpgv does not, and of Ed25519 the library does not either.
    if !candidates
        .iter()
        .any(|component| signature::hash_is_long_enough(signature, *component))
    {
        return Verdict::Refused(problem(
            Reason::SignatureTooWeak,
            "the signature's hash is shorter than its key; the upstream must sign with a longer one".to_owned(),
        ));
    }
    if let Some(text) = signature::unread_by_sqv(signature, raw) {
        let text = format!(
            "{text}, and sqv, by which today's apt verifies, reads no such signature; it may have been altered on the way"
        );
        return Verdict::Refused(problem(Reason::SignatureBad, text));
    }
    match computed(document, signature, &candidates) {
        Ok(signer) => by_known_key(signature, signer, keyring, now, problem),
        Err(Uncomputed::Unsupported(text)) => {
            Verdict::Worthless(problem(Reason::SignatureUnsupported, text))
        }
        Err(Uncomputed::DoesNotFit) => Verdict::Forged(problem(
            Reason::SignatureBad,
            "the signature does not fit the content".to_owned(),
        )),
    }
}

enum Uncomputed {
    Unsupported(String),
    DoesNotFit,
}

/// Which of the keys made the signature.
fn computed<'a>(
    document: Document<'_>,
    signature: &Signature,
    candidates: &[Component<'a>],
) -> Result<Component<'a>, Uncomputed> {
    let signer = candidates
        .iter()
        .find(|component| verifies(document, signature, **component));
    if let Some(signer) = signer {
        return Ok(*signer);
    }
    let obstacle = candidates
        .iter()
        .find_map(|component| computing::obstacle(component.key().public_params()));
    Err(match obstacle {
        Some(what) => Uncomputed::Unsupported(format!(
            "{what}, which mirrorfleet cannot compute; another signature by a key of the keyring is needed beside it"
        )),
        None => Uncomputed::DoesNotFit,
    })
}

fn verifies(document: Document<'_>, signature: &Signature, component: Component<'_>) -> bool {
    let signature = computing::computable(signature, component.key().public_params());
    match component.subkey {
        Some(subkey) => signature.verify(&subkey.key, document.data).is_ok(),
        None => signature
            .verify(&component.certificate.primary, document.data)
            .is_ok(),
    }
}

/// What a signature that fits is worth.
fn by_known_key(
    signature: &Signature,
    signer: Component<'_>,
    keyring: &Keyring,
    now: i64,
    problem: impl Fn(Reason, String) -> SignatureProblem,
) -> Verdict {
    if signature::has_unknown_critical(signature) {
        return Verdict::Refused(problem(
            Reason::SignatureBad,
            "the signature demands that something is understood which gpgv does not know, or a stranger added that demand"
                .to_owned(),
        ));
    }
    if let Err(text) = made_in_time(signature, signer) {
        return Verdict::Refused(problem(Reason::SignatureBad, text.to_owned()));
    }
    let judged = standing::component(signer, keyring, now);
    if let Err(fault @ Fault::NotBound(_)) = judged {
        let (reason, text) = explain_fault(fault);
        return Verdict::Refused(problem(reason, text));
    }
    let judged = judged
        .map_err(explain_fault)
        .and_then(|()| counts(signature, signer, now));
    match judged {
        Ok(()) => Verdict::Good(
            fingerprint_text(&signer.certificate.primary.fingerprint()),
            standing::expiry_of(signer, now).unwrap_or(i64::MAX),
        ),
        Err((reason, text)) => Verdict::Worthless(problem(reason, text)),
    }
}

/// What gpgv reports as an error in a signature that fits.
fn made_in_time(signature: &Signature, signer: Component<'_>) -> Result<(), &'static str> {
    match signature.created() {
        None => Err("the signature does not say when it was made"),
        Some(created) if created < signer.key().created_at() => {
            Err("the signature claims to be older than its key")
        }
        Some(_) => Ok(()),
    }
}

/// What makes a signature worthless that fits and that gpgv can read.
fn counts(signature: &Signature, signer: Component<'_>, now: i64) -> Result<(), (Reason, String)> {
    let hash = signature.hash_alg().unwrap_or_default();
    if !is_strong_hash(hash) {
        return Err((
            Reason::SignatureTooWeak,
            format!("the signature uses {hash}; the upstream must sign with SHA-256 or better"),
        ));
    }
    if !signature::names_only(signature, signer) {
        return Err((
            Reason::SignatureBad,
            "the signature does not name its key, and no other, by its key id, as apt demands; it may have been altered \
             on the way"
                .to_owned(),
        ));
    }
    let at = signature
        .created()
        .map_or(0, |created| i64::from(created.as_secs()));
    if at > now.saturating_add(CLOCK_TOLERANCE_SECONDS) {
        return Err((
            Reason::SignatureBad,
            format!(
                "the signature claims to be made in the future, at {}; check both clocks",
                UnixSeconds(at)
            ),
        ));
    }
    match standing::signature_expiry(signature).filter(|expires| *expires <= now) {
        Some(expired) => Err((
            Reason::SignatureExpired,
            format!("the signature expired at {}", UnixSeconds(expired)),
        )),
        None => Ok(()),
    }
}
