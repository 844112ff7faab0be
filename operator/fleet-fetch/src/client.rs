//! The HTTP client of a run: TLS, proxy, User-Agent.

use std::sync::Arc;
use std::time::Duration;

use fleet_types::address::allowed;
use fleet_types::{Problem, Reason};
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Proxy};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_platform_verifier::Verifier;
use url::Url;

use super::options::FetchOptions;
use super::told::told;
use crate::{Access, Credentials};

/// Makes ring the process's TLS provider, unless one is installed already.
pub fn install_crypto_provider() {
    // An error means that another call was first, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// What every client of a run is made from. The roots of trust are read once.
pub(super) struct Recipe {
    pub user_agent: String,
    /// Offers no protocol: whoever connects says which.
    pub tls: rustls::ClientConfig,
    proxy: Option<Proxy>,
    /// What the environment says of proxies.
    system: Matcher,
    pub connect_timeout: Duration,
}

impl Recipe {
    pub fn new(options: &FetchOptions) -> Result<Recipe, Problem> {
        install_crypto_provider();
        Ok(Recipe {
            user_agent: user_agent(&options.user_agent, options.contact.as_deref()),
            tls: tls(&options.access)?,
            proxy: proxy(&options.access)?,
            system: Matcher::from_system(),
            connect_timeout: options.connect.min(options.stall),
        })
    }

    /// Whether requests for this URL go to a proxy.
    pub fn is_proxied(&self, url: &Url) -> bool {
        let from_environment = || {
            let uri = url.as_str().parse();
            uri.map_or(true, |uri| self.system.intercept(&uri).is_some())
        };
        self.proxy.is_some() || from_environment()
    }

    /// A client that a redirect brings to another origin: names lead it to no address of this machine or its cloud.
    pub fn guarded_client(&self) -> Result<Client, Problem> {
        self.build(self.builder().dns_resolver(Arc::new(Outside)))
    }

    /// A client with one connection to each origin.
    pub fn client(&self) -> Result<Client, Problem> {
        self.build(self.builder())
    }

    fn builder(&self) -> ClientBuilder {
        let mut tls = self.tls.clone();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Client::builder()
            .user_agent(&self.user_agent)
            // Each place that is asked has a connection of the budget: see [`super::redirect`].
            .redirect(Policy::none())
            .referer(false)
            // Repeating is the fetcher's business, which counts requests.
            .retry(reqwest::retry::never())
            .connect_timeout(self.connect_timeout)
            .pool_max_idle_per_host(1)
            .tls_backend_preconfigured(tls)
    }

    fn build(&self, mut builder: ClientBuilder) -> Result<Client, Problem> {
        if let Some(proxy) = &self.proxy {
            builder = builder.proxy(proxy.clone());
        }
        builder
            .build()
            .map_err(|e| unusable("the HTTP client cannot be set up", &told(&e)))
    }
}

/// Resolves names as the system does and leaves out addresses of this machine and its cloud. The connection is made to
/// what was judged, so a name that resolves differently the second time gains nothing.
struct Outside;

impl Resolve for Outside {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed = allowed(found).ok_or_else(|| {
                format!(
                    "{} is a name of this machine or its cloud; a redirect to it is not followed",
                    name.as_str()
                )
            })?;
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// Trusts the platform's roots, and those that the manifest names.
fn tls(access: &Access) -> Result<rustls::ClientConfig, Problem> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Verifier::new_with_extra_roots(certificates(access)?, provider.clone())
        .map_err(|e| unusable("no certificate authority can be used", &e.to_string()))?;
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable("TLS cannot be set up", &e.to_string()))?;
    Ok(builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

fn unusable(what: &str, why: &str) -> Problem {
    Problem::new(Reason::CaBundleNotFound, format!("{what}: {why}"))
}

fn user_agent(product: &str, contact: Option<&str>) -> String {
    let printable = |text: &str| {
        text.chars()
            .filter(|c| c.is_ascii_graphic() && !matches!(c, '(' | ')'))
            .collect::<String>()
    };
    match contact.map(printable).filter(|contact| !contact.is_empty()) {
        Some(contact) => format!("{} (+{contact})", printable(product)),
        None => printable(product),
    }
}

fn proxy(access: &Access) -> Result<Option<Proxy>, Problem> {
    let Some(url) = &access.proxy else {
        return Ok(None);
    };
    Proxy::all(url.clone()).map(Some).map_err(|e| {
        Problem::new(
            Reason::InvalidSpec,
            format!("access.proxyUrl cannot be used as a proxy: {}", told(&e)),
        )
    })
}

fn certificates(access: &Access) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let Some(pem) = &access.ca_bundle_pem else {
        return Ok(Vec::new());
    };
    let bad = |what: String| {
        Problem::new(
            Reason::CaBundleNotFound,
            format!("access.caBundleRef: {what}; give PEM certificates"),
        )
    };
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|e| bad(e.to_string()))?;
    if certificates.is_empty() {
        return Err(bad("the bundle holds no certificate".to_owned()));
    }
    let mut roots = rustls::RootCertStore::empty();
    for certificate in &certificates {
        roots
            .add(certificate.clone())
            .map_err(|e| bad(e.to_string()))?;
    }
    Ok(certificates)
}

pub(super) fn authorize(
    request: reqwest::RequestBuilder,
    credentials: Option<&Credentials>,
) -> reqwest::RequestBuilder {
    match credentials {
        Some(Credentials::Basic { username, password }) => {
            request.basic_auth(username, Some(password))
        }
        Some(Credentials::Bearer { token }) => request.bearer_auth(token),
        None => request,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_agent_names_a_contact_and_nothing_else_gets_into_the_header() {
        assert_eq!(
            user_agent("mirrorfleet/0.1.0", Some("mirrors@example.org")),
            "mirrorfleet/0.1.0 (+mirrors@example.org)"
        );
        assert_eq!(
            user_agent("mirrorfleet/0.1.0", Some("\r\n")),
            "mirrorfleet/0.1.0"
        );
        assert_eq!(user_agent("mirrorfleet/0.1.0", None), "mirrorfleet/0.1.0");
    }

    #[tokio::test]
    async fn a_name_of_this_machine_is_not_resolved_for_a_redirect() {
        let error = Outside.resolve("localhost".parse().unwrap()).await.err();
        assert!(error.unwrap().to_string().contains("is not followed"));
    }

    #[test]
    fn a_bundle_without_certificates_is_refused_with_the_field_that_names_it() {
        let access = Access {
            ca_bundle_pem: Some(b"nothing".to_vec()),
            ..Access::default()
        };
        let problem = certificates(&access).unwrap_err();
        assert_eq!(problem.reason, Reason::CaBundleNotFound);
        assert!(problem.message.contains("caBundleRef"), "{problem}");
    }
}
