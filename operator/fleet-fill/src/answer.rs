//! What is told to whoever asked for content that could not be had, and for how long to others.

use std::time::Duration;

use fleet_fetch::{FailureKind, FetchError};
use fleet_origin::{BRIEFLY, Obtained};
use fleet_types::{Outcome, Problem, Reason, counted};

use crate::content::Wanted;

/// For how long others are told the same; none of content. `age` is that of a file which there is not.
pub fn told_again_for(obtained: &Obtained, age: Duration) -> Option<Duration> {
    match obtained {
        Obtained::Blob(_) | Obtained::Bytes(_) | Obtained::Growing(_) => None,
        Obtained::Absent => Some(age),
        Obtained::Busy(wait) => Some(*wait),
        Obtained::Refused(reason, _) => match reason.outcome() {
            Outcome::Refused => Some(age),
            _ => Some(age.min(BRIEFLY)),
        },
    }
}

/// What a failure is to whoever asked.
pub fn told(error: FetchError) -> Obtained {
    match &error.kind {
        FailureKind::NotFound => Obtained::Absent,
        FailureKind::Busy {
            retry_after: Some(seconds),
        } => Obtained::Busy(Duration::from_secs(*seconds)),
        _ => refused(error.into()),
    }
}

pub fn refused(problem: Problem) -> Obtained {
    Obtained::Refused(problem.reason, problem.message)
}

pub fn no_room(wanted: &Wanted) -> Problem {
    let text = format!(
        "the volume has no room for {}, of {}",
        wanted.path,
        counted(wanted.size, "byte")
    );
    Problem::new(Reason::StorageFull, text)
}

#[cfg(test)]
mod tests {
    use fleet_types::Sha256;

    use super::*;

    #[test]
    fn what_is_about_one_file_is_told_longer_than_that_the_upstream_is_away() {
        let age = Duration::from_secs(60);
        let refused = |reason| Obtained::Refused(reason, String::new());
        for (obtained, seconds) in [
            (Obtained::Absent, Some(60)),
            (refused(Reason::DigestMismatch), Some(60)),
            (refused(Reason::UpstreamUnreachable), Some(5)),
            (Obtained::Busy(Duration::from_secs(7)), Some(7)),
            (Obtained::Blob(Sha256([1; 32])), None),
        ] {
            let told = told_again_for(&obtained, age);
            assert_eq!(told.map(|age| age.as_secs()), seconds, "{obtained:?}");
        }
    }
}
