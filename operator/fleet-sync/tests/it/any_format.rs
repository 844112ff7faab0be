//! A format that says other things than Debian's: the engine goes by what the seam tells it, not by one format's words.

use std::io::Read;
use std::ops::ControlFlow;
use std::sync::Arc;

use fleet_formats::seam::{
    Format, IndexGroup, Item, Rejected, RootContent, RootPlan, StateFiles, UnitIndex, VerifyContext,
};
use fleet_sync::RunResult;
use fleet_types::{Reason, Relation, UnitRevision};

use crate::support::archive::Release;
use crate::support::server::Server;
use crate::support::{World, endpoint, sync, told};

const PUBLISHED: (RunResult, Reason) = (RunResult::Published, Reason::Published);

/// Like another, but for what it says.
struct Odd {
    like: Arc<dyn Format>,
    /// Whether roots that were (or were not) read a second time are in the middle of an update.
    is_unsettled: fn(settled: bool) -> bool,
    compare: fn(&UnitRevision, &UnitRevision) -> Relation,
}

impl Format for Odd {
    fn units(&self) -> Vec<String> {
        self.like.units()
    }

    fn roots(&self, unit: &str) -> Result<RootPlan, Rejected> {
        self.like.roots(unit)
    }

    fn state_files(&self) -> &dyn StateFiles {
        self.like.state_files()
    }

    fn compare(&self, a: &UnitRevision, b: &UnitRevision) -> Relation {
        (self.compare)(a, b)
    }

    fn unit_index(
        &self,
        unit: &str,
        roots: &[RootContent],
        context: Option<&VerifyContext<'_>>,
    ) -> Result<UnitIndex, Rejected> {
        match context {
            Some(context) if (self.is_unsettled)(context.settled) => Err(Rejected::unsettled(
                Reason::IndexMalformed,
                "half of it is written",
            )),
            _ => self.like.unit_index(unit, roots, context),
        }
    }

    fn read_index(
        &self,
        group: &IndexGroup,
        content: &mut dyn Read,
        found: &mut dyn FnMut(Item) -> ControlFlow<()>,
    ) -> Result<u64, Rejected> {
        self.like.read_index(group, content, found)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_format_calls_unsettled_is_read_once_more_and_an_update_may_explain_it() {
    let world = World::new(&["stable"]).await;
    let forever: fn(bool) -> bool = |_| true;
    for (is_unsettled, marks, expected) in [
        (forever, 1, (RunResult::Failed, Reason::IndexMalformed)),
        (|settled| !settled, 0, PUBLISHED),
    ] {
        let mut options = world.options(&["stable"]);
        options.format = Arc::new(Odd {
            like: options.format.clone(),
            is_unsettled,
            compare: UnitRevision::compare,
        });
        let report = sync(&options).await;
        assert_eq!(told(&report), expected, "{report:?}");
        let seen = world.server.take_seen();
        let asked = |part: &str| seen.iter().filter(|seen| seen.path.contains(part)).count();
        assert_eq!(asked("/InRelease"), 2, "{seen:?}");
        let asked_for_marks = asked("Archive-Update-in-Progress-");
        assert_eq!(asked_for_marks, marks, "{seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn how_two_states_stand_to_each_other_is_the_formats_word() {
    let world = World::new(&["stable"]).await;
    let other = Server::start(world.archive.freeze("other")).await;
    world
        .archive
        .publish("stable", &world.packages[..2], &Release::of(world.date));
    let by_content: fn(&UnitRevision, &UnitRevision) -> Relation = |a, b| match a.digest == b.digest
    {
        true => Relation::Same,
        false => Relation::Undecided,
    };
    for (compare, expected) in [
        (
            UnitRevision::compare as fn(&UnitRevision, &UnitRevision) -> Relation,
            (RunResult::Failed, Reason::Equivocation),
        ),
        (by_content, PUBLISHED),
    ] {
        let mut options = world.options(&["stable"]);
        options.endpoints = vec![
            endpoint("first", &world.server.url, 10),
            endpoint("second", &other.url, 20),
        ];
        options.format = Arc::new(Odd {
            like: options.format.clone(),
            is_unsettled: |_| false,
            compare,
        });
        let report = sync(&options).await;
        assert_eq!(told(&report), expected, "{report:?}");
    }
}
