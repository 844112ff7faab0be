//! What is passed on: small documents that are kept for a while, and questions that are not kept at all. Names that are reserved
//! do not leave with them.

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use fleet_formats::npm::PackageName;
use fleet_origin::Found;
use fleet_telemetry::{AnswerSource, QuestionResult};
use fleet_types::Sha256;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Map, Value};

use crate::disk::{Shelf, key};
use crate::document::FRESH;
use crate::inner::Inner;
use crate::refusal::{Refusal, json};

/// Of a question, unpacked, and of an answer.
const LONGEST: u64 = 8 << 20;

impl Inner {
    /// A document of the registry itself, such as its keys: kept as long as packuments are, and longer while the upstream does
    /// not answer.
    pub async fn passed(self: &Arc<Self>, path: &str) -> Result<(Found, AnswerSource), Refusal> {
        let key = key(&[path.as_bytes()]);
        let (this, path) = (self.clone(), path.to_owned());
        let (_, coming) = self.passed.join(key, move |landing| async move {
            landing.tell(this.kept_or_passed(key, &path).await);
        });
        let ended = || {
            Err(Refusal::own(
                "this was not passed on",
                &"it has ended early",
            ))
        };
        coming.await.unwrap_or_else(ended)
    }

    async fn kept_or_passed(
        self: &Arc<Self>,
        key: Sha256,
        path: &str,
    ) -> Result<(Found, AnswerSource), Refusal> {
        let this = self.clone();
        let kept = self
            .blocking(move || {
                let path = this.disk.path(Shelf::Passed, &key);
                let age = std::fs::metadata(path)
                    .and_then(|about| about.modified())
                    .ok();
                let age = age.and_then(|modified| SystemTime::now().duration_since(modified).ok());
                let bytes = this.disk.read(Shelf::Passed, &key);
                let bytes =
                    bytes.map_err(|error| Refusal::own("what is kept cannot be read", &error))?;
                this.disk.use_now(Shelf::Passed, &key);
                // A document that was cut off by a power failure is none.
                let whole = bytes
                    .filter(|bytes| serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok());
                Ok(whole.map(|bytes| (Bytes::from(bytes), age)))
            })
            .await?;
        let fresh = Duration::from_secs(FRESH.unsigned_abs());
        let (kept, is_fresh) = match kept {
            Some((bytes, age)) => (Some(bytes), age.is_some_and(|age| age < fresh)),
            None => (None, false),
        };
        if let Some(bytes) = kept.clone().filter(|_| is_fresh) {
            return Ok((json(StatusCode::OK, bytes), AnswerSource::Kept));
        }
        match self.ask_for_json(path, &[], None).await {
            Ok(bytes) => {
                self.make_room(bytes.len() as u64).await;
                let (this, body) = (self.clone(), bytes.clone());
                let put = self
                    .blocking(move || Ok(this.disk.put_bytes(Shelf::Passed, &key, &body)))
                    .await?;
                if let Err(error) = put {
                    tracing::warn!(%error, "a document is passed on and cannot be kept");
                }
                Ok((json(StatusCode::OK, bytes), AnswerSource::Fetched))
            }
            Err(refusal) if refusal.status == StatusCode::NOT_FOUND => Err(refusal),
            Err(refusal) => match kept {
                Some(bytes) => Ok((json(StatusCode::OK, bytes), AnswerSource::Stale)),
                None => Err(refusal),
            },
        }
    }

    /// Asks the upstream's search. One for a reserved name finds nothing, and is not asked.
    pub async fn search(self: &Arc<Self>, query: Option<&str>) -> Result<Found, Refusal> {
        let query = query.unwrap_or_default();
        let texts =
            url::form_urlencoded::parse(query.as_bytes()).filter(|(field, _)| field == "text");
        let is_reserved = texts.map(|(_, text)| text.into_owned()).any(|text| {
            let mut words = text.split_ascii_whitespace();
            words.any(|word| self.asks_for_reserved(word))
        });
        if is_reserved {
            return Ok(json(
                StatusCode::OK,
                r#"{"objects":[],"total":0,"time":""}"#,
            ));
        }
        let found = self
            .ask_for_json(&format!("/-/v1/search?{query}"), &[], None)
            .await?;
        Ok(json(StatusCode::OK, found))
    }

    /// Whether a word of a search is a reserved name, or asks for what is in a scope of such: `@corp`, `@corp/`, `scope:corp`.
    fn asks_for_reserved(&self, word: &str) -> bool {
        let scope = match word.strip_prefix("scope:") {
            Some(scope) => format!("@{}", scope.trim_start_matches('@')),
            None => word.trim_end_matches('/').to_owned(),
        };
        let names = [
            PackageName::new(word),
            PackageName::new(&format!("{scope}/any")),
        ];
        let mut names = names.into_iter().flatten();
        names.any(|name| self.guard.is_reserved(&name))
    }

    /// Asks for what is known to be wrong with a list of versions. Reserved names are taken out of the list.
    pub async fn advisories(
        self: &Arc<Self>,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Found, Refusal> {
        let is_gzip = headers
            .get(http::header::CONTENT_ENCODING)
            .is_some_and(|encoding| encoding == "gzip");
        let unpacked = match is_gzip {
            true => unpack(&body)?,
            false => body.to_vec(),
        };
        let asked: Map<String, Value> = serde_json::from_slice(&unpacked).map_err(|error| {
            Refusal::new(
                StatusCode::BAD_REQUEST,
                format!("the body is no object of names and versions: {error}"),
            )
        })?;
        let public: Map<String, Value> = asked
            .into_iter()
            .filter(|(name, _)| {
                PackageName::new(name).is_ok_and(|name| !self.guard.is_reserved(&name))
            })
            .collect();
        if public.is_empty() {
            return Ok(json(StatusCode::OK, "{}"));
        }
        let body = serde_json::to_vec(&public)
            .map_err(|error| Refusal::own("a question cannot be written", &error))?;
        let kind = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        let found = self
            .ask_for_json(
                "/-/npm/v1/security/advisories/bulk",
                &kind,
                Some(&body.into()),
            )
            .await?;
        Ok(json(StatusCode::OK, found))
    }

    /// The whole body of a good answer, which must be JSON.
    async fn ask_for_json(
        &self,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Option<&Bytes>,
    ) -> Result<Bytes, Refusal> {
        let mut all = vec![(ACCEPT, HeaderValue::from_static("application/json"))];
        all.extend_from_slice(headers);
        let mut told = self.upstream.ask(path, &all, body).await?;
        if told.status() != StatusCode::OK {
            self.traffic.asked(QuestionResult::Absent);
            return Err(Refusal::of_upstream(&told.refusal()));
        }
        let bytes = told
            .body(LONGEST)
            .await
            .map_err(|error| self.upstream.failed(&error))?;
        self.upstream.answered();
        serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).map_err(|error| {
            Refusal::new(
                StatusCode::BAD_GATEWAY,
                format!("the upstream's answer is not JSON: {error}"),
            )
        })?;
        self.traffic.asked(QuestionResult::Changed);
        Ok(bytes.into())
    }
}

fn unpack(body: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut unpacked = Vec::new();
    let mut reader = flate2::read::MultiGzDecoder::new(body).take(LONGEST + 1);
    reader.read_to_end(&mut unpacked).map_err(|error| {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            format!("the body cannot be unpacked: {error}"),
        )
    })?;
    match unpacked.len() as u64 > LONGEST {
        true => Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body has more than 8 MiB when it is unpacked",
        )),
        false => Ok(unpacked),
    }
}
