//! A Mirror's regions as archweb tells of the mirrors of Arch Linux, so that what ranks those ranks these.
//! <https://archlinux.org/mirrors/status/json/>, written by
//! <https://github.com/archlinux/archweb/blob/master/mirrors/views/api.py>: spans are seconds, instants UTC, and what is not
//! known is null.

use std::net::IpAddr;

use fleet_api::{Mirror, RegionState};
use fleet_plan::score::{CUTOFF, Score};
use fleet_plan::summary::RegionSummary;
use http::Uri;
use jiff::Timestamp;
use serde::Serialize;

use crate::board::Board;
use crate::row::Row;
use crate::seen::Seen;

/// Of archweb's shape.
const VERSION: u8 = 3;

#[derive(Debug, Serialize)]
pub struct MirrorStatuses {
    cutoff: i64,
    last_check: Option<String>,
    /// Of the region that was checked most often.
    num_checks: u32,
    /// Mean time between two checks.
    check_frequency: Option<i64>,
    urls: Vec<MirrorUrl>,
    version: u8,
}

/// One region.
#[derive(Debug, Serialize)]
struct MirrorUrl {
    url: String,
    protocol: String,
    last_sync: Option<String>,
    /// From 0 to 1, whatever its name says.
    completion_pct: Option<f64>,
    delay: Option<i64>,
    duration_avg: Option<f64>,
    duration_stddev: Option<f64>,
    score: Option<f64>,
    /// Whether clients are led there.
    active: bool,
    country: &'static str,
    country_code: &'static str,
    isos: bool,
    ipv4: bool,
    ipv6: bool,
    /// The page of the Mirror, from where this document is.
    details: String,
}

impl MirrorStatuses {
    /// Of the regions that have an address.
    pub fn of(board: &Board, seen: &Seen, row: &Row, now: Timestamp) -> MirrorStatuses {
        let told = &row.summary;
        let mut scores = board.scores(row, now);
        let isos = seen.mirror.object().is_ok_and(has_images);
        let mut checked = Vec::new();
        let regions = told.regions.iter().filter_map(|region| {
            let score = scores.remove(&region.region).unwrap_or_default();
            let url = MirrorUrl::of(region, &score, isos, &told.mirror)?;
            checked.push(score);
            Some(url)
        });
        let urls = regions.collect();
        let num_checks = checked.iter().map(|score| score.checks).max().unwrap_or(0);
        let first = checked.iter().filter_map(|score| score.first_check).min();
        let last = checked.iter().filter_map(|score| score.last_check).max();
        let between = num_checks.checked_sub(1).filter(|between| *between > 0);
        MirrorStatuses {
            cutoff: CUTOFF,
            last_check: last.and_then(instant),
            num_checks,
            check_frequency: (first.zip(last).zip(between))
                .map(|((first, last), between)| (last - first) / i64::from(between)),
            urls,
            version: VERSION,
        }
    }
}

impl MirrorUrl {
    fn of(region: &RegionSummary, score: &Score, isos: bool, mirror: &str) -> Option<MirrorUrl> {
        let url = region.url.clone()?;
        let uri: Option<Uri> = url.parse().ok();
        let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
        let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        Some(MirrorUrl {
            protocol: uri
                .as_ref()
                .and_then(Uri::scheme_str)
                .unwrap_or_default()
                .to_owned(),
            url,
            last_sync: score.last_sync.and_then(instant),
            completion_pct: score.completion,
            delay: score.delay.map(|delay| delay as i64),
            duration_avg: score.duration_avg,
            duration_stddev: score.duration_stddev,
            score: score.value(),
            active: !matches!(region.state, RegionState::Withdrawn | RegionState::Joining),
            // Nobody says in which country a region is; archweb has no words for such either.
            country: "",
            country_code: "",
            isos,
            // What a name resolves to is not looked up; archweb says no of both where it could not.
            ipv4: address.is_some_and(|address| address.is_ipv4()),
            ipv6: address.is_some_and(|address| address.is_ipv6()),
            details: format!("../{}", crate::asked::escaped(mirror)),
        })
    }
}

fn has_images(mirror: &Mirror) -> bool {
    let arch = mirror.spec.content.arch.as_ref();
    arch.is_some_and(|arch| arch.include.iso)
}

/// To the second, as those who read it expect: `2026-01-02T12:00:00Z`.
fn instant(at: i64) -> Option<String> {
    Some(Timestamp::from_second(at).ok()?.to_string())
}
