//! Whether a key of the keyring may vouch for data now: bound by its own certificate, neither revoked nor expired, of
//! sufficient strength, and meant for signing.
//!
//! Component keys are judged, never whole certificates: signatures by strangers on user ids and broken packets
//! elsewhere in a certificate are of no consequence. Expiry follows GnuPG (`merge_selfsigs`), and every verified
//! revocation counts whatever its date and reason, as it does there.

use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType, SubpacketData};
use pgp::types::{KeyDetails, Tag, Timestamp};

use super::certificate::{Certificate, Component, Subkey, User};
use super::computing::{self, computable};
use super::keyring::Keyring;
use super::problems::Fault;
use super::signature;
use super::strength::{is_strong_hash, strong_enough};

/// A signature may be this many seconds younger than our clock.
pub(super) const CLOCK_TOLERANCE_SECONDS: i64 = 10;

/// 2023-02-01: until then SHA-1 is believed inside certificates (not over data), as in other OpenPGP policies: older
/// keys are bound with it, and forging a binding needs a second preimage.
const SHA1_BINDINGS_UNTIL: i64 = 1_675_209_600;

/// Judges one key at `now`.
pub(super) fn component(
    component: Component<'_>,
    keyring: &Keyring,
    now: i64,
) -> Result<(), Fault> {
    let may_sign = primary(component.certificate, keyring, now)?;
    match component.subkey {
        Some(subkey) => self::subkey(component.certificate, subkey, keyring, now),
        None if may_sign => Ok(()),
        None => Err(Fault::NotBound(
            "the primary key is not meant for signing data",
        )),
    }
}

/// Judges a primary key at `now`, and with it the whole certificate; tells whether it may sign data itself.
pub(super) fn primary(
    certificate: &Certificate,
    keyring: &Keyring,
    now: i64,
) -> Result<bool, Fault> {
    if is_revoked(certificate, keyring) {
        return Err(Fault::Revoked);
    }
    strong_enough(certificate.primary.public_params())?;
    if let Some(what) = computing::obstacle(certificate.primary.public_params()) {
        return Err(Fault::Unsupported(format!(
            "its certificate is bound by {what}, which mirrorfleet cannot compute"
        )));
    }
    let bindings = Bindings::of(certificate, now)?;
    if let Some(expired) = bindings
        .expiry(certificate)
        .filter(|expires| *expires <= now)
    {
        return Err(Fault::Expired(expired));
    }
    Ok(bindings.may_sign())
}

/// When a primary key expires, if ever and if its certificate can be judged at all.
pub(super) fn primary_expiry(certificate: &Certificate, now: i64) -> Option<i64> {
    Bindings::of(certificate, now).ok()?.expiry(certificate)
}

/// When a key vouches for nothing more, if ever: by its own expiry or that of its primary key.
pub(super) fn expiry_of(component: Component<'_>, now: i64) -> Option<i64> {
    let Component {
        certificate,
        subkey,
    } = component;
    let own = subkey.and_then(|subkey| {
        let binding = binding(certificate, subkey, now).ok()??;
        expiry(subkey.key.created_at(), binding)
    });
    let primary = primary_expiry(certificate, now);
    own.into_iter().chain(primary).min()
}

fn is_bound(signature: &Signature, certificate: &Certificate, subkey: &Subkey) -> bool {
    let primary = &certificate.primary;
    computable(signature, primary.public_params())
        .verify_subkey_binding(primary, &subkey.key)
        .is_ok()
}

/// What binds a subkey to its primary key, as of `now`.
fn binding<'a>(
    certificate: &Certificate,
    subkey: &'a Subkey,
    now: i64,
) -> Result<Option<&'a Signature>, Fault> {
    let since = (certificate.primary.created_at()).max(subkey.key.created_at());
    let bindings = of_type(subkey.signatures.iter(), SignatureType::SubkeyBinding);
    newest(bindings, since, now, |signature| {
        is_bound(signature, certificate, subkey)
    })
}

fn subkey(
    certificate: &Certificate,
    subkey: &Subkey,
    keyring: &Keyring,
    now: i64,
) -> Result<(), Fault> {
    let primary = &certificate.primary;
    let fingerprint = primary.fingerprint();
    let revoked = of_type(
        keyring
            .copies(fingerprint.as_bytes())
            .flat_map(Certificate::signatures),
        SignatureType::SubkeyRevocation,
    )
    .any(|signature| is_bound(signature, certificate, subkey));
    if revoked {
        return Err(Fault::Revoked);
    }
    strong_enough(subkey.key.public_params())?;
    let binding = binding(certificate, subkey, now)?.ok_or(Fault::NotBound(
        "no valid signature binds this subkey to its primary key",
    ))?;
    if let Some(expired) =
        expiry(subkey.key.created_at(), binding).filter(|expires| *expires <= now)
    {
        return Err(Fault::Expired(expired));
    }
    if !key_flags_allow_signing(binding).unwrap_or(false) {
        return Err(Fault::NotBound(
            "the subkey is not marked as meant for signing",
        ));
    }
    back_signed(certificate, subkey, binding, now)
}

/// A signing subkey must itself agree to belong to the primary key, or a stranger could adopt it.
fn back_signed(
    certificate: &Certificate,
    subkey: &Subkey,
    binding: &Signature,
    now: i64,
) -> Result<(), Fault> {
    // It may stand in the unhashed area too: it is a signature itself, so nobody can put one there.
    let packets = binding.config().into_iter();
    let packets = packets.flat_map(|config| {
        config
            .hashed_subpackets()
            .chain(config.unhashed_subpackets())
    });
    let embedded = packets.filter_map(|packet| match &packet.data {
        SubpacketData::EmbeddedSignature(signature) => Some(&**signature),
        _ => None,
    });
    let agrees = |signature: &Signature| {
        computable(signature, subkey.key.public_params())
            .verify_primary_key_binding(&subkey.key, &certificate.primary)
            .is_ok()
    };
    newest(embedded, subkey.key.created_at(), now, agrees)?
        .map(|_| ())
        .ok_or(Fault::NotBound(
            "the subkey has no valid back-signature over its primary key",
        ))
}

/// The self-signatures that say what a primary key is: its newest direct one, and the newest of each user id that is
/// not revoked.
struct Bindings<'a> {
    direct: Option<&'a Signature>,
    users: Vec<&'a Signature>,
}

impl<'a> Bindings<'a> {
    fn of(certificate: &'a Certificate, now: i64) -> Result<Self, Fault> {
        let primary = &certificate.primary;
        let own = certificate
            .direct
            .iter()
            .filter(|signature| signature.typ() == Some(SignatureType::Key));
        let direct = newest(own, primary.created_at(), now, |signature| {
            computable(signature, primary.public_params())
                .verify_key(primary)
                .is_ok()
        });
        let users = certificate
            .users
            .iter()
            .map(|user| user_binding(certificate, user, now));
        let (mut fault, mut found) = (
            None,
            Bindings {
                direct: None,
                users: Vec::new(),
            },
        );
        for (is_user, binding) in
            std::iter::once((false, direct)).chain(users.map(|binding| (true, binding)))
        {
            match binding {
                Ok(Some(signature)) if is_user => found.users.push(signature),
                Ok(signature) => found.direct = found.direct.or(signature),
                Err(weak) => fault = Some(weak),
            }
        }
        if found.direct.is_none() && found.users.is_empty() {
            return Err(fault.unwrap_or(Fault::NotBound(
                "the certificate has no valid self-signature",
            )));
        }
        // The newest first: what GnuPG believes where several user ids disagree.
        found
            .users
            .sort_by_key(|signature| std::cmp::Reverse(signature.created()));
        Ok(found)
    }

    fn expiry(&self, certificate: &Certificate) -> Option<i64> {
        let created = certificate.primary.created_at();
        self.direct
            .into_iter()
            .chain(self.users.iter().copied())
            .find_map(|signature| expiry(created, signature))
    }

    /// A certificate without key flags leaves its primary key every use of its algorithm.
    fn may_sign(&self) -> bool {
        let mut all = self.direct.into_iter().chain(self.users.iter().copied());
        all.find_map(key_flags_allow_signing).unwrap_or(true)
    }
}

/// The newest self-signature over a user id; none where its owner revoked it.
pub(super) fn user_binding<'a>(
    certificate: &Certificate,
    user: &'a User,
    now: i64,
) -> Result<Option<&'a Signature>, Fault> {
    let primary = &certificate.primary;
    let own = |signature: &Signature| {
        computable(signature, primary.public_params())
            .verify_certification(primary, Tag::UserId, &user.id)
            .is_ok()
    };
    let (revocations, certifications): (Vec<_>, Vec<_>) = user
        .signatures
        .iter()
        .filter(|signature| is_named_issuer(signature, primary))
        .partition(|signature| signature.typ() == Some(SignatureType::CertRevocation));
    let binding = newest(certifications.into_iter(), primary.created_at(), now, own)?;
    let revoked = revocations.into_iter().any(|revocation| {
        binding.is_some_and(|binding| revocation.created() >= binding.created()) && own(revocation)
    });
    Ok(binding.filter(|_| !revoked))
}

fn of_type<'a>(
    signatures: impl Iterator<Item = &'a Signature>,
    wanted: SignatureType,
) -> impl Iterator<Item = &'a Signature> {
    signatures.filter(move |signature| signature.typ() == Some(wanted))
}

/// Whether the certificate's owner, or a key that the owner appointed for it, revoked the whole certificate, in any copy
/// of it and wherever in it that stands: sqv looks for it as far.
fn is_revoked(certificate: &Certificate, keyring: &Keyring) -> bool {
    let primary = &certificate.primary;
    let fingerprint = primary.fingerprint();
    let of_type = |wanted| {
        let copies = keyring.copies(fingerprint.as_bytes());
        of_type(copies.flat_map(Certificate::signatures), wanted)
    };
    let by_owner = |signature: &Signature| {
        computable(signature, primary.public_params())
            .verify_key(primary)
            .is_ok()
    };
    if of_type(SignatureType::KeyRevocation).any(by_owner) {
        return true;
    }
    let appointments = of_type(SignatureType::Key).filter(|signature| by_owner(signature));
    let revokers = appointments
        .flat_map(|signature| signature.config())
        .flat_map(|config| config.hashed_subpackets());
    revokers
        .filter_map(|packet| match &packet.data {
            SubpacketData::RevocationKey(revoker) => Some(revoker.fingerprint.as_slice()),
            _ => None,
        })
        .flat_map(|fingerprint| keyring.copies(fingerprint))
        .map(|copy| &copy.primary)
        .any(|revoker| {
            of_type(SignatureType::KeyRevocation).any(|signature| {
                computable(signature, revoker.public_params())
                    .verify_key_third_party(primary, revoker)
                    .is_ok()
            })
        })
}

/// The newest signature that counts and that `verifies`. `TooWeak` when there is none but a weak one.
fn newest<'a>(
    signatures: impl Iterator<Item = &'a Signature>,
    not_before: Timestamp,
    now: i64,
    verifies: impl Fn(&Signature) -> bool,
) -> Result<Option<&'a Signature>, Fault> {
    let mut candidates: Vec<_> = signatures
        .filter(|signature| in_time(signature, not_before, now))
        .collect();
    // Stable: of two with one date the later in the file comes last, and so first below, as in GnuPG.
    candidates.sort_by_key(|signature| signature.created());
    let mut weak = None;
    for signature in candidates.into_iter().rev() {
        match weak_in_certificate(signature) {
            Some(fault) => weak = weak.or(Some(fault)),
            None if verifies(signature) => return Ok(Some(signature)),
            None => {}
        }
    }
    weak.map_or(Ok(None), Err)
}

/// Whether GnuPG would look at a signature of a certificate at all, as of `now`.
pub(super) fn in_time(signature: &Signature, not_before: Timestamp, now: i64) -> bool {
    let made_in_time = signature.created().is_some_and(|created| {
        created >= not_before
            && i64::from(created.as_secs()) <= now.saturating_add(CLOCK_TOLERANCE_SECONDS)
    });
    made_in_time
        && signature_expiry(signature).is_none_or(|expires| expires > now)
        && !signature::has_unknown_critical(signature)
        // gpgv does not see these at all.
        && signature.hash_alg() != Some(HashAlgorithm::Md5)
}

fn weak_in_certificate(signature: &Signature) -> Option<Fault> {
    let hash = signature.hash_alg().unwrap_or(HashAlgorithm::None);
    let old = signature
        .created()
        .is_some_and(|created| i64::from(created.as_secs()) < SHA1_BINDINGS_UNTIL);
    let accepted = is_strong_hash(hash) || (hash == HashAlgorithm::Sha1 && old);
    (!accepted).then(|| Fault::TooWeak(format!("the certificate binds the key with {hash}")))
}

/// Whether the signature names this key as its issuer; verification is what decides, this saves the useless ones.
pub(super) fn is_named_issuer(signature: &Signature, key: &impl KeyDetails) -> bool {
    signature.issuer_fingerprint().contains(&&key.fingerprint())
        || signature.issuer_key_id().contains(&&key.legacy_key_id())
}

fn key_flags_allow_signing(signature: &Signature) -> Option<bool> {
    signature
        .config()?
        .hashed_subpackets()
        .find_map(|packet| match &packet.data {
            SubpacketData::KeyFlags(flags) => Some(flags.sign()),
            _ => None,
        })
}

/// When a key that was made at `created` expires by this self-signature.
fn expiry(created: Timestamp, signature: &Signature) -> Option<i64> {
    ends(created, signature.key_expiration_time()?.as_secs())
}

/// When a signature itself expires, seconds since 1970-01-01T00:00:00Z.
pub(super) fn signature_expiry(signature: &Signature) -> Option<i64> {
    let lifetime = signature.signature_expiration_time()?.as_secs();
    ends(signature.created()?, lifetime)
}

/// Beyond 2106 the count of seconds begins anew, as it does for gpgv: such a thing has ended long ago.
fn ends(created: Timestamp, lifetime: u32) -> Option<i64> {
    (lifetime != 0).then(|| created.as_secs().wrapping_add(lifetime).into())
}
