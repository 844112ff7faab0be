//! Archives made by the distribution's own tools, copied whole, and checked without any code of ours: by walking what
//! Release and the indices name, and by apt itself.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use fleet_store::{EntryState, ExportMode, ExportOptions, Snapshot, Store};
use fleet_sync::{RunResult, SyncOptions};
use fleet_types::Reason;
use sha2::Digest as _;
use tempfile::TempDir;
use url::Url;

use crate::support::archive::hex;
use crate::support::distribution::{Distribution, is_compressed, listed};
use crate::support::nginx;
use crate::support::rsyncd::Daemon;
use crate::support::server::{Fault, Server};
use crate::support::{options, process, set_content, sync, told};

struct Copy<'a> {
    archive: &'a Distribution,
    store: Store,
    snapshot: std::sync::Arc<Snapshot>,
}

fn slice(suite: &str) -> serde_json::Value {
    serde_json::json!({
        "suites": [suite], "components": ["main"], "architectures": ["amd64"],
        "include": {"sources": true, "contents": true, "installer": true},
    })
}

async fn copy<'a>(archive: &'a Distribution, suite: &str, url: &Url, dir: &Path) -> Copy<'a> {
    let options: SyncOptions = {
        let mut options = options(&archive.key.public, url, dir, &[suite]);
        set_content(&mut options, slice(suite));
        options
    };
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Published, Reason::Published),
        "{url}: {report:?}"
    );
    assert_eq!(told(&sync(&options).await).1, Reason::Unchanged, "{url}");
    let store = Store::open(dir).unwrap();
    assert!(store.scrub(&mut |_| {}).unwrap().is_clean());
    Copy {
        archive,
        snapshot: store.current_snapshot().unwrap().unwrap(),
        store,
    }
}

impl Copy<'_> {
    /// The content under a name is that of the upstream, and has the digest that is claimed for it.
    fn check(&self, path: &str, sha256: &str) -> Vec<u8> {
        let entry = self.snapshot.get(path);
        let entry = entry.unwrap_or_else(|| panic!("{path} is missing"));
        assert_eq!(entry.state, EntryState::Present, "{path}");
        let content = std::fs::read(self.store.blob_path(&entry.digest)).unwrap();
        assert_eq!(hex(&sha2::Sha256::digest(&content)), sha256, "{path}");
        assert_eq!(content.len() as u64, entry.size, "{path}");
        content
    }

    /// Everything that the Release in `folder` names and the upstream has, and everything that the indices name.
    /// The number of payload files.
    fn walk(&self, folder: &str) -> usize {
        let root = self.archive.root();
        let release = std::fs::read(root.join(folder).join("Release")).unwrap();
        for name in ["Release", "InRelease", "Release.gpg"] {
            let path = format!("{folder}{name}");
            let content = std::fs::read(root.join(&path)).unwrap();
            self.check(&path, &hex(&sha2::Sha256::digest(&content)));
        }
        let (mut indices, mut payload) = (0, 0);
        for (name, digest) in listed(&release, "SHA256") {
            let path = format!("{folder}{name}");
            if let Some(images) = path.strip_suffix("SHA256SUMS") {
                let sums = String::from_utf8(self.check(&path, &digest)).unwrap();
                payload += self.walk_images(images, &sums);
                continue;
            }
            if !is_compressed(&name) || !root.join(&path).exists() || name.contains(".tar.") {
                continue;
            }
            indices += 1;
            let content = self.check(&path, &digest);
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            for algorithm in ["MD5Sum", "SHA1", "SHA256", "SHA512"] {
                let by = &listed(&release, algorithm)[&name];
                let alias = format!("{parent}/by-hash/{algorithm}/{by}");
                self.check(alias.trim_start_matches('/'), &digest);
            }
            let text = decompress(&name, &content);
            if name.contains("Packages") {
                payload += self.walk_packages(&text);
            } else if name.contains("Sources") {
                payload += self.walk_sources(&text);
            }
        }
        assert!(indices >= 3, "{indices}");
        payload
    }

    fn walk_packages(&self, text: &str) -> usize {
        let field = |stanza: &str, name: &str| {
            let line = stanza.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim().to_owned()
        };
        let stanzas = text
            .split("\n\n")
            .filter(|stanza| !stanza.trim().is_empty());
        stanzas
            .map(|stanza| {
                let path = field(stanza, "Filename:");
                let path = path.trim_start_matches("./");
                self.check(path, &field(stanza, "SHA256:"));
            })
            .count()
    }

    fn walk_images(&self, folder: &str, sums: &str) -> usize {
        let images = sums.lines().map(|line| {
            let (digest, name) = line.split_once("  ").unwrap();
            let path = format!("{folder}{}", name.trim_start_matches("./"));
            self.check(&path, digest);
        });
        images.count()
    }

    fn walk_sources(&self, text: &str) -> usize {
        let directory = text
            .lines()
            .find_map(|line| line.strip_prefix("Directory:"));
        let directory = directory.map(str::trim).filter(|name| *name != ".");
        let lines = text.lines().skip_while(|line| *line != "Checksums-Sha256:");
        let files = lines.skip(1).take_while(|line| line.starts_with(' '));
        files
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let path = directory.map_or(words[2].to_owned(), |directory| {
                    format!("{directory}/{}", words[2])
                });
                self.check(&path, words[0]);
            })
            .count()
    }

    /// apt reads the copy as an ordinary tree, and gets a package and a source from it.
    fn satisfies_apt(&self, source: &str) {
        let dir = TempDir::new().unwrap();
        let (tree, work) = (dir.path().join("tree"), dir.path().join("work"));
        let export = ExportOptions {
            mode: ExportMode::Copy,
            ..ExportOptions::default()
        };
        self.store.export(&tree, &export).unwrap();
        for folder in ["lists/partial", "archives/partial", "etc", "download"] {
            std::fs::create_dir_all(work.join(folder)).unwrap();
        }
        std::fs::write(dir.path().join("key.gpg"), &self.archive.key.public).unwrap();
        let lines = ["deb", "deb-src"].map(|kind| {
            let key = dir.path().join("key.gpg");
            format!(
                "{kind} [signed-by={}] copy:{} {source}\n",
                key.display(),
                tree.display()
            )
        });
        std::fs::write(work.join("sources.list"), lines.concat()).unwrap();
        std::fs::write(work.join("status"), b"").unwrap();
        let apt = |arguments: &[&str]| {
            let mut command = Command::new("apt-get");
            for (name, value) in [
                ("Dir::Etc::sourcelist", "sources.list"),
                ("Dir::State::lists", "lists"),
                ("Dir::Cache", "."),
                ("Dir::State::status", "status"),
            ] {
                command.arg(format!("-o{name}={}", work.join(value).display()));
            }
            command.args([
                "-oDir::Etc::sourceparts=-",
                "-oAPT::Architecture=amd64",
                "-oAPT::Sandbox::User=root",
                "-oAPT::Get::List-Cleanup=0",
            ]);
            process::output(command.current_dir(work.join("download")).args(arguments));
        };
        apt(&["update", "--error-on=any"]);
        apt(&["download", "hello"]);
        apt(&["source", "--download-only", "hello"]);
        let got = std::fs::read_dir(work.join("download")).unwrap().count();
        assert_eq!(got, 3, "a package, a tarball and its description");
    }
}

fn decompress(name: &str, content: &[u8]) -> String {
    let tool = match name.rsplit_once('.').unwrap().1 {
        "xz" => "xz",
        "gz" => "gzip",
        _ => "bzip2",
    };
    let mut command = Command::new(tool);
    command
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = process::spawn(&mut command);
    child.stdin.take().unwrap().write_all(content).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

async fn over_every_transport(archive: &Distribution, suite: &str, folder: &str, payload: usize) {
    let dir = TempDir::new().unwrap();
    let server = Server::start(archive.root()).await;
    let (_nginx, real) = nginx::serve(&archive.root(), dir.path());
    let directory = Url::from_directory_path(archive.root()).unwrap();
    let daemon = Daemon::start(&archive.root());
    let urls = [&server.url, &real, &directory, &daemon.url];
    for (number, url) in urls.into_iter().enumerate() {
        let store = dir.path().join(format!("store{number}"));
        let copy = copy(archive, suite, url, &store).await;
        assert_eq!(copy.walk(folder), payload, "{url}");
        if number == 0 {
            copy.satisfies_apt(if suite == "./" { "./" } else { "stable main" });
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suite_of_the_real_tools_is_copied_whole() {
    let archive = Distribution::with_suites();
    // Two packages in each of two compressions, two files of a source in each of two, and two images.
    over_every_transport(&archive, "stable", "dists/stable/", 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flat_repository_of_the_real_tools_is_copied_whole() {
    let archive = Distribution::flat();
    over_every_transport(&archive, "./", "", 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_size_no_index_tells_is_resumed_too_and_never_endless() {
    let archive = Distribution::with_suites();
    let image = "dists/stable/main/installer-amd64/current/images/netboot/mini.iso";
    let dir = TempDir::new().unwrap();
    let server = Server::start(archive.root()).await;
    let mut options = options(&archive.key.public, &server.url, dir.path(), &["stable"]);
    set_content(&mut options, slice("stable"));
    server.fault(image, usize::MAX, Fault::Endless);
    let report = sync(&options).await;
    assert_eq!(
        told(&report),
        (RunResult::Failed, Reason::UpstreamUnreachable),
        "{report:?}"
    );
    assert!(report.message.contains("how long it is"), "{report:?}");
    server.heal();
    server.take_seen();
    server.fault(image, 1, Fault::Content(b"something else".to_vec()));
    let report = sync(&options).await;
    assert_eq!(told(&report).1, Reason::DigestMismatch, "{report:?}");
    server.take_seen();
    server.fault(image, 1, Fault::BreaksOffAfter(100_000));
    let report = sync(&options).await;
    assert_eq!(told(&report).1, Reason::Published, "{report:?}");
    let seen = server.take_seen();
    let images = seen.iter().filter(|seen| seen.path.ends_with("mini.iso"));
    let ranges: Vec<_> = images.map(|seen| seen.range.as_deref()).collect();
    assert_eq!(ranges, [None, Some("bytes=100000-")]);
}
