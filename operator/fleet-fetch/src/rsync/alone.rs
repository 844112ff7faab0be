//! One file in a run of its own, under a name of ours.

use super::Endpoint;
use super::attend::{Attended, Look, stalled};
use super::finish;
use super::folder::{Folder, Found, Stamp};
use super::program::Order;
use super::verdict::{Fate, told_of};
use super::watch::{Most, Trouble, Watch};
use crate::{Arrival, FailureKind, FetchError, Request, Sink};

/// What is known of a file before it is asked for.
struct Before {
    /// So much of it is here.
    position: u64,
    /// An older one that is not here: only whether it is still that one is of interest.
    known: Option<Stamp>,
}

impl Endpoint {
    /// What is there of it already is not asked for again.
    pub(super) async fn fetch_alone(&self, request: &mut Request) -> Result<Arrival, FetchError> {
        let name = self.remote.name_of(&request.path);
        let position = request.sink.position().await.map_err(|e| e.at(&name))?;
        if position > 0 && request.sink.promised() == Some(position) {
            // An earlier run got all of it and no further.
            return finish(&mut request.sink, &name, None).await;
        }
        let known = request.validators.as_ref().and_then(Stamp::read);
        let before = Before { position, known };
        let within = self.remote.within(&request.path)?;
        let folder = Folder::new(&self.scratch)?;
        folder.prepare(position, known)?;
        let _place = self.budget.place().await;
        let order = Order {
            names: vec![within.as_str()],
            target: folder.alone(),
            largest: request.sink.limit(),
            append: position > 0,
            stall: self.stall,
            bandwidth: self.meter.bandwidth(),
        };
        let there = known.map_or(position, |known| known.size);
        // Where it goes is one entry, whatever the file is called.
        let most = Most::of(["file"].into_iter(), order.largest, there);
        let watch = Watch::new(most, self.stall, folder.extent(most.entries).await?);
        let mut attended = self.attend(&folder, &order, watch)?;
        let fate = self
            .await_alone(&mut attended, request, &before, &folder)
            .await;
        attended.end().await;
        let found = folder.open_alone().await?;
        self.judge_alone(request, &fate?, found, &before).await
    }

    async fn await_alone(
        &self,
        attended: &mut Attended<'_>,
        request: &mut Request,
        before: &Before,
        folder: &Folder,
    ) -> Result<Fate, FetchError> {
        let name = self.remote.name_of(&request.path);
        // Where the size is not known, or old content may stand there, only the end tells what has arrived.
        let follow = request.sink.promised().is_some() && before.known.is_none();
        loop {
            match attended.look().await? {
                // The whole path only where there is more than one file.
                Look::Ended(ended) => return Ok(told_of(&ended, request.path.file_name())),
                Look::Trouble(Trouble::TooMuch) => return Ok(Fate::TooLarge),
                Look::Trouble(Trouble::Stalled) => return Ok(Fate::BrokenOff(stalled(self.stall))),
                Look::GoesOn if follow => {
                    if let Some(found) = folder.open_alone().await? {
                        self.take(found, &mut request.sink, &name).await?;
                    }
                }
                Look::GoesOn => {}
            }
        }
    }

    async fn judge_alone(
        &self,
        request: &mut Request,
        fate: &Fate,
        found: Option<Found>,
        before: &Before,
    ) -> Result<Arrival, FetchError> {
        let name = &self.remote.name_of(&request.path);
        let sink = &mut request.sink;
        let Before { position, known } = *before;
        match (fate, found) {
            (Fate::Sent, Some(found)) if known.is_some_and(|known| found.stamp == known) => {
                Ok(Arrival::NotModified)
            }
            (Fate::Sent, Some(found)) if position > 0 && found.stamp.size <= position => {
                sink.restart().await.map_err(|e| e.at(name))?;
                let text = format!("{name}: the upstream's file ends at or before byte {position}");
                Err(FetchError::new(FailureKind::Broken, text))
            }
            (Fate::Sent, Some(found)) => {
                let stamp = found.stamp;
                sink.settle(Some(stamp.size))
                    .await
                    .map_err(|e| e.at(name))?;
                self.take_whole(found, sink, name).await?;
                finish(sink, name, Some(stamp)).await
            }
            (Fate::BrokenOff(_), Some(found)) if sink.promised().is_some() && known.is_none() => {
                self.take(found, sink, name).await?;
                Err(fate.error(name, sink))
            }
            (Fate::TooLarge, _) => {
                let error = self.too_large(fate, sink, name).await;
                Err(error)
            }
            _ => Err(fate.error(name, sink)),
        }
    }

    /// Nothing of it is continued.
    async fn too_large(&self, fate: &Fate, sink: &mut Sink, name: &str) -> FetchError {
        match sink.restart().await {
            Ok(()) => fate.error(name, sink),
            Err(error) => error.at(name),
        }
    }
}
