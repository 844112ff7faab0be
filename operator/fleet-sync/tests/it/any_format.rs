//! A format that says other things than Debian's: the engine goes by what the seam tells it, not by one format's words.

use std::io::Read;
use std::ops::ControlFlow;
use std::sync::Arc;

use fleet_formats::seam::{
    Format, IndexGroup, Item, Rejected, RootContent, RootFile, RootPlan, UnitIndex, Verified,
    VerifyContext,
};
use fleet_sync::RunResult;
use fleet_types::Reason;

use crate::support::{World, sync, told};

/// Like another, and it finds what is read for the first time (or whenever it is read) to be in the middle of an update.
struct Hasty {
    like: Arc<dyn Format>,
    forever: bool,
}

impl Format for Hasty {
    fn units(&self) -> Vec<String> {
        self.like.units()
    }

    fn roots(&self, unit: &str) -> Result<RootPlan, Rejected> {
        self.like.roots(unit)
    }

    fn update_mark(&self, host: &str) -> Option<RootFile> {
        self.like.update_mark(host)
    }

    fn read(&self, unit: &str, roots: &[RootContent]) -> Result<UnitIndex, Rejected> {
        self.like.read(unit, roots)
    }

    fn verify(
        &self,
        unit: &str,
        roots: &[RootContent],
        context: &VerifyContext<'_>,
    ) -> Result<Verified<UnitIndex>, Rejected> {
        match self.forever || !context.settled {
            true => Err(Rejected::unsettled(
                Reason::IndexMalformed,
                "half of it is written",
            )),
            false => self.like.verify(unit, roots, context),
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
    for (forever, expected) in [
        (true, (RunResult::Failed, Reason::IndexMalformed)),
        (false, (RunResult::Published, Reason::Published)),
    ] {
        let mut options = world.options(&["stable"]);
        let like = options.format.clone();
        options.format = Arc::new(Hasty { like, forever });
        let report = sync(&options).await;
        assert_eq!(told(&report), expected, "{report:?}");
        let seen = world.server.take_seen();
        let asked = |part: &str| seen.iter().filter(|seen| seen.path.contains(part)).count();
        assert_eq!(asked("/InRelease"), 2, "{seen:?}");
        let marks = asked("Archive-Update-in-Progress-");
        assert_eq!(marks, usize::from(forever), "{seen:?}");
    }
}
