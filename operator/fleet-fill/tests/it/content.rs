//! What is asked for comes, once, and never wrong.

use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use fleet_origin::{Growing, HELD_BACK, Obtained, WHOLE_FIRST};
use fleet_types::Reason;
use futures::future::join_all;
use tokio::sync::Semaphore;

use crate::upstream::{Reply, Upstream};
use crate::world::{World, bytes, digest};

/// All that may be read of something that comes, and whether that is all of it.
async fn read(mut growing: Growing) -> (Vec<u8>, bool) {
    let mut read = Vec::new();
    while (read.len() as u64) < growing.size() {
        let at = read.len() as u64;
        let Ok(until) = growing.beyond(at).await else {
            return (read, false);
        };
        let mut piece = vec![0; (until - at) as usize];
        if growing.file().read_exact_at(&mut piece, at).is_err() {
            return (read, false);
        }
        read.extend(piece);
    }
    (read, true)
}

/// What is told once nothing comes any more: a fetch is over a little after its last byte may be read.
async fn told_at_last(world: &World, path: &str, content: &[u8]) -> Obtained {
    loop {
        match world.ask(path, content).await {
            Obtained::Growing(growing) => drop(read(growing).await),
            told => return told,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_gets_it_by_one_request_and_later_without_any() {
    let upstream = Upstream::start().await;
    let (small, middle) = (bytes(5_000, 1), bytes(1 << 20, 2));
    let world = World::new(&upstream.url, &[("a.deb", &small), ("b.deb", &middle)]);
    upstream.set("a.deb", Reply::Body(small.clone()));
    let gate = Arc::new(Semaphore::new(0));
    upstream.set("b.deb", Reply::Held(middle.clone(), 1_000, gate.clone()));
    let asking = join_all((0..64).map(|n| match n % 2 {
        0 => tokio::spawn(world.ask("a.deb", &small)),
        _ => tokio::spawn(world.ask("b.deb", &middle)),
    }));
    gate.close();
    for (n, obtained) in asking.await.into_iter().enumerate() {
        let content = if n % 2 == 0 { &small } else { &middle };
        let obtained = obtained.unwrap();
        assert!(
            matches!(obtained, Obtained::Blob(is) if is == digest(content)),
            "{obtained:?}"
        );
    }
    assert_eq!((upstream.asked("a.deb"), upstream.asked("b.deb")), (1, 1));
    assert_eq!(world.blob(&middle), Some(middle.clone()));
    upstream.go_away().await;
    assert!(matches!(
        world.ask("b.deb", &middle).await,
        Obtained::Blob(_)
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_large_is_read_while_it_comes_and_its_end_waits_for_the_digest() {
    let upstream = Upstream::start().await;
    let large = bytes(WHOLE_FIRST as usize + 300_000, 3);
    let world = World::new(&upstream.url, &[("large.deb", &large)]);
    let gate = Arc::new(Semaphore::new(0));
    let held = large.len() - 10;
    upstream.set("large.deb", Reply::Held(large.clone(), held, gate.clone()));
    let Obtained::Growing(growing) = world.ask("large.deb", &large).await else {
        panic!("it is not whole yet")
    };
    let mut first = growing.clone();
    let most = large.len() as u64 - HELD_BACK;
    // All but what is held back comes without the end.
    let mut at = 0;
    while at < most {
        at = first.beyond(at).await.unwrap();
        assert!(at <= most, "no more than may be read without the digest");
    }
    assert!(world.blob(&large).is_none(), "what is not whole is no blob");
    gate.close();
    let (read, is_whole) = read(growing).await;
    assert!(is_whole && read == large);
    let told = told_at_last(&world, "large.deb", &large).await;
    assert!(matches!(told, Obtained::Blob(_)), "{told:?}");
    assert_eq!(upstream.asked("large.deb"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_has_a_complete_file_whose_end_is_wrong() {
    let upstream = Upstream::start().await;
    let large = bytes(WHOLE_FIRST as usize + 300_000, 4);
    let world = World::new(&upstream.url, &[("large.deb", &large)]);
    let mut wrong = large.clone();
    *wrong.last_mut().unwrap() ^= 1;
    let (gate, held) = (Arc::new(Semaphore::new(0)), large.len() / 2);
    upstream.set("large.deb", Reply::Held(wrong, held, gate.clone()));
    let asking = join_all((0..64).map(|_| world.ask("large.deb", &large))).await;
    gate.close();
    for obtained in asking {
        let Obtained::Growing(growing) = obtained else {
            panic!("{obtained:?}")
        };
        let (read, is_whole) = read(growing).await;
        assert!(!is_whole && read.len() as u64 <= large.len() as u64 - HELD_BACK);
    }
    assert_eq!(upstream.asked("large.deb"), 1);
    assert!(world.blob(&large).is_none());
    // And it is told for a while without asking again.
    let told = told_at_last(&world, "large.deb", &large).await;
    assert!(
        matches!(told, Obtained::Refused(Reason::DigestMismatch, _)),
        "{told:?}"
    );
    assert_eq!(upstream.asked("large.deb"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_breaks_is_taken_up_where_it_broke() {
    let upstream = Upstream::start().await;
    let large = bytes(WHOLE_FIRST as usize + 300_000, 5);
    let world = World::new(&upstream.url, &[("large.deb", &large)]);
    upstream.set("large.deb", Reply::Cut(large.clone(), large.len() / 2));
    let came = match world.ask("large.deb", &large).await {
        Obtained::Growing(growing) => read(growing).await == (large.clone(), true),
        Obtained::Blob(_) => true,
        other => panic!("{other:?}"),
    };
    assert!(came);
    let told = told_at_last(&world, "large.deb", &large).await;
    assert!(matches!(told, Obtained::Blob(_)), "{told:?}");
    assert_eq!(upstream.asked("large.deb"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_leave_do_not_end_what_others_may_want() {
    let upstream = Upstream::start().await;
    let middle = bytes(1 << 20, 6);
    let world = World::new(&upstream.url, &[("a.deb", &middle)]);
    let gate = Arc::new(Semaphore::new(0));
    upstream.set("a.deb", Reply::Held(middle.clone(), 1_000, gate.clone()));
    let leaving = tokio::spawn(world.ask("a.deb", &middle));
    while upstream.asked("a.deb") == 0 {
        tokio::task::yield_now().await;
    }
    leaving.abort();
    assert!(leaving.await.is_err());
    gate.close();
    assert!(matches!(
        world.ask("a.deb", &middle).await,
        Obtained::Blob(_)
    ));
    assert_eq!(upstream.asked("a.deb"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_waits_for_and_is_far_from_its_end_is_given_up_and_taken_up_again() {
    let upstream = Upstream::start().await;
    let large = bytes(3 * WHOLE_FIRST as usize, 7);
    let nearly = bytes(2 * WHOLE_FIRST as usize, 8);
    let listed: [(&str, &[u8]); 2] = [("large.deb", &large), ("nearly.deb", &nearly)];
    let world = World::changed(&upstream.url, &listed, |options| {
        options.abandoned_after = Duration::from_millis(60);
    });
    let gate = Arc::new(Semaphore::new(0));
    let early = Reply::Held(large.clone(), 1 << 20, gate.clone());
    upstream.set("large.deb", early);
    let late = Reply::Held(nearly.clone(), WHOLE_FIRST as usize + 1, gate.clone());
    upstream.set("nearly.deb", late);
    let Obtained::Growing(mut growing) = world.ask("large.deb", &large).await else {
        panic!("it is not whole yet")
    };
    let Obtained::Growing(mut leaving) = world.ask("nearly.deb", &nearly).await else {
        panic!("it is not whole yet")
    };
    growing.beyond((1 << 20) - 1).await.unwrap();
    leaving.beyond(WHOLE_FIRST).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(upstream.asked("large.deb"), 1, "somebody reads it");
    drop((growing, leaving));
    // Who comes back for what was given up has it asked for again.
    upstream.set("large.deb", Reply::Body(large.clone()));
    while upstream.asked("large.deb") == 1 {
        drop(world.ask("large.deb", &large).await);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // More than one where the machine is busy: nobody waited for the second one either.
    let told = told_at_last(&world, "large.deb", &large).await;
    assert!(matches!(told, Obtained::Blob(_)), "{told:?}");
    // The other comes to its end although nobody waited for it just as long.
    gate.close();
    let told = told_at_last(&world, "nearly.deb", &nearly).await;
    assert!(matches!(told, Obtained::Blob(_)), "{told:?}");
    assert_eq!(upstream.asked("nearly.deb"), 1);
}
