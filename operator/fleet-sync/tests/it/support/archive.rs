//! A deterministic Debian archive: same packages, same bytes. Only the key is new each time.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::Digest as _;
use tempfile::TempDir;

use super::process::{outcome, output, run};

/// The archive's top folder, and the key that signs it.
pub struct Archive {
    // Dropped before the directory that it is in.
    key: Key,
    dir: TempDir,
}

/// An OpenPGP key of gpg's, in a home of its own.
pub struct Key {
    home: PathBuf,
    pub public: Vec<u8>,
}

impl Key {
    pub fn new(home: &Path) -> Key {
        fs::DirBuilder::new().mode(0o700).create(home).unwrap();
        let mut key = Key {
            home: home.to_owned(),
            public: Vec::new(),
        };
        run(key.gpg().args([
            "--passphrase",
            "",
            "--quick-gen-key",
            "Test <test@example.org>",
            "ed25519",
            "sign",
            "3y",
        ]));
        key.public = output(key.gpg().arg("--export"));
        key
    }

    /// `--clearsign` or `--detach-sign`.
    pub fn sign(&self, mode: &str, plain: &Path, signed: &Path) {
        run(self
            .gpg()
            .args(["--yes", "--armor", mode, "--output"])
            .arg(signed)
            .arg(plain));
    }

    fn gpg(&self) -> Command {
        let mut command = Command::new("gpg");
        command.arg("--homedir").arg(&self.home).args([
            "--batch",
            "--quiet",
            "--no-tty",
            "--pinentry-mode",
            "loopback",
        ]);
        command
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // The agent that gpg has started would outlive its home.
        let mut end = Command::new("gpgconf");
        end.arg("--homedir").arg(&self.home);
        drop(outcome(end.args(["--kill", "all"])));
    }
}

/// A package that an index lists.
#[derive(Debug, Clone)]
pub struct Package {
    pub name: String,
    pub path: String,
    pub size: usize,
    pub sha256: String,
    pub sha512: String,
    /// More lines of its stanza.
    pub fields: String,
}

/// Where the signature is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signed {
    /// InRelease.
    Inline,
    /// Release and Release.gpg.
    Detached,
    /// All three.
    Both,
}

/// What a Release says besides its files.
#[derive(Debug, Clone)]
pub struct Release {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub date: i64,
    pub valid_until: Option<i64>,
    pub architectures: Vec<&'static str>,
    pub by_hash: bool,
    pub signed: Signed,
    /// List SHA-512 for packages, and nothing else.
    pub payload_sha512: bool,
}

impl Release {
    pub fn of(date: i64) -> Release {
        Release {
            date,
            valid_until: None,
            architectures: vec!["amd64"],
            by_hash: true,
            signed: Signed::Inline,
            payload_sha512: false,
        }
    }
}

pub fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

impl Archive {
    pub fn new() -> Archive {
        let dir = TempDir::new().unwrap();
        let key = Key::new(&dir.path().join("gpg"));
        fs::create_dir_all(dir.path().join("www")).unwrap();
        Archive { dir, key }
    }

    pub fn keyring(&self) -> &[u8] {
        &self.key.public
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("www")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// Puts a package into the pool. It need not be a real one: a mirror never looks inside.
    pub fn package(&self, name: &str, content: &[u8]) -> Package {
        self.package_at(
            &format!("pool/main/{}/{name}_1_amd64.deb", &name[..1]),
            name,
            content,
        )
    }

    pub fn package_at(&self, path: &str, name: &str, content: &[u8]) -> Package {
        self.write(path, content);
        Package {
            name: name.to_owned(),
            path: path.to_owned(),
            size: content.len(),
            sha256: hex(&sha2::Sha256::digest(content)),
            sha512: hex(&sha2::Sha512::digest(content)),
            fields: String::new(),
        }
    }

    /// `count` packages of some hundred bytes each.
    pub fn many_packages(&self, count: usize) -> Vec<Package> {
        let content = |number: usize| format!("package {number}\n").repeat(20 + number % 40);
        (0..count)
            .map(|number| self.package(&format!("p{number:06}"), content(number).as_bytes()))
            .collect()
    }

    /// Writes and signs the indices of a suite, as the tools of the distribution lay them out: compressed only, although
    /// the uncompressed form is listed too.
    pub fn publish(&self, suite: &str, packages: &[Package], release: &Release) {
        let mut listed = BTreeMap::new();
        for architecture in &release.architectures {
            let of = |package: &&Package| {
                *architecture == "amd64" || package.name.ends_with(architecture)
            };
            let text: String = packages
                .iter()
                .filter(of)
                .map(|package| stanza(package, release.payload_sha512))
                .collect();
            let name = format!("main/binary-{architecture}/Packages");
            let plain = self.path(&format!("dists/{suite}/{name}"));
            self.write(&format!("dists/{suite}/{name}"), text.as_bytes());
            listed.insert(name.clone(), text.into_bytes());
            for (tool, suffix) in [("xz", "xz"), ("gzip", "gz")] {
                let arguments: &[&str] = if tool == "xz" {
                    &["-kf", "-1"]
                } else {
                    &["-knf", "-1"]
                };
                run(Command::new(tool).args(arguments).arg(&plain));
                listed.insert(
                    format!("{name}.{suffix}"),
                    fs::read(plain.with_extension(suffix)).unwrap(),
                );
            }
            fs::remove_file(&plain).unwrap();
        }
        if release.by_hash {
            self.link_by_hash(suite, &listed);
        }
        self.sign(
            suite,
            &release_text(suite, release, &listed),
            release.signed,
        );
        self.date_roots(suite, release.date);
    }

    fn link_by_hash(&self, suite: &str, listed: &BTreeMap<String, Vec<u8>>) {
        for (name, content) in listed.iter().filter(|(name, _)| name.contains("Packages.")) {
            let folder = name.rsplit_once('/').unwrap().0;
            self.write(
                &format!(
                    "dists/{suite}/{folder}/by-hash/SHA256/{}",
                    hex(&sha2::Sha256::digest(content))
                ),
                content,
            );
        }
    }

    pub fn sign(&self, suite: &str, text: &str, signed: Signed) {
        self.sign_at(&format!("dists/{suite}"), text, signed);
    }

    /// Signs the Release of any folder.
    pub fn sign_at(&self, folder: &str, text: &str, signed: Signed) {
        let folder = self.path(folder);
        for old in ["InRelease", "Release", "Release.gpg"] {
            drop(fs::remove_file(folder.join(old)));
        }
        let plain = self.dir.path().join("Release");
        fs::write(&plain, text).unwrap();
        let sign = |mode, output| {
            self.key.sign(mode, &plain, &folder.join(output));
        };
        if signed != Signed::Detached {
            sign("--clearsign", "InRelease");
        }
        if signed != Signed::Inline {
            sign("--detach-sign", "Release.gpg");
            fs::copy(&plain, folder.join("Release")).unwrap();
        }
    }

    /// A copy of all that is served now, in a folder of its own: a state to change to and back without a pause.
    pub fn freeze(&self, name: &str) -> PathBuf {
        let copy = self.dir.path().join(name);
        run(Command::new("cp").arg("-a").arg(self.root()).arg(&copy));
        copy
    }

    /// As after a download: dates do not depend on when the test runs.
    pub fn date_roots(&self, suite: &str, date: i64) {
        let date = std::time::UNIX_EPOCH + std::time::Duration::from_secs(date.unsigned_abs());
        for name in ["InRelease", "Release", "Release.gpg"] {
            if let Ok(file) = fs::File::options()
                .append(true)
                .open(self.path(&format!("dists/{suite}/{name}")))
            {
                file.set_modified(date).unwrap();
            }
        }
    }

    pub fn write(&self, name: &str, content: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }
}

pub fn stanza(package: &Package, sha512: bool) -> String {
    let Package {
        name,
        path,
        size,
        fields,
        ..
    } = package;
    let digest = if sha512 {
        format!("SHA512: {}", package.sha512)
    } else {
        format!("SHA256: {}", package.sha256)
    };
    format!(
        "Package: {name}\nVersion: 1\nArchitecture: amd64\nFilename: {path}\nSize: {size}\n{digest}\n{fields}Description: test\n\n"
    )
}

pub fn release_text(suite: &str, release: &Release, listed: &BTreeMap<String, Vec<u8>>) -> String {
    let date = |at: i64| {
        jiff::Timestamp::from_second(at)
            .unwrap()
            .strftime("%a, %d %b %Y %H:%M:%S UTC")
            .to_string()
    };
    let mut text = format!(
        "Origin: Test\nSuite: {suite}\nCodename: {suite}\nDate: {}\n",
        date(release.date)
    );
    if let Some(until) = release.valid_until {
        text.push_str(&format!("Valid-Until: {}\n", date(until)));
    }
    text.push_str(&format!(
        "Architectures: {}\nComponents: main\n",
        release.architectures.join(" ")
    ));
    if release.by_hash {
        text.push_str("Acquire-By-Hash: yes\n");
    }
    text.push_str("SHA256:\n");
    for (name, content) in listed {
        text.push_str(&format!(
            " {} {} {name}\n",
            hex(&sha2::Sha256::digest(content)),
            content.len()
        ));
    }
    text
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
