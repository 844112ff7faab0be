//! What the program is told of the daemon: module, user and password, proxy.

use fleet_types::{Problem, Reason, RepoPath};
use url::Url;

use crate::url_path::shown;
use crate::{Access, Credentials};
use crate::{FailureKind, FetchError};

/// Without a way to be anything but one argument that names a module of a daemon.
pub(super) struct Remote {
    /// `rsync://host[:port]/module/`, plain as rsync reads it: not percent-encoded.
    source: String,
    /// The folder of the module. It is part of the names that are asked for: daemons of rsync 3.5 without a chroot do not
    /// find files below a folder that is asked for itself.
    folder: Option<RepoPath>,
    /// User and password.
    login: Option<(String, String)>,
    /// `host:port`
    proxy: Option<String>,
}

impl Remote {
    pub fn new(base: &Url, access: &Access) -> Result<Remote, Problem> {
        let refuse = |what: &str| {
            let text = format!("endpoint {}: {what}", shown(base));
            Problem::new(Reason::InvalidSpec, text)
        };
        let host = base.host_str().unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        if host.is_empty() || !host.chars().all(plain) {
            return Err(refuse("write rsync://host/module/ with a plain host name"));
        }
        let whole = percent_decoded(base.path().trim_matches('/'))
            .and_then(|folder| RepoPath::new(&folder).ok())
            .ok_or_else(|| {
                refuse("it names no module of the daemon; write rsync://host/module/")
            })?;
        // The daemon takes these for patterns.
        if whole.as_str().contains(['*', '?', '[']) {
            return Err(refuse("the path holds a wildcard (*, ? or [)"));
        }
        let port = base
            .port()
            .map(|port| format!(":{port}"))
            .unwrap_or_default();
        let login = match access.credentials_for(base) {
            None => None,
            Some(Credentials::Basic { username, password }) => {
                Some((username.clone(), password.clone()))
            }
            Some(Credentials::Bearer { .. }) => {
                return Err(refuse(
                    "rsync knows no tokens; write `username` and `password` into the Secret of access.credentialsRef",
                ));
            }
        };
        let proxy = match &access.proxy {
            None => None,
            Some(proxy) => match (
                proxy.scheme(),
                proxy.host_str(),
                proxy.port_or_known_default(),
            ) {
                ("http", Some(host), Some(port)) => Some(format!("{host}:{port}")),
                _ => {
                    return Err(refuse(
                        "rsync can use http proxies only; see access.proxyUrl",
                    ));
                }
            },
        };
        let (module, folder) = match whole.as_str().split_once('/') {
            Some((module, folder)) => (module, RepoPath::new(folder).ok()),
            None => (whole.as_str(), None),
        };
        Ok(Remote {
            source: format!("rsync://{host}{port}/{module}/"),
            folder,
            login,
            proxy,
        })
    }

    pub fn source(&self) -> &str {
        &self.source
    }

    pub fn login(&self) -> Option<(&str, &str)> {
        let login = self.login.as_ref();
        login.map(|(user, password)| (user.as_str(), password.as_str()))
    }

    pub fn proxy(&self) -> Option<&str> {
        self.proxy.as_deref()
    }

    /// The name of a file in the module.
    pub fn within(&self, path: &RepoPath) -> Result<RepoPath, FetchError> {
        let Some(folder) = &self.folder else {
            return Ok(path.clone());
        };
        folder.join(path.as_str()).map_err(|error| {
            let text = format!("{}: {error}", self.name_of(path));
            FetchError::new(FailureKind::NotFound, text)
        })
    }

    /// For messages.
    pub fn shown(&self) -> String {
        fleet_types::shown_url(&self.source)
    }

    /// A file, for messages.
    pub fn name_of(&self, path: &RepoPath) -> String {
        let base = match &self.folder {
            Some(folder) => format!("{}{folder}/", self.source),
            None => self.source.clone(),
        };
        fleet_types::shown_file(&base, path.as_str())
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let ([high, low], after) = tail.split_first_chunk::<2>()?;
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        bytes.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Destination;

    fn remote(url: &str) -> Result<Remote, Problem> {
        Remote::new(&Url::parse(url).unwrap(), &Access::default())
    }

    #[test]
    fn the_program_gets_one_plain_argument() {
        let file = RepoPath::new("x/y").unwrap();
        for (url, source, within) in [
            (
                "rsync://example.org/debian",
                "rsync://example.org/debian/",
                "x/y",
            ),
            (
                "rsync://example.org:8730/a/b%20c/d/",
                "rsync://example.org:8730/a/",
                "b c/d/x/y",
            ),
            ("rsync://[::1]/m//", "rsync://[::1]/m/", "x/y"),
        ] {
            let remote = remote(url).unwrap();
            assert_eq!(remote.source(), source);
            assert_eq!(remote.within(&file).unwrap().as_str(), within);
            assert_eq!(remote.name_of(&file), format!("{source}{within}"));
        }
        for url in [
            "rsync://example.org/",
            "rsync:///m/",
            "rsync://example.org/m/*",
            "rsync://example.org/m/x%2f..%2fy",
            "rsync://example.org/m%00/",
            "rsync://ex%20ample/m/",
        ] {
            let problem = remote(url).err().unwrap_or_else(|| panic!("{url}"));
            assert_eq!(problem.reason, Reason::InvalidSpec, "{url}");
        }
    }

    #[test]
    fn a_login_is_for_who_may_get_it() {
        let url = Url::parse("rsync://example.org/m/").unwrap();
        let login = |hosts| {
            let access = Access {
                credentials: Some(Credentials::Basic {
                    username: "me".into(),
                    password: "pw".into(),
                }),
                released_to: Destination::read_all(hosts).unwrap(),
                ..Access::default()
            };
            let remote = Remote::new(&url, &access).unwrap();
            remote.login().is_some()
        };
        assert!(login("rsync://example.org") && !login("example.org") && !login(""));
    }

    #[test]
    fn what_rsync_cannot_do_is_refused() {
        let url = Url::parse("rsync://example.org/m/").unwrap();
        let token = Access {
            credentials: Some(Credentials::Bearer { token: "t".into() }),
            released_to: Destination::read_all("rsync://example.org").unwrap(),
            ..Access::default()
        };
        let proxy = Access {
            proxy: Some(Url::parse("https://proxy.example.org/").unwrap()),
            ..Access::default()
        };
        for access in [token, proxy] {
            assert!(Remote::new(&url, &access).is_err());
        }
    }
}
