//! Whom pacman believes: a key that enough master keys vouch for, by GnuPG's rule with a list of masters that is pinned.
//!
//! A signer counts where its certificate stands ([`super::standing`]), no list disables it, and it is a master itself or
//! one of its user ids has certifications by masters: one by a master that is believed alone, or as many as are needed by
//! those that are believed together. The newest word of a master on a user id counts, so that it can take a certification
//! back. Certifications with a hash that is not strong do not count, nor those by a master that is disabled, revoked or
//! expired. Every signature that a file holds must be good, as for pacman.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use fleet_types::{Reason, counted};
use pgp::packet::{Signature, SignatureType};
use pgp::types::{KeyDetails, Tag};

use super::certificate::{Certificate, Component, User};
use super::computing::{self, computable};
use super::keyring::{Keyring, fingerprint_text};
use super::ownertrust::Ownertrust;
use super::problems::{closest, explain, explain_fault};
use super::standing;
use super::strength::is_strong_hash;
use super::{SignatureProblem, detached, signature};
use crate::seam::Rejected;

/// The keys that packages are believed by. Cheap to clone; what is found out about a key is remembered.
#[derive(Debug, Clone)]
pub struct WebOfTrust(Arc<Web>);

/// What a person names.
#[derive(Debug, Clone)]
pub struct Pinned {
    pub keyring: Keyring,
    /// The masters, by fingerprint in upper-case hexadecimal. Without a list every key of the keyring is believed, and none
    /// about others.
    pub masters: Option<BTreeMap<String, Ownertrust>>,
    /// Keys that vouch for nothing, by fingerprint.
    pub disabled: BTreeSet<String>,
    /// How many masters of [`Ownertrust::Marginal`] make a key valid.
    pub marginals_needed: u32,
}

#[derive(Debug)]
struct Web {
    pinned: Pinned,
    /// Each certificate once, with all that any copy of it holds.
    keyring: Keyring,
    masters: BTreeMap<String, Ownertrust>,
    disabled: BTreeSet<String>,
    /// Where the keys are that have an id.
    places: HashMap<[u8; 8], Vec<Place>>,
    found: Mutex<Found>,
}

/// A key: its certificate's number, and its own where it is a subkey.
type Place = (usize, Option<usize>);
type Standing = Result<(), (Reason, String)>;

/// What was found out as of one instant.
#[derive(Debug, Default)]
struct Found {
    now: i64,
    standings: HashMap<Place, Standing>,
    masters: Option<Arc<Vec<(usize, Ownertrust)>>>,
}

impl WebOfTrust {
    pub fn new(pinned: Pinned) -> WebOfTrust {
        WebOfTrust::of(pinned, &[], BTreeSet::new())
    }

    /// With certificates and a list of disabled keys of whomever: a certificate counts where the pinned masters vouch for
    /// it, and what takes trust away always counts.
    pub fn with_candidates(
        &self,
        candidates: &[Keyring],
        disabled: BTreeSet<String>,
    ) -> WebOfTrust {
        WebOfTrust::of(self.0.pinned.clone(), candidates, disabled)
    }

    fn of(pinned: Pinned, candidates: &[Keyring], mut disabled: BTreeSet<String>) -> WebOfTrust {
        let pinned_keys = pinned.keyring.certificates.iter();
        let masters = match &pinned.masters {
            Some(masters) => masters.clone(),
            None => pinned_keys
                .map(|key| fingerprint_text(&key.primary.fingerprint()))
                .map(|key| (key, Ownertrust::Nothing))
                .collect(),
        };
        disabled.extend(pinned.disabled.iter().cloned());
        let keyring = Keyring::merged(std::iter::once(&pinned.keyring).chain(candidates));
        WebOfTrust(Arc::new(Web {
            places: places(&keyring),
            found: Mutex::default(),
            pinned,
            keyring,
            masters,
            disabled,
        }))
    }

    /// Judges the signatures of a file over content, which is read once; the fingerprints of the keys that made them, in
    /// their order. Errors: why one of them does not count; `StorageFailed` where the content cannot be read.
    pub fn judge(
        &self,
        content: &mut dyn Read,
        file: &[u8],
        now: i64,
    ) -> Result<Vec<String>, Rejected> {
        let signatures = detached::read(file)?;
        let signed = detached::read_signed(&signatures, content)?;
        self.judge_all(&signatures, now, &|at, signature, key| {
            let signed = signed.get(at);
            signed.is_some_and(|signed| detached::fits(signature, signed, key))
        })
    }

    /// As [`WebOfTrust::judge`], of a file of which it is known that these keys made its signatures over the content.
    pub fn judge_signers(&self, file: &[u8], signers: &[String], now: i64) -> Result<(), Rejected> {
        let signatures = detached::read(file)?;
        let judged = self.judge_all(&signatures, now, &|at, _, key| {
            signers.get(at) == Some(&fingerprint_text(&key.key().fingerprint()))
        });
        judged.map(drop)
    }

    fn judge_all(
        &self,
        signatures: &[Signature],
        now: i64,
        fits: &dyn Fn(usize, &Signature, Component<'_>) -> bool,
    ) -> Result<Vec<String>, Rejected> {
        let (mut good, mut problems) = (Vec::new(), Vec::new());
        for (at, signature) in signatures.iter().enumerate() {
            match self
                .0
                .judge_one(signature, now, &|key| fits(at, signature, key))
            {
                Ok(signer) => good.push(signer),
                Err((reason, text)) => problems.push(SignatureProblem {
                    key_id: signature::issuer(signature),
                    reason,
                    text,
                }),
            }
        }
        match closest(&problems) {
            Some(reason) => Err(Rejected::new(
                reason,
                explain("the signature does not count", &problems),
            )),
            None => Ok(good),
        }
    }
}

impl Web {
    fn judge_one(
        &self,
        signature: &Signature,
        now: i64,
        fits: &dyn Fn(Component<'_>) -> bool,
    ) -> Result<String, (Reason, String)> {
        let bad = |text: &str| (Reason::SignatureBad, text.to_owned());
        let named = self.named(signature);
        if named.is_empty() {
            let text = "the key is not in the keyring; where the upstream's packages bring its keys with them, name the package in \
                 trust.webOfTrust.keyringPackage, else get a newer keyring";
            return Err((Reason::KeyUnknown, text.to_owned()));
        }
        let able: Vec<_> = named
            .into_iter()
            .filter(|(_, key)| signature::can_be_by(signature, *key))
            .collect();
        if able.is_empty() {
            return Err(bad(
                "the key that it names cannot have made such a signature",
            ));
        }
        if !able
            .iter()
            .any(|(_, key)| signature::hash_is_long_enough(signature, *key))
        {
            let text = "the signature's hash is shorter than its key";
            return Err((Reason::SignatureTooWeak, text.to_owned()));
        }
        let Some((place, key)) = able.iter().find(|(_, key)| fits(*key)) else {
            let obstacle =
                |(_, key): &(Place, Component<'_>)| computing::obstacle(key.key().public_params());
            return Err(match able.iter().find_map(obstacle) {
                Some(what) => (
                    Reason::SignatureUnsupported,
                    format!("{what}, which mirrorfleet cannot compute"),
                ),
                None => bad("it does not fit what it signs"),
            });
        };
        detached::counts(signature, *key, now)?;
        self.standing(*place, *key, now)?;
        Ok(fingerprint_text(&key.key().fingerprint()))
    }

    /// The keys that a signature names, in either of its parts.
    fn named(&self, signature: &Signature) -> Vec<(Place, Component<'_>)> {
        let by_id = signature.issuer_key_id().into_iter();
        let mut ids: Vec<[u8; 8]> = by_id.filter_map(|id| id.as_ref().try_into().ok()).collect();
        // The id of a version 4 key is the end of its fingerprint.
        let by_fingerprint = signature.issuer_fingerprint().into_iter();
        ids.extend(by_fingerprint.filter_map(|key| key.as_bytes().last_chunk::<8>().copied()));
        ids.sort_unstable();
        ids.dedup();
        let places = ids.iter().filter_map(|id| self.places.get(id)).flatten();
        let keys = places.filter_map(|place| Some((*place, self.key(*place)?)));
        keys.filter(|(_, key)| signature::names(signature, *key))
            .collect()
    }

    fn key(&self, (certificate, subkey): Place) -> Option<Component<'_>> {
        let certificate = self.keyring.certificates.get(certificate)?;
        let subkey = match subkey {
            Some(subkey) => Some(certificate.subkeys.get(subkey)?),
            None => None,
        };
        Some(Component {
            certificate,
            subkey,
        })
    }

    /// Whether a key may vouch for anything; found out once.
    fn standing(&self, place: Place, key: Component<'_>, now: i64) -> Standing {
        if let Some(known) = self.found(now, |found| found.standings.get(&place).cloned()) {
            return known;
        }
        let standing = self.judge_key(key, now);
        self.found(now, |found| found.standings.insert(place, standing.clone()));
        standing
    }

    /// What was found out before as of another instant counts for nothing.
    fn found<T>(&self, now: i64, ask: impl FnOnce(&mut Found) -> T) -> T {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.now != now {
            *found = Found {
                now,
                ..Found::default()
            };
        }
        ask(&mut found)
    }

    fn judge_key(&self, key: Component<'_>, now: i64) -> Standing {
        let certificate = key.certificate;
        let primary = fingerprint_text(&certificate.primary.fingerprint());
        let whose = match certificate.users.first() {
            Some(user) => format!(" of {}", String::from_utf8_lossy(user.id.id())),
            None => String::new(),
        };
        if self.disabled.contains(&primary) {
            let text =
                format!("the key{whose} is disabled, as the keyring's list of revoked keys has it");
            return Err((Reason::KeyRevoked, text));
        }
        standing::component(key, &self.keyring, now).map_err(|fault| {
            let (reason, text) = explain_fault(fault);
            (reason, format!("{text} (the key{whose})"))
        })?;
        if self.masters.contains_key(&primary) {
            return Ok(());
        }
        let masters = self.sound_masters(now);
        let vouchers = certificate
            .users
            .iter()
            .map(|user| self.vouchers(certificate, user, &masters, now));
        let best = vouchers.max().unwrap_or(0);
        let needed = self.pinned.marginals_needed;
        match best {
            best if best >= needed => Ok(()),
            0 => Err((
                Reason::KeyUnknown,
                format!(
                    "no master key vouches for the key{whose}; pacman calls that unknown trust"
                ),
            )),
            best => Err((
                Reason::TrustMarginal,
                format!(
                    "{} {} for the key{whose}, and {needed} are needed; pacman calls that marginal trust",
                    counted(best, "master key"),
                    if best == 1 { "vouches" } else { "vouch" },
                ),
            )),
        }
    }

    /// The masters whose word counts.
    fn sound_masters(&self, now: i64) -> Arc<Vec<(usize, Ownertrust)>> {
        if let Some(known) = self.found(now, |found| found.masters.clone()) {
            return known;
        }
        let certificates = self.keyring.certificates.iter().enumerate();
        let sound = certificates.filter_map(|(number, certificate)| {
            let fingerprint = fingerprint_text(&certificate.primary.fingerprint());
            let trust = *self.masters.get(&fingerprint)?;
            let counts = trust != Ownertrust::Nothing
                && !self.disabled.contains(&fingerprint)
                && standing::primary(certificate, &self.keyring, now).is_ok();
            counts.then_some((number, trust))
        });
        let sound = Arc::new(sound.collect::<Vec<_>>());
        self.found(now, |found| found.masters = Some(sound.clone()));
        sound
    }

    /// How many masters vouch for a user id; one that is believed alone counts as many as are needed.
    fn vouchers(
        &self,
        certificate: &Certificate,
        user: &User,
        masters: &[(usize, Ownertrust)],
        now: i64,
    ) -> u32 {
        if !matches!(standing::user_binding(certificate, user, now), Ok(Some(_))) {
            return 0;
        }
        let votes = masters.iter().map(|(number, trust)| {
            let master = self.keyring.certificates.get(*number);
            match master.is_some_and(|master| is_certified(certificate, user, master, now)) {
                true if *trust == Ownertrust::Full => self.pinned.marginals_needed,
                counts => u32::from(counts),
            }
        });
        votes.fold(0, u32::saturating_add)
    }
}

/// Whether the newest word of a master on a user id is that it belongs to this key.
fn is_certified(certificate: &Certificate, user: &User, master: &Certificate, now: i64) -> bool {
    let since = (certificate.primary.created_at()).max(master.primary.created_at());
    let mut words: Vec<&Signature> = user
        .signatures
        .iter()
        .filter(|word| {
            standing::is_named_issuer(word, &master.primary)
                && (word.is_certification() || is_revocation(word))
                && word.hash_alg().is_some_and(is_strong_hash)
                && word.exportable_certification()
                && standing::in_time(word, since, now)
        })
        .collect();
    words.sort_by_key(|word| (word.created(), is_revocation(word)));
    let newest = words.into_iter().rev().find(|word| {
        computable(word, master.primary.public_params())
            .verify_third_party_certification(
                &certificate.primary,
                &master.primary,
                Tag::UserId,
                &user.id,
            )
            .is_ok()
    });
    newest.is_some_and(|word| !is_revocation(word))
}

fn is_revocation(word: &Signature) -> bool {
    word.typ() == Some(SignatureType::CertRevocation)
}

fn places(keyring: &Keyring) -> HashMap<[u8; 8], Vec<Place>> {
    let mut places: HashMap<[u8; 8], Vec<Place>> = HashMap::new();
    for (number, certificate) in keyring.certificates.iter().enumerate() {
        let subkeys = certificate.subkeys.iter().enumerate();
        let subkeys = subkeys.map(|(at, subkey)| (Some(at), subkey.key.legacy_key_id()));
        let primary = std::iter::once((None, certificate.primary.legacy_key_id()));
        for (subkey, id) in primary.chain(subkeys) {
            if let Ok(id) = id.as_ref().try_into() {
                places.entry(id).or_default().push((number, subkey));
            }
        }
    }
    places
}
