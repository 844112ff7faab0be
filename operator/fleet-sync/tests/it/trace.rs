//! What our own trace file repeats of the upstream's.

use fleet_sync::RunResult;
use fleet_types::{Reason, RunFacts};

use crate::support::archive::Release;
use crate::support::server::Fault;
use crate::support::{World, sync, told};

const MASTER: &str = "project/trace/master";

fn serial(world: &World) -> Option<String> {
    let facts: RunFacts = world.store().state(RunFacts::DOCUMENT).unwrap().unwrap();
    let mut fields = facts.fields.into_iter();
    let found = fields.find(|(field, _)| field == "Archive serial");
    found.map(|(_, value)| value)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_archive_serial_is_asked_for_with_what_is_new_and_kept_while_nothing_is() {
    let world = World::new(&["stable"]).await;
    let options = world.options(&["stable"]);
    let master = |text: &str| world.archive.write(MASTER, text.as_bytes());
    let mut date = world.date;
    let mut publish = || {
        date += 1;
        world
            .archive
            .publish("stable", &world.packages, &Release::of(date));
    };
    let published = (RunResult::Published, Reason::Published);
    master("Sun Nov  6 08:49:37 UTC 1994\nArchive serial: 1994110602\n");
    assert_eq!(told(&sync(&options).await), published);
    assert_eq!(serial(&world).as_deref(), Some("1994110602"));

    master("Archive serial: 1994110603\n");
    let unchanged = sync(&options).await;
    // InRelease, and whether there is a Release by now.
    let two = (Reason::Unchanged, 2);
    assert_eq!((unchanged.reason, unchanged.requests), two, "{unchanged:?}");
    assert_eq!(
        serial(&world).as_deref(),
        Some("1994110602"),
        "of what is served"
    );

    publish();
    assert_eq!(told(&sync(&options).await), published);
    assert_eq!(serial(&world).as_deref(), Some("1994110603"));

    // What is none, too much, refused or gone is no failure, and what was true before is not repeated.
    let too_much = "x".repeat(100_000) + "\nArchive serial: 4\n";
    for text in ["Archive serial: <b>\n", &too_much] {
        master(text);
        publish();
        assert_eq!(told(&sync(&options).await), published);
        assert_eq!(serial(&world), None);
    }
    world.server.fault(MASTER, 10, Fault::Status(403));
    publish();
    assert_eq!(told(&sync(&options).await), published);
    std::fs::remove_file(world.archive.path(MASTER)).unwrap();
    publish();
    assert_eq!(told(&sync(&options).await), published);
    assert_eq!(serial(&world), None);
}
