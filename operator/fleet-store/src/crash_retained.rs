//! A publication and a collection that gives up a snapshot before its time, stopped at every operation: each name that
//! clients may ask for is there, and once a run gets through nothing superfluous is.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fleet_types::RepoPath;

use crate::model::{Defect, Dice, ModelDisk};
use crate::numbered::{blobs, digest, entry, fetch, identity, meta};
use crate::{Entry, Identity, Retention, StoreError, Writer};

/// Names of fixed content and their content, at one moment.
type Names = &'static [(&'static str, u8)];

const FIRST: Names = &[("pool/gone", 1), ("pool/stays", 2)];
const LATER: Names = &[("pool/stays", 2)];
/// Comes back, and with what the other one had.
const LAST: Names = &[("pool/gone", 2), ("pool/new", 3)];
/// Seconds for which what went can be fetched: until nearly all of the story is over.
const MIN_AGE: i64 = Retention::MAX_KEPT as i64 + 6;

fn retention() -> Identity {
    Identity {
        retention: Retention {
            keep: 1,
            min_age: Duration::from_secs(MIN_AGE as u64),
        },
        ..identity()
    }
}

fn open(model: &Arc<ModelDisk>, dir: &Path) -> crate::Result<Writer> {
    Writer::open_on(Box::new(Arc::clone(model)), dir, Some(&retention()))
}

fn run(writer: &Writer, now: i64, names: Names) -> crate::Result<()> {
    let listing = names.iter().map(|(_, content)| (0, *content));
    for one in listing {
        fetch(writer, &[one].into())?;
    }
    let mut builder = writer.index_builder(writer.current_snapshot()?);
    for (path, content) in names {
        let path = RepoPath::new(path).map_err(|_| StoreError::corrupt("the test", "a path"))?;
        builder.push(&path, &entry(*content))?;
    }
    // Each is another snapshot.
    let number = (now % 200) as u8 + 20;
    fetch(writer, &[(0, number)].into())?;
    let changing = Entry {
        mutable: true,
        ..entry(number)
    };
    let path = RepoPath::new("release").map_err(|_| StoreError::corrupt("the test", "a path"))?;
    builder.push(&path, &changing)?;
    let id = builder.finish(meta(now))?.id;
    writer.publish(&id, now)?;
    writer.collect(now, &[]).map(drop)
}

/// The first snapshot is the next to go: there are as many as are kept.
fn seed(dir: &Path) -> i64 {
    let model = ModelDisk::new(dir, Defect::None);
    let writer = open(&model, dir).unwrap();
    run(&writer, 0, FIRST).unwrap();
    let until = Retention::MAX_KEPT as i64;
    for now in 1..until {
        run(&writer, now, LATER).unwrap();
    }
    assert_eq!(writer.snapshots().unwrap().len(), Retention::MAX_KEPT);
    until
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let to = to.join(file.file_name());
        match file.file_type().unwrap().is_dir() {
            true => copy(&file.path(), &to),
            false => drop(std::fs::copy(file.path(), to).unwrap()),
        }
    }
}

fn is_fetchable(writer: &Writer, path: &str, content: u8) -> bool {
    let kept = writer.snapshots().unwrap();
    let kept = kept.iter().rev().filter_map(|info| {
        let snapshot = writer.snapshot(&info.id).unwrap();
        snapshot.get(path)
    });
    let list = writer.retained().unwrap();
    let gone = list.iter().filter_map(|list| list.get(path));
    let mut all = kept.chain(gone.map(|gone| gone.entry));
    let is_it = |entry: &Entry| entry.digest == digest(content);
    all.any(|entry| is_it(&entry) && writer.has_blob(&entry.digest, entry.size))
}

/// Every state of the disk that stopping this run can leave, until it is not stopped.
fn stopped_anywhere(seeded: &Path, now: i64, names: Names, check: &dyn Fn(&Writer, i64)) {
    for fuel in 0.. {
        let mut finished = false;
        for power in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            copy(seeded, dir.path());
            let mut model = ModelDisk::new(dir.path(), Defect::None);
            model.set_fuel(Some(fuel));
            let outcome = open(&model, dir.path()).and_then(|writer| run(&writer, now, names));
            finished = !model.is_out_of_fuel();
            assert!(
                outcome.is_ok() || !finished,
                "{fuel} operations: {outcome:?}"
            );
            model.set_fuel(None);
            if power {
                model = model.cut_power(&mut Dice::new(u64::from(fuel)));
            }
            let writer = open(&model, dir.path()).unwrap();
            check(&writer, now);
            run(&writer, now + 1, names).unwrap();
            check(&writer, now + 1);
            // All time is over: what is left is what is served.
            writer.collect(now + 10 * MIN_AGE, &[]).unwrap();
            assert!(writer.retained().unwrap().is_none());
            let left = blobs(&dir.path().join("blobs")).len();
            assert_eq!(left, names.len() + 1, "{fuel} operations");
            assert!(writer.scrub(&mut |_| {}).unwrap().is_clean());
        }
        if finished {
            return;
        }
    }
}

#[test]
fn a_name_that_goes_can_be_fetched_wherever_the_run_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let now = seed(dir.path());
    stopped_anywhere(dir.path(), now, LATER, &|writer, _| {
        assert!(is_fetchable(writer, "pool/gone", 1));
        assert!(is_fetchable(writer, "pool/stays", 2));
    });
}

#[test]
fn a_name_that_comes_back_and_one_whose_time_is_over_leave_nothing_wherever_the_run_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let now = seed(dir.path());
    let model = ModelDisk::new(dir.path(), Defect::None);
    let writer = open(&model, dir.path()).unwrap();
    run(&writer, now, LATER).unwrap();
    assert!(writer.retained().unwrap().is_some());
    drop(writer);
    stopped_anywhere(dir.path(), now + 1, LAST, &|writer, now| {
        let current = writer.current_snapshot().unwrap().unwrap();
        if current.get("pool/new").is_some() {
            assert!(is_fetchable(writer, "pool/gone", 2) && is_fetchable(writer, "pool/new", 3));
        } else {
            assert!(is_fetchable(writer, "pool/gone", 1), "at {now}");
        }
        assert!(is_fetchable(writer, "pool/stays", 2));
    });
    // 1 + MIN_AGE: the first name's time.
    stopped_anywhere(dir.path(), 1 + MIN_AGE, LATER, &|writer, _| {
        assert!(is_fetchable(writer, "pool/stays", 2));
    });
}
