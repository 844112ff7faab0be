//! The same seam for a registry of packages: all of it is known by asking. A question in, an answer out; who serves keeps for
//! a while what may be given again, and knows nothing else of registries.

use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use fleet_types::Sha256;
use fleet_types::documents::{NotKept, RegistryState};
use futures::future::BoxFuture;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::Growing;

/// Of a request's headers these alone reach a registry: what a client says of itself, its logins among it, does not.
pub const COUNTED: [HeaderName; 3] = [ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING];

/// Answers everything below paths of its own.
pub trait Registry: Send + Sync {
    /// The Mirror's name.
    fn name(&self) -> &str;

    /// Below which it answers, without slashes at their ends; the first one is the one that people are told.
    fn paths(&self) -> &[String];

    /// Must not block. The future may be dropped; what others wait for goes on.
    fn answer(&self, question: Question) -> BoxFuture<'static, Found>;

    /// An answer that lasts was given again without a question.
    fn answered_again(&self);

    /// Which files were given out again lately. Must not block.
    fn used(&self, tags: Vec<Sha256>);

    /// How it is.
    fn state(&self) -> RegistryState;

    /// Why what it fetches cannot be kept; none while it can. Blocks on the disk.
    fn not_kept(&self) -> Option<NotKept>;
}

/// A request to a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub method: Method,
    /// Which of the registry's paths was asked.
    pub below: String,
    /// What follows that path, as it was sent: empty, or from a slash on. Without the query.
    pub path: String,
    pub query: Option<String>,
    /// Those of [`COUNTED`].
    pub headers: HeaderMap,
    /// Below which URL the client asks for the registry's path, as far as it is known: `https://example.org/tools`, without
    /// a slash at its end. None where the request does not say by which host it asks.
    pub site: Option<String>,
    pub body: Option<Bytes>,
}

/// An answer of a registry. Conditions and ranges are judged by who serves, by a file's tag.
#[derive(Debug, Clone)]
pub struct Found {
    pub status: StatusCode,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: FoundBody,
    /// Whether the same may be answered again without a question. Only of a file.
    pub lasts: Option<Lasts>,
}

#[derive(Debug, Clone)]
pub enum FoundBody {
    /// Of a 200.
    File(ServedFile),
    /// Of a 200; what is on its way, and the tag that it will have.
    Growing(Growing, Sha256),
    Bytes(Bytes),
}

/// For how long an answer is the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lasts {
    /// Unix seconds; none where it stays as it is.
    pub until: Option<i64>,
    /// Whether it depends on the headers that count, and on the address by which the client asks.
    pub varies: bool,
}

impl Lasts {
    /// Whoever asks, however.
    pub fn always() -> Lasts {
        Lasts {
            until: None,
            varies: false,
        }
    }
}

/// An open file. Its bytes must not change.
#[derive(Clone)]
pub struct ServedFile {
    /// Its entity tag: other bytes have another one.
    pub tag: Sha256,
    pub file: Arc<File>,
    /// Bytes.
    pub size: u64,
}

impl ServedFile {
    pub fn new(tag: &Sha256, file: File) -> io::Result<ServedFile> {
        let about = file.metadata()?;
        if !about.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        Ok(ServedFile {
            tag: *tag,
            size: about.len(),
            file: Arc::new(file),
        })
    }
}

impl fmt::Debug for ServedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServedFile")
            .field("tag", &self.tag)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// Of a request's headers those that count.
pub fn counted(headers: &HeaderMap) -> HeaderMap {
    let mut counted = HeaderMap::new();
    for name in COUNTED {
        // A second line of the same name says nothing that a registry listens to.
        if let Some(value) = headers.get(&name) {
            counted.insert(name, value.clone());
        }
    }
    counted
}
