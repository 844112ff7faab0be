//! Request in, answer out: which mirror a path belongs to, or which document of our own it is. Synchronous. A caller
//! that must not block says so, and gets the answers that need nothing from the disk: those are nearly all of a busy
//! mirror's.

use std::sync::Arc;

use fleet_origin::Registry;
use fleet_store::SnapshotId;
use http::{Method, StatusCode};

use crate::answer::{Answer, Counted};
use crate::asked::{Asked, NotNow};
use crate::catalog::{Catalog, OURS};
use crate::listing::{MirrorLine, mirrors_page};
use crate::lists;
use crate::lookup::Lookup;
use crate::nearest;
use crate::path::{Candidate, RequestPath};
use crate::status::{self, MirrorStatus, PublicStatus};

/// Answers one request. Where it may block there is an answer, or what is asked for is being fetched.
pub fn answer(catalog: &Catalog, asked: Asked<'_>) -> Result<Counted, NotNow> {
    let outside = |answer| Ok(catalog.outside(answer));
    if asked.method != Method::GET && asked.method != Method::HEAD {
        return outside(Answer::method_not_allowed());
    }
    let path = match RequestPath::parse(asked.path) {
        Ok(path) => path,
        Err(error) => return outside(Answer::text(StatusCode::BAD_REQUEST, error.to_string())),
    };
    let mut missed = None;
    for candidate in path.candidates() {
        let counted = route(catalog, asked, candidate)?;
        if counted.answer.status != StatusCode::NOT_FOUND {
            return Ok(counted);
        }
        missed.get_or_insert(counted);
    }
    match missed {
        Some(counted) => Ok(counted),
        None => outside(Answer::text(StatusCode::NOT_FOUND, "not found")),
    }
}

/// Who asks for a status document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Whoever reaches the port for clients.
    Clients,
    /// The controller, and whoever may read the metrics.
    Operators,
}

/// The documents under `/.mirrorfleet/status`; none for another path.
pub fn status_answer(catalog: &Catalog, path: &str, audience: Audience) -> Option<Answer> {
    let path = RequestPath::parse(path).ok()?.decoded?;
    let ours = path.below(OURS)?;
    let rest = ours.below("status")?;
    let served = catalog.served();
    let registries = catalog.registries().served();
    let of_registry =
        |registry: &Arc<dyn Registry>| status::of_registry(registry.as_ref(), catalog.data());
    let read = || {
        let stores = served.iter().map(|mirror| status::read(mirror));
        stores.chain(registries.iter().map(of_registry))
    };
    if rest.path.is_empty() {
        return Some(match audience {
            Audience::Clients => {
                status::answer(&read().map(Into::into).collect::<Vec<PublicStatus>>())
            }
            Audience::Operators => status::answer(&read().collect::<Vec<MirrorStatus>>()),
        });
    }
    let store = || {
        let mirror = catalog.named(&rest.path)?;
        Some(status::read(&mirror))
    };
    let mut registries = registries.iter();
    let registry = registries.find(|registry| registry.name() == rest.path);
    let Some(status) = registry.map(of_registry).or_else(store) else {
        return Some(Answer::text(
            StatusCode::NOT_FOUND,
            "no mirror of this name is served here",
        ));
    };
    Some(match audience {
        Audience::Clients => status::answer(&PublicStatus::from(status)),
        Audience::Operators => status::answer(&status),
    })
}

fn route(catalog: &Catalog, asked: Asked<'_>, full: &Candidate<'_>) -> Result<Counted, NotNow> {
    if let Some(rest) = full.below(OURS) {
        return ours(catalog, asked, full, &rest);
    }
    let counted = match catalog.find(full) {
        Some((mirror, rest)) => {
            let lookup = Lookup {
                asked,
                mirror: &mirror,
                full,
                rest: &rest,
                fixed: None,
            };
            Counted {
                answer: lookup.answer()?,
                traffic: mirror.traffic.clone(),
            }
        }
        None => {
            asked.disk()?;
            let answer = match full.path.is_empty() {
                true => front_page(catalog),
                false => Answer::text(
                    StatusCode::NOT_FOUND,
                    "no mirror is served under this path; / lists those that are",
                ),
            };
            catalog.outside(answer)
        }
    };
    Ok(counted)
}

fn ours(
    catalog: &Catalog,
    asked: Asked<'_>,
    full: &Candidate<'_>,
    rest: &Candidate<'_>,
) -> Result<Counted, NotNow> {
    let outside = |answer| Ok(catalog.outside(answer));
    asked.disk()?;
    if let Some(answer) = status_answer(catalog, asked.path, Audience::Clients) {
        return outside(answer);
    }
    if let Some((mirror, list)) = rest
        .below("mirrorlist")
        .as_ref()
        .and_then(|it| catalog.find(it))
    {
        return Ok(Counted {
            answer: lists::answer(&mirror, &list.path, asked),
            traffic: mirror.traffic.clone(),
        });
    }
    let nearest = rest.below("nearest");
    if let Some((mirror, rest)) = nearest.as_ref().and_then(|it| catalog.find(it)) {
        let lookup = Lookup {
            asked,
            mirror: &mirror,
            full,
            rest: &rest,
            fixed: None,
        };
        return Ok(Counted {
            answer: nearest::answer(&lookup, catalog.region())?,
            traffic: mirror.traffic.clone(),
        });
    }
    let below = rest.below("s");
    let found = below.as_ref().and_then(|below| catalog.find(below));
    let kept = found.as_ref().and_then(|(mirror, rest)| {
        let (id, rest) = rest.split_first()?;
        Some((mirror, id.parse::<SnapshotId>().ok()?, rest))
    });
    match kept {
        Some((mirror, id, rest)) => {
            let lookup = Lookup {
                asked,
                mirror,
                full,
                rest: &rest,
                fixed: Some(id),
            };
            Ok(Counted {
                answer: lookup.answer()?,
                traffic: mirror.traffic.clone(),
            })
        }
        None => outside(Answer::text(
            StatusCode::NOT_FOUND,
            "here are status/, mirrorlist/<mirror's path>, nearest/<mirror's path>/ and s/<mirror's path>/<snapshot>/",
        )),
    }
}

fn front_page(catalog: &Catalog) -> Answer {
    let mut lines: Vec<MirrorLine> = catalog
        .served()
        .iter()
        .map(|mirror| {
            let view = mirror.view();
            MirrorLine {
                name: mirror.name().to_owned(),
                serving_path: mirror.serving_path().to_owned(),
                fills_itself: false,
                snapshot: view
                    .current
                    .as_ref()
                    .map(|current| current.id().to_string()),
                published: view.published,
            }
        })
        .collect();
    lines.extend(catalog.registries().lines());
    Answer::page(mirrors_page(&lines))
}
