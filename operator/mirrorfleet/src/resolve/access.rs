//! What a run shows to an upstream, and by which way it gets there.

use fleet_api::upstream::RefKind;
use fleet_api::{Mirror, Upstream, UpstreamSpec};
use fleet_sync::{Access, Credentials, Destination};
use fleet_types::Reason;
use url::Url;

use super::Resolver;
use crate::failure::Failure;

/// The key of a Secret with credentials that says, one a line, who may get them.
const HOSTS: &str = "hosts";

impl Resolver<'_> {
    /// How an Upstream is got at; `mirror` is one of its Mirrors, in whose namespace Secrets and ConfigMaps are.
    pub fn access(&self, mirror: &Mirror, upstream: &Upstream) -> Result<Access, Failure> {
        let spec = &upstream.spec.access;
        let (credentials, released_to) = match &spec.credentials_ref {
            None => (None, Vec::new()),
            Some(secret) => {
                let credentials = self.credentials(mirror, &secret.name)?;
                let released = self.released_to(mirror, &secret.name, &upstream.spec)?;
                (Some(credentials), released)
            }
        };
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
            released_to,
            ca_bundle_pem,
            proxy: spec.proxy_url.clone(),
        })
    }

    /// To whom the Secret may be given, by its own words: whoever writes an Upstream need not be allowed to read it. One
    /// of the Upstream's places at least must be among them; the others are asked without credentials.
    fn released_to(
        &self,
        mirror: &Mirror,
        secret: &str,
        upstream: &UpstreamSpec,
    ) -> Result<Vec<Destination>, Failure> {
        let refused = |text: String| Failure::new(Reason::CredentialsNotReleased, text);
        let text = self
            .value(RefKind::Secret, mirror, secret, HOSTS)
            .unwrap_or_default();
        let released = Destination::read_all(&String::from_utf8_lossy(&text)).map_err(|wrong| {
            refused(format!(
                "the credentials: key `{HOSTS}` of Secret {secret}: {wrong}"
            ))
        })?;
        let endpoints = upstream.endpoints.iter().map(|endpoint| &endpoint.url);
        let places: Vec<&Url> = std::iter::once(&upstream.authority.url)
            .chain(endpoints)
            .collect();
        if places
            .iter()
            .any(|url| released.iter().any(|to| to.covers(url)))
        {
            return Ok(released);
        }
        let line = places.iter().find_map(|url| Destination::of(url));
        let line = line.map(|line| line.to_string()).unwrap_or_default();
        let warning = match line.contains("://") {
            true => "; without TLS everybody on the way reads them",
            false => "",
        };
        Err(refused(format!(
            "the credentials: Secret {secret} does not say that this upstream may get them; if it may, add the line \
             `{line}` to its key `{HOSTS}`{warning}"
        )))
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
