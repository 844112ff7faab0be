use super::*;

struct Named(&'static str, Vec<String>);

impl Registry for Named {
    fn name(&self) -> &str {
        self.0
    }
    fn paths(&self) -> &[String] {
        &self.1
    }
    fn answer(&self, question: &Question<'_>) -> Reply {
        let body = format!("{} {} {:?}", self.0, question.below, question.path);
        Reply::Now(Found {
            status: StatusCode::OK,
            headers: Vec::new(),
            body: FoundBody::Bytes(body.into()),
        })
    }
}

fn registry(name: &'static str, paths: &[&str]) -> Arc<dyn Registry> {
    Arc::new(Named(
        name,
        paths.iter().map(|path| (*path).to_owned()).collect(),
    ))
}

#[test]
fn the_longest_path_counts_and_paths_are_whole_parts() {
    let registries = Registries::default();
    registries.replace(vec![
        registry("a", &["npm", "repository/npm"]),
        registry("b", &["npm/b"]),
    ]);
    let led = |path: &str| {
        let wanted = registries.find(path)?;
        let way = Way {
            authority: None,
            secure: false,
        };
        let reply = wanted.ask(
            (&Method::GET, None, &HeaderMap::new()),
            way,
            None,
            Instant::now(),
        );
        match reply {
            Reply::Now(Found {
                body: FoundBody::Bytes(bytes),
                ..
            }) => String::from_utf8(bytes.to_vec()).ok(),
            _ => None,
        }
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
    assert_eq!(registries.names(), ["b"]);
}

#[test]
fn a_file_that_the_client_has_is_not_sent_again_and_not_described() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(10).unwrap();
    let file = ServedFile::new(&Sha256([7; 32]), file).unwrap();
    let found = || Found {
        status: StatusCode::OK,
        headers: vec![
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (CACHE_CONTROL, HeaderValue::from_static("max-age=300")),
        ],
        body: FoundBody::File(file.clone()),
    };
    let mut asked = HeaderMap::new();
    let header = |answer: &Answer, name: &HeaderName| {
        answer
            .headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.to_str().unwrap().to_owned())
    };
    let whole = found().into_answer(&Method::GET, &asked);
    assert_eq!((whole.status, whole.content.len()), (StatusCode::OK, 10));
    assert_eq!(
        header(&whole, &CONTENT_TYPE).as_deref(),
        Some("application/json")
    );
    let tag = header(&whole, &http::header::ETAG).unwrap();
    asked.insert(http::header::IF_NONE_MATCH, tag.parse().unwrap());
    let same = found().into_answer(&Method::GET, &asked);
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
    let part = found().into_answer(&Method::GET, &asked);
    assert_eq!(
        (part.status, part.content.len()),
        (StatusCode::PARTIAL_CONTENT, 2)
    );
    asked.insert(http::header::RANGE, HeaderValue::from_static("bytes=20-"));
    let none = found().into_answer(&Method::GET, &asked);
    assert_eq!(none.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(
        header(&none, &CONTENT_TYPE).as_deref(),
        Some("text/plain; charset=utf-8")
    );
}
