//! A run of the program that is looked after while it lasts.

use fleet_types::counted;
use std::time::{Duration, Instant};

use super::folder::Folder;
use super::program::{Ended, Running};
use super::watch::{Trouble, Watch};
use crate::pace::Pace;
use crate::{FailureKind, FetchError};

/// How often what has arrived is taken up while the program still runs.
const SWEEP: Duration = Duration::from_millis(100);

pub(super) struct Attended<'a> {
    running: Running,
    folder: &'a Folder,
    watch: Watch,
}

pub(super) enum Look {
    GoesOn,
    Ended(Ended),
    /// It is to be ended.
    Trouble(Trouble),
}

impl<'a> Attended<'a> {
    pub fn new(running: Running, folder: &'a Folder, watch: Watch) -> Attended<'a> {
        Attended {
            running,
            folder,
            watch,
        }
    }

    /// Gives it a little time, then looks.
    pub async fn look(&mut self) -> Result<Look, FetchError> {
        let since = Instant::now();
        if let Some(ended) = self.running.within(SWEEP).await {
            let failed = |e| {
                let text = format!("the program rsync cannot be waited for: {e}");
                FetchError::new(FailureKind::Broken, text)
            };
            return ended.map(Look::Ended).map_err(failed);
        }
        let waited = since.elapsed();
        let now = self.folder.extent(self.watch.most_entries()).await?;
        let trouble = self.watch.look(now, waited);
        Ok(trouble.map_or(Look::GoesOn, Look::Trouble))
    }

    /// Complete files were taken out of the folder.
    pub async fn took_up(&mut self) -> Result<(), FetchError> {
        let left = self.folder.extent(self.watch.most_entries()).await?;
        self.watch.took_up(left);
        Ok(())
    }

    /// After this nothing is written into the folder any more.
    pub async fn end(self) {
        self.running.end().await;
    }
}

pub(super) fn stalled(stall: Duration) -> FetchError {
    let text = format!(
        "fewer than {} arrived within {} s",
        counted(Pace::LEAST_BYTES, "byte"),
        stall.as_secs_f64()
    );
    FetchError::new(FailureKind::Stalled, text)
}
