//! `/.mirrorfleet/mirrorlist/<mirror's path>`: where a mirror's regions are, for apt's `mirror+http` and for pacman's `Include`,
//! those that are near to the client first.
//!
//! # What apt asks of a list
//! It keeps what it fetched, and asks the next time for the rest of it, on the condition that nothing changed: an answer
//! with a part would be appended to what it has, and a `416` would keep it, so that a region that was taken out would go
//! on being used. So an answer is always `200`, whole, and has nothing that a condition could name. No cache may keep it:
//! it is for one client. It is never empty: who is told of no region is told of the one that answers.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use fleet_types::documents::ClientList;
use http::{HeaderMap, HeaderName, StatusCode};

use crate::answer::Answer;
use crate::asked::Asked;
use crate::mirror::ServedMirror;
use crate::path::encode;
use crate::told::ToldFile;
use crate::transaction::asked_site;

/// Kubernetes gives an object no more annotations.
const MAX_BYTES: u64 = 256 * 1024;
/// What a proxy says of who asked it. Each adds to its end who asked itself.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// What clients are told of the regions of one mirror.
#[derive(Debug, Clone, Default)]
pub struct Lists(ToldFile);

impl Lists {
    /// Those of the mirror of this name: a file of that name in `dir`.
    pub fn of(dir: Option<&Path>, mirror: &str) -> Lists {
        Lists(ToldFile::of(dir, mirror))
    }

    /// What there is to tell; a file that says nothing yet tells of no region.
    fn read(&self) -> Result<Option<ClientList>, String> {
        let read = |text: &str| match text.trim() {
            "" => Ok(None),
            text => serde_json::from_str(text).map(Some),
        };
        self.0.read("list of regions", MAX_BYTES, read)
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
    let list = mirror.lists().read().unwrap_or_else(|problem| {
        tracing::error!(mirror = mirror.name(), %problem, "clients are told of this region only");
        None
    });
    let list = list.unwrap_or_default();
    let client = client(asked.peer, asked.headers, &list);
    let regions = list.nearest_first(client).into_iter();
    let mut urls: Vec<String> = regions.map(|region| region.url.clone()).collect();
    if urls.is_empty() {
        let here = asked_site(asked.way, asked.headers);
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

fn below(serving_path: &str) -> String {
    match serving_path {
        "" => String::new(),
        path => format!("{}/", encode(path)),
    }
}

/// Who asks: whoever connects, or, as long as that is a proxy whose word counts, who it says asked it.
fn client(peer: IpAddr, headers: &HeaderMap, list: &ClientList) -> IpAddr {
    let values = headers.get_all(FORWARDED_FOR).iter();
    let values: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
    let hops = values.iter().rev().flat_map(|value| value.rsplit(','));
    let mut client = peer.to_canonical();
    for hop in hops {
        if !list.trusts(client) {
            break;
        }
        let Some(before) = address(hop.trim()) else {
            break;
        };
        client = before.to_canonical();
    }
    client
}

/// Some proxies write the port too.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let alone = bare.unwrap_or(text).parse().ok();
    alone.or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn found(peer: &str, said: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in said {
            headers.append(FORWARDED_FOR, HeaderValue::from_str(value).unwrap());
        }
        let list = ClientList {
            regions: Vec::new(),
            trusted_proxies: trusted.iter().map(|net| net.parse().unwrap()).collect(),
        };
        client(peer.parse().unwrap(), &headers, &list).to_string()
    }

    #[test]
    fn only_proxies_whose_word_counts_say_who_the_client_is() {
        let inside = &["10.0.0.0/8", "fd00::/8"][..];
        for (peer, said, trusted, wanted) in [
            ("10.0.0.1", &["192.0.2.7"][..], &[][..], "10.0.0.1"),
            ("10.0.0.1", &["192.0.2.7"], inside, "192.0.2.7"),
            ("::ffff:10.0.0.1", &["192.0.2.7"], inside, "192.0.2.7"),
            ("203.0.113.1", &["192.0.2.7"], inside, "203.0.113.1"),
            // Whoever writes to the left of what a trusted proxy wrote may be anybody.
            (
                "10.0.0.1",
                &["1.1.1.1, 192.0.2.7, 10.0.0.2"],
                inside,
                "192.0.2.7",
            ),
            (
                "10.0.0.1",
                &["1.1.1.1", "192.0.2.7", "10.0.0.2"],
                inside,
                "192.0.2.7",
            ),
            ("fd00::1", &["[2001:db8::7]:4711"], inside, "2001:db8::7"),
            (
                "10.0.0.1",
                &["192.0.2.7:4711,10.0.0.2"],
                inside,
                "192.0.2.7",
            ),
            ("10.0.0.1", &["192.0.2.7, unknown"], inside, "10.0.0.1"),
            ("10.0.0.1", &["10.0.0.9"], inside, "10.0.0.9"),
            ("10.0.0.1", &[], inside, "10.0.0.1"),
        ] {
            assert_eq!(found(peer, said, trusted), wanted, "{peer} {said:?}");
        }
    }

    proptest! {
        #[test]
        fn what_anybody_writes_is_read_or_left(said in "[ -~]{0,60}") {
            found("10.0.0.1", &[&said], &["0.0.0.0/0", "::/0"]);
        }
    }
}
