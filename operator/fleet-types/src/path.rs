//! Names inside a repository.

use std::borrow::Borrow;
use std::fmt;

/// A relative path inside a repository, in plain (not percent-encoded) form.
///
/// Its parts are separated by single `/`; no part is empty, `.` or `..`; there is no NUL, no other control
/// character and no backslash. It is at most 1,024 bytes long and each part at most 255. It is an index key and a
/// URL, never a file name in the store.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoPath(Box<str>);

/// Why a text is not a repository path. The offending text is shown escaped and cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("an empty path")]
    Empty,
    #[error("path {0:?} is longer than 1,024 bytes, or a part of it longer than 255")]
    TooLong(String),
    #[error("path {0:?} is absolute; paths in an index are relative to the repository")]
    Absolute(String),
    #[error("path {0:?} has an empty part, `.` or `..`, so it could leave the repository")]
    Traversal(String),
    #[error("path {0:?} holds a control character or a backslash")]
    Character(String),
}

impl RepoPath {
    pub const MAX_BYTES: usize = 1024;
    pub const MAX_PART_BYTES: usize = 255;

    /// Checks a path as an index gives it. One leading `./` and inner `./` parts, as flat repositories write them,
    /// are removed first.
    pub fn new(text: &str) -> Result<RepoPath, PathError> {
        let excerpt = || text.chars().take(80).collect::<String>();
        if text.len() > Self::MAX_BYTES {
            return Err(PathError::TooLong(excerpt()));
        }
        if text.starts_with('/') {
            return Err(PathError::Absolute(excerpt()));
        }
        if text.chars().any(|c| c.is_control() || c == '\\') {
            return Err(PathError::Character(excerpt()));
        }
        let collapsed;
        let text = if text.split('/').any(|part| part == ".") {
            collapsed = text
                .split('/')
                .filter(|part| *part != ".")
                .collect::<Vec<_>>()
                .join("/");
            collapsed.as_str()
        } else {
            text
        };
        if text.is_empty() {
            return Err(PathError::Empty);
        }
        for part in text.split('/') {
            if part.is_empty() || part == ".." {
                return Err(PathError::Traversal(excerpt()));
            }
            if part.len() > Self::MAX_PART_BYTES {
                return Err(PathError::TooLong(excerpt()));
            }
        }
        Ok(RepoPath(text.into()))
    }

    /// The same for what a client puts behind the repository's address as it is, and servers then take apart: a leading
    /// slash and empty parts mean nothing (apt asks for `https://example.org//pool//x.deb`; nginx, a file system and our
    /// own server find `pool/x.deb`). What ends in a slash is no file.
    pub fn collapsed(text: &str) -> Result<RepoPath, PathError> {
        if !(text.starts_with('/') || text.contains("//")) {
            return RepoPath::new(text);
        }
        let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
        let end = if text.ends_with('/') { "/" } else { "" };
        RepoPath::new(&(parts.join("/") + end))
    }

    /// `self/rest`, checked as a whole.
    pub fn join(&self, rest: &str) -> Result<RepoPath, PathError> {
        RepoPath::new(&format!("{}/{rest}", self.0))
    }

    /// The path of the directory that holds this file; none at the top.
    pub fn parent(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(parent, _)| parent)
    }

    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, name)| name)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for RepoPath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for RepoPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_archives_really_use_are_kept_as_they_are() {
        for name in [
            "pool/main/g/gcc/libstdc++6_1%3a12_amd64.deb",
            "pool/a~b/c:d.deb",
            "Packages.gz",
            "ü/x",
        ] {
            assert_eq!(RepoPath::new(name).unwrap().as_str(), name);
        }
        assert_eq!(RepoPath::new("././a/./b").unwrap().as_str(), "a/b");
    }

    #[test]
    fn slashes_that_servers_pass_over_mean_nothing() {
        for name in [
            "/pool/x",
            "///pool///x",
            "/./pool/.//./x",
            "./pool//x",
            "pool/x",
        ] {
            assert_eq!(
                RepoPath::collapsed(name).unwrap().as_str(),
                "pool/x",
                "{name}"
            );
        }
        for name in [
            "",
            "/",
            "//",
            "/pool//",
            "//..//x",
            "/pool/../x",
            "pool//\u{0}x",
        ] {
            assert!(RepoPath::collapsed(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn names_that_could_leave_the_repository_are_refused() {
        assert!(matches!(
            RepoPath::new("/etc/passwd"),
            Err(PathError::Absolute(_))
        ));
        assert!(matches!(
            RepoPath::new("a/../b"),
            Err(PathError::Traversal(_))
        ));
        assert!(matches!(
            RepoPath::new("a//b"),
            Err(PathError::Traversal(_))
        ));
        assert!(matches!(RepoPath::new("a/"), Err(PathError::Traversal(_))));
        assert!(matches!(
            RepoPath::new("a\nb"),
            Err(PathError::Character(_))
        ));
        assert!(matches!(
            RepoPath::new("a\0b"),
            Err(PathError::Character(_))
        ));
        assert!(matches!(RepoPath::new(".."), Err(PathError::Traversal(_))));
        assert!(matches!(
            RepoPath::new("./"),
            Err(PathError::Traversal(_) | PathError::Empty)
        ));
        assert!(matches!(
            RepoPath::new(&"x".repeat(256)),
            Err(PathError::TooLong(_))
        ));
        assert!(matches!(
            RepoPath::new(&"x/".repeat(2048)),
            Err(PathError::TooLong(_))
        ));
    }
}
