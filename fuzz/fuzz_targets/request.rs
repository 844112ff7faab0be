//! A request as the server reads it: the path on the first line, then one header a line.
#![no_main]
#![allow(dead_code)] // parts of the server, of which the reading is of interest here

#[path = "../../operator/fleet-serve/src/conditional.rs"]
mod conditional;
#[path = "../../operator/fleet-serve/src/path.rs"]
mod path;

use conditional::{Decision, Validators, decide};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use path::RequestPath;

libfuzzer_sys::fuzz_target!(|content: &[u8]| {
    let mut lines = content.split(|byte| *byte == b'\n');
    let target = lines.next().unwrap_or_default();
    if let Ok(target) = std::str::from_utf8(target) {
        read_path(target);
    }
    let mut headers = HeaderMap::new();
    for line in lines {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = HeaderName::from_bytes(parts.next().unwrap_or_default());
        let value = HeaderValue::from_bytes(parts.next().unwrap_or_default().trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    for size in [0, 1, 100, u64::MAX] {
        read_headers(&headers, size);
    }
});

fn read_path(target: &str) {
    let Ok(path) = RequestPath::parse(target) else {
        return;
    };
    assert!(path.candidates().count() >= 1);
    for candidate in path.candidates() {
        let is_part = |part: &str| !matches!(part, "" | "." | "..");
        assert!(candidate.path.is_empty() || candidate.path.split('/').all(is_part));
        let location = candidate.directory_location();
        assert!(location.starts_with('/') && !location.starts_with("//"));
        assert!(location.bytes().all(|byte| byte.is_ascii_graphic()));
        let again = RequestPath::parse(&location).expect("what we send is what we read");
        assert_eq!(
            again.decoded.map(|again| again.path).as_ref(),
            Some(&candidate.path)
        );
    }
}

fn read_headers(headers: &HeaderMap, size: u64) {
    let validators = Validators {
        etag: HeaderValue::from_static("\"abc\""),
        modified: 784_111_777,
        last_modified: None,
        size,
    };
    match decide(&Method::GET, headers, &validators) {
        Decision::Part(part) => assert!(part.start < part.end && part.end <= size),
        Decision::Unsatisfiable => assert!(headers.contains_key("range")),
        Decision::Whole | Decision::NotModified | Decision::PreconditionFailed => {}
    }
    let head = decide(&Method::HEAD, headers, &validators);
    assert!(!matches!(head, Decision::Part(_) | Decision::Unsatisfiable));
}
