//! Repository databases: a tar archive, compressed or not, with a directory for each package.
//! <https://alpm.archlinux.page/specifications/alpm-repo-db.7.html>
//!
//! What makes pacman refuse a database as a whole makes us refuse it; what is wrong with one package costs that one.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::Read;
use std::ops::ControlFlow;

use fleet_types::Reason;

use super::description::Description;
use super::tar::{Kind, Member, Tar};
use crate::seam::{Compression, Rejected};

/// More packages than this are refused; the largest repositories have some 20,000.
const MAX_PACKAGES: u64 = 400_000;
/// Of one file in a package's directory; the longest lists of files have a few megabytes.
const MAX_FILE_BYTES: u64 = 16 << 20;

const DESCRIPTION: &str = "desc";
/// What else pacman reads in a package's directory, by the same rules.
const ALSO_READ: [&str; 3] = ["depends", "deltas", "files"];

/// One package of a database.
pub(super) struct Package {
    /// Of its directory, `NAME-VERSION`.
    pub directory: String,
    pub description: Description,
}

/// As what a database is compressed, by its first bytes: what its name says counts for nothing. Errors: `IndexMalformed`.
pub(super) fn compression(start: &[u8]) -> Result<Compression, Rejected> {
    const READ: [(&[u8], Compression); 5] = [
        (&[0x1f, 0x8b], Compression::Gzip),
        (&[0x28, 0xb5, 0x2f, 0xfd], Compression::Zstd),
        (&[0xfd, b'7', b'z', b'X', b'Z', 0], Compression::Xz),
        (b"BZh", Compression::Bzip2),
        (&[0x04, 0x22, 0x4d, 0x18], Compression::Lz4),
    ];
    const NOT_READ: [(&[u8], &str); 5] = [
        (&[0x1f, 0x9d], "compress (.Z)"),
        (b"LZIP", "lzip (.lz)"),
        (b"LRZI", "lrzip (.lrz)"),
        (&[0x89, b'L', b'Z', b'O'], "lzop (.lzo)"),
        (&[0x5d, 0, 0], "lzma"),
    ];
    if let Some((_, compression)) = READ.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Ok(*compression);
    }
    // An archive without members is all zeros.
    let is_tar = start.get(257..262) == Some(b"ustar");
    if is_tar || (!start.is_empty() && start.iter().all(|byte| *byte == 0)) {
        return Ok(Compression::None);
    }
    let what = match NOT_READ.iter().find(|(magic, _)| start.starts_with(magic)) {
        Some((_, name)) => format!("it is compressed by {name}"),
        None if start.is_empty() => "it has no bytes".to_owned(),
        None => "it is no repository database".to_owned(),
    };
    Err(malformed(format!(
        "{what}; read are tar archives, plain or compressed by gzip, zstd, xz, bzip2 or lz4"
    )))
}

/// How many of a database's first bytes [`compression`] needs.
pub(super) const MAGIC_BYTES: u64 = 512;

/// Reads a decompressed database; how many packages it has. `each` can end the reading. Errors: `IndexMalformed`,
/// `UnsafePath` and `TooLarge` where the whole is of no use.
pub(super) fn read(
    content: &mut dyn Read,
    each: &mut dyn FnMut(&Package) -> Result<ControlFlow<()>, Rejected>,
) -> Result<u64, Rejected> {
    let mut tar = Tar::new(content);
    let mut packages = Packages::default();
    while let Some(member) = tar.next()? {
        if member.kind == Kind::Directory {
            continue;
        }
        let (directory, file) = place(&member)?;
        if let Some(ended) = packages.enter(directory)?
            && each(&ended)?.is_break()
        {
            return Ok(packages.count);
        }
        if file == DESCRIPTION || ALSO_READ.contains(&file) {
            if member.kind != Kind::File {
                let path = &member.path;
                return Err(malformed(format!(
                    "{path:.200?} is a link or a device and no file"
                )));
            }
            packages.describe(file, &tar.read(MAX_FILE_BYTES)?);
        }
    }
    if let Some(last) = packages.current.take() {
        let _ = each(&last)?;
    }
    Ok(packages.count)
}

/// A number that two databases of the same packages have in common, in whichever order they list them; it is another one
/// for each `hashes`.
pub(super) fn fingerprint(content: &mut dyn Read, hashes: &RandomState) -> Result<u64, Rejected> {
    let mut tar = Tar::new(content);
    let mut sum = 0u64;
    while let Some(member) = tar.next()? {
        if member.kind != Kind::Directory
            && let (directory, DESCRIPTION) = place(&member)?
        {
            sum = sum.wrapping_add(hashes.hash_one(directory));
        }
    }
    Ok(sum)
}

/// The package that is being read, and which were.
#[derive(Default)]
struct Packages {
    current: Option<Package>,
    /// Of their names; a million of names would take too much room.
    known: HashSet<u64>,
    hashes: RandomState,
    count: u64,
}

impl Packages {
    /// Something of this directory follows: what was read before, if that was another one.
    fn enter(&mut self, directory: &str) -> Result<Option<Package>, Rejected> {
        let current = self.current.as_ref();
        if current.is_some_and(|package| package.directory == directory) {
            return Ok(None);
        }
        let name = name_of(directory).ok_or_else(|| {
            malformed(format!("{directory:.200?} is not NAME-VERSION-RELEASE, for which pacman refuses the database"))
        })?;
        if !self.known.insert(self.hashes.hash_one(name)) {
            return Err(malformed(format!(
                "the package {name:.200?} stands in it twice"
            )));
        }
        self.count += 1;
        if self.count > MAX_PACKAGES {
            let message = format!("more than {MAX_PACKAGES} packages");
            return Err(Rejected::new(Reason::TooLarge, message));
        }
        Ok(self.current.replace(Package {
            directory: directory.to_owned(),
            description: Description::default(),
        }))
    }

    /// Only an entry's own file says what the package is.
    fn describe(&mut self, file: &str, text: &[u8]) {
        let Some(Package { description, .. }) = &mut self.current else {
            return;
        };
        if file == DESCRIPTION {
            return description.read(text);
        }
        let mut other = Description::default();
        other.read(text);
        if other != Description::default() {
            let fault = format!("its {file} says what only its desc may say");
            description.fault.get_or_insert(fault);
        }
    }
}

/// The directory of a member, and its name in it. Errors: `IndexMalformed`, as pacman refuses the database.
fn place(member: &Member) -> Result<(&str, &str), Rejected> {
    let place = member.path.split_once('/');
    place.filter(|(_, file)| !file.contains('/')).ok_or_else(|| {
        let path = &member.path;
        malformed(format!("{path:.200?} is not a file in the directory of a package, for which pacman refuses the database"))
    })
}

/// Of `NAME-VERSION-RELEASE`.
fn name_of(directory: &str) -> Option<&str> {
    let (rest, _) = directory.rsplit_once('-')?;
    let (name, _) = rest.rsplit_once('-')?;
    (!name.is_empty()).then_some(name)
}

fn malformed(what: String) -> Rejected {
    Rejected::new(Reason::IndexMalformed, what)
}
