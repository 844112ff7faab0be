//! Requests to a registry over the socket, both sides.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use fleet_types::documents::{NotKept, RegistryState};
use fleet_types::{Sha256, lock_read, lock_write};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::client::{self, LOOK, PATIENCE, tell};
use super::frames::Frames;
use super::server;
use crate::{Found, FoundBody, Lasts, Question, Registry, ServedFile};

/// No question has a longer body: a client's own is bounded by who serves.
const LONGEST_BODY: u64 = 16 << 20;

/// [`Question`] as a line; its body follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Asked {
    method: String,
    below: String,
    path: String,
    query: Option<String>,
    headers: Vec<(String, String)>,
    site: Option<String>,
    /// Bytes.
    body: Option<u64>,
}

/// [`Found`] as a line. Bytes follow it, a file comes with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    status: u16,
    headers: Vec<(String, String)>,
    body: Body,
    lasts: Option<Lasts>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Body {
    /// By its tag.
    File(Sha256),
    /// By its tag, of so many bytes; [`Growth`](super::Growth) follows.
    Growing(Sha256, u64),
    Bytes(u64),
}

/// Which registry is behind a socket, and how it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Introduction {
    /// The Mirror's name.
    pub name: String,
    /// As of [`Registry::paths`].
    pub paths: Vec<String>,
    pub state: RegistryState,
    /// As of [`Registry::not_kept`].
    pub not_kept: Option<NotKept>,
}

/// Asks which registry is behind a socket.
pub async fn introduction(socket: &std::path::Path) -> io::Result<Introduction> {
    let mut frames = Frames::new(UnixStream::connect(socket).await?);
    frames.send(&super::Question::Registry).await?;
    frames.receive().await
}

/// A registry in another process.
pub struct RemoteRegistry {
    socket: PathBuf,
    runtime: Handle,
    name: String,
    paths: Vec<String>,
    /// How it was when it was last heard of.
    heard: RwLock<(RegistryState, Option<NotKept>)>,
    /// Called for each answer that was given without a question.
    counts: Arc<dyn Fn() + Send + Sync>,
}

impl RemoteRegistry {
    /// The one that has introduced itself so. `runtime` is where it is told what was given out.
    pub fn new(
        socket: PathBuf,
        runtime: Handle,
        introduction: Introduction,
        counts: Arc<dyn Fn() + Send + Sync>,
    ) -> RemoteRegistry {
        RemoteRegistry {
            socket,
            runtime,
            name: introduction.name,
            paths: introduction.paths,
            heard: RwLock::new((introduction.state, introduction.not_kept)),
            counts,
        }
    }

    /// Takes over how it is, if it still is the same; else false.
    pub fn heard(&self, introduction: &Introduction) -> bool {
        let is_same = self.name == introduction.name && self.paths == introduction.paths;
        if is_same {
            let told = (introduction.state.clone(), introduction.not_kept.clone());
            *lock_write(&self.heard) = told;
        }
        is_same
    }
}

impl Registry for RemoteRegistry {
    fn name(&self) -> &str {
        &self.name
    }

    fn paths(&self) -> &[String] {
        &self.paths
    }

    fn answer(&self, question: Question) -> BoxFuture<'static, Found> {
        patiently(self.socket.clone(), question).boxed()
    }

    fn answered_again(&self) {
        (self.counts)();
    }

    fn used(&self, tags: Vec<Sha256>) {
        let socket = self.socket.clone();
        self.runtime.spawn(async move {
            // What is not told is given up a little earlier.
            if let Err(error) = tell(&socket, &super::Question::Given(tags)).await {
                tracing::debug!(%error, "what was given out could not be told");
            }
        });
    }

    fn state(&self) -> RegistryState {
        lock_read(&self.heard).0.clone()
    }

    fn not_kept(&self) -> Option<NotKept> {
        lock_read(&self.heard).1.clone()
    }
}

/// Asks again where the other process ends before it has answered: no question changes anything there.
async fn patiently(socket: PathBuf, question: Question) -> Found {
    let until = Instant::now() + PATIENCE;
    loop {
        let error = match ask(&socket, &question).await {
            Ok(found) => return found,
            Err(error) => error,
        };
        if Instant::now() >= until {
            tracing::error!(%error, "the process that fetches does not answer");
            return silent(&error);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// As registries tell people.
fn silent(error: &io::Error) -> Found {
    let text = format!("the process that fetches on demand does not answer: {error}");
    Found {
        status: StatusCode::SERVICE_UNAVAILABLE,
        headers: vec![
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (RETRY_AFTER, HeaderValue::from_static("30")),
        ],
        body: FoundBody::Bytes(serde_json::json!({"error": text}).to_string().into()),
        lasts: None,
    }
}

async fn ask(socket: &std::path::Path, question: &Question) -> io::Result<Found> {
    let mut frames = Frames::new(UnixStream::connect(socket).await?);
    let asked = Asked::of(question);
    frames.send(&super::Question::Ask(asked)).await?;
    if let Some(body) = &question.body {
        frames.send_bytes(body).await?;
    }
    let head: Head = frames.receive().await?;
    let body = match head.body {
        Body::File(tag) => {
            let file = frames.take_file().ok_or(io::ErrorKind::InvalidData)?;
            FoundBody::File(ServedFile::new(&tag, file)?)
        }
        Body::Growing(tag, size) => FoundBody::Growing(client::grow(frames, size)?, tag),
        Body::Bytes(count) => {
            let count = usize::try_from(count).map_err(io::Error::other)?;
            FoundBody::Bytes(frames.receive_bytes(count).await?.into())
        }
    };
    Ok(Found {
        status: StatusCode::from_u16(head.status).map_err(io::Error::other)?,
        headers: headers_of(&head.headers).collect(),
        body,
        lasts: head.lasts,
    })
}

/// Answers what a connection asks of a registry.
pub(super) async fn answer(mut frames: Frames, registry: Arc<dyn Registry>) -> io::Result<()> {
    let asked = match frames.receive().await? {
        super::Question::Registry => {
            let told = tokio::task::spawn_blocking(move || Introduction {
                name: registry.name().to_owned(),
                paths: registry.paths().to_vec(),
                state: registry.state(),
                not_kept: registry.not_kept(),
            });
            return frames.send(&told.await.map_err(io::Error::other)?).await;
        }
        super::Question::Given(tags) => {
            registry.used(tags);
            return Ok(());
        }
        super::Question::Ask(asked) => asked,
        super::Question::Obtain { .. }
        | super::Question::Used { .. }
        | super::Question::NotKept => {
            return Err(io::Error::other(
                "this is asked of a store, and here is a registry",
            ));
        }
    };
    let body = match asked.body {
        Some(bytes) if bytes > LONGEST_BODY => return Err(io::ErrorKind::InvalidData.into()),
        Some(bytes) => {
            let count = usize::try_from(bytes).map_err(io::Error::other)?;
            Some(frames.receive_bytes(count).await?.into())
        }
        None => None,
    };
    let found = registry.answer(asked.into_question(body)?).await;
    let head = |body| Head {
        status: found.status.as_u16(),
        headers: texts(found.headers.iter().map(|(name, value)| (name, value))),
        body,
        lasts: found.lasts,
    };
    match &found.body {
        FoundBody::File(served) => {
            let head = head(Body::File(served.tag));
            frames.send_file(&head, &served.file).await
        }
        FoundBody::Growing(growing, tag) => {
            let head = head(Body::Growing(*tag, growing.size()));
            server::grow(&mut frames, &head, growing.clone()).await
        }
        FoundBody::Bytes(bytes) => {
            frames.send(&head(Body::Bytes(bytes.len() as u64))).await?;
            frames.send_bytes(bytes).await
        }
    }
}

impl Asked {
    fn of(question: &Question) -> Asked {
        Asked {
            method: question.method.to_string(),
            below: question.below.clone(),
            path: question.path.clone(),
            query: question.query.clone(),
            headers: texts(question.headers.iter()),
            site: question.site.clone(),
            body: question.body.as_ref().map(|body| body.len() as u64),
        }
    }

    fn into_question(self, body: Option<Bytes>) -> io::Result<Question> {
        Ok(Question {
            method: Method::from_bytes(self.method.as_bytes()).map_err(io::Error::other)?,
            below: self.below,
            path: self.path,
            query: self.query,
            headers: headers_of(&self.headers).collect::<HeaderMap>(),
            site: self.site,
            body,
        })
    }
}

/// A value that is no text is none that a registry reads.
fn texts<'a>(
    headers: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)>,
) -> Vec<(String, String)> {
    headers
        .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
        .collect()
}

fn headers_of(texts: &[(String, String)]) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    texts.iter().filter_map(|(name, value)| {
        Some((
            HeaderName::try_from(name.as_str()).ok()?,
            HeaderValue::try_from(value.as_str()).ok()?,
        ))
    })
}

#[cfg(test)]
mod tests;
