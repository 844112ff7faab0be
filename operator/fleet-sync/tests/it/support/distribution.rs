//! An archive as the distribution's own tools make it: dpkg-deb, dpkg-source's file formats, apt-ftparchive, gpg.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::Digest as _;
use tempfile::TempDir;

use super::archive::{Key, hex};
use super::process::{output, run};

pub struct Distribution {
    // Dropped before the directory that it is in.
    pub key: Key,
    dir: TempDir,
}

type Digester = fn(&[u8]) -> String;

/// The directories of `by-hash`, and how a file's name in each comes about.
const ALGORITHMS: [(&str, Digester); 2] = [("SHA256", sha256), ("SHA512", sha512)];

fn sha256(content: &[u8]) -> String {
    hex(&sha2::Sha256::digest(content))
}

fn sha512(content: &[u8]) -> String {
    hex(&sha2::Sha512::digest(content))
}

impl Distribution {
    fn new() -> Distribution {
        let dir = TempDir::new().unwrap();
        let key = Key::new(&dir.path().join("gpg"));
        fs::create_dir(dir.path().join("www")).unwrap();
        Distribution { dir, key }
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("www")
    }

    /// `dists/stable` with binaries, sources, Contents, Translation and by-hash.
    pub fn with_suites() -> Distribution {
        let archive = Distribution::new();
        for name in ["hello", "libgreet++1"] {
            archive.build(name, &format!("pool/main/{}/{name}", &name[..1]));
        }
        archive.source("hello", "pool/main/h/hello");
        let suite = archive.root().join("dists/stable");
        let binary = suite.join("main/binary-amd64");
        archive.index(
            &["packages", "pool"],
            &binary.join("Packages"),
            &["xz", "gzip"],
        );
        archive.index(
            &["sources", "pool"],
            &suite.join("main/source/Sources"),
            &["xz", "gzip"],
        );
        archive.index(
            &["contents", "pool"],
            &suite.join("main/Contents-amd64"),
            &["gzip"],
        );
        let translation = suite.join("main/i18n/Translation-en");
        write(
            &translation,
            b"Package: hello\nDescription-md5: 0\nDescription-en: greets\n\n",
        );
        compress(&translation, &["bzip2"]);
        archive.installer(&suite.join("main/installer-amd64/current/images"));
        archive.release(&suite, "stable");
        archive
    }

    /// Images of which the index gives digests and no sizes.
    fn installer(&self, folder: &Path) {
        let images = [("netboot/mini.iso", 300_000), ("cdrom/vmlinuz", 1000)];
        let sums = images.map(|(name, size)| {
            let content = name.as_bytes().repeat(size / name.len());
            write(&folder.join(name), &content);
            format!("{}  ./{name}\n", sha256(&content))
        });
        write(&folder.join("SHA256SUMS"), sums.concat().as_bytes());
    }

    /// Everything in one directory.
    pub fn flat() -> Distribution {
        let archive = Distribution::new();
        archive.build("hello", ".");
        archive.source("hello", ".");
        let root = archive.root();
        archive.index(&["packages", "."], &root.join("Packages"), &["gzip", "xz"]);
        archive.index(&["sources", "."], &root.join("Sources"), &["gzip"]);
        archive.release(&root, "stable");
        archive
    }

    fn build(&self, name: &str, folder: &str) {
        let work = self.dir.path().join("build");
        write(
            &work.join("DEBIAN/control"),
            format!(
                "Package: {name}\nVersion: 1:2.0~rc1+b1\nArchitecture: amd64\nSection: misc\nPriority: optional\n\
                 Maintainer: Tests <tests@example.org>\nDescription: a package for tests\n"
            )
            .as_bytes(),
        );
        write(
            &work.join(format!("usr/share/{name}/greeting")),
            name.as_bytes(),
        );
        let target = self.root().join(folder);
        fs::create_dir_all(&target).unwrap();
        run(Command::new("dpkg-deb")
            .args(["--root-owner-group", "--build"])
            .arg(&work)
            .arg(target.join(format!("{name}_2.0~rc1+b1_amd64.deb")))
            .stdout(std::process::Stdio::null()));
        fs::remove_dir_all(work).unwrap();
    }

    /// A native source package: a tarball and its description.
    fn source(&self, name: &str, folder: &str) {
        let (folder, tarball) = (self.root().join(folder), format!("{name}_2.0.tar.xz"));
        let work = self.dir.path().join(format!("{name}-2.0"));
        write(&work.join("greeting"), b"source");
        run(Command::new("tar")
            .arg("-C")
            .arg(self.dir.path())
            .arg("-cJf")
            .arg(folder.join(&tarball))
            .arg(format!("{name}-2.0")));
        let content = fs::read(folder.join(&tarball)).unwrap();
        let text = format!(
            "Format: 3.0 (native)\nSource: {name}\nBinary: {name}\nArchitecture: any\nVersion: 2.0\n\
             Maintainer: Tests <tests@example.org>\nChecksums-Sha256:\n {} {} {tarball}\n",
            sha256(&content),
            content.len()
        );
        write(&folder.join(format!("{name}_2.0.dsc")), text.as_bytes());
    }

    /// An index of apt-ftparchive's, compressed; the plain form is listed and not kept, as in most archives.
    fn index(&self, arguments: &[&str], target: &Path, compressors: &[&str]) {
        let text = output(
            Command::new("apt-ftparchive")
                .current_dir(self.root())
                .args(arguments),
        );
        write(target, &text);
        compress(target, compressors);
    }

    fn release(&self, folder: &Path, suite: &str) {
        let fields = [
            ("Origin", "Tests"),
            ("Suite", suite),
            ("Codename", suite),
            ("Architectures", "amd64"),
            ("Components", "main"),
            ("Acquire-By-Hash", "yes"),
            // What is listed besides the usual names.
            ("Patterns", "SHA256SUMS"),
        ];
        let mut command = Command::new("apt-ftparchive");
        for (name, value) in fields {
            command.arg(format!("-oAPT::FTPArchive::Release::{name}={value}"));
        }
        let text = output(command.current_dir(folder).args(["release", "."]));
        for plain in listed(&text, "SHA256").keys() {
            let file = folder.join(plain);
            let compressed = |suffix: &str| folder.join(format!("{plain}.{suffix}")).exists();
            if !["xz", "gz", "bz2"].iter().any(|suffix| compressed(suffix)) && !is_compressed(plain)
            {
                continue;
            }
            let content = fs::read(&file).unwrap();
            if !is_compressed(plain) {
                fs::remove_file(&file).unwrap();
                continue;
            }
            for (algorithm, digest) in ALGORITHMS {
                let alias = file
                    .parent()
                    .unwrap()
                    .join(format!("by-hash/{algorithm}/{}", digest(&content)));
                write(&alias, &content);
            }
        }
        write(&folder.join("Release"), &text);
        self.key.sign(
            "--clearsign",
            &folder.join("Release"),
            &folder.join("InRelease"),
        );
        self.key.sign(
            "--detach-sign",
            &folder.join("Release"),
            &folder.join("Release.gpg"),
        );
    }
}

pub fn is_compressed(name: &str) -> bool {
    [".xz", ".gz", ".bz2"]
        .iter()
        .any(|suffix| name.ends_with(suffix))
        && name.contains(['P', 'S', 'C', 'T'])
}

/// What a field of a Release names, with its digest.
pub fn listed(release: &[u8], field: &str) -> BTreeMap<String, String> {
    let text = std::str::from_utf8(release).unwrap();
    let is_field = |line: &&str| line.strip_suffix(':') == Some(field);
    let lines = text.lines().skip_while(|line| !is_field(line)).skip(1);
    let files = lines.take_while(|line| line.starts_with(' '));
    files
        .map(|line| {
            let mut words = line.split_whitespace();
            let digest = words.next().unwrap().to_owned();
            (words.nth(1).unwrap().to_owned(), digest)
        })
        .collect()
}

fn compress(plain: &Path, compressors: &[&str]) {
    for compressor in compressors {
        run(Command::new(compressor).arg("-k").arg(plain));
    }
}

fn write(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}
