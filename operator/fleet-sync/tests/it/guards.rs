//! The shrink guard: a suite that loses much of what it had waits for a person, the others do not.

use fleet_sync::{RunResult, Shrink};
use fleet_types::Reason;
use serde_json::json;

use crate::support::archive::{Package, Release};
use crate::support::{World, plan, set_content, sync, told};

const PUBLISHED: (RunResult, Reason) = (RunResult::Published, Reason::Published);
const HELD: (RunResult, Reason) = (RunResult::Failed, Reason::ShrinkRefused);

/// Two suites with packages of their own: a hundred each, and some that they share.
struct Suites {
    world: World,
    stable: Vec<Package>,
    updates: Vec<Package>,
}

impl Suites {
    async fn new() -> Suites {
        let world = World::new(&[]).await;
        let mut all = world.archive.many_packages(200);
        let mut updates = all.split_off(100);
        all.extend(world.packages.clone());
        updates.extend(world.packages.clone());
        let suites = Suites {
            world,
            stable: all,
            updates,
        };
        suites.publish("stable", 0, 0);
        suites.publish("updates", 0, 0);
        suites
    }

    /// A suite without its first packages.
    fn publish(&self, suite: &str, without: usize, later: i64) {
        let packages = match suite {
            "stable" => &self.stable,
            _ => &self.updates,
        };
        let release = Release::of(self.world.date + later);
        self.world
            .archive
            .publish(suite, &packages[without..], &release);
    }

    fn serves(&self, package: &Package) -> bool {
        self.world.state_of(&package.path).is_some()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suite_that_shrinks_is_held_until_a_person_allows_that_very_state() {
    let suites = Suites::new().await;
    let (stable, updates) = (&suites.stable, &suites.updates);
    let mut options = suites.world.options(&["stable", "updates"]);
    assert_eq!(told(&sync(&options).await), PUBLISHED);

    suites.publish("stable", 19, 10);
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "a few never count: {report:?}");

    suites.publish("stable", 60, 20);
    suites.publish("updates", 5, 20);
    let foreseen = plan(&options).await;
    assert_eq!(foreseen.reason, Reason::ShrinkRefused, "{foreseen:?}");
    let report = sync(&options).await;
    assert_eq!(
        (told(&report), report.exit_code()),
        ((RunResult::Published, Reason::ShrinkRefused), 3),
        "{report:?}"
    );
    let reasons: Vec<_> = report.units.iter().map(|suite| suite.reason).collect();
    assert_eq!(reasons, [Reason::ShrinkRefused, Reason::Published]);
    assert!(report.message.contains("41 of 84 files"), "{report:?}");
    assert!(suites.serves(&stable[59]) && !suites.serves(&updates[4]));
    let named = report.message.split('"').nth(1).unwrap();
    let digest = named.parse().unwrap();
    assert_eq!(told(&sync(&options).await), HELD);

    // What is allowed is this state, not whatever comes next.
    options.verification.shrink.allowed = vec![digest];
    suites.publish("stable", 80, 30);
    assert_eq!(told(&sync(&options).await), HELD);
    suites.publish("stable", 60, 20);
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    assert!(!suites.serves(&stable[59]) && suites.serves(&stable[60]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suite_that_grows_back_needs_nobody() {
    let suites = Suites::new().await;
    let options = suites.world.options(&["stable", "updates"]);
    assert_eq!(told(&sync(&options).await), PUBLISHED);
    suites.publish("stable", 103, 10);
    assert_eq!(told(&sync(&options).await), HELD, "an empty suite");
    suites.publish("stable", 1, 20);
    assert_eq!(told(&sync(&options).await), PUBLISHED);
    assert!(suites.serves(&suites.stable[1]) && !suites.serves(&suites.stable[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_limit_holds_by_itself_and_can_be_switched_off() {
    let suites = Suites::new().await;
    let mut options = suites.world.options(&["stable", "updates"]);
    assert_eq!(told(&sync(&options).await), PUBLISHED);
    suites.publish("stable", 30, 10);
    suites.publish("updates", 30, 10);
    let limits = |max_percent, max_count| Shrink {
        max_percent,
        max_count,
        allowed: Vec::new(),
    };
    for limits in [limits(29, None), limits(100, Some(29))] {
        options.verification.shrink = limits;
        let report = sync(&options).await;
        assert_eq!(told(&report), HELD, "{report:?}");
        let each = report.units.iter().map(|suite| suite.reason);
        assert!(
            each.into_iter()
                .all(|reason| reason == Reason::ShrinkRefused)
        );
    }
    options.verification.shrink = limits(30, Some(30));
    assert_eq!(told(&sync(&options).await), PUBLISHED);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_we_leave_out_ourselves_is_no_loss_of_the_upstreams() {
    let suites = Suites::new().await;
    let mut options = suites.world.options(&["stable", "updates"]);
    assert_eq!(told(&sync(&options).await), PUBLISHED);
    let content = |suites: &[&str], packages| {
        json!({
            "suites": suites, "components": ["main"], "architectures": ["amd64"], "packages": packages,
        })
    };
    let both = ["stable", "updates"];
    set_content(
        &mut options,
        content(&both, json!({"include": [{"name": "p0001*"}]})),
    );
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    options.exclude = vec!["pool/**".to_owned()];
    assert_eq!(told(&sync(&options).await), PUBLISHED);
    set_content(&mut options, content(&["updates"], json!({})));
    options.exclude.clear();
    suites.publish("updates", 90, 10);
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "not comparable: {report:?}");
    assert!(!suites.serves(&suites.stable[0]));
}
