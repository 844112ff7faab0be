//! Debian archives: `dists/` suites and flat repositories. <https://wiki.debian.org/DebianRepository/Format>

use std::io::Read;

use fleet_types::Reason;

use crate::seam::*;

/// The part of an archive that a Mirror declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebianSlice {
    /// Suite or code names as below `dists/` (`trixie-updates`), or directories ending in `/` for flat repositories.
    pub suites: Vec<String>,
    pub components: Vec<String>,
    pub architectures: Vec<String>,
    pub include: Include,
}

/// What is copied besides packages and their indices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Include {
    pub sources: bool,
    pub contents: bool,
    pub dep11: bool,
    pub installer: bool,
    pub pdiffs: bool,
}

/// The Debian format with a declared slice.
#[derive(Debug, Clone)]
pub struct Debian {
    slice: DebianSlice,
}

impl Debian {
    /// Errors: `InvalidSpec` when the slice names nothing or something that is no path.
    pub fn new(slice: DebianSlice) -> Result<Debian, Rejected> {
        Ok(Debian { slice })
    }
}

impl Format for Debian {
    fn units(&self) -> Vec<String> {
        self.slice.suites.clone()
    }
    fn roots(&self, _unit: &str) -> Result<RootPlan, Rejected> {
        Err(Rejected::new(Reason::InvalidSpec, "being written"))
    }
    fn verify(&self, _unit: &str, _roots: &[RootContent], _context: &VerifyContext<'_>) -> Result<Verified<UnitIndex>, Rejected> {
        Err(Rejected::new(Reason::InvalidSpec, "being written"))
    }
    fn read_index(
        &self,
        _group: &IndexGroup,
        _content: &mut dyn Read,
        _found: &mut dyn FnMut(Payload) -> Result<(), Rejected>,
    ) -> Result<(), Rejected> {
        Err(Rejected::new(Reason::InvalidSpec, "being written"))
    }
}
