//! Which bytes answer which question.

use std::sync::Arc;

use fleet_formats::npm::{Address, Form, PackageName, Verdict};
use fleet_origin::{Found, FoundBody, Lasts};
use fleet_telemetry::AnswerSource;
use fleet_types::documents::UnixSeconds;
use http::header::{AGE, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::{HeaderName, HeaderValue, Method, StatusCode};

use crate::document::{Current, FRESH};
use crate::inner::Inner;
use crate::refusal::{Refusal, json};
use crate::registry::Asked;
use crate::shown::{Made, Part};

/// When a kept document was last confirmed, where the upstream could not be asked.
const STALE: HeaderName = HeaderName::from_static("mirrorfleet-stale-since");

impl Inner {
    /// The answer to a question, or why there is none.
    pub async fn found(self: &Arc<Self>, asked: &Asked) -> Result<Found, Refusal> {
        let address =
            Address::read(&asked.path).map_err(|error| Refusal::not_found(error.to_string()))?;
        if let (&Method::POST, Address::Advisories) = (&asked.method, &address) {
            let found = self
                .advisories(&asked.headers, asked.body.clone().unwrap_or_default())
                .await?;
            self.traffic.answered(AnswerSource::Fetched);
            return Ok(found);
        }
        if asked.method != Method::GET && asked.method != Method::HEAD {
            return Ok(read_only(&address));
        }
        let (found, source) = match address {
            Address::Top => (self.top(asked)?, AnswerSource::Kept),
            Address::Ping => (json(StatusCode::OK, "{}"), AnswerSource::Kept),
            Address::WhoAmI => {
                return Err(Refusal::new(
                    StatusCode::UNAUTHORIZED,
                    "nobody logs in here: this registry is read without an account",
                ));
            }
            Address::Advisories | Address::Unsupported => return Ok(unsupported()),
            Address::Keys => self.passed("/-/npm/v1/keys").await?,
            Address::Search => (
                self.search(asked.query.as_deref()).await?,
                AnswerSource::Fetched,
            ),
            Address::Attestations(name, version) => {
                self.package_may_be_asked(&name).await?;
                self.passed(&format!(
                    "/-/npm/v1/attestations/{}@{version}",
                    name.escaped()
                ))
                .await?
            }
            Address::Packument(name) => self.packument(asked, name).await?,
            Address::Version(name, version) => {
                self.part(asked, name, Part::Version(version)).await?
            }
            Address::Tags(name) => self.part(asked, name, Part::Tags).await?,
            Address::Tarball(name, file) => self.tarball_answer(name, &file).await?,
        };
        self.traffic.answered(source);
        Ok(found)
    }

    /// Reserved names and packages that are not carried are refused before anything is asked.
    async fn package_may_be_asked(self: &Arc<Self>, name: &PackageName) -> Result<(), Refusal> {
        let verdict = self.guard.package(name);
        let refusal = verdict.held().map(Refusal::from);
        if verdict != Verdict::Open {
            let (this, name) = (self.clone(), name.clone());
            self.blocking(move || {
                this.trail.tell(&name, None, &verdict, &this.traffic);
                Ok(())
            })
            .await?;
        }
        refusal.map_or(Ok(()), Err)
    }

    async fn packument(
        self: &Arc<Self>,
        asked: &Asked,
        name: PackageName,
    ) -> Result<(Found, AnswerSource), Refusal> {
        self.package_may_be_asked(&name).await?;
        let here = self.address(asked.here())?;
        let package = self.package(name);
        let mut state = package.state.lock().await;
        let (made, current) = self
            .show(
                &package,
                &mut state,
                asked.form,
                &here,
                Part::Whole(asked.encoding),
            )
            .await?;
        drop(state);
        let Made::Whole(body, until) = made else {
            return Err(Refusal::own(
                "a document was not written",
                &"it was made in parts",
            ));
        };
        let mut headers = vec![
            (
                CONTENT_TYPE,
                HeaderValue::from_static(current.form.content_type()),
            ),
            (VARY, HeaderValue::from_static("accept, accept-encoding")),
        ];
        headers.extend(
            asked
                .encoding
                .token()
                .map(|token| (CONTENT_ENCODING, HeaderValue::from_static(token))),
        );
        let mut found = Found {
            status: StatusCode::OK,
            headers,
            body,
            lasts: None,
        };
        match current.is_stale {
            true => found.headers.extend(stale(&current)),
            false => {
                let lasts = Lasts {
                    until: Some(fresh_until(&current, until)),
                    varies: true,
                };
                found.lasts = lasts_of_file(&found.body, lasts);
            }
        }
        Ok((found, source(&current)))
    }

    async fn part(
        self: &Arc<Self>,
        asked: &Asked,
        name: PackageName,
        part: Part,
    ) -> Result<(Found, AnswerSource), Refusal> {
        self.package_may_be_asked(&name).await?;
        let here = self.address(asked.here())?;
        let package = self.package(name);
        let mut state = package.state.lock().await;
        let (made, current) = self
            .show(&package, &mut state, Form::Full, &here, part)
            .await?;
        drop(state);
        let Made::Bytes(bytes) = made else {
            return Err(Refusal::own(
                "a part of a document was not written",
                &"it was made as a whole",
            ));
        };
        let mut found = json(StatusCode::OK, bytes);
        if current.is_stale {
            found.headers.extend(stale(&current));
        }
        Ok((found, source(&current)))
    }

    async fn tarball_answer(
        self: &Arc<Self>,
        name: PackageName,
        file: &str,
    ) -> Result<(Found, AnswerSource), Refusal> {
        self.package_may_be_asked(&name).await?;
        let package = self.package(name);
        let tarball = self.tarball(&package, file).await?;
        let found = Found {
            status: StatusCode::OK,
            headers: vec![
                (
                    CONTENT_TYPE,
                    HeaderValue::from_static("application/octet-stream"),
                ),
                (
                    CACHE_CONTROL,
                    HeaderValue::from_static("public, max-age=31536000, immutable"),
                ),
            ],
            lasts: lasts_of_file(
                &tarball.body,
                Lasts {
                    until: tarball.until,
                    ..Lasts::always()
                },
            ),
            body: tarball.body,
        };
        let source = match tarball.was_fetched {
            true => AnswerSource::Fetched,
            false => AnswerSource::Kept,
        };
        Ok((found, source))
    }

    fn top(&self, asked: &Asked) -> Result<Found, Refusal> {
        let body = serde_json::json!({
            "registry": format!("{}/", self.address(asked.here())?),
            "software": concat!("mirrorfleet/", env!("CARGO_PKG_VERSION")),
        });
        Ok(json(StatusCode::OK, body.to_string()))
    }
}

/// What is on its way, or in memory for want of room, is asked for again.
fn lasts_of_file(body: &FoundBody, lasts: Lasts) -> Option<Lasts> {
    matches!(body, FoundBody::File(_)).then_some(lasts)
}

fn source(current: &Current) -> AnswerSource {
    match (current.is_stale, current.was_asked) {
        (true, _) => AnswerSource::Stale,
        (false, true) => AnswerSource::Fetched,
        (false, false) => AnswerSource::Kept,
    }
}

fn stale(current: &Current) -> Vec<(HeaderName, HeaderValue)> {
    let age = crate::now().saturating_sub(current.kept.checked).max(0);
    let since = UnixSeconds(current.kept.checked).to_string();
    let since = HeaderValue::try_from(since)
        .ok()
        .map(|since| (STALE, since));
    since
        .into_iter()
        .chain([(AGE, HeaderValue::from(age))])
        .collect()
}

/// Until the upstream is to be asked again, or another version opens, in Unix seconds.
fn fresh_until(current: &Current, until: Option<i64>) -> i64 {
    let checked_again = current.kept.checked.saturating_add(FRESH);
    until.map_or(checked_again, |until| until.min(checked_again))
}

fn read_only(address: &Address) -> Found {
    let what = match address {
        Address::Advisories => "this route is asked by POST",
        _ => "this registry is a copy that is only read: publish at the registry that it copies",
    };
    let mut found: Found = Refusal::new(StatusCode::FORBIDDEN, what).into();
    found
        .headers
        .push((ALLOW, HeaderValue::from_static("GET, HEAD")));
    found
}

fn unsupported() -> Found {
    Refusal::not_found("this route is for accounts, organisations or publishing, or is audit of an old kind; a copy that is only read has none of them").into()
}
