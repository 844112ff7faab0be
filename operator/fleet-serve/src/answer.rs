//! What a request is answered with, as a plain value: a head, and either bytes or a range of a file. How the bytes
//! reach the client is the connection's business.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleet_origin::Growing;
use fleet_telemetry::MirrorTraffic;
use fleet_types::{Outcome, Reason, counted};
use http::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, LAST_MODIFIED, LOCATION, RETRY_AFTER, SERVER, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::blobs::Blob;
use crate::conditional::{Decision, Validators};
use crate::headers::Headers;

/// As many as an answer with a file has, at most.
const FILE_HEADERS: usize = 12;
const TEXT: &str = "text/plain; charset=utf-8";

/// May be kept, and must be asked about before every use.
const REVALIDATE: &str = "no-cache";
/// Names that never get other content.
const FOREVER: &str = "public, max-age=31536000, immutable";
const NEVER: &str = "no-store";
/// For whoever asked, and for nobody else at any time.
pub const THIS_CLIENT: &str = "private, no-store";

/// One answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: Headers,
    pub content: Content,
}

/// The body of an answer to GET. For HEAD the connection sends the head alone.
#[derive(Debug)]
pub enum Content {
    Bytes(Bytes),
    /// These bytes of a file that is known to be long enough.
    File {
        blob: Arc<Blob>,
        range: Range<u64>,
    },
    /// These bytes of something that is on its way.
    Growing {
        growing: Growing,
        range: Range<u64>,
    },
}

impl Content {
    /// Bytes.
    pub fn len(&self) -> u64 {
        match self {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::File { range, .. } | Content::Growing { range, .. } => {
                range.end.saturating_sub(range.start)
            }
        }
    }

    /// These bytes of the whole.
    fn part(self, part: Range<u64>) -> Content {
        match self {
            Content::Bytes(bytes) => {
                let at = |position: u64| {
                    usize::try_from(position).map_or(bytes.len(), |at| at.min(bytes.len()))
                };
                Content::Bytes(bytes.slice(at(part.start)..at(part.end)))
            }
            Content::File { blob, .. } => Content::File { blob, range: part },
            Content::Growing { growing, .. } => Content::Growing {
                growing,
                range: part,
            },
        }
    }
}

/// How long an answer may be kept by others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caching {
    Revalidate,
    Forever,
}

/// An answer and the mirror that it counts for.
pub struct Counted {
    pub answer: Answer,
    pub traffic: Arc<MirrorTraffic>,
}

impl Answer {
    fn new(
        status: StatusCode,
        content_type: &'static str,
        body: impl Into<Bytes>,
        caching: &'static str,
    ) -> Answer {
        let mut answer = Answer {
            status,
            headers: Headers::default(),
            content: Content::Bytes(body.into()),
        };
        answer.push(CONTENT_TYPE, content_type);
        answer.push(CACHE_CONTROL, caching);
        answer.common()
    }

    /// A sentence for people.
    pub fn text(status: StatusCode, text: impl Into<String>) -> Answer {
        Answer::new(status, TEXT, text.into() + "\n", NEVER)
    }

    /// What a registry says; its own headers come behind.
    pub fn of_registry(status: StatusCode, body: Bytes) -> Answer {
        Answer::new(status, "application/json", body, NEVER)
    }

    /// Lines that are written for one client.
    pub fn of_this_client(lines: String) -> Answer {
        Answer::new(StatusCode::OK, TEXT, lines, THIS_CLIENT)
    }

    pub fn json(body: Vec<u8>) -> Answer {
        Answer::new(StatusCode::OK, "application/json", body, NEVER)
    }

    pub fn page(html: String) -> Answer {
        let mut answer = Answer::new(StatusCode::OK, "text/html; charset=utf-8", html, REVALIDATE);
        answer.set(
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'",
        );
        answer
    }

    /// As a page answers HEAD: nobody knows its length without writing it.
    pub fn page_head() -> Answer {
        let mut answer = Answer::page(String::new());
        answer.headers.remove(&CONTENT_LENGTH);
        answer
    }

    /// Not now; the client should come back.
    pub fn unavailable(text: impl Into<String>) -> Answer {
        let mut answer = Answer::text(StatusCode::SERVICE_UNAVAILABLE, text);
        answer.set(RETRY_AFTER, "30");
        answer
    }

    /// What would have to be fetched cannot be had, for this reason.
    pub fn not_to_be_had(reason: Reason, text: &str) -> Answer {
        let status = match reason.outcome() {
            Outcome::Good | Outcome::Upstream | Outcome::Cluster => StatusCode::GATEWAY_TIMEOUT,
            Outcome::Refused => StatusCode::BAD_GATEWAY,
            Outcome::Storage => return Answer::unavailable(format!("{reason}: {text}")),
            Outcome::Manifest => StatusCode::FORBIDDEN,
        };
        Answer::text(status, format!("{reason}: {text}"))
    }

    /// So much is being fetched that the client is to come back after this time.
    pub fn busy(wait: Duration) -> Answer {
        let mut answer = Answer::unavailable("too much is being fetched at once");
        answer.set_text(RETRY_AFTER, wait.as_secs().max(1).to_string());
        answer
    }

    /// In place of a file whose bytes could not be read.
    pub fn unreadable(error: &io::Error) -> Answer {
        tracing::error!(%error, "a blob could not be read");
        Answer::unavailable("this file cannot be read from the mirror's disk")
    }

    pub fn method_not_allowed() -> Answer {
        let mut answer = Answer::text(
            StatusCode::METHOD_NOT_ALLOWED,
            "a mirror answers GET and HEAD only",
        );
        answer.set(ALLOW, "GET, HEAD");
        answer
    }

    /// To the same place with a slash at its end; `location` is a path only, so it holds behind any proxy.
    pub fn moved(location: &str) -> Answer {
        let mut answer = Answer::text(
            StatusCode::MOVED_PERMANENTLY,
            "a directory's name ends in a slash",
        );
        answer.set_text(LOCATION, location.to_owned());
        answer.set(CACHE_CONTROL, REVALIDATE);
        answer
    }

    /// To the same file in another place; for this client and this moment only.
    pub fn elsewhere(location: String) -> Answer {
        let mut answer = Answer::text(StatusCode::FOUND, "this file is in another place");
        answer.set_text(LOCATION, location);
        answer
    }

    /// An answer to HEAD whose body nobody made: it says how long that would be, where it would be a file.
    pub fn with_length(mut self, bytes: u64) -> Answer {
        if self.status == StatusCode::OK {
            self.headers.set(CONTENT_LENGTH, HeaderValue::from(bytes));
        }
        self
    }

    /// Says that clients with another value of this header may get another answer.
    pub fn varying(mut self, header: HeaderName) -> Answer {
        self.headers.set(VARY, HeaderValue::from(header));
        self
    }

    /// A file, given as a whole, as `decision` says.
    pub fn file(
        whole: Content,
        validators: &Validators,
        content_type: impl FnOnce() -> &'static str,
        caching: Caching,
        decision: Decision,
    ) -> Answer {
        let size = validators.size;
        let mut content_range = None;
        let (status, content) = match decision {
            Decision::Whole => (StatusCode::OK, whole),
            Decision::Part(range) => {
                let value = format!(
                    "bytes {}-{}/{size}",
                    range.start,
                    range.end.saturating_sub(1)
                );
                content_range = Some(value);
                (StatusCode::PARTIAL_CONTENT, whole.part(range))
            }
            Decision::NotModified => (StatusCode::NOT_MODIFIED, Content::Bytes(Bytes::new())),
            Decision::PreconditionFailed => {
                return Answer::text(
                    StatusCode::PRECONDITION_FAILED,
                    "this file is not the one that the request names",
                );
            }
            Decision::Unsatisfiable => return Answer::unsatisfiable(size),
        };
        let mut answer = Answer {
            status,
            headers: Headers::with_capacity(FILE_HEADERS),
            content,
        };
        answer.headers.push(ETAG, validators.etag.clone());
        answer.push(
            CACHE_CONTROL,
            match caching {
                Caching::Revalidate => REVALIDATE,
                Caching::Forever => FOREVER,
            },
        );
        if let Some(date) = validators.last_modified.clone() {
            answer.headers.push(LAST_MODIFIED, date);
        }
        if status != StatusCode::NOT_MODIFIED {
            answer.push(CONTENT_TYPE, content_type());
            answer.push(ACCEPT_RANGES, "bytes");
        }
        if let Some(value) = content_range {
            answer.set_text(CONTENT_RANGE, value);
        }
        answer.common()
    }

    /// What is in memory of the content.
    pub fn bytes(&self) -> Bytes {
        match &self.content {
            Content::Bytes(bytes) => bytes.clone(),
            Content::File { .. } | Content::Growing { .. } => Bytes::new(),
        }
    }

    fn unsatisfiable(size: u64) -> Answer {
        let mut answer = Answer::text(
            StatusCode::RANGE_NOT_SATISFIABLE,
            format!("the file has {}", counted(size, "byte")),
        );
        answer.set_text(CONTENT_RANGE, format!("bytes */{size}"));
        answer
    }

    fn common(mut self) -> Answer {
        self.push(SERVER, "mirrorfleet");
        self.push(X_CONTENT_TYPE_OPTIONS, "nosniff");
        if self.status != StatusCode::NOT_MODIFIED {
            self.headers
                .push(CONTENT_LENGTH, HeaderValue::from(self.content.len()));
        }
        self
    }

    fn push(&mut self, name: HeaderName, value: &'static str) {
        self.headers.push(name, HeaderValue::from_static(value));
    }

    fn set(&mut self, name: HeaderName, value: &'static str) {
        self.headers.set(name, HeaderValue::from_static(value));
    }

    /// Every value is ours or was encoded by us; one that could not be a header value is left out.
    fn set_text(&mut self, name: HeaderName, value: String) {
        if let Ok(value) = HeaderValue::try_from(value) {
            self.headers.set(name, value);
        }
    }
}
