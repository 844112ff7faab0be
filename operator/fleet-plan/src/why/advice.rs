//! What a person can do about each reason. A reason that is forgotten here does not compile.

use fleet_types::Reason;

use super::facts::Facts;
use crate::names;

/// What helps, and the command for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    pub text: String,
    pub command: Option<String>,
}

impl Advice {
    pub fn nothing() -> Advice {
        Advice {
            text: String::new(),
            command: None,
        }
    }

    fn new(text: impl Into<String>, command: String) -> Advice {
        Advice {
            text: text.into(),
            command: Some(command),
        }
    }
}

/// What helps with a reason.
pub fn of(reason: Reason, facts: &Facts) -> Advice {
    if let Some(advice) = unattended(facts) {
        return advice;
    }
    match reason {
        Reason::Published
        | Reason::Prepared
        | Reason::Unchanged
        | Reason::Ready
        | Reason::Verified
        | Reason::Fresh
        | Reason::AssumedFresh
        | Reason::Serving
        | Reason::VolumeBound
        | Reason::Reachable
        | Reason::Consistent
        | Reason::KeyringHealthy
        | Reason::Audited
        | Reason::CanaryNotAudited
        | Reason::Readmitted => Advice::nothing(),
        Reason::Pinned => Advice::new("To let it go on with the newest:", facts.ours("unpin")),
        Reason::RolledBack => Advice::new(
            "It goes on by itself when the upstream publishes something newer. To let it be served again:",
            facts.ours("unskip"),
        ),
        Reason::Suspended => Advice::new("To let syncs begin again:", facts.ours("resume")),
        Reason::RolloutPaused => Advice::new(
            "To let it go on with the newest:",
            facts.patch(r#"{"spec":{"rollout":{"paused":false}}}"#),
        ),
        Reason::CanaryFailed => Advice::new(
            "Mend what is wrong there; the upstream's next state is tried by itself, and any edit of the Mirror has this one tried again:",
            facts.edit(),
        ),
        Reason::Progressing
        | Reason::FirstSyncPending
        | Reason::FirstSyncRunning
        | Reason::Joining
        | Reason::Withdrawn
        | Reason::Copying
        | Reason::CanarySoaking
        | Reason::WaitingForTurn => Advice::new(
            "There is nothing to do but to wait; to see what happens:",
            facts.watch(),
        ),
        Reason::Offline
        | Reason::InvalidSpec
        | Reason::ContentTypeMismatch
        | Reason::PathTaken
        | Reason::RouteUnavailable
        | Reason::NotOffered
        | Reason::UpstreamNotFound
        | Reason::KeyringNotFound
        | Reason::KeyringInvalid
        | Reason::CredentialsNotFound
        | Reason::CredentialsNotReleased
        | Reason::CaBundleNotFound
        | Reason::SnapshotNotFound
        | Reason::NameConflict => manifest(reason, facts),
        Reason::UpstreamUnreachable
        | Reason::UpstreamBusy
        | Reason::UpstreamIncomplete
        | Reason::UpstreamUpdating
        | Reason::BehindAuthority
        | Reason::UpstreamForbidden
        | Reason::SyncTimeout
        | Reason::SyncStalled
        | Reason::SyncInterrupted
        | Reason::SourceUnreachable
        | Reason::UpstreamBlocked
        | Reason::SnapshotGone
        | Reason::IndexVersionTooNew
        | Reason::SyncJobLost
        | Reason::Stale
        | Reason::NotProbed
        | Reason::ProbeFailed
        | Reason::Unknown => upstream(reason, facts),
        Reason::SignatureMissing
        | Reason::SignatureBad
        | Reason::SignatureExpired
        | Reason::KeyUnknown
        | Reason::KeyExpired
        | Reason::KeyExpiresSoon
        | Reason::KeyRevoked
        | Reason::TrustMarginal
        | Reason::SignatureTooWeak
        | Reason::SignatureUnsupported
        | Reason::TooFewSignatures => signature(facts),
        Reason::RollbackDetected
        | Reason::Equivocation
        | Reason::ReleaseInfoChanged
        | Reason::IndexExpired
        | Reason::ContentMutated
        | Reason::ShrinkRefused
        | Reason::ReleasePairMismatch => verification(facts),
        Reason::NotVerified => Advice::new(
            "Name a keyring in the Upstream, if somebody signs what it has:",
            facts.edit_upstream(),
        ),
        Reason::IndexFromFuture
        | Reason::SuiteMismatch
        | Reason::PathConflict
        | Reason::WeakHash
        | Reason::DigestMismatch
        | Reason::IndexMalformed
        | Reason::TooLarge
        | Reason::UnsafePath => fault_of_the_upstream(facts),
        Reason::StorageFull
        | Reason::StorageReadOnly
        | Reason::StoreCorrupt
        | Reason::StoreBusy
        | Reason::StoreMismatch
        | Reason::StorageFailed
        | Reason::VolumePending
        | Reason::VolumeUnreachable => storage(reason, facts),
        Reason::PodNotReady
        | Reason::OrderNotTaken
        | Reason::ImageNotPulled
        | Reason::PodUnschedulable
        | Reason::PodCrashing
        | Reason::CreationRefused
        | Reason::RouteNotAccepted
        | Reason::SyncUnschedulable
        | Reason::ClockSkew
        | Reason::ApiError => cluster(reason, facts),
    }
}

/// Nobody looks after the Mirror: what helps is a controller, whatever else is wrong.
fn unattended(facts: &Facts) -> Option<Advice> {
    let known = facts.known;
    if !known.is_unseen() && known.overdue().is_none() {
        return None;
    }
    let mut line =
        "kubectl get pods -A -l app.kubernetes.io/name=mirrorfleet,app.kubernetes.io/component=controller"
            .to_owned();
    for flag in &facts.program.cluster {
        line = format!("{line} {flag}");
    }
    Some(Advice::new(
        "If that stays so, see whether the controller runs:",
        line,
    ))
}

fn manifest(reason: Reason, facts: &Facts) -> Advice {
    let (keyring, login) = ("trust.keyringRef", "access.credentialsRef");
    match reason {
        Reason::UpstreamNotFound => Advice::new(
            "Create that Upstream, or make another Mirror that names one of those that there are:",
            facts.kubectl("get upstreams"),
        ),
        Reason::KeyringNotFound | Reason::KeyringInvalid => Advice::new(
            "Put the keyring where the Upstream looks for it:",
            facts.reference(keyring),
        ),
        Reason::CredentialsNotFound | Reason::CredentialsNotReleased => Advice::new(
            "Put the credentials, and the hosts that may get them, where the Upstream looks for them:",
            facts.reference(login),
        ),
        Reason::CaBundleNotFound => Advice::new(
            "Put the certificates where the Upstream looks for them:",
            facts.reference("access.caBundleRef"),
        ),
        Reason::SnapshotNotFound => Advice::new(
            "Pin a snapshot that the volume still has, or serve the newest:",
            facts.ours("unpin"),
        ),
        Reason::NameConflict => Advice::new(
            "See whose object that is, and delete or rename it:",
            facts.kubectl(&format!(
                "get pvc,svc,sts,pdb {} --show-labels",
                facts.child
            )),
        ),
        Reason::RouteUnavailable => Advice::new(
            "Correct the manifest, or have who installed mirrorfleet allow it:",
            facts.edit(),
        ),
        _ => Advice::new("Correct the manifest:", facts.edit()),
    }
}

fn upstream(reason: Reason, facts: &Facts) -> Advice {
    match reason {
        Reason::UpstreamForbidden => Advice::new(
            "Ask the upstream's operators, or correct its URL or its credentials:",
            facts.edit_upstream(),
        ),
        Reason::BehindAuthority => Advice::new(
            "It mends itself when an endpoint has caught up; another endpoint helps sooner:",
            facts.edit_upstream(),
        ),
        Reason::SyncTimeout => Advice::new(
            "What was fetched is kept; if runs need longer, raise spec.sync.timeout:",
            facts.edit(),
        ),
        Reason::SyncStalled => Advice::new(
            "What was fetched is kept; another endpoint helps if this one stays so slow:",
            facts.edit_upstream(),
        ),
        Reason::SyncInterrupted | Reason::SyncJobLost => {
            Advice::new("Its log may tell what ended it:", facts.ours("logs"))
        }
        Reason::UpstreamBlocked => Advice::new(
            "It is asked again by itself, after five minutes at most; why it fails, the log of the container that fetches tells:",
            facts.kubectl(&format!(
                "logs {} -c {}",
                names::serving_pod_name(&facts.child),
                crate::build::FILL_CONTAINER
            )),
        ),
        Reason::SourceUnreachable | Reason::SnapshotGone => Advice::new(
            "It is tried again by itself, from another region where one has it; why that region gives nothing, its pods may tell:",
            facts.serving_pods(),
        ),
        Reason::IndexVersionTooNew => Advice::new(
            "It mends itself once this region's pods run the version that the others do; which image each has:",
            facts.serving_pods(),
        ),
        Reason::Unknown | Reason::ProbeFailed => Advice::new(
            "What the Upstream's own conditions say may tell why:",
            facts.kubectl(&format!("describe upstream {}", facts.upstream)),
        ),
        _ => Advice::new("To try again at once:", facts.ours("sync-now")),
    }
}

/// What somebody signed wrongly, or somebody else.
fn signature(facts: &Facts) -> Advice {
    Advice::new(
        "Where the upstream has announced another key by a way that you trust, put it into the keyring; else leave it refused, since this is what a forgery looks like. The keyring is:",
        facts.reference("trust.keyringRef"),
    )
}

/// What a field of the manifest lets through.
fn verification(facts: &Facts) -> Advice {
    Advice::new(
        "Ask the upstream's operators; what they did on purpose is let through in spec.verification:",
        facts.edit(),
    )
}

/// What nobody here can mend.
fn fault_of_the_upstream(facts: &Facts) -> Advice {
    Advice::new(
        "Only the upstream can mend it: tell its operators what the log says:",
        facts.ours("logs"),
    )
}

fn storage(reason: Reason, facts: &Facts) -> Advice {
    match reason {
        Reason::StorageFull => Advice::new(
            "Give it a larger volume, or declare less in spec.content:",
            facts.grow(),
        ),
        Reason::StoreCorrupt => Advice::new(
            "The next sync fetches again what is damaged; to let it begin at once:",
            facts.ours("sync-now"),
        ),
        Reason::StoreBusy => Advice::new(
            "Something else holds the volume:",
            facts.kubectl(&format!(
                "get pods,jobs -l {}={}",
                fleet_api::labels::MIRROR,
                facts.mirror
            )),
        ),
        _ => Advice::new("The volume's events may tell why:", facts.describe_claim()),
    }
}

fn cluster(reason: Reason, facts: &Facts) -> Advice {
    match reason {
        Reason::PodCrashing => {
            let pod = names::serving_pod_name(&facts.child);
            Advice::new(
                "Its log tells why it ends:",
                facts.kubectl(&format!("logs {pod} --previous")),
            )
        }
        Reason::CreationRefused | Reason::ApiError => Advice::new(
            "Whoever looks after the cluster's rules can let it; what was refused:",
            facts.ours("events"),
        ),
        Reason::RouteNotAccepted => Advice::new(
            "Whoever looks after the Gateway or the ingress controller can accept it; what they say of it:",
            facts.describe_route(),
        ),
        Reason::SyncUnschedulable => Advice::new(
            "A node that fits the region's nodeSelector, tolerations and requests is missing:",
            facts.kubectl("get nodes --show-labels"),
        ),
        _ => Advice::new("The pod's events may tell why:", facts.describe_pod()),
    }
}
