//! Names of packages.

use std::fmt;

/// The name of a package as documents write it: `name` or `@scope/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageName(Box<str>);

/// A text that no package of a registry has for a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a package's name is `name` or `@scope/name`, of letters, digits and -._~!'()*, without a dot at its beginning, 214 characters at most"
)]
pub struct BadName;

/// By the registry's rules (validate-npm-package-name).
const MAX_BYTES: usize = 214;

impl PackageName {
    /// Names of old packages may have characters that no new one may: capitals, and those of `encodeURIComponent`.
    pub fn new(text: &str) -> Result<PackageName, BadName> {
        let parts = match text.strip_prefix('@') {
            Some(scoped) => scoped.split_once('/').ok_or(BadName)?,
            None => ("none", text),
        };
        match text.len() <= MAX_BYTES && is_part(parts.0) && is_part(parts.1) {
            true => Ok(PackageName(text.into())),
            false => Err(BadName),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without its scope.
    pub fn bare(&self) -> &str {
        self.0.rsplit_once('/').map_or(&*self.0, |(_, bare)| bare)
    }

    /// As one part of a URL's path, the way npm writes it.
    pub fn escaped(&self) -> String {
        self.0.replace('/', "%2f")
    }

    /// What the registry calls the tarball of a version.
    pub fn tarball(&self, version: &str) -> String {
        format!("{}-{version}.tgz", self.bare())
    }

    /// The version whose tarball is called so; none where the registry calls no version's so.
    pub fn version_of<'f>(&self, file: &'f str) -> Option<&'f str> {
        let version = file.strip_prefix(self.bare())?.strip_prefix('-')?;
        version
            .strip_suffix(".tgz")
            .filter(|version| !version.is_empty())
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether it can be a part of a name, or a file's name: it is no way up and needs no escape in a path.
pub(super) fn is_part(part: &str) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!'()*".contains(byte);
    !part.is_empty() && !part.starts_with('.') && part.as_bytes().iter().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_registry() {
        for name in [
            "a",
            "left-pad",
            "JSONStream",
            "@types/node",
            "lodash.merge",
            "-",
            "_",
            "crypto!",
        ] {
            assert_eq!(PackageName::new(name).unwrap().as_str(), name);
        }
        let long = "a".repeat(215);
        for name in [
            "", ".", "..", ".a", "@", "@a", "@a/", "@/a", "@a/b/c", "a/b", "a b", "a\\b", "ä",
            "a%2fb", "@.a/b", "@a/..", &long,
        ] {
            assert_eq!(PackageName::new(name), Err(BadName), "{name}");
        }
    }

    #[test]
    fn a_scoped_name_is_one_part_of_a_path() {
        let name = PackageName::new("@types/node").unwrap();
        assert_eq!(
            (name.escaped().as_str(), name.bare()),
            ("@types%2fnode", "node")
        );
        assert_eq!(name.tarball("1.0.0"), "node-1.0.0.tgz");
        assert_eq!(name.version_of("node-1.0.0-rc.1.tgz"), Some("1.0.0-rc.1"));
        for other in ["node-.tgz", "node.tgz", "nod-1.0.0.tgz", "node-1.0.0.zip"] {
            assert_eq!(name.version_of(other), None, "{other}");
        }
    }
}
