//! Repository paths as URLs.

use fleet_types::RepoPath;
use url::Url;

use super::{FailureKind, FetchError};

/// The URL of a file below an endpoint. Every byte that is not plainly allowed in a path is percent-encoded, `+` too:
/// some object stores read a bare one as a space. A `%` in a name is part of the name.
pub(crate) fn url_of(base: &Url, path: &RepoPath) -> Result<Url, FetchError> {
    let mut text = base.clone();
    text.set_query(None);
    text.set_fragment(None);
    let url = format!(
        "{}/{}",
        text.as_str().trim_end_matches('/'),
        encode(path.as_str())
    );
    Url::parse(&url).map_err(|e| {
        FetchError::new(
            FailureKind::Broken,
            format!("{path} below {} makes no URL: {e}", shown(base)),
        )
    })
}

pub(crate) fn encode(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len() + 16);
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z'
            | b'a'..=b'z'
            | b'0'..=b'9'
            | b'-'
            | b'.'
            | b'_'
            | b'~'
            | b'/'
            | b':'
            | b'@'
            | b'='
            | b',' => {
                encoded.push(char::from(byte));
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

/// A URL for messages: without user name and password.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Fails only for URLs that cannot have either.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

/// The target of a redirect for messages: also without a query, which can hold a token.
pub(crate) fn shown_target(mut url: Url) -> String {
    url.set_query(None);
    shown(&url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_arrive_at_the_server_as_they_are() {
        let base = Url::parse("http://mirror.example.org/debian/?x#y").unwrap();
        let url = |name: &str| {
            url_of(&base, &RepoPath::new(name).unwrap())
                .unwrap()
                .to_string()
        };
        assert_eq!(
            url("pool/g++_1~rc:2.deb"),
            "http://mirror.example.org/debian/pool/g%2B%2B_1~rc:2.deb"
        );
        assert_eq!(
            url("a%3a/%2e%2e/b"),
            "http://mirror.example.org/debian/a%253a/%252e%252e/b"
        );
        assert_eq!(
            url("a b?c#d/ü"),
            "http://mirror.example.org/debian/a%20b%3Fc%23d/%C3%BC"
        );
    }

    #[test]
    fn passwords_do_not_reach_messages() {
        assert_eq!(
            shown(&Url::parse("https://u:p@example.org/x").unwrap()),
            "https://example.org/x"
        );
    }
}
