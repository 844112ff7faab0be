//! A signed archive made by the distribution's own tools, and the program as a person calls it.

pub mod apt;
pub mod serving;
pub mod upstream;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

#[path = "../../../../fleet-sync/tests/it/support/pdiffs.rs"]
mod pdiffs;
use pdiffs::write_differences;

/// What a call of the program came to.
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub fn from(output: Output) -> Run {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Run {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// The one JSON object on standard output.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.stdout.trim()).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    #[track_caller]
    pub fn expect(self, code: i32) -> Run {
        assert_eq!(self.code, code, "{self}");
        self
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "exit {}\n--- stdout\n{}\n--- stderr\n{}",
            self.code, self.stdout, self.stderr
        )
    }
}

/// The program, with nothing of this machine's environment.
pub fn command<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mirrorfleet"));
    command
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Calls the program and waits for its end.
pub fn mirrorfleet<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Run {
    Run::from(
        command(arguments)
            .output()
            .expect("the program can be started"),
    )
}

/// A world in a folder of its own: an archive, manifests and data.
pub struct World {
    dir: TempDir,
    publications: std::cell::Cell<u32>,
    /// The index of packages after each publication.
    indices: std::cell::RefCell<Vec<Vec<u8>>>,
}

impl World {
    /// A signed archive with one package in suite `trixie`, and manifests for it with its real keyring.
    pub fn new() -> World {
        let world = World {
            dir: tempfile::tempdir().unwrap(),
            publications: std::cell::Cell::new(0),
            indices: std::cell::RefCell::default(),
        };
        world.make_key();
        world.add_package("hello", "1.0");
        world.publish();
        world.write_manifests(&format!("file://{}/", world.archive().display()));
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    pub fn archive(&self) -> PathBuf {
        self.path("archive")
    }
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }
    pub fn manifests(&self) -> PathBuf {
        self.path("manifests.yaml")
    }

    /// `local --once -o json` over the manifests.
    pub fn once(&self) -> Run {
        let (manifests, data) = (self.manifests(), self.data());
        mirrorfleet(&[
            "local".as_ref(),
            "-f".as_ref(),
            manifests.as_os_str(),
            "--data".as_ref(),
            data.as_os_str(),
            "--once".as_ref(),
            "-o".as_ref(),
            "json".as_ref(),
        ])
    }

    /// A call with `--data` of this world.
    pub fn call(&self, arguments: &[&str]) -> Run {
        let data = self.data().display().to_string();
        let mut all = vec![arguments[0], "--data", &data];
        all.extend(&arguments[1..]);
        mirrorfleet(&all)
    }

    pub fn write_manifests(&self, url: &str) {
        let keyring = fs::read_to_string(self.path("keyring.asc")).unwrap();
        let indented: String = keyring
            .lines()
            .map(|line| format!("    {line}\n"))
            .collect();
        let text = format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: keys}}\nstringData:\n  keyring.asc: |\n{indented}---\n\
             apiVersion: mirrorfleet.dev/v1alpha1\nkind: Upstream\nmetadata: {{name: archive}}\nspec:\n  type: Debian\n  authority: {{url: '{url}'}}\n  trust: {{keyringRef: {{kind: Secret, name: keys, key: keyring.asc}}}}\n---\n\
             apiVersion: mirrorfleet.dev/v1alpha1\nkind: Mirror\nmetadata: {{name: debian}}\nspec:\n  upstreamRef: {{name: archive}}\n  content:\n    debian: {{suites: [trixie], components: [main], architectures: [amd64]}}\n  regions: [{{name: main}}]\n"
        );
        fs::write(self.manifests(), text).unwrap();
    }

    /// Adds a package to the pool; `publish` makes it known.
    pub fn add_package(&self, name: &str, version: &str) {
        let tree = self.path(&format!("build/{name}-{version}"));
        fs::create_dir_all(tree.join("DEBIAN")).unwrap();
        fs::create_dir_all(tree.join("usr/share/doc").join(name)).unwrap();
        fs::write(
            tree.join("usr/share/doc").join(name).join("readme"),
            format!("{name} {version}\n").repeat(50),
        )
        .unwrap();
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: A <a@example.org>\nDescription: {name}\n"
        );
        fs::write(tree.join("DEBIAN/control"), control).unwrap();
        let pool = self.archive().join("pool/main").join(&name[..1]).join(name);
        fs::create_dir_all(&pool).unwrap();
        let deb = pool.join(format!("{name}_{version}_amd64.deb"));
        tool(
            Command::new("dpkg-deb")
                .arg("--root-owner-group")
                .arg("--build")
                .arg(&tree)
                .arg(deb),
        );
    }

    /// Writes the indices and signs them, as of now.
    pub fn publish(&self) {
        self.publish_as(&["Suite=trixie", "Codename=trixie"]);
    }

    /// The same with these fields of the Release.
    pub fn publish_as(&self, fields: &[&str]) {
        let suite = self.archive().join("dists/trixie");
        let binary = suite.join("main/binary-amd64");
        fs::create_dir_all(&binary).unwrap();
        let packages = tool(
            Command::new("apt-ftparchive")
                .args(["packages", "pool"])
                .current_dir(self.archive()),
        );
        fs::write(binary.join("Packages"), &packages).unwrap();
        self.indices.borrow_mut().push(packages);
        write_differences(&binary.join("Packages"), &self.indices.borrow());
        tool(
            Command::new("gzip")
                .args(["-9", "-n", "-k", "-f"])
                .arg(binary.join("Packages")),
        );
        for name in ["InRelease", "Release", "Release.gpg"] {
            let _ = fs::remove_file(suite.join(name));
        }
        let options = ["Components=main", "Architectures=amd64"];
        let options = options.iter().chain(fields).flat_map(|option| {
            [
                "-o".to_owned(),
                format!("APT::FTPArchive::Release::{option}"),
            ]
        });
        let release = tool(
            Command::new("apt-ftparchive")
                .args(options)
                .args(["release", "."])
                .current_dir(&suite),
        );
        fs::write(suite.join("Release"), self.dated(&release)).unwrap();
        tool(
            self.gpg()
                .args(["--clearsign", "-o"])
                .arg(suite.join("InRelease"))
                .arg(suite.join("Release")),
        );
        tool(
            self.gpg()
                .args(["--detach-sign", "--armor", "-o"])
                .arg(suite.join("Release.gpg"))
                .arg(suite.join("Release")),
        );
    }

    /// Two publications within one second would be two contents with one date, which is refused.
    fn dated(&self, release: &[u8]) -> String {
        self.publications.set(self.publications.get() + 1);
        let moment = format!("-1 hour +{} seconds", self.publications.get());
        let date = tool(
            Command::new("date")
                .args(["-u", "-R", "-d", &moment])
                .env("LC_ALL", "C"),
        );
        let date = String::from_utf8(date)
            .unwrap()
            .trim()
            .replace("+0000", "UTC");
        let dated = |line: &str| {
            if line.starts_with("Date: ") {
                format!("Date: {date}\n")
            } else {
                format!("{line}\n")
            }
        };
        String::from_utf8_lossy(release)
            .lines()
            .map(dated)
            .collect()
    }

    fn make_key(&self) {
        use std::os::unix::fs::PermissionsExt;
        fs::create_dir_all(self.path("gnupg")).unwrap();
        fs::set_permissions(self.path("gnupg"), fs::Permissions::from_mode(0o700)).unwrap();
        tool(self.gpg().args([
            "--passphrase",
            "",
            "--quick-generate-key",
            "Archive <archive@example.org>",
            "ed25519",
            "sign",
            "never",
        ]));
        let keyring = tool(self.gpg().args(["--armor", "--export"]));
        fs::write(self.path("keyring.asc"), keyring).unwrap();
    }

    fn gpg(&self) -> Command {
        let mut gpg = Command::new("gpg");
        gpg.arg("--homedir").arg(self.path("gnupg")).args([
            "--batch",
            "--yes",
            "--pinentry-mode",
            "loopback",
            "--quiet",
        ]);
        gpg
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // gpg leaves an agent behind that would outlive the folder.
        let _ = Command::new("gpgconf")
            .arg("--homedir")
            .arg(self.path("gnupg"))
            .args(["--kill", "gpg-agent"])
            .status();
    }
}

/// Runs one of the distribution's tools; its standard output.
pub fn tool(command: &mut Command) -> Vec<u8> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| {
            panic!("{command:?}: {error}; install it (e2e/lab/packages.py has the list)")
        });
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Every regular file below a folder, sorted.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path)
            } else {
                found.push(path)
            }
        }
    }
    found.sort();
    found
}

/// Asks until there is an answer.
pub fn wait_for<T>(what: &str, mut seen: impl FnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(found) = seen() {
            return found;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("{what} did not come within a minute");
}
