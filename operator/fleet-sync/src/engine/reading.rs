//! An index while it is read, decompressed.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::ops::ControlFlow;

use fleet_fetch::Stop;
use fleet_formats::decompress::{self, Whole};
use fleet_formats::seam::{Compression, Format, IndexFile, IndexGroup, Item, Rejected};
use fleet_types::{Digest, Expected, Reason, RepoPath};
use sha2::{Digest as _, Sha256, Sha512};

use super::ahead::read_ahead;
use super::presence::Presence;
use super::run::Ground;
use crate::Problem;

const OTHER_BYTES: &str = "it decompresses to other bytes than are listed, and clients refuse it; the upstream must publish it anew";

/// A compressed index that is smaller is read before a thread for it had begun.
const WORTH_A_THREAD: u64 = 64 << 10;

/// Reads the best form of an index that is here; which it was, and how many entries it has. A form of no bytes lists
/// nothing, so that one that has some is better. `is_new` is false for what was compared when it was accepted.
pub(super) fn read_group(
    ground: &Ground,
    is_new: bool,
    group: &IndexGroup,
    files: &[Presence],
    format: &dyn Format,
    each: &mut dyn FnMut(Item) -> Result<(), Problem>,
) -> Result<Option<(RepoPath, u64)>, Problem> {
    let here = group
        .files
        .iter()
        .zip(files)
        .filter_map(|(file, presence)| match presence {
            Presence::Here { digest, .. } => Some((file, *digest)),
            _ => None,
        });
    let (mut here, empty): (VecDeque<_>, VecDeque<_>) =
        here.partition(|(file, _)| file.expected.size > 0);
    let promises = group.uncompressed.is_some_and(|promised| promised.size > 0);
    if let (Some((file, _)), true, true) = (empty.front(), here.is_empty(), promises && is_new) {
        let text = format!("{}: {OTHER_BYTES}", file.path);
        return Err(Problem::new(Reason::DigestMismatch, text));
    }
    while let Some((file, digest)) = here.pop_front() {
        let mut any = false;
        let mut each = |item| {
            any = true;
            each(item)
        };
        let read = read_form(ground, is_new, group, (file, digest), format, &mut each);
        match read {
            // A decoder would need more memory than we have; another may do with less.
            Err(problem) if problem.reason == Reason::TooLarge && !any && !here.is_empty() => {}
            read => return read.map(|entries| Some((file.path.clone(), entries))),
        }
    }
    Ok(None)
}

/// Reads one form of an index; how many entries it has.
fn read_form(
    ground: &Ground,
    is_new: bool,
    group: &IndexGroup,
    (file, digest): (&IndexFile, fleet_types::Sha256),
    format: &dyn Format,
    each: &mut dyn FnMut(Item) -> Result<(), Problem>,
) -> Result<u64, Problem> {
    let content = ground.stock.shelves.open_whole(&digest)?;
    let promised = group
        .uncompressed
        .filter(|_| file.compression != Compression::None);
    let limit = decompress::output_limit(
        file.expected.size,
        group.uncompressed.map(|expected| expected.size),
    );
    let whole = match promised {
        Some(_) => Whole::ByDigest,
        None => Whole::ByItself,
    };
    let mut content = decompress::reader(file.compression, content, limit, whole);
    let mut read = |content: &mut dyn Read| {
        let promised = promised.filter(|_| is_new);
        let mut reader = IndexReader::new(content, promised, &ground.watch.stop);
        let mut taken = Ok(());
        let read = format.read_index(group, &mut reader, &mut |item| {
            taken = each(item);
            match taken {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        });
        taken.map(|()| read.and_then(|entries| reader.finish().map(|()| entries)))
    };
    let is_work = file.compression != Compression::None && file.expected.size >= WORTH_A_THREAD;
    let read = match is_work {
        true => read_ahead(content, read).map_err(no_thread)?,
        false => read(&mut content),
    };
    match read? {
        Ok(entries) => Ok(entries),
        Err(rejected) => {
            ground.watch.stop.check()?;
            let text = format!("{}: {}", file.path, rejected.message);
            Err(Problem::new(rejected.reason, text))
        }
    }
}

fn no_thread(error: io::Error) -> Problem {
    let text = format!("no thread can be started for reading an index: {error}");
    Problem::new(Reason::StorageFailed, text)
}

/// Ends with the run, since an index need not list anything for a long time; and compares what comes with what is
/// promised of the uncompressed form, as clients do: different decoders can make different things of one file.
pub(super) struct IndexReader<'a, R> {
    content: R,
    stop: &'a Stop,
    promised: Option<(Expected, Hasher)>,
    bytes: u64,
}

enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl<'a, R: Read> IndexReader<'a, R> {
    pub fn new(content: R, promised: Option<Expected>, stop: &'a Stop) -> Self {
        let promised = promised.and_then(|expected| {
            let hasher = match expected.digest {
                Digest::Sha256(_) => Hasher::Sha256(Sha256::new()),
                Digest::Sha512(_) => Hasher::Sha512(Sha512::new()),
                Digest::Md5(_) | Digest::Sha1(_) => return None,
            };
            Some((expected, hasher))
        });
        IndexReader {
            content,
            stop,
            promised,
            bytes: 0,
        }
    }

    /// Reads what is left. Errors: `DigestMismatch` where it was not what was promised, and those of the decoder.
    pub fn finish(mut self) -> Result<(), Rejected> {
        io::copy(&mut self, &mut io::sink()).map_err(|error| decompress::rejection(&error))?;
        let Some((expected, hasher)) = self.promised else {
            return Ok(());
        };
        let fits = self.bytes == expected.size
            && match (hasher, expected.digest) {
                (Hasher::Sha256(hasher), Digest::Sha256(digest)) => {
                    hasher.finalize()[..] == digest.0[..]
                }
                (Hasher::Sha512(hasher), Digest::Sha512(digest)) => {
                    hasher.finalize()[..] == digest[..]
                }
                _ => true,
            };
        match fits {
            true => Ok(()),
            false => Err(Rejected::new(Reason::DigestMismatch, OTHER_BYTES)),
        }
    }
}

impl<R: Read> Read for IndexReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stop
            .check()
            .map_err(|problem| io::Error::other(problem.message))?;
        let count = self.content.read(buffer)?;
        let read = buffer.get(..count).unwrap_or_default();
        match &mut self.promised {
            Some((_, Hasher::Sha256(hasher))) => hasher.update(read),
            Some((_, Hasher::Sha512(hasher))) => hasher.update(read),
            None => {}
        }
        self.bytes += count as u64;
        Ok(count)
    }
}
