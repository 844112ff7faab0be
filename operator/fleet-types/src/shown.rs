//! How a URL is shown: in messages, reports, logs, pages and comments.
//!
//! Some archives are reached by an address that is a secret itself: a token as the user's name, in the query, or as a
//! folder. This is the one rule for what of an address people get to see.

use percent_encoding::percent_decode_str;

/// So many characters of hexadecimal or base64 in a row are taken for a token, and not for a word.
const RANDOM_CHARACTERS: usize = 20;

/// An absolute URL for people: without user, password, query and fragment, and only up to the first part of its path
/// that looks random. What comes after that is left out with it.
pub fn shown_url(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = match authority.rsplit_once('@') {
        Some((_, host)) => host,
        None => authority,
    };
    let mut shown = scheme + host;
    for part in path.split_inclusive('/') {
        if looks_random(part.strip_suffix('/').unwrap_or(part)) {
            break;
        }
        shown.push_str(part);
    }
    shown
}

/// The file `path` of the repository at `base`: its URL, or both apart where that of the repository may not be shown.
/// The file's own name is no secret: it is on every list of the repository.
pub fn shown_file(base: &str, path: &str) -> String {
    let shown = shown_url(base);
    let whole = base.split(['?', '#']).next().unwrap_or_default();
    if after_host(whole) == after_host(&shown) {
        format!("{}/{path}", shown.trim_end_matches('/'))
    } else {
        format!("{path} below {shown}")
    }
}

/// The path of a URL, from its `/`.
fn after_host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    &rest[rest.find('/').unwrap_or(rest.len())..]
}

/// Whether a part of a path can be a token: it holds 20 or more characters of hexadecimal or base64 in a row. Of base64
/// for URLs, which has `-` and `_`, small letters alone are words: `security-updates-archive`.
fn looks_random(part: &str) -> bool {
    let bytes: Vec<u8> = percent_decode_str(part).collect();
    let run = |allowed: &dyn Fn(&u8) -> bool, telling: &dyn Fn(&u8) -> bool| {
        bytes
            .split(|byte| !allowed(byte))
            .any(|run| run.len() >= RANDOM_CHARACTERS && run.iter().any(telling))
    };
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    let for_urls = |byte: &u8| plain(byte) || b"-_".contains(byte);
    let no_word = |byte: &u8| byte.is_ascii_digit() || byte.is_ascii_uppercase();
    run(&plain, &|_| true) || run(&for_urls, &no_word)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_addresses_are_shown_as_they_are() {
        for url in [
            "https://mirrors.example.org/debian-security/",
            "https://deb.example.org/node_20.x/",
            "http://[::1]:8080/a/b%20c/",
            "https://example.org/software-distribution-archive/",
            "file:///srv/mirror/",
            "https://example.org",
        ] {
            assert_eq!(shown_url(url), url);
        }
        assert_eq!(
            shown_file("http://example.org/debian/", "dists/a/InRelease"),
            "http://example.org/debian/dists/a/InRelease"
        );
        assert_eq!(
            shown_file("http://example.org", "a"),
            "http://example.org/a"
        );
    }

    #[test]
    fn tokens_are_not_shown() {
        let token = "0123456789abcdef0123";
        for (url, shown) in [
            (
                "https://me:pw@example.org/debian/?key=x#y".to_owned(),
                "https://example.org/debian/",
            ),
            (
                format!("https://example.org/{token}/debian/"),
                "https://example.org/",
            ),
            (
                format!("https://example.org/a/key-{token}%2F/debian"),
                "https://example.org/a/",
            ),
            (
                "https://example.org/pool/123e4567-e89b-12d3-a456-426614174000/".to_owned(),
                "https://example.org/pool/",
            ),
            (
                "https://example.org/abcdefghijklmnopqrstuvwxyz".to_owned(),
                "https://example.org/",
            ),
            (format!("file:///srv/{token}/x"), "file:///srv/"),
        ] {
            assert_eq!(shown_url(&url), shown, "{url}");
        }
        assert_eq!(
            shown_file(
                &format!("https://u@example.org/{token}/deb/"),
                "dists/a/InRelease"
            ),
            "dists/a/InRelease below https://example.org/"
        );
        assert_eq!(
            shown_file("https://u:p@example.org/deb/?t=1", "dists/a/InRelease"),
            "https://example.org/deb/dists/a/InRelease"
        );
    }

    proptest! {
        #[test]
        fn no_secret_is_ever_shown(
            secret in "([0-9a-f]{20,64}|[A-Za-z0-9+=]{20,64}|[A-Z][A-Za-z0-9_-]{19,64})",
            before in "(/[a-z]{1,10}){0,3}",
            after in "(/[a-z]{0,10}){0,3}",
            place in 0..6_u8,
        ) {
            let host = "example.org";
            let url = match place {
                0 => format!("https://{secret}@{host}{before}{after}"),
                1 => format!("https://user:{secret}@{host}{before}{after}"),
                2 => format!("https://{host}{before}/{secret}{after}"),
                3 => format!("https://{host}{before}/token:{secret}.x{after}"),
                4 => format!("https://{host}{before}{after}?key={secret}"),
                _ => format!("https://{host}{before}{after}#{secret}"),
            };
            for shown in [shown_url(&url), shown_file(&url, "dists/a/Release")] {
                prop_assert!(!shown.contains(&secret) && shown.contains(host), "{} from {}", shown, url);
            }
        }

        #[test]
        fn any_text_is_survived(url in "\\PC{0,80}", path in "\\PC{0,20}") {
            let _ = (shown_url(&url), shown_file(&url, &path));
        }
    }
}
