//! The peak memory of a worker that is fed a bomb.

use std::process::Command;

use fleet_types::Reason;

use crate::support::alone::{self, Alone};
use crate::support::archive::{Release, now};
use crate::support::forge::{INDEX, Listed};
use crate::support::{Archive, process};

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
    alone::run("hostile::bounds::worker", &archive);
}

/// The other process of the test above.
#[test]
#[ignore = "started by the test beside it"]
fn worker() {
    let worker = Alone::new();
    let report = worker.sync();
    assert_eq!(report.reason, Reason::TooLarge, "{report:?}");
    let peak = worker.peak_kib();
    println!(
        "a bomb of 256 MiB: {:.1} s, VmHWM {peak} KiB",
        report.seconds
    );
    assert!(peak < LIMIT_KIB, "{peak} KiB");
}
