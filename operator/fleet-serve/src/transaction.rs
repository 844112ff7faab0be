//! Keeping one update of a client within one snapshot, for clients that fetch indices by names whose content changes.
//!
//! apt fetches all of a suite from where its first file came from, if that file's request was redirected to another
//! site. Sites are compared as texts: the same host in another spelling is another site, and leads back here. So the
//! first file is answered with a redirect to the place of one kept snapshot, and what is published meanwhile is not
//! met.
//!
//! pacman asks for a database and then for its signature, beside where the database came from. Between the two the next
//! snapshot may be published, so that a database with a signature is answered by a redirect too, on this very site, and
//! also where the client's copy is current: the place of the snapshot says so, and the signature is asked for there.
//!
//! Pure: headers in, a place out.

use std::net::Ipv6Addr;

use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST, USER_AGENT};

use crate::forwarded::Front;

/// How apt's own transport for http and https calls itself.
const APT: &str = "Debian APT-HTTP/";
const PACMAN: &str = "pacman/";

/// How a request reached us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way<'a> {
    /// Of an absolute request target, as all have with h2.
    pub authority: Option<&'a str>,
    /// Over TLS that ends here.
    pub secure: bool,
}

/// Whether the client follows redirects as described above.
pub fn is_apt(headers: &HeaderMap) -> bool {
    headers
        .get(USER_AGENT)
        .and_then(|agent| agent.to_str().ok())
        .is_some_and(|agent| agent.contains(APT))
}

/// Whether the client takes the signature of a file from where that file came from, after redirects: libalpm.
pub fn is_pacman(headers: &HeaderMap) -> bool {
    headers
        .get(USER_AGENT)
        .and_then(|agent| agent.to_str().ok())
        .is_some_and(|agent| agent.starts_with(PACMAN))
}

/// The URL of this very site in another spelling, with what proxies took off its paths, without a slash at its end. None
/// where there is no other: an address without letters, with a port that must be said. None for a client that gives a
/// password, to a proxy before us: apt has it for one spelling only, and would be refused at the other. And none where it is
/// doubtful how the client asked: over https it follows no redirect to http.
pub fn other_site(way: Way<'_>, headers: &HeaderMap, front: &Front<'_>) -> Option<String> {
    if headers.contains_key(AUTHORIZATION) || front.is_doubtful {
        return None;
    }
    let (secure, site) = site(way, headers, front)?;
    let (scheme, default_port) = if secure { ("https", 443) } else { ("http", 80) };
    let (host, prefix) = (site.respelled(default_port)?, &front.prefix);
    Some(format!("{scheme}://{host}{prefix}"))
}

/// The URL of this very site as the client asked for it, with what proxies took off its paths, without a slash at its end;
/// none where it does not say.
pub fn asked_site(way: Way<'_>, headers: &HeaderMap, front: &Front<'_>) -> Option<String> {
    let (secure, site) = site(way, headers, front)?;
    let scheme = if secure { "https" } else { "http" };
    let port = site.port.map(|port| format!(":{port}"));
    let (host, port, prefix) = (site.host, port.unwrap_or_default(), &front.prefix);
    Some(format!("{scheme}://{host}{port}{prefix}"))
}

/// Whether it is asked over TLS, and who is.
fn site<'a>(way: Way<'a>, headers: &'a HeaderMap, front: &Front<'a>) -> Option<(bool, Site<'a>)> {
    let secure = match front.proto {
        Some(proto) if proto.eq_ignore_ascii_case("https") => true,
        Some(proto) if proto.eq_ignore_ascii_case("http") => false,
        _ => way.secure,
    };
    // RFC 9112 section 3.2.2: an absolute target says it better than Host.
    let here = Site::parse(way.authority.or_else(|| said(headers, HOST.as_str()))?)?;
    let site = match front.host {
        Some(forwarded) => Site::parse(forwarded)?.or_with_port(here),
        None => here,
    };
    Some((secure, site))
}

/// Whether a request says who is asked as it must: one Host, which HTTP/1.0 may leave out (RFC 9112 section 3.2). Its
/// value is a host with perhaps a port (RFC 3986 section 3.2.2), or empty.
pub fn is_host_clear(headers: &HeaderMap, is_http_10: bool) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => is_http_10,
        (Some(host), None) => host
            .as_bytes()
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(byte)),
        (Some(_), Some(_)) => false,
    }
}

fn said<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[derive(Clone, Copy)]
struct Site<'a> {
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Site<'a> {
    /// None for what is no host: it must not become part of an answer.
    fn parse(authority: &'a str) -> Option<Site<'a>> {
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok()?)),
            _ => (authority, None),
        };
        let address = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let fits = match address {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => {
                !host.is_empty()
                    && host
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
            }
        };
        fits.then_some(Site { host, port })
    }

    /// This one, or the other where that says the same host and a port too: proxies that keep Host often leave the port
    /// out elsewhere.
    fn or_with_port(self, other: Site<'a>) -> Site<'a> {
        match self.port.is_none() && self.host.eq_ignore_ascii_case(other.host) {
            true => other,
            false => self,
        }
    }

    fn respelled(&self, default_port: u16) -> Option<String> {
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        if let Some(at) = self.host.find(|c: char| c.is_ascii_alphabetic()) {
            let flip = |(position, c): (usize, char)| match c {
                c if position != at => c,
                c if c.is_ascii_lowercase() => c.to_ascii_uppercase(),
                c => c.to_ascii_lowercase(),
            };
            let host: String = self.host.char_indices().map(flip).collect();
            return Some(format!("{host}{port}"));
        }
        match self.port {
            None => Some(format!("{}:{default_port}", self.host)),
            Some(port) if port == default_port => Some(self.host.to_owned()),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const PROTO: &str = "x-forwarded-proto";
    const FORWARDED: &str = "x-forwarded-host";

    fn told(secure: bool, said: &[(&'static str, &str)]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in said {
            headers.insert(*name, HeaderValue::from_str(value).ok()?);
        }
        let way = Way {
            authority: None,
            secure,
        };
        other_site(way, &headers, &front(&headers, true))
    }

    /// As asked by a proxy.
    fn front(headers: &HeaderMap, is_trusted: bool) -> Front<'_> {
        let proxies: [ipnet::IpNet; 1] = ["10.0.0.0/8".parse().unwrap()];
        let proxies = &proxies[..usize::from(is_trusted)];
        Front::read("10.0.0.1".parse().unwrap(), headers, proxies)
    }

    fn site(host: &str, secure: bool) -> Option<String> {
        told(secure, &[("host", host)])
    }

    #[test]
    fn the_same_site_has_another_spelling() {
        for (host, other) in [
            ("localhost:8080", Some("http://Localhost:8080")),
            ("Mirror.example.org", Some("http://mirror.example.org")),
            ("10.0.0.1", Some("http://10.0.0.1:80")),
            ("10.0.0.1:80", Some("http://10.0.0.1")),
            ("10.0.0.1:8080", None),
            ("[fe80::1]:8080", Some("http://[Fe80::1]:8080")),
            ("[::1]", Some("http://[::1]:80")),
            ("[::1]:8080", None),
        ] {
            assert_eq!(site(host, false).as_deref(), other, "{host}");
        }
        assert_eq!(site("10.0.0.1", true).unwrap(), "https://10.0.0.1:443");
        let way = Way {
            authority: Some("a.example:8443"),
            secure: true,
        };
        assert_eq!(
            other_site(way, &HeaderMap::new(), &front(&HeaderMap::new(), true)).unwrap(),
            "https://A.example:8443"
        );
    }

    #[test]
    fn an_absolute_target_says_it_better_than_host() {
        let way = Way {
            authority: Some("a.example"),
            secure: false,
        };
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("evil.example"))]);
        let front = front(&headers, true);
        assert_eq!(
            other_site(way, &headers, &front).unwrap(),
            "http://A.example"
        );
    }

    #[test]
    fn behind_a_proxy_the_site_is_the_one_that_its_client_asked() {
        let (host, port) = ("a.example", "a.example:8443");
        for (secure, said, other) in [
            (
                false,
                [("host", host), (PROTO, "https")],
                Some("https://A.example"),
            ),
            (
                true,
                [("host", host), (PROTO, "http")],
                Some("http://A.example"),
            ),
            (
                true,
                [("host", host), (PROTO, "https, http")],
                Some("http://A.example"),
            ),
            (
                true,
                [("host", "pod:80"), (FORWARDED, port)],
                Some("https://A.example:8443"),
            ),
            (
                true,
                [("host", "a.example:80"), (FORWARDED, port)],
                Some("https://A.example:8443"),
            ),
            (
                true,
                [("host", port), (FORWARDED, "A.example")],
                Some("https://A.example:8443"),
            ),
            (
                true,
                [("host", "pod:80"), (FORWARDED, "b.example, a.example")],
                Some("https://A.example"),
            ),
            (false, [("host", "pod:80"), (FORWARDED, "a b")], None),
            (
                false,
                [("host", host), (PROTO, "http, https")],
                Some("https://A.example"),
            ),
            (
                false,
                [
                    ("host", "pod:80"),
                    (
                        "forwarded",
                        "for=\"[2001:db8::1]\";Proto=https;host=\"a.example:8443\", for=10.0.0.2;host=b;proto=http",
                    ),
                ],
                Some("https://A.example:8443"),
            ),
        ] {
            assert_eq!(told(secure, &said).as_deref(), other, "{said:?}");
        }
    }

    #[test]
    fn what_proxies_took_off_comes_before_every_path() {
        let said = [("host", "a.example"), ("x-forwarded-prefix", "/m/")];
        assert_eq!(told(true, &said).unwrap(), "https://A.example/m");
    }

    #[test]
    fn where_it_is_doubtful_how_the_client_asked_it_is_led_nowhere() {
        for (name, value) in [
            (PROTO, "https"),
            (FORWARDED, "evil.example"),
            ("forwarded", "host=evil.example"),
        ] {
            let headers = HeaderMap::from_iter([
                (HOST, HeaderValue::from_static("a.example")),
                (
                    http::HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                ),
            ]);
            let way = Way {
                authority: None,
                secure: false,
            };
            let front = front(&headers, false);
            assert_eq!(other_site(way, &headers, &front), None, "{name}");
            assert_eq!(
                asked_site(way, &headers, &front).unwrap(),
                "http://a.example"
            );
        }
    }

    #[test]
    fn who_gives_a_password_stays_where_it_is_valid() {
        let said = [("host", "a.example"), ("authorization", "Basic dTpw")];
        assert_eq!(told(true, &said), None);
    }

    #[test]
    fn what_is_no_host_leads_nowhere() {
        for host in [
            "", ":80", "a b", "a/b", "a@b", "a:b", "a:99999", "[x]", "a\"b",
        ] {
            assert_eq!(site(host, false), None, "{host}");
        }
    }

    proptest! {
        #[test]
        fn another_spelling_is_another_text_for_the_same_host(host in "[A-Za-z0-9.-]{1,20}(:[1-9][0-9]{0,3})?", secure: bool) {
            if let Some(other) = site(&host, secure) {
                let (scheme, default) = if secure { ("https://", ":443") } else { ("http://", ":80") };
                let other = other.strip_prefix(scheme).unwrap();
                prop_assert_ne!(other, &host);
                let plain = |text: &str| text.strip_suffix(default).unwrap_or(text).to_ascii_lowercase();
                prop_assert_eq!(plain(other), plain(&host));
            }
        }
    }
}
