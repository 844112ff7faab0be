//! What is asked, and under which terms.

use std::net::IpAddr;
use std::time::Instant;

use http::{HeaderMap, Method};

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
}

/// The answer needs the disk, and the caller must not wait for it: ask again where that is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeedsDisk;

impl Asked<'_> {
    /// To be called before whatever may block.
    pub fn disk(&self) -> Result<(), NeedsDisk> {
        if self.may_block {
            return Ok(());
        }
        Err(NeedsDisk)
    }
}
