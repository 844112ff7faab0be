//! Where a redirect leads, and whether it is followed: decided without network.
//!
//! An upstream that others can reach must not choose what of our own machine or cloud we ask (loopback, link-local,
//! metadata). Addresses are judged here, names where they are resolved: see [`Way::must_stay_outside`].

use std::net::{IpAddr, SocketAddr};

use fleet_types::address::{is_loopback, is_off_limits};
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, LOCATION};
use url::{Host, Url};

use super::url_path::shown;

const MAX_REDIRECTS: usize = 5;

/// The places that one request was sent to, the last of them being the next to ask.
pub(super) struct Way {
    before: Vec<Url>,
    here: Url,
    /// Whether the upstream itself is on this machine, as a file server or a test is; known with its first answer.
    begins_inside: Option<bool>,
}

impl Way {
    pub fn from(start: Url) -> Way {
        Way {
            before: Vec::new(),
            here: start,
            begins_inside: None,
        }
    }

    /// Whether names must lead to no address of this machine or its cloud.
    pub fn must_stay_outside(&self) -> bool {
        self.begins_inside == Some(false)
    }

    pub fn here(&self) -> &Url {
        &self.here
    }

    /// Goes on where the answer leads elsewhere. False where it does not, or to nowhere that could be asked. Few, never
    /// in a circle, never from https back to http, never from outside to inside. `answered` is the address that the answer
    /// came from; none where a proxy is between.
    pub fn goes_on(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        answered: Option<SocketAddr>,
    ) -> Result<bool, String> {
        let begins_inside = *self.begins_inside.get_or_insert_with(|| match answered {
            Some(answered) => is_loopback(answered.ip()),
            None => address_of(&self.here).is_some_and(is_loopback),
        });
        let Some(next) = target(&self.here, status, headers) else {
            return Ok(false);
        };
        let leads_inside = address_of(&next)
            .is_some_and(|to| is_off_limits(to) && !(begins_inside && is_loopback(to)));
        let refusal = if leads_inside {
            "to an address of this machine or its cloud".to_owned()
        } else if self.here.scheme() == "https" && next.scheme() == "http" {
            "from https to http".to_owned()
        } else if next == self.here || self.before.contains(&next) {
            "in a circle".to_owned()
        } else if self.before.len() >= MAX_REDIRECTS {
            format!("after {MAX_REDIRECTS} others")
        } else {
            self.before.push(std::mem::replace(&mut self.here, next));
            return Ok(true);
        };
        Err(format!(
            "the upstream answered with a redirect to {}; a redirect {refusal} is not followed",
            shown(&next)
        ))
    }
}

/// The address that a URL names, as far as its text tells.
fn address_of(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(name) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            let is_here = name == "localhost" || name.ends_with(".localhost");
            is_here.then_some(std::net::Ipv4Addr::LOCALHOST.into())
        }
    }
}

fn target(from: &Url, status: StatusCode, headers: &HeaderMap) -> Option<Url> {
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = headers.get(LOCATION)?.to_str().ok()?;
    let mut next = from.join(location).ok()?;
    if !matches!(next.scheme(), "http" | "https") {
        return None;
    }
    next.set_fragment(None);
    // A login is the manifest's to give: the one of this place stays here, and nobody names another.
    let own = next.origin() == from.origin();
    let (user, password) = match own {
        true => (from.username(), from.password()),
        false => ("", None),
    };
    next.set_username(user).ok()?;
    next.set_password(password).ok()?;
    Some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goes_on(way: &mut Way, location: &str) -> Result<bool, String> {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, location.parse().unwrap());
        way.goes_on(StatusCode::FOUND, &headers, OUTSIDE.parse().ok())
    }

    const OUTSIDE: &str = "192.0.2.7:80";

    fn way(start: &str) -> Way {
        Way::from(Url::parse(start).unwrap())
    }

    #[test]
    fn a_login_stays_at_its_origin() {
        let mut way = way("https://user:password@a.example.org/x");
        goes_on(&mut way, "/y#z").unwrap();
        assert_eq!(way.here().as_str(), "https://user:password@a.example.org/y");
        goes_on(&mut way, "https://me:too@b.example.org/").unwrap();
        assert_eq!(way.here().as_str(), "https://b.example.org/");
        goes_on(&mut way, "https://a.example.org/z").unwrap();
        assert_eq!(way.here().as_str(), "https://a.example.org/z");
    }

    #[test]
    fn what_cannot_be_asked_is_no_way_on() {
        let mut way = way("http://a.example.org/x");
        for nowhere in ["file:///etc/passwd", "ftp://a.example.org/", "http://"] {
            assert_eq!(goes_on(&mut way, nowhere), Ok(false), "{nowhere}");
        }
        let answer = way.goes_on(StatusCode::FOUND, &HeaderMap::new(), None);
        assert_eq!(answer, Ok(false));
    }

    #[test]
    fn who_is_outside_does_not_choose_what_is_asked_inside() {
        let inside = [
            "http://127.0.0.1:9090/",
            "http://localhost/",
            "http://a.LocalHost./",
            "http://[::1]/",
            "http://0x7f.1/",
            "http://[::ffff:127.0.0.1]/",
            "http://169.254.169.254/latest/",
            "http://[fd00:ec2::254]/",
            "http://100.100.100.200/",
        ];
        for location in inside {
            let mut way = way("http://a.example.org/x");
            let refusal = goes_on(&mut way, location).unwrap_err();
            assert!(refusal.contains("of this machine"), "{location}: {refusal}");
            // Not in two steps either.
            assert_eq!(goes_on(&mut way, "http://b.example.org/"), Ok(true));
            assert!(goes_on(&mut way, location).is_err() && way.must_stay_outside());
        }
        assert_eq!(
            goes_on(&mut way("http://a.example.org/x"), "http://10.0.0.1/"),
            Ok(true)
        );
    }

    #[test]
    fn who_is_on_this_machine_may_lead_to_it() {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, "http://localhost:2/".parse().unwrap());
        let here = Some("127.0.0.1:80".parse().unwrap());
        let mut at_home = way("http://a.example.org/x");
        assert_eq!(at_home.goes_on(StatusCode::FOUND, &headers, here), Ok(true));
        assert!(!at_home.must_stay_outside());
        headers.insert(LOCATION, "http://169.254.169.254/".parse().unwrap());
        assert!(at_home.goes_on(StatusCode::FOUND, &headers, here).is_err());
        // Behind a proxy the text is all there is.
        headers.insert(LOCATION, "http://127.0.0.1/".parse().unwrap());
        assert!(
            way("http://a.example.org/")
                .goes_on(StatusCode::FOUND, &headers, None)
                .is_err()
        );
        assert!(
            way("http://127.0.0.1/x")
                .goes_on(StatusCode::FOUND, &headers, None)
                .is_ok()
        );
    }

    #[test]
    fn a_way_is_short_and_no_circle() {
        let mut circle = way("http://a.example.org/0");
        assert_eq!(goes_on(&mut circle, "/1"), Ok(true));
        let refusal = goes_on(&mut circle, "/0").unwrap_err();
        assert!(refusal.contains("in a circle"), "{refusal}");

        let mut long = way("http://a.example.org/0");
        for number in 1..=MAX_REDIRECTS {
            assert_eq!(goes_on(&mut long, &format!("/{number}")), Ok(true));
        }
        let refusal = goes_on(&mut long, "/6?token").unwrap_err();
        assert!(
            refusal.contains("after 5 others") && !refusal.contains("token"),
            "{refusal}"
        );

        let refusal = goes_on(&mut way("https://a.example.org/"), "http://a.example.org/x");
        assert!(refusal.unwrap_err().contains("from https to http"));
    }
}
