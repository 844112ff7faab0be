//! `/.mirrorfleet/nearest/<mirror's path>/<path>`: a file, for clients that follow a redirect or can fetch from several places.
//!
//! The answer names the places that have the same file (`Link: <…>; rel=duplicate`, RFC 6249), those near to the client
//! first, and what it must be (`Repr-Digest`, RFC 9530; `Digest`, RFC 3230, for clients of before). A client that reads
//! neither is sent to the nearest place, and has no other if that fails: so it is sent only for what never changes, which
//! all regions have that are offered where they publish together, and only to one that nobody doubts. Everything else
//! comes from here, and so does everything where each region fetches for itself: another one may not have it yet.
//!
//! `geo` is left out of the links: nobody has told in which countries regions are.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleet_store::Entry;
use fleet_types::Sha256;
use fleet_types::documents::{ClientList, ListedRegion};
use http::header::{CACHE_CONTROL, LINK};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::answer::{Answer, THIS_CLIENT};
use crate::asked::NotNow;
use crate::lists::{FORWARDED_FOR, below, told};
use crate::lookup::Lookup;
use crate::path::encode;
use crate::transaction::asked_site;

/// More would help nobody.
const MOST_LINKS: usize = 5;
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
const DIGEST: HeaderName = HeaderName::from_static("digest");

/// The answer at the region of this name. Blocks on the disk.
pub fn answer(lookup: &Lookup<'_>, here: &str) -> Result<Answer, NotNow> {
    let Some(entry) = lookup.entry() else {
        return lookup.answer();
    };
    let list = told(lookup.mirror);
    let places = Places::of(lookup, &entry, &list, here);
    let mut answer = match &places.elsewhere {
        Some(url) => Answer::elsewhere(url.clone()),
        None => lookup.answer()?,
    };
    if !answer.status.is_success() && answer.status != StatusCode::FOUND {
        return Ok(answer);
    }
    if !list.trusted_proxies.is_empty() {
        answer = answer.varying(HeaderName::from_static(FORWARDED_FOR));
    }
    let caching = HeaderValue::from_static(THIS_CLIENT);
    answer.headers.set(CACHE_CONTROL, caching);
    for (rank, url) in (1..).zip(&places.urls) {
        let link = format!("<{url}>; rel=duplicate; pri={rank}");
        if let Ok(link) = HeaderValue::try_from(link) {
            answer.headers.push(LINK, link);
        }
    }
    // All zero where it is not known.
    if entry.digest != Sha256([0; 32]) {
        let digest = STANDARD.encode(entry.digest.0);
        for (name, text) in [
            (REPR_DIGEST, format!("sha-256=:{digest}:")),
            (DIGEST, format!("SHA-256={digest}")),
        ] {
            if let Ok(value) = HeaderValue::try_from(text) {
                answer.headers.push(name, value);
            }
        }
    }
    Ok(answer)
}

/// Where the file is.
struct Places {
    /// The nearest first.
    urls: Vec<String>,
    /// Where the client is sent, unless it is served from here.
    elsewhere: Option<String>,
}

impl Places {
    fn of(lookup: &Lookup<'_>, entry: &Entry, list: &ClientList, here: &str) -> Places {
        let path = encode(&lookup.rest.path);
        let asked = &lookup.asked;
        let front = asked.front(&list.trusted_proxies);
        let is_everywhere = list.together && !entry.mutable;
        let regions = list.nearest_first(front.client).into_iter();
        let regions = regions.filter(|region| is_everywhere || region.name == here);
        let regions: Vec<&ListedRegion> = regions.collect();
        let url = |region: &ListedRegion| format!("{}{path}", region.url);
        let mut urls: Vec<String> = regions.iter().copied().map(url).take(MOST_LINKS).collect();
        if urls.is_empty() {
            let site = asked_site(asked.way, asked.headers, &front);
            let of_mirror = below(lookup.mirror.serving_path());
            urls.extend(site.map(|site| format!("{site}/{of_mirror}{path}")));
        }
        let nearest = regions.first().filter(|nearest| {
            let is_another = nearest.name != here && !nearest.doubtful;
            is_another && !here.is_empty()
        });
        Places {
            elsewhere: nearest.map(|nearest| url(nearest)),
            urls,
        }
    }
}
