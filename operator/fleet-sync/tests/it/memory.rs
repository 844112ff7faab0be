//! The peak memory of a worker that copies 20,000 packages.

use crate::support::Archive;
use crate::support::alone::{self, Alone};
use crate::support::archive::{Release, now};

const PACKAGES: usize = 20_000;
const LIMIT_KIB: u64 = 48 << 10;

#[test]
fn twenty_thousand_packages_stay_within_48_mib() {
    let archive = Archive::new();
    let packages = archive.many_packages(PACKAGES);
    archive.publish("stable", &packages, &Release::of(now() - 3600));
    alone::run("memory::worker", &archive);
}

/// The other process of the test above.
#[test]
#[ignore = "started by the test beside it"]
fn worker() {
    let worker = Alone::new();
    let first = worker.sync();
    assert_eq!(first.exit_code(), 0, "{first:?}");
    assert!(first.files_fetched as usize > PACKAGES, "{first:?}");
    let again = worker.sync();
    assert_eq!(
        (again.requests, again.reason.as_str()),
        (2, "Unchanged"),
        "{again:?}"
    );
    let peak = worker.peak_kib();
    println!(
        "{PACKAGES} packages: {:.1} s, {} requests, VmHWM {peak} KiB; unchanged: {:.3} s",
        first.seconds, first.requests, again.seconds
    );
    assert!(peak < LIMIT_KIB, "{peak} KiB");
}
