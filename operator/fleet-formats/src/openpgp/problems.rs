//! What is wrong with keys and signatures, and the words for it.

use fleet_types::Reason;
use fleet_types::documents::UnixSeconds;

use super::SignatureProblem;
use crate::seam::Rejected;

/// Why a key of the keyring may not vouch for data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    Revoked,
    /// Since when, seconds since 1970-01-01T00:00:00Z.
    Expired(i64),
    TooWeak(String),
    /// The certificate does not say that this key may sign data for it.
    NotBound(&'static str),
    /// Whether it does cannot be computed.
    Unsupported(String),
}

pub(super) fn unreadable(text: String) -> SignatureProblem {
    SignatureProblem {
        key_id: "unknown".to_owned(),
        reason: Reason::SignatureBad,
        text,
    }
}

/// Without a good signature, the reason is that of the signature that came closest: known keys before unknown ones.
pub(super) fn no_good_signature(problems: &[SignatureProblem]) -> Rejected {
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

pub(super) fn closest(problems: &[SignatureProblem]) -> Option<Reason> {
    use Reason::{
        KeyExpired, KeyRevoked, KeyUnknown, SignatureBad, SignatureExpired, SignatureTooWeak,
        SignatureUnsupported, TrustMarginal,
    };
    let order = [
        KeyRevoked,
        KeyExpired,
        SignatureExpired,
        SignatureTooWeak,
        SignatureUnsupported,
        TrustMarginal,
        KeyUnknown,
        SignatureBad,
    ];
    order
        .into_iter()
        .find(|reason| problems.iter().any(|problem| problem.reason == *reason))
}

pub(super) fn explain(what: &str, problems: &[SignatureProblem]) -> String {
    let each: Vec<_> = problems
        .iter()
        .take(8)
        .map(|problem| format!("{}: {}", problem.key_id, problem.text))
        .collect();
    format!("{what}: {}", each.join("; "))
}

pub(super) fn explain_fault(fault: Fault) -> (Reason, String) {
    match fault {
        Fault::Revoked => (Reason::KeyRevoked, "the key has been revoked".to_owned()),
        Fault::Expired(since) => (
            Reason::KeyExpired,
            format!(
                "the key expired at {}; get a newer keyring from the upstream",
                UnixSeconds(since)
            ),
        ),
        Fault::TooWeak(text) => (Reason::SignatureTooWeak, text),
        Fault::NotBound(text) => (Reason::KeyUnknown, text.to_owned()),
        Fault::Unsupported(text) => (Reason::SignatureUnsupported, text),
    }
}
