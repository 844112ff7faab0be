//! Why a body is not taken, and what a fetch says of it.

use fleet_types::{Digest, Problem, counted};

use super::super::{FailureKind, FetchError};

/// Why a body is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkError {
    /// More bytes than promised.
    TooLong {
        limit: u64,
        exact: bool,
    },
    /// The end came before the promised size.
    TooShort {
        expected: u64,
        found: u64,
    },
    /// All bytes are there, and they are not the promised ones.
    WrongDigest {
        expected: Box<Digest>,
        found: Box<Digest>,
    },
    /// The same, and the beginning came with an earlier answer.
    WrongMixture {
        expected: Box<Digest>,
        found: Box<Digest>,
    },
    Store(Problem),
}

impl SinkError {
    /// The same, about a file that was fetched from `url`.
    pub(crate) fn at(self, url: &str) -> FetchError {
        let (kind, text) = match self {
            SinkError::TooLong { limit, exact: true } => (
                FailureKind::Mismatch,
                format!("more than its index promises, {}", counted(limit, "byte")),
            ),
            SinkError::TooLong {
                limit,
                exact: false,
            } => (
                FailureKind::TooLarge,
                format!(
                    "larger than {}, the most that such a file may have",
                    counted(limit, "byte")
                ),
            ),
            SinkError::TooShort { expected, found } => (
                FailureKind::Broken,
                format!(
                    "the body ended after {found} of {}",
                    counted(expected, "byte")
                ),
            ),
            SinkError::WrongDigest { expected, found } => (
                FailureKind::Mismatch,
                format!("the content has digest {found}, its index promises {expected}"),
            ),
            SinkError::WrongMixture { expected, found } => (
                FailureKind::MixedMismatch,
                format!(
                    "continued after what came with an earlier answer, the content has digest {found}, its index promises {expected}"
                ),
            ),
            SinkError::Store(problem) => {
                return FetchError::new(FailureKind::Local(problem.clone()), problem.message);
            }
        };
        FetchError::new(kind, format!("{url}: {text}"))
    }
}
