//! Whom a run believes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use fleet_api::upstream::{Databases, KeyRef, Signatures, TrustSpec, UpstreamType};
use fleet_api::{Mirror, Upstream};
use fleet_formats::openpgp::{
    Keyring, Ownertrust, Pinned, WebOfTrust, parse_disabled, parse_trusted,
};
use fleet_formats::seam::{SignaturePolicy, Trust};
use fleet_types::{Reason, Sha256};
use sha2::Digest;

use super::Resolver;
use crate::failure::Failure;

/// All keys that a manifest names.
struct Keys {
    keyring: Keyring,
    /// Those of all keyrings; none where no keyring has a list.
    masters: Option<BTreeMap<String, Ownertrust>>,
    disabled: BTreeSet<String>,
}

impl Resolver<'_> {
    /// With a digest, since a run depends on it.
    pub(super) fn trust(
        &self,
        mirror: &Mirror,
        upstream: &Upstream,
    ) -> Result<(Trust, Sha256), Failure> {
        let spec = &upstream.spec.trust;
        let mut hasher = sha2::Sha256::new();
        let keys = match (&spec.keyring_ref, spec.signatures) {
            (_, Signatures::None) | (None, _) => None,
            (Some(_), _) => Some(self.keys(mirror, upstream, &mut hasher)?),
        };
        let max_index_age = spec
            .max_index_age
            .map(|age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
        hasher.update(format!(
            "\0{:?} {} {max_index_age:?}",
            spec.signatures, spec.min_good_signatures
        ));
        if spec.all_signatures_good {
            hasher.update(" all");
        }
        let is_arch = upstream.spec.upstream_type == UpstreamType::Arch;
        let databases = spec.databases.unwrap_or_default();
        let web = spec.web_of_trust.clone().unwrap_or_default();
        if is_arch && keys.is_some() {
            hasher.update(format!(
                " {} {:?} {databases:?}",
                web.marginals_needed, web.keyring_package
            ));
        }
        let (keyring, web_of_trust) = match keys {
            Some(keys) if is_arch => (
                None,
                Some(WebOfTrust::new(Pinned {
                    keyring: keys.keyring,
                    masters: keys.masters,
                    disabled: keys.disabled,
                    marginals_needed: web.marginals_needed,
                })),
            ),
            Some(keys) => (Some(keys.keyring), None),
            None => (None, None),
        };
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
            indices: match databases {
                _ if web_of_trust.is_none() => SignaturePolicy::None,
                Databases::Required => SignaturePolicy::Required,
                Databases::IfPresent => SignaturePolicy::Optional,
                Databases::None => SignaturePolicy::None,
            },
            keyring_package: web.keyring_package.filter(|_| web_of_trust.is_some()),
            web: web_of_trust,
        };
        Ok((trust, Sha256(hasher.finalize().into())))
    }

    /// What all of a manifest's keyrings hold; `hasher` is given all of it.
    fn keys(
        &self,
        mirror: &Mirror,
        upstream: &Upstream,
        hasher: &mut sha2::Sha256,
    ) -> Result<Keys, Failure> {
        let spec: &TrustSpec = &upstream.spec.trust;
        let (mut keyrings, mut masters, mut disabled) = (Vec::new(), None, BTreeSet::new());
        for key in spec.keyrings() {
            let found = self.value(key.kind, mirror, &key.name, &key.key);
            let bytes = found.map_err(|what| {
                Failure::new(Reason::KeyringNotFound, format!("the keyring: {what}"))
            })?;
            hasher.update(&bytes);
            let keyring = Keyring::parse(&bytes);
            keyrings.push(keyring.map_err(|error| invalid(key, &key.key, error))?);
            if upstream.spec.upstream_type != UpstreamType::Arch {
                continue;
            }
            let mut list = |name: &str| {
                let list = key.beside(name);
                // Either may be missing.
                let bytes = self.value(key.kind, mirror, &key.name, &list).ok()?;
                hasher.update(format!("\0{list}\0"));
                hasher.update(&bytes);
                Some((list, bytes))
            };
            if let Some((list, bytes)) = list(KeyRef::TRUSTED) {
                let trusted = parse_trusted(&bytes).map_err(|error| invalid(key, &list, error))?;
                masters.get_or_insert_with(BTreeMap::new).extend(trusted);
            }
            if let Some((list, bytes)) = list(KeyRef::REVOKED) {
                disabled
                    .extend(parse_disabled(&bytes).map_err(|error| invalid(key, &list, error))?);
            }
        }
        Ok(Keys {
            keyring: match keyrings.as_slice() {
                [one] => one.clone(),
                several => Keyring::merged(several.iter()),
            },
            masters,
            disabled,
        })
    }
}

fn invalid(key: &KeyRef, data_key: &str, error: impl Display) -> Failure {
    Failure::new(
        Reason::KeyringInvalid,
        format!(
            "the keyring in {} {}, key {data_key}: {error}",
            key.kind.as_str(),
            key.name
        ),
    )
}
