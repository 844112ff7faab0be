//! The peak memory of a worker that copies 20,000 packages from a real nginx. The worker is a process of its own, so that
//! neither the archive's making nor the server counts.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command};

use crate::support::archive::{Release, now};
use crate::support::{Archive, options, process, sync};
use tempfile::TempDir;
use url::Url;

const PACKAGES: usize = 20_000;
const LIMIT_KIB: u64 = 48 << 10;

pub struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

pub fn nginx(root: &Path, dir: &Path) -> (Nginx, Url) {
    let port = TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let (dir_text, root) = (dir.display(), root.display());
    let configuration = format!(
        "daemon off; master_process off; pid {dir_text}/pid; error_log {dir_text}/error.log;
         events {{}}
         http {{ access_log off; client_body_temp_path {dir_text}/b; proxy_temp_path {dir_text}/p; fastcgi_temp_path {dir_text}/f;
                 uwsgi_temp_path {dir_text}/u; scgi_temp_path {dir_text}/s;
                 server {{ listen 127.0.0.1:{port}; root {root}; }} }}"
    );
    std::fs::write(dir.join("nginx.conf"), configuration).unwrap();
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-c").arg(dir.join("nginx.conf"));
    let server = Nginx(process::spawn(&mut command));
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    (
        server,
        Url::parse(&format!("http://127.0.0.1:{port}/")).unwrap(),
    )
}

pub fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn twenty_thousand_packages_stay_within_48_mib() {
    let archive = Archive::new();
    let packages = archive.many_packages(PACKAGES);
    archive.publish("stable", &packages, &Release::of(now() - 3600));
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("keyring"), archive.keyring()).unwrap();
    let (_server, url) = nginx(&archive.root(), dir.path());
    let mut worker = Command::new(std::env::current_exe().unwrap());
    worker
        .args(["--exact", "memory::worker", "--ignored", "--nocapture"])
        .env("MEMORY_TEST_URL", url.as_str())
        .env("MEMORY_TEST_DIR", dir.path());
    // Its own output says why where it fails.
    process::run(&mut worker);
}

/// The other process of the test above.
#[test]
#[ignore = "started by the test beside it"]
fn worker() {
    let dir = std::path::PathBuf::from(std::env::var_os("MEMORY_TEST_DIR").unwrap());
    let url: Url = std::env::var("MEMORY_TEST_URL").unwrap().parse().unwrap();
    let keyring = std::fs::read(dir.join("keyring")).unwrap();
    let options = options(&keyring, &url, &dir.join("store"), &["stable"]);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let first = runtime.block_on(sync(&options));
    assert_eq!(first.exit_code(), 0, "{first:?}");
    assert!(first.files_fetched as usize > PACKAGES, "{first:?}");
    let again = runtime.block_on(sync(&options));
    assert_eq!(
        (again.requests, again.reason.as_str()),
        (1, "Unchanged"),
        "{again:?}"
    );
    let peak = peak_kib();
    println!(
        "{PACKAGES} packages: {:.1} s, {} requests, VmHWM {peak} KiB; unchanged: {:.3} s",
        first.seconds, first.requests, again.seconds
    );
    assert!(peak < LIMIT_KIB, "{peak} KiB");
}
