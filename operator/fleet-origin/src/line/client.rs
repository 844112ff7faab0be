//! The side of the server that lacks something.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use fleet_types::documents::NotKept;
use fleet_types::{Reason, Sha256, lock_read, lock_write};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::frames::Frames;
use super::{Answer, Growth, Question, Taken};
use crate::{Grower, Growing, Missing, Obtained, Origin, Wanted};

/// A process that fetches may be starting anew: it is waited for so long.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// An origin in another process.
#[derive(Debug)]
pub struct Remote {
    socket: PathBuf,
    runtime: Handle,
    /// As it was when that was last asked.
    not_kept: RwLock<BTreeMap<String, NotKept>>,
}

impl Remote {
    /// `runtime` is where it is told what was used.
    pub fn new(socket: PathBuf, runtime: Handle) -> Remote {
        Remote {
            socket,
            runtime,
            not_kept: RwLock::default(),
        }
    }

    /// Asks what cannot be kept. While nobody answers, it stays as it was.
    pub async fn look(&self) -> io::Result<()> {
        let mut frames = Frames::new(UnixStream::connect(&self.socket).await?);
        frames.send(&Question::NotKept).await?;
        *lock_write(&self.not_kept) = frames.receive().await?;
        Ok(())
    }
}

impl Origin for Remote {
    fn obtain(&self, missing: Missing<'_>) -> BoxFuture<'static, Obtained> {
        let Wanted::Content { path, digest, size } = missing.wanted;
        let question = Question::Obtain {
            mirror: missing.mirror.to_owned(),
            path: path.to_owned(),
            digest,
            size,
        };
        patiently(self.socket.clone(), question).boxed()
    }

    fn used(&self, mirror: &str, digests: Vec<Sha256>) {
        let question = Question::Used {
            mirror: mirror.to_owned(),
            digests,
        };
        let socket = self.socket.clone();
        self.runtime.spawn(async move {
            // What is not told is given up a little earlier.
            if let Err(error) = tell(&socket, &question).await {
                tracing::debug!(%error, "what was used could not be told");
            }
        });
    }

    fn not_kept(&self) -> BTreeMap<String, NotKept> {
        lock_read(&self.not_kept).clone()
    }
}

pub(super) async fn tell(socket: &Path, question: &Question) -> io::Result<()> {
    Frames::new(UnixStream::connect(socket).await?)
        .send(question)
        .await
}

/// Asks again where the other process ends before it has answered.
async fn patiently(socket: PathBuf, question: Question) -> Obtained {
    let until = Instant::now() + PATIENCE;
    loop {
        let error = match ask(&socket, &question).await {
            Ok(obtained) => return obtained,
            Err(error) => error,
        };
        if Instant::now() >= until {
            tracing::error!(%error, "the process that fetches does not answer");
            let text = format!("the process that fetches on demand does not answer: {error}");
            return Obtained::Refused(Reason::StorageFailed, text);
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn ask(socket: &Path, question: &Question) -> io::Result<Obtained> {
    let mut frames = Frames::new(UnixStream::connect(socket).await?);
    frames.send(question).await?;
    Ok(match frames.receive().await? {
        Answer::Blob(digest) => Obtained::Blob(digest),
        Answer::Bytes(count) => {
            let count = usize::try_from(count).map_err(io::Error::other)?;
            Obtained::Bytes(frames.receive_bytes(count).await?.into())
        }
        Answer::Growing(size) => Obtained::Growing(grow(frames, size)?),
        Answer::Absent => Obtained::Absent,
        Answer::Refused(reason, why) => Obtained::Refused(reason, why),
        Answer::Busy(seconds) => Obtained::Busy(Duration::from_secs(seconds)),
    })
}

/// Content on its way, whose file came with the last line.
pub(super) fn grow(mut frames: Frames, size: u64) -> io::Result<Growing> {
    let file = frames.take_file().ok_or(io::ErrorKind::InvalidData)?;
    let (grower, growing) = Growing::new(Arc::new(file), size);
    tokio::spawn(follow(frames, grower));
    Ok(growing)
}

/// Hears how far it has come, and says how far it was read, until all was told or nobody reads any more.
async fn follow(mut frames: Frames, mut grower: Grower) {
    let mut said = 0;
    loop {
        let taken = tokio::select! {
            told = frames.receive() => match told {
                Ok(Growth::Released(until)) => {
                    grower.release(until);
                    continue;
                }
                Ok(Growth::Broken(why)) => return grower.fail(why),
                // It ended, or all was told.
                Err(_) => return,
            },
            taken = grower.taken_beyond(said) => taken,
        };
        let Some(taken) = taken else { return };
        said = taken;
        // Who does not hear it any more has said its last: that is read next.
        let _ = frames.send(&Taken(taken)).await;
    }
}
