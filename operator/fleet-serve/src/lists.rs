//! `/.mirrorfleet/mirrorlist/<mirror's path>`: where a mirror's regions are, for apt's `mirror+http` and for pacman's `Include`,
//! those that are near to the client first.
//!
//! # What apt asks of a list
//! It keeps what it fetched, and asks the next time for the rest of it, on the condition that nothing changed: an answer
//! with a part would be appended to what it has, and a `416` would keep it, so that a region that was taken out would go
//! on being used. So an answer is always `200`, whole, and has nothing that a condition could name. No cache may keep it:
//! it is for one client. It is never empty: who is told of no region is told of the one that answers.

use std::path::Path;
use std::sync::{Arc, RwLock};

use fleet_types::documents::ClientList;
use fleet_types::{lock_read, lock_write};
use http::{HeaderName, StatusCode};
use ipnet::IpNet;

use crate::answer::Answer;
use crate::asked::Asked;
use crate::mirror::ServedMirror;
use crate::path::encode;
use crate::told::ToldFile;
use crate::transaction::asked_site;

/// Kubernetes gives an object no more annotations.
const MAX_BYTES: u64 = 256 * 1024;
pub const FORWARDED_FOR: &str = "x-forwarded-for";

/// What clients are told of the regions of one mirror.
#[derive(Debug, Default)]
pub struct Lists {
    file: ToldFile,
    /// As they were when that was last looked at.
    proxies: RwLock<Arc<[IpNet]>>,
}

impl Lists {
    /// Those of the mirror of this name: a file of that name in `dir`.
    pub fn of(dir: Option<&Path>, mirror: &str) -> Lists {
        let lists = Lists {
            file: ToldFile::of(dir, mirror),
            ..Lists::default()
        };
        lists.look();
        lists
    }

    /// Looks again whose word counts. Blocks on the disk.
    pub fn look(&self) {
        // What cannot be read is told where it is asked for; until then it stays as it was.
        if let Ok(list) = self.read() {
            let proxies = list.unwrap_or_default().trusted_proxies;
            *lock_write(&self.proxies) = proxies.into();
        }
    }

    /// Networks of the proxies whose word counts for how clients ask.
    pub fn proxies(&self) -> Arc<[IpNet]> {
        lock_read(&self.proxies).clone()
    }

    /// What there is to tell; a file that says nothing yet tells of no region.
    fn read(&self) -> Result<Option<ClientList>, String> {
        let read = |text: &str| match text.trim() {
            "" => Ok(None),
            text => serde_json::from_str(text).map(Some),
        };
        self.file.read("list of regions", MAX_BYTES, read)
    }
}

/// The list of this name: the empty one is of the whole mirror. Blocks on the disk.
pub fn answer(mirror: &ServedMirror, name: &str, asked: Asked<'_>) -> Answer {
    let Some(form) = mirror.identity().clients.lists.get(name) else {
        return Answer::text(
            StatusCode::NOT_FOUND,
            "there is no such list of this mirror, or its next sync has yet to say how one is written",
        );
    };
    let list = told(mirror);
    let front = asked.front(&list.trusted_proxies);
    let regions = list.nearest_first(front.client).into_iter();
    let mut urls: Vec<String> = regions.map(|region| region.url.clone()).collect();
    if urls.is_empty() {
        let here = asked_site(asked.way, asked.headers, &front);
        urls.extend(here.map(|site| format!("{site}/{}", below(mirror.serving_path()))));
    }
    if urls.is_empty() {
        return Answer::unavailable(
            "nobody has told yet where the regions of this mirror are, and the request does not say who is asked",
        );
    }
    let lines = (1..).zip(&urls).map(|(rank, url)| form.line(url, rank));
    let answer = Answer::of_this_client(lines.collect());
    match list.trusted_proxies.is_empty() {
        true => answer,
        false => answer.varying(HeaderName::from_static(FORWARDED_FOR)),
    }
}

/// What there is to tell of a mirror; nothing where that cannot be read. Blocks on the disk.
pub fn told(mirror: &ServedMirror) -> ClientList {
    let list = mirror.lists().read().unwrap_or_else(|problem| {
        tracing::error!(mirror = mirror.name(), %problem, "clients are told of this region only");
        None
    });
    list.unwrap_or_default()
}

/// A mirror's path as it stands in URLs, with a slash at its end.
pub fn below(serving_path: &str) -> String {
    match serving_path {
        "" => String::new(),
        path => format!("{}/", encode(path)),
    }
}
