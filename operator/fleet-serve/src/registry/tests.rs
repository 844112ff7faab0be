use std::sync::atomic::{AtomicUsize, Ordering};

use fleet_origin::{Lasts, ServedFile};
use fleet_types::documents::RegistryState;

use super::*;

#[derive(Default)]
struct Named {
    name: &'static str,
    paths: Vec<String>,
    file: Option<ServedFile>,
    asked: AtomicUsize,
    again: AtomicUsize,
}

impl Registry for Named {
    fn name(&self) -> &str {
        self.name
    }
    fn paths(&self) -> &[String] {
        &self.paths
    }
    fn answer(&self, question: Question) -> BoxFuture<'static, Found> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let text = format!("{} {} {:?}", self.name, question.below, question.path);
        let found = Found {
            status: StatusCode::OK,
            headers: Vec::new(),
            body: match self.file.clone() {
                Some(file) => FoundBody::File(file),
                None => FoundBody::Bytes(text.into()),
            },
            lasts: Some(Lasts::always()),
        };
        std::future::ready(found).boxed()
    }
    fn answered_again(&self) {
        self.again.fetch_add(1, Ordering::Relaxed);
    }
    fn used(&self, _: Vec<Sha256>) {}
    fn state(&self) -> RegistryState {
        RegistryState::default()
    }
}

fn registry(name: &'static str, paths: &[&str]) -> Arc<Named> {
    Arc::new(Named {
        name,
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        ..Named::default()
    })
}

fn ask(registries: &Registries, path: &str) -> Option<Answerable> {
    let wanted = registries.find(path)?;
    let way = Way {
        authority: None,
        secure: false,
    };
    let free = Arc::new(Semaphore::new(10));
    let reply = wanted.ask(
        (&Method::GET, None, &HeaderMap::new()),
        way,
        None,
        (Instant::now(), &free),
    );
    Some(match reply {
        Reply::Now(found) => found,
        Reply::Later(found) => found.now_or_never().unwrap(),
    })
}

#[test]
fn the_longest_path_counts_and_paths_are_whole_parts() {
    let registries = Registries::default();
    registries.replace(vec![
        registry("a", &["npm", "repository/npm"]),
        registry("b", &["npm/b"]),
    ]);
    let led = |path: &str| match ask(&registries, path)?.body {
        Body::Bytes(bytes) => String::from_utf8(bytes.to_vec()).ok(),
        _ => None,
    };
    assert_eq!(led("/npm/left-pad").as_deref(), Some("a npm \"/left-pad\""));
    assert_eq!(led("/npm").as_deref(), Some("a npm \"\""));
    assert_eq!(led("/npm/b/x%2fy").as_deref(), Some("b npm/b \"/x%2fy\""));
    assert_eq!(
        led("/repository/npm/").as_deref(),
        Some("a repository/npm \"/\"")
    );
    assert_eq!((led("/npmx"), led("/"), led("npm")), (None, None, None));
    registries.replace(vec![registry("b", &["npm/b"])]);
    assert_eq!(led("/npm/x"), None);
    let names: Vec<_> = registries.served();
    assert_eq!(names.iter().map(|it| it.name()).collect::<Vec<_>>(), ["b"]);
}

fn file() -> ServedFile {
    let file = tempfile::tempfile().unwrap();
    file.set_len(10).unwrap();
    ServedFile::new(&Sha256([7; 32]), file).unwrap()
}

#[test]
fn a_file_that_lasts_is_given_again_without_a_question() {
    let named = Arc::new(Named {
        name: "a",
        paths: vec!["npm".to_owned()],
        file: Some(file()),
        ..Named::default()
    });
    let registries = Registries::default();
    registries.replace(vec![named.clone()]);
    let sent = |path: &str| {
        let answer = ask(&registries, path).unwrap();
        answer
            .into_answer(&Method::GET, &HeaderMap::new())
            .content
            .len()
    };
    assert_eq!(
        (sent("/npm/a"), sent("/npm/a"), sent("/npm/b")),
        (10, 10, 10)
    );
    let counts = (&named.asked, &named.again);
    let counts = (
        counts.0.load(Ordering::Relaxed),
        counts.1.load(Ordering::Relaxed),
    );
    assert_eq!(counts, (2, 1));
}

fn answer(body: FoundBody, asked: &HeaderMap) -> Answer {
    let found = Found {
        status: StatusCode::OK,
        headers: vec![
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (CACHE_CONTROL, HeaderValue::from_static("max-age=300")),
        ],
        body,
        lasts: None,
    };
    Answerable::from(found).into_answer(&Method::GET, asked)
}

fn header(answer: &Answer, name: &HeaderName) -> Option<String> {
    let mut headers = answer.headers.iter();
    let found = headers.find(|(known, _)| known == name);
    found.map(|(_, value)| value.to_str().unwrap().to_owned())
}

#[test]
fn a_file_that_the_client_has_is_not_sent_again_and_not_described() {
    let (_grower, growing) = Growing::new(Arc::new(tempfile::tempfile().unwrap()), 10);
    for body in [
        FoundBody::File(file()),
        FoundBody::Growing(growing, Sha256([7; 32])),
    ] {
        let mut asked = HeaderMap::new();
        let whole = answer(body.clone(), &asked);
        assert_eq!((whole.status, whole.content.len()), (StatusCode::OK, 10));
        assert_eq!(
            header(&whole, &CONTENT_TYPE).as_deref(),
            Some("application/json")
        );
        let tag = header(&whole, &http::header::ETAG).unwrap();
        assert_eq!(tag, format!("\"{}\"", Sha256([7; 32])));
        assert_eq!(header(&whole, &http::header::LAST_MODIFIED), None);
        asked.insert(http::header::IF_NONE_MATCH, tag.parse().unwrap());
        let same = answer(body.clone(), &asked);
        assert_eq!(
            (same.status, same.content.len()),
            (StatusCode::NOT_MODIFIED, 0)
        );
        assert_eq!(header(&same, &CONTENT_TYPE), None);
        assert_eq!(
            header(&same, &CACHE_CONTROL).as_deref(),
            Some("max-age=300")
        );
        asked.clear();
        asked.insert(http::header::RANGE, HeaderValue::from_static("bytes=2-3"));
        let part = answer(body.clone(), &asked);
        assert_eq!(
            (part.status, part.content.len()),
            (StatusCode::PARTIAL_CONTENT, 2)
        );
        asked.insert(http::header::RANGE, HeaderValue::from_static("bytes=20-"));
        let none = answer(body.clone(), &asked);
        assert_eq!(none.status, StatusCode::RANGE_NOT_SATISFIABLE);
        assert_eq!(
            header(&none, &CONTENT_TYPE).as_deref(),
            Some("text/plain; charset=utf-8")
        );
    }
}
