//! What is to be fetched and what came: records of the lists between plan, transfer and check.

use std::collections::BTreeMap;

use fleet_formats::seam::Promise;
use fleet_store::{Record, Sorted};
use fleet_types::{Digest, Expected, RepoPath, Sha256};

use super::want::{Signed, Wanted};
use crate::Problem;

/// Something that is to be fetched, in the order of its content, so that content with several names comes once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fetch {
    pub expected: Expected,
    /// As in [`Want`](super::want::Want).
    pub exact: bool,
    pub path: RepoPath,
    pub units: Vec<u16>,
}

impl Record for Fetch {
    fn write_key(&self, out: &mut Vec<u8>) {
        let is_sha512 = matches!(self.expected.digest, Digest::Sha512(_));
        out.push(u8::from(is_sha512) | u8::from(!self.exact) << 1);
        out.extend_from_slice(self.expected.digest.as_bytes());
        out.extend_from_slice(self.path.as_str().as_bytes());
    }

    fn write_value(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.expected.size.to_le_bytes());
        self.units
            .iter()
            .for_each(|unit| out.extend_from_slice(&unit.to_le_bytes()));
    }

    fn read(key: &[u8], value: &[u8]) -> Option<Self> {
        let (flags, rest) = key.split_first()?;
        let (digest, path) = if flags & 1 == 0 {
            rest.split_first_chunk::<32>()
                .map(|(d, path)| (Digest::Sha256(Sha256(*d)), path))?
        } else {
            rest.split_first_chunk::<64>()
                .map(|(d, path)| (Digest::Sha512(*d), path))?
        };
        let (size, units) = value.split_first_chunk::<8>()?;
        let units = units
            .chunks_exact(2)
            .filter_map(|pair| {
                pair.first_chunk::<2>()
                    .map(|pair| u16::from_le_bytes(*pair))
            })
            .collect();
        let path = RepoPath::new(std::str::from_utf8(path).ok()?).ok()?;
        Some(Fetch {
            expected: Expected {
                size: u64::from_le_bytes(*size),
                digest,
            },
            exact: flags & 2 == 0,
            path,
            units,
        })
    }
}

/// The signatures that are to be judged, by path.
pub(super) type Signatures = BTreeMap<RepoPath, Signature>;

/// A signature that is to be judged.
#[derive(Debug, Clone)]
pub(super) struct Signature {
    /// What it is over.
    pub over: Signed,
    pub max_bytes: u64,
    /// All units that cannot do without it.
    pub units: Vec<u16>,
    /// Its content, where that need not be fetched.
    pub here: Option<Sha256>,
}

impl Signature {
    pub fn new(wanted: &Wanted, over: &Signed, here: Option<Sha256>) -> Signature {
        Signature {
            here,
            over: over.clone(),
            max_bytes: wanted.want.size.min(Promise::MAX_SIGNATURE_BYTES),
            units: wanted.units.clone(),
        }
    }
}

/// Notes the contents of those that a transfer brought.
pub(super) fn note_arrived(
    signatures: &mut Signatures,
    fetched: &Sorted<Fetched>,
) -> Result<(), Problem> {
    if signatures.is_empty() {
        return Ok(());
    }
    for fetched in fetched.iter() {
        let Fetched { path, digest, .. } = fetched?;
        if let Some(signature) = signatures.get_mut(&path) {
            signature.here = Some(digest);
        }
    }
    Ok(())
}

/// Something that was fetched, by its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fetched {
    pub path: RepoPath,
    pub digest: Sha256,
    pub size: u64,
    pub modified: Option<i64>,
}

impl Record for Fetched {
    fn write_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.path.as_str().as_bytes());
    }

    fn write_value(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.digest.0);
        out.extend_from_slice(&self.size.to_le_bytes());
        if let Some(modified) = self.modified {
            out.extend_from_slice(&modified.to_le_bytes());
        }
    }

    fn read(key: &[u8], value: &[u8]) -> Option<Self> {
        let (digest, rest) = value.split_first_chunk::<32>()?;
        let (size, rest) = rest.split_first_chunk::<8>()?;
        let path = RepoPath::new(std::str::from_utf8(key).ok()?).ok()?;
        Some(Fetched {
            path,
            digest: Sha256(*digest),
            size: u64::from_le_bytes(*size),
            modified: rest
                .first_chunk::<8>()
                .map(|bytes| i64::from_le_bytes(*bytes)),
        })
    }
}
