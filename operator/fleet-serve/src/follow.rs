//! What other mirrors of ours copy from: the index of each snapshot that is listed here, and each content by its digest.
//!
//! Both are asked for by what they are, so that nothing here has to be believed: whoever copies was told by somebody else
//! which index is meant, and hashes what comes. There is no listing, no session, and nothing that depends on what is
//! served at the moment.
//!
//! What can be asked for is what anybody can ask for by path at the port for clients, with one exception: content that a
//! run has stored and that no snapshot names yet. It has the digest that a verified index promised.

use std::sync::Arc;

use fleet_store::{SnapshotId, StoreError};
use fleet_types::Sha256;
use http::{Method, StatusCode};

use crate::answer::{Answer, Caching, Content, Counted};
use crate::asked::{Asked, NeedsDisk, NotNow};
use crate::blobs::Blob;
use crate::catalog::{Catalog, OURS};
use crate::conditional::decide;
use crate::mirror::ServedMirror;
use crate::path::RequestPath;

const HERE: &str = "here are /.mirrorfleet/follow/<mirror>/snapshots/<id> and /.mirrorfleet/follow/<mirror>/blobs/<SHA-256>";
const DIGITS: &str = "snapshots and blobs are named by 64 hexadecimal digits";

/// Answers one request at the port for followers; always, where it may block.
pub fn answer(catalog: &Catalog, asked: Asked<'_>) -> Result<Counted, NotNow> {
    let answer = match may_follow(&asked) {
        Ok(()) => find(catalog, asked)?,
        Err(refusal) => refusal,
    };
    Ok(catalog.outside(answer))
}

/// Whether this request may be answered at all. Who asks does not matter: nothing is secret here that is not public by
/// path. A repository that is not public will have to be asked for its readers' word in this place.
fn may_follow(asked: &Asked<'_>) -> Result<(), Answer> {
    match *asked.method == Method::GET || *asked.method == Method::HEAD {
        true => Ok(()),
        false => Err(Answer::method_not_allowed()),
    }
}

/// What a path names.
enum Thing {
    Index(SnapshotId),
    Content(Sha256),
}

fn find(catalog: &Catalog, asked: Asked<'_>) -> Result<Answer, NeedsDisk> {
    let (name, thing) = match read(asked.path) {
        Ok(named) => named,
        Err(refusal) => return Ok(refusal),
    };
    let Some(mirror) = catalog.named(&name) else {
        let text = "no mirror of this name is served here";
        return Ok(Answer::text(StatusCode::NOT_FOUND, text));
    };
    let found = match thing {
        Thing::Index(id) => {
            asked.disk()?;
            index(&mirror, &id)
        }
        Thing::Content(digest) => content(&mirror, &digest, asked)?,
    };
    Ok(match found {
        Ok(blob) => whole_or_part(blob, asked),
        Err(refusal) => refusal,
    })
}

/// The mirror's name, and what of it is asked for.
fn read(path: &str) -> Result<(String, Thing), Answer> {
    let refused = |status, text: &str| Answer::text(status, text);
    let path = RequestPath::parse(path)
        .map_err(|error| refused(StatusCode::BAD_REQUEST, &error.to_string()))?;
    let nothing = || refused(StatusCode::NOT_FOUND, HERE);
    let path = path.decoded.filter(|path| !path.directory);
    let path = path.ok_or_else(nothing)?;
    let below = path.below(OURS).ok_or_else(nothing)?;
    let below = below.below("follow").ok_or_else(nothing)?;
    let (mirror, rest) = below.split_first().ok_or_else(nothing)?;
    let (kind, name) = rest.path.split_once('/').ok_or_else(nothing)?;
    let digest = |name: &str| {
        let digest = name.parse::<Sha256>();
        digest.map_err(|_| refused(StatusCode::BAD_REQUEST, DIGITS))
    };
    let thing = match kind {
        "snapshots" => Thing::Index(SnapshotId(digest(name)?)),
        "blobs" => Thing::Content(digest(name)?),
        _ => return Err(nothing()),
    };
    Ok((mirror.to_owned(), thing))
}

/// The index file of a snapshot that is listed here. Blocks on the disk.
fn index(mirror: &ServedMirror, id: &SnapshotId) -> Result<Blob, Answer> {
    let store = mirror.store();
    let opened = store.index_pin(id).and_then(|pin| {
        let file = store.open_index(id)?;
        Ok((pin, file))
    });
    match opened {
        Ok((pin, file)) => Blob::new(&pin.sha256, file).map_err(|error| Answer::unreadable(&error)),
        Err(StoreError::SnapshotNotFound { .. }) => Err(Answer::text(
            StatusCode::NOT_FOUND,
            "this snapshot is not kept here",
        )),
        Err(error) => Err(unreadable(mirror, &error.to_string())),
    }
}

fn content(
    mirror: &ServedMirror,
    digest: &Sha256,
    asked: Asked<'_>,
) -> Result<Result<Blob, Answer>, NeedsDisk> {
    let store = mirror.store();
    if let Some(blob) = Blob::open_at_hand(digest, &store.blob_path(digest)) {
        return Ok(Ok(blob));
    }
    asked.disk()?;
    Ok(match store.open_blob(digest) {
        Ok(Some(file)) => Blob::new(digest, file).map_err(|error| Answer::unreadable(&error)),
        Ok(None) => Err(Answer::text(
            StatusCode::NOT_FOUND,
            "no such content is here",
        )),
        Err(error) => Err(unreadable(mirror, &error.to_string())),
    })
}

fn unreadable(mirror: &ServedMirror, problem: &str) -> Answer {
    tracing::error!(
        mirror = mirror.name(),
        problem,
        "a follower cannot be answered"
    );
    Answer::unavailable("this cannot be read from the mirror's disk")
}

fn whole_or_part(blob: Blob, asked: Asked<'_>) -> Answer {
    let validators = blob.by_digest();
    let range = 0..blob.size;
    let decision = decide(asked.method, asked.headers, &validators);
    let content = Content::File {
        blob: Arc::new(blob),
        range,
    };
    let content_type = || "application/octet-stream";
    Answer::file(
        content,
        &validators,
        content_type,
        Caching::Forever,
        decision,
    )
}
