//! Below which URLs clients know a registry: those that are declared, and a few others. Each is another text of every document, and
//! anybody may write any host into a request.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use fleet_types::lock;
use http::StatusCode;
use url::Url;

use crate::refusal::Refusal;

/// Beside those that are declared.
const OTHERS: usize = 4;
/// One that nobody used for so long makes room for another.
const RESTS: Duration = Duration::from_secs(600);

pub struct Sites {
    /// As `publicUrl` of regions.
    declared: Vec<Url>,
    /// With when they were last used.
    others: Mutex<Vec<(String, Instant)>>,
}

impl Sites {
    pub fn new(declared: Vec<Url>) -> Sites {
        Sites {
            declared,
            others: Mutex::default(),
        }
    }

    /// What stands before the registry's path in its addresses for a client that asks below `said`, without a slash at its
    /// end. What is declared of a host says its scheme and its path, unless a proxy has taken off another path.
    pub fn of(&self, said: Option<&str>, now: Instant) -> Result<String, Refusal> {
        let Some(said) = said.and_then(|said| Url::parse(said).ok()) else {
            return Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "the request does not say by which host it asks",
            ));
        };
        let path = |url: &Url| url.path().trim_end_matches('/').to_owned();
        let fits = |declared: &&Url| {
            let is_its_path = path(&said).is_empty() || path(&said) == path(declared);
            declared.authority() == said.authority() && is_its_path
        };
        if let Some(declared) = self.declared.iter().find(fits) {
            return Ok(declared.as_str().trim_end_matches('/').to_owned());
        }
        let site = said.as_str().trim_end_matches('/').to_owned();
        let mut others = lock(&self.others);
        others
            .retain(|(known, used)| *known != site && now.saturating_duration_since(*used) < RESTS);
        if others.len() >= OTHERS {
            let text = format!(
                "clients ask this registry by more than {OTHERS} addresses within ten minutes; use fewer, or write those that are meant as publicUrl of a region"
            );
            return Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, text));
        }
        others.push((site.clone(), now));
        Ok(site)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sites(declared: &[&str]) -> Sites {
        Sites::new(declared.iter().map(|url| url.parse().unwrap()).collect())
    }

    #[test]
    fn what_is_declared_of_a_host_says_the_rest_of_the_address() {
        let sites = sites(&[
            "https://example.org/tools/",
            "https://example.org/",
            "http://a.example:8080",
        ]);
        for (said, site) in [
            ("http://example.org", "https://example.org/tools"),
            ("http://EXAMPLE.org", "https://example.org/tools"),
            ("http://example.org/tools", "https://example.org/tools"),
            ("http://example.org/other", "http://example.org/other"),
            ("https://example.org:443", "https://example.org/tools"),
            ("https://example.org:8443/m", "https://example.org:8443/m"),
            ("http://a.example:8080", "http://a.example:8080"),
            ("http://[::1]:80", "http://[::1]"),
        ] {
            assert_eq!(
                sites.of(Some(said), Instant::now()).unwrap(),
                site,
                "{said}"
            );
        }
        for said in [None, Some("http://"), Some("http://1.2.3.999")] {
            let refusal = sites.of(said, Instant::now()).unwrap_err();
            assert_eq!(refusal.status, StatusCode::BAD_REQUEST, "{said:?}");
        }
    }

    #[test]
    fn of_what_is_not_declared_there_are_few_and_the_rested_make_room() {
        let (sites, start) = (sites(&["https://example.org/"]), Instant::now());
        let of = |host: &str, now| sites.of(Some(&format!("http://{host}")), now);
        for host in ["a", "b", "c", "d", "a", "example.org"] {
            assert!(of(host, start).is_ok(), "{host}");
        }
        for number in 0..1000 {
            let refusal = of(&format!("h{number}"), start).unwrap_err();
            assert_eq!(refusal.status, StatusCode::MISDIRECTED_REQUEST);
        }
        assert!(of("a", start + RESTS / 2).is_ok() && of("example.org", start).is_ok());
        let later = start + RESTS;
        assert!(of("e", later).is_ok() && of("f", later).is_ok() && of("g", later).is_ok());
        assert!(of("h", later).is_err() && of("a", later).is_ok());
    }
}
