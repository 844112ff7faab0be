//! What a person can do where there is no cluster: manifests are files, and a signal has them read again.

use fleet_types::{Outcome, Reason};

use super::advice::Advice;

/// What helps with a reason.
pub fn advice(reason: Reason) -> Advice {
    let text = match reason {
        Reason::Pinned | Reason::RolledBack | Reason::Suspended => {
            "It stays so until its manifest says otherwise: edit it, and send SIGHUP to this process."
        }
        Reason::StorageFull => {
            "Make room on its disk, or declare less in spec.content and send SIGHUP to this process."
        }
        Reason::StoreCorrupt => "The next sync fetches again what is damaged.",
        Reason::StoreBusy => {
            "Another process works on its store: end it, or wait until it has ended."
        }
        Reason::KeyUnknown
        | Reason::KeyExpired
        | Reason::KeyRevoked
        | Reason::SignatureBad
        | Reason::SignatureMissing => {
            "Where the upstream has announced another key by a way that you trust, put it into the keyring and send SIGHUP to this process; else leave it refused, since this is what a forgery looks like."
        }
        Reason::UpstreamForbidden => {
            "Ask the upstream's operators, or correct its URL or its credentials and send SIGHUP to this process."
        }
        Reason::UpstreamBlocked => {
            "It is asked again by itself, after five minutes at most; its log tells why it fails."
        }
        _ => match reason.outcome() {
            Outcome::Good => "",
            Outcome::Manifest => "Correct the manifest, and send SIGHUP to this process.",
            Outcome::Upstream => {
                "It is tried again by itself; another endpoint in its Upstream helps sooner."
            }
            Outcome::Refused => {
                "Ask the upstream's operators; what they did on purpose is let through in spec.verification, which is read again at SIGHUP."
            }
            Outcome::Storage => "Its log tells what the disk refused.",
            Outcome::Cluster => "",
        },
    };
    Advice {
        text: text.to_owned(),
        command: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_has_something_that_helps_and_nothing_needs_a_cluster() {
        for reason in Reason::ALL.iter().copied() {
            let told = advice(reason);
            let helps = matches!(reason.outcome(), Outcome::Good | Outcome::Cluster);
            assert!(helps || told.text.ends_with('.'), "{reason}: {}", told.text);
            assert!(!told.text.contains("kubectl") && !told.text.contains("pod"));
        }
    }
}
