//! Installation images, as Arch Linux lays them out: `iso/latest` is the newest release, and a link to the folder with its
//! date, `iso/2024.06.01`. `sha256sums.txt` in it names the images without their sizes, as `sha256sum` writes it.
//! <https://archlinux.org/download/>
//!
//! Here the names below the date are the files, which never change and outlive the next release for a while; those below
//! `latest` are other names for them. All of them come with one snapshot, so `latest` is another release only when all of
//! that is here and was checked.

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::{ControlFlow, Range};

use fleet_types::documents::UnixSeconds;
use fleet_types::{Digest, Expected, HashAlgorithm, Reason, RepoPath, Sha256, UnitRevision};
use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};

use super::Kind;
use super::packages::MAX_SIGNATURE_BYTES;
use super::roots::file;
use crate::decompress;
use crate::seam::{
    Alias, Compression, IndexGroup, Item, Payload, Promise, Rejected, RootContent, RootFile,
    RootPlan, UnitIndex, VerifyContext, let_through,
};

const FOLDER: &str = "iso";
const LATEST: &str = "iso/latest";
const SUMS: &str = "sha256sums.txt";
/// The same files by BLAKE2, for people: nothing here rests on it.
const OTHER_SUMS: &str = "b2sums.txt";
/// In hexadecimal digits.
const SHA256_LENGTH: usize = 64;
const BLAKE2_LENGTH: usize = 128;
/// The real ones have four lines.
const MAX_SUMS_BYTES: u64 = 64 << 10;
const MAX_FILES: usize = 256;
/// The most that is read of an image, whose size nobody tells; the real ones have some 1.3 GB.
const MAX_IMAGE_BYTES: u64 = 16 << 30;
/// A release bears the date of a day, wherever it was made.
const DAY_SECONDS: i64 = 86_400;

/// What `iso/latest/sha256sums.txt` names.
#[derive(Debug, PartialEq, Eq)]
struct Release {
    /// As in the names, `2024.06.01`.
    date: String,
    /// Its beginning, in seconds since 1970-01-01T00:00:00Z.
    begins: i64,
    /// By name.
    images: BTreeMap<String, Sha256>,
}

pub(super) fn roots() -> Result<RootPlan, Rejected> {
    let root = |name| {
        Ok::<_, Rejected>(RootFile {
            path: below(LATEST, name)?,
            max_bytes: MAX_SUMS_BYTES,
        })
    };
    Ok(RootPlan {
        probes: vec![root(SUMS)?],
        companions: vec![root(OTHER_SUMS)?],
        signatures: Vec::new(),
    })
}

/// `iso/latest`, and what it stands for while a release is the newest whose day begins then.
pub(super) fn latest_and_folder(begins: i64) -> Option<(String, String)> {
    let day = Timestamp::from_second(begins).ok()?;
    let date = day.to_zoned(TimeZone::UTC).strftime("%Y.%m.%d").to_string();
    Some((LATEST.to_owned(), format!("{FOLDER}/{date}")))
}

/// What the sums name. Errors: `UpstreamIncomplete`, `IndexMalformed`, `UnsafePath`; with a context `IndexFromFuture`, and
/// `RollbackDetected` where nobody let it through.
pub(super) fn index(
    unit: &str,
    roots: &[RootContent],
    context: Option<&VerifyContext<'_>>,
) -> Result<UnitIndex, Rejected> {
    let of = |name| {
        let path = below(LATEST, name)?;
        Ok::<_, Rejected>(roots.iter().find(|root| root.path == path))
    };
    let sums = of(SUMS)?.ok_or_else(|| {
        let message = format!(
            "the upstream has no {LATEST}/{SUMS}; leave arch.include.iso out where it has no images of Arch Linux"
        );
        Rejected::new(Reason::UpstreamIncomplete, message)
    })?;
    let release = Release::read(&sums.bytes()?).map_err(|rejected| rejected.at(&sums.path))?;
    let revision = UnitRevision {
        unit: unit.to_owned(),
        digest: sums.sha256,
        date: release.begins,
        valid_until: None,
    };
    let allowed = match context {
        Some(context) => in_time(&revision, &release.date, context)?,
        None => Vec::new(),
    };
    let mut groups = vec![group(Kind::Images, sums, &release)?];
    let mut listed = vec![sums];
    if let Some(others) = of(OTHER_SUMS)? {
        same_names(&release, others, context)?;
        groups.push(group(Kind::Checksums, others, &release)?);
        listed.push(others);
    }
    Ok(UnitIndex {
        revision,
        identity: BTreeMap::new(),
        allowed,
        roots: listed
            .into_iter()
            .map(|root| (root.path.clone(), root.sha256))
            .collect(),
        groups,
        links: Vec::new(),
        fixed_names: false,
        signed_by: Vec::new(),
        vouched_until: None,
        notes: Vec::new(),
        lacks: Vec::new(),
    })
}

/// Reads the sums, decompressed as they always are; how many files they name. Errors as of the whole.
pub(super) fn read(
    content: &mut dyn Read,
    with_signatures: bool,
    found: &mut dyn FnMut(Item) -> ControlFlow<()>,
) -> Result<u64, Rejected> {
    let mut text = Vec::new();
    let read = content.take(MAX_SUMS_BYTES + 1).read_to_end(&mut text);
    read.map_err(|error| decompress::rejection(&error))?;
    if text.len() as u64 > MAX_SUMS_BYTES {
        let message = format!("checksums of more than {MAX_SUMS_BYTES} bytes");
        return Err(Rejected::new(Reason::TooLarge, message));
    }
    let release = Release::read(&text)?;
    let mut entries = 0;
    for (name, sha256) in &release.images {
        entries += 1;
        let files = release.files(name, *sha256, with_signatures)?;
        let taken = files
            .into_iter()
            .try_for_each(|payload| found(Item::File(payload)));
        if taken.is_break() {
            break;
        }
    }
    Ok(entries)
}

impl Release {
    fn read(text: &[u8]) -> Result<Release, Rejected> {
        let mut images = BTreeMap::new();
        for (name, digest) in names_and_digests(text, SHA256_LENGTH)? {
            match Digest::parse(HashAlgorithm::Sha256, digest) {
                Ok(Digest::Sha256(sha256)) => drop(images.insert(name.to_owned(), sha256)),
                _ => return Err(malformed(format!("{digest:.80?} is no SHA-256 digest"))),
            }
        }
        let dated = images.keys().filter_map(|name| date_in(name));
        let dates: BTreeMap<String, i64> = dated
            .map(|(date, begins)| (date.to_owned(), begins))
            .collect();
        let mut dates = dates.into_iter();
        match (dates.next(), dates.next()) {
            (Some((date, begins)), None) => Ok(Release {
                date,
                begins,
                images,
            }),
            (Some((one, _)), Some((other, _))) => Err(malformed(format!(
                "it names files of two releases, {one} and {other}"
            ))),
            (None, _) => Err(malformed(
                "it names no file with the date of a release, as archlinux-2024.06.01-x86_64.iso has it"
                    .to_owned(),
            )),
        }
    }

    /// An image, and the signature beside it.
    fn files(
        &self,
        name: &str,
        sha256: Sha256,
        with_signatures: bool,
    ) -> Result<Vec<Payload>, Rejected> {
        let expected = Expected {
            size: MAX_IMAGE_BYTES,
            digest: Digest::Sha256(sha256),
        };
        let digest = Promise::Digest {
            expected,
            exact: false,
        };
        let mut files = vec![self.file(name, digest)?];
        if with_signatures {
            let over = Promise::SignatureOver {
                path: self.place(name)?,
                signed: sha256,
                max_bytes: MAX_SIGNATURE_BYTES,
            };
            files.push(self.file(&format!("{name}.sig"), over)?);
        }
        Ok(files)
    }

    fn file(&self, name: &str, promise: Promise) -> Result<Payload, Rejected> {
        let latest = Alias {
            path: below(LATEST, name)?,
            mutable: date_in(name).is_none(),
        };
        Ok(Payload {
            path: self.place(name)?,
            // An image may be signed anew.
            guarded: matches!(promise, Promise::Digest { .. }),
            promise,
            aliases: vec![latest],
            wanted: true,
        })
    }

    /// Where a file of this release is for good.
    fn place(&self, name: &str) -> Result<RepoPath, Rejected> {
        below(FOLDER, &format!("{}/{name}", self.date))
    }
}

/// Lines of `sha256sum` and `b2sum`: a digest of `length` digits, a blank, a blank or `*`, the name of a file in the same
/// folder. Signatures are left out, which come with what they sign.
fn names_and_digests(text: &[u8], length: usize) -> Result<BTreeMap<&str, &str>, Rejected> {
    let text = std::str::from_utf8(text).map_err(|_| malformed("it is no text".to_owned()))?;
    let mut found = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let parts = line.split_once(' ').filter(|(digest, _)| {
            digest.len() == length && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
        let Some((digest, name)) = parts else {
            return Err(malformed(format!(
                "line {number} is not a digest of {length} digits and a name"
            )));
        };
        let name = name.strip_prefix([' ', '*']).unwrap_or(name);
        // With its signature beside it.
        let is_path = RepoPath::new(&format!("{name}.sig")).is_ok();
        if name.contains('/') || name.starts_with('.') || !is_path {
            let message = format!("line {number} names {name:.200?}, which is no file beside it");
            return Err(Rejected::new(Reason::UnsafePath, message));
        }
        if name.ends_with(".sig") {
            continue;
        }
        if found.insert(name, digest).is_some() || found.len() > MAX_FILES {
            return Err(malformed(format!(
                "line {number} names {name:.200?} a second time, or one file more than {MAX_FILES}"
            )));
        }
    }
    Ok(found)
}

/// The date that a name bears, and when that day begins.
fn date_in(name: &str) -> Option<(&str, i64)> {
    let date = |part: &'_ str| {
        let is_form = part.len() == 10
            && part.bytes().enumerate().all(|(at, byte)| match at {
                4 | 7 => byte == b'.',
                _ => byte.is_ascii_digit(),
            });
        let number = |range: Range<usize>| part.get(range)?.parse::<i16>().ok();
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        let day = civil::Date::new(year, month.try_into().ok()?, day.try_into().ok()?).ok()?;
        let begins = day.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second();
        is_form.then_some(begins)
    };
    name.split('-').find_map(|part| Some((part, date(part)?)))
}

/// What a person let through of it.
fn in_time(
    revision: &UnitRevision,
    date: &str,
    context: &VerifyContext<'_>,
) -> Result<Vec<Reason>, Rejected> {
    if revision.date.saturating_sub(DAY_SECONDS) > context.now {
        let message = format!(
            "{LATEST} is the release of {date}, in the future; check this machine's clock and the upstream's"
        );
        return Err(Rejected::new(Reason::IndexFromFuture, message));
    }
    let Some(newer) = context
        .accepted
        .filter(|accepted| accepted.revision.date > revision.date)
    else {
        return Ok(Vec::new());
    };
    let reason = Reason::RollbackDetected;
    if context.allowances.allows(revision.digest, reason) {
        return Ok(vec![reason]);
    }
    let message = format!(
        "{LATEST} is the release of {date}, and one of {} was accepted before; {}",
        UnixSeconds(newer.revision.date),
        let_through(revision, &[reason])
    );
    Err(Rejected::new(reason, message))
}

/// The two lists are read one after the other, and between them `latest` may have become another release.
fn same_names(
    release: &Release,
    others: &RootContent,
    context: Option<&VerifyContext<'_>>,
) -> Result<(), Rejected> {
    let Some(context) = context else {
        return Ok(());
    };
    let bytes = others.bytes()?;
    let names = names_and_digests(&bytes, BLAKE2_LENGTH);
    let names = names.map_err(|rejected| rejected.at(&others.path))?;
    if names.keys().eq(release.images.keys()) {
        return Ok(());
    }
    let message = format!("{LATEST}/{SUMS} and {} name different files", others.path);
    Err(match context.settled {
        false => Rejected::unsettled(Reason::IndexMalformed, message),
        true => Rejected::new(Reason::IndexMalformed, message),
    })
}

fn group(kind: Kind, root: &RootContent, release: &Release) -> Result<IndexGroup, Rejected> {
    let for_good = Alias {
        path: release.place(root.path.file_name())?,
        mutable: false,
    };
    Ok(IndexGroup {
        stem: root.path.clone(),
        lists_payload: kind == Kind::Images,
        required: kind == Kind::Images,
        files: vec![file(root, Compression::None, for_good)],
        uncompressed: None,
        kind: kind as u16,
    })
}

fn below(folder: &str, name: &str) -> Result<RepoPath, Rejected> {
    let path = RepoPath::new(&format!("{folder}/{name}"));
    path.map_err(|error| Rejected::new(Reason::UnsafePath, error.to_string()))
}

fn malformed(message: String) -> Rejected {
    Rejected::new(Reason::IndexMalformed, message)
}
