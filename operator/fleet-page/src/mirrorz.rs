//! The mirrors of one site as MirrorZ reads them, by its format 1.7:
//! <https://github.com/mirrorz-org/mirrorz#data-format-v17>.

use std::fmt::Write;

use fleet_api::mirror::Mode;
use fleet_api::{Mirror, RegionState};
use fleet_plan::summary::RegionSummary;
use fleet_types::{human_size, shown_url};
use http::Uri;
use jiff::Timestamp;
use serde::Serialize;

use crate::asked::parameter;
use crate::board::Fleet;
use crate::row::Row;
use crate::seen::Seen;

const VERSION: f64 = 1.7;

#[derive(Debug, Serialize)]
pub struct MirrorZ {
    version: f64,
    site: Site,
    /// Images to download, by distribution: nobody lists them here.
    info: [(); 0],
    mirrors: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct Site {
    /// Without a slash at its end.
    url: String,
    abbr: String,
}

#[derive(Debug, Serialize)]
struct Entry {
    /// The folder of the copy, by convention what people call the distribution.
    cname: String,
    desc: String,
    /// Below the site's where it begins with a slash.
    url: String,
    status: String,
    /// Nobody knows under which address people reach a page here.
    help: &'static str,
    upstream: String,
    /// Of what is served; empty where that is not known.
    size: String,
}

/// A copy that the site has.
struct At<'a> {
    seen: &'a Seen,
    row: &'a Row,
    region: &'a RegionSummary,
    url: &'a str,
}

impl MirrorZ {
    /// The site is the region that `region=` in the query names; else each Mirror is told of by its first region. What has no
    /// address is left out.
    pub fn of(fleet: &Fleet, query: &str) -> MirrorZ {
        let wanted = parameter(query, "region");
        let is_wanted =
            |region: &&RegionSummary| wanted.as_ref().is_none_or(|name| region.region == *name);
        let copies: Vec<At> = (fleet.seen.values())
            .filter_map(|(seen, row)| {
                let mut regions = row.summary.regions.iter().filter(is_wanted);
                let (region, url) =
                    regions.find_map(|region| Some((region, region.url.as_deref()?)))?;
                Some(At {
                    seen,
                    row,
                    region,
                    url,
                })
            })
            .collect();
        let site = copies.first().and_then(|first| origin(first.url));
        let site = site.unwrap_or_default();
        MirrorZ {
            version: VERSION,
            info: [],
            mirrors: copies.iter().map(|copy| copy.entry(&site)).collect(),
            site: Site {
                abbr: wanted.unwrap_or_else(|| "mirrorfleet".to_owned()),
                url: site,
            },
        }
    }
}

impl At<'_> {
    /// Of the snapshot that is served.
    fn bytes(&self) -> Option<u64> {
        let status = self.seen.mirror.object().ok()?.status.as_ref()?;
        let mut known = status.snapshots.iter();
        let served = known.find(|known| Some(&known.id) == self.region.snapshot.as_ref())?;
        u64::try_from(served.bytes?).ok()
    }

    fn entry(&self, site: &str) -> Entry {
        let url = self.url.trim_end_matches('/');
        let folder = url.rsplit('/').next().unwrap_or_default();
        let below = url.strip_prefix(site).filter(|path| path.starts_with('/'));
        let told = &self.row.summary;
        let upstream = self.seen.upstream.as_ref();
        let upstream = upstream.and_then(|held| held.object().ok());
        Entry {
            cname: folder.to_owned(),
            desc: self.row.content.clone(),
            url: below.unwrap_or(url).to_owned(),
            status: match self.seen.mirror.object() {
                Ok(mirror) => status(mirror, self.region, told.next_sync),
                Err(_) => "U".to_owned(),
            },
            help: "",
            upstream: upstream.map_or_else(String::new, |upstream| {
                shown_url(upstream.spec.authority.url.as_str())
            }),
            size: self.bytes().map_or_else(String::new, human_size),
        }
    }
}

/// Scheme and host of an address.
fn origin(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?))
}

/// One letter for what it does, and further ones for when: each with its Unix time, where that is known.
fn status(mirror: &Mirror, region: &RegionSummary, next: Option<Timestamp>) -> String {
    let success = region.last_success;
    let replicas = || {
        let status = mirror.status.as_ref();
        let regions = status.into_iter().flat_map(|status| &status.regions);
        let own = regions.filter(|told| told.name == region.region);
        own.flat_map(|told| &told.replicas)
    };
    let attempt =
        replicas().filter_map(|replica| Some(replica.last_attempt.as_ref()?.finished_at.0));
    let (letter, at, is_old) = match region {
        _ if mirror.spec.mode == Mode::PullThrough => ('C', None, false),
        RegionSummary { run: Some(run), .. } => ('Y', Some(run.started_at), true),
        _ if mirror.spec.suspend => ('P', None, false),
        RegionSummary { failures: 1.., .. } => ('F', attempt.max(), true),
        RegionSummary { snapshot: None, .. } => ('D', next, false),
        RegionSummary { ready: false, .. }
        | RegionSummary {
            state: RegionState::Unknown,
            ..
        } => ('U', None, false),
        _ => ('S', success, false),
    };
    let mut text = String::new();
    let mut add = |letter: char, at: Option<Timestamp>| {
        text.push(letter);
        if let Some(at) = at {
            // Nothing that is written to a text fails.
            let _ = write!(text, "{}", at.as_second());
        }
    };
    add(letter, at);
    if let Some(success) = success.filter(|_| is_old) {
        add('O', Some(success));
    }
    if let Some(next) = next.filter(|_| letter != 'D') {
        add('X', Some(next));
    }
    text
}
