//! Which answer belongs to which address.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Response, StatusCode, request};
use jiff::Timestamp;
use serde::Serialize;

use crate::archweb::MirrorStatuses;
use crate::asked::{Asked, mirror_at};
use crate::assets::{ICON, SCRIPT, STYLE, tag};
use crate::board::Board;
use crate::detail::Detail;
use crate::html::Html;
use crate::json::List;
use crate::mirrorz::MirrorZ;
use crate::render::{detail_page, list_page, message_page};

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
/// A page has nothing from elsewhere, runs no script that does not come from here as a file, and is part of no other page.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// Whoever has a page asks whether it is still so.
const REVALIDATED: &str = "no-cache";
/// What never changes under its name.
const KEPT: &str = "public, max-age=31536000, immutable";

/// The answer to a GET or HEAD; the listener takes care of which of both it is.
pub fn answer(board: &Board, head: &request::Parts, now: Timestamp) -> Response<Bytes> {
    let path = head.uri.path();
    let query = head.uri.query().unwrap_or_default();
    let asset = [&STYLE, &SCRIPT]
        .into_iter()
        .find(|asset| path.strip_prefix('/') == Some(&asset.path()));
    if let Some(asset) = asset {
        return respond(
            StatusCode::OK,
            asset.content_type,
            KEPT,
            Bytes::from_static(asset.text.as_bytes()),
        );
    }
    let answer = match path {
        "/assets/icon.svg" => {
            return respond(
                StatusCode::OK,
                "image/svg+xml",
                "public, max-age=86400",
                Bytes::from_static(ICON.as_bytes()),
            );
        }
        "/" => list(board, query, now),
        "/index.json" => {
            board.note_asked(now);
            let fleet = board.fleet(now);
            json(&List::of(board, &fleet, &Asked::parse(query), now))
        }
        "/mirrorz.json" => {
            board.note_asked(now);
            json(&MirrorZ::of(&board.fleet(now), query))
        }
        path => mirror(board, path, query, now).unwrap_or_else(|| nowhere(board, path, now)),
    };
    unless_known(answer, head)
}

fn list(board: &Board, query: &str, now: Timestamp) -> Response<Bytes> {
    board.note_asked(now);
    let fleet = board.fleet(now);
    html(
        StatusCode::OK,
        list_page(board, &fleet, &Asked::parse(query), now),
    )
}

/// The page of one Mirror, its JSON, or its regions as archweb tells of mirrors.
fn mirror(board: &Board, path: &str, query: &str, now: Timestamp) -> Option<Response<Bytes>> {
    let (namespace, name) = mirror_at(path.strip_prefix('/')?)?;
    board.note_asked(now);
    let fleet = board.fleet(now);
    if let Some(name) = name.strip_suffix("/archweb.json") {
        let (seen, row) = fleet.find(&namespace, name)?;
        return Some(json(&MirrorStatuses::of(board, seen, row, now)));
    }
    if let Some((seen, row)) = fleet.find(&namespace, &name) {
        let detail = Detail::of(board, &fleet, seen, row, now);
        let page = Asked::parse(query).page;
        return Some(html(
            StatusCode::OK,
            detail_page(&fleet, &detail, page, now),
        ));
    }
    let (seen, row) = fleet.find(&namespace, name.strip_suffix(".json")?)?;
    Some(json(&Detail::of(board, &fleet, seen, row, now)))
}

/// From a page at `path` to that of the list.
fn up(path: &str) -> &'static str {
    const FAR: &str = "../../../../../../../../";
    let folders = path.matches('/').count().saturating_sub(1);
    FAR.get(..3 * folders).unwrap_or(FAR)
}

/// That something is not there; or not yet, where not everything is known.
fn nowhere(board: &Board, path: &str, now: Timestamp) -> Response<Bytes> {
    let known = mirror_at(path.trim_start_matches('/')).is_none() || board.fleet(now).complete;
    let (status, title, sentence) = match known {
        true => (
            StatusCode::NOT_FOUND,
            "Nothing is here",
            "There is no such mirror, or it is not one that this page shows.",
        ),
        false => (
            StatusCode::SERVICE_UNAVAILABLE,
            "The mirrors are being listed",
            "In a few seconds it is known whether this one is among them.",
        ),
    };
    html(status, message_page(title, sentence, up(path), now))
}

fn html(status: StatusCode, page: Html) -> Response<Bytes> {
    respond(status, HTML, REVALIDATED, page.into_bytes())
}

fn json(value: &impl Serialize) -> Response<Bytes> {
    match serde_json::to_vec(value) {
        Ok(text) => respond(StatusCode::OK, JSON, REVALIDATED, text),
        Err(error) => respond(
            StatusCode::INTERNAL_SERVER_ERROR,
            "text/plain; charset=utf-8",
            REVALIDATED,
            format!("the answer cannot be written as JSON: {error}\n"),
        ),
    }
}

fn respond(
    status: StatusCode,
    content_type: &'static str,
    caching: &'static str,
    body: impl Into<Bytes>,
) -> Response<Bytes> {
    const OPENER: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
    const RESOURCE: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    for (name, value) in [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, caching),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (OPENER, "same-origin"),
        (RESOURCE, "same-origin"),
    ] {
        answer
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// The answer with its tag; without a body where whoever asks has it already.
fn unless_known(mut answer: Response<Bytes>, head: &request::Parts) -> Response<Bytes> {
    if answer.status() != StatusCode::OK {
        return answer;
    }
    let etag = format!("\"{}\"", tag(answer.body()));
    let known = head.headers.get_all(IF_NONE_MATCH).iter();
    let mut known = known
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    if known.any(|value| matches!(value.trim().trim_start_matches("W/"), value if value == etag || value == "*")) {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        *answer.body_mut() = Bytes::new();
    }
    if let Ok(value) = HeaderValue::from_str(&etag) {
        answer.headers_mut().insert(ETAG, value);
    }
    answer
}
