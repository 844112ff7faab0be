//! What `apt-config` says that matters here.

use std::process::Command;

use url::Url;

/// `apt-config dump`; empty where there is no apt.
pub struct Configuration(String);

/// Settings that count for all archives, and what a mirror does instead.
const LEFT_OUT: [(&str, &str, &str); 5] = [
    (
        "Acquire::Check-Valid-Until",
        "false",
        "a suite whose time is over is refused; `verification.expired` lets one through",
    ),
    (
        "Acquire::Check-Date",
        "false",
        "a state that is dated in the future is refused",
    ),
    (
        "Acquire::AllowInsecureRepositories",
        "true",
        "what is not validly signed is refused",
    ),
    (
        "Acquire::AllowWeakRepositories",
        "true",
        "SHA-1 and MD5 alone are refused",
    ),
    (
        "Acquire::AllowDowngradeToInsecureRepositories",
        "true",
        "an archive that was signed and is no longer is refused",
    ),
];

impl Configuration {
    pub fn of_this_machine() -> Configuration {
        let output = Command::new("apt-config").arg("dump").output().ok();
        let output = output.filter(|output| output.status.success());
        Configuration(output.map_or(String::new(), |output| {
            String::from_utf8_lossy(&output.stdout).into_owned()
        }))
    }

    /// The last value of a setting.
    fn value(&self, name: &str) -> Option<&str> {
        self.values(name).last().filter(|value| !value.is_empty())
    }

    fn values(&self, name: &str) -> impl DoubleEndedIterator<Item = &str> {
        self.0.lines().filter_map(move |line| {
            let (key, value) = line.split_once(' ')?;
            key.eq_ignore_ascii_case(name)
                .then(|| value.split('"').nth(1).unwrap_or_default())
        })
    }

    /// The native one first; none where apt says nothing of it.
    pub fn architectures(&self) -> Option<Vec<String>> {
        let mut list = vec![self.value("APT::Architecture")?.to_owned()];
        for other in self.values("APT::Architectures::") {
            if !list.iter().any(|known| known == other) {
                list.push(other.to_owned());
            }
        }
        Some(list)
    }

    /// By the scheme of the archives that they are for.
    pub fn proxies(&self, notes: &mut Vec<String>) -> Vec<(String, String)> {
        let mut proxies = Vec::new();
        for scheme in ["http", "https"] {
            let value = self.value(&format!("Acquire::{scheme}::Proxy"));
            let Some(proxy) = value.filter(|proxy| *proxy != "DIRECT") else {
                continue;
            };
            match Url::parse(proxy) {
                Ok(url) if !url.username().is_empty() => notes.push(format!(
                    "apt's proxy for {scheme} has a login, which a manifest cannot keep secret: it was left out; set {scheme}_proxy in the environment instead"
                )),
                Ok(url) if matches!(url.scheme(), "http" | "https") => {
                    proxies.push((scheme.to_owned(), url.to_string()));
                }
                _ => notes.push(format!(
                    "apt's proxy for {scheme} is not an http URL: it was left out"
                )),
            }
        }
        proxies
    }

    /// What is set and not carried into any manifest, as notes.
    pub fn left_out(&self) -> Vec<String> {
        let set = LEFT_OUT.iter().filter(|(name, value, _)| {
            let yes = super::options::is_yes(self.value(name).unwrap_or_default());
            yes == super::options::is_yes(value)
        });
        set.map(|(name, value, follows)| {
            format!("apt's configuration says {name} \"{value}\"; left out: {follows}")
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_read() {
        let of = |text: &str| Configuration(text.to_owned());
        let mut notes = Vec::new();
        let dump = of(
            "Acquire::http \"\";\nAcquire::http::Proxy \"http://proxy.example.org:3128\";\nAcquire::https::Proxy \"DIRECT\";\n",
        );
        assert_eq!(
            dump.proxies(&mut notes),
            [(
                "http".to_owned(),
                "http://proxy.example.org:3128/".to_owned()
            )]
        );
        let secret = of("Acquire::http::Proxy \"http://me:pw@proxy.example.org/\";\n");
        assert!(secret.proxies(&mut notes).is_empty());
        assert!(
            notes[0].contains("login") && !notes[0].contains("pw@"),
            "{notes:?}"
        );
    }

    #[test]
    fn architectures_and_settings_are_read() {
        let dump = Configuration(
            "APT::Architecture \"arm64\";\nAPT::Architectures \"\";\nAPT::Architectures:: \"arm64\";\nAPT::Architectures:: \"armhf\";\nAcquire::Check-Valid-Until \"false\";\nAcquire::Check-Date \"1\";\n"
                .to_owned(),
        );
        assert_eq!(dump.architectures().unwrap(), ["arm64", "armhf"]);
        let left_out = dump.left_out();
        assert_eq!(left_out.len(), 1, "{left_out:?}");
        assert!(left_out[0].contains("Check-Valid-Until"), "{left_out:?}");
        assert_eq!(Configuration(String::new()).architectures(), None);
    }
}
