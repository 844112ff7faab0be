//! The peak memory of a worker that is fed a bomb. The worker is a process of its own, so that nothing else counts.

use std::process::Command;

use fleet_types::Reason;
use tempfile::TempDir;
use url::Url;

use crate::memory::{nginx, peak_kib};
use crate::support::archive::{Release, now};
use crate::support::forge::{INDEX, Listed};
use crate::support::{Archive, options, process, sync};

const LIMIT_KIB: u64 = 48 << 10;
const BOMB: &str = "head -c 256M /dev/zero | tr '\\0' '\\n' | xz -1";

#[test]
fn a_bomb_of_256_mib_is_refused_within_48_mib() {
    let archive = Archive::new();
    let bomb = process::output(Command::new("sh").args(["-c", BOMB]));
    // The Release itself says that so much is right, so that all of it is read.
    let edit = |text: String| format!("{text} {} 268435455 {INDEX}\n", "a".repeat(64));
    let listed = Listed::from([(format!("{INDEX}.xz"), bomb)]);
    archive.forge("stable", &listed, &Release::of(now() - 3600), edit);
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("keyring"), archive.keyring()).unwrap();
    let (_server, url) = nginx(&archive.root(), dir.path());
    let mut worker = Command::new(std::env::current_exe().unwrap());
    worker
        .args([
            "--exact",
            "hostile::bounds::worker",
            "--ignored",
            "--nocapture",
        ])
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
    let report = runtime.block_on(sync(&options));
    assert_eq!(report.reason, Reason::TooLarge, "{report:?}");
    let peak = peak_kib();
    println!(
        "a bomb of 256 MiB: {:.1} s, VmHWM {peak} KiB",
        report.seconds
    );
    assert!(peak < LIMIT_KIB, "{peak} KiB");
}
