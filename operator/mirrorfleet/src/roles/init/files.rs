//! Which files of a folder apt reads (`GetListOfFilesInDir` in apt's fileutl.cc), and where those lie that sources name.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The files with one of these extensions, sorted as apt sorts them. `""` stands for names without any. Others, hidden
/// ones and names with other characters than run-parts takes are passed over.
pub fn parts(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| is_read(path, extensions) && path.is_file())
        .collect();
    files.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
    files
}

fn is_read(path: &Path, extensions: &[&str]) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return false;
    };
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-:.".contains(c);
    !name.starts_with('.')
        && !name.ends_with('.')
        && name.chars().all(plain)
        && extensions.contains(&extension)
}

/// Files that look like sources and are passed over because of their names; hidden ones are meant to be.
pub fn passed_over(folder: &Path) -> Vec<PathBuf> {
    const SOURCES: [&str; 2] = ["list", "sources"];
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            let extension = path.extension().and_then(|extension| extension.to_str());
            let name = path.file_name().unwrap_or_default().as_bytes();
            extension.is_some_and(|extension| SOURCES.contains(&extension))
                && !name.starts_with(b".")
                && !is_read(path, &SOURCES)
        })
        .collect();
    files.sort();
    files
}

/// What apt calls `Dir::Etc`: usually `/etc/apt`, or a copy of another machine's.
#[derive(Debug, Clone)]
pub struct AptFolder(PathBuf);

impl AptFolder {
    const OWN: &str = "/etc/apt";
    /// By any of these a folder is known as one of apt's, whatever else lies in it.
    const TELLING: [&str; 7] = [
        "sources.list",
        "sources.list.d",
        "trusted.gpg.d",
        "auth.conf.d",
        "apt.conf.d",
        "preferences.d",
        "keyrings",
    ];

    pub fn own() -> AptFolder {
        AptFolder(Self::OWN.into())
    }

    /// `path` itself, or `etc/apt` below it; none where neither is one of apt's folders.
    pub fn at(path: &Path) -> Option<AptFolder> {
        let folders = [path.to_owned(), path.join("etc/apt")];
        let telling = |folder: &PathBuf| {
            let mut names = Self::TELLING.iter();
            names.any(|name| folder.join(name).exists())
        };
        folders.into_iter().find(telling).map(AptFolder)
    }

    /// In apt's order.
    pub fn sources(&self) -> Vec<PathBuf> {
        let main = self.0.join("sources.list");
        let mut files: Vec<_> = main.is_file().then_some(main).into_iter().collect();
        files.extend(parts(&self.0.join("sources.list.d"), &["list", "sources"]));
        files
    }

    /// See [`passed_over`].
    pub fn passed_over(&self) -> Vec<PathBuf> {
        passed_over(&self.0.join("sources.list.d"))
    }

    /// The keyrings that count for entries without Signed-By.
    pub fn keyrings(&self) -> Vec<PathBuf> {
        let mut files = parts(&self.0.join("trusted.gpg.d"), &["gpg", "asc"]);
        let old = self.0.join("trusted.gpg");
        files.extend(old.is_file().then_some(old));
        files
    }

    /// In apt's order.
    pub fn logins(&self) -> Vec<PathBuf> {
        let main = self.0.join("auth.conf");
        let mut files: Vec<_> = main.is_file().then_some(main).into_iter().collect();
        files.extend(parts(&self.0.join("auth.conf.d"), &["conf", ""]));
        files
    }

    /// Where a file lies that is named by its place on the machine that the folder is of.
    pub fn locate(&self, named: &Path) -> PathBuf {
        let own = Path::new(Self::OWN);
        let copied = named.strip_prefix(own).ok().map(|rest| self.0.join(rest));
        let root = self.0.ends_with("etc/apt").then(|| self.0.join("../.."));
        let below = root.and_then(|root| Some(root.join(named.strip_prefix("/").ok()?)));
        let mut places = [copied, below].into_iter().flatten();
        places
            .find(|place| place.exists())
            .unwrap_or_else(|| named.to_owned())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_run_parts_takes_are_read() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "b.list",
            "a.sources",
            "B-1_x:y.list",
            "old copy.list",
            ".hidden.list",
            "x~.list",
            "y.list.",
            "z.save",
            "list",
            "ü.list",
        ] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::create_dir(folder.path().join("d.list")).unwrap();
        let found = |extensions: &[&str]| -> Vec<_> {
            let files = parts(folder.path(), extensions).into_iter();
            files
                .map(|file| file.file_name().unwrap().to_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(
            found(&["list", "sources"]),
            ["B-1_x:y.list", "a.sources", "b.list"]
        );
        assert_eq!(found(&["conf", ""]), ["list"]);
        assert!(parts(Path::new("/no/such/folder"), &["list"]).is_empty());
        assert_eq!(passed_over(folder.path()).len(), 3);
    }

    #[test]
    fn files_of_a_copied_machine_are_found_in_the_copy() {
        let root = tempfile::tempdir().unwrap();
        let apt = root.path().join("etc/apt");
        fs::create_dir_all(apt.join("keyrings")).unwrap();
        fs::create_dir_all(root.path().join("usr/share/keyrings")).unwrap();
        fs::write(apt.join("keyrings/a.gpg"), "").unwrap();
        fs::write(root.path().join("usr/share/keyrings/b.gpg"), "").unwrap();
        for from in [apt.as_path(), root.path()] {
            let folder = AptFolder::at(from).unwrap();
            assert_eq!(folder.path(), apt);
            for named in ["/etc/apt/keyrings/a.gpg", "/usr/share/keyrings/b.gpg"] {
                let file = folder.locate(Path::new(named));
                assert!(file.starts_with(root.path()) && file.is_file(), "{file:?}");
            }
        }
        let elsewhere = Path::new("/nowhere/c.gpg");
        assert_eq!(AptFolder::at(&apt).unwrap().locate(elsewhere), elsewhere);
    }
}
