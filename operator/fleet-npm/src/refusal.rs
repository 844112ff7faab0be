//! Why something is not given out, and how clients are told: npm and its relatives print the `error` of the body.

use std::time::Duration;

use bytes::Bytes;
use fleet_fetch::{FailureKind, FetchError};
use fleet_formats::npm::Held;
use fleet_origin::{BRIEFLY, Found, FoundBody};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};

/// An answer without what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    pub text: String,
    /// Seconds after which it is worth asking again.
    pub retry_after: Option<u64>,
}

impl Refusal {
    pub fn new(status: StatusCode, text: impl Into<String>) -> Refusal {
        Refusal {
            status,
            text: text.into(),
            retry_after: None,
        }
    }

    pub fn not_found(text: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, text)
    }

    /// Something on this side failed.
    pub fn own(what: &str, error: &dyn std::fmt::Display) -> Refusal {
        tracing::error!(%error, "{what}");
        Refusal {
            retry_after: Some(30),
            ..Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("{what}; the registry's log says why"),
            )
        }
    }

    /// What a failed question to the upstream is told as.
    pub fn of_upstream(error: &FetchError) -> Refusal {
        let status = match error.kind {
            FailureKind::NotFound => StatusCode::NOT_FOUND,
            FailureKind::Forbidden => StatusCode::FORBIDDEN,
            FailureKind::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
            FailureKind::Stalled | FailureKind::Unreachable => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        };
        let retry_after = match error.kind {
            FailureKind::Busy { retry_after } => retry_after,
            _ => None,
        };
        Refusal {
            retry_after,
            ..Refusal::new(status, error.message.clone())
        }
    }
}

impl Refusal {
    /// For how long others who ask for the same are told this without another question. `age` is that of what there is not,
    /// or is forbidden.
    pub fn told_again_for(&self, age: Duration) -> Duration {
        match self.is_definite() {
            true => age,
            false => age.min(BRIEFLY),
        }
    }

    /// Whether there is no such thing, or it is forbidden; else it only could not be had just now.
    pub fn is_definite(&self) -> bool {
        matches!(self.status, StatusCode::NOT_FOUND | StatusCode::FORBIDDEN)
    }
}

impl From<&Held> for Refusal {
    fn from(held: &Held) -> Refusal {
        Refusal::new(StatusCode::FORBIDDEN, held.reason.clone())
    }
}

impl From<Refusal> for Found {
    fn from(refusal: Refusal) -> Found {
        let body = serde_json::json!({"error": refusal.text}).to_string();
        let mut found = json(refusal.status, body);
        if let Some(seconds) = refusal.retry_after {
            found
                .headers
                .push((RETRY_AFTER, HeaderValue::from(seconds)));
        }
        found
    }
}

/// A document of our own, that nobody may keep.
pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Found {
    Found {
        status,
        headers: vec![
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ],
        body: FoundBody::Bytes(body.into()),
        lasts: None,
    }
}
