//! What proxies before us say of how they were asked, as far as their word counts.
//!
//! `X-Forwarded-For`, `-Host`, `-Proto` and `-Prefix`, or where a request has none of them `Forwarded` (RFC 7239): a proxy
//! speaks in one of both ways, and lets the other by as its client wrote it. Each proxy writes a value of its own or adds
//! one to the end, so lists are read from there, over as many values as there are proxies whose word counts in a row.
//! What stands further left may be of anybody.
//!
//! Pure: headers in, values out.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

const FOR: &str = "x-forwarded-for";
const HOST: &str = "x-forwarded-host";
const PROTO: &str = "x-forwarded-proto";
const PREFIX: &str = "x-forwarded-prefix";
const FORWARDED: &str = "forwarded";
/// On which headers an answer depends that has an address in it. Who the client is makes no difference to it.
pub const VARY: &str = "forwarded, x-forwarded-host, x-forwarded-prefix, x-forwarded-proto";
/// A prefix is part of answers, and is to stay small.
const LONGEST_PREFIX: usize = 256;

/// Who asks, and how the first of the proxies whose word counts was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Front<'a> {
    pub client: IpAddr,
    pub proto: Option<&'a str>,
    pub host: Option<&'a str>,
    /// The path that proxies took off: empty, or from a slash on and without one at its end.
    pub prefix: String,
    /// Somebody says how it was asked whose word does not count: nobody knows how it was.
    pub is_doubtful: bool,
}

impl<'a> Front<'a> {
    /// `proxies` are the networks of those whose word counts.
    pub fn read(peer: IpAddr, headers: &'a HeaderMap, proxies: &[IpNet]) -> Front<'a> {
        let trusts = |address: IpAddr| proxies.iter().any(|network| network.contains(&address));
        let peer = peer.to_canonical();
        let of_peer = Front {
            client: peer,
            proto: None,
            host: None,
            prefix: String::new(),
            is_doubtful: false,
        };
        let is_said = |names: &[&str]| names.iter().any(|name| headers.contains_key(*name));
        if !trusts(peer) {
            return Front {
                is_doubtful: is_said(&[HOST, PROTO, PREFIX, FORWARDED]),
                ..of_peer
            };
        }
        if is_said(&[FOR, HOST, PROTO, PREFIX]) {
            return of_peer.by_usual_fields(headers, trusts);
        }
        of_peer.by_the_standard(headers, trusts)
    }

    fn by_usual_fields(self, headers: &'a HeaderMap, trusts: impl Fn(IpAddr) -> bool) -> Front<'a> {
        let (mut client, mut trusted) = (self.client, 1);
        for hop in values(headers, FOR).rev() {
            let Some(before) = address(hop).filter(|_| trusts(client)) else {
                break;
            };
            client = before;
            trusted += usize::from(trusts(client));
        }
        let own = |name: &str| {
            let all: Vec<&str> = values(headers, name).collect();
            let first = all.len().saturating_sub(trusted);
            all.get(first..).unwrap_or_default().to_vec()
        };
        let prefixes = own(PREFIX);
        let prefixes: Option<String> = prefixes.into_iter().map(prefix).collect();
        let prefix = prefixes.filter(|prefix| prefix.len() <= LONGEST_PREFIX);
        Front {
            client,
            proto: own(PROTO).first().copied(),
            host: own(HOST).first().copied(),
            prefix: prefix.unwrap_or_default(),
            ..self
        }
    }

    fn by_the_standard(self, headers: &'a HeaderMap, trusts: impl Fn(IpAddr) -> bool) -> Front<'a> {
        let mut front = self;
        for element in values(headers, FORWARDED).rev() {
            if !trusts(front.client) {
                break;
            }
            let pairs = || element.split(';').filter_map(|pair| pair.split_once('='));
            let said = |wanted: &str| {
                let found = pairs().find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted));
                found.map(|(_, value)| value.trim().trim_matches('"'))
            };
            (front.proto, front.host) = (said("proto"), said("host"));
            match said("for").and_then(address) {
                Some(before) => front.client = before,
                None => break,
            }
        }
        front
    }
}

/// The values of a list that may stand in several lines, in their order.
fn values<'a>(headers: &'a HeaderMap, name: &str) -> impl DoubleEndedIterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter();
    let lines: Vec<&str> = lines.filter_map(|line| line.to_str().ok()).collect();
    let values: Vec<&str> = lines.into_iter().flat_map(|line| line.split(',')).collect();
    values.into_iter().map(str::trim)
}

/// Some proxies write the port too.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let alone: Option<IpAddr> = bare.unwrap_or(text).parse().ok();
    let with_port = || Some(text.parse::<SocketAddr>().ok()?.ip());
    Some(alone.or_else(with_port)?.to_canonical())
}

/// A path as it may become part of an answer. None for what could lead to another host, or anywhere but below this one.
fn prefix(text: &str) -> Option<&str> {
    let text = text.strip_suffix('/').unwrap_or(text);
    if text.is_empty() {
        return Some(text);
    }
    let is_part = |part: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%+@".contains(&byte);
        !matches!(part, "" | "." | "..") && part.bytes().all(plain)
    };
    let mut parts = text.strip_prefix('/')?.split('/');
    parts.all(is_part).then_some(text)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    const INSIDE: &[&str] = &["10.0.0.0/8", "fd00::/8"];

    fn headers(said: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (
                HeaderName::try_from(*name).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            )
        };
        let mut headers = HeaderMap::new();
        said.iter().map(pair).for_each(|(name, value)| {
            headers.append(name, value);
        });
        headers
    }

    fn networks(proxies: &[&str]) -> Vec<IpNet> {
        proxies.iter().map(|net| net.parse().unwrap()).collect()
    }

    fn client(peer: &str, said: &[&str], proxies: &[&str]) -> String {
        let said: Vec<_> = said.iter().map(|value| (FOR, *value)).collect();
        let headers = headers(&said);
        let front = Front::read(peer.parse().unwrap(), &headers, &networks(proxies));
        front.client.to_string()
    }

    #[test]
    fn only_proxies_whose_word_counts_say_who_the_client_is() {
        for (peer, said, trusted, wanted) in [
            ("10.0.0.1", &["192.0.2.7"][..], &[][..], "10.0.0.1"),
            ("10.0.0.1", &["192.0.2.7"], INSIDE, "192.0.2.7"),
            ("::ffff:10.0.0.1", &["192.0.2.7"], INSIDE, "192.0.2.7"),
            ("203.0.113.1", &["192.0.2.7"], INSIDE, "203.0.113.1"),
            // Whoever writes to the left of what a trusted proxy wrote may be anybody.
            (
                "10.0.0.1",
                &["1.1.1.1, 192.0.2.7, 10.0.0.2"],
                INSIDE,
                "192.0.2.7",
            ),
            (
                "10.0.0.1",
                &["1.1.1.1", "192.0.2.7", "10.0.0.2"],
                INSIDE,
                "192.0.2.7",
            ),
            ("fd00::1", &["[2001:db8::7]:4711"], INSIDE, "2001:db8::7"),
            (
                "10.0.0.1",
                &["192.0.2.7:4711,10.0.0.2"],
                INSIDE,
                "192.0.2.7",
            ),
            ("10.0.0.1", &["192.0.2.7, unknown"], INSIDE, "10.0.0.1"),
            ("10.0.0.1", &["10.0.0.9"], INSIDE, "10.0.0.9"),
            ("10.0.0.1", &[], INSIDE, "10.0.0.1"),
        ] {
            assert_eq!(client(peer, said, trusted), wanted, "{peer} {said:?}");
        }
    }

    /// Protocol, host, prefix and client, by what the proxy at 10.0.0.1 says.
    fn told(said: &[(&str, &str)]) -> (String, String, String, String) {
        let headers = headers(said);
        let front = Front::read("10.0.0.1".parse().unwrap(), &headers, &networks(INSIDE));
        let text = |value: Option<&str>| value.unwrap_or("-").to_owned();
        (
            text(front.proto),
            text(front.host),
            front.prefix,
            front.client.to_string(),
        )
    }

    fn quadruple(all: [&str; 4]) -> (String, String, String, String) {
        let [proto, host, prefix, client] = all.map(str::to_owned);
        (proto, host, prefix, client)
    }

    #[test]
    fn each_proxy_is_heard_of_its_own_values_and_not_of_those_that_its_client_wrote() {
        type Case<'a> = (&'a [(&'a str, &'a str)], [&'a str; 4]);
        let cases: [Case<'_>; 9] = [
            (&[], ["-", "-", "", "10.0.0.1"]),
            (
                &[
                    (FOR, "192.0.2.7"),
                    (PROTO, "https"),
                    (HOST, "a.example"),
                    (PREFIX, "/m"),
                ],
                ["https", "a.example", "/m", "192.0.2.7"],
            ),
            // It adds to what its client wrote.
            (
                &[
                    (FOR, "1.1.1.1, 192.0.2.7"),
                    (PROTO, "http, https"),
                    (HOST, "evil.example, a.example"),
                    (PREFIX, "/evil, /m"),
                ],
                ["https", "a.example", "/m", "192.0.2.7"],
            ),
            // Two of them in a row, the first of which took off a prefix too.
            (
                &[
                    (FOR, "192.0.2.7, 10.0.0.2"),
                    (PROTO, "https, http"),
                    (HOST, "a.example, b.internal"),
                    (PREFIX, "/a, /b"),
                ],
                ["https", "a.example", "/a/b", "192.0.2.7"],
            ),
            // The second writes over what the first one wrote.
            (
                &[(FOR, "192.0.2.7, 10.0.0.2"), (HOST, "a.example")],
                ["-", "a.example", "", "192.0.2.7"],
            ),
            // What its client wrote in the other way counts for nothing.
            (
                &[
                    (FOR, "192.0.2.7"),
                    (FORWARDED, "host=evil.example;proto=http"),
                ],
                ["-", "-", "", "192.0.2.7"],
            ),
            (
                &[(
                    FORWARDED,
                    "for=\"[2001:db8::7]:4711\";Proto=https;host=\"a.example:8443\"",
                )],
                ["https", "a.example:8443", "", "2001:db8::7"],
            ),
            (
                &[(
                    FORWARDED,
                    "for=1.1.1.1;host=evil.example, for=192.0.2.7;host=a.example;proto=https, for=10.0.0.2;host=b",
                )],
                ["https", "a.example", "", "192.0.2.7"],
            ),
            (
                &[(FORWARDED, "for=_hidden;host=a.example")],
                ["-", "a.example", "", "10.0.0.1"],
            ),
        ];
        for (said, wanted) in cases {
            assert_eq!(told(said), quadruple(wanted), "{said:?}");
        }
    }

    #[test]
    fn a_prefix_leads_below_this_very_host() {
        for (said, wanted) in [
            ("/m", "/m"),
            ("/m/", "/m"),
            ("/a/b", "/a/b"),
            ("/", ""),
            ("m", ""),
            ("//evil.example", ""),
            ("/m/../..", ""),
            ("/a b", ""),
            ("/a\"b", ""),
            ("https://evil.example", ""),
        ] {
            assert_eq!(told(&[(PREFIX, said)]).2, wanted, "{said}");
        }
        let long = format!("/{}", "a".repeat(LONGEST_PREFIX));
        assert_eq!(told(&[(PREFIX, &long)]).2, "");
    }

    #[test]
    fn whose_word_does_not_count_only_makes_it_doubtful() {
        let read = |said: &[(&str, &str)]| {
            let headers = headers(said);
            let front = Front::read("203.0.113.1".parse().unwrap(), &headers, &networks(INSIDE));
            assert_eq!((front.proto, front.host), (None, None));
            assert_eq!(
                (front.prefix.as_str(), front.client.to_string().as_str()),
                ("", "203.0.113.1")
            );
            front.is_doubtful
        };
        for name in [HOST, PROTO, PREFIX, FORWARDED] {
            assert!(read(&[(name, "/x")]), "{name}");
        }
        assert!(!read(&[(FOR, "192.0.2.7")]) && !read(&[]));
    }

    proptest! {
        #[test]
        fn what_anybody_writes_is_read_or_left(said in "[ -~]{0,60}", name in prop::sample::select(vec![FOR, HOST, PROTO, PREFIX, FORWARDED])) {
            let front = told(&[(name, &said)]);
            prop_assert!(front.2.is_empty() || front.2.starts_with('/') && !front.2.starts_with("//"));
        }
    }
}
