//! What a packument says that a mirror must know, and where it stands.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use super::integrity::Integrity;
use super::name::PackageName;
use super::scan::{Malformed, Member, Scanner, Span};

/// The public registry's own limit is 100 MB; the largest documents have some 40.
pub const MAX_PACKUMENT_BYTES: u64 = 128 << 20;

/// A document of a package, read.
#[derive(Debug)]
pub struct Packument<'a> {
    pub(super) text: &'a str,
    pub(super) versions: Vec<Version<'a>>,
    pub(super) time: Vec<Member<'a>>,
    pub(super) tags: Vec<Tag<'a>>,
    by_version: HashMap<String, usize>,
}

/// One version of it.
#[derive(Debug)]
pub struct Version<'a> {
    pub version: Cow<'a, str>,
    /// What the tarball's bytes must be; none where the document does not say it in a way that can be checked.
    pub integrity: Option<Integrity>,
    /// When it was published by the document's word, in Unix seconds. Only the full form tells.
    pub published: Option<i64>,
    pub deprecated: bool,
    /// Whether its own name and version are those under which it stands.
    pub fits: bool,
    pub(super) span: Span,
    pub(super) value: Span,
    pub(super) tarball: Option<Text<'a>>,
    pub(super) attestations: Option<Text<'a>>,
}

/// A string and where it stands, with its quotes.
#[derive(Debug)]
pub(super) struct Text<'a> {
    pub span: Span,
    pub text: Cow<'a, str>,
}

/// A name for a version.
#[derive(Debug)]
pub(super) struct Tag<'a> {
    pub name: Cow<'a, str>,
    pub version: Cow<'a, str>,
    pub span: Span,
    pub value: Span,
}

impl<'a> Packument<'a> {
    /// Reads the document of the package `name`, in either form.
    pub fn read(bytes: &'a [u8], name: &PackageName) -> Result<Packument<'a>, Malformed> {
        let mut scanner = Scanner::new(bytes)?;
        let (mut own, mut versions, mut time, mut tags) =
            (None, Vec::new(), Vec::new(), Vec::new());
        let mut dates = HashMap::new();
        let members = scanner.object(|scanner, key| {
            match key {
                "name" => own = string_or_other(scanner)?,
                "versions" => versions = self::versions(scanner, name)?,
                "time" => time = self::time(scanner, &mut dates)?,
                "dist-tags" => tags = self::tags(scanner)?,
                _ => scanner.skip()?,
            }
            Ok(())
        })?;
        scanner.end()?;
        unique(&members)?;
        if own.as_deref() != Some(name.as_str()) {
            return Err(scanner.fail(format!("it is the document of another package than {name}")));
        }
        for version in &mut versions {
            version.published = dates.get(&*version.version).copied();
        }
        let numbered = versions.iter().enumerate();
        let by_version = numbered
            .map(|(number, version)| (version.version.to_string(), number))
            .collect();
        Ok(Packument {
            text: scanner.text(),
            versions,
            time,
            tags,
            by_version,
        })
    }

    /// In the document's order.
    pub fn versions(&self) -> &[Version<'a>] {
        &self.versions
    }

    /// The number of a version in [`versions`](Self::versions).
    pub fn position(&self, version: &str) -> Option<usize> {
        self.by_version.get(version).copied()
    }
}

fn versions<'a>(
    scanner: &mut Scanner<'a>,
    name: &PackageName,
) -> Result<Vec<Version<'a>>, Malformed> {
    let mut found = Vec::new();
    let members = scanner.object(|scanner, key| {
        found.push(version(scanner, name, key)?);
        Ok(())
    })?;
    unique(&members)?;
    for (version, member) in found.iter_mut().zip(members) {
        (version.version, version.span, version.value) = (member.key, member.span, member.value);
    }
    Ok(found)
}

fn version<'a>(
    scanner: &mut Scanner<'a>,
    package: &PackageName,
    key: &str,
) -> Result<Version<'a>, Malformed> {
    let (mut name, mut own, mut deprecated, mut dist) = (None, None, None, None);
    scanner.walk(|scanner, key, _| match &*key {
        "name" => once(scanner, &mut name, string_or_other),
        "version" => once(scanner, &mut own, string_or_other),
        "deprecated" => once(scanner, &mut deprecated, is_said),
        "dist" => once(scanner, &mut dist, self::dist),
        _ => scanner.skip(),
    })?;
    let dist = dist.unwrap_or_default();
    let is = |told: Option<Option<Cow<'_, str>>>, wanted: &str| {
        told.flatten().as_deref() == Some(wanted)
    };
    Ok(Version {
        version: Cow::Borrowed(""),
        integrity: Integrity::of(dist.integrity.as_deref(), dist.shasum.as_deref()),
        published: None,
        deprecated: deprecated.unwrap_or(false),
        fits: is(name, package.as_str()) && is(own, key),
        span: 0..0,
        value: 0..0,
        tarball: dist.tarball,
        attestations: dist.attestations,
    })
}

#[derive(Default)]
struct Dist<'a> {
    tarball: Option<Text<'a>>,
    attestations: Option<Text<'a>>,
    integrity: Option<Cow<'a, str>>,
    shasum: Option<Cow<'a, str>>,
}

fn dist<'a>(scanner: &mut Scanner<'a>) -> Result<Dist<'a>, Malformed> {
    let (mut tarball, mut attestations, mut integrity, mut shasum) = (None, None, None, None);
    scanner.walk(|scanner, key, _| match &*key {
        "tarball" => once(scanner, &mut tarball, text_or_other),
        "attestations" => once(scanner, &mut attestations, url_of),
        "integrity" => once(scanner, &mut integrity, string_or_other),
        "shasum" => once(scanner, &mut shasum, string_or_other),
        _ => scanner.skip(),
    })?;
    Ok(Dist {
        tarball: tarball.flatten(),
        attestations: attestations.flatten(),
        integrity: integrity.flatten(),
        shasum: shasum.flatten(),
    })
}

fn url_of<'a>(scanner: &mut Scanner<'a>) -> Result<Option<Text<'a>>, Malformed> {
    if scanner.peek() != Some(b'{') {
        return scanner.skip().map(|()| None);
    }
    let mut url = None;
    scanner.walk(|scanner, key, _| match &*key {
        "url" => once(scanner, &mut url, text_or_other),
        _ => scanner.skip(),
    })?;
    Ok(url.flatten())
}

/// A deprecation is a sentence; an empty one takes it back.
fn is_said(scanner: &mut Scanner<'_>) -> Result<bool, Malformed> {
    match scanner.peek() {
        Some(b'"') => Ok(!scanner.string()?.is_empty()),
        first => scanner.skip().map(|()| first == Some(b't')),
    }
}

/// The dates that are told for versions, and for the document itself.
fn time<'a>(
    scanner: &mut Scanner<'a>,
    dates: &mut HashMap<String, i64>,
) -> Result<Vec<Member<'a>>, Malformed> {
    let members = scanner.object(|scanner, key| {
        let told = string_or_other(scanner)?.and_then(|text| text.parse::<Timestamp>().ok());
        if let Some(at) = told {
            dates.insert(key.to_owned(), at.as_second());
        }
        Ok(())
    })?;
    unique(&members).map(|()| members)
}

fn tags<'a>(scanner: &mut Scanner<'a>) -> Result<Vec<Tag<'a>>, Malformed> {
    let mut versions = Vec::new();
    let members = scanner.object(|scanner, _| {
        versions.push(scanner.string()?);
        Ok(())
    })?;
    unique(&members)?;
    let tags = members.into_iter().zip(versions);
    Ok(tags
        .map(|(tag, version)| Tag {
            name: tag.key,
            version,
            span: tag.span,
            value: tag.value,
        })
        .collect())
}

fn text_or_other<'a>(scanner: &mut Scanner<'a>) -> Result<Option<Text<'a>>, Malformed> {
    scanner.peek();
    let start = scanner.at();
    let text = string_or_other(scanner)?;
    Ok(text.map(|text| Text {
        span: start..scanner.at(),
        text,
    }))
}

/// None for a value of another kind.
fn string_or_other<'a>(scanner: &mut Scanner<'a>) -> Result<Option<Cow<'a, str>>, Malformed> {
    match scanner.peek() {
        Some(b'"') => scanner.string().map(Some),
        _ => scanner.skip().map(|()| None),
    }
}

/// Reads what may be said once only: parsers differ in which of two they take.
fn once<'a, T>(
    scanner: &mut Scanner<'a>,
    place: &mut Option<T>,
    read: impl FnOnce(&mut Scanner<'a>) -> Result<T, Malformed>,
) -> Result<(), Malformed> {
    if place.is_some() {
        return Err(scanner.fail("a version says the same thing twice"));
    }
    *place = Some(read(scanner)?);
    Ok(())
}

fn unique(members: &[Member<'_>]) -> Result<(), Malformed> {
    let mut keys = HashSet::with_capacity(members.len());
    match members.iter().find(|member| !keys.insert(&*member.key)) {
        Some(twice) => {
            let key: String = twice.key.chars().take(64).collect();
            Err(Malformed {
                what: format!("{key:?} stands twice in one object").into(),
                at: twice.span.start,
            })
        }
        None => Ok(()),
    }
}
