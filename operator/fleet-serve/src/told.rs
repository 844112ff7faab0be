//! What a server is told of a mirror from outside: a small file of its name, which others replace.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Component, Path, PathBuf};

/// A file that may not be there.
#[derive(Debug, Clone, Default)]
pub struct ToldFile(Option<PathBuf>);

impl ToldFile {
    /// That of the mirror of this name in `dir`.
    pub fn of(dir: Option<&Path>, mirror: &str) -> ToldFile {
        let mut parts = Path::new(mirror).components();
        let is_name = matches!(
            (parts.next(), parts.next()),
            (Some(Component::Normal(_)), None)
        );
        ToldFile(dir.filter(|_| is_name).map(|dir| dir.join(mirror)))
    }

    /// What it says, as `read` reads it; none where it is not there. No more than `most` bytes of it are looked at.
    ///
    /// # Errors
    /// What is wrong with it, for people. `what` is what it should hold.
    pub fn read<T, E: ToString>(
        &self,
        what: &str,
        most: u64,
        read: impl FnOnce(&str) -> Result<Option<T>, E>,
    ) -> Result<Option<T>, String> {
        let Some(file) = &self.0 else {
            return Ok(None);
        };
        let told = |problem: String| format!("the {what} in {}: {problem}", file.display());
        let mut text = String::new();
        let taken = File::open(file).and_then(|file| file.take(most).read_to_string(&mut text));
        match taken {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(told(error.to_string())),
            Ok(_) => read(&text).map_err(|error| told(error.to_string())),
        }
    }
}
