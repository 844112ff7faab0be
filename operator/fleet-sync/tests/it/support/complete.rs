//! An archive with everything that real ones have beside packages, made by the distribution's own tools where there are
//! any: apt-ftparchive, dpkg-deb, gpg, diff, tar.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::archive::Key;
use super::pdiffs::write_differences;
use super::process::{output, run};

pub struct Complete {
    // Dropped before the directory that it is in.
    pub key: Key,
    dir: TempDir,
}

impl Complete {
    /// `trixie`, which calls itself stable; `trixie-updates`, which lists the same packages; `bookworm/updates`, whose
    /// Release says `updates/main` as security archives have it and which has no InRelease and no by-hash.
    pub fn new() -> Complete {
        let dir = TempDir::new().unwrap();
        let archive = Complete {
            key: Key::new(&dir.path().join("gpg")),
            dir,
        };
        for (name, file, kind) in [
            ("hello", "hello_1%3a2.0~rc1+b1_amd64", "deb"),
            ("libgreet++1", "libgreet++1_2.0_amd64", "deb"),
            ("greet-udeb", "greet-udeb_2.0_amd64", "udeb"),
        ] {
            archive.build(
                name,
                &format!("pool/main/{}/{name}/{file}.{kind}", &name[..1]),
            );
        }
        archive.suite(
            "trixie",
            "main",
            &["Suite=stable", "Codename=trixie", "Acquire-By-Hash=yes"],
        );
        archive.extras("trixie");
        archive.release(
            "trixie",
            &[
                "Suite=stable",
                "Codename=trixie",
                "Acquire-By-Hash=yes",
                "Components=main",
            ],
        );
        let fields = ["Suite=stable-updates", "Codename=trixie-updates"];
        archive.suite("trixie-updates", "main", &fields);
        archive.release(
            "trixie-updates",
            &[
                "Suite=stable-updates",
                "Codename=trixie-updates",
                "Components=main",
            ],
        );
        let fields = ["Suite=oldstable", "Codename=bookworm"];
        archive.suite("bookworm/updates", "main", &fields);
        archive.release(
            "bookworm/updates",
            &[
                "Suite=oldstable",
                "Codename=bookworm",
                "Components=updates/main",
            ],
        );
        fs::remove_file(archive.path("dists/bookworm/updates/InRelease")).unwrap();
        archive
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("www")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    fn write(&self, path: &str, content: &[u8]) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn build(&self, name: &str, file: &str) {
        let work = self.dir.path().join(format!("build/{name}"));
        fs::create_dir_all(work.join("DEBIAN")).unwrap();
        fs::write(
            work.join("DEBIAN/control"),
            format!(
                "Package: {name}\nVersion: 1:2.0~rc1+b1\nArchitecture: amd64\nMaintainer: Tests <tests@example.org>\n\
                 Description: a package for tests\n"
            ),
        )
        .unwrap();
        let target = self.path(file);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        run(Command::new("dpkg-deb")
            .args(["--root-owner-group", "--build"])
            .arg(&work)
            .arg(target)
            .stdout(std::process::Stdio::null()));
    }

    /// Packages of amd64 in two compressions, of arm64, and none at all for `all`.
    fn suite(&self, suite: &str, component: &str, fields: &[&str]) {
        let folder = format!("dists/{suite}/{component}");
        let packages = output(
            Command::new("apt-ftparchive")
                .current_dir(self.root())
                .args(["packages", "pool"]),
        );
        for (architecture, content) in [
            ("amd64", packages.as_slice()),
            ("arm64", b"Package: no\n\n"),
            ("all", b""),
        ] {
            let binary = format!("{folder}/binary-{architecture}");
            compressed(
                &self.write(&format!("{binary}/Packages"), content),
                &["xz", "gzip"],
            );
            self.write(&format!("{binary}/Release"), fields.join("\n").as_bytes());
        }
    }

    fn extras(&self, suite: &str) {
        let main = format!("dists/{suite}/main");
        let packages = self.path(&format!("{main}/binary-amd64/Packages"));
        self.with_history(&packages);
        for (name, tools) in [
            (format!("{main}/i18n/Translation-en"), ["bzip2"].as_slice()),
            (format!("{main}/Contents-amd64"), &["gzip"]),
            (format!("{main}/Contents-udeb-amd64"), &["gzip"]),
            (format!("dists/{suite}/Contents-amd64"), &["gzip"]),
            (
                format!("{main}/dep11/Components-amd64.yml"),
                &["gzip", "xz"],
            ),
            (format!("{main}/dep11/CID-Index-amd64.json"), &["gzip"]),
            (format!("{main}/cnf/Commands-amd64"), &["xz"]),
            (format!("{main}/cnf/Commands-arm64"), &["xz"]),
        ] {
            let plain = self.write(&name, format!("{name}\n").repeat(20).as_bytes());
            compressed(&plain, tools);
            if name.contains("Translation") || name.ends_with("main/Contents-amd64") {
                self.with_history(&plain);
            }
        }
        let icons = self.path(&format!("{main}/dep11/icons-48x48.tar.gz"));
        run(Command::new("tar")
            .arg("-C")
            .arg(self.dir.path().join("build"))
            .arg("-czf")
            .arg(icons)
            .arg("hello"));
        let udebs = output(
            Command::new("apt-ftparchive")
                .current_dir(self.root())
                .args([
                    "-oAPT::FTPArchive::Packages::Extensions=.udeb",
                    "packages",
                    "pool",
                ]),
        );
        compressed(
            &self.write(
                &format!("{main}/debian-installer/binary-amd64/Packages"),
                &udebs,
            ),
            &["xz"],
        );
        for images in ["current", "20250101"] {
            let folder = format!("{main}/installer-amd64/{images}/images");
            self.write(&format!("{folder}/netboot/mini.iso"), &[7; 5000]);
            self.write(&format!("{folder}/MANIFEST"), b"netboot/mini.iso\n");
            let names = ["./netboot/mini.iso", "./MANIFEST"];
            let sums = output(
                Command::new("sha256sum")
                    .current_dir(self.path(&folder))
                    .args(names),
            );
            self.write(&format!("{folder}/SHA256SUMS"), &sums);
        }
    }

    /// As if it had had three states before.
    fn with_history(&self, index: &Path) {
        let present = fs::read(index).unwrap();
        let mut states: Vec<Vec<u8>> = (1..4)
            .map(|age| {
                [
                    present.as_slice(),
                    format!("Package: gone-{age}\n\n").as_bytes(),
                ]
                .concat()
            })
            .collect();
        states.push(present);
        write_differences(index, &states);
    }

    /// Lists and signs. The plain forms of what is compressed are listed and then go, as in real archives.
    fn release(&self, suite: &str, fields: &[&str]) {
        let folder = self.path(&format!("dists/{suite}"));
        let options = [
            "Architectures=all amd64 arm64",
            "Patterns=SHA256SUMS,CID-Index-*,Commands-*",
        ];
        let mut command = Command::new("apt-ftparchive");
        for option in options.iter().chain(fields) {
            command.arg(format!("-oAPT::FTPArchive::Release::{option}"));
        }
        let text = output(command.current_dir(&folder).args(["release", "."]));
        for plain in files(&folder) {
            let with = |suffix: &str| folder.join(format!("{plain}.{suffix}")).exists();
            if ["xz", "gz", "bz2"].iter().any(|suffix| with(suffix)) {
                fs::remove_file(folder.join(plain)).unwrap();
            }
        }
        fs::write(folder.join("Release"), text).unwrap();
        let sign = |mode, name| {
            self.key
                .sign(mode, &folder.join("Release"), &folder.join(name))
        };
        sign("--clearsign", "InRelease");
        sign("--detach-sign", "Release.gpg");
    }
}

fn compressed(plain: &Path, tools: &[&str]) {
    for tool in tools {
        run(Command::new(tool).arg("-k").arg(plain));
    }
}

/// All files below a folder, relative to it.
pub fn files(folder: &Path) -> Vec<String> {
    let found = output(
        Command::new("find")
            .current_dir(folder)
            .args([".", "-type", "f", "-printf", "%P\n"]),
    );
    let mut names: Vec<String> = String::from_utf8(found)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    names.sort();
    names
}
