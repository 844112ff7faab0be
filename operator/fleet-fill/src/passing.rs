//! Where large content goes for which the volume has no room: to the one who asked for it, and nowhere else.

use std::fmt;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use fleet_fetch::{BodyStore, OpenBody, SinkError};
use fleet_origin::{Ended, Growing, Obtained, Passage};
use fleet_store::Inserter;
use fleet_types::{Expected, Problem, Reason, Sha256, lock};
use futures::FutureExt;
use futures::future::BoxFuture;
use sha2::Digest as _;
use tokio::sync::oneshot;

use crate::judge::{Hearing, Judge};
use crate::memory::{InMemory, compare};

/// By which the one who asked is told.
pub type Tell = oneshot::Sender<Obtained>;

/// One fetch's.
#[derive(Clone)]
pub struct Passing {
    inserter: Arc<Inserter>,
    judge: Judge,
    tell: Arc<Mutex<Option<Tell>>>,
}

/// Content that passes.
struct Body {
    passing: Passing,
    expected: Expected,
    work: Arc<tokio::sync::Mutex<Option<Work>>>,
}

struct Work {
    passage: Passage,
    /// Until the first byte has come: then the upstream has it.
    growing: Option<Growing>,
    hasher: sha2::Sha256,
    hearing: Option<Hearing>,
}

impl Passing {
    /// `tell` is told once, when the first bytes have come.
    pub fn new(inserter: Arc<Inserter>, judge: Judge, tell: Tell) -> Passing {
        Passing {
            inserter,
            judge,
            tell: Arc::new(Mutex::new(Some(tell))),
        }
    }

    /// Tells what came of it, if nothing was told yet.
    pub fn tell(&self, what: Obtained) {
        if let Some(tell) = lock(&self.tell).take() {
            // Who asked may have gone.
            let _ = tell.send(what);
        }
    }

    fn begin(&self, expected: &Expected) -> Result<Work, Problem> {
        let begun = Passage::new(expected.size);
        let (passage, growing) = begun.map_err(|error| {
            Problem::new(
                Reason::StorageFull,
                format!(
                    "there is no room for it, and too much passes through memory already: {error}"
                ),
            )
        })?;
        let judge = Some(self.judge.clone()).filter(Judge::is_needed);
        Ok(Work {
            passage,
            growing: Some(growing),
            hasher: sha2::Sha256::new(),
            hearing: judge.map(|judge| judge.hear(self.inserter.clone())),
        })
    }
}

impl BodyStore for Passing {
    /// It came as a whole although it is large: it is in memory already.
    fn store(&self, expected: Expected, body: Bytes) -> BoxFuture<'_, Result<Sha256, SinkError>> {
        async move {
            let digest = InMemory::default().store(expected, body.clone()).await?;
            if self.judge.is_needed() {
                let hearing = self.judge.clone().hear(self.inserter.clone());
                hearing.say(body.clone()).await;
                hearing.end().await.map_err(SinkError::Store)?;
            }
            self.tell(Obtained::Bytes(body));
            Ok(digest)
        }
        .boxed()
    }

    fn begin(
        &self,
        expected: Expected,
    ) -> BoxFuture<'_, Result<(Box<dyn OpenBody>, u64), Problem>> {
        let open = self.begin(&expected).map(|work| {
            let open: Box<dyn OpenBody> = Box::new(Body {
                passing: self.clone(),
                expected,
                work: Arc::new(tokio::sync::Mutex::new(Some(work))),
            });
            (open, 0)
        });
        std::future::ready(open).boxed()
    }
}

impl Work {
    async fn take(&mut self, bytes: Bytes, passing: &Passing) -> Result<(), Problem> {
        if let Some(growing) = self.growing.take() {
            passing.tell(Obtained::Growing(growing));
        }
        self.hasher.update(&bytes);
        if let Some(hearing) = &self.hearing {
            hearing.say(bytes.clone()).await;
        }
        self.passage
            .write(&bytes)
            .await
            .map_err(|ended| match ended {
                Ended::Left => Problem::new(Reason::SyncInterrupted, "who asked for it has gone"),
                Ended::Failed(error) => {
                    Problem::new(Reason::StorageFailed, format!("no memory for it: {error}"))
                }
            })
    }

    async fn end(self, expected: &Expected) -> Result<Sha256, SinkError> {
        let found = Sha256(self.hasher.finalize().into());
        let mut judged = match self.passage.written() < expected.size {
            true => Err(SinkError::TooShort {
                expected: expected.size,
                found: self.passage.written(),
            }),
            false => compare(expected, found),
        };
        if let Some(hearing) = self.hearing {
            let believed = hearing.end().await.map_err(SinkError::Store);
            judged = judged.and_then(|digest| believed.map(|()| digest));
        }
        match &judged {
            Ok(_) => self.passage.whole(),
            Err(_) => self
                .passage
                .fail("what came is not what the index promises".to_owned()),
        }
        judged
    }
}

impl OpenBody for Body {
    fn write(&self, bytes: Bytes) -> BoxFuture<'_, Result<(), Problem>> {
        async move {
            match self.work.lock().await.as_mut() {
                Some(work) => work.take(bytes, &self.passing).await,
                None => Err(gone()),
            }
        }
        .boxed()
    }

    /// What has passed cannot be taken back.
    fn restart(&self) -> BoxFuture<'_, Result<(), Problem>> {
        async move {
            let mut work = self.work.lock().await;
            match work.as_ref() {
                Some(begun) if begun.passage.written() == 0 => Ok(()),
                _ => {
                    if let Some(begun) = work.take() {
                        begun
                            .passage
                            .fail("what came was not what the index promises".to_owned());
                    }
                    Err(gone())
                }
            }
        }
        .boxed()
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Sha256, SinkError>> {
        async move {
            let work = self.work.lock().await.take();
            match work {
                Some(work) => work.end(&self.expected).await,
                None => Err(SinkError::Store(gone())),
            }
        }
        .boxed()
    }
}

impl fmt::Debug for Passing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passing")
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Body").field(&self.expected.size).finish()
    }
}

fn gone() -> Problem {
    Problem::new(
        Reason::SyncInterrupted,
        "what came of it has been sent on already and cannot begin again",
    )
}
