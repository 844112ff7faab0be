//! Other mirroring tools pull from us: from an exported tree over rsync and nginx, and from our own server.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::serving::Serving;
use crate::support::{World, files, tool, wait_for};

/// Of ftpsync, as far as they concern which files come when.
const STAGE_ONE: [&str; 12] = [
    "--include=*.diff/",
    "--include=by-hash/",
    "--exclude=*.diff/Index",
    "--exclude=Contents*",
    "--exclude=Packages*",
    "--exclude=Sources*",
    "--exclude=Release*",
    "--exclude=InRelease",
    "--include=i18n/by-hash",
    "--exclude=i18n/*",
    "--exclude=dep11/*",
    "--exclude=ls-lR*",
];
const BOTH_STAGES: [&str; 6] = [
    "-prltvHSB8192",
    "--timeout=60",
    "--no-human-readable",
    "--exclude=/Archive-Update-in-Progress-*",
    "--exclude=/.mirrorfleet-export",
    "--exclude=.~tmp~/",
];
const STAGE_TWO: [&str; 4] = [
    "--max-delete=40000",
    "--delay-updates",
    "--delete",
    "--delete-after",
];

/// A server that ends with the test.
struct Daemon {
    child: Child,
    port: u16,
}

impl Daemon {
    fn start(port: u16, command: &mut Command) -> Daemon {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("the server", || {
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Daemon { child, port }
    }

    fn rsync(world: &World, tree: &Path) -> Daemon {
        let port = free_port();
        let user = if rustix::process::geteuid().is_root() {
            "uid = 0\ngid = 0\n"
        } else {
            ""
        };
        let text = format!(
            "port = {port}\naddress = 127.0.0.1\nuse chroot = no\n{user}[debian]\npath = {}\n",
            tree.display()
        );
        let file = world.path("rsyncd.conf");
        fs::write(&file, text).unwrap();
        let mut command = Command::new("rsync");
        command
            .args(["--daemon", "--no-detach", "--config"])
            .arg(file);
        Daemon::start(port, &mut command)
    }

    /// The tree under `/debian/`.
    fn nginx(world: &World, tree: &Path) -> Daemon {
        let (port, dir) = (free_port(), world.path("nginx"));
        fs::create_dir(&dir).unwrap();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary = temporary.map(|name| format!("{name}_temp_path {}/t;", dir.display()));
        let text = format!(
            "daemon off; master_process off; pid {0}/pid; error_log {0}/log; events {{}}\n\
             http {{ access_log off; {1} server {{ listen 127.0.0.1:{port}; location /debian/ {{ alias {2}/; }} }} }}\n",
            dir.display(),
            temporary.concat(),
            tree.display()
        );
        fs::write(dir.join("conf"), text).unwrap();
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-c").arg(dir.join("conf"));
        Daemon::start(port, &mut command)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// A synced archive, and its export.
fn exported() -> (World, PathBuf) {
    let world = World::new();
    world.add_package("old", "1.0");
    world.publish();
    world.once().expect(0);
    let tree = world.path("tree");
    export(&world, &tree);
    (world, tree)
}

fn export(world: &World, tree: &Path) {
    let tree = tree.to_str().unwrap();
    world.call(&["export", "debian", tree]).expect(0);
}

/// The upstream drops a package and gets a new one; we follow.
fn change(world: &World) {
    fs::remove_dir_all(world.archive().join("pool/main/o/old")).unwrap();
    world.add_package("new", "2.0");
    world.publish();
    world.once().expect(0);
}

/// What apt needs of a suite, and all packages: names below the tree with their content.
fn content(tree: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let wanted = |path: &Path| {
        let name = path.file_name().unwrap_or_default();
        let is_index = name == "InRelease" || name == "Packages.gz";
        path.starts_with("pool") || path.starts_with("dists") && is_index
    };
    let below = |path: PathBuf| {
        let name = path.strip_prefix(tree).unwrap().to_owned();
        wanted(&name).then(|| (name, fs::read(&path).unwrap()))
    };
    files(tree).into_iter().filter_map(below).collect()
}

#[track_caller]
fn is_a_copy(world: &World, copy: &Path) {
    let expected = content(&world.archive());
    assert!(expected.len() >= 4, "{}", expected.len());
    let names =
        |of: &[(PathBuf, Vec<u8>)]| of.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let found = content(copy);
    assert_eq!(names(&found), names(&expected));
    let pairs = found.iter().zip(&expected);
    let differ = pairs.filter(|(ours, theirs)| ours != theirs);
    let differ: Vec<_> = differ.map(|((name, _), _)| name).collect();
    assert!(differ.is_empty(), "other content in {differ:?}");
}

#[test]
fn rsync_in_two_stages_follows_an_export() {
    let (world, tree) = exported();
    let daemon = Daemon::rsync(&world, &tree);
    let copy = world.path("copy");
    let stage = |options: &[&str]| {
        let source = format!("rsync://127.0.0.1:{}/debian/", daemon.port);
        let mut rsync = Command::new("rsync");
        tool(rsync.args(BOTH_STAGES).args(options).arg(source).arg(&copy));
    };
    stage(&STAGE_ONE);
    assert!(!copy.join("dists/trixie/InRelease").exists());
    assert!(copy.join("pool/main/o/old").exists());
    stage(&STAGE_TWO);
    is_a_copy(&world, &copy);
    change(&world);
    export(&world, &tree);
    stage(&STAGE_ONE);
    assert!(copy.join("pool/main/n/new").exists() && copy.join("pool/main/o/old").exists());
    stage(&STAGE_TWO);
    is_a_copy(&world, &copy);
    let whole = |tree: &Path| {
        let found = files(tree).into_iter();
        let names = found.map(|file| file.strip_prefix(tree).unwrap().to_owned());
        names
            .filter(|name| !name.starts_with(".mirrorfleet-export"))
            .collect::<Vec<_>>()
    };
    assert_eq!(whole(&copy), whole(&tree));
}

fn debmirror(world: &World, copy: &Path, host: &str, more: &[&str]) {
    let keyring = world.path("keyring.gpg");
    let mut dearmor = Command::new("gpg");
    dearmor
        .args(["--batch", "--yes", "--dearmor", "-o"])
        .arg(&keyring);
    tool(dearmor.arg(world.path("keyring.asc")));
    let mut command = Command::new("debmirror");
    command
        .arg(copy)
        .arg(format!("--keyring={}", keyring.display()))
        .args([host, "--dist=trixie", "--section=main", "--arch=amd64"])
        .args(["--nosource", "--rsync-extra=none", "--diff=none"])
        .args(more)
        .env("GNUPGHOME", world.path("gnupg"))
        .env("HOME", world.path(""));
    tool(&mut command);
}

#[test]
fn debmirror_follows_an_export_over_rsync_and_http_and_our_server() {
    let (world, tree) = exported();
    let (rsync, nginx) = (Daemon::rsync(&world, &tree), Daemon::nginx(&world, &tree));
    let ours = Serving::of(&world.data());
    // nginx is somebody else than who exported.
    fs::set_permissions(world.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let copies = ["rsync", "nginx", "ours"].map(|name| world.path(&format!("copy-{name}")));
    let pull = || {
        let port = format!("--rsync-options=-aIL --partial --port={}", rsync.port);
        debmirror(
            &world,
            &copies[0],
            "--host=127.0.0.1",
            &["--method=rsync", &port],
        );
        let nginx = format!("--host=127.0.0.1:{}", nginx.port);
        debmirror(&world, &copies[1], &nginx, &["--method=http"]);
        let ours = format!("--host={}", ours.address);
        debmirror(&world, &copies[2], &ours, &["--method=http"]);
        for copy in &copies {
            is_a_copy(&world, copy);
        }
    };
    pull();
    change(&world);
    export(&world, &tree);
    pull();
    assert_eq!(ours.terminate(), 0);
}

#[test]
fn apt_mirror_follows_our_server() {
    let world = World::new();
    world.once().expect(0);
    let ours = Serving::of(&world.data());
    let base = world.path("apt-mirror");
    for folder in ["mirror", "skel", "var"] {
        fs::create_dir_all(base.join(folder)).unwrap();
    }
    let list = world.path("mirror.list");
    let text = format!(
        "set base_path {}\nset nthreads 2\nset _tilde 0\nset run_postmirror 0\nset defaultarch amd64\n\
         deb-amd64 http://mirror.example/debian trixie main\n",
        base.display()
    );
    fs::write(&list, text).unwrap();
    let copy = base.join("mirror/mirror.example/debian");
    let pull = || {
        // apt-mirror cannot do with a port in a URL, so our server plays the proxy to the host of that name.
        let mut apt_mirror = Command::new("apt-mirror");
        apt_mirror.env("http_proxy", format!("http://{}/", ours.address));
        tool(apt_mirror.arg(&list));
    };
    pull();
    is_a_copy_with_pool(&world, &copy);
    world.add_package("new", "2.0");
    world.publish();
    world.once().expect(0);
    wait_for("the new snapshot", || {
        let release = fs::read(world.archive().join("dists/trixie/InRelease")).unwrap();
        (ours.get("/debian/dists/trixie/InRelease").1 == release).then_some(())
    });
    pull();
    is_a_copy_with_pool(&world, &copy);
}

/// apt-mirror keeps what vanished, and needs Packages in one compression only.
#[track_caller]
fn is_a_copy_with_pool(world: &World, copy: &Path) {
    for (name, expected) in content(&world.archive()) {
        let found = fs::read(copy.join(&name)).ok();
        assert!(found == Some(expected), "{}", name.display());
    }
}
