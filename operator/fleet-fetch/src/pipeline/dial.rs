//! How an endpoint is reached without a client: the connection, and what every request says.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use fleet_types::{Problem, Reason};
use reqwest::header::AUTHORIZATION;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::super::Request;
use super::super::client::{Recipe, authorize};
use super::super::told::told;
use super::super::url_path::encode;
use crate::Credentials;

/// The ordinary way waits longer where it must.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Plain or encrypted.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(crate) struct Dialer {
    host: Host<String>,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// The request up to the file's own path, and what follows that.
    before: Vec<u8>,
    after: Vec<u8>,
    patience: Duration,
}

impl Dialer {
    /// None where requests to `base` go through a proxy or need what only a client knows.
    pub fn new(
        base: &Url,
        recipe: &Recipe,
        credentials: Option<&Credentials>,
    ) -> Result<Option<Dialer>, Problem> {
        let own_login = !base.username().is_empty() || base.password().is_some();
        if own_login || recipe.is_proxied(base) {
            return Ok(None);
        }
        let (Some(host), Some(port)) = (base.host(), base.port_or_known_default()) else {
            return Ok(None);
        };
        let host = host.to_owned();
        let tls = match base.scheme() {
            "https" => match ServerName::try_from(host.to_string()) {
                Ok(name) => Some((connector(recipe), name)),
                Err(_) => return Ok(None),
            },
            _ => None,
        };
        Ok(Some(Dialer {
            before: format!("GET {}/", base.path().trim_end_matches('/')).into_bytes(),
            after: fields(base, recipe, credentials)?,
            patience: CONNECT_TIMEOUT.min(recipe.connect_timeout),
            host,
            port,
            tls,
        }))
    }

    /// None where it cannot be reached.
    pub(super) async fn dial(&self) -> Option<Box<dyn Stream>> {
        tokio::time::timeout(self.patience, self.connect())
            .await
            .ok()?
            .ok()
    }

    async fn connect(&self) -> std::io::Result<Box<dyn Stream>> {
        let port = self.port;
        let tcp = match &self.host {
            Host::Domain(name) => TcpStream::connect((name.as_str(), port)).await?,
            Host::Ipv4(address) => TcpStream::connect((*address, port)).await?,
            Host::Ipv6(address) => TcpStream::connect((*address, port)).await?,
        };
        tcp.set_nodelay(true)?;
        Ok(match &self.tls {
            Some((tls, name)) => Box::new(tls.connect(name.clone(), tcp).await?),
            None => Box::new(tcp),
        })
    }

    pub fn write_request(&self, request: &Request, out: &mut BytesMut) {
        out.put_slice(&self.before);
        out.put_slice(encode(request.path.as_str()).as_bytes());
        out.put_slice(&self.after);
    }
}

fn connector(recipe: &Recipe) -> TlsConnector {
    let mut tls = recipe.tls.clone();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(tls))
}

/// All that follows the path, the same for every request.
fn fields(
    base: &Url,
    recipe: &Recipe,
    credentials: Option<&Credentials>,
) -> Result<Vec<u8>, Problem> {
    let host = base.host_str().unwrap_or_default();
    let port = base.port().map(|port| format!(":{port}"));
    let mut fields = format!(
        " HTTP/1.1\r\nHost: {host}{}\r\nUser-Agent: {}\r\nAccept: */*\r\n",
        port.unwrap_or_default(),
        recipe.user_agent
    )
    .into_bytes();
    let like_this = authorize(recipe.client()?.get(base.clone()), credentials).build();
    let like_this = like_this.map_err(|e| {
        let text = format!("access.credentialsRef makes no header: {}", told(&e));
        Problem::new(Reason::InvalidSpec, text)
    })?;
    if let Some(login) = like_this.headers().get(AUTHORIZATION) {
        fields.extend_from_slice(b"Authorization: ");
        fields.extend_from_slice(login.as_bytes());
        fields.extend_from_slice(b"\r\n");
    }
    fields.extend_from_slice(b"\r\n");
    Ok(fields)
}
