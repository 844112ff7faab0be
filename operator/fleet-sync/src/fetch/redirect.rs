//! Where a redirect leads, and whether it is followed: decided without network.

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, LOCATION};
use url::Url;

use super::url_path::shown;

const MAX_REDIRECTS: usize = 5;

/// The places that one request was sent to, the last of them being the next to ask.
pub(super) struct Way {
    before: Vec<Url>,
    here: Url,
}

impl Way {
    pub fn from(start: Url) -> Way {
        Way {
            before: Vec::new(),
            here: start,
        }
    }

    pub fn here(&self) -> &Url {
        &self.here
    }

    /// Goes on where the answer leads elsewhere. False where it does not, or to nowhere that could be asked. Few, never
    /// in a circle, never from https back to http.
    pub fn goes_on(&mut self, status: StatusCode, headers: &HeaderMap) -> Result<bool, String> {
        let Some(next) = target(&self.here, status, headers) else {
            return Ok(false);
        };
        let refusal = if self.here.scheme() == "https" && next.scheme() == "http" {
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
        way.goes_on(StatusCode::FOUND, &headers)
    }

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
        let answer = way.goes_on(StatusCode::FOUND, &HeaderMap::new());
        assert_eq!(answer, Ok(false));
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
