//! apt's auth.conf(5): which login is for which archive, by the rules of apt's netrc.cc.

use std::fs;
use std::path::PathBuf;

use fleet_types::shown_url;
use url::Url;

use super::address::{Login, released_to};

/// One `machine` with what follows it.
struct Machine {
    /// `[scheme://]host[:port][/path]`
    name: String,
    username: String,
    password: String,
}

/// The logins of one file.
pub struct AuthFile {
    place: String,
    machines: Vec<Machine>,
}

/// All files in apt's order; those that cannot be read become notes.
pub fn read(files: &[PathBuf], notes: &mut Vec<String>) -> Vec<AuthFile> {
    let mut read = Vec::new();
    for file in files {
        let place = file.display().to_string();
        match fs::read(file) {
            Ok(bytes) => read.push(AuthFile {
                machines: parse(&String::from_utf8_lossy(&bytes)),
                place,
            }),
            Err(error) => notes.push(format!(
                "{place}: cannot be read, so no login was taken from it: {error}"
            )),
        }
    }
    read
}

/// The login for an archive: the first that fits in the first file that has one.
pub fn login_for(files: &[AuthFile], url: &Url, notes: &mut Vec<String>) -> Option<Login> {
    files.iter().find_map(|file| {
        let machine = file.machines.iter().find(|machine| {
            let fit = fit(&machine.name, url);
            if fit == Fit::Unencrypted {
                notes.push(format!(
                    "{}: a login for {} was left out, as apt leaves it out: the archive is not encrypted; write `machine {}://…` where it is meant for that",
                    file.place,
                    shown_url(url.as_str()),
                    url.scheme()
                ));
            }
            fit == Fit::Yes
        })?;
        // apt goes on in the next file where one names neither.
        let named = !machine.username.is_empty() || !machine.password.is_empty();
        named.then(|| Login {
            username: machine.username.clone(),
            password: machine.password.clone(),
            released_to: released_to(url),
        })
    })
}

#[derive(PartialEq, Eq)]
enum Fit {
    Yes,
    No,
    /// It would, but it says nothing of a scheme, and the archive's is not https.
    Unencrypted,
}

fn fit(name: &str, url: &Url) -> Fit {
    let scheme = format!("{}://", url.scheme());
    let (name, told) = match name.strip_prefix(&scheme) {
        Some(name) => (name, true),
        None if name.contains("://") => return Fit::No,
        None => (name, false),
    };
    let host = url.host_str().unwrap_or_default();
    // A URL of ours says no port where it is the scheme's own.
    let mut sites: Vec<_> = (url.port_or_known_default().into_iter())
        .map(|port| format!("{host}:{port}"))
        .collect();
    sites.extend(url.port().is_none().then(|| host.to_owned()));
    let fits = if name.contains('/') {
        let mut whole = sites.iter().map(|site| format!("{site}{}", url.path()));
        whole.any(|whole| whole.starts_with(name))
    } else {
        name == host || sites.iter().any(|site| site == name)
    };
    match (fits, told || url.scheme() == "https") {
        (false, _) => Fit::No,
        (true, true) => Fit::Yes,
        (true, false) => Fit::Unencrypted,
    }
}

fn parse(text: &str) -> Vec<Machine> {
    let mut machines: Vec<Machine> = Vec::new();
    let mut words = text
        .split(['\n', '\r', '\t', ' '])
        .filter(|word| !word.is_empty())
        .map(str::to_owned);
    while let Some(word) = words.next() {
        match (word.as_str(), machines.last_mut()) {
            ("machine", _) => machines.extend(words.next().map(|name| Machine {
                name,
                username: String::new(),
                password: String::new(),
            })),
            ("login", Some(machine)) => machine.username = words.next().unwrap_or_default(),
            ("password", Some(machine)) => machine.password = words.next().unwrap_or_default(),
            _ => {}
        }
    }
    machines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn login(text: &str, url: &str) -> (Option<String>, Vec<String>) {
        let mut notes = Vec::new();
        let files = [AuthFile {
            place: "auth.conf".into(),
            machines: parse(text),
        }];
        let login = login_for(&files, &Url::parse(url).unwrap(), &mut notes);
        (login.map(|login| login.username), notes)
    }

    #[test]
    fn machines_fit_as_they_do_for_apt() {
        for (name, url, fits) in [
            ("example.org", "https://example.org/debian/", true),
            ("example.org", "https://example.org:8443/debian/", true),
            ("example.org:8443", "https://example.org:8443/debian/", true),
            ("example.org:8443", "https://example.org/debian/", false),
            ("example.org/deb", "https://example.org/debian/", true),
            ("example.org/debian/", "https://example.org/debian/", true),
            ("example.org/other", "https://example.org/debian/", false),
            (
                "example.org/debian",
                "https://example.org:8443/debian/",
                false,
            ),
            ("ample.org", "https://example.org/debian/", false),
            ("https://example.org", "https://example.org/debian/", true),
            ("http://example.org", "https://example.org/debian/", false),
            ("http://example.org", "http://example.org/debian/", true),
        ] {
            let text = format!("machine {name} login me password p");
            assert_eq!(login(&text, url).0.is_some(), fits, "{name} {url}");
        }
    }

    #[test]
    fn an_unencrypted_archive_gets_no_login_but_a_note_without_it() {
        let (login, notes) = login(
            "machine example.org login somebody password secret",
            "http://example.org/debian/",
        );
        assert!(login.is_none() && notes.len() == 1, "{notes:?}");
        assert!(
            !notes[0].contains("secret") && !notes[0].contains("somebody"),
            "{notes:?}"
        );
    }

    #[test]
    fn the_first_that_fits_counts_and_lines_do_not() {
        let text = "machine other.org\n login x\n\npassword y\nmachine example.org/a\n\tpassword p\nlogin one\nmachine example.org login two password q\n";
        assert_eq!(
            login(text, "https://example.org/a/").0.as_deref(),
            Some("one")
        );
        assert_eq!(
            login(text, "https://example.org/b/").0.as_deref(),
            Some("two")
        );
        assert_eq!(login("login x machine", "https://example.org/").0, None);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(machine |login |password |[a-z]{1,5} |\n|\\PC){0,30}") {
            let _ = login(&text, "https://example.org/debian/");
        }
    }
}
