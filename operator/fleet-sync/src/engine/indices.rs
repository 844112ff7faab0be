//! The index files that verified roots list: which of them are here, which the upstream lacks, which are left out.

use std::collections::BTreeSet;

use fleet_fetch::{Arrival, Delivery, FailureKind, FetchError, Sink, Want};
use fleet_formats::seam::{Compression, IndexFile, IndexGroup};
use fleet_store::{Entry, EntryState};
use fleet_types::{Digest, RepoPath, are, counted};

use super::list::Listed;
use super::preflight::preflight_sizes;
use super::presence::{Found, Presence, settle};
use super::root::Root;
use super::run::Ground;
use super::upstream::Upstream;
use super::watch::Watch;
use crate::Problem;

/// Notes of one unit about files that are left out; what is beyond is counted.
const MOST_NOTES: usize = 5;

/// A unit whose state is listed and whose indices are all accounted for.
pub(super) struct Advance {
    pub listed: Listed,
    /// By group and file, in the order of the listing.
    pub presence: Vec<Vec<Presence>>,
}

impl Advance {
    /// Of the indices that list payload, each in the form that is read.
    pub fn listing_bytes(&self) -> u64 {
        let groups = self.listed.index.groups.iter().zip(&self.presence);
        let size = |(group, files): (&IndexGroup, &Vec<Presence>)| {
            let mut files = group.files.iter().zip(files);
            let here = files.find(|(_, presence)| matches!(presence, Presence::Here { .. }))?;
            Some(here.0.expected.size).filter(|_| group.lists_payload)
        };
        groups.filter_map(size).sum()
    }
}

/// Which file of which unit a request is for.
#[derive(Debug, Clone, Copy)]
struct Place {
    unit: usize,
    group: usize,
    file: usize,
}

/// A file that is to be fetched, and how.
struct Missing<'a> {
    place: Place,
    file: &'a IndexFile,
    sources: &'a [RepoPath],
    likely_missing: bool,
}

/// What is known so far: none is still to be fetched.
type Table = Vec<Vec<Vec<Option<Found>>>>;

/// Fetches what is missing of the indices of several units; `absent` was asked for already in this run. The outcome
/// of each, in the same order.
pub(super) async fn fetch_indices(
    ground: &Ground,
    upstream: &Upstream,
    listed: Vec<Listed>,
    absent: &BTreeSet<RepoPath>,
) -> Result<Vec<Result<Advance, (Problem, Box<Listed>)>>, Problem> {
    keep_what_was_read(ground, &listed)?;
    let mut table: Table = listed
        .iter()
        .map(|unit| known_presence(ground, unit, absent))
        .collect();
    let missing = missing(ground, &listed, &table);
    preflight_sizes(ground, missing.iter().map(|it| it.file.expected.size))?;
    fetch(ground, upstream, &missing, &mut table).await?;
    let doubtful = doubtful(&listed, &table, missing);
    fetch(ground, upstream, &doubtful, &mut table).await?;
    let settled = listed
        .into_iter()
        .zip(table)
        .map(|(listed, row)| complete(ground, listed, row));
    Ok(settled.collect())
}

/// Fetches these, and notes what came of it.
async fn fetch(
    ground: &Ground,
    upstream: &Upstream,
    missing: &[Missing<'_>],
    table: &mut Table,
) -> Result<(), Problem> {
    if missing.is_empty() {
        return Ok(());
    }
    let want = |(tag, missing): (usize, &Missing<'_>)| {
        Ok(Want {
            tag: tag as u64,
            sources: missing.sources.to_vec(),
            only: None,
            validators: None,
            likely_missing: missing.likely_missing,
            sink: Sink::stored(missing.file.expected, upstream.writers.clone()),
        })
    };
    let wants = missing.iter().enumerate().map(want).collect();
    let mut deliver = |delivery: Delivery| {
        let tag = usize::try_from(delivery.tag).ok();
        let Some(missing) = tag.and_then(|tag| missing.get(tag)) else {
            return Ok(());
        };
        let found = found(delivery.result);
        if let Found::Known(Presence::Here { digest, .. }) = &found {
            ground.stock.shelves.damage.arrived(digest);
            ground.watch.count_files(1);
        }
        set(table, missing.place, found);
        Ok(())
    };
    let damage = &ground.stock.shelves.damage;
    upstream.fetch_durably(damage, wants, &mut deliver).await
}

/// Indices that were read to learn the state need not be asked for again.
fn keep_what_was_read(ground: &Ground, listed: &[Listed]) -> Result<(), Problem> {
    let of = |listed: &'_ Listed| {
        let files = listed.index.groups.iter().flat_map(|group| &group.files);
        let read: BTreeSet<Digest> = files.map(|file| file.expected.digest).collect();
        move |root: &&Root| read.contains(&Digest::Sha256(root.content.sha256))
    };
    let roots = listed.iter();
    let roots = roots.flat_map(|listed| listed.roots.iter().filter(of(listed)));
    ground.stock.shelves.keep_roots(roots)
}

fn known_presence(
    ground: &Ground,
    listed: &Listed,
    absent: &BTreeSet<RepoPath>,
) -> Vec<Vec<Option<Found>>> {
    let of_group = |group: &IndexGroup| {
        let excludes = excludes_of(ground, &listed.index.revision.unit, group);
        let files = group.files.iter();
        files
            .map(|file| known_file(ground, &listed.roots, file, excludes, absent).map(Found::Known))
            .collect()
    };
    listed.index.groups.iter().map(of_group).collect()
}

/// Whether the manifest's rules count for a group: not where they would leave out the last form of what nobody can
/// do without, since without it nobody knows what is complete.
fn excludes_of(ground: &Ground, unit: &str, group: &IndexGroup) -> bool {
    let is_excluded = |file: &IndexFile| ground.rules.exclude.is_match(file.path.as_str());
    let needed = group.required && group.lists_payload;
    let all = needed && group.files.iter().all(is_excluded);
    if all {
        let note = format!(
            "content.exclude names every form of {}: it is copied all the same, since clients cannot do without it; leave \
                 out its suite, component or architecture instead",
            group.stem
        );
        ground.watch.note(unit, &note);
    }
    !all
}

/// What can be said of an index file without asking for it. One that was read as a root has that root's date.
fn known_file(
    ground: &Ground,
    roots: &[Root],
    file: &IndexFile,
    excludes: bool,
    absent: &BTreeSet<RepoPath>,
) -> Option<Presence> {
    if excludes && ground.rules.exclude.is_match(file.path.as_str()) {
        return Some(Presence::Excluded);
    }
    if absent.contains(&file.path) {
        return Some(Presence::Absent);
    }
    let before = ground.stock.entry(&file.path);
    let before = before.filter(|entry| is_same(entry, file));
    match before {
        Some(entry)
            if entry.state == EntryState::Present
                && ground.stock.shelves.has(&entry.digest, entry.size) =>
        {
            Some(Presence::Here {
                digest: entry.digest,
                modified: Some(entry.mtime),
            })
        }
        _ => ground
            .stock
            .shelves
            .has_expected(&file.expected)
            .map(|digest| {
                let mut read = roots.iter();
                let root = read.find(|root| root.content.sha256 == digest);
                Presence::Here {
                    digest,
                    modified: root.and_then(|root| root.modified),
                }
            }),
    }
}

fn complete(
    ground: &Ground,
    listed: Listed,
    row: Vec<Vec<Option<Found>>>,
) -> Result<Advance, (Problem, Box<Listed>)> {
    let with_credentials = ground.rules.options.access.credentials.is_some();
    let (mut presence, mut notes) = (Vec::new(), Vec::new());
    for (group, files) in listed.index.groups.iter().zip(row) {
        let unasked = || Found::Known(Presence::Absent);
        let files = files.into_iter().map(|found| found.unwrap_or_else(unasked));
        match settle(group, files.collect(), with_credentials) {
            Ok((files, said)) => {
                presence.push(files);
                notes.extend(said);
            }
            Err(problem) => return Err((problem, Box::new(listed))),
        }
    }
    notes_of(&ground.watch, &listed.index.revision.unit, notes);
    Ok(Advance { listed, presence })
}

/// Notes the first of them, and how many more there are.
pub(super) fn notes_of(watch: &Watch, unit: &str, notes: Vec<String>) {
    let more = notes.len().saturating_sub(MOST_NOTES);
    for note in notes.into_iter().take(MOST_NOTES) {
        watch.note(unit, &note);
    }
    if more > 0 {
        let files = counted(more, "more index file");
        watch.note(unit, &format!("{files} {} left out", are(more)));
    }
}

/// Whether an entry of the base is about the content that is listed now.
pub(super) fn is_same(entry: &Entry, file: &IndexFile) -> bool {
    match file.expected.digest {
        Digest::Sha256(digest) => entry.digest == digest,
        Digest::Sha512(digest) => entry.sha512 == Some(digest),
        Digest::Md5(_) | Digest::Sha1(_) => false,
    }
}

fn missing<'a>(ground: &Ground, listed: &'a [Listed], table: &Table) -> Vec<Missing<'a>> {
    let mut missing = Vec::new();
    for (unit, (listed, groups)) in listed.iter().zip(table).enumerate() {
        for (group, (named, files)) in listed.index.groups.iter().zip(groups).enumerate() {
            let habits: Vec<Habit> = named
                .files
                .iter()
                .map(|file| habit(ground, named, file))
                .collect();
            // Of the last form somebody may need nothing is expected.
            let some_usual = habits.contains(&Habit::Usual);
            for (file, (named, habit)) in named.files.iter().zip(habits).enumerate() {
                if files.get(file).is_some_and(Option::is_some) {
                    continue;
                }
                missing.push(Missing {
                    place: Place { unit, group, file },
                    file: named,
                    sources: match habit {
                        Habit::Lacked if some_usual => std::slice::from_ref(&named.path),
                        _ => names(named),
                    },
                    likely_missing: some_usual && habit != Habit::Usual,
                });
            }
        }
    }
    missing
}

/// Whether an upstream is likely to have a form of an index that it lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    Usual,
    /// Archives list it for who decompresses, and most of them do not have it.
    Rare,
    /// It had not by any of its names when we last asked.
    Lacked,
}

fn habit(ground: &Ground, group: &IndexGroup, file: &IndexFile) -> Habit {
    match ground.stock.entry(&file.path).map(|entry| entry.state) {
        Some(EntryState::AbsentUpstream) => Habit::Lacked,
        None if file.compression == Compression::None && group.files.len() > 1 => Habit::Rare,
        _ => Habit::Usual,
    }
}

fn names(file: &IndexFile) -> &[RepoPath] {
    match file.sources.as_slice() {
        [] => std::slice::from_ref(&file.path),
        sources => sources,
    }
}

/// What nobody can do without is not given up for an answer that was expected: each form is asked for by all its names.
fn doubtful<'a>(
    listed: &'a [Listed],
    table: &Table,
    missing: Vec<Missing<'a>>,
) -> Vec<Missing<'a>> {
    let is_needed = |place: Place| {
        let group = listed.get(place.unit)?.index.groups.get(place.group)?;
        let files = table.get(place.unit)?.get(place.group)?;
        let is_here =
            |file: &Option<Found>| matches!(file, Some(Found::Known(Presence::Here { .. })));
        Some(group.required && !files.iter().any(is_here))
    };
    let doubted = missing
        .into_iter()
        .filter(|it| it.likely_missing && is_needed(it.place) == Some(true));
    let asked = |missing: Missing<'a>| Missing {
        sources: names(missing.file),
        likely_missing: false,
        ..missing
    };
    doubted.map(asked).collect()
}

fn set(table: &mut Table, place: Place, found: Found) {
    let slot = table
        .get_mut(place.unit)
        .and_then(|groups| groups.get_mut(place.group))
        .and_then(|files| files.get_mut(place.file));
    if let Some(slot) = slot {
        *slot = Some(found);
    }
}

fn found(result: Result<Arrival, FetchError>) -> Found {
    match result {
        Ok(Arrival::Complete(received)) => Found::Known(Presence::Here {
            digest: received.digest,
            modified: received.modified,
        }),
        Ok(Arrival::NotModified) => Found::Failed(FetchError::new(
            FailureKind::Broken,
            "an answer 304 to a request without conditions",
        )),
        Err(error) => Found::Failed(error),
    }
}
