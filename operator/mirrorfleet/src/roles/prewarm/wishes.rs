//! What is wanted, as people and tools write it: a package a line.

use std::collections::BTreeSet;
use std::fmt;

/// A package that will be needed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wish {
    pub name: String,
    /// None: whatever the mirror has.
    pub version: Option<String>,
}

/// Which tool's packages are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Debian,
    Arch,
    Npm,
}

impl Kind {
    /// What stands between a name and a version.
    const fn separator(self) -> char {
        match self {
            Kind::Debian | Kind::Arch => '=',
            Kind::Npm => '@',
        }
    }
}

/// Reads a list: a package a line, with `=VERSION` or `@VERSION` behind it where one is meant, and comments behind `#`; what
/// `dpkg --get-selections` and `pacman -Q` write as well. Errors name the line.
pub fn read(text: &str, kind: Kind) -> Result<BTreeSet<Wish>, String> {
    let mut wishes = BTreeSet::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        let wish = match (words.as_slice(), kind) {
            ([], _) => continue,
            ([package], _) => wish(package, kind),
            // Of dpkg: what is not to be installed is not needed.
            ([package, "install" | "hold"], Kind::Debian) => wish(package, kind),
            ([_, "deinstall" | "purge"], Kind::Debian) => continue,
            // Of pacman.
            ([name, version], Kind::Arch) => Some(Wish {
                name: (*name).to_owned(),
                version: Some((*version).to_owned()),
            }),
            _ => None,
        };
        let wish = wish.ok_or_else(|| {
            let shown = line.trim();
            format!(
                "line {}: {shown:.200?} is no package: write NAME or NAME{}VERSION",
                number + 1,
                kind.separator()
            )
        })?;
        wishes.insert(wish);
    }
    Ok(wishes)
}

fn wish(text: &str, kind: Kind) -> Option<Wish> {
    // A scope of npm's begins with what else stands before a version.
    let separator = text
        .char_indices()
        .skip(1)
        .find(|(_, char)| *char == kind.separator());
    let (name, version) = match separator {
        Some((at, char)) => (
            text.get(..at)?,
            Some(text.get(at + char.len_utf8()..)?.to_owned()),
        ),
        None => (text, None),
    };
    let name = match kind {
        // As dpkg writes packages of a machine with several architectures.
        Kind::Debian => name.split(':').next()?,
        Kind::Arch | Kind::Npm => name,
    };
    let is_version = version.as_ref().is_none_or(|version| !version.is_empty());
    (!name.is_empty() && is_version).then(|| Wish {
        name: name.to_owned(),
        version,
    })
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{} {version}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_as(text: &str, kind: Kind) -> Vec<String> {
        let wishes = read(text, kind).unwrap();
        wishes.iter().map(Wish::to_string).collect()
    }

    #[test]
    fn lists_as_people_and_tools_write_them() {
        let selections = "libc6:amd64\t\t\tinstall\nvim\t\t\thold\nnano\t\tdeinstall\n\n# mine\nhello=2.10-3 # old\n";
        assert_eq!(
            read_as(selections, Kind::Debian),
            ["hello 2.10-3", "libc6", "vim"]
        );
        assert_eq!(
            read_as("linux 6.9-1\nbase\nvim=9.1-1", Kind::Arch),
            ["base", "linux 6.9-1", "vim 9.1-1"]
        );
        assert_eq!(
            read_as(
                "left-pad\n@scope/p@1.0.0\n@scope/q\nx@2.0.0-rc.1",
                Kind::Npm
            ),
            ["@scope/p 1.0.0", "@scope/q", "left-pad", "x 2.0.0-rc.1"]
        );
    }

    #[test]
    fn what_is_no_package_is_told_with_its_line() {
        for (text, kind) in [
            ("vim\ntwo words", Kind::Debian),
            ("vim\nvim=", Kind::Debian),
            ("a\na b c", Kind::Arch),
            ("a\na@", Kind::Npm),
        ] {
            let error = read(text, kind).unwrap_err();
            assert!(error.starts_with("line 2: "), "{error}");
        }
    }
}
