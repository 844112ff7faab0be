//! The same as JSON. Names of fields are API.

use fleet_plan::summary::MirrorSummary;
use jiff::Timestamp;
use serde::Serialize;

use crate::asked::Asked;
use crate::board::{Board, Fleet};
use crate::history::Strip;
use crate::row::Mood;

/// A part of the list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct List<'a> {
    told_at: Timestamp,
    /// False while a cluster's objects are being listed.
    complete: bool,
    /// Who tells.
    teller: &'a str,
    /// What the teller does not know; empty where there is nothing.
    caveat: &'a str,
    /// How many Mirrors there are.
    all: usize,
    trouble: usize,
    held: usize,
    well: usize,
    syncing: usize,
    /// How many were asked for.
    found: usize,
    page: usize,
    pages: usize,
    mirrors: Vec<Line>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    #[serde(flatten)]
    summary: MirrorSummary,
    /// `trouble`, `held` or `well`.
    mood: &'static str,
    content: String,
    /// The worst of its regions by hour; see [`Strip::letters`].
    #[serde(skip_serializing_if = "Option::is_none")]
    hours: Option<String>,
}

impl<'a> List<'a> {
    pub fn of(board: &Board, fleet: &'a Fleet, asked: &Asked, now: Timestamp) -> List<'a> {
        let part = asked.part(fleet);
        let rows = part
            .places
            .iter()
            .filter_map(|place| fleet.rows.get(*place));
        let mirrors = rows.map(|row| Line {
            summary: board.shown(&row.summary),
            mood: row.mood.word(),
            content: row.content.clone(),
            hours: Strip::worst(&board.strips(row, now)).map(|worst| worst.letters()),
        });
        List {
            told_at: fleet.told_at,
            complete: fleet.complete,
            teller: &fleet.teller,
            caveat: &fleet.caveat,
            all: fleet.rows.len(),
            trouble: fleet.count(Mood::Trouble),
            held: fleet.count(Mood::Held),
            well: fleet.count(Mood::Well),
            syncing: fleet.running.len(),
            found: part.found,
            page: part.page,
            pages: part.pages,
            mirrors: mirrors.collect(),
        }
    }
}
