//! What is kept of what was fetched, and for how long.

use std::fs::File;
use std::time::{Duration, SystemTime};

use fleet_origin::{Obtained, Origin};
use fleet_store::{Inserter, StoreError};

use crate::upstream::{Reply, Upstream};
use crate::world::{World, bytes, digest};

/// As if it had been used so many seconds ago.
fn age(world: &World, content: &[u8], seconds: u64) {
    let blob = File::open(world.store().blob_path(&digest(content))).unwrap();
    let then = SystemTime::now() - Duration::from_secs(seconds);
    let times = std::fs::FileTimes::new().set_accessed(then);
    blob.set_times(times).unwrap();
}

async fn fetched(upstream: &Upstream, world: &World, path: &str, content: &[u8]) {
    upstream.set(path, Reply::Body(content.to_vec()));
    let came = world.ask(path, content).await;
    assert!(matches!(came, Obtained::Blob(_)), "{path}: {came:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_used_longest_ago_goes_first_and_nothing_that_is_pinned() {
    let upstream = Upstream::start().await;
    let contents: Vec<Vec<u8>> = (0..5).map(|seed| bytes(100_000, seed)).collect();
    let names = ["a.deb", "b.deb", "c.deb", "d.deb", "e.deb"];
    let listed: Vec<(&str, &[u8])> = names
        .into_iter()
        .zip(contents.iter().map(Vec::as_slice))
        .collect();
    // The pinned snapshot names the first alone.
    let world = World::changed(&upstream.url, &listed[..1], |options| {
        options.keep.cache_bytes = Some(350_000);
    });
    let pinned = world.store().current().unwrap().unwrap();
    world.publish(2, &listed);
    world.writer().pin(&pinned, 3).unwrap();
    for (path, content) in &listed[..3] {
        fetched(&upstream, &world, path, content).await;
    }
    for (content, seconds) in contents.iter().zip([9_000, 8_000, 7_000]) {
        age(&world, content, seconds);
    }
    // Used just now, says the server.
    world.filler.used("test", vec![digest(&contents[1])]);
    let deadline = SystemTime::now() - Duration::from_secs(60);
    let blob = world.store().blob_path(&digest(&contents[1]));
    while blob.metadata().unwrap().accessed().unwrap() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fetched(&upstream, &world, listed[3].0, listed[3].1).await;
    let here = |n: usize| world.blob(&contents[n]).is_some();
    assert_eq!(
        [here(0), here(1), here(2), here(3)],
        [true, true, false, true]
    );
    // What went comes again.
    fetched(&upstream, &world, listed[2].0, listed[2].1).await;
    assert_eq!(upstream.asked("c.deb"), 2);
    assert!(here(0), "a pin needs it");
}

#[tokio::test(flavor = "multi_thread")]
async fn for_a_run_that_needs_room_what_was_used_longest_ago_makes_way() {
    let upstream = Upstream::start().await;
    let contents: Vec<Vec<u8>> = (0..3).map(|seed| bytes(100_000, seed)).collect();
    let names = ["a.deb", "b.deb", "c.deb"];
    let listed: Vec<(&str, &[u8])> = names
        .into_iter()
        .zip(contents.iter().map(Vec::as_slice))
        .collect();
    let world = World::new(&upstream.url, &listed);
    for ((path, content), seconds) in listed.iter().zip([7_000, 9_000, 8_000]) {
        fetched(&upstream, &world, path, content).await;
        age(&world, content, seconds);
    }
    let writer = world.writer();
    let made = writer.staging().put_bytes(b"a run has made it").unwrap();
    let of_run = writer.blob_path(&made.digest());
    writer.staging().commit_batch(vec![made]).unwrap();
    let evicted = writer.evict_cached(150_000).unwrap();
    assert_eq!((evicted.files, evicted.left.files), (2, 1));
    let here = |n: usize| world.blob(&contents[n]).is_some();
    assert_eq!([here(0), here(1), here(2)], [true, false, false]);
    assert_eq!(writer.evict_cached(u64::MAX).unwrap().left.files, 0);
    assert!(of_run.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_gives_up_what_no_snapshot_lists_any_more_and_nothing_else() {
    let upstream = Upstream::start().await;
    let (old, new) = (bytes(5_000, 1), bytes(5_000, 2));
    let world = World::new(&upstream.url, &[("old.deb", &old), ("both.deb", b"both")]);
    fetched(&upstream, &world, "old.deb", &old).await;
    fetched(&upstream, &world, "both.deb", b"both").await;
    let both: [(&str, &[u8]); 2] = [("both.deb", b"both"), ("new.deb", &new)];
    world.publish(100, &both);
    assert!(world.blob(&old).is_some(), "a kept snapshot lists it");
    fetched(&upstream, &world, "new.deb", &new).await;
    world.publish(200, &[("both.deb", b"both")]);
    world.publish(300, &both);
    // The snapshots that are kept are the last two.
    assert!(world.blob(&old).is_none());
    assert!(world.blob(b"both").is_some() && world.blob(&new).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_at_a_time_fills_a_store_and_who_collects_is_waited_for() {
    let upstream = Upstream::start().await;
    let world = World::new(&upstream.url, &[("a.deb", b"a"), ("b.deb", b"b")]);
    fetched(&upstream, &world, "a.deb", b"a").await;
    let second = Inserter::open(&world.store());
    assert!(matches!(second, Err(StoreError::Busy { .. })));
    let writer = world.writer();
    writer.keep_inserter_out().unwrap();
    upstream.set("b.deb", Reply::Body(b"b".to_vec()));
    let mut waiting = tokio::spawn(world.ask("b.deb", b"b"));
    while upstream.asked("b.deb") == 0 {
        tokio::task::yield_now().await;
    }
    let early = tokio::time::timeout(Duration::from_millis(100), &mut waiting).await;
    assert!(early.is_err() && world.blob(b"b").is_none());
    writer.collect(500, &[]).unwrap();
    drop(writer);
    assert!(matches!(waiting.await.unwrap(), Obtained::Blob(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_had_of_a_file_is_taken_up() {
    let upstream = Upstream::start().await;
    let content = bytes(1 << 20, 1);
    let world = World::new(&upstream.url, &[("a.deb", &content)]);
    upstream.set("a.deb", Reply::Body(content.clone()));
    let folder = world.options.store_dir.join("filling");
    std::fs::create_dir(&folder).unwrap();
    let half = folder.join(format!("sha256-{}", digest(&content)));
    std::fs::write(&half, &content[..500_000]).unwrap();
    assert!(matches!(
        world.ask("a.deb", &content).await,
        Obtained::Blob(_)
    ));
    assert_eq!(world.blob(&content), Some(content));
    assert!(!half.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_finds_what_it_has_put_into_a_folder_that_was_made_beside_it() {
    let upstream = Upstream::start().await;
    let content = bytes(5_000, 1);
    let world = World::new(&upstream.url, &[("a.deb", &content)]);
    // It has looked which folders there are.
    let writer = world.writer();
    fetched(&upstream, &world, "a.deb", &content).await;
    let first = digest(&content).0[0];
    let mut texts = (0..100_000_u32).map(|number| number.to_string().into_bytes());
    let beside = texts.find(|text| digest(text).0[0] == first).unwrap();
    let staged = writer.staging().put_bytes(&beside).unwrap();
    writer.staging().commit_batch(vec![staged]).unwrap();
    assert!(writer.has_blob(&digest(&beside), beside.len() as u64));
}
