//! The side of the process that fetches.

use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::frames::Frames;
use super::{Answer, Growth, Question, Taken, registry};
use crate::{Growing, Missing, Obtained, Origin, Registry, Wanted};

/// Binds, in the place of a socket that an earlier process has left.
pub fn bind(socket: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(socket) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    UnixListener::bind(socket)
}

/// What a socket leads to.
#[derive(Clone)]
pub enum Behind {
    Store(Arc<dyn Origin>),
    /// The registry as it is declared now.
    Registry(watch::Receiver<Arc<dyn Registry>>),
}

/// Answers questions by what is `behind` the socket, until `stop`.
pub async fn answer_on(listener: UnixListener, behind: Behind, stop: CancellationToken) {
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let behind = behind.clone();
        tokio::spawn(async move {
            let frames = Frames::new(stream);
            let answered = match behind {
                Behind::Store(origin) => answer(frames, origin).await,
                Behind::Registry(registry) => {
                    let registry = registry.borrow().clone();
                    registry::answer(frames, registry).await
                }
            };
            if let Err(error) = answered {
                // Who asked has gone; what it asked for is fetched all the same.
                tracing::debug!(%error, "a question ended early");
            }
        });
    }
}

async fn answer(mut frames: Frames, origin: Arc<dyn Origin>) -> io::Result<()> {
    let obtained = match frames.receive().await? {
        Question::Used { mirror, digests } => {
            origin.used(&mirror, digests);
            return Ok(());
        }
        Question::NotKept => {
            let told = tokio::task::spawn_blocking(move || origin.not_kept()).await;
            return frames.send(&told.map_err(io::Error::other)?).await;
        }
        Question::Obtain {
            mirror,
            path,
            digest,
            size,
        } => {
            let wanted = Wanted::Content {
                path: &path,
                digest,
                size,
            };
            origin.obtain(Missing {
                mirror: &mirror,
                wanted,
            })
        }
        Question::Registry | Question::Ask(_) | Question::Given(_) => {
            return Err(io::Error::other(
                "this is asked of a registry, and here is none",
            ));
        }
    };
    let answer = match obtained.await {
        Obtained::Growing(growing) => {
            let answer = Answer::Growing(growing.size());
            return grow(&mut frames, &answer, growing).await;
        }
        Obtained::Bytes(bytes) => {
            frames.send(&Answer::Bytes(bytes.len() as u64)).await?;
            return frames.send_bytes(&bytes).await;
        }
        Obtained::Blob(digest) => Answer::Blob(digest),
        Obtained::Absent => Answer::Absent,
        Obtained::Refused(reason, why) => Answer::Refused(reason, why),
        Obtained::Busy(wait) => Answer::Busy(wait.as_secs()),
    };
    frames.send(&answer).await
}

/// Hands the file over, and tells how far it has come until that is all of it.
pub(super) async fn grow<T: Serialize>(
    frames: &mut Frames,
    answer: &T,
    mut growing: Growing,
) -> io::Result<()> {
    let file = growing.file().clone();
    frames.send_file(answer, &file).await?;
    let mut at = 0;
    while at < growing.size() {
        let told = tokio::select! {
            told = growing.released_beyond(at) => told,
            taken = frames.receive() => {
                // An error where nobody reads any more.
                let Taken(taken) = taken?;
                growing.took(taken);
                continue;
            }
        };
        let growth = match told {
            Ok(until) => {
                at = until;
                Growth::Released(until)
            }
            Err(broken) => Growth::Broken(broken.0),
        };
        frames.send(&growth).await?;
        if matches!(growth, Growth::Broken(_)) {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Write;
    use std::os::unix::fs::FileExt;
    use std::time::Duration;

    use bytes::Bytes;
    use fleet_types::documents::{NotKept, UnixSeconds};
    use fleet_types::{Reason, Sha256};
    use futures::FutureExt;
    use futures::future::BoxFuture;
    use tokio::runtime::Handle;
    use tokio::sync::mpsc;

    use super::super::Remote;
    use super::*;

    const DIGEST: Sha256 = Sha256([7; 32]);

    #[derive(Debug)]
    struct Told(Obtained, mpsc::UnboundedSender<Vec<Sha256>>);

    impl Origin for Told {
        fn obtain(&self, missing: Missing<'_>) -> BoxFuture<'static, Obtained> {
            assert_eq!(missing.mirror, "debian");
            let wanted = Wanted::Content {
                path: "pool/ü.deb",
                digest: DIGEST,
                size: 10,
            };
            assert_eq!(missing.wanted, wanted);
            std::future::ready(self.0.clone()).boxed()
        }
        fn used(&self, mirror: &str, digests: Vec<Sha256>) {
            assert_eq!(mirror, "debian");
            self.1.send(digests).unwrap();
        }
        fn not_kept(&self) -> BTreeMap<String, NotKept> {
            let full = NotKept::full(UnixSeconds(7));
            BTreeMap::from([("debian".to_owned(), full)])
        }
    }

    fn ask(remote: &Remote) -> BoxFuture<'static, Obtained> {
        remote.obtain(Missing {
            mirror: "debian",
            wanted: Wanted::Content {
                path: "pool/ü.deb",
                digest: DIGEST,
                size: 10,
            },
        })
    }

    struct Line {
        remote: Remote,
        used: mpsc::UnboundedReceiver<Vec<Sha256>>,
        _stop: tokio_util::sync::DropGuard,
        _dir: tempfile::TempDir,
    }

    fn line(obtained: Obtained) -> Line {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("fill.sock");
        let (tell, used) = mpsc::unbounded_channel();
        let (stop, origin) = (CancellationToken::new(), Arc::new(Told(obtained, tell)));
        tokio::spawn(answer_on(
            bind(&socket).unwrap(),
            Behind::Store(origin),
            stop.clone(),
        ));
        Line {
            remote: Remote::new(socket, Handle::current()),
            used,
            _stop: stop.drop_guard(),
            _dir: dir,
        }
    }

    #[tokio::test]
    async fn every_answer_comes_over_as_it_is() {
        let big = Bytes::from(vec![3; 5 << 20]);
        let refused = Obtained::Refused(Reason::Offline, "a\nb".to_owned());
        let wait = Obtained::Busy(Duration::from_secs(7));
        for obtained in [
            Obtained::Blob(DIGEST),
            Obtained::Absent,
            refused,
            wait,
            Obtained::Bytes(big),
        ] {
            let line = line(obtained.clone());
            let came = ask(&line.remote).await;
            assert_eq!(format!("{came:?}"), format!("{obtained:?}"));
        }
    }

    #[tokio::test]
    async fn what_grows_there_is_read_here_as_far_as_it_is_released() {
        let mut file = tempfile::tempfile().unwrap();
        let (grower, growing) = Growing::new(Arc::new(file.try_clone().unwrap()), 10);
        let line = line(Obtained::Growing(growing));
        let Obtained::Growing(mut here) = ask(&line.remote).await else {
            panic!("it grows")
        };
        let mut broken = here.clone();
        file.write_all(b"01234").unwrap();
        grower.release(5);
        assert_eq!(here.beyond(0).await, Ok(5));
        let mut read = [0; 5];
        here.file().read_exact_at(&mut read, 0).unwrap();
        assert_eq!(&read, b"01234");
        grower.fail("wrong".to_owned());
        assert_eq!(broken.beyond(5).await.unwrap_err().0, "wrong");
    }

    #[tokio::test]
    async fn who_fetches_knows_how_far_it_was_read_there_and_when_nobody_reads() {
        let file = tempfile::tempfile().unwrap();
        let (mut grower, growing) = Growing::new(Arc::new(file.try_clone().unwrap()), 10);
        let line = line(Obtained::Growing(growing));
        let readers = grower.readers();
        let Obtained::Growing(mut here) = ask(&line.remote).await else {
            panic!("it grows")
        };
        grower.release(8);
        here.beyond(7).await.unwrap();
        assert_eq!(grower.taken_beyond(0).await, Some(7));
        // What the origin of this test answers everybody with is one; the other is on the line.
        assert_eq!(readers.count(), 2);
        drop(here);
        while readers.count() > 1 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    #[tokio::test]
    async fn what_cannot_be_kept_is_heard_and_stays_while_nobody_answers() {
        let line = line(Obtained::Absent);
        assert!(line.remote.not_kept().is_empty());
        line.remote.look().await.unwrap();
        let told = line.remote.not_kept();
        assert!(
            told.get("debian")
                .is_some_and(|told| told.reason == Reason::StorageFull)
        );
        std::fs::remove_file(line._dir.path().join("fill.sock")).unwrap();
        assert!(line.remote.look().await.is_err());
        assert_eq!(line.remote.not_kept(), told);
    }

    #[tokio::test]
    async fn uses_are_told_and_a_process_that_is_not_there_yet_is_waited_for() {
        let mut line = line(Obtained::Absent);
        line.remote.used("debian", vec![DIGEST]);
        assert_eq!(line.used.recv().await, Some(vec![DIGEST]));
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("late.sock");
        let asking = tokio::spawn(ask(&Remote::new(socket.clone(), Handle::current())));
        tokio::time::sleep(Duration::from_millis(150)).await;
        let (tell, _used) = mpsc::unbounded_channel();
        let origin = Arc::new(Told(Obtained::Blob(DIGEST), tell));
        tokio::spawn(answer_on(
            bind(&socket).unwrap(),
            Behind::Store(origin),
            CancellationToken::new(),
        ));
        assert!(matches!(asking.await.unwrap(), Obtained::Blob(_)));
    }
}
