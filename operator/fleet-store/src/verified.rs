//! Reading an index file in a way that believes nothing of it before its digest was verified.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::fs::FileExt;

use fleet_types::Sha256;
use fleet_types::documents::IndexPin;
use sha2::Digest as _;

use crate::SnapshotMeta;
use crate::error::StoreError;
use crate::index::{HEADER_LEN, Header, Parts, RECORD_LEN, SHA512_LEN, TRAILER_LEN};
use crate::rows::Rows;

pub(crate) const DOING: &str = "reading a snapshot's index";

/// What is read when it is asked for.
pub(crate) struct Contents {
    pub records: Rows<RECORD_LEN>,
    pub sha512s: Rows<SHA512_LEN>,
}

/// Either the disk failed or the content is wrong.
pub(crate) enum ReadProblem {
    Io(std::io::Error),
    Content(String),
}

impl ReadProblem {
    pub fn into_error(self, damaged: impl FnOnce(&str) -> StoreError) -> StoreError {
        match self {
            ReadProblem::Io(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                damaged("the file is cut short")
            }
            ReadProblem::Io(e) => StoreError::io(DOING, e),
            ReadProblem::Content(problem) => damaged(&problem),
        }
    }
}

impl From<std::io::Error> for ReadProblem {
    fn from(e: std::io::Error) -> Self {
        ReadProblem::Io(e)
    }
}

pub(crate) fn read_head(file: &File) -> Result<(Header, Parts, SnapshotMeta), ReadProblem> {
    let mut header = [0; HEADER_LEN];
    file.read_exact_at(&mut header, 0)?;
    let header = Header::decode(&header).map_err(ReadProblem::Content)?;
    let parts = header
        .parts(file.metadata()?.len())
        .ok_or_else(|| ReadProblem::Content("its length is not what its header says".into()))?;
    let mut meta = vec![0; parts.records - HEADER_LEN];
    file.read_exact_at(&mut meta, HEADER_LEN as u64)?;
    let meta = serde_json::from_slice(&meta)
        .map_err(|e| ReadProblem::Content(format!("its description: {e}")))?;
    Ok((header, parts, meta))
}

/// What the content of a file is, whatever it says.
pub(crate) fn pin_of(file: &File) -> Result<IndexPin, ReadProblem> {
    let size = file.metadata()?.len();
    let mut input = Hashing::new(file)?;
    input.each(room_of(size)?, &mut |_| {})?;
    Ok(IndexPin {
        sha256: Sha256(input.hasher.finalize().into()),
        size,
    })
}

fn room_of(size: u64) -> Result<usize, ReadProblem> {
    usize::try_from(size).map_err(|_| ReadProblem::Content("it is too large to be read".into()))
}

/// Reads the whole file once: what was verified is what is kept.
pub(crate) fn read_verified(
    file: &File,
    header: &Header,
    parts: &Parts,
) -> Result<(Contents, Vec<u8>, IndexPin), ReadProblem> {
    let mut input = Hashing::new(file)?;
    input.each(parts.records, &mut |_| {})?;
    let mut contents = Contents {
        records: Rows::new(parts.records as u64, room(header.records)),
        sha512s: Rows::new(parts.sha512s as u64, room(header.sha512s)),
    };
    input.each(parts.sha512s - parts.records, &mut |rows| {
        contents.records.take(rows);
    })?;
    input.each(parts.fst - parts.sha512s, &mut |rows| {
        contents.sha512s.take(rows);
    })?;
    let mut paths = Vec::with_capacity(room(header.fst_len));
    input.each(parts.trailer - parts.fst, &mut |bytes| {
        paths.extend_from_slice(bytes);
    })?;
    let pin = input.expect_digest(parts.trailer)?;
    paths.shrink_to_fit();
    Ok((contents, paths, pin))
}

/// What is reserved at once on the word of a header that is not verified yet.
pub(crate) fn room(promised: u64) -> usize {
    usize::try_from(promised).unwrap_or(0).min(64 << 20)
}

pub(crate) struct Hashing<'a> {
    file: &'a File,
    hasher: sha2::Sha256,
    block: Vec<u8>,
}

impl Hashing<'_> {
    pub fn new(mut file: &File) -> Result<Hashing<'_>, ReadProblem> {
        file.rewind()?;
        // Whole rows of either length.
        let block = vec![0; RECORD_LEN * SHA512_LEN * 64];
        Ok(Hashing {
            file,
            hasher: sha2::Sha256::new(),
            block,
        })
    }

    /// The next `left` bytes, a block at a time.
    pub fn each(
        &mut self,
        mut left: usize,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), ReadProblem> {
        while left > 0 {
            let count = self.block.len().min(left);
            let block = &mut self.block[..count];
            self.file.read_exact(block)?;
            self.hasher.update(&*block);
            take(block);
            left -= count;
        }
        Ok(())
    }

    /// What the whole file is, with the digest at its end, which is the one of all before it.
    pub fn expect_digest(mut self, trailer: usize) -> Result<IndexPin, ReadProblem> {
        let mut written = [0; TRAILER_LEN];
        self.file.read_exact_at(&mut written, trailer as u64)?;
        let found: [u8; 32] = self.hasher.clone().finalize().into();
        if found != written {
            return Err(ReadProblem::Content("its digest is wrong".into()));
        }
        self.hasher.update(written);
        Ok(IndexPin {
            sha256: Sha256(self.hasher.finalize().into()),
            size: (trailer + TRAILER_LEN) as u64,
        })
    }
}
