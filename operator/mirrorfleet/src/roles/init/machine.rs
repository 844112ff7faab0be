//! What this machine's apt is configured to do: files and commands, no decisions about mirrors.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::keyring::Defaults;
use super::source::{Source, parse_deb822, parse_list};
use crate::failure::Failure;

const APT: &str = "/etc/apt";
const SUPPORTED: &str = "apt's sources.list, *.list and *.sources, or a folder that holds them";

/// apt's configuration as far as mirrors care.
pub struct Machine {
    pub sources: Vec<Source>,
    pub defaults: Defaults,
    /// Debian's name of this machine's architecture.
    pub architecture: String,
    proxies: Vec<(String, String)>,
}

impl Machine {
    /// Reads `/etc/apt` when nothing is named.
    pub fn read(from: &[PathBuf], notes: &mut Vec<String>) -> Result<Machine, Failure> {
        let own = [PathBuf::from(APT)];
        let named = if from.is_empty() {
            own.as_slice()
        } else {
            from
        };
        let mut sources = Vec::new();
        for path in named {
            for file in files(path)? {
                sources.extend(read_file(&file, notes)?);
            }
        }
        let apt = named
            .iter()
            .find(|path| path.join("trusted.gpg.d").is_dir())
            .cloned()
            .unwrap_or_else(|| APT.into());
        let proxies = if from.is_empty() {
            proxies(notes)
        } else {
            Vec::new()
        };
        Ok(Machine {
            sources,
            defaults: Defaults { apt },
            architecture: architecture(),
            proxies,
        })
    }

    /// The proxy that apt uses for a URL scheme.
    pub fn proxy_for(&self, scheme: &str) -> Option<&str> {
        self.proxies
            .iter()
            .find(|(known, _)| known == scheme)
            .map(|(_, proxy)| proxy.as_str())
    }
}

fn files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unreadable = |error| {
        Failure::invalid(format!(
            "--from {}: cannot be read: {error}",
            path.display()
        ))
    };
    if !fs::metadata(path).map_err(unreadable)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for folder in [path.to_owned(), path.join("sources.list.d")] {
        let mut found: Vec<_> = fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        found.retain(|file| {
            file.extension()
                .is_some_and(|extension| extension == "list" || extension == "sources")
                && file.is_file()
        });
        found.sort();
        files.extend(found);
    }
    match files.is_empty() {
        true => Err(Failure::invalid(format!(
            "--from {}: this folder holds no *.list and no *.sources",
            path.display()
        ))),
        false => Ok(files),
    }
}

fn read_file(file: &Path, notes: &mut Vec<String>) -> Result<Vec<Source>, Failure> {
    let name = file
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    if matches!(name, "pacman.conf" | "mirrorlist" | ".npmrc" | "npmrc") {
        return Err(Failure::invalid(format!(
            "--from {}: only Debian archives are supported so far: {SUPPORTED}",
            file.display()
        )));
    }
    let bytes = fs::read(file).map_err(|error| {
        Failure::invalid(format!(
            "--from {}: cannot be read: {error}",
            file.display()
        ))
    })?;
    let text = String::from_utf8_lossy(&bytes);
    let shown = file.display().to_string();
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("sources") => Ok(parse_deb822(&shown, &text, notes)),
        Some("list") => Ok(parse_list(&shown, &text, notes)),
        _ if begins_with(&text, &["deb ", "deb\t", "deb-src "]) => {
            Ok(parse_list(&shown, &text, notes))
        }
        _ if text
            .lines()
            .any(|line| line.to_ascii_lowercase().starts_with("types:")) =>
        {
            Ok(parse_deb822(&shown, &text, notes))
        }
        _ => Err(Failure::invalid(format!(
            "--from {shown}: this is nothing that init reads: {SUPPORTED}"
        ))),
    }
}

fn begins_with(text: &str, words: &[&str]) -> bool {
    let mut lines = text
        .lines()
        .map(str::trim_start)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .next()
        .is_some_and(|line| words.iter().any(|word| line.starts_with(word)))
}

/// As dpkg says; where there is no dpkg, as this program was built.
fn architecture() -> String {
    let dpkg = Command::new("dpkg")
        .arg("--print-architecture")
        .output()
        .ok()
        .filter(|output| output.status.success());
    let said = dpkg
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .filter(|text| !text.is_empty());
    said.unwrap_or_else(|| {
        match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "i386",
            "arm" => "armhf",
            "powerpc64" => "ppc64el",
            other => other,
        }
        .to_owned()
    })
}

/// What `apt-config` says of proxies; nothing where there is no apt-config.
fn proxies(notes: &mut Vec<String>) -> Vec<(String, String)> {
    let Some(output) = Command::new("apt-config")
        .arg("dump")
        .output()
        .ok()
        .filter(|output| output.status.success())
    else {
        return Vec::new();
    };
    parse_proxies(&String::from_utf8_lossy(&output.stdout), notes)
}

fn parse_proxies(dump: &str, notes: &mut Vec<String>) -> Vec<(String, String)> {
    let value = |scheme: &str| {
        let key = format!("acquire::{scheme}::proxy ");
        let line = dump
            .lines()
            .rfind(|line| line.to_ascii_lowercase().starts_with(&key))?;
        Some(line.split('"').nth(1)?.to_owned())
    };
    let mut proxies = Vec::new();
    for scheme in ["http", "https"] {
        let Some(proxy) = value(scheme).filter(|proxy| !proxy.is_empty() && proxy != "DIRECT")
        else {
            continue;
        };
        match url::Url::parse(&proxy) {
            Ok(url) if !url.username().is_empty() => notes.push(format!(
                "apt's proxy for {scheme} has a login, which a manifest cannot keep secret: it was left out; set {scheme}_proxy in the environment instead"
            )),
            Ok(url) if matches!(url.scheme(), "http" | "https") => proxies.push((scheme.to_owned(), url.to_string())),
            _ => notes.push(format!("apt's proxy for {scheme} is not an http URL: it was left out")),
        }
    }
    proxies
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_read_from_apt_config() {
        let dump = "Acquire::http \"\";\nAcquire::http::Proxy \"http://proxy.example.org:3128\";\nAcquire::https::Proxy \"DIRECT\";\n";
        let mut notes = Vec::new();
        assert_eq!(
            parse_proxies(dump, &mut notes),
            [(
                "http".to_owned(),
                "http://proxy.example.org:3128/".to_owned()
            )]
        );
        let secret = "Acquire::http::Proxy \"http://me:pw@proxy.example.org/\";\n";
        assert!(parse_proxies(secret, &mut notes).is_empty());
        assert!(
            notes[0].contains("login") && !notes[0].contains("pw@"),
            "{notes:?}"
        );
    }

    #[test]
    fn files_of_other_package_managers_say_what_is_supported() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["pacman.conf", ".npmrc", "notes.txt"] {
            let file = folder.path().join(name);
            fs::write(&file, "[core]\n").unwrap();
            let failure = Machine::read(&[file], &mut Vec::new()).err().unwrap();
            assert!(failure.message.contains("sources.list"), "{failure}");
        }
        assert!(Machine::read(&[folder.path().to_owned()], &mut Vec::new()).is_err());
    }
}
