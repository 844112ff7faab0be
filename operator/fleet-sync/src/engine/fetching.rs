//! What is to be fetched and what came: records of the lists between plan, transfer and check.

use std::path::Path;

use fleet_formats::seam::Promise;
use fleet_store::{Record, RunSorter, Sorted};
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
        write_units(&self.units, out);
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
        let path = RepoPath::new(std::str::from_utf8(path).ok()?).ok()?;
        Some(Fetch {
            expected: Expected {
                size: u64::from_le_bytes(*size),
                digest,
            },
            exact: flags & 2 == 0,
            path,
            units: read_units(units),
        })
    }
}

fn write_units(units: &[u16], out: &mut Vec<u8>) {
    units
        .iter()
        .for_each(|unit| out.extend_from_slice(&unit.to_le_bytes()));
}

fn read_units(bytes: &[u8]) -> Vec<u16> {
    let (pairs, _) = bytes.as_chunks::<2>();
    pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect()
}

fn read_path(bytes: &[u8]) -> Option<RepoPath> {
    RepoPath::new(std::str::from_utf8(bytes).ok()?).ok()
}

/// The signatures of a plan.
pub(super) struct Signatures {
    /// To be judged.
    pub all: Sorted<Signature>,
    /// To be fetched.
    pub missing: Sorted<SignatureFetch>,
}

impl Signatures {
    /// Those over files that are wanted. `spill_dir` is as that of a [`RunSorter`].
    pub fn only(
        &self,
        spill_dir: &Path,
        is_wanted: impl Fn(&RepoPath) -> bool,
    ) -> Result<Signatures, Problem> {
        let (mut all, mut missing) = (RunSorter::new(spill_dir), RunSorter::new(spill_dir));
        for signature in self.all.iter() {
            let signature = signature?;
            if is_wanted(&signature.over.path) {
                all.push(&signature)?;
            }
        }
        for signature in self.missing.iter() {
            let signature = signature?;
            if is_wanted(&signature.over.path) {
                missing.push(&signature)?;
            }
        }
        Ok(Signatures {
            all: all.finish()?,
            missing: missing.finish()?,
        })
    }
}

/// A signature that is to be judged, in the order of paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signature {
    pub path: RepoPath,
    /// What it is over.
    pub over: Signed,
    /// All units that cannot do without it.
    pub units: Vec<u16>,
    /// Its content, where that need not be fetched.
    pub here: Option<Sha256>,
}

impl Record for Signature {
    fn write_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.path.as_str().as_bytes());
    }

    fn write_value(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.over.sha256.0);
        out.push(u8::from(self.here.is_some()));
        out.extend_from_slice(&self.here.unwrap_or(Sha256([0; 32])).0);
        let over = self.over.path.as_str().as_bytes();
        out.extend_from_slice(&(over.len() as u32).to_le_bytes());
        out.extend_from_slice(over);
        write_units(&self.units, out);
    }

    fn read(key: &[u8], value: &[u8]) -> Option<Self> {
        let (over, rest) = value.split_first_chunk::<32>()?;
        let ([is_here], rest) = rest.split_first_chunk::<1>()?;
        let (here, rest) = rest.split_first_chunk::<32>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (path, units) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        Some(Signature {
            path: read_path(key)?,
            over: Signed {
                path: read_path(path)?,
                sha256: Sha256(*over),
            },
            units: read_units(units),
            here: (*is_here != 0).then_some(Sha256(*here)),
        })
    }
}

/// A signature that is to be fetched, in the order of the content that it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SignatureFetch {
    pub over: Signed,
    pub path: RepoPath,
    pub max_bytes: u64,
    pub units: Vec<u16>,
}

impl SignatureFetch {
    pub fn new(wanted: &Wanted, over: &Signed) -> SignatureFetch {
        SignatureFetch {
            over: over.clone(),
            path: wanted.want.path.clone(),
            max_bytes: wanted.want.size.min(Promise::MAX_SIGNATURE_BYTES),
            units: wanted.units.clone(),
        }
    }
}

impl Record for SignatureFetch {
    fn write_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.over.sha256.0);
        out.extend_from_slice(self.over.path.as_str().as_bytes());
        // No path has one.
        out.push(0);
        out.extend_from_slice(self.path.as_str().as_bytes());
    }

    fn write_value(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.max_bytes.to_le_bytes());
        write_units(&self.units, out);
    }

    fn read(key: &[u8], value: &[u8]) -> Option<Self> {
        let (sha256, paths) = key.split_first_chunk::<32>()?;
        let end = paths.iter().position(|byte| *byte == 0)?;
        let (over, path) = (paths.get(..end)?, paths.get(end + 1..)?);
        let (max_bytes, units) = value.split_first_chunk::<8>()?;
        Some(SignatureFetch {
            over: Signed {
                path: read_path(over)?,
                sha256: Sha256(*sha256),
            },
            path: read_path(path)?,
            max_bytes: u64::from_le_bytes(*max_bytes),
            units: read_units(units),
        })
    }
}

/// Signatures with the contents of those that a transfer brought.
pub(super) fn with_arrivals<'a>(
    signatures: &'a Sorted<Signature>,
    fetched: &'a Sorted<Fetched>,
) -> impl Iterator<Item = Result<Signature, Problem>> + 'a {
    let mut fetched = fetched.iter().peekable();
    signatures.iter().map(move |signature| {
        let mut signature = signature?;
        let is_before =
            |came: &Result<Fetched, _>| came.as_ref().is_ok_and(|came| came.path < signature.path);
        while fetched.next_if(is_before).is_some() {}
        if let Some(came) = fetched.next_if(|came| {
            came.as_ref()
                .map_or(true, |came| came.path == signature.path)
        }) {
            signature.here = Some(came?.digest);
        }
        Ok(signature)
    })
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
