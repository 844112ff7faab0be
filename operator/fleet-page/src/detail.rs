//! One Mirror as it stands on its own page, and in the JSON beside it.

use fleet_api::{Attempt, Mirror, MirrorStatus, ReplicaStatus, SnapshotChanges, Trigger, Upstream};
use fleet_plan::client_files::{ClientFile, client_files, files_of_all};
use fleet_plan::score::Score;
use fleet_plan::summary::{Known, MirrorSummary, RegionSummary};
use fleet_plan::why::{Explanation, why, why_alone};
use fleet_types::{Reason, shown_url};
use jiff::Timestamp;
use serde::Serialize;

use crate::board::{Board, Fleet};
use crate::history::Strip;
use crate::row::{Mood, Row, standing};
use crate::seen::Seen;

/// So many regions are on one page with their hours and their clients' configuration.
pub const REGIONS: usize = 16;
/// So many snapshots, and so many units of what is served; the JSON has all.
pub const SNAPSHOTS: usize = 20;
pub const UNITS: usize = 40;

/// What is known of a Mirror.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Detail {
    pub told_at: Timestamp,
    #[serde(flatten)]
    pub summary: MirrorSummary,
    #[serde(skip)]
    pub mood: Mood,
    /// What it copies, in a few words.
    pub content: String,
    /// Where from, without what could be a secret; none where the Upstream cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// None where the Mirror cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<Explanation>,
    /// For clients that go over to another region where one does not answer; none where there is one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<ClientFile>,
    /// Beside `regions`, in the same order.
    pub copies: Vec<Copy>,
    /// What regions keep, the newest first.
    pub snapshots: Vec<Snapshot>,
    /// Of what is served.
    pub units: Vec<Unit>,
}

/// What is known of a region beside its summary.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Copy {
    pub region: String,
    /// The last 48 hours, see [`Strip::letters`]; the last one has begun.
    pub hours: String,
    #[serde(skip)]
    pub strip: Strip,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run: Option<LastRun>,
    /// None where nobody has checked it in the last day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checks: Option<Checked>,
    pub clients: Vec<ClientFile>,
}

/// What the checks of a region in the last day come to, see [`Score`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    pub count: u32,
    /// Which part of them succeeded, from 0 to 1.
    pub completion: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_mean_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_stddev_seconds: Option<f64>,
    /// archweb's: the lower, the better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Whether archweb would call it so.
    pub out_of_sync: bool,
}

impl Checked {
    fn of(score: &Score) -> Option<Checked> {
        Some(Checked {
            count: score.checks,
            completion: score.completion?,
            delay_seconds: score.delay,
            duration_mean_seconds: score.duration_avg,
            duration_stddev_seconds: score.duration_stddev,
            score: score.value(),
            out_of_sync: score.is_out_of_sync(),
        })
    }
}

/// A run that has ended. What it fetched is not known where it left no report.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LastRun {
    pub reason: Reason,
    pub trigger: Trigger,
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
}

/// A snapshot that some region keeps.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made_at: Option<Timestamp>,
    /// The upstream's own date of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<Timestamp>,
    /// Regions that serve it.
    pub regions: usize,
    /// Since when none is told to serve it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub served_until: Option<Timestamp>,
    /// Sum of the sizes of its files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// By how many paths it differs from the one that it was derived from; none where there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<SnapshotChanges>,
    /// What was fetched for it; known of the newest, by the run that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fetched: Option<LastRun>,
}

/// A unit of what is served.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unit {
    pub unit: String,
    pub snapshot: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behind_since: Option<Timestamp>,
}

impl Detail {
    /// All that is known of a Mirror of `fleet`.
    pub fn of(board: &Board, fleet: &Fleet, seen: &Seen, row: &Row, now: Timestamp) -> Detail {
        let mut detail = Detail {
            told_at: fleet.told_at,
            summary: board.shown(&row.summary),
            mood: row.mood,
            content: row.content.clone(),
            authority: None,
            why: None,
            clients: Vec::new(),
            copies: Vec::new(),
            snapshots: Vec::new(),
            units: Vec::new(),
        };
        let Ok(mirror) = seen.mirror.object() else {
            return detail;
        };
        let upstream = seen.upstream.as_ref().and_then(|held| held.object().ok());
        detail.authority = upstream.map(|upstream| shown_url(upstream.spec.authority.url.as_str()));
        detail.why = Some(explained(board, fleet, (mirror, upstream), seen, now));
        detail.clients = files_of_all(mirror, upstream);
        let status = mirror.status.clone().unwrap_or_default();
        let (strips, scores) = (board.strips(row, now), board.scores(row, now));
        detail.copies = (row.summary.regions.iter().zip(strips))
            .map(|(region, strip)| Copy {
                checks: scores.get(&region.region).and_then(Checked::of),
                ..copy(mirror, upstream, &status, region, strip)
            })
            .collect();
        detail.snapshots = snapshots(&status, &row.summary);
        detail.units = units(&status, &row.summary);
        detail
    }

    /// The places of regions that are shown on a page, the worst first, and of how many pages it is which.
    pub fn part(&self, page: usize) -> (Vec<usize>, usize, usize) {
        let mut places: Vec<usize> = (0..self.copies.len()).collect();
        places.sort_by_key(|place| {
            let region = self.summary.regions.get(*place);
            std::cmp::Reverse(region.map(badness))
        });
        let pages = places.len().div_ceil(REGIONS).max(1);
        let page = page.clamp(1, pages);
        let shown = places.into_iter().skip((page - 1) * REGIONS).take(REGIONS);
        (shown.collect(), page, pages)
    }
}

/// How bad a region is, to be put before others.
pub fn badness(region: &RegionSummary) -> u8 {
    use crate::history::Standing;
    match standing(region) {
        Standing::Down => 3,
        Standing::Late => 2,
        Standing::Untold => 1,
        Standing::Good => 0,
    }
}

fn explained(
    board: &Board,
    fleet: &Fleet,
    (mirror, upstream): (&Mirror, Option<&Upstream>),
    seen: &Seen,
    now: Timestamp,
) -> Explanation {
    let none = Default::default();
    let known = Known {
        mirror,
        upstream,
        progress: fleet.look.progress.get(&seen.key()).unwrap_or(&none),
        now,
    };
    let mut told = match &board.manner.program {
        Some(program) => why(&known, program),
        None => why_alone(&known),
    };
    if board.manner.fixed_words {
        if let Some(reason) = told.reason {
            told.wrong = format!("{reason}: {}", reason.description().trim());
        }
        told.help.clear();
        told.command = None;
    }
    told
}

fn copy(
    mirror: &Mirror,
    upstream: Option<&Upstream>,
    status: &MirrorStatus,
    region: &RegionSummary,
    strip: Strip,
) -> Copy {
    let url = region.url.as_deref();
    Copy {
        region: region.region.clone(),
        hours: strip.letters(),
        strip,
        last_run: attempts(status, &region.region).max_by_key(|run| run.finished_at),
        checks: None,
        clients: url.map_or_else(Vec::new, |url| client_files(mirror, upstream, url)),
    }
}

fn attempts<'a>(status: &'a MirrorStatus, region: &'a str) -> impl Iterator<Item = LastRun> + 'a {
    let own = move |of: &&str| region.is_empty() || *of == region;
    let all = status
        .replicas()
        .map(|(of, replica)| (of.name.as_str(), replica));
    all.filter(move |(of, _)| own(of))
        .filter_map(|(_, replica)| last_run(replica))
}

fn last_run(replica: &ReplicaStatus) -> Option<LastRun> {
    let Attempt {
        reason,
        trigger,
        started_at,
        finished_at,
        files_fetched,
        bytes_fetched,
        seconds,
        ..
    } = replica.last_attempt.clone()?;
    Some(LastRun {
        reason,
        trigger,
        started_at: started_at.0,
        finished_at: finished_at.0,
        seconds,
        files: files_fetched,
        bytes: bytes_fetched,
    })
}

fn snapshots(status: &MirrorStatus, told: &MirrorSummary) -> Vec<Snapshot> {
    let serve = |id: &str| {
        let regions = told.regions.iter();
        regions
            .filter(|region| region.snapshot.as_deref() == Some(id))
            .count()
    };
    let known = status.snapshots.iter().map(|known| {
        let made_at = known.created.as_ref().map(|at| at.0);
        let by =
            |run: &LastRun| made_at.is_some_and(|at| run.started_at <= at && at <= run.finished_at);
        Snapshot {
            id: known.id.clone(),
            made_at,
            date: known.revision_date.as_ref().map(|at| at.0),
            regions: serve(&known.id),
            served_until: known.served_until.as_ref().map(|at| at.0),
            bytes: known.bytes,
            changes: known.changes,
            fetched: attempts(status, "").find(by),
        }
    });
    known.collect()
}

fn units(status: &MirrorStatus, told: &MirrorSummary) -> Vec<Unit> {
    let is_served = |id: &str| {
        let mut regions = told.regions.iter();
        regions.any(|region| region.snapshot.as_deref() == Some(id))
    };
    let served = status.units.iter().filter(|unit| is_served(&unit.snapshot));
    let units = served.map(|unit| Unit {
        unit: unit.unit.clone(),
        snapshot: unit.snapshot.clone(),
        date: unit.date.as_ref().map(|at| at.0),
        valid_until: unit.valid_until.as_ref().map(|at| at.0),
        behind_since: unit.superseded_at.as_ref().map(|at| at.0),
    });
    units.collect()
}
