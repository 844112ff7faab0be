//! A database, its list of files and their signatures: how they are listed, by which names, and whether the two are of one
//! state.

use std::collections::hash_map::RandomState;
use std::io::Read;

use fleet_types::{Digest, Expected, Hashes, Reason, RepoPath, both};

use super::{Kind, database};
use crate::decompress::{self, Whole};
use crate::seam::{
    Alias, Compression, IndexFile, IndexGroup, Rejected, RootContent, VerifyContext,
};

pub(super) fn group(kind: Kind, root: &RootContent) -> Result<IndexGroup, Rejected> {
    let compression = compression_of(root)?;
    Ok(IndexGroup {
        stem: root.path.clone(),
        lists_payload: kind == Kind::Packages,
        required: kind == Kind::Packages,
        files: vec![file(
            root,
            compression,
            mutable(archive_name(&root.path, compression)?),
        )],
        uncompressed: None,
        kind: kind as u16,
    })
}

/// A signature has the second name of what it signs too.
pub(super) fn signature_group(
    signed: &RootContent,
    signature: &RootContent,
) -> Result<IndexGroup, Rejected> {
    let archive = archive_name(&signed.path, compression_of(signed)?)?;
    Ok(IndexGroup {
        stem: signature.path.clone(),
        lists_payload: false,
        required: false,
        files: vec![file(
            signature,
            Compression::None,
            mutable(signature_of(&archive)?),
        )],
        uncompressed: None,
        kind: Kind::Signature as u16,
    })
}

fn mutable(path: RepoPath) -> Alias {
    Alias {
        path,
        mutable: true,
    }
}

pub(super) fn file(root: &RootContent, compression: Compression, alias: Alias) -> IndexFile {
    IndexFile {
        path: root.path.clone(),
        expected: Expected {
            size: root.size,
            digest: Digest::Sha256(root.sha256),
        },
        hashes: Hashes::default(),
        compression,
        sources: Vec::new(),
        aliases: vec![alias],
        mutable: true,
    }
}

pub(super) fn signature_of(path: &RepoPath) -> Result<RepoPath, Rejected> {
    let path = RepoPath::new(&format!("{path}.sig"));
    path.map_err(|error| Rejected::new(Reason::UnsafePath, error.to_string()))
}

pub(super) fn compression_of(root: &RootContent) -> Result<Compression, Rejected> {
    let mut start = Vec::new();
    let read = root
        .open()
        .and_then(|content| content.take(database::MAGIC_BYTES).read_to_end(&mut start));
    read.map_err(|error| unreadable(root, &error))?;
    database::compression(&start).map_err(|rejected| rejected.at(&root.path))
}

/// The name that repo-add gives to the archive, of which `core.db` is a link; people and tools ask for it too.
fn archive_name(path: &RepoPath, compression: Compression) -> Result<RepoPath, Rejected> {
    let suffix = match compression {
        Compression::None => ".tar",
        Compression::Gzip => ".tar.gz",
        Compression::Xz => ".tar.xz",
        Compression::Bzip2 => ".tar.bz2",
        Compression::Zstd => ".tar.zst",
        Compression::Lzma => ".tar.lzma",
        Compression::Lz4 => ".tar.lz4",
    };
    let path = RepoPath::new(&format!("{path}{suffix}"));
    path.map_err(|error| Rejected::new(Reason::UnsafePath, error.to_string()))
}

/// The two are renewed one after the other, so that they may be of two states. Once that has been so twice, people are told:
/// only `pacman -F` reads the second. Of what was accepted before nothing is said.
pub(super) fn disagreement(
    database: &RootContent,
    files: &RootContent,
    context: Option<&VerifyContext<'_>>,
) -> Result<Option<String>, Rejected> {
    let is_new = |context: &&VerifyContext<'_>| {
        context
            .accepted
            .is_none_or(|accepted| accepted.revision.digest != database.sha256)
    };
    let Some(context) = context.filter(is_new) else {
        return Ok(None);
    };
    let hashes = RandomState::new();
    let fingerprint = |root: &RootContent| {
        let content = root.open().map_err(|error| unreadable(root, &error))?;
        let limit = decompress::output_limit(root.size, None);
        let mut content =
            decompress::reader(compression_of(root)?, content, limit, Whole::ByItself);
        database::fingerprint(&mut content, &hashes).map_err(|rejected| rejected.at(&root.path))
    };
    let (ours, theirs) = both("database", || fingerprint(database), || fingerprint(files));
    if ours? == theirs? {
        return Ok(None);
    }
    let message = format!(
        "{} and {} list different packages",
        database.path, files.path
    );
    match context.settled {
        false => Err(Rejected::unsettled(Reason::UpstreamIncomplete, message)),
        true => Ok(Some(format!("{message}, which pacman -F may notice"))),
    }
}

pub(super) fn unreadable(root: &RootContent, error: &std::io::Error) -> Rejected {
    let message = format!("{} cannot be read again: {error}", root.path);
    Rejected::new(Reason::StorageFailed, message)
}
