//! The clocks of an upstream: asked once and first, repeated as far as they are true, and never turned back.

use std::fs;
use std::path::Path;

use fleet_sync::Publishing;
use fleet_types::{Order, Reason};

use super::{PUBLISHED, Shop, UNCHANGED};
use crate::support::server::{Fault, Server};
use crate::support::{endpoint, sync, told};

#[tokio::test(flavor = "multi_thread")]
async fn two_clocks_are_asked_once_and_repeated_as_far_as_they_are_true() {
    let mut shop = Shop::new().await;
    let options = shop.options();
    assert_eq!(told(&sync(&options).await), PUBLISHED);
    let both = ["lastupdate", "lastsync"];
    for clock in both {
        assert_eq!(shop.says(clock), shop.upstream_says(clock), "{clock}");
    }

    // A sign of life is one round trip, and no new snapshot.
    shop.beats();
    shop.server.take_seen();
    assert_eq!(told(&sync(&options).await), UNCHANGED);
    let mut seen: Vec<_> = shop
        .server
        .take_seen()
        .into_iter()
        .map(|seen| seen.path)
        .collect();
    seen.sort();
    assert_eq!(seen, ["/debian/lastsync", "/debian/lastupdate"]);
    assert_eq!(shop.says("lastsync"), shop.upstream_says("lastsync"));

    // While a unit is refused, nothing is claimed that is not true of all.
    let before = both.map(|clock| shop.says(clock));
    shop.publish("core", "gamma", "gamma 1");
    shop.publish("extra", "delta", "delta 1");
    shop.server
        .fault("core/gamma.pkg.sig", 100, Fault::Status(404));
    assert_eq!(sync(&options).await.reason, Reason::SignatureMissing);
    assert!(shop.is_served("extra/delta.pkg"));
    assert_eq!(both.map(|clock| shop.says(clock)), before);
    shop.server.heal();
    assert_eq!(told(&sync(&options).await), PUBLISHED);
    assert_eq!(shop.says("lastupdate"), shop.upstream_says("lastupdate"));

    // An upstream whose clock is gone is asked for its units.
    fs::remove_file(shop.path("lastupdate")).unwrap();
    shop.server.take_seen();
    assert_eq!(told(&sync(&options).await), UNCHANGED);
    assert_eq!(shop.asked(".db"), 2);
    assert_eq!(shop.says("lastupdate"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_for_what_is_not_there_is_no_clock() {
    let mut shop = Shop::new().await;
    let options = shop.options();
    // It stands still for ever.
    let page = Fault::Content(b"<html>Not Found</html>".to_vec());
    for clock in ["lastupdate", "lastsync"] {
        shop.server.fault(clock, 100, page.clone());
    }
    assert_eq!(told(&sync(&options).await), PUBLISHED);
    assert_eq!(shop.says("lastupdate"), None);
    shop.publish("core", "gamma", "gamma 1");
    assert_eq!(told(&sync(&options).await), PUBLISHED);
    assert!(shop.is_served("core/gamma.pkg"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_with_a_clock_is_asked_for_nothing_else() {
    let mut shop = Shop::new().await;
    let top = shop.dir.path().join("authority");
    fs::create_dir(&top).unwrap();
    fs::write(top.join("lastupdate"), shop.updated.to_string()).unwrap();
    let authority = Server::start(top).await;
    let mut options = shop.options();
    options.authority = authority.url.clone();
    options.endpoints = vec![endpoint("tier-1", &shop.server.url, 0)];
    for expected in [PUBLISHED, UNCHANGED, PUBLISHED] {
        assert_eq!(told(&sync(&options).await), expected);
        assert_eq!(shop.says("lastsync"), shop.upstream_says("lastsync"));
        for seen in authority.take_seen() {
            assert!(seen.path.contains("last"), "{seen:?}");
        }
        match expected == PUBLISHED {
            true => shop.beats(),
            false => shop.publish("core", "gamma", "gamma 1"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_stand_still_while_a_person_holds_an_older_snapshot() {
    let mut shop = Shop::new().await;
    let options = shop.options();
    assert_eq!(told(&sync(&options).await), PUBLISHED);
    let clocks = |shop: &Shop| ["lastupdate", "lastsync"].map(|clock| shop.says(clock));
    let (first, before) = (shop.current(), clocks(&shop));
    let mut pinned = options.clone();
    pinned.publishing = Publishing::ByRun {
        pinned: Some(first),
        skip: Vec::new(),
    };
    for _ in 0..2 {
        shop.publish("core", "gamma", "gamma 1");
        assert_eq!(sync(&pinned).await.reason, Reason::Pinned);
        assert_eq!(clocks(&shop), before);
    }
    assert_eq!(sync(&options).await.reason, Reason::Published);
    assert_eq!(shop.says("lastupdate"), shop.upstream_says("lastupdate"));
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_tell_of_what_was_ordered_and_not_of_what_is_only_prepared() {
    let mut shop = Shop::new().await;
    let mut options = shop.options();
    let by_order = |order| Publishing::ByOrder {
        order,
        keep: Vec::new(),
    };
    options.publishing = by_order(None);
    let clocks = |shop: &Shop| ["lastupdate", "lastsync"].map(|clock| shop.says(clock));
    let (mut epoch, mut before) = (0, [None, None]);
    for name in ["gamma", "delta", "epsilon"] {
        shop.publish("core", name, "1");
        shop.beats();
        let report = sync(&options).await;
        assert_eq!(report.reason, Reason::Prepared, "{report:?}");
        assert_eq!(clocks(&shop), before, "nobody serves it");
        shop.beats();
        sync(&options).await;
        assert_eq!(clocks(&shop), before, "nobody serves it yet");
        epoch += 1;
        let snapshot = report.prepared.unwrap().id;
        options.publishing = by_order(Some(Order { epoch, snapshot }));
        assert_eq!(sync(&options).await.reason, Reason::Unchanged);
        before = clocks(&shop);
        let upstream = ["lastupdate", "lastsync"].map(|clock| shop.upstream_says(clock));
        assert_eq!(before, upstream);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_goes_forward_only_whichever_endpoint_is_asked() {
    let mut shop = Shop::new().await;
    let options = shop.options();
    let old = shop.dir.path().join("old");
    copy(&shop.path(""), &old);
    let behind = Server::start(old.clone()).await;
    shop.publish("core", "gamma", "gamma 1");
    shop.beats();
    assert_eq!(told(&sync(&options).await), PUBLISHED);
    let before = ["lastupdate", "lastsync"].map(|clock| shop.says(clock));

    let mut elsewhere = options.clone();
    elsewhere.endpoints = vec![endpoint("behind", &behind.url, 0)];
    let report = sync(&elsewhere).await;
    assert_eq!(report.reason, Reason::RollbackDetected, "{report:?}");
    assert!(report.units[0].message.contains("lastupdate"), "{report:?}");
    assert!(shop.is_served("core/gamma.pkg"), "what was served still is");
    assert_eq!(
        ["lastupdate", "lastsync"].map(|clock| shop.says(clock)),
        before
    );

    // The same state, of somebody who heard of the master earlier.
    let now = shop.upstream_says("lastupdate").unwrap();
    fs::write(old.join("lastupdate"), now).unwrap();
    copy(&shop.path("core"), &old.join("core"));
    assert_eq!(told(&sync(&elsewhere).await), UNCHANGED);
    assert_eq!(
        ["lastupdate", "lastsync"].map(|clock| shop.says(clock)),
        before
    );
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = (entry.as_ref().unwrap().path(), entry.unwrap().file_name());
        match path.is_dir() {
            true => copy(&path, &to.join(name)),
            false => drop(fs::copy(&path, to.join(name)).unwrap()),
        }
    }
}
