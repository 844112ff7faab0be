//! Whatever goes wrong, in whatever order: a run that fails moves neither clock, one that fails for a unit moves none beyond what
//! is true of that unit, and none moves one back.

use fleet_types::Reason;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::{PUBLISHED, Shop, UNCHANGED};
use crate::support::server::Fault;
use crate::support::{sync, told};

const CLOCKS: [&str; 2] = ["lastupdate", "lastsync"];
/// One of before all that the shop says.
const OLDER: &[u8] = b"1600000000";

/// What comes before a run.
#[derive(Debug, Clone, Copy)]
enum News {
    Nothing,
    Alive,
    In(&'static str),
    InBoth,
}

/// What is wrong with the upstream during it: a file, and how it is answered.
#[derive(Debug, Clone)]
struct Trouble {
    file: &'static str,
    fault: Fault,
}

fn news() -> impl Strategy<Value = News> {
    prop::sample::select(vec![
        News::Nothing,
        News::Alive,
        News::In("core"),
        News::In("extra"),
        News::InBoth,
    ])
}

fn trouble() -> impl Strategy<Value = Option<Trouble>> {
    let files = prop::sample::select(vec![
        "lastupdate",
        "lastsync",
        "core/core.db",
        "extra/extra.db",
        "core/new.pkg",
        "extra/new.pkg",
        "core/new.pkg.sig",
        "extra/new.pkg.sig",
    ]);
    let faults = prop::sample::select(vec![
        Fault::Status(404),
        Fault::Status(500),
        Fault::BreaksOffAfter(3),
        Fault::Content(b"<html>Not Found</html>".to_vec()),
        Fault::Content(OLDER.to_vec()),
    ]);
    let one = (files, faults).prop_map(|(file, fault)| Trouble { file, fault });
    // Mostly something, since all is well often enough between.
    prop::option::weighted(0.8, one)
}

impl Shop {
    fn has(&mut self, news: News, number: usize) {
        let content = format!("new {number}");
        match news {
            News::Nothing => {}
            News::Alive => self.beats(),
            News::In(unit) => self.publish(unit, "new", &content),
            News::InBoth => {
                self.publish("core", "new", &content);
                self.publish("extra", "new", &content);
            }
        }
    }

    /// What the mirror says, as numbers.
    fn clocks(&self) -> [Option<u64>; 2] {
        CLOCKS.map(|clock| self.says(clock).and_then(|text| text.parse().ok()))
    }
}

/// What is known of the units: the clocks that the upstream had when each was found good last.
type Good = [(&'static str, [Option<u64>; 2]); 2];

/// What holds of one run, by what the clocks were and are.
fn holds(
    good: &Good,
    is_any: bool,
    before: [Option<u64>; 2],
    after: [Option<u64>; 2],
) -> Result<(), TestCaseError> {
    if !is_any {
        prop_assert_eq!(after, before, "a run that failed moved a clock");
    }
    for (number, clock) in CLOCKS.into_iter().enumerate() {
        let (before, after) = (before[number], after[number]);
        for (unit, of_unit) in good {
            let most = of_unit[number];
            prop_assert!(
                after <= most,
                "{clock}: {after:?}, and {unit} is of {most:?}"
            );
        }
        let went_back = before
            .zip(after)
            .is_some_and(|(before, after)| after < before);
        prop_assert!(!went_back, "{clock} from {before:?} to {after:?}");
    }
    Ok(())
}

async fn no_run_moves_a_clock_beyond_what_is_true(
    steps: Vec<(News, Option<Trouble>)>,
) -> Result<(), TestCaseError> {
    let mut shop = Shop::new().await;
    let mut options = shop.options();
    options.verification.allow_mutation = true;
    prop_assert_eq!(told(&sync(&options).await), PUBLISHED);
    let mut good: Good = ["core", "extra"].map(|unit| (unit, shop.clocks()));
    for (number, (news, trouble)) in steps.into_iter().enumerate() {
        let before = shop.clocks();
        shop.has(news, number);
        if let Some(Trouble { file, fault }) = trouble {
            shop.server.fault(file, 100, fault);
        }
        let report = sync(&options).await;
        let all = [PUBLISHED, UNCHANGED].contains(&told(&report));
        let upstream = CLOCKS.map(|clock| shop.upstream_says(clock)?.parse().ok());
        let mut is_any = false;
        for (unit, clocks) in &mut good {
            let fine = [Reason::Published, Reason::Unchanged];
            let mut units = report.units.iter();
            if all || units.any(|told| told.unit == *unit && fine.contains(&told.reason)) {
                (*clocks, is_any) = (upstream, true);
            }
        }
        holds(&good, is_any, before, shop.clocks())?;
        shop.server.heal();
    }
    shop.has(News::InBoth, usize::MAX);
    let report = sync(&options).await;
    prop_assert_eq!(told(&report), PUBLISHED, "{:?}", report);
    for clock in CLOCKS {
        prop_assert_eq!(shop.says(clock), shop.upstream_says(clock), "{}", clock);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, max_shrink_iters: 50, ..ProptestConfig::default() })]

    #[test]
    fn a_run_that_fails_moves_neither_clock(steps in prop::collection::vec((news(), trouble()), 1..8)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(no_run_moves_a_clock_beyond_what_is_true(steps))?;
    }
}
