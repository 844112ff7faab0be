//! How a run may use the network.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::retry::RetryPolicy;
use crate::{Access, Endpoint};

/// How a run may use the network.
#[derive(Clone)]
pub struct FetchOptions {
    pub authority: Url,
    /// Empty: the authority is the endpoint.
    pub endpoints: Vec<Endpoint>,
    pub access: Access,
    pub max_connections: usize,
    pub user_agent: String,
    pub contact: Option<String>,
    pub stall: Duration,
    /// For a connection to come about.
    pub connect: Duration,
    /// Whether an answer may lead elsewhere.
    pub follows_redirects: bool,
    pub retry: RetryPolicy,
    /// Where a program that fetches for us may put files, for a moment.
    pub scratch: PathBuf,
}
