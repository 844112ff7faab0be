//! What an archive that nobody signs need not say: with `signatures: None` there may be no Release, or one without sums,
//! or with weak ones. The indices are then read by their usual names, as roots, and what was read is the state.

use fleet_types::{Digest, Hashes, Reason, RepoPath, counted};
use pgp::crypto::hash::HashAlgorithm as Weak;

use super::release::{Release, ReleaseFile};
use super::roles::{SUFFIXES, split_suffix};
use super::roots::{IN_RELEASE, RELEASE, RELEASE_GPG};
use super::slice::{Slice, Suite};
use crate::openpgp;
use crate::seam::{Rejected, RootContent, RootFile};

/// They are held in memory; archives without a Release are small.
const MAX_INDEX_BYTES: u64 = 16 << 20;

/// For each index that no strong digest covers, the names that it may have; the first that exists is it.
pub(super) fn wanted(
    slice: &Slice,
    suite: &Suite<'_>,
    roots: &[RootContent],
) -> Result<Vec<Vec<RootFile>>, Rejected> {
    // What cannot be read is refused where it is verified.
    let Ok(release) = release_of(roots) else {
        return Ok(Vec::new());
    };
    let file = |name: &str| {
        Ok::<_, Rejected>(RootFile {
            path: suite.path(name)?,
            max_bytes: MAX_INDEX_BYTES,
        })
    };
    let stems = stems(slice, suite, release.asks_for_all());
    let names = stems.iter().map(|stem| usual_names(&release, stem));
    let names = names.filter(|names| !names.is_empty());
    names
        .map(|names| names.iter().map(|name| file(name)).collect())
        .collect()
}

/// None at all, and the sums of an unsigned one are as good as the rest of it.
fn release_of(roots: &[RootContent]) -> Result<Release, Rejected> {
    let named = |name| roots.iter().find(|root| root.path.file_name() == name);
    match (named(IN_RELEASE), named(RELEASE)) {
        (Some(root), _) => match openpgp::unverified_cleartext(&root.bytes()?) {
            Ok(payload) => Release::parse(&payload),
            Err(_) => Release::parse(&root.bytes()?),
        },
        (None, Some(root)) => Release::parse(&root.bytes()?),
        (None, None) => Ok(Release::none()),
    }
}

fn stems(slice: &Slice, suite: &Suite<'_>, asks_for_all: bool) -> Vec<String> {
    let sources = slice.include.sources;
    if suite.is_flat() {
        let sources = sources.then_some("Sources");
        let names = std::iter::once("Packages").chain(sources);
        return names.map(str::to_owned).collect();
    }
    let mut folders: Vec<String> = slice
        .architectures
        .iter()
        .map(|architecture| format!("binary-{architecture}/Packages"))
        .collect();
    let all = "binary-all/Packages".to_owned();
    if asks_for_all && !folders.is_empty() && !folders.contains(&all) {
        folders.push(all);
    }
    folders.extend(sources.then(|| "source/Sources".to_owned()));
    let mut stems = Vec::new();
    for component in &slice.components {
        stems.extend(folders.iter().map(|folder| format!("{component}/{folder}")));
    }
    stems
}

/// Nothing where the Release lists the index with a strong digest, or lists others and not this one.
fn usual_names(release: &Release, stem: &str) -> Vec<String> {
    let listed = release
        .files
        .iter()
        .filter(|(name, _)| split_suffix(name).0 == stem);
    let (mut weak, mut strong) = (Vec::new(), false);
    for (name, file) in listed {
        strong |= file.hashes.strong().is_some();
        weak.push(name.clone());
    }
    if strong {
        return Vec::new();
    }
    if !weak.is_empty() || !release.files.is_empty() {
        return weak;
    }
    let suffixes = SUFFIXES.iter().map(|(suffix, _)| *suffix);
    suffixes
        .chain([""])
        .map(|suffix| format!("{stem}{suffix}"))
        .collect()
}

/// Lists in `release` what was read of these, and returns what that adds to the state's identity. Errors:
/// `DigestMismatch` where the Release says something weak of a file, and the file is another.
pub(super) fn list(
    release: &mut Release,
    suite: &Suite<'_>,
    roots: &[RootContent],
) -> Result<String, Rejected> {
    let mut identity = String::new();
    for root in roots {
        let Some(name) = name_in(suite, &root.path) else {
            continue;
        };
        let (size, digest) = (root.size, root.sha256);
        let mut hashes = Hashes::default();
        if let Some(listed) = release.files.get(name) {
            is_as_listed(name, listed, &root.bytes()?)?;
            hashes = listed.hashes;
        }
        hashes.set(Digest::Sha256(digest));
        identity.push_str(&format!("{name} {size} {digest}\n"));
        release
            .files
            .insert(name.to_owned(), ReleaseFile { size, hashes });
    }
    Ok(identity)
}

/// The name of an index relative to its suite; none for a root in the proper sense.
fn name_in<'a>(suite: &Suite<'_>, path: &'a RepoPath) -> Option<&'a str> {
    let name = match suite.directory.as_str() {
        "" => path.as_str(),
        directory => path.as_str().strip_prefix(directory)?.strip_prefix('/')?,
    };
    (![IN_RELEASE, RELEASE, RELEASE_GPG].contains(&name)).then_some(name)
}

fn is_as_listed(name: &str, listed: &ReleaseFile, bytes: &[u8]) -> Result<(), Rejected> {
    let found = bytes.len() as u64;
    let mismatch = |what: String| Rejected::new(Reason::DigestMismatch, format!("{name}: {what}"));
    if found != listed.size {
        return Err(mismatch(format!(
            "has {}, the Release lists {}",
            counted(found, "byte"),
            listed.size
        )));
    }
    for digest in listed.hashes.iter() {
        let weak = match digest {
            Digest::Md5(_) => Weak::Md5,
            Digest::Sha1(_) => Weak::Sha1,
            Digest::Sha256(_) | Digest::Sha512(_) => continue,
        };
        // A SHA-1 that shows signs of a forgery is an error, and no match.
        let fits = weak
            .digest(bytes)
            .is_ok_and(|found| found == digest.as_bytes());
        if !fits {
            return Err(mismatch(format!(
                "its {} is not {digest}, which the Release lists",
                digest.algorithm()
            )));
        }
    }
    Ok(())
}
