//! Request heads: bytes in, a value out. Pure. Framing that could be read in two ways is refused, or it is the last of
//! its connection.

use std::mem::MaybeUninit;

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

use crate::limits::{MAX_HEAD_BYTES, MAX_HEADERS};
use crate::transaction::is_host_clear;

/// One request without its body.
#[derive(Debug)]
pub struct Head {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    /// An HTTP/1.0 client is answered as one.
    pub is_http_10: bool,
    /// Whether the client wants to go on after this request.
    pub keep_alive: bool,
    pub body: Body,
}

/// What follows a head. No request that is answered with a file has a body, so nothing is done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// This many bytes, perhaps none.
    Length(u64),
    /// Where it ends is not worth knowing: the connection ends with the answer.
    Unread,
}

/// What the beginning of some bytes is.
#[derive(Debug)]
pub enum Parsed {
    /// A head, and its length.
    Head(Box<Head>, usize),
    Partial,
    /// Not HTTP/1, or too much of it.
    Refused(StatusCode),
}

/// Reads the head that `bytes` begin with. Its headers go into the map `room`, whose memory a former head had.
pub fn parse(bytes: &[u8], room: &mut HeaderMap) -> Parsed {
    let mut lines = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut lines) {
        Ok(httparse::Status::Complete(length)) if length <= MAX_HEAD_BYTES => {
            match read(&request, std::mem::take(room)) {
                Some(head) => Parsed::Head(Box::new(head), length),
                None => Parsed::Refused(StatusCode::BAD_REQUEST),
            }
        }
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD_BYTES => Parsed::Partial,
        Ok(_) | Err(httparse::Error::TooManyHeaders) => {
            Parsed::Refused(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
        }
        Err(_) => Parsed::Refused(StatusCode::BAD_REQUEST),
    }
}

fn read(request: &httparse::Request<'_, '_>, mut headers: HeaderMap) -> Option<Head> {
    let is_http_10 = request.version? == 0;
    for header in request.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(header.value).ok()?);
    }
    if !is_host_clear(&headers, is_http_10) {
        return None;
    }
    Some(Head {
        method: Method::from_bytes(request.method?.as_bytes()).ok()?,
        uri: Uri::try_from(request.path?).ok()?,
        is_http_10,
        keep_alive: keep_alive(&headers, is_http_10),
        body: body(&headers, is_http_10)?,
        headers,
    })
}

/// HTTP/1.1 connections go on unless told otherwise, HTTP/1.0 ones end.
fn keep_alive(headers: &HeaderMap, is_http_10: bool) -> bool {
    let says = |wanted: &str| {
        let lines = headers.get_all(CONNECTION).iter();
        let mut options = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','));
        options.any(|option| option.trim().eq_ignore_ascii_case(wanted))
    };
    !says("close") && (!is_http_10 || says("keep-alive"))
}

/// How the body is framed; none where that is not as it must be (RFC 9112 section 6.3).
fn body(headers: &HeaderMap, is_http_10: bool) -> Option<Body> {
    if let Some(coding) = headers.get_all(TRANSFER_ENCODING).iter().next_back() {
        let last = coding.to_str().ok()?.rsplit(',').next()?.trim();
        return (!is_http_10 && last.eq_ignore_ascii_case("chunked")).then_some(Body::Unread);
    }
    let mut length = None;
    for line in headers.get_all(CONTENT_LENGTH) {
        let digits = line.to_str().ok()?;
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let this: u64 = digits.parse().ok()?;
        if length.is_some_and(|other| other != this) {
            return None;
        }
        length = Some(this);
    }
    let length = length.unwrap_or(0);
    // Whoever asks first is told by the answer that no body is wanted, and may or may not send it then.
    let asks_first = length > 0 && headers.contains_key(EXPECT);
    Some(match asks_first {
        true => Body::Unread,
        false => Body::Length(length),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(text: &str) -> Head {
        match parse(text.as_bytes(), &mut HeaderMap::new()) {
            Parsed::Head(head, length) => {
                assert_eq!(length, text.len());
                *head
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn targets_are_read_in_every_form() {
        for (target, path) in [
            ("/debian/a?x=1", "/debian/a"),
            ("http://mirror.example.org/debian/a", "/debian/a"),
            ("http://mirror.example.org", "/"),
            ("*", "*"),
        ] {
            let head = head(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert_eq!(head.uri.path(), path, "{target}");
        }
    }

    #[test]
    fn connections_go_on_as_the_client_says() {
        for (version, lines, expected) in [
            ("1.1", "", true),
            ("1.1", "Connection: close\r\n", false),
            ("1.1", "Connection: x, CLOSE\r\n", false),
            (
                "1.1",
                "Connection: close\r\nConnection: keep-alive\r\n",
                false,
            ),
            ("1.0", "", false),
            ("1.0", "Connection: Keep-Alive\r\n", true),
        ] {
            let head = head(&format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n"));
            assert_eq!(head.keep_alive, expected, "{version} {lines:?}");
        }
    }

    #[test]
    fn bodies_are_framed_in_one_way_or_refused() {
        for (lines, expected) in [
            ("", Some(Body::Length(0))),
            ("Content-Length: 5\r\n", Some(Body::Length(5))),
            (
                "Content-Length: 5\r\nContent-Length: 5\r\n",
                Some(Body::Length(5)),
            ),
            (
                "Content-Length: 5\r\nExpect: 100-continue\r\n",
                Some(Body::Unread),
            ),
            ("Transfer-Encoding: chunked\r\n", Some(Body::Unread)),
            (
                "Content-Length: 5\r\nTransfer-Encoding: gzip, chunked\r\n",
                Some(Body::Unread),
            ),
            ("Content-Length: 5\r\nContent-Length: 6\r\n", None),
            ("Content-Length: +5\r\n", None),
            ("Content-Length: 5, 5\r\n", None),
            ("Content-Length: 99999999999999999999\r\n", None),
            ("Transfer-Encoding: chunked, gzip\r\n", None),
        ] {
            let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
            match (parse(text.as_bytes(), &mut HeaderMap::new()), expected) {
                (Parsed::Head(head, _), Some(body)) => assert_eq!(head.body, body, "{lines:?}"),
                (Parsed::Refused(StatusCode::BAD_REQUEST), None) => {}
                (parsed, _) => panic!("{lines:?}: {parsed:?}"),
            }
        }
    }

    #[test]
    fn who_is_asked_is_said_once() {
        for (version, lines, is_answered) in [
            ("1.1", "Host: a.example:80\r\n", true),
            ("1.1", "Host:\r\n", true),
            ("1.1", "Host: [::1]:8080\r\n", true),
            ("1.0", "", true),
            ("1.0", "Host: a\r\n", true),
            ("1.1", "", false),
            ("1.1", "Host: a\r\nHost: a\r\n", false),
            ("1.0", "Host: a\r\nHost: b\r\n", false),
            ("1.1", "Host: a b\r\n", false),
            ("1.1", "Host: u@a\r\n", false),
            ("1.1", "Host: a/b\r\n", false),
            ("1.1", "Host: a, b\r\n", false),
            ("1.1", "Host: \u{e9}\r\n", false),
        ] {
            let text = format!("GET http://b/ HTTP/{version}\r\n{lines}\r\n");
            let parsed = parse(text.as_bytes(), &mut HeaderMap::new());
            match is_answered {
                true => assert!(matches!(parsed, Parsed::Head(..)), "{text:?}: {parsed:?}"),
                false => assert!(
                    matches!(parsed, Parsed::Refused(StatusCode::BAD_REQUEST)),
                    "{text:?}: {parsed:?}"
                ),
            }
        }
    }

    proptest! {
        #[test]
        fn a_head_is_partial_until_its_last_byte(lines in "(X-[a-z]{1,9}: [ -~]{0,20}\r\n){0,5}", garbage in "[ -~\r\n]{0,60}") {
            let text = format!("GET /a HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
            for end in 0..text.len() {
                prop_assert!(matches!(parse(&text.as_bytes()[..end], &mut HeaderMap::new()), Parsed::Partial));
            }
            let more = format!("{text}{garbage}");
            let is_whole = matches!(parse(more.as_bytes(), &mut HeaderMap::new()), Parsed::Head(_, length) if length == text.len());
            prop_assert!(is_whole);
            parse(garbage.as_bytes(), &mut HeaderMap::new());
        }
    }
}
