//! To whom credentials may be given. Whoever writes an Upstream chooses where its requests go and names a Secret of the
//! namespace; that the Secret is meant for that place says the Secret itself.

use std::fmt;
use std::str::FromStr;

use url::Url;

/// One line of a Secret's key `hosts`: `[scheme://]host[:port]`. Without a scheme it is https: what goes over a line that
/// others can read must be said. Without a port it is any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    scheme: String,
    host: String,
    port: Option<u16>,
}

/// Why a line names no destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotADestination(String);

impl std::error::Error for NotADestination {}

impl fmt::Display for NotADestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NotADestination(line) = self;
        write!(
            f,
            "{line:?} is no host; write host, host:port, or http://host[:port] for one without TLS"
        )
    }
}

impl FromStr for Destination {
    type Err = NotADestination;

    fn from_str(line: &str) -> Result<Destination, NotADestination> {
        let wrong = || NotADestination(line.to_owned());
        let (scheme, place) = line.split_once("://").unwrap_or(("https", line));
        let place = place.trim_end_matches('/');
        // The scheme's own default port would be lost otherwise.
        let port = match place.rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => Some(port.parse().map_err(|_| wrong())?),
            _ => None,
        };
        let url = Url::parse(&format!("https://{place}/")).map_err(|_| wrong())?;
        let is_plain = url.username().is_empty()
            && url.password().is_none()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none();
        let scheme = scheme.to_ascii_lowercase();
        if !is_plain || !matches!(scheme.as_str(), "https" | "http" | "rsync") {
            return Err(wrong());
        }
        Ok(Destination {
            scheme,
            host: url.host_str().ok_or_else(wrong)?.to_owned(),
            port,
        })
    }
}

impl Destination {
    /// All of a Secret's key `hosts`: one a line; empty lines and those that begin with # say nothing.
    pub fn read_all(text: &str) -> Result<Vec<Destination>, NotADestination> {
        text.lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::parse)
            .collect()
    }

    /// The line that releases credentials to this URL, and to no more than it needs.
    pub fn of(url: &Url) -> Option<Destination> {
        Some(Destination {
            scheme: url.scheme().to_owned(),
            host: host_of(url)?,
            port: url.port(),
        })
    }

    /// Whether it names where requests for this URL go.
    pub fn covers(&self, url: &Url) -> bool {
        let default = match url.scheme() {
            "rsync" => Some(873),
            _ => url.port_or_known_default(),
        };
        url.scheme() == self.scheme
            && host_of(url).is_some_and(|host| host == self.host)
            && (self.port.is_none() || self.port == url.port().or(default))
    }
}

/// As http and https URLs spell it: other schemes keep what was written.
fn host_of(url: &Url) -> Option<String> {
    let place = Url::parse(&format!("https://{}/", url.host_str()?)).ok()?;
    Some(place.host_str()?.to_owned())
}

/// As the line is written.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.scheme != "https" {
            write!(f, "{}://", self.scheme)?;
        }
        f.write_str(&self.host)?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(line: &str, url: &str) -> bool {
        line.parse::<Destination>()
            .unwrap()
            .covers(&Url::parse(url).unwrap())
    }

    #[test]
    fn a_line_covers_the_host_that_it_names_and_no_other() {
        for (line, url, expected) in [
            ("a.example", "https://a.example/debian", true),
            ("A.Example", "https://a.example:8443/", true),
            ("a.example:443", "https://a.example/", true),
            ("a.example:8443", "https://a.example/", false),
            ("a.example", "http://a.example/", false),
            ("a.example", "https://b.a.example/", false),
            ("a.example", "https://a.example.evil.example/", false),
            ("a.example", "https://a.example@evil.example/", false),
            ("http://a.example", "http://a.example/x", true),
            ("http://a.example:80", "http://a.example/x", true),
            ("http://a.example", "https://a.example/x", false),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/", true),
            ("[2001:DB8::1]:8443", "https://[2001:db8::1]:8443/", true),
            ("rsync://a.example", "rsync://A.example/debian", true),
            ("rsync://a.example:873", "rsync://a.example/debian", true),
        ] {
            assert_eq!(covers(line, url), expected, "{line} and {url}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for line in [
            "*", "a b", "ftp://a", "a/b", "u@a", "a:b", "a:99999", "", "a?b", "https://",
        ] {
            assert!(
                line == "*" || line.parse::<Destination>().is_err(),
                "{line:?}"
            );
        }
        assert!(!covers("*", "https://a.example/"));
        let read = Destination::read_all("# mine\n\n a.example \r\nhttp://b.example\n");
        assert_eq!(read.unwrap().len(), 2);
    }

    #[test]
    fn the_line_that_is_printed_helps() {
        for url in [
            "https://a.example/debian",
            "https://a.example:8443/",
            "http://127.0.0.1:8080/x",
            "rsync://A.example/module/",
            "https://[2001:db8::1]/",
        ] {
            let url = Url::parse(url).unwrap();
            let line = Destination::of(&url).unwrap().to_string();
            assert!(line.parse::<Destination>().unwrap().covers(&url), "{line}");
        }
    }
}
