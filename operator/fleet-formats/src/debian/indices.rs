//! What the indices list: packages, source packages, installer images, differences. All of them are read as streams.

use std::io::{BufRead, BufReader, Read};

use fleet_types::{Digest, Expected, HashAlgorithm, PathError, Reason, RepoPath};

use super::packages::PackageFilter;
use super::release::{ChecksumLine, malformed, parse_size};
use super::roles::Kind;
use crate::deb822::{Reader, Stanza};
use crate::seam::{IndexGroup, Payload, Rejected};

/// The most that is read of an installer image, whose size no index tells; the largest real ones are below 1 GiB.
const MAX_IMAGE_BYTES: u64 = 4 << 30;
/// A line of `SHA256SUMS`: digest, two blanks, a path.
const MAX_CHECKSUM_LINE_BYTES: u64 = 4096;
/// A difference index is one stanza; Debian's are below 100 KiB.
const MAX_DIFFERENCE_INDEX_BYTES: usize = 16 << 20;

type Found<'a> = &'a mut dyn FnMut(Payload) -> Result<(), Rejected>;

/// Reads one index of `group` and reports what it lists. Errors: `IndexMalformed`, `WeakHash`, `UnsafePath`,
/// `TooLarge`, and what `found` returns; messages name the index and the place in it.
pub(super) fn read(
    group: &IndexGroup,
    filter: &PackageFilter,
    content: &mut dyn Read,
    found: Found<'_>,
) -> Result<(), Rejected> {
    let result = match Kind::of(group) {
        Kind::Packages => packages(filter, content, found),
        Kind::Sources => sources(filter, content, found),
        Kind::Checksums => checksums(group, content, found),
        Kind::Differences => differences(group, content, found),
        Kind::Opaque => Ok(()),
    };
    result.map_err(|rejected| {
        Rejected::new(
            rejected.reason,
            format!("{}: {}", group.stem, rejected.message),
        )
    })
}

fn packages(
    filter: &PackageFilter,
    content: &mut dyn Read,
    found: Found<'_>,
) -> Result<(), Rejected> {
    let mut reader = Reader::new(content);
    while let Some(stanza) = reader.next_stanza().map_err(malformed)? {
        let wanted = filter.wants_binary(&stanza)?;
        found(package(&stanza, wanted)?)?;
    }
    Ok(())
}

fn package(stanza: &Stanza<'_>, wanted: bool) -> Result<Payload, Rejected> {
    let name = required(stanza, "Filename")?;
    let size = required(stanza, "Size")?;
    let size = parse_size(size).ok_or_else(|| {
        malformed(stanza.malformed(format!(
            "package {}: the Size is {size:.40?}",
            package_name(stanza)
        )))
    })?;
    let digest = package_digest(stanza, name)?;
    Ok(Payload {
        path: safe(stanza, RepoPath::new(name))?,
        expected: Expected { size, digest },
        exact_size: true,
        guarded: true,
        wanted,
    })
}

/// SHA-256 where listed: it names the blob.
fn package_digest(stanza: &Stanza<'_>, name: &str) -> Result<Digest, Rejected> {
    for algorithm in [HashAlgorithm::Sha256, HashAlgorithm::Sha512] {
        if let Some(text) = stanza.text(algorithm.debian_name()).map_err(malformed)? {
            let described = |error| format!("package {}: {error}", package_name(stanza));
            return Digest::parse(algorithm, text)
                .map_err(|error| malformed(stanza.malformed(described(error))));
        }
    }
    Err(weak(stanza, name))
}

fn weak(stanza: &Stanza<'_>, name: &str) -> Rejected {
    let message = format!(
        "stanza {}: package {} ({name:.200}) has no SHA-256 or SHA-512 digest; the upstream must list one",
        stanza.number,
        package_name(stanza)
    );
    Rejected::new(Reason::WeakHash, message)
}

/// For messages only.
fn package_name<'a>(stanza: &Stanza<'a>) -> std::borrow::Cow<'a, str> {
    let name = stanza.get("Package").ok().flatten().unwrap_or(b"(unnamed)");
    String::from_utf8_lossy(name.get(..80).unwrap_or(name))
}

fn required<'a>(stanza: &Stanza<'a>, field: &str) -> Result<&'a str, Rejected> {
    match stanza.text(field).map_err(malformed)? {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(malformed(stanza.malformed(format!(
            "package {}: no {field}",
            package_name(stanza)
        )))),
    }
}

fn safe(stanza: &Stanza<'_>, path: Result<RepoPath, PathError>) -> Result<RepoPath, Rejected> {
    path.map_err(|error| {
        let message = format!(
            "stanza {}: package {}: {error}",
            stanza.number,
            package_name(stanza)
        );
        Rejected::new(Reason::UnsafePath, message)
    })
}

fn sources(
    filter: &PackageFilter,
    content: &mut dyn Read,
    found: Found<'_>,
) -> Result<(), Rejected> {
    let mut reader = Reader::new(content);
    while let Some(stanza) = reader.next_stanza().map_err(malformed)? {
        source(&stanza, filter.wants_source(&stanza)?, found)?;
    }
    Ok(())
}

fn source(stanza: &Stanza<'_>, wanted: bool, found: Found<'_>) -> Result<(), Rejected> {
    let directory = stanza
        .text("Directory")
        .map_err(malformed)?
        .unwrap_or_default()
        .trim_end_matches('/');
    let prefix = if directory.is_empty() {
        String::new()
    } else {
        format!("{directory}/")
    };
    let lists = [
        ("Checksums-Sha256", HashAlgorithm::Sha256),
        ("Checksums-Sha512", HashAlgorithm::Sha512),
    ];
    for (field, algorithm) in lists {
        let Some(list) = stanza.text(field).map_err(malformed)? else {
            continue;
        };
        for line in list.lines().filter(|line| !line.trim().is_empty()) {
            let listed = checksum_line(stanza, algorithm, line)?;
            let path = safe(stanza, RepoPath::new(&format!("{prefix}{}", listed.name)))?;
            let expected = Expected {
                size: listed.size,
                digest: listed.digest,
            };
            found(Payload {
                path,
                expected,
                exact_size: true,
                guarded: true,
                wanted,
            })?;
        }
        return Ok(());
    }
    if stanza.text("Files").map_err(malformed)?.is_some() {
        return Err(weak(stanza, directory));
    }
    Err(malformed(stanza.malformed(format!(
        "source package {}: no Checksums-Sha256",
        package_name(stanza)
    ))))
}

fn checksum_line<'a>(
    stanza: &Stanza<'_>,
    algorithm: HashAlgorithm,
    line: &'a str,
) -> Result<ChecksumLine<'a>, Rejected> {
    ChecksumLine::parse(algorithm, line).map_err(|what| {
        malformed(stanza.malformed(format!("package {}: {what}", package_name(stanza))))
    })
}

/// `SHA256SUMS` as `sha256sum` writes it: digest, a blank, a blank or `*`, a name relative to the file's directory.
fn checksums(group: &IndexGroup, content: &mut dyn Read, found: Found<'_>) -> Result<(), Rejected> {
    let mut reader = BufReader::new(content);
    let mut line = Vec::new();
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
        if !text.is_empty() {
            found(image(group, text, number)?)?;
        }
    }
    Ok(())
}

fn image(group: &IndexGroup, line: &[u8], number: u64) -> Result<Payload, Rejected> {
    let bad = || {
        Rejected::new(
            Reason::IndexMalformed,
            format!("line {number}: not a SHA-256 digest and a file name"),
        )
    };
    let text = std::str::from_utf8(line).map_err(|_| bad())?;
    let (digest, name) = text.split_once(' ').ok_or_else(bad)?;
    let name = name.strip_prefix([' ', '*']).unwrap_or(name);
    let digest = Digest::parse(HashAlgorithm::Sha256, digest).map_err(|_| bad())?;
    let path = beside(group, name)
        .map_err(|error| Rejected::new(Reason::UnsafePath, format!("line {number}: {error}")))?;
    Ok(Payload {
        path,
        expected: Expected {
            size: MAX_IMAGE_BYTES,
            digest,
        },
        exact_size: false,
        guarded: false,
        wanted: true,
    })
}

/// A name relative to the directory of the index.
fn beside(group: &IndexGroup, name: &str) -> Result<RepoPath, PathError> {
    // Checked alone first: `x//etc` must not become harmless by what stands before it.
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
) -> Result<(), Rejected> {
    let mut reader = Reader::with_limit(content, MAX_DIFFERENCE_INDEX_BYTES);
    while let Some(stanza) = reader.next_stanza().map_err(malformed)? {
        let Some(list) = stanza.text("SHA256-Download").map_err(malformed)? else {
            return Err(Rejected::new(
                Reason::WeakHash,
                "it does not list its patches' SHA-256 digests (SHA256-Download); set include.pdiffs to false",
            ));
        };
        for line in list.lines().filter(|line| !line.trim().is_empty()) {
            found(patch(group, &stanza, line)?)?;
        }
    }
    Ok(())
}

fn patch(group: &IndexGroup, stanza: &Stanza<'_>, line: &str) -> Result<Payload, Rejected> {
    let listed = checksum_line(stanza, HashAlgorithm::Sha256, line)?;
    if listed.name.contains('/') {
        let message = format!(
            "the patch {:.120?} would lie outside the index's own directory",
            listed.name
        );
        return Err(Rejected::new(Reason::UnsafePath, message));
    }
    let path = safe(stanza, beside(group, listed.name))?;
    let expected = Expected {
        size: listed.size,
        digest: listed.digest,
    };
    Ok(Payload {
        path,
        expected,
        exact_size: true,
        guarded: false,
        wanted: true,
    })
}
