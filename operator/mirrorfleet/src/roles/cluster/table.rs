//! The fleet on a page of a hundred columns: a line for each region, and below each Mirror what is wrong and what is held.

use fleet_api::RegionState;
use fleet_plan::summary::{Lag, MirrorSummary, Note, Program, RegionSummary, RunSummary, span};
use fleet_types::{Reason, are, counted};
use jiff::Timestamp;

use super::terminal::{Colour, Colours, wrap};

/// What a page may have.
const WIDTH: usize = 100;
/// A column that gives way keeps so much.
const LEAST: usize = 8;
/// Lines of a note; `why` has the rest.
const NOTE_LINES: usize = 3;

/// How the page is written.
#[derive(Debug, Clone)]
pub struct Page<'a> {
    /// Whether namespaces are shown.
    pub everywhere: bool,
    /// More columns, notes in full, no limit of width.
    pub wide: bool,
    pub colours: Colours,
    pub program: &'a Program,
    pub now: Timestamp,
}

type Cell = (String, Colour);

const HEAD: [&str; 7] = [
    "MIRROR",
    "REGION",
    "STATE",
    "LAG/OBJECTIVE",
    "SYNCED",
    "NEXT",
    "RUNS NOW",
];
const WIDE: [&str; 4] = ["UPSTREAM", "SNAPSHOT", "FAILURES", "URL"];

impl Page<'_> {
    /// The whole page.
    pub fn render(&self, mirrors: &[MirrorSummary]) -> String {
        let mut text = self.head_and_rows(mirrors, true);
        text.push_str(&self.foot(mirrors));
        text
    }

    /// The lines of some Mirrors, with or without the head.
    pub fn head_and_rows(&self, mirrors: &[MirrorSummary], head: bool) -> String {
        let rows: Vec<Vec<Vec<Cell>>> = mirrors.iter().map(|mirror| self.rows(mirror)).collect();
        let mut titles: Vec<Cell> = HEAD.iter().map(|title| bold(title)).collect();
        if self.wide {
            titles.extend(WIDE.iter().map(|title| bold(title)));
        }
        let widths = self.widths(rows.iter().flatten().chain([&titles]));
        let mut text = String::new();
        if head {
            self.line(&mut text, &titles, &widths);
        }
        for (mirror, rows) in mirrors.iter().zip(&rows) {
            for row in rows {
                self.line(&mut text, row, &widths);
            }
            self.notes(&mut text, mirror);
        }
        text
    }

    fn rows(&self, mirror: &MirrorSummary) -> Vec<Vec<Cell>> {
        let name = match self.everywhere {
            true => format!("{}/{}", mirror.namespace, mirror.mirror),
            false => mirror.mirror.clone(),
        };
        let mut rows: Vec<Vec<Cell>> = (mirror.regions.iter())
            .map(|region| self.row(mirror, region))
            .collect();
        if rows.is_empty() {
            rows.push(vec![plain(""), plain("-"), plain("-")]);
        }
        rows[0][0] = bold(&name);
        rows
    }

    fn row(&self, mirror: &MirrorSummary, region: &RegionSummary) -> Vec<Cell> {
        let mut cells = vec![
            plain(""),
            plain(&region.region),
            state(region),
            lag(mirror, region),
            plain(&self.ago(region.last_success)),
            plain(&self.until(mirror.next_sync)),
            plain(
                &region
                    .run
                    .as_ref()
                    .map(|run| self.run(run))
                    .unwrap_or_default(),
            ),
        ];
        if self.wide {
            let snapshot = region.snapshot.as_deref().map_or("-", crate::report::short);
            cells.extend([
                plain(&mirror.upstream),
                plain(snapshot),
                plain(&region.failures.to_string()),
                plain(region.url.as_deref().unwrap_or("-")),
            ]);
        }
        cells
    }

    fn ago(&self, at: Option<Timestamp>) -> String {
        at.map_or("never".to_owned(), |at| {
            format!("{} ago", span(self.now.duration_since(at).as_secs()))
        })
    }

    fn until(&self, at: Option<Timestamp>) -> String {
        match at.map(|at| at.duration_since(self.now).as_secs()) {
            None => "-".to_owned(),
            Some(seconds) if seconds <= 0 => "now".to_owned(),
            Some(seconds) => format!("in {}", span(seconds)),
        }
    }

    fn run(&self, run: &RunSummary) -> String {
        let since = span(self.now.duration_since(run.started_at).as_secs());
        match &run.progress {
            Some(progress) => progress.to_string(),
            None => format!("sync, for {since}"),
        }
    }

    /// What each column takes; on a page that is not wide, names give way.
    fn widths<'r>(&self, rows: impl Iterator<Item = &'r Vec<Cell>>) -> Vec<usize> {
        let mut widths: Vec<usize> = Vec::new();
        for row in rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, (text, _)) in widths.iter_mut().zip(row) {
                *width = (*width).max(text.chars().count());
            }
        }
        let gaps = 2 * widths.len().saturating_sub(1);
        while !self.wide && widths.iter().sum::<usize>() + gaps > WIDTH {
            let names = widths.iter_mut().take(2);
            match names.max_by_key(|width| **width) {
                Some(width) if *width > LEAST => *width -= 1,
                _ => break,
            }
        }
        widths
    }

    fn line(&self, text: &mut String, cells: &[Cell], widths: &[usize]) {
        let mut line = String::new();
        let last = cells.iter().rposition(|(text, _)| !text.is_empty());
        for (index, ((cell, colour), width)) in cells.iter().zip(widths).enumerate() {
            if last.is_none_or(|last| index > last) {
                break;
            }
            let cell = cut(cell, *width);
            line.push_str(&self.colours.paint(*colour, &cell));
            if Some(index) != last {
                line.push_str(&" ".repeat(width - cell.chars().count() + 2));
            }
        }
        text.push_str(&line);
        text.push('\n');
    }

    fn notes(&self, text: &mut String, mirror: &MirrorSummary) {
        for note in &mirror.problems {
            let (mark, colour) = match is_on_its_way(note.reason) {
                true => ('~', Colour::Yellow),
                false => ('!', Colour::Red),
            };
            self.note(text, note, mark, colour);
        }
        for note in &mirror.held {
            self.note(text, note, '-', Colour::Yellow);
        }
        let endpoints = mirror.endpoints.iter();
        for endpoint in endpoints.filter(|endpoint| self.wide || endpoint.is_trouble()) {
            let words = endpoint.words(self.now);
            let line = format!("endpoint {}: {words}", endpoint.endpoint);
            for (index, line) in wrap(&line, WIDTH - 4).iter().enumerate() {
                let mark = if index == 0 { '·' } else { ' ' };
                text.push_str(&format!("  {mark} {line}\n"));
            }
        }
    }

    fn note(&self, text: &mut String, note: &Note, mark: char, colour: Colour) {
        let since = note.since.map(|since| {
            let ago = span(self.now.duration_since(since).as_secs());
            format!(", for {ago}")
        });
        let head = format!("{}{}", note.reason, since.unwrap_or_default());
        let mut lines = wrap(&format!("{head}: {}", note.message), WIDTH - 4);
        if !self.wide && lines.len() > NOTE_LINES {
            lines.truncate(NOTE_LINES);
            let last = lines.last_mut().into_iter();
            last.for_each(|line| *line = cut(&format!("{line} …"), WIDTH - 4));
        }
        for (index, line) in lines.iter().enumerate() {
            let (mark, line) = match index {
                0 => {
                    let word = note.reason.as_str();
                    let rest = line.strip_prefix(word).unwrap_or_default();
                    (mark, format!("{}{rest}", self.colours.paint(colour, word)))
                }
                _ => (' ', line.clone()),
            };
            let mark = self.colours.paint(colour, &mark.to_string());
            text.push_str(&format!("  {mark} {line}\n"));
        }
    }

    fn foot(&self, mirrors: &[MirrorSummary]) -> String {
        let unwell: Vec<_> = mirrors.iter().filter(|mirror| !mirror.well).collect();
        let all = counted(mirrors.len(), "Mirror");
        let Some(first) = unwell.first() else {
            let words = if mirrors.len() == 1 {
                " is well"
            } else {
                ", all are well"
            };
            return self.colours.paint(Colour::Faint, &format!("{all}{words}")) + "\n";
        };
        let command = self.program.ours("why", &first.mirror, &first.namespace);
        let text = match mirrors.len() {
            1 => format!("`{command}` tells what to do"),
            _ => format!(
                "{} of {all} {} not well: `{command}` tells what to do",
                unwell.len(),
                are(unwell.len())
            ),
        };
        self.colours.paint(Colour::Faint, &text) + "\n"
    }
}

/// What time alone will change as a rule.
fn is_on_its_way(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Progressing
            | Reason::FirstSyncPending
            | Reason::FirstSyncRunning
            | Reason::WaitingForTurn
            | Reason::Copying
            | Reason::Joining
    )
}

fn state(region: &RegionSummary) -> Cell {
    let (word, colour) = match region.state {
        RegionState::Pending => ("Pending", Colour::Yellow),
        RegionState::Syncing => ("Syncing", Colour::Yellow),
        RegionState::Serving => ("Serving", Colour::Green),
        RegionState::Joining => ("Joining", Colour::Yellow),
        RegionState::Stale => ("Stale", Colour::Red),
        RegionState::Withdrawn => ("Withdrawn", Colour::Red),
        RegionState::Unknown => ("Unknown", Colour::Red),
    };
    match &region.replicas {
        Some(replicas) => (format!("{word} {replicas}"), colour),
        None => (word.to_owned(), colour),
    }
}

fn lag(mirror: &MirrorSummary, region: &RegionSummary) -> Cell {
    let objective = i64::try_from(mirror.objective_seconds).unwrap_or(i64::MAX);
    let limit = span(objective);
    match (region.lag, region.behind_seconds) {
        (Lag::Current, _) => plain(&format!("0/{limit}")),
        (Lag::Assumed, _) => plain("assumed"),
        (Lag::Unknown, _) | (Lag::Behind, None) => plain("unknown"),
        (Lag::Behind, Some(seconds)) => {
            let late = if seconds > objective {
                Colour::Red
            } else {
                Colour::Yellow
            };
            (format!("{}/{limit}", span(seconds)), late)
        }
    }
}

fn plain(text: &str) -> Cell {
    (text.to_owned(), Colour::Plain)
}

fn bold(text: &str) -> Cell {
    (text.to_owned(), Colour::Bold)
}

/// At most so many characters, the last of them a sign that something is missing.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests;
