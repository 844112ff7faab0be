//! What is known of index files, and what follows where some of them cannot be had: decided without network.
//!
//! A group that is required needs one verified form. Every other form, and every group that is not required, is good to
//! have: it is left out where it is not there, and never decides about its unit.

use fleet_fetch::{FailureKind, FetchError};
use fleet_formats::seam::IndexGroup;
use fleet_types::{Outcome, Reason, Sha256};

use crate::Problem;

/// What helps where an index that clients need does not come.
const WITHOUT_IT: &str =
    "until the upstream mends that, the rest can be had without its component or architecture";

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

/// What became of one index file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    Known(Presence),
    /// Asked for in vain.
    Failed(FetchError),
}

/// Whether some form of a group's content is here and verified.
pub(super) fn has_form(files: &[Presence]) -> bool {
    files
        .iter()
        .any(|file| matches!(file, Presence::Here { .. }))
}

/// The presence of each form, and what people should know of those that are left out. Errors: where a required group
/// has no form, and where a request with credentials was refused: then nobody can tell what is there.
pub(super) fn settle(
    group: &IndexGroup,
    files: Vec<Found>,
    with_credentials: bool,
) -> Result<(Vec<Presence>, Vec<String>), Problem> {
    let is_here = |found: &Found| matches!(found, Found::Known(Presence::Here { .. }));
    let here = files.iter().any(is_here);
    let excluded = |found: &&Found| **found == Found::Known(Presence::Excluded);
    let excluded = files.iter().filter(excluded).count();
    let failures = || {
        files.iter().filter_map(|found| match found {
            Found::Failed(error) => Some(error),
            Found::Known(_) => None,
        })
    };
    if let Some(refused) = failures()
        .find(|error| with_credentials && error.kind == FailureKind::Forbidden)
        .cloned()
    {
        return Err(forbidden(group, refused));
    }
    if group.required && !here && excluded < files.len() {
        return Err(lacking(group, failures().cloned(), excluded));
    }
    let mut notes = Vec::new();
    for (file, found) in group.files.iter().zip(&files) {
        if let Found::Failed(error) = found {
            notes.extend(note(&file.path, error, here));
        }
    }
    let presence = |found| match found {
        Found::Known(presence) => presence,
        Found::Failed(_) => Presence::Absent,
    };
    Ok((files.into_iter().map(presence).collect(), notes))
}

/// What to say of a form that is left out. Nothing where the upstream simply does not have one of several: most list
/// uncompressed indices that they do not serve.
pub(super) fn note(
    path: &fleet_types::RepoPath,
    error: &FetchError,
    another_is_here: bool,
) -> Option<String> {
    let usual = is_absence(error);
    match another_is_here {
        true if usual => None,
        true => Some(format!(
            "{path} is left out, another form of it is served ({})",
            error.message
        )),
        false => Some(format!(
            "{path} is left out until it can be had ({})",
            error.message
        )),
    }
}

/// Nobody who could be asked has it.
fn is_absence(error: &FetchError) -> bool {
    error.kind == FailureKind::NotFound || (error.missing && error.is_transient())
}

fn forbidden(group: &IndexGroup, error: FetchError) -> Problem {
    let problem = Problem::from(error);
    let text = format!(
        "{}; it was asked for with credentials, so whether it is there cannot be told: check what they allow, or leave it out \
         with content.exclude: [\"{}*\"]",
        problem.message, group.stem
    );
    Problem {
        message: text,
        ..problem
    }
}

fn lacking(
    group: &IndexGroup,
    failures: impl Iterator<Item = FetchError>,
    excluded: usize,
) -> Problem {
    let left_out = match excluded {
        0 => String::new(),
        excluded => format!("; content.exclude leaves out {excluded} of its forms"),
    };
    match failures
        .filter(|error| !is_absence(error))
        .map(Problem::from)
        .reduce(Problem::worst)
    {
        Some(problem) => {
            let advice = match problem.reason.outcome() {
                // A line that failed may not fail the next time.
                Outcome::Upstream if problem.reason != Reason::UpstreamForbidden => String::new(),
                _ => format!("; {WITHOUT_IT}"),
            };
            Problem {
                message: format!(
                    "no form of {} can be had, which clients need: {}{left_out}{advice}",
                    group.stem, problem.message
                ),
                ..problem
            }
        }
        None => Problem::new(
            Reason::UpstreamIncomplete,
            format!(
                "the upstream has no form of {}, which its signed index lists{left_out}; {WITHOUT_IT}",
                group.stem
            ),
        ),
    }
}
