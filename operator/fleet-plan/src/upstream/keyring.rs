//! Whether the keys that signed what Mirrors have go on to count.

use fleet_api::ConditionType;
use fleet_api::upstream::{Signatures, Upstream};
use fleet_types::{Outcome, Reason};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::seen::ObservedUpstream;
use crate::verdict::{Verdict, stands};

/// So long before keys expire somebody should bring newer ones: a new keyring has to be found, judged and rolled out.
const EARLY: SignedDuration = SignedDuration::from_hours(14 * 24);

/// By what runs told, which ended when the keyring was as it is.
pub fn healthy(
    upstream: &Upstream,
    seen: &ObservedUpstream,
    expires_at: Option<Timestamp>,
    before: &[Condition],
) -> Verdict {
    if upstream.spec.trust.signatures == Signatures::None {
        return Verdict::unknown(
            Reason::NotVerified,
            "trust.signatures is None: no key counts",
        );
    }
    let missing = seen.attempts.iter().filter(|attempt| {
        matches!(
            attempt.reason,
            Reason::KeyringNotFound | Reason::KeyringInvalid
        )
    });
    if let Some(attempt) = missing.min() {
        return Verdict::no(attempt.reason, attempt.told());
    }
    match expires_at {
        Some(at) if at <= seen.now => Verdict::no(
            Reason::KeyExpired,
            format!(
                "too few of the keys that signed what Mirrors have count since {at}: replace the keyring by one with newer keys, \
                 or nothing new is believed"
            ),
        ),
        Some(at) if seen.now >= early(at) => Verdict::no(
            Reason::KeyExpiresSoon,
            format!(
                "too few of the keys that signed what Mirrors have count from {at} on: replace the keyring by one with newer keys"
            ),
        ),
        Some(at) => Verdict::yes(
            Reason::KeyringHealthy,
            format!("the keys that signed what Mirrors have count until {at}"),
        ),
        None if was_judged(seen) => Verdict::yes(
            Reason::KeyringHealthy,
            "the keys that signed what Mirrors have do not expire",
        ),
        None => stands(
            ConditionType::KeyringHealthy,
            before,
            "no run has judged a signature yet",
        ),
    }
}

/// When time alone has something else said.
pub fn look_again(expires_at: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    let at = expires_at?;
    [early(at), at].into_iter().filter(|at| *at > now).min()
}

fn early(at: Timestamp) -> Timestamp {
    at.checked_sub(EARLY).unwrap_or(at)
}

fn was_judged(seen: &ObservedUpstream) -> bool {
    let mut attempts = seen.attempts.iter();
    attempts.any(|attempt| attempt.reason.outcome() == Outcome::Good)
}
