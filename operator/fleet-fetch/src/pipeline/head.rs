//! The head of an answer, as far as it decides where the next answer begins. Whatever leaves room for doubt is odd.

use std::time::SystemTime;

use super::super::retry::parse_retry_after;
use super::super::verdict::{says_close, unix};

/// A head may not be longer.
pub(super) const MAX_HEAD: usize = 16 << 10;
const MAX_FIELDS: usize = 64;

/// What counts of a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub status: u16,
    /// Of the body.
    pub length: u64,
    /// No other answer follows on this connection.
    pub closes: bool,
    /// Seconds since 1970-01-01T00:00:00Z.
    pub modified: Option<i64>,
    pub retry_after: Option<u64>,
}

/// Reads a head at the beginning of `bytes`, with its own length; none while it is not complete.
pub(super) fn read(bytes: &[u8]) -> Result<Option<(usize, Head)>, &'static str> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let size = match response.parse(bytes) {
        Ok(httparse::Status::Complete(size)) if size <= MAX_HEAD => size,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
        Ok(_) => return Err("a head that is too long"),
        Err(_) => return Err("something that is no head"),
    };
    let status = response.code.unwrap_or_default();
    if matches!(status, 0..=199 | 204..=206 | 304) {
        return Err("a status that fits no plain request");
    }
    let mut head = Head {
        status,
        length: 0,
        closes: response.version != Some(1),
        modified: None,
        retry_after: None,
    };
    let mut lengths = 0;
    for field in response.headers.iter() {
        let name = field.name;
        if name.eq_ignore_ascii_case("content-length") {
            lengths += 1;
            head.length = length(field.value).ok_or("a length that is no number")?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err("a body in another framing than by its length");
        } else if name.eq_ignore_ascii_case("connection") {
            head.closes |= text(field.value).is_none_or(says_close);
        } else if name.eq_ignore_ascii_case("last-modified") {
            let date = text(field.value).and_then(|value| httpdate::parse_http_date(value).ok());
            head.modified = date.and_then(unix);
        } else if name.eq_ignore_ascii_case("retry-after") {
            head.retry_after =
                text(field.value).and_then(|value| parse_retry_after(value, SystemTime::now()));
        }
    }
    match lengths {
        1 => Ok(Some((size, head))),
        0 => Err("a body without a length"),
        _ => Err("a body with two lengths"),
    }
}

/// Digits only: signs and lists are read differently by different readers.
fn length(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    digits.then(|| text(value)?.parse().ok()).flatten()
}

fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(fields: &str) -> Result<Option<(usize, Head)>, &'static str> {
        read(format!("HTTP/1.1 200 OK\r\n{fields}\r\nbody").as_bytes())
    }

    #[test]
    fn a_plain_head_says_how_long_its_body_is() {
        const FIELDS: &str = "Server: x\r\ncontent-length: 4\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: keep-alive\r\n";
        let (size, head) = fields(FIELDS).unwrap().unwrap();
        assert_eq!(size, "HTTP/1.1 200 OK\r\n".len() + FIELDS.len() + 2);
        assert_eq!(
            head,
            Head {
                status: 200,
                length: 4,
                closes: false,
                modified: Some(784_111_777),
                retry_after: None
            }
        );
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_odd() {
        for odd in [
            "",
            "Content-Length: 4\r\nContent-Length: 4\r\n",
            "Content-Length: 4\r\nContent-Length: 5\r\n",
            "Content-Length: 4, 4\r\n",
            "Content-Length: +4\r\n",
            "Content-Length: \r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Content-Length: 4\r\nTransfer-Encoding: identity\r\n",
            "Content-Length: 4\r\n continued: x\r\n",
        ] {
            assert!(fields(odd).is_err(), "{odd:?}");
        }
        for status in [
            "100 Continue",
            "204 No Content",
            "206 Partial",
            "304 Not Modified",
        ] {
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            assert!(read(head.as_bytes()).is_err(), "{status}");
        }
        assert!(read(b"<html>").is_err());
    }

    #[test]
    fn an_old_protocol_and_a_close_end_the_connection() {
        let closes = |head: &str| read(head.as_bytes()).unwrap().unwrap().1.closes;
        assert!(closes("HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\n"));
        assert!(closes(
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: foo, Close\r\n\r\n"
        ));
    }

    #[test]
    fn a_head_is_waited_for_but_not_for_ever() {
        assert_eq!(read(b"HTTP/1.1 200 OK\r\nContent-"), Ok(None));
        let long = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(MAX_HEAD));
        assert!(read(long.as_bytes()).is_err());
    }
}
