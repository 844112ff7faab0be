//! A real rsync daemon on loopback.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use url::Url;

use super::process;

pub struct Daemon {
    child: Child,
    dir: TempDir,
    /// Of the module.
    pub url: Url,
}

impl Daemon {
    pub fn start(root: &Path) -> Daemon {
        Daemon::with(root, "")
    }

    /// With more lines for the module.
    pub fn with(root: &Path, more: &str) -> Daemon {
        let dir = TempDir::new().unwrap();
        let port = TcpListener::bind(("127.0.0.1", 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        // Without these, one that root starts reads as nobody.
        let user = if rustix::process::geteuid().is_root() {
            "uid = 0\ngid = 0"
        } else {
            ""
        };
        let configuration = format!(
            "port = {port}\naddress = 127.0.0.1\nlog file = {}\ntransfer logging = yes\nuse chroot = no\n{user}\n\
             [debian]\npath = {}\n{more}\n",
            dir.path().join("log").display(),
            root.display()
        );
        std::fs::write(dir.path().join("conf"), configuration).unwrap();
        let mut command = Command::new("rsync");
        command
            .args(["--daemon", "--no-detach", "--config"])
            .arg(dir.path().join("conf"))
            .stdin(Stdio::null());
        let child = process::spawn(&mut command);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
        Daemon {
            child,
            dir,
            url: Url::parse(&format!("rsync://127.0.0.1:{port}/debian/")).unwrap(),
        }
    }

    /// A file of its own, for example its passwords.
    pub fn secret(content: &str) -> (TempDir, PathBuf) {
        use std::os::unix::fs::PermissionsExt;
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("secrets");
        std::fs::write(&file, content).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        (dir, file)
    }

    /// How often a file with this name was sent.
    pub fn sent(&self, name: &str) -> usize {
        let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        let about = |line: &&str| line.contains(" send ") && line.contains(name);
        log.lines().filter(about).count()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
