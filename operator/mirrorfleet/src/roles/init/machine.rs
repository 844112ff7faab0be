//! What this machine's apt is configured to do: files and commands, no decisions about mirrors.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::auth::{self, AuthFile};
use super::configuration::Configuration;
use super::files::{AptFolder, parts, passed_over};
use super::source::Source;
use super::{deb822, one_line};
use crate::failure::Failure;

const SUPPORTED: &str = "apt's sources.list, *.list and *.sources, or a folder that holds them; pacman.conf, mirrorlists and an .npmrc";

/// apt's configuration as far as mirrors care.
pub struct Machine {
    pub sources: Vec<Source>,
    pub folder: AptFolder,
    pub logins: Vec<AuthFile>,
    /// Debian's names of this machine's architectures, the native one first.
    pub architectures: Vec<String>,
    proxies: Vec<(String, String)>,
}

impl Machine {
    /// Reads `/etc/apt` when nothing is named.
    pub fn read(from: &[PathBuf], notes: &mut Vec<String>) -> Result<Machine, Failure> {
        let own = AptFolder::own();
        let named = match from {
            [] => vec![own.path().to_owned()],
            from => from.to_vec(),
        };
        let mut sources = Vec::new();
        for path in &named {
            for file in files(path, notes)? {
                sources.extend(read_file(&file, notes)?);
            }
        }
        let folder = named.iter().find_map(|path| AptFolder::at(path));
        let folder = folder.unwrap_or(own);
        let configuration = Configuration::of_this_machine();
        // What is configured here says nothing of sources from elsewhere.
        let proxies = match from {
            [] => {
                notes.extend(configuration.left_out());
                configuration.proxies(notes)
            }
            _ => Vec::new(),
        };
        let architectures = configuration.architectures();
        Ok(Machine {
            sources,
            logins: auth::read(&folder.logins(), notes),
            folder,
            architectures: architectures.unwrap_or_else(architectures_by_dpkg),
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

/// Those that apt reads, where a folder is one of apt's; otherwise all sources in it.
fn files(path: &Path, notes: &mut Vec<String>) -> Result<Vec<PathBuf>, Failure> {
    let shown = path.display();
    let unreadable = |error| Failure::invalid(format!("--from {shown}: cannot be read: {error}"));
    if !fs::metadata(path).map_err(unreadable)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let (files, unread) = match AptFolder::at(path) {
        Some(folder) => (folder.sources(), folder.passed_over()),
        None => (parts(path, &["list", "sources"]), passed_over(path)),
    };
    notes.extend(unread.iter().map(|file| {
        format!(
            "{}: passed over because of its name, as apt passes over it",
            file.display()
        )
    }));
    match files.is_empty() {
        true => Err(Failure::invalid(format!(
            "--from {shown}: apt reads no sources in this folder: there is no sources.list, and no *.list or *.sources in sources.list.d"
        ))),
        false => Ok(files),
    }
}

fn read_file(file: &Path, notes: &mut Vec<String>) -> Result<Vec<Source>, Failure> {
    let shown = file.display().to_string();
    let bytes = fs::read(file)
        .map_err(|error| Failure::invalid(format!("--from {shown}: cannot be read: {error}")))?;
    let text = String::from_utf8_lossy(&bytes);
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("sources") => Ok(deb822::parse(&shown, &text, notes)),
        Some("list") => Ok(one_line::parse(&shown, &text, notes)),
        _ if begins_with(&text, &["deb ", "deb\t", "deb-src "]) => {
            Ok(one_line::parse(&shown, &text, notes))
        }
        _ if text
            .lines()
            .any(|line| line.to_ascii_lowercase().starts_with("types:")) =>
        {
            Ok(deb822::parse(&shown, &text, notes))
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

/// Where there is no dpkg either, as this program was built.
fn architectures_by_dpkg() -> Vec<String> {
    let said = |argument: &str| {
        let output = Command::new("dpkg").arg(argument).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(text)
    };
    let native = said("--print-architecture").map(|text| text.trim().to_owned());
    let native = native.filter(|text| !text.is_empty()).unwrap_or_else(|| {
        match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "i386",
            "arm" => "armhf",
            "powerpc64" => "ppc64el",
            other => other,
        }
        .to_owned()
    });
    let foreign = said("--print-foreign-architectures").unwrap_or_default();
    let foreign = foreign.split_whitespace().map(str::to_owned);
    std::iter::once(native).chain(foreign).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_other_package_managers_say_what_is_supported() {
        let folder = tempfile::tempdir().unwrap();
        for name in [".npmrc", "notes.txt"] {
            let file = folder.path().join(name);
            fs::write(&file, "registry=https://example.org\n").unwrap();
            let failure = Machine::read(&[file], &mut Vec::new()).err().unwrap();
            assert!(failure.message.contains("sources.list"), "{failure}");
        }
        assert!(Machine::read(&[folder.path().to_owned()], &mut Vec::new()).is_err());
    }

    #[test]
    fn only_the_files_that_apt_reads_are_read() {
        let apt = tempfile::tempdir().unwrap();
        fs::create_dir(apt.path().join("sources.list.d")).unwrap();
        let write = |name: &str| {
            let line = format!("deb http://example.org/{} stable main\n", name.len());
            fs::write(apt.path().join(name), line).unwrap();
        };
        write("mirror.list");
        assert!(Machine::read(&[apt.path().to_owned()], &mut Vec::new()).is_err());
        for name in [
            "good.list",
            "old copy.list",
            ".hidden.list",
            "x~.list",
            "a.save",
        ] {
            write(&format!("sources.list.d/{name}"));
        }
        write("sources.list");
        let mut notes = Vec::new();
        let machine = Machine::read(&[apt.path().to_owned()], &mut notes).unwrap();
        let uris: Vec<_> = machine
            .sources
            .iter()
            .map(|source| &source.uris[0])
            .collect();
        assert_eq!(uris, ["http://example.org/12", "http://example.org/24"]);
        let passed_over = notes.iter().filter(|note| note.contains("passed over"));
        assert_eq!(passed_over.count(), 2, "{notes:?}");
    }
}
