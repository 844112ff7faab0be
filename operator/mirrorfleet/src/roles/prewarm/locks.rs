//! Lock files of npm, pnpm and Yarn: which packages of a registry they name.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::wishes::Wish;

/// Files that are known by their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    Npm,
    Pnpm,
    Yarn,
}

impl Lock {
    pub fn by_name(file: &str) -> Option<Lock> {
        match file {
            "package-lock.json" | "npm-shrinkwrap.json" => Some(Lock::Npm),
            "pnpm-lock.yaml" => Some(Lock::Pnpm),
            "yarn.lock" => Some(Lock::Yarn),
            _ => None,
        }
    }

    /// What comes from a registry: links, folders and git repositories do not. Errors say what is wrong with the file.
    pub fn read(self, text: &str) -> Result<BTreeSet<Wish>, String> {
        match self {
            Lock::Npm => npm(text),
            Lock::Pnpm => pnpm(text),
            Lock::Yarn => Ok(yarn(text)),
        }
    }
}

/// <https://docs.npmjs.com/cli/v11/configuring-npm/package-lock-json>
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PackageLock {
    lockfile_version: u32,
    #[serde(default)]
    packages: BTreeMap<String, LockedPackage>,
}

#[derive(Deserialize)]
struct LockedPackage {
    /// Where the folder has another name.
    name: Option<String>,
    version: Option<String>,
    resolved: Option<String>,
    integrity: Option<String>,
    #[serde(default)]
    link: bool,
}

fn npm(text: &str) -> Result<BTreeSet<Wish>, String> {
    let lock: PackageLock = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if lock.lockfile_version < 2 {
        return Err(format!(
            "lockfileVersion {} is of npm 6 and earlier: write it anew with `npm install --package-lock-only`",
            lock.lockfile_version
        ));
    }
    let wishes = lock.packages.into_iter().filter_map(|(folder, package)| {
        let is_of_a_registry = match &package.resolved {
            Some(resolved) => resolved.starts_with("http"),
            // npm leaves the address out where it is told to (`omit-lockfile-registry-resolved`).
            None => package.integrity.is_some(),
        };
        let (_, name) = folder.rsplit_once("node_modules/")?;
        (is_of_a_registry && !package.link).then_some(Wish {
            name: package.name.unwrap_or_else(|| name.to_owned()),
            version: Some(package.version?),
        })
    });
    Ok(wishes.collect())
}

/// <https://github.com/pnpm/spec/blob/master/lockfile/9.0.md>
#[derive(Deserialize)]
struct PnpmLock {
    #[serde(default)]
    packages: BTreeMap<String, PnpmPackage>,
}

#[derive(Deserialize)]
struct PnpmPackage {
    resolution: Option<Resolution>,
}

#[derive(Deserialize)]
struct Resolution {
    integrity: Option<String>,
}

fn pnpm(text: &str) -> Result<BTreeSet<Wish>, String> {
    let lock: PnpmLock = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let wishes = lock.packages.into_iter().filter_map(|(key, package)| {
        package.resolution?.integrity?;
        // `name@version`; before version 9 behind a slash, and with the peers behind it.
        let key = key.strip_prefix('/').unwrap_or(&key);
        let key = key.split('(').next()?;
        let (name, version) = key.rsplit_once('@').filter(|(name, _)| !name.is_empty())?;
        Some(Wish {
            name: name.to_owned(),
            version: Some(version.to_owned()),
        })
    });
    Ok(wishes.collect())
}

/// Yarn's own format, and the YAML of Yarn 2 and later, which look alike in what is read here: a line for what was asked for,
/// and indented ones for what that came to.
/// <https://classic.yarnpkg.com/lang/en/docs/yarn-lock/>
fn yarn(text: &str) -> BTreeSet<Wish> {
    let mut wishes = BTreeSet::new();
    let mut name = None;
    for line in text.lines() {
        let is_field = line.starts_with("  ") && !line.starts_with("   ");
        if !line.starts_with(' ') {
            name = asked_name(line);
        } else if is_field && let Some(resolved) = field(line, "resolution") {
            // Yarn 2 and later: `name@npm:version`.
            name = None;
            if let Some((found, version)) = resolved.rsplit_once("@npm:") {
                wishes.insert(Wish {
                    name: found.to_owned(),
                    version: Some(version.split("::").next().unwrap_or(version).to_owned()),
                });
            }
        } else if is_field && let Some(resolved) = field(line, "resolved") {
            // Yarn 1, whose version stands before.
            let version = versioned(&mut wishes, name.take());
            if !resolved.starts_with("http") {
                version.map(|version| wishes.remove(&version));
            }
        } else if is_field && let Some(version) = field(line, "version") {
            name = name.map(|asked: Asked| Asked {
                version: Some(version.to_owned()),
                ..asked
            });
        }
    }
    wishes
}

/// What a block of Yarn 1 is about.
struct Asked {
    name: String,
    version: Option<String>,
}

fn versioned(wishes: &mut BTreeSet<Wish>, asked: Option<Asked>) -> Option<Wish> {
    let asked = asked?;
    let wish = Wish {
        name: asked.name,
        version: Some(asked.version?),
    };
    wishes.insert(wish.clone()).then_some(wish)
}

/// Of `"@scope/name@^1.0.0", "@scope/name@^1.1.0":`, and of `alias@npm:name@^1.0.0:`.
fn asked_name(line: &str) -> Option<Asked> {
    let first = line.strip_suffix(':')?.split(", ").next()?;
    let first = first.trim_matches('"');
    let first = first.split_once("@npm:").map_or(first, |(alias, real)| {
        // Of a range alone the name stands before it.
        match real.trim_start_matches('@').contains('@') {
            true => real,
            false => alias,
        }
    });
    let at = first.char_indices().skip(1).find(|(_, char)| *char == '@');
    let name = first.get(..at.map_or(first.len(), |(at, _)| at))?;
    Some(Asked {
        name: name.to_owned(),
        version: None,
    })
}

/// The value of a field, in either format: `version "1.0.0"`, `version: 1.0.0`.
fn field<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    let rest = line.trim_start().strip_prefix(name)?;
    let value = rest.strip_prefix(": ").or_else(|| rest.strip_prefix(' '))?;
    Some(value.trim().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lock: Lock, text: &str) -> Vec<String> {
        let wishes = lock.read(text).unwrap();
        wishes.iter().map(Wish::to_string).collect()
    }

    #[test]
    fn of_npm() {
        let text = r#"{"name": "x", "lockfileVersion": 3, "packages": {
            "": {"name": "x", "version": "1.0.0"},
            "node_modules/a": {"version": "1.2.3", "resolved": "https://r.example.org/a/-/a-1.2.3.tgz", "integrity": "sha512-x"},
            "node_modules/a/node_modules/@s/b": {"version": "2.0.0", "integrity": "sha512-x"},
            "node_modules/alias": {"name": "real", "version": "3.0.0", "resolved": "https://r.example.org/real/-/real-3.0.0.tgz"},
            "node_modules/git": {"version": "1.0.0", "resolved": "git+ssh://git@example.org/x.git#1"},
            "node_modules/mine": {"resolved": "packages/mine", "link": true},
            "packages/mine": {"version": "0.1.0"}
        }}"#;
        assert_eq!(
            read(Lock::Npm, text),
            ["@s/b 2.0.0", "a 1.2.3", "real 3.0.0"]
        );
        let old = Lock::Npm.read(r#"{"lockfileVersion": 1, "dependencies": {}}"#);
        assert!(old.unwrap_err().contains("npm 6"));
        assert!(Lock::Npm.read("{").is_err());
    }

    #[test]
    fn of_pnpm() {
        let text = "lockfileVersion: '9.0'\npackages:\n  '@s/b@2.0.0':\n    resolution: {integrity: sha512-x}\n    engines: {node: '>=6'}\n  a@1.2.3:\n    resolution: {integrity: sha512-x}\n  mine@file:mine:\n    resolution: {directory: mine, type: directory}\nsnapshots:\n  a@1.2.3: {}\n";
        assert_eq!(read(Lock::Pnpm, text), ["@s/b 2.0.0", "a 1.2.3"]);
        let earlier = "lockfileVersion: '6.0'\npackages:\n  /a@1.2.3(b@2.0.0):\n    resolution: {integrity: sha512-x}\n    dev: false\n";
        assert_eq!(read(Lock::Pnpm, earlier), ["a 1.2.3"]);
        assert!(Lock::Pnpm.read("packages: 7").is_err());
    }

    #[test]
    fn of_yarn() {
        let first = "# yarn lockfile v1\n\n\n\"@s/b@^2.0.0\", \"@s/b@^2.0.1\":\n  version \"2.0.1\"\n  resolved \"https://r.example.org/@s/b/-/b-2.0.1.tgz#abc\"\n  integrity sha512-x\n  dependencies:\n    a \"^1.0.0\"\n\na@^1.0.0:\n  version \"1.2.3\"\n  resolved \"https://r.example.org/a/-/a-1.2.3.tgz#abc\"\n\n\"alias@npm:real@^3.0.0\":\n  version \"3.0.0\"\n  resolved \"https://r.example.org/real/-/real-3.0.0.tgz\"\n\n\"git@git+ssh://x\":\n  version \"1.0.0\"\n  resolved \"git+ssh://x#1\"\n";
        assert_eq!(
            read(Lock::Yarn, first),
            ["@s/b 2.0.1", "a 1.2.3", "real 3.0.0"]
        );
        let later = "__metadata:\n  version: 8\n  cacheKey: 10\n\n\"@s/b@npm:^2.0.0\":\n  version: 2.0.1\n  resolution: \"@s/b@npm:2.0.1\"\n  dependencies:\n    a: \"npm:^1.0.0\"\n  checksum: 10/abc\n  languageName: node\n  linkType: hard\n\n\"alias@npm:real@^3.0.0\":\n  version: 3.0.0\n  resolution: \"real@npm:3.0.0\"\n\n\"x@workspace:.\":\n  version: 0.0.0-use.local\n  resolution: \"x@workspace:.\"\n";
        assert_eq!(read(Lock::Yarn, later), ["@s/b 2.0.1", "real 3.0.0"]);
    }
}
