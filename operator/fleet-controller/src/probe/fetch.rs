//! One bounded, conditional request.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use fleet_types::{Reason, counted, shown_url};
use futures::StreamExt;
use http::StatusCode;
use http::header::{
    ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Certificate, Client, Proxy, Response};
use url::Url;

use super::address::{PublicResolver, check_url};
use super::budget::{Budget, FIRST_BYTES, MAX_BYTES, Share};
use super::error::ProbeError;
use crate::answers::innermost;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(30);
const MAX_REDIRECTS: usize = 5;

/// By what an upstream tells an unchanged file from a changed one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validators {
    etag: Option<HeaderValue>,
    last_modified: Option<HeaderValue>,
}

impl Validators {
    fn of(headers: &HeaderMap) -> Self {
        Validators {
            etag: headers.get(ETAG).cloned(),
            last_modified: headers.get(LAST_MODIFIED).cloned(),
        }
    }

    fn conditions(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let etag = self.etag.clone().map(|value| (IF_NONE_MATCH, value));
        etag.into_iter().chain(
            self.last_modified
                .clone()
                .map(|value| (IF_MODIFIED_SINCE, value)),
        )
    }
}

/// What came of a request.
#[derive(Debug)]
pub enum Fetched {
    /// The bytes, and the leave to hold them.
    Content(Vec<u8>, Validators, Share),
    Unchanged,
    Absent,
}

/// Fetches one file, no longer than `max_bytes` and [`MAX_BYTES`].
pub trait Fetcher: Sync {
    fn fetch(
        &self,
        url: &Url,
        max_bytes: u64,
        validators: Option<&Validators>,
    ) -> impl Future<Output = Result<Fetched, ProbeError>> + Send;
}

/// How an upstream is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    pub user_agent: String,
    /// PEM certificates to trust besides the system's.
    pub ca_bundle: Option<Vec<u8>>,
    /// The environment's proxy variables count without one.
    pub proxy: Option<Url>,
}

/// Fetches by HTTP from where a probe may go, see [`super::address`].
pub struct HttpFetcher {
    client: Client,
    budget: Budget,
}

impl HttpFetcher {
    pub fn new(access: &Access, budget: Budget) -> Result<Self, ProbeError> {
        let mut client = Client::builder()
            .user_agent(&access.user_agent)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .dns_resolver(Arc::new(PublicResolver))
            .redirect(Policy::custom(follow))
            .pool_max_idle_per_host(1);
        if let Some(bundle) = &access.ca_bundle {
            client = client.tls_certs_merge(certificates(bundle)?);
        }
        if let Some(proxy) = &access.proxy {
            check_url(proxy).map_err(|refused| {
                ProbeError::new(Reason::InvalidSpec, format!("access.proxyUrl: {refused}"))
            })?;
            let proxy = Proxy::all(proxy.as_str());
            client = client.proxy(proxy.map_err(|error| {
                ProbeError::new(Reason::InvalidSpec, format!("access.proxyUrl: {error}"))
            })?);
        }
        client
            .build()
            .map(|client| HttpFetcher { client, budget })
            .map_err(|error| unreachable_because(&innermost(&error)))
    }
}

fn certificates(bundle: &[u8]) -> Result<Vec<Certificate>, ProbeError> {
    let none = || {
        ProbeError::new(
            Reason::CaBundleNotFound,
            "access.caBundleRef: there is no PEM certificate in it",
        )
    };
    let certificates = Certificate::from_pem_bundle(bundle).map_err(|_| none())?;
    if certificates.is_empty() {
        Err(none())
    } else {
        Ok(certificates)
    }
}

/// Whether a redirect is followed: a few times, within one origin. Whoever answers must not choose where else the
/// controller's network is asked.
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    if attempt.previous().len() > MAX_REDIRECTS {
        return attempt.error("too many redirects");
    }
    let is_here = attempt
        .previous()
        .first()
        .is_some_and(|url| url.origin() == attempt.url().origin());
    match is_here {
        true => attempt.follow(),
        false => {
            attempt.error("a redirect leads to another origin; name that one as the authority")
        }
    }
}

impl Fetcher for HttpFetcher {
    async fn fetch(
        &self,
        url: &Url,
        max_bytes: u64,
        validators: Option<&Validators>,
    ) -> Result<Fetched, ProbeError> {
        check_url(url).map_err(|refused| {
            ProbeError::new(
                Reason::InvalidSpec,
                format!("{}: {refused}", shown_url(url.as_str())),
            )
        })?;
        let shown = shown_url(url.as_str());
        let failed =
            |error: reqwest::Error| unreachable_because(&format!("{shown}: {}", innermost(&error)));
        let conditions: HeaderMap = validators
            .into_iter()
            .flat_map(Validators::conditions)
            .collect();
        let response = self
            .client
            .get(url.clone())
            .headers(conditions)
            .send()
            .await
            .map_err(failed)?;
        match response.status() {
            StatusCode::OK => self.read(response, max_bytes.min(MAX_BYTES)).await,
            StatusCode::NOT_MODIFIED => Ok(Fetched::Unchanged),
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Fetched::Absent),
            status => Err(ProbeError::new(
                reason_of(status),
                format!("{shown}: answered {status}"),
            )),
        }
    }
}

impl HttpFetcher {
    async fn read(&self, response: Response, max_bytes: u64) -> Result<Fetched, ProbeError> {
        let shown = shown_url(response.url().as_str());
        let too_large = || {
            ProbeError::new(
                Reason::TooLarge,
                format!(
                    "{shown}: longer than {}, the most that is read for a probe; a sync reads more",
                    counted(max_bytes, "byte")
                ),
            )
        };
        if response
            .content_length()
            .is_some_and(|length| length > max_bytes)
        {
            return Err(too_large());
        }
        let validators = Validators::of(response.headers());
        let mut share = Share::default();
        let mut body = Vec::new();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk
                .map_err(|error| unreachable_because(&format!("{shown}: {}", innermost(&error))))?;
            let length = body.len() + chunk.len();
            if length as u64 > max_bytes {
                return Err(too_large());
            }
            if length > FIRST_BYTES {
                self.budget.grow(&mut share).await;
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Fetched::Content(body, validators, share))
    }
}

fn reason_of(status: StatusCode) -> Reason {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Reason::UpstreamForbidden,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Reason::UpstreamBusy,
        _ => Reason::UpstreamUnreachable,
    }
}

fn unreachable_because(message: &str) -> ProbeError {
    ProbeError::new(Reason::UpstreamUnreachable, message)
}
