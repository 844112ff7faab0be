//! What a request's path means. Pure: bytes in, names out.
//!
//! A path is decoded once, a `+` is literal, `//` and `./` collapse, and `..` is refused however it is written. Names
//! in archives may themselves hold a percent sign (`%3a` for a colon), so the path as it was sent is a second
//! candidate.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A path without its leading slash, split so that nothing downstream has to think about slashes again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Parts joined by single slashes; no part is empty, `.` or `..`; empty for the top. Borrowed from the request where that
    /// wrote it so, as nearly all do.
    pub path: Cow<'a, str>,
    /// Whether the request named a directory: it ended in a slash (or in `/.`), or is the top.
    pub directory: bool,
}

/// What a request may mean, most likely first. At least one, at most two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestPath<'a> {
    pub decoded: Option<Candidate<'a>>,
    /// The path as sent, where that is something else.
    pub raw: Option<Candidate<'a>>,
}

/// Why a path is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    #[error("the path leads upwards (`..`)")]
    Upwards,
    #[error("the path does not begin with a slash")]
    NotAbsolute,
}

impl RequestPath<'_> {
    /// Reads the path of a request target, without its query.
    pub fn parse(sent: &str) -> Result<RequestPath<'_>, BadPath> {
        let sent = sent.strip_prefix('/').ok_or(BadPath::NotAbsolute)?;
        let raw = Candidate::collapse(sent)?;
        if !sent.contains('%') {
            return Ok(RequestPath {
                decoded: Some(raw),
                raw: None,
            });
        }
        let decoded = match decode(sent) {
            Some(text) => Some(Candidate::collapse(&text)?.into_owned()),
            None => None,
        };
        let raw = (decoded.as_ref() != Some(&raw)).then_some(raw);
        Ok(RequestPath { decoded, raw })
    }

    pub fn candidates(&self) -> impl Iterator<Item = &Candidate<'_>> {
        self.decoded.iter().chain(&self.raw)
    }
}

impl Candidate<'_> {
    fn collapse(text: &str) -> Result<Candidate<'_>, BadPath> {
        let (path, directory) = match text.strip_suffix('/') {
            Some(path) => (path, true),
            None => (text, false),
        };
        if is_collapsed(path) {
            return Ok(Candidate {
                path: Cow::Borrowed(path),
                directory,
            });
        }
        let mut path = String::with_capacity(text.len());
        let mut directory = true;
        for part in text.split('/') {
            directory = matches!(part, "" | ".");
            if directory {
                continue;
            }
            if part == ".." {
                return Err(BadPath::Upwards);
            }
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(part);
        }
        Ok(Candidate {
            directory: directory || path.is_empty(),
            path: Cow::Owned(path),
        })
    }

    /// What remains below `prefix` (without slashes at its ends), if this path lies there. A path that *is* the prefix
    /// leaves the top.
    pub fn below(&self, prefix: &str) -> Option<Candidate<'_>> {
        if prefix.is_empty() {
            return Some(self.part(&self.path));
        }
        let rest = self.path.strip_prefix(prefix)?;
        match rest.strip_prefix('/') {
            Some(path) => Some(self.part(path)),
            None if rest.is_empty() => Some(self.part(rest)),
            None => None,
        }
    }

    /// The first part, and what follows it; none for the top.
    pub fn split_first(&self) -> Option<(&str, Candidate<'_>)> {
        if self.path.is_empty() {
            return None;
        }
        let (first, rest) = self.path.split_once('/').unwrap_or((&self.path, ""));
        Some((first, self.part(rest)))
    }

    /// The end of this path.
    fn part<'a>(&self, path: &'a str) -> Candidate<'a> {
        Candidate {
            path: Cow::Borrowed(path),
            directory: self.directory,
        }
    }

    fn into_owned(self) -> Candidate<'static> {
        Candidate {
            path: Cow::Owned(self.path.into_owned()),
            directory: self.directory,
        }
    }

    /// The same path as an absolute URL path, encoded, with a slash at its end: where a directory's redirect leads.
    /// Never `//…`, which a client would take for another host.
    pub fn directory_location(&self) -> String {
        match self.path.is_empty() {
            true => "/".to_owned(),
            false => format!("/{}/", encode(&self.path)),
        }
    }
}

/// Whether each part is a name for sure: one that begins with a dot may be none.
fn is_collapsed(path: &str) -> bool {
    let bytes = path.as_bytes();
    let is_doubtful = |pair: &[u8]| matches!(pair, [b'/', b'/' | b'.']);
    // Without leaving early, many at a time.
    let inside = bytes
        .windows(2)
        .fold(false, |found, pair| found | is_doubtful(pair));
    !inside && !matches!(bytes, [] | [b'/' | b'.', ..] | [.., b'/'])
}

/// Decodes percent escapes, once. `None` where an escape is malformed or the result is not UTF-8: no entry of an index
/// has such a name.
fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex_digit(bytes.next()?)? << 4 | hex_digit(bytes.next()?)?,
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

/// Percent-encodes a path for a URL, keeping slashes. Colons are encoded too, or a relative link like `a:b` would be
/// read as a scheme.
pub fn encode(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b'+' => {
                encoded.push(char::from(byte));
            }
            other => {
                // Writing to a String cannot fail.
                let _ = write!(encoded, "%{other:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(sent: &str) -> (String, bool) {
        let candidate = RequestPath::parse(sent).unwrap().decoded.unwrap();
        (candidate.path.into_owned(), candidate.directory)
    }

    #[test]
    fn a_path_is_decoded_once_and_collapsed() {
        assert_eq!(
            decoded("/debian/pool/a+b_1%2bx.deb"),
            ("debian/pool/a+b_1+x.deb".into(), false)
        );
        assert_eq!(decoded("//debian//./dists/"), ("debian/dists".into(), true));
        assert_eq!(decoded("/a%252fb"), ("a%2fb".into(), false));
        assert_eq!(decoded("/a%2Fb"), ("a/b".into(), false));
        assert_eq!(decoded("/debian/."), ("debian".into(), true));
        assert_eq!(decoded("/"), (String::new(), true));
    }

    #[test]
    fn a_literal_escape_in_a_name_is_found_as_it_was_sent() {
        let path = RequestPath::parse("/pool/x_1%3a2.deb").unwrap();
        let names: Vec<&str> = path
            .candidates()
            .map(|candidate| &*candidate.path)
            .collect();
        assert_eq!(names, ["pool/x_1:2.deb", "pool/x_1%3a2.deb"]);
        let malformed = RequestPath::parse("/a%zz").unwrap();
        assert_eq!(malformed.decoded, None);
        assert_eq!(malformed.raw.unwrap().path, "a%zz");
    }

    #[test]
    fn upwards_is_refused_however_it_is_written() {
        for sent in [
            "/..",
            "/a/../b",
            "/a/%2e%2e/b",
            "/a/.%2E",
            "/%2e%2e%2fetc/passwd",
            "/a%2f..%2fb",
        ] {
            assert_eq!(RequestPath::parse(sent), Err(BadPath::Upwards), "{sent}");
        }
        assert_eq!(decoded("/a..b/...").0, "a..b/...");
        assert_eq!(RequestPath::parse("*"), Err(BadPath::NotAbsolute));
    }

    #[test]
    fn a_prefix_is_whole_parts() {
        let path = RequestPath::parse("/debian-security/x")
            .unwrap()
            .decoded
            .unwrap();
        assert_eq!(path.below("debian"), None);
        assert_eq!(path.below("debian-security").unwrap().path, "x");
        assert_eq!(path.below("").unwrap(), path);
        let top = RequestPath::parse("/debian").unwrap().decoded.unwrap();
        assert_eq!(
            top.below("debian"),
            Some(Candidate {
                path: "".into(),
                directory: false
            })
        );
    }

    #[test]
    fn a_redirect_never_leads_to_another_host() {
        let path = RequestPath::parse("//evil.example.org/%2e")
            .unwrap()
            .decoded
            .unwrap();
        assert_eq!(path.directory_location(), "/evil.example.org/");
        assert_eq!(encode("a:b c/ü?#\"<"), "a%3Ab%20c/%C3%BC%3F%23%22%3C");
    }

    proptest! {
        #[test]
        fn no_candidate_can_leave_and_encoding_is_undone_by_decoding(sent in "(/|%|[0-9a-f]{1,2}|\\.|[ -~]|\\PC){0,40}") {
            if let Ok(path) = RequestPath::parse(&format!("/{sent}")) {
                prop_assert!(path.candidates().count() >= 1);
                for candidate in path.candidates() {
                    prop_assert!(candidate.path.split('/').all(|part| part != ".." && part != "."));
                    prop_assert!(candidate.path.is_empty() || candidate.path.split('/').all(|part| !part.is_empty()));
                    let location = candidate.directory_location();
                    prop_assert!(!location.starts_with("//"));
                    let again = RequestPath::parse(&location).unwrap().decoded.unwrap();
                    prop_assert_eq!(&again.path, &candidate.path);
                }
            }
        }
    }
}
