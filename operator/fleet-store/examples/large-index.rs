//! Builds, opens and reads an index of a million and a half paths, and prints what that costs.
//!
//! `cargo run --release -p fleet-store --example large-index -- [PATHS] [DIRECTORY]`

mod shared;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use fleet_store::Writer;
use fleet_types::RepoPath;
use shared::{entry, identity, meta};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let count: u64 = arguments.next().map_or(Ok(1_500_000), |n| n.parse())?;
    let temporary = tempfile::tempdir()?;
    let dir = arguments
        .next()
        .map_or(temporary.path().join("store"), PathBuf::from);
    let writer = Writer::open(&dir, &identity("large", 1))?;

    let started = Instant::now();
    let mut builder = writer.index_builder(None);
    for n in 0..count {
        builder.push(&path(n)?, &entry(n))?;
    }
    let prepared = builder.finish(meta(1))?;
    report(
        "built",
        started,
        &format!(
            "{} paths, {} bytes",
            prepared.entries,
            index_bytes(&writer, &dir)?
        ),
    );

    let started = Instant::now();
    let snapshot = writer.snapshot(&prepared.id)?;
    report("opened and verified", started, "");

    let started = Instant::now();
    let lookups: u64 = 200_000;
    let found = (0..lookups)
        .filter_map(|n| snapshot.get(path(n * 7919 % count).ok()?.as_str()))
        .count();
    report(
        "looked up",
        started,
        &format!("{found} of {lookups} found, the paths' making included"),
    );

    let started = Instant::now();
    report(
        "walked",
        started,
        &format!("{} entries", snapshot.iter().count()),
    );
    report("walked (time)", started, "");
    let started = Instant::now();
    report(
        "listed pool/main",
        started,
        &format!("{} children", snapshot.children("pool/main").count()),
    );

    writer.publish(&prepared.id, 1)?;
    let started = Instant::now();
    let mut builder = writer.index_builder(Some(snapshot));
    for n in 1..count {
        builder.push(&path(n)?, &entry(n))?;
    }
    let next = builder.finish(meta(2))?;
    report("built the next one", started, "");
    let started = Instant::now();
    writer.publish(&next.id, 2)?;
    report("switched to it", started, "");
    let mut switches = Vec::new();
    for (id, now) in [&prepared.id, &next.id].iter().cycle().zip(3..23) {
        let started = Instant::now();
        writer.rollback(id, now)?;
        switches.push(started.elapsed());
    }
    switches.sort();
    println!(
        "rolled back and forth: {:?} (median), {:?} (fastest)",
        switches[switches.len() / 2],
        switches[0]
    );
    let started = Instant::now();
    let collected = writer.collect(100, &[])?;
    report(
        "collected",
        started,
        &format!(
            "{} dropped, {} in use",
            collected.dropped.len(),
            collected.in_use.len()
        ),
    );
    Ok(())
}

fn report(what: &str, started: Instant, detail: &str) {
    let took: Duration = started.elapsed();
    println!("{what}: {took:?} {detail} (peak memory {})", peak_memory());
}

fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    line.map_or("unknown".into(), |line| {
        line.split_whitespace()
            .skip(1)
            .collect::<Vec<_>>()
            .join(" ")
    })
}

fn index_bytes(writer: &Writer, dir: &std::path::Path) -> std::io::Result<u64> {
    let ids = writer.snapshots().unwrap_or_default();
    ids.iter()
        .map(|info| Ok(std::fs::metadata(dir.join("snapshots").join(info.id.to_string()))?.len()))
        .sum()
}

/// Names like those of a Debian pool, in an order that is not sorted.
fn path(n: u64) -> Result<RepoPath, fleet_types::PathError> {
    let source = n % 38_000;
    let letter = char::from(b'a' + (source % 26) as u8);
    let (major, minor) = (n / 38_000 % 9, n / 342_000);
    RepoPath::new(&format!(
        "pool/main/{letter}/{letter}package{source}/libpackage{source}-dev_{major}.{minor}.{}-1_amd64.deb",
        n % 7
    ))
}
