//! `file://` endpoints: a repository in a directory of this machine.

use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::BytesMut;
use fleet_types::{Problem, Reason, counted};
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use url::Url;

use super::meter::Meter;
use super::sink::Sink;
use super::verdict::unix;
use super::{Answer, Arrival, FailureKind, FetchError, Received, Request, Transport, Validators};

const CHUNK: usize = 64 << 10;

/// A directory as an endpoint.
#[derive(Clone)]
pub struct FileTransport {
    root: Arc<Path>,
    parallel: usize,
    meter: Arc<Meter>,
}

impl FileTransport {
    pub(super) fn new(
        base: &Url,
        parallel: usize,
        meter: Arc<Meter>,
    ) -> Result<FileTransport, Problem> {
        let root: PathBuf = base.to_file_path().map_err(|()| {
            Problem::new(
                Reason::InvalidSpec,
                format!("{base} names no directory of this machine; write file:///absolute/path"),
            )
        })?;
        Ok(FileTransport {
            root: root.into(),
            parallel,
            meter,
        })
    }

    async fn answer(self, mut request: Request) -> Answer {
        let result = self.fetch(&mut request).await;
        Answer {
            id: request.id,
            result,
            sink: request.sink,
        }
    }

    async fn fetch(&self, request: &mut Request) -> Result<Arrival, FetchError> {
        let path = self.root.join(request.path.as_str());
        let name = path.display().to_string();
        self.meter.asked();
        let (mut file, length, modified) = open(&path, &name).await?;
        let validators = Validators {
            etag: modified.map(|(exact, _)| format!("{exact}-{length}")),
            last_modified: None,
        };
        if request
            .validators
            .as_ref()
            .is_some_and(|known| !known.is_empty() && *known == validators)
        {
            return Ok(Arrival::NotModified);
        }
        self.copy(&mut file, length, &mut request.sink, &name)
            .await?;
        let taken = request.sink.finish().await.map_err(|e| e.at(&name))?;
        let modified = modified.map(|(_, seconds)| seconds);
        Ok(Arrival::Complete(Received {
            digest: taken.digest,
            size: taken.size,
            body: taken.body,
            modified,
            validators,
        }))
    }

    async fn copy(
        &self,
        file: &mut File,
        length: u64,
        sink: &mut Sink,
        name: &str,
    ) -> Result<(), FetchError> {
        sink.settle(Some(length)).await.map_err(|e| e.at(name))?;
        let position = sink.position().await.map_err(|e| e.at(name))?;
        if position > length || sink.promised().is_some_and(|promised| promised != length) {
            let promised = sink.promised().unwrap_or(position);
            return Err(FetchError::new(
                FailureKind::Mismatch,
                format!(
                    "{name}: has {}, its index promises {promised}",
                    counted(length, "byte")
                ),
            ));
        }
        sink.announced(0, length).map_err(|e| e.at(name))?;
        file.seek(SeekFrom::Start(position))
            .await
            .map_err(|e| failed(name, &e))?;
        loop {
            let mut chunk = BytesMut::with_capacity(CHUNK);
            let read = file
                .read_buf(&mut chunk)
                .await
                .map_err(|e| failed(name, &e))?;
            if read == 0 {
                return Ok(());
            }
            sink.write(chunk.freeze()).await.map_err(|e| e.at(name))?;
            self.meter.received(read).await;
        }
    }
}

impl Transport for FileTransport {
    fn fetch_many(&self, requests: BoxStream<'static, Request>) -> BoxStream<'static, Answer> {
        let transport = self.clone();
        requests
            .map(move |request| transport.clone().answer(request))
            .buffer_unordered(self.parallel)
            .boxed()
    }

    fn appetite(&self) -> usize {
        self.parallel * 2
    }
}

/// The file, its length, and its time of change in nanoseconds and in seconds.
async fn open(path: &Path, name: &str) -> Result<(File, u64, Option<(u128, i64)>), FetchError> {
    let file = File::open(path).await.map_err(|e| failed(name, &e))?;
    let about = file.metadata().await.map_err(|e| failed(name, &e))?;
    if !about.is_file() {
        return Err(FetchError::new(
            FailureKind::NotFound,
            format!("{name}: is not a file"),
        ));
    }
    let modified = about.modified().ok();
    let exact = modified
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
        .map(|since| since.as_nanos());
    Ok((file, about.len(), exact.zip(modified.and_then(unix))))
}

fn failed(name: &str, error: &std::io::Error) -> FetchError {
    use std::io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    let kind = match error.kind() {
        NotFound | NotADirectory => FailureKind::NotFound,
        PermissionDenied => FailureKind::Forbidden,
        _ => FailureKind::Unreachable,
    };
    FetchError::new(kind, format!("{name}: {error}"))
}
