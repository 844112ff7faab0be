//! The mutation rule: new bytes under a known name are refused until a person allows them.

use fleet_store::Entry;
use fleet_types::{Reason, counted};

use super::base::Base;
use super::want::{Want, WantState};
use crate::{Problem, Verification};

/// Why content may not come under its name, looking at all that is known under it.
pub(super) fn mutation(
    want: &Want,
    before: Option<&Entry>,
    base: Option<&Base>,
    verification: &Verification,
) -> Option<Problem> {
    // Who signs anew changes nothing of what is signed.
    let judged = want.guarded && want.state != WantState::Carried && want.over.is_none();
    if !judged || verification.allow_mutation {
        return None;
    }
    let path = want.path.as_str();
    let elsewhere = base.iter().flat_map(|base| base.known_elsewhere(path));
    let mut known = before.copied().into_iter().chain(elsewhere);
    let before = known.find(|entry| entry.guarded && want.same_content(entry) == Some(false))?;
    let allowed = |allowed: &crate::AllowedMutation| {
        allowed.path == want.path.as_str() && Some(allowed.sha256) == want.sha256
    };
    if verification.allow_mutations.iter().any(allowed) {
        return None;
    }
    let text = format!(
        "{} was known with {} and SHA-256 {}, and is now listed with {} and {}; if the upstream says that this is right, put into the Mirror's spec `verification: {{{}}}`",
        want.path,
        counted(before.size, "byte"),
        before.digest,
        counted(want.size, "byte"),
        want.digest_text(),
        allowance(want)
    );
    Some(Problem::new(Reason::ContentMutated, text))
}

/// What lets the new content through, and nothing else where that can be said: by its SHA-256.
fn allowance(want: &Want) -> String {
    let path = serde_json::Value::from(want.path.as_str());
    match want.sha256 {
        Some(sha256) => format!("allowMutations: [{{path: {path}, sha256: \"{sha256}\"}}]"),
        None => "mutation: Allow".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use fleet_store::EntryState;
    use fleet_types::Sha256;

    use super::*;

    fn entry(content: u8) -> Entry {
        Want::payload("a", 0, content).entry(EntryState::Present, None, 0)
    }

    #[test]
    fn new_bytes_under_a_guarded_name_are_a_mutation_until_allowed() {
        let judge = |verification: &Verification| {
            mutation(
                &Want::payload("a", 0, 2),
                Some(&entry(1)),
                None,
                verification,
            )
            .map(|problem| problem.reason)
        };
        assert_eq!(
            judge(&Verification::default()),
            Some(Reason::ContentMutated)
        );
        let allowed = |content: u8| Verification {
            allow_mutations: vec![crate::AllowedMutation {
                path: "a".to_owned(),
                sha256: Sha256([content; 32]),
            }],
            ..Verification::default()
        };
        assert_eq!(
            judge(&allowed(3)),
            Some(Reason::ContentMutated),
            "allowed for other bytes"
        );
        assert_eq!(judge(&allowed(2)), None);
        assert_eq!(
            judge(&Verification {
                allow_mutation: true,
                ..Verification::default()
            }),
            None
        );
    }
}
