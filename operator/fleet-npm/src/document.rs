//! Packuments: from the disk while they are young, from the upstream when they are not, and old ones when it does not answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fleet_fetch::Told;
use fleet_formats::npm::{Form, PackageName};
use fleet_telemetry::QuestionResult;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED,
};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::disk::Shelf;
use crate::head::{Head, Kept};
use crate::inner::Inner;
use crate::refusal::Refusal;
use crate::shown::Shown;

/// How long a document is believed without asking, in seconds: what the public registry allows everybody.
pub const FRESH: i64 = 300;

/// One package, in memory while somebody asks for it.
pub struct Package {
    pub name: PackageName,
    pub state: tokio::sync::Mutex<State>,
}

#[derive(Default)]
pub struct State {
    head: Option<Head>,
    /// What to tell meanwhile, and until when.
    refused: Option<(Instant, Refusal)>,
    pub shown: Vec<Shown>,
}

/// The document to go by.
#[derive(Debug, Clone)]
pub struct Current {
    pub kept: Kept,
    /// The document itself, where there was no room to keep it.
    pub beside: Option<Bytes>,
    pub form: Form,
    /// The upstream did not answer.
    pub is_stale: bool,
    /// The upstream was asked.
    pub was_asked: bool,
}

impl Package {
    pub fn new(name: PackageName) -> Arc<Package> {
        Arc::new(Package {
            name,
            state: tokio::sync::Mutex::default(),
        })
    }
}

impl Current {
    /// What the upstream said just now.
    fn of(kept: Kept, form: Form) -> Current {
        Current {
            kept,
            beside: None,
            form,
            is_stale: false,
            was_asked: true,
        }
    }
}

impl State {
    /// Tells others the same for a while.
    fn refuse(&mut self, refusal: Refusal, age: Duration) -> Refusal {
        let until = Instant::now() + refusal.told_again_for(age);
        self.refused = Some((until, refusal.clone()));
        refusal
    }

    /// The document on the disk turned out to be damaged: it is fetched as if it had never been there.
    pub fn forget(&mut self, form: Form) {
        if let Some(head) = &mut self.head {
            *head.place(form) = None;
        }
    }
}

impl Inner {
    /// The document of a package in this form, or in the full one where the upstream has no other. The caller has the
    /// package's turn, so that a thousand who ask at once are one question.
    pub async fn current(
        self: &Arc<Self>,
        package: &Package,
        state: &mut State,
        form: Form,
    ) -> Result<Current, Refusal> {
        match self.young(package, state, form)? {
            Some(current) => Ok(current),
            None => self.renewed(package, state, form).await,
        }
    }

    /// The same where the upstream need not be asked; none where it must.
    pub fn young(
        &self,
        package: &Package,
        state: &mut State,
        form: Form,
    ) -> Result<Option<Current>, Refusal> {
        let refused = state.refused.clone();
        let head = self.head(package, state)?;
        head.forget_unless(|body| self.disk.has(Shelf::Bodies, body));
        let form = head.form(form);
        let kept = head.kept(form);
        // What failed for one form is no reason to keep the other one back.
        let refused = refused.filter(|(until, refusal)| {
            Instant::now() < *until && (refusal.is_definite() || kept.is_none())
        });
        if let Some((_, refusal)) = refused {
            return Err(refusal);
        }
        let young = kept.filter(|kept| is_fresh(kept.checked, crate::now()));
        Ok(young.map(|kept| Current {
            was_asked: false,
            ..Current::of(kept.clone(), form)
        }))
    }

    /// What is remembered of a package's documents.
    fn head<'s>(&self, package: &Package, state: &'s mut State) -> Result<&'s mut Head, Refusal> {
        Ok(match &mut state.head {
            Some(head) => head,
            none => none.insert(
                Head::read(&self.disk, &package.name)
                    .map_err(|error| Refusal::own("what is kept cannot be read", &error))?,
            ),
        })
    }

    /// Where none is [`young`](Self::young): the document after a question to the upstream, or an old one where it does not answer.
    pub async fn renewed(
        self: &Arc<Self>,
        package: &Package,
        state: &mut State,
        form: Form,
    ) -> Result<Current, Refusal> {
        let head = self.head(package, state)?;
        let form = head.form(form);
        let kept = head.kept(form).cloned();
        match self.refresh(package, head, form).await {
            Ok(Some(current)) => Ok(current),
            Ok(None) => {
                state.shown.clear();
                let text = format!("{} is not in this registry", package.name);
                Err(state.refuse(Refusal::not_found(text), self.negative_age))
            }
            // What it forbids it may forbid for a reason: what is kept is not given out either.
            Err(refusal) if refusal.status == StatusCode::FORBIDDEN => {
                Err(state.refuse(refusal, self.negative_age))
            }
            Err(refusal) => match kept {
                Some(kept) => Ok(Current {
                    is_stale: true,
                    ..Current::of(kept, form)
                }),
                None => Err(state.refuse(refusal, self.negative_age)),
            },
        }
    }

    /// Asks the upstream. None where it has no such package.
    async fn refresh(
        self: &Arc<Self>,
        package: &Package,
        head: &mut Head,
        form: Form,
    ) -> Result<Option<Current>, Refusal> {
        let name = &package.name;
        let asked = question(form, head.kept(form));
        let mut told = self
            .upstream
            .ask(&format!("/{}", name.escaped()), &asked, None)
            .await?;
        match told.status() {
            StatusCode::NOT_MODIFIED => {
                self.traffic.asked(QuestionResult::Unchanged);
                // Its connection is free with the end of the answer.
                drop(told.body(0).await);
                let Some(kept) = head.place(form) else {
                    return Err(Refusal::new(
                        StatusCode::BAD_GATEWAY,
                        "the upstream says 304 to a question without conditions",
                    ));
                };
                kept.checked = crate::now();
                let kept = kept.clone();
                self.remember(name, head);
                Ok(Some(Current::of(kept, form)))
            }
            StatusCode::OK => {
                let current = self.take(name, head, form, told).await?;
                self.traffic.asked(QuestionResult::Changed);
                Ok(Some(current))
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                self.traffic.asked(QuestionResult::Absent);
                (head.full, head.abbreviated) = (None, None);
                self.remember(name, head);
                Ok(None)
            }
            StatusCode::FORBIDDEN
            | StatusCode::UNAUTHORIZED
            | StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS => {
                self.traffic.asked(QuestionResult::Absent);
                let why = self.reason_of(&mut told).await;
                let text = format!(
                    "the upstream registry refuses {name} ({}){why}",
                    told.status()
                );
                Err(Refusal::new(StatusCode::FORBIDDEN, text))
            }
            _ => {
                self.traffic.asked(QuestionResult::Failed);
                Err(Refusal::of_upstream(&told.refusal()))
            }
        }
    }

    /// What a refusal says for people, as registries write it.
    async fn reason_of(&self, told: &mut Told) -> String {
        let body = told.body(64 * 1024).await.unwrap_or_default();
        let said: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
        let said = said.as_ref().and_then(|said| said.get("error")?.as_str());
        let printable = said.map(|said| {
            said.chars()
                .filter(|char| !char.is_control())
                .take(300)
                .collect::<String>()
        });
        printable
            .map(|said| format!(": {said}"))
            .unwrap_or_default()
    }

    /// Takes a new document in: whole, read, its promises written down; then it counts.
    async fn take(
        self: &Arc<Self>,
        name: &PackageName,
        head: &mut Head,
        asked: Form,
        mut told: Told,
    ) -> Result<Current, Refusal> {
        let header = |name: HeaderName| {
            told.headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let is_abbreviated = header(CONTENT_TYPE)
            .is_some_and(|kind| kind.starts_with(Form::Abbreviated.content_type()));
        let form = match asked {
            Form::Abbreviated if is_abbreviated => Form::Abbreviated,
            _ => Form::Full,
        };
        let (etag, last_modified) = (header(ETAG), header(LAST_MODIFIED));
        let announced = header(CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let before = head.kept(form).map_or(0, |before| before.size);
        self.make_room(announced.unwrap_or(0).max(before)).await;
        let body = self.receive(&mut told).await?;
        let kept = Kept {
            body: body.digest,
            size: body.size,
            etag,
            last_modified,
            checked: crate::now(),
        };
        let beside = self.learn(name, body).await?;
        head.full_only = asked == Form::Abbreviated && form == Form::Full
            || asked == Form::Full && head.full_only;
        if beside.is_some() {
            // What is kept is an earlier one still.
            return Ok(Current {
                beside,
                ..Current::of(kept, form)
            });
        }
        if head.full_only {
            head.abbreviated = None;
        }
        let before = head.place(form).replace(kept.clone());
        self.remember(name, head);
        if let Some(before) = before.filter(|before| before.body != kept.body) {
            // Two packages never have the same document, since it has their name.
            let other = Form::ALL
                .into_iter()
                .any(|form| head.kept(form).is_some_and(|kept| kept.body == before.body));
            if !other {
                drop(self.disk.remove(Shelf::Bodies, &before.body));
            }
        }
        Ok(Current::of(kept, form))
    }

    fn remember(&self, name: &PackageName, head: &Head) {
        if let Err(error) = head.write(&self.disk, name) {
            tracing::warn!(%error, package = name.as_str(), "when the upstream was asked cannot be written down; it is asked again after a restart");
        }
    }
}

fn question(form: Form, kept: Option<&Kept>) -> Vec<(HeaderName, HeaderValue)> {
    let accept = match form {
        Form::Full => "application/json",
        // As npm's own clients ask, so that a registry that knows only one form gives that.
        Form::Abbreviated => {
            "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*"
        }
    };
    let mut headers = vec![
        (ACCEPT, HeaderValue::from_static(accept)),
        (ACCEPT_ENCODING, HeaderValue::from_static("gzip")),
    ];
    let mut say = |name: HeaderName, value: Option<&String>| {
        headers.extend(value.and_then(|value| Some((name, HeaderValue::from_str(value).ok()?))));
    };
    say(IF_NONE_MATCH, kept.and_then(|kept| kept.etag.as_ref()));
    say(
        IF_MODIFIED_SINCE,
        kept.and_then(|kept| kept.last_modified.as_ref()),
    );
    headers
}

/// A check in the future was made by a clock that has been set back since.
pub fn is_fresh(checked: i64, now: i64) -> bool {
    (checked..checked.saturating_add(FRESH)).contains(&now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_believed_for_five_minutes_and_never_from_the_future() {
        assert!(is_fresh(1000, 1000) && is_fresh(1000, 1299));
        assert!(!is_fresh(1000, 1300) && !is_fresh(1000, 999));
        assert!(!is_fresh(i64::MAX, 0));
    }
}
