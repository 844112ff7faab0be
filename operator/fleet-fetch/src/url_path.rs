//! Repository paths as URLs.

use fleet_types::{RepoPath, Sha256};
use sha2::Digest;
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

/// A URL for messages, see [`fleet_types::shown_url`].
pub(crate) fn shown(url: &Url) -> String {
    fleet_types::shown_url(url.as_str())
}

/// A file below an endpoint, for messages.
pub(crate) fn shown_file(base: &Url, path: &RepoPath) -> String {
    fleet_types::shown_file(base.as_str(), &encode(path.as_str()))
}

/// Tells an endpoint from others in what is remembered between runs, without being a secret itself.
pub(crate) fn identity(url: &Url) -> String {
    let mut plain = url.clone();
    // Both fail only for URLs that cannot have either.
    let _ = plain.set_username("");
    let _ = plain.set_password(None);
    let shown = shown(url);
    if plain.as_str() == shown {
        return shown;
    }
    let digest = Sha256(sha2::Sha256::digest(plain.as_str()).into());
    format!("{shown}#{digest}")
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

    #[test]
    fn endpoints_are_remembered_apart_without_their_secrets() {
        let of = |url: &str| identity(&Url::parse(url).unwrap());
        assert_eq!(
            of("https://u:p@example.org/debian/"),
            "https://example.org/debian/"
        );
        let (one, other) = (
            of("https://example.org/0123456789abcdef0123/"),
            of("https://example.org/0123456789abcdef0124/"),
        );
        assert_ne!(one, other);
        assert!(!one.contains("0123456789abcdef0123"), "{one}");
    }
}
