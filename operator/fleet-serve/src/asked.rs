//! What is asked, and under which terms.

use std::net::IpAddr;
use std::time::Instant;

use fleet_origin::Obtained;
use fleet_types::Sha256;
use futures::future::BoxFuture;
use http::{HeaderMap, Method};
use ipnet::IpNet;

use crate::forwarded::Front;
use crate::transaction::Way;

/// The part of a request that answers depend on.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub method: &'a Method,
    /// The path as it was sent, without query.
    pub path: &'a str,
    pub headers: &'a HeaderMap,
    pub way: Way<'a>,
    /// Who connected.
    pub peer: IpAddr,
    /// When it was asked: what is known is as old as it was then.
    pub at: Instant,
    /// Whether answering may wait for the disk.
    pub may_block: bool,
    /// What came of an earlier [`Later`] of this request.
    pub came: Option<&'a Came>,
}

/// Why there is no answer yet.
pub enum NotNow {
    NeedsDisk,
    Later(Later),
}

/// How often a request may wait for something that is fetched. More than once only where a snapshot is published, or what
/// came goes again, meanwhile.
pub const MOST_WAITS: usize = 3;

/// What is asked for is being fetched: ask again with what comes of it.
pub struct Later {
    pub digest: Sha256,
    pub coming: BoxFuture<'static, Obtained>,
}

/// What came of a [`Later`].
#[derive(Debug)]
pub struct Came {
    pub digest: Sha256,
    pub obtained: Obtained,
}

impl Later {
    pub async fn come(self) -> Came {
        Came {
            digest: self.digest,
            obtained: self.coming.await,
        }
    }
}

impl From<NeedsDisk> for NotNow {
    fn from(_: NeedsDisk) -> NotNow {
        NotNow::NeedsDisk
    }
}

/// The answer needs the disk, and the caller must not wait for it: ask again where that is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeedsDisk;

impl<'a> Asked<'a> {
    /// Who asks and how, by the word of these proxies.
    pub fn front(&self, proxies: &[IpNet]) -> Front<'a> {
        Front::read(self.peer, self.headers, proxies)
    }

    /// To be called before whatever may block.
    pub fn disk(&self) -> Result<(), NeedsDisk> {
        if self.may_block {
            return Ok(());
        }
        Err(NeedsDisk)
    }
}
