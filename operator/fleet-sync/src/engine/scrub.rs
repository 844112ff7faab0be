//! Looking for rot, a little in each run.
//!
//! The runs of a store are the only ones that may write to it, so they look too: after everything else, when what is new
//! is served already. How much is due follows from how much of a pass's time is over; how long a run may take for it,
//! and how fast it reads, has a bound. What is found is fetched again in the same run.

use std::time::{Duration, Instant};

use fleet_store::Share;
use fleet_types::documents::{ScrubState, UnixSeconds};
use fleet_types::{Sha256, counted};

use super::blocking::blocking;
use super::repair::repair;
use super::run::Ground;
use super::upstream::Upstream;
use crate::scrub::{due, share_at, share_before};
use crate::{Phase, Problem};

/// Bytes a second that are read at most: clients read from the same disk.
const BANDWIDTH: u64 = 64 << 20;
/// Of one run. With hourly runs that is two terabytes within five days.
const LONGEST: Duration = Duration::from_secs(300);

/// Checks what is due, and repairs what is found. What people should know of it, if anything.
pub(super) async fn scrub(ground: &Ground, upstream: &Upstream) -> Result<Option<String>, Problem> {
    let at = ground.clone();
    let damaged = blocking(move || look_for_rot(&at)).await?;
    if damaged == 0 {
        return Ok(None);
    }
    repair(ground, upstream).await?;
    let shelves = ground.stock.shelves.clone();
    blocking(move || shelves.settle_damage()).await?;
    let left = ground.stock.shelves.damage.count();
    let rest = match left {
        0 if damaged == 1 => "it was fetched again".to_owned(),
        0 => "they were fetched again".to_owned(),
        left => format!("{left} of them cannot be had again for now"),
    };
    Ok(Some(format!(
        "{} had rotted; {rest}",
        counted(damaged, "stored file")
    )))
}

fn look_for_rot(ground: &Ground) -> Result<u64, Problem> {
    let writer = &ground.stock.shelves.writer;
    let known: Option<ScrubState> = writer.take_state(ScrubState::DOCUMENT)?;
    let Some(mut state) = due(known.unwrap_or_default(), ground.rules.now) else {
        return Ok(0);
    };
    let fresh = state.started_at.0 == ground.rules.now;
    if !fresh {
        ground.watch.progress.phase(Phase::Check);
        let mut share = check_share(ground, &state)?;
        share
            .damaged
            .retain(|(digest, _)| !ground.stock.shelves.damage.is_lost(digest));
        for (digest, problem) in &share.damaged {
            tracing::error!(blob = %digest, problem, "a stored file has rotted");
            ground.stock.shelves.damage.found(*digest);
        }
        state = taken(state, &share, ground.rules.now);
        // Before the note of how far it came: a run that is killed must not forget what it found.
        ground.stock.shelves.settle_damage()?;
        writer.state_write(ScrubState::DOCUMENT, &state)?;
        return Ok(share.damaged.len() as u64);
    }
    writer.state_write(ScrubState::DOCUMENT, &state)?;
    Ok(0)
}

fn check_share(ground: &Ground, state: &ScrubState) -> Result<Share, Problem> {
    let until = share_at(state, ground.rules.now);
    let (began, mut read) = (Instant::now(), 0u64);
    let mut go_on = |digest: &Sha256, bytes: u64| {
        read += bytes;
        let earliest = Duration::from_secs_f64(read as f64 / BANDWIDTH as f64);
        std::thread::sleep(earliest.saturating_sub(began.elapsed()));
        let in_time = began.elapsed() < LONGEST && ground.watch.stop.check().is_ok();
        in_time && (bytes > 0 || share_before(digest) < until)
    };
    let from = state.next.unwrap_or(Sha256([0; 32]));
    Ok(ground.stock.shelves.writer.scrub_share(&from, &mut go_on)?)
}

fn taken(state: ScrubState, share: &Share, now: i64) -> ScrubState {
    let complete = share.next.is_none();
    ScrubState {
        next: share.next,
        blobs: state.blobs + share.blobs,
        bytes: state.bytes + share.bytes,
        damaged: state.damaged + share.damaged.len() as u64,
        finished_at: if complete {
            Some(UnixSeconds(now))
        } else {
            state.finished_at
        },
        complete,
        ..state
    }
}
