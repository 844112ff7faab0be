//! Mirrors that are no store of files: registries of packages, which know what their clients ask for and get what they lack
//! when it is asked for. What they are is behind a seam; here is how they are found, and how their answers are sent.
//!
//! They are answered on listeners without TLS.

use std::fmt;
use std::fs::File;
use std::io;
use std::sync::{Arc, OnceLock, RwLock};
use std::time::Instant;

use bytes::Bytes;
use fleet_telemetry::{MirrorTraffic, ServerMetrics};
use fleet_types::{Sha256, lock_read, lock_write};
use futures::future::BoxFuture;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::answer::{Answer, Caching, Content};
use crate::blobs::Blob;
use crate::conditional::decide;
use crate::listing::MirrorLine;
use crate::transaction::Way;

/// Answers everything below paths of its own.
pub trait Registry: Send + Sync {
    /// The Mirror's name.
    fn name(&self) -> &str;

    /// Below which it answers, without slashes at their ends; the first one is the one that people are told.
    fn paths(&self) -> &[String];

    /// Must not block. The future may be dropped; what others wait for goes on.
    fn answer(&self, question: &Question<'_>) -> Reply;
}

/// A request to a registry.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    pub method: &'a Method,
    /// Which of the registry's paths was asked.
    pub below: &'a str,
    /// What follows that path, as it was sent: empty, or from a slash on. Without the query.
    pub path: &'a str,
    pub query: Option<&'a str>,
    pub headers: &'a HeaderMap,
    /// The host, with a port where one was said, by which the client asks.
    pub host: Option<&'a str>,
    pub body: Option<Bytes>,
    pub at: Instant,
}

/// How an answer comes.
pub enum Reply {
    Now(Found),
    Later(BoxFuture<'static, Found>),
}

/// An answer of a registry. Conditions and ranges are judged here, by a file's digest.
#[derive(Debug, Clone)]
pub struct Found {
    pub status: StatusCode,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: FoundBody,
}

#[derive(Debug, Clone)]
pub enum FoundBody {
    /// Of a 200.
    File(ServedFile),
    Bytes(Bytes),
}

/// A file that is kept open. Its bytes must not change.
#[derive(Debug, Clone)]
pub struct ServedFile(Arc<Blob>);

impl ServedFile {
    /// `tag` is the file's entity tag: other bytes have another one.
    pub fn new(tag: &Sha256, file: File) -> io::Result<ServedFile> {
        Blob::new(tag, file).map(|blob| ServedFile(Arc::new(blob)))
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.0.size
    }
}

/// The registries of a process. They may change while it serves.
#[derive(Clone, Default)]
pub struct Registries(Arc<RwLock<Arc<Known>>>);

#[derive(Default)]
struct Known {
    served: Vec<Arc<Served>>,
    /// Names of registries that are served no more, and of which metrics may be left.
    gone: Vec<String>,
}

struct Served {
    registry: Arc<dyn Registry>,
    traffic: OnceLock<Arc<MirrorTraffic>>,
}

/// The registry that a request is for.
pub struct Wanted<'p> {
    served: Arc<Served>,
    /// Which of its paths.
    number: usize,
    path: &'p str,
}

impl fmt::Debug for Registries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = lock_read(&self.0).clone();
        f.debug_list()
            .entries(known.served.iter().map(|served| served.registry.name()))
            .finish()
    }
}

impl Registries {
    /// From now on these are served, and no others.
    pub fn replace(&self, registries: Vec<Arc<dyn Registry>>) {
        let mut known = lock_write(&self.0);
        let mut gone: Vec<String> = known
            .served
            .iter()
            .map(|served| served.registry.name().to_owned())
            .collect();
        gone.extend(known.gone.iter().cloned());
        gone.retain(|name| registries.iter().all(|registry| registry.name() != name));
        let served = registries.into_iter().map(|registry| {
            Arc::new(Served {
                registry,
                traffic: OnceLock::new(),
            })
        });
        *known = Arc::new(Known {
            served: served.collect(),
            gone,
        });
    }

    /// The one with the longest path that `path` (of a request, as it was sent) is below.
    pub(crate) fn find<'p>(&self, path: &'p str) -> Option<Wanted<'p>> {
        let known = lock_read(&self.0).clone();
        let sent = path.strip_prefix('/')?;
        let mut best: Option<(usize, Wanted<'p>)> = None;
        for served in &known.served {
            for (number, own) in served.registry.paths().iter().enumerate() {
                let rest = sent
                    .strip_prefix(own.as_str())
                    .filter(|rest| rest.is_empty() || rest.starts_with('/'));
                if let Some(path) = rest
                    && best.as_ref().is_none_or(|(length, _)| *length < own.len())
                {
                    best = Some((
                        own.len(),
                        Wanted {
                            served: served.clone(),
                            number,
                            path,
                        },
                    ));
                }
            }
        }
        best.map(|(_, wanted)| wanted)
    }

    /// Lets go of the metrics of those that are gone.
    pub(crate) fn forget(&self, metrics: &ServerMetrics) {
        let gone = lock_read(&self.0).gone.clone();
        gone.iter().for_each(|name| metrics.remove(name));
    }

    pub(crate) fn names(&self) -> Vec<String> {
        lock_read(&self.0)
            .served
            .iter()
            .map(|served| served.registry.name().to_owned())
            .collect()
    }

    /// Lines of the list of mirrors.
    pub(crate) fn lines(&self) -> Vec<MirrorLine> {
        let known = lock_read(&self.0).clone();
        let line = |served: &Arc<Served>| {
            Some(MirrorLine {
                name: served.registry.name().to_owned(),
                serving_path: served.registry.paths().first()?.clone(),
                fills_itself: true,
                snapshot: None,
                published: None,
            })
        };
        known.served.iter().filter_map(line).collect()
    }
}

impl Wanted<'_> {
    pub fn traffic(&self, metrics: &ServerMetrics) -> Arc<MirrorTraffic> {
        let traffic = self
            .served
            .traffic
            .get_or_init(|| metrics.mirror(self.served.registry.name()));
        traffic.clone()
    }

    /// Asks the registry.
    pub fn ask(
        &self,
        (method, query, headers): (&Method, Option<&str>, &HeaderMap),
        way: Way<'_>,
        body: Option<Bytes>,
        at: Instant,
    ) -> Reply {
        let paths = self.served.registry.paths();
        let said = || headers.get(http::header::HOST)?.to_str().ok();
        self.served.registry.answer(&Question {
            method,
            below: paths.get(self.number).map_or("", String::as_str),
            path: self.path,
            query,
            headers,
            host: way.authority.or_else(said),
            body,
            at,
        })
    }
}

impl Found {
    /// The answer to a request with this method and these headers.
    pub(crate) fn into_answer(self, method: &Method, asked: &HeaderMap) -> Answer {
        let mut answer = match self.body {
            FoundBody::Bytes(bytes) => Answer::of_registry(self.status, bytes),
            FoundBody::File(ServedFile(blob)) => {
                let validators = blob.by_digest();
                let decision = decide(method, asked, &validators);
                let whole = Content::File {
                    range: 0..blob.size,
                    blob,
                };
                Answer::file(
                    whole,
                    &validators,
                    || "application/octet-stream",
                    Caching::Revalidate,
                    decision,
                )
            }
        };
        let is_of_the_bytes =
            |name: &HeaderName| *name == CONTENT_TYPE || *name == CONTENT_ENCODING;
        // What stands in for the file is described by its own headers.
        let status = answer.status;
        let speaks_of_the_file = |name: &HeaderName| match status {
            StatusCode::NOT_MODIFIED => !is_of_the_bytes(name),
            StatusCode::PRECONDITION_FAILED | StatusCode::RANGE_NOT_SATISFIABLE => {
                !is_of_the_bytes(name) && *name != CACHE_CONTROL
            }
            _ => true,
        };
        for (name, value) in self
            .headers
            .into_iter()
            .filter(|(name, _)| speaks_of_the_file(name))
        {
            answer.headers.set(name, value);
        }
        answer
    }
}

#[cfg(test)]
mod tests;
