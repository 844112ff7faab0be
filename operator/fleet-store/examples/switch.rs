//! Times what makes another snapshot the one that is served: `publish` and `rollback`, and nothing around them.
//!
//! `cargo run --release -p fleet-store --example switch -- [PATHS] [TIMES]` prints one line of JSON, in milliseconds.

mod shared;

use std::time::Instant;

use fleet_store::{SnapshotId, Writer};
use fleet_types::RepoPath;
use shared::{entry, identity, meta};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let paths: u64 = arguments.next().map_or(Ok(1_000), |n| n.parse())?;
    let times: i64 = arguments.next().map_or(Ok(20), |n| n.parse())?;
    let temporary = tempfile::tempdir()?;
    let writer = Writer::open(&temporary.path().join("store"), &identity("switch", 2))?;
    let both = [prepare(&writer, paths, 1)?, prepare(&writer, paths, 2)?];
    let publish = timed(times, |n| writer.publish(turn(&both, n), n).map(|_| ()))?;
    let roll_back = timed(times, |n| writer.rollback(turn(&both, n), n))?;
    let result = serde_json::json!({"paths": paths, "publish": publish, "rollBack": roll_back});
    println!("{result}");
    Ok(())
}

/// The one that is not served.
fn turn(both: &[SnapshotId; 2], n: i64) -> &SnapshotId {
    let [first, second] = both;
    if n % 2 == 0 { first } else { second }
}

fn timed(
    times: i64,
    mut switch: impl FnMut(i64) -> fleet_store::Result<()>,
) -> fleet_store::Result<Vec<f64>> {
    (0..times)
        .map(|n| {
            let started = Instant::now();
            switch(n)?;
            Ok(started.elapsed().as_secs_f64() * 1000.0)
        })
        .collect()
}

fn prepare(
    writer: &Writer,
    paths: u64,
    created: i64,
) -> Result<SnapshotId, Box<dyn std::error::Error>> {
    let mut builder = writer.index_builder(None);
    for n in 0..paths {
        let path = RepoPath::new(&format!(
            "pool/main/s/source{}/package{n}_{created}.deb",
            n / 40
        ))?;
        builder.push(&path, &entry(n))?;
    }
    Ok(builder.finish(meta(created))?.id)
}
