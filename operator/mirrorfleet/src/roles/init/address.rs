//! Where an entry of sources says that an archive is.

use percent_encoding::percent_decode_str;
use url::Url;

/// A user and a password, and where they may be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub username: String,
    pub password: String,
    /// `[scheme://]host[:port]`, see [`released_to`].
    pub released_to: String,
}

/// Nothing of it is for messages.
impl std::fmt::Debug for Login {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Login for {}", self.released_to)
    }
}

/// A URI of sources.list as a URL and the login in it; errors say why it cannot be mirrored.
pub fn address(uri: &str) -> Result<(Url, Option<Login>), String> {
    let scheme = uri.split(':').next().unwrap_or_default();
    let uri = match scheme {
        "http" | "https" | "file" => uri.to_owned(),
        "copy" => uri.replacen("copy:", "file:", 1),
        "cdrom" => return Err("a CD-ROM cannot be mirrored".to_owned()),
        other if other.starts_with("mirror") => {
            return Err("it is a list of mirrors; name one of them with http or https".to_owned());
        }
        other if other.starts_with("tor") => {
            return Err("it needs Tor, which is not supported".to_owned());
        }
        _ => {
            return Err("its URI begins with none of http, https and file".to_owned());
        }
    };
    let mut url = Url::parse(&uri).map_err(|error| format!("its URI cannot be read: {error}"))?;
    let login = login(&url);
    // Both fail only for URLs that cannot hold a login.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok((url, login))
}

fn login(url: &Url) -> Option<Login> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let named = !url.username().is_empty() || url.password().is_some();
    named.then(|| Login {
        username: decoded(url.username()),
        password: decoded(url.password().unwrap_or_default()),
        released_to: released_to(url),
    })
}

/// The line of a Secret's key `hosts` that gives a login to this archive alone: a scheme is said where it is not https.
pub fn released_to(url: &Url) -> String {
    let scheme = match url.scheme() {
        "https" => String::new(),
        other => format!("{other}://"),
    };
    let port = url.port().map(|port| format!(":{port}"));
    let host = url.host_str().unwrap_or_default();
    format!("{scheme}{host}{}", port.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leaves_the_url() {
        let (url, login) = address("https://me:p%40ss@example.org/debian?key=x").unwrap();
        assert_eq!(url.as_str(), "https://example.org/debian/");
        let login = login.unwrap();
        assert_eq!(
            (login.username.as_str(), login.password.as_str()),
            ("me", "p@ss")
        );
        assert_eq!(login.released_to, "example.org");
        let (_, plain) = address("http://me:pw@example.org:8080/").unwrap();
        assert_eq!(plain.unwrap().released_to, "http://example.org:8080");
        assert_eq!(
            address("https://example.org/a b").unwrap().0.as_str(),
            "https://example.org/a%20b/"
        );
    }

    #[test]
    fn what_cannot_be_mirrored_says_why() {
        for uri in [
            "cdrom:[Debian 13]/",
            "mirror+http://example.org/list",
            "tor+http://example.org/d",
            "ftp://example.org/d",
            "ssh:x",
            "http:",
        ] {
            assert!(address(uri).is_err(), "{uri}");
        }
    }
}
