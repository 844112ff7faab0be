use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use fleet_types::documents::UnixSeconds;
use fleet_types::lock;
use http::header::{ACCEPT, AUTHORIZATION};
use tokio::sync::{Notify, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::*;
use crate::line::{Behind, answer_on, bind};
use crate::{Growing, counted};

const TAG: Sha256 = Sha256([7; 32]);

/// Answers everything with one thing, and remembers what it was asked.
struct Told {
    found: Found,
    asked: Mutex<Vec<Question>>,
    used: Mutex<Vec<Sha256>>,
    was_told: Notify,
}

impl Registry for Told {
    fn name(&self) -> &str {
        "npm"
    }
    fn paths(&self) -> &[String] {
        static PATHS: std::sync::LazyLock<Vec<String>> =
            std::sync::LazyLock::new(|| vec!["npm".to_owned(), "repository/npm".to_owned()]);
        &PATHS
    }
    fn answer(&self, question: Question) -> BoxFuture<'static, Found> {
        lock(&self.asked).push(question);
        std::future::ready(self.found.clone()).boxed()
    }
    fn answered_again(&self) {}
    fn used(&self, tags: Vec<Sha256>) {
        lock(&self.used).extend(tags);
        self.was_told.notify_one();
    }
    fn state(&self) -> RegistryState {
        RegistryState {
            upstream_blocked_since: Some(UnixSeconds(7)),
            ..RegistryState::default()
        }
    }
    fn not_kept(&self) -> Option<NotKept> {
        Some(NotKept::full(UnixSeconds(9)))
    }
}

struct Line {
    told: Arc<Told>,
    remote: RemoteRegistry,
    introduced: Introduction,
    counted: Arc<AtomicUsize>,
    _stop: DropGuard,
    _dir: tempfile::TempDir,
    _current: watch::Sender<Arc<dyn Registry>>,
}

async fn line(found: Found) -> Line {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("fill.sock");
    let told = Arc::new(Told {
        found,
        asked: Mutex::default(),
        used: Mutex::default(),
        was_told: Notify::new(),
    });
    let (current, behind) = watch::channel(told.clone() as Arc<dyn Registry>);
    let stop = CancellationToken::new();
    let listener = bind(&socket).unwrap();
    tokio::spawn(answer_on(listener, Behind::Registry(behind), stop.clone()));
    let introduced = introduction(&socket).await.unwrap();
    let counted = Arc::new(AtomicUsize::new(0));
    let counter = counted.clone();
    let counts = Arc::new(move || {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    Line {
        remote: RemoteRegistry::new(socket, Handle::current(), introduced.clone(), counts),
        told,
        introduced,
        counted,
        _stop: stop.drop_guard(),
        _dir: dir,
        _current: current,
    }
}

fn found(body: FoundBody, lasts: Option<Lasts>) -> Found {
    Found {
        status: StatusCode::OK,
        headers: vec![(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
        body,
        lasts,
    }
}

fn question(body: Option<Bytes>) -> Question {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer secret"));
    Question {
        method: Method::POST,
        below: "npm".to_owned(),
        path: "/@s%2fp".to_owned(),
        query: Some("write=true".to_owned()),
        headers: counted(&headers),
        site: Some("https://npm.example.org:8080/tools".to_owned()),
        body,
    }
}

#[tokio::test]
async fn a_question_comes_over_as_it_is_without_what_nobody_needs() {
    let line = line(found(FoundBody::Bytes("{}".into()), None)).await;
    let asked = question(Some(Bytes::from(vec![0; 3 << 20])));
    assert!(!asked.headers.contains_key(AUTHORIZATION));
    let came = line.remote.answer(asked.clone()).await;
    assert_eq!(*lock(&line.told.asked), [asked]);
    assert!(matches!(came.body, FoundBody::Bytes(bytes) if &bytes[..] == b"{}"));
    assert_eq!(came.headers.len(), 1);
}

#[tokio::test]
async fn a_file_comes_opened_and_says_for_how_long_it_is_the_answer() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"0123456789").unwrap();
    let lasts = Some(Lasts {
        until: Some(1_900_000_000),
        varies: true,
    });
    let served = ServedFile::new(&TAG, file).unwrap();
    let line = line(found(FoundBody::File(served), lasts)).await;
    let came = line.remote.answer(question(None)).await;
    assert_eq!(came.lasts, lasts);
    let FoundBody::File(served) = came.body else {
        panic!("it is a file")
    };
    let mut bytes = [0; 10];
    served.file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!((served.tag, served.size, &bytes), (TAG, 10, b"0123456789"));
}

#[tokio::test]
async fn what_grows_there_is_read_here() {
    let mut file = tempfile::tempfile().unwrap();
    let (grower, growing) = Growing::new(Arc::new(file.try_clone().unwrap()), 10);
    let line = line(found(FoundBody::Growing(growing, TAG), None)).await;
    let came = line.remote.answer(question(None)).await;
    let FoundBody::Growing(mut here, tag) = came.body else {
        panic!("it grows")
    };
    file.write_all(b"01234").unwrap();
    grower.release(5);
    assert_eq!((here.beyond(0).await, tag, here.size()), (Ok(5), TAG, 10));
    grower.fail("wrong".to_owned());
    assert!(here.beyond(5).await.is_err());
}

#[tokio::test]
async fn it_introduces_itself_and_hears_what_was_given_out() {
    let line = line(found(FoundBody::Bytes(Bytes::new()), None)).await;
    assert_eq!(line.remote.name(), "npm");
    assert_eq!(line.remote.paths(), ["npm", "repository/npm"]);
    let since = |remote: &RemoteRegistry| remote.state().upstream_blocked_since;
    assert_eq!(since(&line.remote), Some(UnixSeconds(7)));
    assert_eq!(line.remote.not_kept(), line.told.not_kept());
    let mut later = line.introduced.clone();
    (later.state.upstream_blocked_since, later.not_kept) = (None, None);
    assert!(line.remote.heard(&later));
    assert_eq!((since(&line.remote), line.remote.not_kept()), (None, None));
    later.paths.pop();
    assert!(!line.remote.heard(&later), "it is another one");
    line.remote.used(vec![TAG]);
    line.told.was_told.notified().await;
    assert_eq!(*lock(&line.told.used), [TAG]);
    line.remote.answered_again();
    assert_eq!(line.counted.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_socket_of_a_registry_is_none_of_a_store() {
    let line = line(found(FoundBody::Bytes(Bytes::new()), None)).await;
    let stream = UnixStream::connect(&line.remote.socket).await.unwrap();
    let mut frames = Frames::new(stream);
    let asked = crate::line::Question::Obtain {
        mirror: "npm".to_owned(),
        path: "pool/a.deb".to_owned(),
        digest: TAG,
        size: 1,
    };
    frames.send(&asked).await.unwrap();
    assert!(frames.receive::<serde_json::Value>().await.is_err());
}
