//! The index files that verified roots list: which of them are here, which the upstream lacks, which are left out.

use std::collections::BTreeMap;

use fleet_formats::seam::{IndexFile, IndexGroup};
use fleet_store::EntryState;
use fleet_types::{Digest, Reason, Sha256};

use super::list::Listed;
use super::run::Run;
use crate::Problem;
use crate::fetch::{Arrival, Delivery, FailureKind, FetchError, Sink, Want};

/// One index file of a unit, after everything was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Presence {
    Here {
        digest: Sha256,
        modified: Option<i64>,
    },
    /// Listed, and nobody has it.
    Absent,
    Excluded,
}

/// A unit whose state is listed and whose indices are all accounted for.
pub(super) struct Advance {
    pub listed: Listed,
    /// By group and file, in the order of the listing.
    pub presence: Vec<Vec<Presence>>,
}

/// Which file of which unit a request is for.
#[derive(Debug, Clone, Copy)]
struct Place {
    unit: usize,
    group: usize,
    file: usize,
}

/// What is known so far: none is still to be fetched.
type Table = Vec<Vec<Vec<Option<Presence>>>>;

impl Run {
    /// Fetches what is missing of the indices of several units. The outcome of each, in the same order.
    pub(super) async fn fetch_indices(
        &self,
        listed: Vec<Listed>,
    ) -> Result<Vec<Result<Advance, (Problem, Box<Listed>)>>, Problem> {
        let mut table: Table = listed
            .iter()
            .map(|unit| self.known_presence(unit))
            .collect();
        let missing = missing(&table);
        let bytes = missing
            .iter()
            .filter_map(|place| file_at(&listed, *place))
            .map(|file| file.expected.size);
        self.preflight_sizes(bytes)?;
        let wants = missing
            .iter()
            .enumerate()
            .filter_map(|(tag, place)| Some(Ok(self.index_want(tag, file_at(&listed, *place)?))));
        let mut problems: BTreeMap<usize, Problem> = BTreeMap::new();
        let mut deliver = |delivery: Delivery| {
            let Some(place) = usize::try_from(delivery.tag)
                .ok()
                .and_then(|tag| missing.get(tag))
            else {
                return Ok(());
            };
            match settle(delivery.result) {
                Ok(presence) => {
                    if let Presence::Here { digest, .. } = &presence {
                        self.shelves.damage.arrived(digest);
                    }
                    self.count_files(u64::from(matches!(presence, Presence::Here { .. })));
                    set(&mut table, *place, presence);
                }
                Err(problem) => {
                    problems.entry(place.unit).or_insert(problem);
                }
            }
            Ok(())
        };
        self.fetcher
            .fetch_all(
                futures::stream::iter(wants.collect::<Vec<_>>()),
                &mut deliver,
            )
            .await?;
        self.make_durable().await?;
        let settled = listed
            .into_iter()
            .zip(table)
            .enumerate()
            .map(|(unit, (listed, row))| match problems.remove(&unit) {
                Some(problem) => Err((problem, Box::new(listed))),
                None => complete(listed, row),
            });
        Ok(settled.collect())
    }

    fn index_want(&self, tag: usize, file: &IndexFile) -> Want {
        let sources = if file.sources.is_empty() {
            vec![file.path.clone()]
        } else {
            file.sources.clone()
        };
        Want {
            tag: tag as u64,
            sources,
            only: None,
            validators: None,
            sink: Sink::stored(file.expected, self.writers.clone()),
        }
    }

    fn known_presence(&self, listed: &Listed) -> Vec<Vec<Option<Presence>>> {
        let of_group = |group: &IndexGroup| {
            group
                .files
                .iter()
                .map(|file| self.known_file(group, file))
                .collect()
        };
        listed.index.groups.iter().map(of_group).collect()
    }

    /// What can be said of an index file without asking for it.
    fn known_file(&self, group: &IndexGroup, file: &IndexFile) -> Option<Presence> {
        // What lists payload cannot be left out: without it nobody knows what is complete.
        if !group.lists_payload && self.exclude.is_match(file.path.as_str()) {
            return Some(Presence::Excluded);
        }
        let before = self
            .base
            .as_ref()
            .and_then(|base| base.snapshot.get(file.path.as_str()));
        let before = before.filter(|entry| match file.expected.digest {
            Digest::Sha256(digest) => entry.digest == digest,
            Digest::Sha512(digest) => entry.sha512 == Some(digest),
            _ => false,
        });
        match before {
            Some(entry)
                if entry.state == EntryState::Present
                    && self.shelves.has(&entry.digest, entry.size) =>
            {
                Some(Presence::Here {
                    digest: entry.digest,
                    modified: Some(entry.mtime),
                })
            }
            // Asked for once; the same content does not appear later.
            Some(entry) if entry.state == EntryState::AbsentUpstream => Some(Presence::Absent),
            _ => self
                .shelves
                .has_expected(&file.expected)
                .map(|digest| Presence::Here {
                    digest,
                    modified: None,
                }),
        }
    }
}

fn missing(table: &Table) -> Vec<Place> {
    let mut missing = Vec::new();
    for (unit, groups) in table.iter().enumerate() {
        for (group, files) in groups.iter().enumerate() {
            let open = files
                .iter()
                .enumerate()
                .filter(|(_, presence)| presence.is_none());
            missing.extend(open.map(|(file, _)| Place { unit, group, file }));
        }
    }
    missing
}

fn file_at(listed: &[Listed], place: Place) -> Option<&IndexFile> {
    listed
        .get(place.unit)?
        .index
        .groups
        .get(place.group)?
        .files
        .get(place.file)
}

fn set(table: &mut Table, place: Place, presence: Presence) {
    let slot = table
        .get_mut(place.unit)
        .and_then(|groups| groups.get_mut(place.group))
        .and_then(|files| files.get_mut(place.file));
    if let Some(slot) = slot {
        *slot = Some(presence);
    }
}

fn settle(result: Result<Arrival, FetchError>) -> Result<Presence, Problem> {
    match result {
        Ok(Arrival::Complete(received)) => Ok(Presence::Here {
            digest: received.digest,
            modified: received.modified,
        }),
        Ok(Arrival::NotModified) => Err(Problem::new(
            Reason::UpstreamUnreachable,
            "an answer 304 to a request without conditions",
        )),
        // What an endpoint that is away may have besides does not count.
        Err(error)
            if error.missing && (error.kind == FailureKind::NotFound || error.is_transient()) =>
        {
            Ok(Presence::Absent)
        }
        Err(error) => Err(error.into()),
    }
}

/// A group is complete with one verified form of its content; the others may be missing upstream. A group of which
/// nothing is there is a fault only where the format requires it.
fn complete(
    listed: Listed,
    row: Vec<Vec<Option<Presence>>>,
) -> Result<Advance, (Problem, Box<Listed>)> {
    let presence: Vec<Vec<Presence>> = row
        .into_iter()
        .map(|files| {
            files
                .into_iter()
                .map(|file| file.unwrap_or(Presence::Absent))
                .collect()
        })
        .collect();
    let lacking = listed
        .index
        .groups
        .iter()
        .zip(&presence)
        .find(|(group, files)| group.required && !has_form(files));
    if let Some((group, _)) = lacking {
        let text = format!(
            "the upstream has no form of {}, which its signed index lists; it is incomplete at the moment",
            group.stem
        );
        return Err((
            Problem::new(Reason::UpstreamIncomplete, text),
            Box::new(listed),
        ));
    }
    Ok(Advance { listed, presence })
}

/// Whether some form of a group's content is here and verified.
pub(super) fn has_form(files: &[Presence]) -> bool {
    files
        .iter()
        .any(|file| matches!(file, Presence::Here { .. }))
}
