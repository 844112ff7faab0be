//! Conditional requests and ranges, as in RFC 9110 sections 13 and 14. Pure: headers in, a decision out.
//!
//! One deviation, on purpose: dates compare exactly. A mirror that went back to an older file (a person rolled back)
//! must not tell a client "not modified since" its newer copy.

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fleet_types::Sha256;
use http::header::{
    IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// What identifies the bytes that would be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validators {
    /// A strong entity tag with its quotes.
    pub etag: HeaderValue,
    /// Unix seconds.
    pub modified: i64,
    /// The same as an HTTP date; none where there is no such.
    pub last_modified: Option<HeaderValue>,
    /// Bytes.
    pub size: u64,
}

impl Validators {
    /// Of content by its digest, `size` bytes of it, under a path that was last changed at `modified` (Unix seconds).
    pub fn of_content(digest: &Sha256, size: u64, modified: i64) -> Validators {
        let etag = HeaderValue::try_from(format!("\"{digest}\""));
        Validators {
            // Quotes and digits always are a header's value.
            etag: etag.unwrap_or(HeaderValue::from_static("\"\"")),
            modified,
            last_modified: http_date(modified),
            size,
        }
    }

    /// Of a text that we wrote ourselves at `modified` (Unix seconds), of so many bytes.
    pub fn of_text(modified: i64, bytes: usize) -> Validators {
        let etag = HeaderValue::try_from(format!("\"{modified:x}-{bytes:x}\""));
        Validators {
            // Quotes and digits always are a header's value.
            etag: etag.unwrap_or(HeaderValue::from_static("\"\"")),
            modified,
            last_modified: http_date(modified),
            size: bytes as u64,
        }
    }
}

/// What to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// 200 with everything.
    Whole,
    /// 206 with these bytes; never empty.
    Part(Range<u64>),
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
    /// 416.
    Unsatisfiable,
}

/// Decides from the request's method (GET or HEAD) and headers.
pub fn decide(method: &Method, headers: &HeaderMap, validators: &Validators) -> Decision {
    if !preconditions_hold(headers, validators) {
        return Decision::PreconditionFailed;
    }
    if is_unchanged(headers, validators) {
        return Decision::NotModified;
    }
    // Ranges are defined for GET alone, and a copy of something else must not be completed with our bytes.
    if method != Method::GET || !range_applies(headers, validators) {
        return Decision::Whole;
    }
    match text(headers, &RANGE).and_then(|range| parse_range(range, validators.size)) {
        None => Decision::Whole,
        Some(Some(part)) => Decision::Part(part),
        Some(None) => Decision::Unsatisfiable,
    }
}

/// The date of a `Last-Modified` header; none for instants that HTTP dates cannot express.
pub fn http_date(unix_seconds: i64) -> Option<HeaderValue> {
    /// 9999-12-31T23:59:59Z
    const LAST: u64 = 253_402_300_799;
    let seconds = u64::try_from(unix_seconds)
        .ok()
        .filter(|seconds| *seconds <= LAST)?;
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
    HeaderValue::try_from(date).ok()
}

fn preconditions_hold(headers: &HeaderMap, validators: &Validators) -> bool {
    match lists(headers, &IF_MATCH, |tag| {
        tag == "*" || validators.etag == *tag
    }) {
        Some(is_listed) => is_listed,
        None => match date(headers, &IF_UNMODIFIED_SINCE) {
            Some(at) => at == validators.modified,
            None => true,
        },
    }
}

fn is_unchanged(headers: &HeaderMap, validators: &Validators) -> bool {
    match lists(headers, &IF_NONE_MATCH, |tag| {
        tag == "*" || *tag.trim_start_matches("W/") == validators.etag
    }) {
        Some(is_listed) => is_listed,
        None => date(headers, &IF_MODIFIED_SINCE) == Some(validators.modified),
    }
}

fn range_applies(headers: &HeaderMap, validators: &Validators) -> bool {
    match text(headers, &IF_RANGE) {
        None => !headers.contains_key(IF_RANGE),
        Some(tag) if tag.starts_with('"') || tag.starts_with("W/") => *tag == validators.etag,
        Some(_) => date(headers, &IF_RANGE) == Some(validators.modified),
    }
}

/// `None`: no range that we understand (other units, malformed, several ranges: the whole may be sent instead).
/// `Some(None)`: understood, and there are no such bytes.
fn parse_range(value: &str, size: u64) -> Option<Option<Range<u64>>> {
    let (unit, ranges) = value.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = ranges.trim().split_once('-')?;
    let (first, last) = (position(first)?, position(last)?);
    let range = match (first, last) {
        (None, None) => return None,
        (None, Some(length)) => size.saturating_sub(length)..size,
        (Some(first), None) => first..size,
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Some(_), Some(_)) => return None,
    };
    Some((range.start < range.end).then_some(range))
}

/// A position of a range: `Some(None)` where it is left out. Numbers beyond 64 bits are beyond every file.
fn position(text: &str) -> Option<Option<u64>> {
    let text = text.trim();
    if text.is_empty() {
        return Some(None);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(Some(text.parse().unwrap_or(u64::MAX)))
}

/// Whether one of the elements of a list header is it, over all its lines; none where the header is absent or unreadable.
fn lists(headers: &HeaderMap, name: &HeaderName, is_it: impl Fn(&str) -> bool) -> Option<bool> {
    let mut found = None;
    for line in headers.get_all(name) {
        let is_here = line.to_str().ok()?.split(',').map(str::trim).any(&is_it);
        found = Some(found.unwrap_or(false) || is_here);
    }
    found
}

/// The value of a header that may occur once only; none where it is absent, repeated or unreadable.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut lines = headers.get_all(name).iter();
    let line = lines.next()?;
    match lines.next() {
        Some(_) => None,
        None => line.to_str().ok().map(str::trim),
    }
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<i64> {
    let at: SystemTime = httpdate::parse_http_date(text(headers, name)?).ok()?;
    i64::try_from(at.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn validators() -> Validators {
        Validators {
            etag: HeaderValue::from_static("\"abc\""),
            last_modified: None,
            modified: 784_111_777,
            size: 100,
        }
    }

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn get(headers: &[(HeaderName, &str)]) -> Decision {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()))
            .collect();
        decide(&Method::GET, &headers, &validators())
    }

    #[test]
    fn a_known_tag_or_exactly_the_known_date_is_not_sent_again() {
        assert_eq!(
            get(&[(IF_NONE_MATCH, "\"x\", W/\"abc\"")]),
            Decision::NotModified
        );
        assert_eq!(get(&[(IF_NONE_MATCH, "*")]), Decision::NotModified);
        assert_eq!(get(&[(IF_MODIFIED_SINCE, DATE)]), Decision::NotModified);
        assert_eq!(get(&[(IF_MODIFIED_SINCE, LATER)]), Decision::Whole);
        assert_eq!(
            get(&[(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, DATE)]),
            Decision::Whole,
            "the tag wins"
        );
        assert_eq!(http_date(784_111_777).unwrap(), DATE);
    }

    #[test]
    fn preconditions_are_obeyed() {
        assert_eq!(get(&[(IF_MATCH, "\"x\"")]), Decision::PreconditionFailed);
        assert_eq!(
            get(&[(IF_MATCH, "W/\"abc\"")]),
            Decision::PreconditionFailed,
            "a weak tag never matches here"
        );
        assert_eq!(get(&[(IF_MATCH, "\"abc\"")]), Decision::Whole);
        assert_eq!(
            get(&[(IF_UNMODIFIED_SINCE, LATER)]),
            Decision::PreconditionFailed
        );
        assert_eq!(get(&[(IF_UNMODIFIED_SINCE, DATE)]), Decision::Whole);
    }

    #[test]
    fn single_and_suffix_ranges() {
        assert_eq!(get(&[(RANGE, "bytes=0-0")]), Decision::Part(0..1));
        assert_eq!(get(&[(RANGE, "bytes=10-")]), Decision::Part(10..100));
        assert_eq!(get(&[(RANGE, "bytes=90-999")]), Decision::Part(90..100));
        assert_eq!(get(&[(RANGE, "bytes=-10")]), Decision::Part(90..100));
        assert_eq!(get(&[(RANGE, "bytes=-1000")]), Decision::Part(0..100));
        assert_eq!(
            get(&[(RANGE, "bytes=0-99999999999999999999999")]),
            Decision::Part(0..100)
        );
    }

    #[test]
    fn ranges_without_bytes_and_ranges_that_are_none() {
        for range in ["bytes=100-", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(get(&[(RANGE, range)]), Decision::Unsatisfiable, "{range}");
        }
        for range in [
            "bytes=5-4",
            "bytes=-",
            "bytes=a-b",
            "bytes=+1-2",
            "lines=0-1",
            "bytes",
            "bytes=0-1,5-6",
        ] {
            assert_eq!(get(&[(RANGE, range)]), Decision::Whole, "{range}");
        }
    }

    #[test]
    fn a_range_of_another_copy_is_answered_with_the_whole() {
        assert_eq!(
            get(&[(RANGE, "bytes=5-"), (IF_RANGE, "\"abc\"")]),
            Decision::Part(5..100)
        );
        assert_eq!(
            get(&[(RANGE, "bytes=5-"), (IF_RANGE, DATE)]),
            Decision::Part(5..100)
        );
        for other in ["\"x\"", "W/\"abc\"", LATER, "nonsense"] {
            assert_eq!(
                get(&[(RANGE, "bytes=5-"), (IF_RANGE, other)]),
                Decision::Whole,
                "{other}"
            );
        }
        let headers = [(RANGE, HeaderValue::from_static("bytes=5-"))]
            .into_iter()
            .collect();
        assert_eq!(
            decide(&Method::HEAD, &headers, &validators()),
            Decision::Whole
        );
    }

    #[test]
    fn instants_outside_http_dates_have_none() {
        assert_eq!(http_date(-1), None);
        assert_eq!(http_date(i64::MAX), None);
    }

    proptest! {
        #[test]
        fn a_part_lies_within_the_file(range in "(bytes=)?[0-9]{0,22}-?[0-9]{0,22}", size in 0u64..1000) {
            let headers = [(RANGE, HeaderValue::from_str(&range).unwrap())].into_iter().collect();
            let validators = Validators { size, ..validators() };
            if let Decision::Part(part) = decide(&Method::GET, &headers, &validators) {
                prop_assert!(part.start < part.end && part.end <= size);
            }
        }
    }
}
