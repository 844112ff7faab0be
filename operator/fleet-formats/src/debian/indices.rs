//! What the indices list: packages, source packages, installer images, differences. All of them are read as streams.

use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;

use fleet_types::{Digest, Expected, HashAlgorithm, PathError, Reason, RepoPath, counted};

use super::packages::PackageFilter;
use super::release::{ChecksumLine, malformed, parse_size};
use super::roles::Kind;
use crate::deb822::{Reader, Stanza};
use crate::seam::{IndexGroup, Item, Payload, Promise, Rejected, Unusable};

/// The most that is read of an installer image, whose size no index tells; the largest real ones are below 1 GiB.
const MAX_IMAGE_BYTES: u64 = 4 << 30;
/// A line of `SHA256SUMS`: digest, two blanks, a path.
const MAX_CHECKSUM_LINE_BYTES: u64 = 4096;
/// A difference index is one stanza; Debian's are below 100 KiB.
const MAX_DIFFERENCE_INDEX_BYTES: usize = 16 << 20;

/// A patch is of use where it is smaller than the index, and the largest of these are far below 1 GiB.
const MAX_PATCH_BYTES: u64 = 1 << 30;

/// Of one entry; more are not looked at.
const MAX_UNUSABLE_PATHS: usize = 64;

type Found<'a> = &'a mut dyn FnMut(Item) -> ControlFlow<()>;

/// Reads one index of `group` and reports what it lists; how many entries it has. Errors are about the index as a
/// whole: `IndexMalformed` and `TooLarge` where apt refuses it too; messages name the index and the place in it.
pub(super) fn read(
    group: &IndexGroup,
    filter: &PackageFilter,
    content: &mut dyn Read,
    found: Found<'_>,
) -> Result<u64, Rejected> {
    let result = match Kind::of(group) {
        Kind::Packages => packages(filter, content, found),
        Kind::Sources => sources(filter, content, found),
        Kind::Checksums => checksums(group, content, found),
        Kind::Differences => differences(group, content, found),
        Kind::Opaque => Ok(0),
    };
    result.map_err(|rejected| rejected.at(&group.stem))
}

fn packages(
    filter: &PackageFilter,
    content: &mut dyn Read,
    found: Found<'_>,
) -> Result<u64, Rejected> {
    let mut reader = Reader::new(content);
    let mut entries = 0;
    while let Some(stanza) = reader.next_entry().map_err(malformed)? {
        entries += 1;
        if let Some(what) = refused_by_apt(&stanza) {
            return Err(malformed(stanza.malformed(what.to_owned())));
        }
        let wanted = filter.wants_binary(&stanza);
        let item = match package(&stanza, wanted) {
            Ok(payload) => Item::File(payload),
            Err(why) if wanted => unusable(&stanza, &why, paths_of_package(&stanza)),
            Err(_) => continue,
        };
        if found(item).is_break() {
            return Ok(entries);
        }
    }
    if entries == 0 && reader.lines() > 0 {
        let message = "nothing but empty lines, for which apt refuses the whole index";
        return Err(Rejected::new(Reason::IndexMalformed, message));
    }
    Ok(entries)
}

/// For which apt refuses the whole index, so that a mirror must keep the state before.
fn refused_by_apt(stanza: &Stanza<'_>) -> Option<&'static str> {
    let named = stanza
        .all("Package")
        .next_back()
        .is_some_and(|name| !name.is_empty());
    match (stanza.number, stanza.line) {
        (1, 3..) => Some(
            "several empty lines stand before the first stanza, for which apt refuses the whole index",
        ),
        _ if !named => Some("no Package, for which apt refuses the whole index"),
        _ => None,
    }
}

fn unusable(stanza: &Stanza<'_>, why: &str, paths: Vec<RepoPath>) -> Item {
    let name = stanza.all("Package").next().unwrap_or(b"(unnamed)");
    let why = format!("{why}, line {}", stanza.line);
    Item::Unusable(Unusable::new(&String::from_utf8_lossy(name), &why, paths))
}

/// What is wrong with an entry, in a few words.
type Why = String;

fn package(stanza: &Stanza<'_>, wanted: bool) -> Result<Payload, Why> {
    clear(stanza)?;
    let path = RepoPath::collapsed(required(stanza, "Filename")?).map_err(unsafe_path)?;
    let size = required(stanza, "Size")?;
    let size = parse_size(size).ok_or_else(|| format!("its Size is {size:.40?}"))?;
    Ok(Payload {
        path,
        promise: Promise::exactly(Expected {
            size,
            digest: package_digest(stanza)?,
        }),
        aliases: Vec::new(),
        guarded: true,
        wanted,
    })
}

/// Where every reader sees the same.
fn clear(stanza: &Stanza<'_>) -> Result<(), Why> {
    stanza.fault.map_or(Ok(()), |fault| Err(fault.what.clone()))
}

fn unsafe_path(error: PathError) -> Why {
    format!("{}: {error}", Reason::UnsafePath)
}

/// SHA-256 where listed: it names the blob.
fn package_digest(stanza: &Stanza<'_>) -> Result<Digest, Why> {
    for algorithm in [HashAlgorithm::Sha256, HashAlgorithm::Sha512] {
        let text = text(stanza, algorithm.debian_name())?;
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            return Digest::parse(algorithm, text).map_err(|error| error.to_string());
        }
    }
    Err(weak())
}

fn weak() -> Why {
    format!(
        "{}: no SHA-256 or SHA-512 digest, without which apt downloads nothing",
        Reason::WeakHash
    )
}

fn text<'a>(stanza: &Stanza<'a>, field: &str) -> Result<Option<&'a str>, Why> {
    match stanza.all(field).next().map(std::str::from_utf8) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text)),
        Some(Err(_)) => Err(format!("the field {field} is not UTF-8")),
    }
}

fn required<'a>(stanza: &Stanza<'a>, field: &str) -> Result<&'a str, Why> {
    match text(stanza, field)? {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(format!("no {field}")),
    }
}

/// Every path that the entry could mean, for rules over paths and for those who ask for it.
fn paths_of_package(stanza: &Stanza<'_>) -> Vec<RepoPath> {
    let names = stanza
        .all("Filename")
        .filter_map(|name| std::str::from_utf8(name).ok());
    let paths = names.filter_map(|name| RepoPath::collapsed(name).ok());
    paths.take(MAX_UNUSABLE_PATHS).collect()
}

fn sources(
    filter: &PackageFilter,
    content: &mut dyn Read,
    found: Found<'_>,
) -> Result<u64, Rejected> {
    let mut reader = Reader::new(content);
    let mut entries = 0;
    while let Some(stanza) = reader.next_entry().map_err(malformed)? {
        entries += 1;
        let wanted = filter.wants_source(&stanza);
        let items: Vec<Item> = match source(&stanza, wanted) {
            Ok(files) => files.into_iter().map(Item::File).collect(),
            Err(why) if wanted => vec![unusable(&stanza, &why, paths_of_source(&stanza))],
            Err(_) => continue,
        };
        if items.into_iter().try_for_each(&mut *found).is_break() {
            return Ok(entries);
        }
    }
    Ok(entries)
}

/// All files of a source package: a part of one is of no use.
fn source(stanza: &Stanza<'_>, wanted: bool) -> Result<Vec<Payload>, Why> {
    clear(stanza)?;
    // Some tools leave it by the name that it has in a .dsc.
    required(stanza, "Package").or_else(|why| required(stanza, "Source").map_err(|_| why))?;
    let directory = text(stanza, "Directory")?.unwrap_or_default();
    let lists = [
        ("Checksums-Sha256", HashAlgorithm::Sha256),
        ("Checksums-Sha512", HashAlgorithm::Sha512),
    ];
    for (field, algorithm) in lists {
        let Some(list) = text(stanza, field)? else {
            continue;
        };
        let lines = list.lines().filter(|line| !line.trim().is_empty());
        let file = |line| {
            let listed = ChecksumLine::parse(algorithm, line)?;
            Ok(Payload {
                path: in_directory(directory, listed.name).map_err(unsafe_path)?,
                promise: Promise::exactly(Expected {
                    size: listed.size,
                    digest: listed.digest,
                }),
                aliases: Vec::new(),
                guarded: true,
                wanted,
            })
        };
        return lines.map(file).collect();
    }
    Err(weak())
}

/// The name of a file of a source package is one part, or below it; the directory may be empty.
fn in_directory(directory: &str, name: &str) -> Result<RepoPath, PathError> {
    match directory {
        "" => RepoPath::collapsed(name),
        directory => RepoPath::collapsed(&format!("{directory}/{name}")),
    }
}

/// As [`paths_of_package`].
fn paths_of_source(stanza: &Stanza<'_>) -> Vec<RepoPath> {
    let directory = stanza.all("Directory").next().unwrap_or_default();
    let Ok(directory) = std::str::from_utf8(directory) else {
        return Vec::new();
    };
    let lists = ["Checksums-Sha256", "Checksums-Sha512", "Files"];
    let lists = lists.iter().flat_map(|list| stanza.all(list));
    let lines = lists
        .filter_map(|list| std::str::from_utf8(list).ok())
        .flat_map(str::lines);
    let names = lines.filter_map(|line| line.split_ascii_whitespace().nth(2));
    let mut paths: Vec<RepoPath> = names
        .filter_map(|name| in_directory(directory, name).ok())
        .take(MAX_UNUSABLE_PATHS)
        .collect();
    paths.sort();
    paths.dedup();
    paths
}

/// `SHA256SUMS` as `sha256sum` writes it: digest, a blank, a blank or `*`, a name relative to the file's directory.
fn checksums(
    group: &IndexGroup,
    content: &mut dyn Read,
    found: Found<'_>,
) -> Result<u64, Rejected> {
    let mut reader = BufReader::new(content);
    let mut line = Vec::new();
    let mut entries = 0;
    for number in 1u64.. {
        line.clear();
        let read = reader
            .by_ref()
            .take(MAX_CHECKSUM_LINE_BYTES)
            .read_until(b'\n', &mut line);
        if read.map_err(|error| crate::decompress::rejection(&error))? == 0 {
            break;
        }
        let text = line.trim_ascii();
        if text.is_empty() {
            continue;
        }
        entries += 1;
        let item = match image(group, text) {
            Ok(payload) => Item::File(payload),
            Err(why) => {
                let shown = String::from_utf8_lossy(text);
                let name = shown
                    .split_once([' ', '*'])
                    .map_or(&*shown, |(_, name)| name.trim());
                let why = format!("{why}, line {number}");
                let path = beside(group, name).ok();
                Item::Unusable(Unusable::new(name, &why, path.into_iter().collect()))
            }
        };
        if found(item).is_break() {
            return Ok(entries);
        }
    }
    Ok(entries)
}

fn image(group: &IndexGroup, line: &[u8]) -> Result<Payload, Why> {
    let bad = || "not a SHA-256 digest and a file name".to_owned();
    let text = std::str::from_utf8(line).map_err(|_| bad())?;
    let (digest, name) = text.split_once(' ').ok_or_else(bad)?;
    let name = name.strip_prefix([' ', '*']).unwrap_or(name);
    let digest = Digest::parse(HashAlgorithm::Sha256, digest).map_err(|_| bad())?;
    Ok(Payload {
        path: beside(group, name).map_err(unsafe_path)?,
        promise: Promise::Digest {
            expected: Expected {
                size: MAX_IMAGE_BYTES,
                digest,
            },
            exact: false,
        },
        aliases: Vec::new(),
        guarded: false,
        wanted: true,
    })
}

/// A name relative to the directory of the index.
fn beside(group: &IndexGroup, name: &str) -> Result<RepoPath, PathError> {
    // Checked alone first: an absolute name must not become harmless by what stands before it.
    let name = RepoPath::new(name)?;
    match group.stem.parent() {
        Some(directory) => RepoPath::new(&format!("{directory}/{name}")),
        None => Ok(name),
    }
}

/// A difference index: the compressed patches that `SHA256-Download` lists.
/// <https://wiki.debian.org/DebianRepository/Format#indices_diffs>
fn differences(
    group: &IndexGroup,
    content: &mut dyn Read,
    found: Found<'_>,
) -> Result<u64, Rejected> {
    let mut entries = 0;
    let mut reader = Reader::with_limit(content, MAX_DIFFERENCE_INDEX_BYTES);
    while let Some(stanza) = reader.next_stanza().map_err(malformed)? {
        let Some(list) = stanza.text("SHA256-Download").map_err(malformed)? else {
            return Err(Rejected::new(
                Reason::WeakHash,
                "it does not list its patches' SHA-256 digests (SHA256-Download); set include.pdiffs to false",
            ));
        };
        for line in list.lines().filter(|line| !line.trim().is_empty()) {
            entries += 1;
            if found(Item::File(patch(group, &stanza, line)?)).is_break() {
                return Ok(entries);
            }
        }
    }
    Ok(entries)
}

fn patch(group: &IndexGroup, stanza: &Stanza<'_>, line: &str) -> Result<Payload, Rejected> {
    let listed = ChecksumLine::parse(HashAlgorithm::Sha256, line)
        .map_err(|what| malformed(stanza.malformed(what)))?;
    if listed.size > MAX_PATCH_BYTES {
        let message = format!("no patch has {}", counted(listed.size, "byte"));
        return Err(Rejected::new(Reason::TooLarge, message));
    }
    if listed.name.contains('/') {
        let message = format!(
            "the patch {:.120?} would lie outside the index's own directory",
            listed.name
        );
        return Err(Rejected::new(Reason::UnsafePath, message));
    }
    let path = beside(group, listed.name)
        .map_err(|error| Rejected::new(Reason::UnsafePath, error.to_string()))?;
    let expected = Expected {
        size: listed.size,
        digest: listed.digest,
    };
    Ok(Payload {
        path,
        promise: Promise::exactly(expected),
        aliases: Vec::new(),
        guarded: false,
        wanted: true,
    })
}
