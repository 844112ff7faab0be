//! What pacman is configured to read: pacman.conf(5) with what it includes, or a mirrorlist alone.
//!
//! As pacman reads it: a comment is a whole line, a section is a repository, the first of several architectures stands for
//! `$arch`.

use std::fs;
use std::path::{Path, PathBuf};

use globset::Glob;

use super::pacman_keys::{self, PacmanKeyring};
use super::sig_level::SigLevel;
use crate::failure::Failure;

/// Files that include each other are followed so far, as by pacman.
const MAX_DEPTH: usize = 10;
/// Whose addresses a mirrorlist without a pacman.conf holds.
const OF_ARCH: [&str; 2] = ["core", "extra"];

/// One repository of a pacman.conf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    pub name: String,
    /// Addresses as they stand, the first one first.
    pub servers: Vec<String>,
    pub level: SigLevel,
    /// `file:line`, for messages.
    pub place: String,
}

/// What stands in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configuration {
    pub repositories: Vec<Repository>,
    /// What `$arch` stands for.
    pub architecture: String,
    /// By whom the machine believes packages.
    pub keyrings: Vec<PacmanKeyring>,
}

/// Whether a file is one of pacman's: by its name, or by how it begins.
pub fn is_of_pacman(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let by_name = name.is_some_and(|name| name == "pacman.conf" || name.ends_with("mirrorlist"));
    by_name
        || first_line(path).is_some_and(|line| line.starts_with('[') || line.starts_with("Server"))
}

fn first_line(path: &Path) -> Option<String> {
    let bytes = fs::metadata(path)
        .ok()?
        .is_file()
        .then(|| fs::read(path).ok())??;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines().map(str::trim);
    lines
        .find(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
}

/// Reads a pacman.conf or a mirrorlist. Errors: a file that cannot be read.
pub fn read(path: &Path, notes: &mut Vec<String>) -> Result<Configuration, Failure> {
    let mut reader = Reader {
        root: root_of(path),
        found: Configuration {
            repositories: Vec::new(),
            architecture: own_architecture().to_owned(),
            keyrings: Vec::new(),
        },
        section: None,
        level: SigLevel::default(),
        loose: Vec::new(),
        notes,
    };
    reader.file(path, 0)?;
    let Reader {
        root, found, loose, ..
    } = reader;
    let mut found = found;
    if let Some(root) = root {
        found.keyrings = pacman_keys::read(&root, notes);
    }
    if found.repositories.is_empty() && !loose.is_empty() {
        notes.push(format!(
            "{}: a mirrorlist does not say which repositories there are; {} are taken",
            path.display(),
            OF_ARCH.join(" and ")
        ));
        let of_arch = OF_ARCH.map(|name| Repository {
            name: name.to_owned(),
            servers: loose.clone(),
            level: SigLevel::default(),
            place: path.display().to_string(),
        });
        found.repositories.extend(of_arch);
    }
    Ok(found)
}

/// As pacman calls what this program was built for.
fn own_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "arm" => "armv7h",
        "x86" => "i686",
        other => other,
    }
}

/// The root directory of the machine whose `etc/pacman.conf` this is: of what it includes, too.
fn root_of(path: &Path) -> Option<PathBuf> {
    let folder = path.parent().filter(|folder| folder.ends_with("etc"))?;
    folder.parent().map(Path::to_owned)
}

struct Reader<'a> {
    root: Option<PathBuf>,
    found: Configuration,
    /// The repository whose lines are read; none in `[options]` and before all sections.
    section: Option<usize>,
    /// What `[options]` says of all repositories.
    level: SigLevel,
    /// Addresses that stand in no section.
    loose: Vec<String>,
    notes: &'a mut Vec<String>,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, depth: usize) -> Result<(), Failure> {
        let shown = path.display().to_string();
        let bytes = fs::read(path).map_err(|error| {
            Failure::invalid(format!("--from {shown}: cannot be read: {error}"))
        })?;
        let text = String::from_utf8_lossy(&bytes);
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            let place = format!("{shown}:{number}");
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(name) = line
                .strip_prefix('[')
                .and_then(|line| line.strip_suffix(']'))
            {
                self.begin(name, place);
                continue;
            }
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            self.line(key.trim(), value.trim(), &place, depth)?;
        }
        Ok(())
    }

    fn begin(&mut self, name: &str, place: String) {
        self.section = None;
        if name == "options" {
            return;
        }
        let known = self
            .found
            .repositories
            .iter()
            .position(|known| known.name == name);
        self.section = Some(known.unwrap_or_else(|| {
            self.found.repositories.push(Repository {
                name: name.to_owned(),
                servers: Vec::new(),
                level: self.level,
                place,
            });
            self.found.repositories.len() - 1
        }));
    }

    fn line(&mut self, key: &str, value: &str, place: &str, depth: usize) -> Result<(), Failure> {
        let section = self
            .section
            .and_then(|at| self.found.repositories.get_mut(at));
        match (key, section) {
            ("Include", _) if depth >= MAX_DEPTH => {
                self.notes.push(format!(
                    "{place}: not read: files include each other too deeply"
                ));
            }
            ("Include", _) => {
                for path in self.included(value, place) {
                    self.file(&path, depth + 1)?;
                }
            }
            ("Server", Some(repository)) => repository.servers.push(value.to_owned()),
            ("Server", None) => self.loose.push(value.to_owned()),
            ("SigLevel", Some(repository)) => {
                repository.level = repository.level.with(value);
            }
            ("SigLevel", None) => self.level = self.level.with(value),
            ("Architecture", None) => {
                let first = value
                    .split_whitespace()
                    .next()
                    .filter(|first| *first != "auto");
                if let Some(first) = first {
                    self.found.architecture = first.to_owned();
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The files of an `Include`, which may be a glob; of the machine whose pacman.conf it is.
    fn included(&mut self, pattern: &str, place: &str) -> Vec<PathBuf> {
        let within = |root: &PathBuf| root.join(pattern.trim_start_matches('/'));
        let candidates = self.root.iter().map(within).chain([PathBuf::from(pattern)]);
        for candidate in candidates {
            let files = matching(&candidate);
            if !files.is_empty() {
                return files;
            }
        }
        self.notes.push(format!(
            "{place}: {pattern} is not there, so nothing of it is read"
        ));
        Vec::new()
    }
}

/// A file, or those of a folder that a glob names.
fn matching(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let glob = path.to_str().and_then(|text| Glob::new(text).ok());
    let (Some(glob), Some(folder)) = (glob, path.parent()) else {
        return Vec::new();
    };
    let matcher = glob.compile_matcher();
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.retain(|file| file.is_file() && matcher.is_match(file));
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_read_as_pacman_reads_it() {
        let machine = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = machine.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        };
        write(
            "etc/pacman.d/mirrorlist",
            "## Worldwide\n#Server = https://off.example.org/$repo/os/$arch\n\
             Server = https://a.example.org/arch/$repo/os/$arch\nServer=https://b.example.org/$repo/os/$arch\n",
        );
        write(
            "etc/pacman.d/own/one.conf",
            "[own]\nServer = file:///srv/own\nSigLevel = Optional TrustAll\n",
        );
        let conf = write(
            "etc/pacman.conf",
            "# comment\n[options]\nHoldPkg = pacman\nArchitecture = x86_64 x86_64_v3\nSigLevel = Required DatabaseOptional\n\n\
             [core]\nInclude = /etc/pacman.d/mirrorlist\n[extra]\nInclude = /etc/pacman.d/mirrorlist\n\
             #[multilib]\nInclude = /etc/pacman.d/missing\nInclude = /etc/pacman.d/own/*.conf\n[none]\nSigLevel = Never\nServer = https://none.example.org\n",
        );
        let mut notes = Vec::new();
        let read = read(&conf, &mut notes).unwrap();
        assert_eq!(read.architecture, "x86_64");
        let names: Vec<_> = read
            .repositories
            .iter()
            .map(|it| (it.name.as_str(), it.servers.len(), it.level.is_unsigned()))
            .collect();
        assert_eq!(
            names,
            [
                ("core", 2, false),
                ("extra", 2, false),
                ("own", 1, false),
                ("none", 1, true)
            ]
        );
        assert!(notes[0].contains("/etc/pacman.d/missing"), "{notes:?}");
        assert_eq!(notes.len(), 1);
    }

    #[test]
    fn a_mirrorlist_alone_is_that_of_arch() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mirrorlist");
        fs::write(&path, "Server = https://a.example.org/$repo/os/$arch\n").unwrap();
        let mut notes = Vec::new();
        let read = read(&path, &mut notes).unwrap();
        let names: Vec<_> = read
            .repositories
            .iter()
            .map(|it| it.name.as_str())
            .collect();
        assert_eq!(names, ["core", "extra"]);
        assert!(notes[0].contains("core and extra"), "{notes:?}");
        assert!(is_of_pacman(&path));
    }

    #[test]
    fn files_that_include_themselves_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pacman.conf");
        fs::write(
            &path,
            format!(
                "[core]\nInclude = {}\nServer = https://a.example.org\n",
                path.display()
            ),
        )
        .unwrap();
        let mut notes = Vec::new();
        assert_eq!(read(&path, &mut notes).unwrap().repositories.len(), 1);
        assert!(notes[0].contains("too deeply"), "{notes:?}");
    }
}
