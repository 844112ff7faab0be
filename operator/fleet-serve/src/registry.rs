//! Mirrors that are no store of files: registries of packages, which know what their clients ask for and get what they lack
//! when it is asked for. What they are is behind a seam (`fleet-origin`); here is how they are found, what of their answers is
//! given again without asking them (`ready`), and how answers are sent.
//!
//! They are answered on listeners without TLS.

mod ready;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, RwLock};
use std::time::Instant;

use bytes::Bytes;
use fleet_origin::{Found, FoundBody, Growing, Question, Registry, counted};
use fleet_telemetry::{MirrorTraffic, ServerMetrics};
use fleet_types::{Sha256, lock_read, lock_write};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tokio::sync::Semaphore;

use self::ready::{Manner, Ready};
use crate::answer::{Answer, Caching, Content};
use crate::asked::Asked;
use crate::blobs::Blob;
use crate::conditional::{Validators, decide};
use crate::forwarded;
use crate::listing::MirrorLine;
use crate::lists::Lists;
use crate::transaction::asked_site;

/// How an answer comes.
pub enum Reply {
    Now(Answerable),
    Later(BoxFuture<'static, Answerable>),
}

/// An answer of a registry, ready to be sent. Conditions and ranges are judged here, by a file's tag.
#[derive(Debug, Clone)]
pub struct Answerable {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Body,
}

#[derive(Debug, Clone)]
enum Body {
    /// Of a 200.
    File(Arc<Blob>),
    /// Of a 200; what is on its way.
    Growing(Growing, Sha256),
    Bytes(Bytes),
}

/// The registries of a process. They may change while it serves.
#[derive(Clone, Default)]
pub struct Registries(Arc<RwLock<Arc<Known>>>);

#[derive(Default)]
struct Known {
    served: Vec<Arc<Served>>,
    /// Names of registries that are served no more, and of which metrics may be left.
    gone: Vec<String>,
    /// Where it stands for each whose word counts for how clients ask, if anywhere.
    lists: Option<PathBuf>,
}

struct Served {
    registry: Arc<dyn Registry>,
    ready: Ready,
    lists: Lists,
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
        *known = Arc::new(Known::of(registries, gone, known.lists.clone()));
    }

    /// From now on a file for each of them in `lists` says whose word counts for how clients ask. Blocks on the disk.
    pub(crate) fn told_in(&self, lists: Option<&Path>) {
        let mut known = lock_write(&self.0);
        let lists = lists.map(Path::to_owned);
        *known = Arc::new(Known::of(known.registries(), known.gone.clone(), lists));
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

    pub(crate) fn served(&self) -> Vec<Arc<dyn Registry>> {
        lock_read(&self.0).registries()
    }

    /// Closes what nobody asked for lately, tells registries what was given out, and looks again at what is told of them. To
    /// be called every now and then. Blocks on the disk.
    pub(crate) fn tidy(&self) {
        let known = lock_read(&self.0).clone();
        for served in &known.served {
            served.lists.look();
            let used = served.ready.tidy(Instant::now());
            if !used.is_empty() {
                served.registry.used(used);
            }
        }
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

impl Known {
    fn of(registries: Vec<Arc<dyn Registry>>, gone: Vec<String>, lists: Option<PathBuf>) -> Known {
        let served = registries.into_iter().map(|registry| {
            Arc::new(Served {
                lists: Lists::of(lists.as_deref(), registry.name()),
                registry,
                ready: Ready::default(),
                traffic: OnceLock::new(),
            })
        });
        Known {
            served: served.collect(),
            gone,
            lists,
        }
    }

    fn registries(&self) -> Vec<Arc<dyn Registry>> {
        let served = self.served.iter();
        served.map(|served| served.registry.clone()).collect()
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

    /// What is ready, or what the registry answers. `free` bounds the files that are kept open.
    pub fn ask(
        &self,
        asked: Asked<'_>,
        query: Option<&str>,
        body: Option<Bytes>,
        free: &Arc<Semaphore>,
    ) -> Reply {
        let (method, headers) = (asked.method, asked.headers);
        let paths = self.served.registry.paths();
        let below = paths.get(self.number).map_or("", String::as_str);
        let proxies = self.served.lists.proxies();
        let site = asked_site(asked.way, headers, &asked.front(&proxies));
        let manner = Manner::of(below, site.as_deref(), headers);
        let is_read = method == Method::GET || method == Method::HEAD;
        if is_read && let Some(found) = self.served.ready.get(self.path, &manner, asked.at) {
            self.served.registry.answered_again();
            return Reply::Now(found);
        }
        let coming = self.served.registry.answer(Question {
            method: method.clone(),
            below: below.to_owned(),
            path: self.path.to_owned(),
            query: query.map(str::to_owned),
            headers: counted(headers),
            site: site.clone(),
            body,
        });
        let (served, free) = (self.served.clone(), free.clone());
        let (path, manner) = (self.path.to_owned(), manner.into_owned());
        let heeds_proxies = !proxies.is_empty();
        let keep = move |found: Found| {
            let kept = match (&found.body, found.lasts) {
                (FoundBody::File(file), Some(lasts)) if is_read => Some((lasts, file.tag)),
                _ => None,
            };
            let mut answerable = Answerable::from(found);
            if heeds_proxies {
                answerable.vary_by_front();
            }
            if let Some(kept) = kept.filter(|_| answerable.status.is_success()) {
                served.ready.put((&path, manner), kept, &answerable, &free);
            }
            answerable
        };
        Reply::Later(coming.map(keep).boxed())
    }
}

impl From<Found> for Answerable {
    fn from(found: Found) -> Answerable {
        let body = match found.body {
            FoundBody::Bytes(bytes) => Body::Bytes(bytes),
            FoundBody::Growing(growing, tag) => Body::Growing(growing, tag),
            FoundBody::File(served) => {
                let file = Arc::try_unwrap(served.file).or_else(|shared| shared.try_clone());
                match file.and_then(|file| Blob::new(&served.tag, file)) {
                    Ok(blob) => Body::File(Arc::new(blob)),
                    Err(error) => return Answerable::unreadable(&error),
                }
            }
        };
        Answerable {
            status: found.status,
            headers: found.headers,
            body,
        }
    }
}

impl Answerable {
    fn unreadable(error: &std::io::Error) -> Answerable {
        tracing::error!(%error, "a registry's file cannot be read");
        Answerable {
            status: StatusCode::SERVICE_UNAVAILABLE,
            headers: Vec::new(),
            body: Body::Bytes(Bytes::from_static(
                br#"{"error":"this file cannot be read from the registry's disk"}"#,
            )),
        }
    }

    /// What depends on how it was asked depends on what proxies say of that.
    fn vary_by_front(&mut self) {
        for (_, value) in self.headers.iter_mut().filter(|(name, _)| *name == VARY) {
            let said = value.to_str().unwrap_or_default();
            if let Ok(longer) = HeaderValue::try_from(format!("{said}, {}", forwarded::VARY)) {
                *value = longer;
            }
        }
    }

    /// The answer to a request with this method and these headers.
    pub(crate) fn into_answer(self, method: &Method, asked: &HeaderMap) -> Answer {
        let of_file = |whole: Content, validators: &Validators| {
            let decision = decide(method, asked, validators);
            Answer::file(
                whole,
                validators,
                || "application/octet-stream",
                Caching::Revalidate,
                decision,
            )
        };
        let mut answer = match self.body {
            Body::Bytes(bytes) => Answer::of_registry(self.status, bytes),
            Body::File(blob) => {
                let validators = blob.by_digest();
                let range = 0..blob.size;
                of_file(Content::File { blob, range }, &validators)
            }
            Body::Growing(growing, tag) => {
                let size = growing.size();
                let validators = Validators {
                    modified: i64::MIN,
                    last_modified: None,
                    ..Validators::of_content(&tag, size, 0)
                };
                let range = 0..size;
                of_file(Content::Growing { growing, range }, &validators)
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
