//! What a run shows to an upstream, and by which way it gets there.

use fleet_api::upstream::RefKind;
use fleet_api::{Mirror, Upstream};
use fleet_sync::{Access, Credentials};
use fleet_types::Reason;

use super::Resolver;
use crate::failure::Failure;

impl Resolver<'_> {
    pub(super) fn access(&self, mirror: &Mirror, upstream: &Upstream) -> Result<Access, Failure> {
        let spec = &upstream.spec.access;
        let credentials = spec
            .credentials_ref
            .as_ref()
            .map(|secret| self.credentials(mirror, &secret.name))
            .transpose()?;
        let ca_bundle_pem = match &spec.ca_bundle_ref {
            None => None,
            Some(key) => {
                let found = self.value(key.kind, mirror, &key.name, &key.key);
                let bytes = found.map_err(|what| {
                    Failure::new(Reason::CaBundleNotFound, format!("the CA bundle: {what}"))
                })?;
                Some(pem_bundle(&key.name, &key.key, bytes)?)
            }
        };
        Ok(Access {
            credentials,
            ca_bundle_pem,
            proxy: spec.proxy_url.clone(),
        })
    }

    fn credentials(&self, mirror: &Mirror, secret: &str) -> Result<Credentials, Failure> {
        let text = |key| match self.value(RefKind::Secret, mirror, secret, key) {
            Ok(bytes) => String::from_utf8(bytes)
                .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
                .map_err(|_| {
                    Failure::new(
                        Reason::CredentialsNotFound,
                        format!("the credentials: key {key} of Secret {secret} is not text"),
                    )
                }),
            Err(what) => Err(Failure::new(
                Reason::CredentialsNotFound,
                format!("the credentials: {what}; write `username` and `password`, or `token`"),
            )),
        };
        match text("token") {
            Ok(token) => Ok(Credentials::Bearer { token }),
            Err(_) => Ok(Credentials::Basic {
                username: text("username")?,
                password: text("password")?,
            }),
        }
    }
}

fn pem_bundle(name: &str, key: &str, bytes: Vec<u8>) -> Result<Vec<u8>, Failure> {
    let marker = b"-----BEGIN CERTIFICATE-----";
    if bytes.windows(marker.len()).any(|window| window == marker) {
        return Ok(bytes);
    }
    Err(Failure::new(
        Reason::CaBundleNotFound,
        format!(
            "the CA bundle: key {key} of {name} holds no PEM certificate (`BEGIN CERTIFICATE`)"
        ),
    ))
}
