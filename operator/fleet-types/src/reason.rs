//! The one list of reasons. They are API: the `reason` of a condition, of an Event and of a report, and the `reason`
//! label of a metric are always one of these words. `docs` and tests are generated from it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// What kind of situation a reason names, and so which exit code a run ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Exit 0: verified and current.
    Good,
    /// Exit 1: editing a manifest, a Secret or a ConfigMap is what helps.
    Manifest,
    /// Exit 2: the upstream is unreachable, incomplete or behind its authority.
    Upstream,
    /// Exit 3: refused by verification.
    Refused,
    /// Exit 4: the store: full, read-only, corrupt or busy.
    Storage,
    /// Only the controller says it; no run ends with it.
    Cluster,
}

impl Outcome {
    /// The exit code of the command line's contract.
    pub const fn exit_code(self) -> u8 {
        match self {
            Outcome::Good => 0,
            Outcome::Manifest => 1,
            Outcome::Upstream | Outcome::Cluster => 2,
            Outcome::Refused => 3,
            Outcome::Storage => 4,
        }
    }

    /// The worse of two results, in the order 1, 4, 3, 2, 0.
    pub fn worst(self, other: Outcome) -> Outcome {
        if other.badness() > self.badness() {
            other
        } else {
            self
        }
    }

    const fn badness(self) -> u8 {
        match self {
            Outcome::Good => 0,
            Outcome::Cluster => 1,
            Outcome::Upstream => 2,
            Outcome::Refused => 3,
            Outcome::Storage => 4,
            Outcome::Manifest => 5,
        }
    }
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident => $outcome:ident,)+) => {
        /// One fixed word for one situation.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum Reason { $($(#[doc = $doc])+ $name,)+ }

        impl Reason {
            /// All reasons, in the order of the list.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)+];

            /// The reason that a word stands for; a word of another version is [`Reason::Unknown`].
            pub fn of(word: &str) -> Reason {
                match word {
                    $(stringify!($name) => Reason::$name,)+
                    _ => Reason::Unknown,
                }
            }

            /// The word itself.
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$name => stringify!($name),)+ }
            }

            /// What kind of situation it is.
            pub const fn outcome(self) -> Outcome {
                match self { $(Reason::$name => Outcome::$outcome,)+ }
            }

            /// Whether it is about what was good once and is too old now.
            pub const fn is_of_age(self) -> bool {
                matches!(self, Reason::IndexExpired | Reason::SignatureExpired | Reason::KeyExpired)
            }

            /// Whether an upstream tells two truths.
            pub const fn is_contradiction(self) -> bool {
                matches!(self, Reason::Equivocation | Reason::ReleasePairMismatch)
            }

            /// One sentence for the documentation.
            pub const fn description(self) -> &'static str {
                match self { $(Reason::$name => concat!($($doc),+),)+ }
            }
        }
    };
}

reasons! {
    /// A new snapshot was verified and published.
    Published => Good,
    /// A new snapshot was verified and prepared; servers are told to serve it next.
    Prepared => Good,
    /// The upstream and our own inputs are as they were.
    Unchanged => Good,
    /// A new snapshot is prepared; a pin keeps another one served.
    Pinned => Good,
    /// What a mirror was asked for as by a client is what signed indices promise.
    Audited => Good,
    /// A person rolled back from the newest snapshot; it is served again when the upstream publishes something newer.
    RolledBack => Good,

    /// The manifest is not valid; the message names the field.
    InvalidSpec => Manifest,
    /// No Upstream has the name that `upstreamRef` gives.
    UpstreamNotFound => Manifest,
    /// The content block is not the one of the Upstream's type.
    ContentTypeMismatch => Manifest,
    /// The Secret or ConfigMap of the keyring, or its key, does not exist.
    KeyringNotFound => Manifest,
    /// The keyring holds no usable OpenPGP key.
    KeyringInvalid => Manifest,
    /// The Secret with the credentials does not exist or lacks its keys.
    CredentialsNotFound => Manifest,
    /// The Secret with the credentials does not name the upstream's host among those that may get them.
    CredentialsNotReleased => Manifest,
    /// The CA bundle does not exist or holds no certificate.
    CaBundleNotFound => Manifest,
    /// The pinned snapshot is not in the store.
    SnapshotNotFound => Manifest,
    /// An object with the name that we need exists and is not ours.
    NameConflict => Manifest,
    /// Two Mirrors claim the same serving path or store.
    PathTaken => Manifest,
    /// The installation or the cluster lacks what `serving.route` asks for.
    RouteUnavailable => Manifest,

    /// No endpoint answered.
    UpstreamUnreachable => Upstream,
    /// The upstream refuses us: 401 or 403.
    UpstreamForbidden => Upstream,
    /// The upstream asks us to come back later: 429 or 503 with Retry-After.
    UpstreamBusy => Upstream,
    /// The upstream's index names a file that the upstream does not have.
    UpstreamIncomplete => Upstream,
    /// The upstream says that it is being changed, and its files do not fit together yet.
    UpstreamUpdating => Upstream,
    /// No endpoint is as new as the authority.
    BehindAuthority => Upstream,
    /// The run took longer than `sync.timeout`.
    SyncTimeout => Upstream,
    /// A transfer brought fewer than 4 KiB within `sync.stallTimeout`.
    SyncStalled => Upstream,
    /// The run was ended from outside before it had a result.
    SyncInterrupted => Upstream,
    /// No region that is followed answered.
    SourceUnreachable => Upstream,
    /// The upstream of a registry failed several times, or asked to be left alone, and is not asked for a while; what is kept is served.
    UpstreamBlocked => Upstream,
    /// It was never fetched, and `pullThrough.offline` keeps anything from being fetched for clients.
    Offline => Upstream,
    /// The region that is followed no longer has the snapshot that was to be copied, or not all of it.
    SnapshotGone => Upstream,
    /// The region that is followed writes indices of a version that this program does not read.
    IndexVersionTooNew => Upstream,

    /// The upstream's index is not signed at all.
    SignatureMissing => Refused,
    /// A signature by a known key does not fit the content.
    SignatureBad => Refused,
    /// The signature has expired.
    SignatureExpired => Refused,
    /// The signature is by a key that is not in the keyring.
    KeyUnknown => Refused,
    /// The signing key has expired.
    KeyExpired => Refused,
    /// The signing key has been revoked, or is disabled by the list beside the keyring.
    KeyRevoked => Refused,
    /// Fewer master keys than `trust.webOfTrust.marginalsNeeded` vouch for the signing key.
    TrustMarginal => Refused,
    /// The signature uses an algorithm or key length that is too weak.
    SignatureTooWeak => Refused,
    /// The signature is by a kind of key that cannot be computed here, and no other one is good.
    SignatureUnsupported => Refused,
    /// Fewer good signatures than `trust.minGoodSignatures` asks for.
    TooFewSignatures => Refused,
    /// The upstream went back to an older state.
    RollbackDetected => Refused,
    /// Two different contents claim the same date, or two endpoints have had different ones at one time of the upstream's clock for too long.
    Equivocation => Refused,
    /// A suite's signed Release no longer says that it is of the same origin, label, code name or priority.
    ReleaseInfoChanged => Refused,
    /// The index is past its Valid-Until, or older than `trust.maxIndexAge`.
    IndexExpired => Refused,
    /// The index's date lies in the future.
    IndexFromFuture => Refused,
    /// The signed index is of another suite.
    SuiteMismatch => Refused,
    /// InRelease and Release disagree.
    ReleasePairMismatch => Refused,
    /// A known file has new content under the same name.
    ContentMutated => Refused,
    /// The new state of a suite lacks more of the files before than `verification.shrink` allows.
    ShrinkRefused => Refused,
    /// One path with two contents, or a file where a directory must be.
    PathConflict => Refused,
    /// The index lists no digest stronger than MD5 or SHA-1.
    WeakHash => Refused,
    /// A file's size or digest is not what the signed index promised.
    DigestMismatch => Refused,
    /// An index cannot be read as its format demands.
    IndexMalformed => Refused,
    /// An index or a file is larger than its bound.
    TooLarge => Refused,
    /// A name that could leave the repository.
    UnsafePath => Refused,
    /// The signed index does not offer a component or architecture that the manifest declares.
    NotOffered => Refused,

    /// The volume is full, or would be.
    StorageFull => Storage,
    /// The volume is mounted read-only.
    StorageReadOnly => Storage,
    /// A blob, a snapshot or the store's identity is damaged.
    StoreCorrupt => Storage,
    /// Another writer holds the store.
    StoreBusy => Storage,
    /// The volume holds the store of something else.
    StoreMismatch => Storage,
    /// The file system reported another error.
    StorageFailed => Storage,

    /// All is as declared and serving.
    Ready => Cluster,
    /// Objects are being created or changed.
    Progressing => Cluster,
    /// No snapshot exists yet.
    FirstSyncPending => Cluster,
    /// A sync Job is running for the first snapshot.
    FirstSyncRunning => Cluster,
    /// Another run at the same Upstream goes first.
    WaitingForTurn => Cluster,
    /// New syncs are stopped by `suspend`.
    Suspended => Cluster,
    /// Every suite was verified when it was last synced.
    Verified => Cluster,
    /// Nobody vouches for the content: the Upstream's manifest says that signatures are not looked at.
    NotVerified => Cluster,
    /// Every region serves what the authority has.
    Fresh => Cluster,
    /// The last sync found every region fresh; between syncs nobody may ask the authority.
    AssumedFresh => Cluster,
    /// A region is behind the authority for longer than the objective.
    Stale => Cluster,
    /// What is served, or what the authority has, cannot be found out.
    Unknown => Cluster,
    /// Every serving pod is ready.
    Serving => Cluster,
    /// A serving pod is not ready.
    PodNotReady => Cluster,
    /// A serving pod does not serve the snapshot that it was told to.
    OrderNotTaken => Cluster,
    /// A region copies what the others serve, and the Mirror's Service leaves it out until it serves that too.
    Joining => Cluster,
    /// A region is behind its authority for longer than the manifest allows; lists of regions leave it out until it has caught up.
    Withdrawn => Cluster,
    /// A region that lists had left out is in them again.
    Readmitted => Good,
    /// Whoever is to serve the HTTPRoute or Ingress of a region has not accepted it.
    RouteNotAccepted => Cluster,
    /// Regions copy the next snapshot, and none serves it before.
    Copying => Cluster,
    /// One region serves the next snapshot before the others do.
    CanarySoaking => Cluster,
    /// The next snapshot was found bad in the region that served it first; the others go on with what they served, and so does that region again.
    CanaryFailed => Cluster,
    /// Nobody could tell in time whether the next snapshot is well in the region that served it first; all serve it without.
    CanaryNotAudited => Cluster,
    /// Nothing newer is served, by `rollout.paused`.
    RolloutPaused => Cluster,
    /// The clock of a node is wrong: instants of its pods cannot be compared with others'.
    ClockSkew => Cluster,
    /// The image of a pod cannot be pulled.
    ImageNotPulled => Cluster,
    /// The scheduler finds no node for a pod.
    PodUnschedulable => Cluster,
    /// The program of a serving pod ends again and again.
    PodCrashing => Cluster,
    /// A quota, an admission rule or another rule of the cluster refuses an object or a pod.
    CreationRefused => Cluster,
    /// The claim is bound.
    VolumeBound => Cluster,
    /// The claim is not bound yet.
    VolumePending => Cluster,
    /// The claim or the node that holds the volume is lost.
    VolumeUnreachable => Cluster,
    /// The sync Job has been pending for more than five minutes.
    SyncUnschedulable => Cluster,
    /// The sync Job disappeared without leaving a report.
    SyncJobLost => Cluster,
    /// The authority answered the last probe.
    Reachable => Cluster,
    /// No run found the upstream to contradict itself.
    Consistent => Cluster,
    /// The keys that signed what Mirrors have go on to count.
    KeyringHealthy => Cluster,
    /// Within a fortnight too few are left of the keys that signed what Mirrors have; a keyring with newer ones helps.
    KeyExpiresSoon => Manifest,
    /// Only sync runs can tell what the authority has: nobody signs it and it has nothing small that tells of its state, or
    /// it needs a Secret and no probe Job has told of it yet.
    NotProbed => Cluster,
    /// The Job that asks an authority which needs a Secret cannot be made or begun, or left no report.
    ProbeFailed => Cluster,
    /// The API server refused or failed a write.
    ApiError => Cluster,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[expect(
    clippy::derivable_impls,
    reason = "the macro takes sentences about variants and no attributes"
)]
impl Default for Reason {
    fn default() -> Self {
        Reason::Unknown
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Reason, D::Error> {
        Ok(Reason::of(&String::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_result_wins_in_the_documented_order() {
        use Outcome::*;
        let order = [Manifest, Storage, Refused, Upstream, Good];
        for (i, worse) in order.iter().enumerate() {
            for better in &order[i..] {
                assert_eq!(worse.worst(*better), *worse);
                assert_eq!(better.worst(*worse), *worse);
            }
        }
        assert_eq!(order.map(Outcome::exit_code), [1, 4, 3, 2, 0]);
    }

    #[test]
    fn every_reason_is_a_word_that_kubernetes_accepts_and_reads_back() {
        for reason in Reason::ALL {
            assert!(
                reason.as_str().len() < 64
                    && reason.as_str().chars().all(|c| c.is_ascii_alphanumeric())
            );
            assert!(
                reason.description().ends_with('.'),
                "{reason} lacks a sentence"
            );
        }
    }
}
