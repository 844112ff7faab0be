//! Which root files of a suite are believed: the signature and the pair, the first two obligations of [`super::verify`].

use fleet_types::{Reason, counted};

use crate::openpgp::{self, Keyring, VerifiedPayload};
use crate::seam::{Rejected, RootContent, SignaturePolicy, Trust, VerifyContext};

pub(super) const IN_RELEASE: &str = "InRelease";
pub(super) const RELEASE: &str = "Release";
pub(super) const RELEASE_GPG: &str = "Release.gpg";

struct RootFiles<'a> {
    in_release: Option<&'a RootContent>,
    release: Option<&'a RootContent>,
    release_gpg: Option<&'a RootContent>,
    /// There are indices that no Release vouches for.
    others: bool,
}

impl<'a> RootFiles<'a> {
    fn of(roots: &'a [RootContent]) -> Self {
        let named = |name| roots.iter().find(|root| root.path.file_name() == name);
        let (in_release, release) = (named(IN_RELEASE), named(RELEASE));
        let release_gpg = named(RELEASE_GPG);
        RootFiles {
            others: [in_release, release, release_gpg].iter().flatten().count() < roots.len(),
            in_release,
            release,
            release_gpg,
        }
    }
}

/// Whose signatures are good.
#[derive(Default)]
pub(super) struct Signers {
    /// Fingerprints.
    pub keys: Vec<String>,
    /// When fewer of them than are wanted vouch for anything, if ever.
    pub until: Option<i64>,
}

/// Obligations 1 and 2 are met for this.
pub(super) struct Believed<'a> {
    pub payload: Vec<u8>,
    pub signers: Signers,
    /// The files that may be served: all of one state.
    pub roots: Vec<&'a RootContent>,
    pub notes: Vec<String>,
}

pub(super) fn believe<'a>(
    roots: &'a [RootContent],
    context: &VerifyContext<'_>,
) -> Result<Believed<'a>, Rejected> {
    let files = RootFiles::of(roots);
    match (files.in_release, files.release) {
        (Some(in_release), release) => {
            let (payload, signers) = believe_in_release(&in_release.bytes()?, context)?;
            let mut believed = Believed {
                payload,
                signers,
                roots: vec![in_release],
                notes: vec![],
            };
            if let Some(release) = release {
                add_pair(&mut believed, release, files.release_gpg, context)?;
            }
            Ok(believed)
        }
        (None, Some(release)) => {
            let signature = files.release_gpg.map(RootContent::bytes).transpose()?;
            let bytes = release.bytes()?;
            let signers = believe_release(&bytes, signature.as_deref(), context)?;
            let roots = std::iter::once(release).chain(files.release_gpg).collect();
            Ok(Believed {
                payload: bytes.into_owned(),
                signers,
                roots,
                notes: vec![],
            })
        }
        (None, None) if files.others && context.trust.signatures == SignaturePolicy::None => {
            Ok(Believed {
                payload: Vec::new(),
                signers: Signers::default(),
                roots: Vec::new(),
                notes: vec![
                    "the upstream has no Release: the indices are taken as they are found"
                        .to_owned(),
                ],
            })
        }
        (None, None) => Err(Rejected::new(
            Reason::UpstreamIncomplete,
            "the upstream has neither InRelease nor Release; check the upstream's URL and the suite's name",
        )),
    }
}

/// The keyring that signatures are judged by; none where they are not to be judged.
fn judging_keyring(trust: &Trust) -> Result<Option<&Keyring>, Rejected> {
    match (trust.signatures, &trust.keyring) {
        (SignaturePolicy::None, _) | (SignaturePolicy::Optional, None) => Ok(None),
        (SignaturePolicy::Required | SignaturePolicy::Optional, Some(keyring)) => Ok(Some(keyring)),
        (SignaturePolicy::Required, None) => Err(Rejected::new(
            Reason::KeyringNotFound,
            "signatures are required, but the upstream names no keyring; set trust.keyringRef",
        )),
    }
}

fn believe_in_release(
    bytes: &[u8],
    context: &VerifyContext<'_>,
) -> Result<(Vec<u8>, Signers), Rejected> {
    let believed = match judging_keyring(context.trust)? {
        Some(keyring) => {
            openpgp::verify_cleartext(bytes, keyring, context.now).and_then(|verified| {
                let signers = enough(&verified, context.trust)?;
                Ok((verified.payload, signers))
            })
        }
        None => openpgp::unverified_cleartext(bytes).map(|payload| (payload, Signers::default())),
    };
    match believed {
        Err(missing) if missing.reason == Reason::SignatureMissing => {
            unsigned(context.trust, missing).map(|signers| (bytes.to_vec(), signers))
        }
        believed => believed,
    }
}

fn believe_release(
    payload: &[u8],
    signature: Option<&[u8]>,
    context: &VerifyContext<'_>,
) -> Result<Signers, Rejected> {
    let Some(keyring) = judging_keyring(context.trust)? else {
        return Ok(Signers::default());
    };
    let missing =
        "there is a Release, but neither InRelease nor Release.gpg, so nothing says who made it";
    let Some(signature) = signature else {
        return unsigned(
            context.trust,
            Rejected::new(Reason::SignatureMissing, missing),
        );
    };
    let verified = openpgp::verify_detached(payload, signature, keyring, context.now)?;
    enough(&verified, context.trust)
}

fn unsigned(trust: &Trust, missing: Rejected) -> Result<Signers, Rejected> {
    match trust.signatures {
        SignaturePolicy::Required => Err(missing),
        SignaturePolicy::Optional | SignaturePolicy::None => Ok(Signers::default()),
    }
}

fn enough(verified: &VerifiedPayload, trust: &Trust) -> Result<Signers, Rejected> {
    if trust.all_signatures_good && !verified.problems.is_empty() {
        return Err(openpgp::not_all_good(&verified.problems));
    }
    let wanted = trust.min_good_signatures as usize;
    if verified.good.len() >= wanted {
        // Those that last longest may be fewer than are wanted then.
        let mut until = verified.good_until.clone();
        until.sort_unstable_by_key(|end| std::cmp::Reverse(*end));
        let least = until.get(wanted.max(1) - 1).copied();
        return Ok(Signers {
            keys: verified.good.clone(),
            until: least.filter(|end| *end != i64::MAX),
        });
    }
    let others: String = verified
        .problems
        .iter()
        .take(8)
        .map(|problem| format!("; {}: {}", problem.key_id, problem.text))
        .collect();
    Err(Rejected::new(
        Reason::TooFewSignatures,
        format!(
            "{} of {} (trust.minGoodSignatures){others}",
            verified.good.len(),
            counted(wanted, "good signature")
        ),
    ))
}

/// Obligation 2. `Release` beside a good `InRelease` is served if it says the same, and `Release.gpg` if it is good too:
/// clients that need it believe nothing else. Errors: `ReleasePairMismatch` where the pair is validly signed and of
/// another state; what nobody signed decides about nothing and is left out.
///
/// A `Release.gpg` that does not fit is at first taken for an update that is under way. If it stays so, it is left out:
/// archives forget to renew it, since no client of today reads it, and what is signed is the same payload.
fn add_pair<'a>(
    believed: &mut Believed<'a>,
    release: &'a RootContent,
    signature: Option<&'a RootContent>,
    context: &VerifyContext<'_>,
) -> Result<(), Rejected> {
    let says_the_same = canonical(&believed.payload) == canonical(&release.bytes()?);
    if says_the_same {
        believed.roots.push(release);
    }
    let (Some(signature), keyring) = (signature, judging_keyring(context.trust)?) else {
        if !says_the_same {
            believed.notes.push(other_release("it has no signature"));
        }
        return Ok(());
    };
    let judged = keyring.map(|keyring| {
        openpgp::verify_detached(&release.bytes()?, &signature.bytes()?, keyring, context.now)
            .and_then(|verified| enough(&verified, context.trust))
    });
    match judged {
        None if says_the_same => believed.roots.push(signature),
        Some(Ok(_)) if says_the_same => believed.roots.push(signature),
        None => believed.notes.push(other_release("signatures are not judged")),
        Some(Ok(_)) => return Err(two_states(release)),
        Some(Err(rejected)) if rejected.reason == Reason::SignatureBad && !context.settled => {
            return Err(Rejected::unsettled(
                Reason::ReleasePairMismatch,
                format!("Release.gpg does not fit Release, though InRelease does ({rejected})"),
            ));
        }
        Some(Err(rejected)) if says_the_same => believed.notes.push(format!(
            "Release.gpg is not served, since it is of no use to any client ({rejected}); InRelease is good"
        )),
        Some(Err(rejected)) => believed.notes.push(other_release(&rejected.message)),
    }
    Ok(())
}

fn other_release(why: &str) -> String {
    format!(
        "Release and Release.gpg are not served: Release says something else than InRelease, which is good, and nothing \
         says who made it ({why})"
    )
}

fn two_states(release: &RootContent) -> Rejected {
    Rejected::unsettled(
        Reason::ReleasePairMismatch,
        format!(
            "InRelease and Release are validly signed and of different states; the upstream is probably being updated, the \
             next run tries again; if it stays so, `content.exclude: [{:?}]` takes InRelease alone",
            release.path.as_str()
        ),
    )
}

/// The text as signatures see it: no blanks at line ends, one line feed after each line. The digest of this is what
/// identifies a state, the same from `InRelease` and from `Release`.
pub(super) fn canonical(payload: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(payload.len() + 1);
    for line in payload
        .strip_suffix(b"\n")
        .unwrap_or(payload)
        .split(|byte| *byte == b'\n')
    {
        let end = line
            .iter()
            .rposition(|byte| !matches!(byte, b' ' | b'\t' | b'\r'))
            .map_or(0, |last| last + 1);
        text.extend_from_slice(line.get(..end).unwrap_or_default());
        text.push(b'\n');
    }
    text
}
