//! Whom a run believes.

use fleet_api::upstream::Signatures;
use fleet_api::{Mirror, Upstream};
use fleet_formats::openpgp::Keyring;
use fleet_formats::seam::{SignaturePolicy, Trust};
use fleet_types::{Reason, Sha256};
use sha2::Digest;

use super::Resolver;
use crate::failure::Failure;

impl Resolver<'_> {
    /// With a digest, since a run depends on it.
    pub(super) fn trust(
        &self,
        mirror: &Mirror,
        upstream: &Upstream,
    ) -> Result<(Trust, Sha256), Failure> {
        let spec = &upstream.spec.trust;
        let bytes = match (&spec.keyring_ref, spec.signatures) {
            (_, Signatures::None) | (None, _) => None,
            (Some(key), _) => {
                let found = self.value(key.kind, mirror, &key.name, &key.key);
                Some(found.map_err(|what| {
                    Failure::new(Reason::KeyringNotFound, format!("the keyring: {what}"))
                })?)
            }
        };
        let keyring = bytes
            .as_deref()
            .map(|bytes| self.keyring(upstream, bytes))
            .transpose()?;
        let max_index_age = spec
            .max_index_age
            .map(|age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
        let mut hasher = sha2::Sha256::new();
        hasher.update(bytes.as_deref().unwrap_or_default());
        hasher.update(format!(
            "\0{:?} {} {max_index_age:?}",
            spec.signatures, spec.min_good_signatures
        ));
        if spec.all_signatures_good {
            hasher.update(" all");
        }
        let trust = Trust {
            keyring,
            signatures: match spec.signatures {
                Signatures::Required => SignaturePolicy::Required,
                Signatures::Optional => SignaturePolicy::Optional,
                Signatures::None => SignaturePolicy::None,
            },
            min_good_signatures: spec.min_good_signatures,
            all_signatures_good: spec.all_signatures_good,
            max_index_age,
        };
        Ok((trust, Sha256(hasher.finalize().into())))
    }

    fn keyring(&self, upstream: &Upstream, bytes: &[u8]) -> Result<Keyring, Failure> {
        Keyring::parse(bytes).map_err(|error| {
            let key = upstream.spec.trust.keyring_ref.as_ref();
            let place = key
                .map(|key| format!("{} {}, key {}", key.kind.as_str(), key.name, key.key))
                .unwrap_or_default();
            Failure::new(
                Reason::KeyringInvalid,
                format!("the keyring in {place}: {error}"),
            )
        })
    }
}
