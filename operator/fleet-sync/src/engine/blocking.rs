//! Work that waits for the disk, and the clock.

use fleet_types::Reason;

use crate::Problem;

/// Runs blocking work of a stage where it holds up no connection.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let lost = |e: tokio::task::JoinError| {
        Problem::new(
            Reason::StorageFailed,
            format!("a stage of the run ended before its work was done: {e}"),
        )
    };
    tokio::task::spawn_blocking(work).await.map_err(lost)?
}

/// Seconds since 1970-01-01T00:00:00Z.
pub(super) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}
