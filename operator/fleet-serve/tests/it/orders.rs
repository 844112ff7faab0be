//! What is served by order: a file that says which snapshot, replaced while the server runs.

use std::path::Path;

use crate::common::{Running, Store, fixed, mutable, start_ordered};
use fleet_store::SnapshotId;
use fleet_types::Order;
use fleet_types::documents::ServedStatus;
use tempfile::TempDir;

const INDEX: &str = "/debian/dists/trixie/InRelease";

struct World {
    data: TempDir,
    orders: TempDir,
    store: Store,
}

impl World {
    fn new() -> World {
        let data = TempDir::new().unwrap();
        World {
            store: Store::new(data.path(), "debian"),
            orders: TempDir::new().unwrap(),
            data,
        }
    }

    /// The nth state, on the volume and not served by itself.
    fn prepare(&self, n: i64) -> SnapshotId {
        let names = [
            mutable("dists/trixie/InRelease", format!("release {n}")),
            fixed(&format!("pool/{n}.deb"), format!("package {n}")),
        ];
        self.store.prepare(n, &names)
    }

    fn write(&self, text: &str) {
        write(self.orders.path(), text);
    }

    fn order(&self, epoch: u64, id: &SnapshotId) -> Order {
        let order = Order {
            epoch,
            snapshot: id.0,
        };
        self.write(&order.to_string());
        order
    }

    async fn start(&self) -> Running {
        start_ordered(self.data.path(), Some(self.orders.path()), None).await
    }
}

/// As the kubelet does: never half of it.
fn write(dir: &Path, text: &str) {
    std::fs::write(dir.join("new"), text).unwrap();
    std::fs::rename(dir.join("new"), dir.join("debian")).unwrap();
}

async fn status(server: &Running) -> ServedStatus {
    let reply = server.get_metrics("/.mirrorfleet/status/debian").await;
    serde_json::from_slice(&reply.body).unwrap()
}

/// Asks until the server follows this order.
async fn follows(server: &Running, order: Order) -> ServedStatus {
    loop {
        let status = status(server).await;
        if status.order == Some(order) {
            return status;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

async fn serves(server: &Running, n: i64) {
    let reply = server.get(INDEX).await;
    assert_eq!((reply.status, reply.text()), (200, format!("release {n}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_serves_what_is_ordered_and_goes_back_to_no_lower_epoch() {
    let world = World::new();
    let (one, two, three) = (world.prepare(1), world.prepare(2), world.prepare(3));
    let server = world.start().await;
    let nothing = status(&server).await;
    assert_eq!(
        (nothing.order, nothing.snapshot),
        (None, None),
        "nobody ordered it"
    );
    let kept: Vec<_> = nothing.kept.iter().map(|kept| kept.id).collect();
    assert_eq!(kept, [one.0, two.0, three.0], "the newest last");
    assert_eq!(server.get(INDEX).await.status, 503);
    assert_eq!(server.get_metrics("/readyz").await.status, 503);

    let told = follows(&server, world.order(5, &two)).await;
    assert_eq!(told.snapshot, Some(two.to_string()));
    assert!(told.published_at.is_some() && told.problem.is_none());
    serves(&server, 2).await;
    assert_eq!(server.get_metrics("/readyz").await.status, 200);
    // Back by a newer decision.
    follows(&server, world.order(6, &one)).await;
    serves(&server, 1).await;
    // What is not newer is not listened to: each is followed by one that is.
    for (older, epoch) in [(4, 7), (7, 8)] {
        world.order(older, &three);
        serves(&server, 1).await;
        world.write("");
        serves(&server, 1).await;
        follows(&server, world.order(epoch, &one)).await;
    }
    // And all that is kept stays within reach.
    assert_eq!(server.get("/debian/pool/3.deb").await.text(), "package 3");
    server.stop().await;
}

/// pacman takes what is later than what it has. Who was led to the place of a snapshot just before another one was served has that
/// one's content, and has to take what is served afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_went_back_to_is_later_than_the_same_name_in_any_other_snapshot() {
    let world = World::new();
    let (one, two) = (world.prepare(1), world.prepare(2));
    let server = world.start().await;
    let place = |id: &SnapshotId| format!("/.mirrorfleet/s/debian/{id}/dists/trixie/InRelease");
    let date = async |path: &str| {
        let reply = server.get(path).await;
        reply.header("last-modified").unwrap().to_owned()
    };
    follows(&server, world.order(1, &two)).await;
    assert_eq!(date(INDEX).await, date(&place(&two)).await);
    for (epoch, served, other, n) in [(2, &one, &two, 1), (3, &two, &one, 2), (4, &one, &two, 1)] {
        follows(&server, world.order(epoch, served)).await;
        assert_eq!(date(INDEX).await, date(&place(served)).await);
        let since = date(&place(other)).await;
        let reply = server
            .ask("GET", INDEX, &[("If-Modified-Since", &since)])
            .await;
        let text = format!("release {n}");
        assert_eq!((reply.status, reply.text()), (200, text), "since {since}");
    }
    // So a proxy has to ask again what date that place has now, for whom the date matters.
    let caching = async |agent: &str| {
        let (path, headers) = (place(&one), [("User-Agent", agent)]);
        let reply = server.ask("GET", &path, &headers).await;
        reply.header("cache-control").unwrap().to_owned()
    };
    assert!(
        caching("pacman/6.0.2 (Linux x86_64)")
            .await
            .contains("no-cache")
    );
    assert!(
        caching("Debian APT-HTTP/1.3 (2.6.1)")
            .await
            .contains("immutable")
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_cannot_be_followed_is_told_and_changes_nothing() {
    let world = World::new();
    let one = world.prepare(1);
    let first = world.order(1, &one);
    let server = world.start().await;
    follows(&server, first).await;
    let unknown = SnapshotId(fleet_types::Sha256([7; 32]));
    for (text, words) in [
        ("7".to_owned(), "an epoch, a space and the id"),
        (format!("2 {unknown}"), "which is not kept here"),
    ] {
        world.write(&text);
        let told = loop {
            let status = status(&server).await;
            if status.problem.is_some() {
                break status;
            }
        };
        let problem = told.problem.unwrap();
        assert!(problem.contains(words), "{problem}");
        assert_eq!(told.order, Some(first));
        serves(&server, 1).await;
        world.order(1, &one);
        while status(&server).await.problem.is_some() {}
    }
    // It is followed as soon as it can be.
    let two = world.prepare(2);
    follows(&server, world.order(3, &two)).await;
    serves(&server, 2).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_starts_follows_its_order_unless_a_run_settled_a_newer_one() {
    let world = World::new();
    let (one, two, three) = (world.prepare(1), world.prepare(2), world.prepare(3));
    let order = |epoch, id: &SnapshotId| Order {
        epoch,
        snapshot: id.0,
    };
    world.store.writer.settle(&order(4, &one), 10).unwrap();
    for (given, epoch, n) in [
        // Ordered and not settled yet; settled and nothing ordered; an order of before.
        (Some((5, two)), 5, 2),
        (None, 4, 1),
        (Some((3, three)), 4, 1),
        (Some((4, three)), 4, 1),
    ] {
        match given {
            Some((epoch, id)) => drop(world.order(epoch, &id)),
            None => world.write(""),
        }
        let server = world.start().await;
        serves(&server, n).await;
        assert_eq!(
            status(&server).await.order.map(|order| order.epoch),
            Some(epoch)
        );
        server.stop().await;
    }
    // What a run settles changes nothing of what is served by a newer order.
    let latest = world.order(9, &three);
    let server = world.start().await;
    follows(&server, latest).await;
    world.store.writer.settle(&order(8, &two), 20).unwrap();
    serves(&server, 3).await;
    world.store.writer.settle(&latest, 30).unwrap();
    serves(&server, 3).await;
    assert_eq!(world.store.writer.current().unwrap(), Some(three));
    server.stop().await;
}
