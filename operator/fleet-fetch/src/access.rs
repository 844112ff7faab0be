//! How an upstream is reached: its endpoints, and what they are told of who asks.

use std::fmt;

use url::Url;

use crate::Destination;

/// A URL of the upstream that content is fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// A word for it in messages.
    pub name: String,
    /// http, https, rsync or file; the folder that repository paths are relative to.
    pub url: Url,
    /// Lower is tried first.
    pub priority: i32,
}

/// How to reach the upstream.
#[derive(Debug, Clone, Default)]
pub struct Access {
    pub credentials: Option<Credentials>,
    /// To whom the credentials may be given.
    pub released_to: Vec<Destination>,
    /// PEM certificates that are trusted besides the platform's.
    pub ca_bundle_pem: Option<Vec<u8>>,
    /// Used for all requests; without it the environment's proxy variables count.
    pub proxy: Option<Url>,
}

impl Access {
    /// The credentials for requests to this endpoint; none where they are not meant for it.
    pub fn credentials_for(&self, endpoint: &Url) -> Option<&Credentials> {
        let is_released = |to: &Destination| to.covers(endpoint);
        self.credentials
            .as_ref()
            .filter(|_| self.released_to.iter().any(is_released))
    }
}

/// Sent to an endpoint's own origin only, never along a redirect to another.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    Basic { username: String, password: String },
    Bearer { token: String },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credentials::Basic { .. } => "Basic(..)",
            Credentials::Bearer { .. } => "Bearer(..)",
        })
    }
}
