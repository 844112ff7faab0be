//! The bytes of a snapshot's index file, version 1. All numbers are little-endian.
//!
//! ```text
//! header      88 bytes  magic "MFSNAPSH", version u32, record length u32, id [32], then four u64:
//!                       length of meta, number of records, number of SHA-512 digests, length of the FST; 8 bytes zero
//! meta                  SnapshotMeta as JSON
//! records     48 each   digest [32], size u48, mtime i40, flags u8, SHA-512 number u32 (2^32 - 1: none)
//! SHA-512     64 each
//! FST                   path -> record number (the `fst` crate's map format); record numbers follow the paths' order
//! digest      32 bytes  SHA-256 of everything before it
//! ```

use fleet_types::Sha256;

use crate::error::{Result, StoreError};
use crate::{Entry, EntryState, SnapshotId};

pub(crate) const HEADER_LEN: usize = 88;
pub(crate) const RECORD_LEN: usize = 48;
pub(crate) const SHA512_LEN: usize = 64;
pub(crate) const TRAILER_LEN: usize = 32;
const MAGIC: &[u8; 8] = b"MFSNAPSH";
pub(crate) const VERSION: u32 = 1;
const NO_SHA512: u32 = u32::MAX;
const MAX_SIZE: u64 = (1 << 48) - 1;
const MTIME_LIMIT: i64 = 1 << 39;

/// The first bytes of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub id: SnapshotId,
    pub meta_len: u64,
    pub records: u64,
    pub sha512s: u64,
    pub fst_len: u64,
}

/// The version of an index that is newer than what this program reads; none where the bytes are no beginning of one.
pub(crate) fn newer_version(bytes: &[u8; HEADER_LEN]) -> Option<u32> {
    let version = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
    (&bytes[..8] == MAGIC && version > VERSION).then_some(version)
}

impl Header {
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&(RECORD_LEN as u32).to_le_bytes());
        out[16..48].copy_from_slice(&self.id.0.0);
        for (i, number) in [self.meta_len, self.records, self.sha512s, self.fst_len]
            .into_iter()
            .enumerate()
        {
            out[48 + i * 8..56 + i * 8].copy_from_slice(&number.to_le_bytes());
        }
        out
    }

    /// The error is the problem in words.
    pub fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Header, String> {
        let u32_at = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        if &bytes[..8] != MAGIC {
            return Err("it is not an index".into());
        }
        if (u32_at(8), u32_at(12)) != (VERSION, RECORD_LEN as u32) {
            return Err(format!(
                "it has index version {}, this program reads version {VERSION}",
                u32_at(8)
            ));
        }
        let mut id = [0; 32];
        id.copy_from_slice(&bytes[16..48]);
        let (meta_len, records, sha512s, fst_len) =
            (u64_at(48), u64_at(56), u64_at(64), u64_at(72));
        Ok(Header {
            id: SnapshotId(Sha256(id)),
            meta_len,
            records,
            sha512s,
            fst_len,
        })
    }

    /// Where each part begins; none when the numbers cannot be those of a file of this length.
    pub fn parts(&self, file_len: u64) -> Option<Parts> {
        let records = (HEADER_LEN as u64).checked_add(self.meta_len)?;
        let sha512s = records.checked_add(self.records.checked_mul(RECORD_LEN as u64)?)?;
        let fst = sha512s.checked_add(self.sha512s.checked_mul(SHA512_LEN as u64)?)?;
        let trailer = fst.checked_add(self.fst_len)?;
        let fits = trailer.checked_add(TRAILER_LEN as u64)? == file_len;
        let at = |offset: u64| usize::try_from(offset).ok();
        fits.then_some(Parts {
            records: at(records)?,
            sha512s: at(sha512s)?,
            fst: at(fst)?,
            trailer: at(trailer)?,
        })
    }
}

/// Offsets from the beginning of the file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts {
    pub records: usize,
    pub sha512s: usize,
    pub fst: usize,
    pub trailer: usize,
}

/// Refuses what the format has no room for.
pub(crate) fn check_limits(path: &str, entry: &Entry) -> Result<()> {
    let limit = |limit| {
        Err(StoreError::Limit {
            what: format!("path {path:?}"),
            limit,
        })
    };
    if entry.size > MAX_SIZE {
        return limit("a file has at most 2^48 - 1 bytes");
    }
    if !(-MTIME_LIMIT..MTIME_LIMIT).contains(&entry.mtime) {
        return limit("a time lies within 17,000 years of 1970");
    }
    Ok(())
}

/// `entry` passed [`check_limits`]; `sha512` is the number of its SHA-512 digest.
pub(crate) fn encode_record(entry: &Entry, sha512: Option<u32>) -> [u8; RECORD_LEN] {
    let mut out = [0; RECORD_LEN];
    out[..32].copy_from_slice(&entry.digest.0);
    out[32..38].copy_from_slice(&entry.size.to_le_bytes()[..6]);
    out[38..43].copy_from_slice(&entry.mtime.to_le_bytes()[..5]);
    out[43] = flags(entry);
    out[44..48].copy_from_slice(&sha512.unwrap_or(NO_SHA512).to_le_bytes());
    out
}

/// The entry without its SHA-512, and the number of that.
pub(crate) fn decode_record(bytes: &[u8; RECORD_LEN]) -> (Entry, Option<u32>) {
    let mut digest = [0; 32];
    digest.copy_from_slice(&bytes[..32]);
    let mut size = [0; 8];
    size[..6].copy_from_slice(&bytes[32..38]);
    let mut mtime = [0; 8];
    mtime[3..].copy_from_slice(&bytes[38..43]);
    let flags = bytes[43];
    let entry = Entry {
        state: state_of(flags & 3),
        digest: Sha256(digest),
        size: u64::from_le_bytes(size),
        // The five bytes sit at the top, so that the shift brings the sign along.
        mtime: i64::from_le_bytes(mtime) >> 24,
        mutable: flags & 4 != 0,
        guarded: flags & 8 != 0,
        sha512: None,
    };
    let sha512 = u32::from_le_bytes([bytes[44], bytes[45], bytes[46], bytes[47]]);
    (entry, (sha512 != NO_SHA512).then_some(sha512))
}

/// Only digest and size of a record in one of these states, for scans over many records.
pub(crate) fn blob_of(record: &[u8], which: fn(EntryState) -> bool) -> Option<(&[u8; 32], u64)> {
    let wanted = which(state_of(record.get(43)? & 3));
    let digest = record.first_chunk().filter(|_| wanted)?;
    let mut size = [0; 8];
    size[..6].copy_from_slice(record.get(32..38)?);
    Some((digest, u64::from_le_bytes(size)))
}

fn flags(entry: &Entry) -> u8 {
    state_code(entry.state) | u8::from(entry.mutable) << 2 | u8::from(entry.guarded) << 3
}

pub(crate) const fn state_code(state: EntryState) -> u8 {
    match state {
        EntryState::Present => 0,
        EntryState::Excluded => 1,
        EntryState::AbsentUpstream => 2,
        EntryState::NotYetFetched => 3,
    }
}

const fn state_of(code: u8) -> EntryState {
    match code {
        0 => EntryState::Present,
        1 => EntryState::Excluded,
        2 => EntryState::AbsentUpstream,
        _ => EntryState::NotYetFetched,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_reads_back_as_it_was_written(
            digest in any::<[u8; 32]>(), size in 0..=MAX_SIZE, mtime in -MTIME_LIMIT..MTIME_LIMIT,
            code in 0u8..4, mutable: bool, guarded: bool, number in prop::option::of(0u32..1000),
        ) {
            let entry = Entry { state: state_of(code), digest: Sha256(digest), size, mtime, mutable, guarded, sha512: None };
            prop_assert!(check_limits("a", &entry).is_ok());
            prop_assert_eq!(decode_record(&encode_record(&entry, number)), (entry, number));
        }

        #[test]
        fn a_header_of_any_bytes_is_read_or_refused(bytes in any::<[u8; 32]>(), len: u64) {
            let mut header = Header { id: SnapshotId(Sha256([7; 32])), meta_len: 3, records: 2, sha512s: 1, fst_len: 9 }.encode();
            header[48..80].copy_from_slice(&bytes);
            let _ = Header::decode(&header).unwrap().parts(len);
        }
    }

    #[test]
    fn a_header_reads_back_and_its_parts_fill_the_file() {
        let header = Header {
            id: SnapshotId(Sha256([7; 32])),
            meta_len: 3,
            records: 2,
            sha512s: 1,
            fst_len: 9,
        };
        assert_eq!(Header::decode(&header.encode()), Ok(header));
        let parts = header.parts(88 + 3 + 96 + 64 + 9 + 32).unwrap();
        assert_eq!(
            (parts.records, parts.sha512s, parts.fst, parts.trailer),
            (91, 187, 251, 260)
        );
        assert!(header.parts(88 + 3 + 96 + 64 + 9 + 33).is_none());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let entry = |size, mtime| Entry {
            state: EntryState::Present,
            digest: Sha256([1; 32]),
            size,
            mtime,
            mutable: false,
            guarded: false,
            sha512: None,
        };
        assert!(matches!(
            check_limits("a", &entry(1 << 48, 0)),
            Err(StoreError::Limit { .. })
        ));
        assert!(matches!(
            check_limits("a", &entry(1, i64::MAX)),
            Err(StoreError::Limit { .. })
        ));
        assert!(matches!(
            check_limits("a", &entry(1, i64::MIN)),
            Err(StoreError::Limit { .. })
        ));
    }
}
