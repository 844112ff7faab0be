use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use fleet_origin::{Lasts, ServedFile};
use fleet_types::documents::{NotKept, RegistryState};
use fleet_types::lock;
use http::header::{ACCEPT, HOST};

use super::*;
use crate::transaction::Way;

#[derive(Default)]
struct Named {
    name: &'static str,
    paths: Vec<String>,
    file: Option<ServedFile>,
    lasts: Option<Lasts>,
    sites: Mutex<Vec<String>>,
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
        lock(&self.sites).extend(question.site);
        let found = Found {
            status: StatusCode::OK,
            headers: vec![(VARY, HeaderValue::from(ACCEPT))],
            body: match self.file.clone() {
                Some(file) => FoundBody::File(file),
                None => FoundBody::Bytes(text.into()),
            },
            lasts: self.lasts.or(Some(Lasts::always())),
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
    fn not_kept(&self) -> Option<NotKept> {
        None
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
    ask_by(registries, path, "10.0.0.1", &[])
}

/// As one at this address asks who says so.
fn ask_by(
    registries: &Registries,
    path: &str,
    peer: &str,
    said: &[(&'static str, &'static str)],
) -> Option<Answerable> {
    let wanted = registries.find(path)?;
    let pair = |(name, value): &(&'static str, &'static str)| {
        let name = HeaderName::from_static(name);
        (name, HeaderValue::from_static(value))
    };
    let mut headers: HeaderMap = said.iter().map(pair).collect();
    headers.insert(HOST, HeaderValue::from_static("pod:8080"));
    let asked = Asked {
        method: &Method::GET,
        path,
        headers: &headers,
        way: Way {
            authority: None,
            secure: false,
        },
        peer: peer.parse::<IpAddr>().unwrap(),
        at: Instant::now(),
        may_block: false,
        came: None,
    };
    let free = Arc::new(Semaphore::new(10));
    Some(match wanted.ask(asked, None, None, &free) {
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

#[test]
fn where_it_is_asked_from_is_what_a_declared_proxy_says() {
    let lists = tempfile::tempdir().unwrap();
    std::fs::write(
        lists.path().join("a"),
        r#"{"trustedProxies": ["10.0.0.0/8"]}"#,
    )
    .unwrap();
    let [named, strange] = ["a", "b"].map(|name| {
        Arc::new(Named {
            name,
            paths: vec![name.to_owned()],
            file: Some(file()),
            lasts: Some(Lasts {
                until: None,
                varies: true,
            }),
            ..Named::default()
        })
    });
    let registries = Registries::default();
    registries.replace(vec![named.clone(), strange.clone()]);
    registries.told_in(Some(lists.path()));
    let said = [
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-host", "example.org"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-prefix", "/tools"),
    ];
    let vary = |path: &str, peer: &str| {
        let answer = ask_by(&registries, path, peer, &said).unwrap();
        let answer = answer.into_answer(&Method::GET, &HeaderMap::new());
        header(&answer, &VARY).unwrap()
    };
    let by_all = format!("accept, {}", forwarded::VARY);
    // Each twice: what is ready is so for who asks in the same way.
    for _ in 0..2 {
        assert_eq!(vary("/a/x", "10.0.0.1"), by_all);
        assert_eq!(vary("/a/x", "203.0.113.1"), by_all);
        assert_eq!(vary("/b/x", "10.0.0.1"), "accept");
    }
    let sites = |named: &Named| lock(&named.sites).clone();
    assert_eq!(
        sites(&named),
        ["https://example.org/tools", "http://pod:8080"]
    );
    assert_eq!(sites(&strange), ["http://pod:8080"]);
    // It is told of later, and no longer.
    std::fs::rename(lists.path().join("a"), lists.path().join("b")).unwrap();
    registries.tidy();
    vary("/a/y", "10.0.0.1");
    vary("/b/y", "10.0.0.1");
    assert_eq!(sites(&named)[2..], ["http://pod:8080"]);
    assert_eq!(sites(&strange)[1..], ["https://example.org/tools"]);
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
