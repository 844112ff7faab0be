//! Whatever goes wrong, in whatever order: a run that fails moves neither clock, and none moves one back.

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

/// What holds of one run: what the clocks were, what they are, and what they are at the upstream.
fn holds(
    succeeded: bool,
    before: [Option<u64>; 2],
    after: [Option<u64>; 2],
    upstream: [Option<u64>; 2],
) -> Result<(), TestCaseError> {
    if !succeeded {
        prop_assert_eq!(after, before, "a run that failed moved a clock");
    }
    for ((before, after), upstream) in before.into_iter().zip(after).zip(upstream) {
        prop_assert!(after <= upstream, "{after:?} is ahead of {upstream:?}");
        let went_back = before
            .zip(after)
            .is_some_and(|(before, after)| after < before);
        prop_assert!(!went_back, "from {before:?} to {after:?}");
    }
    Ok(())
}

async fn no_failing_run_moves_a_clock(
    steps: Vec<(News, Option<Trouble>)>,
) -> Result<(), TestCaseError> {
    let mut shop = Shop::new().await;
    let mut options = shop.options();
    options.verification.allow_mutation = true;
    for (number, (news, trouble)) in steps.into_iter().enumerate() {
        let before = shop.clocks();
        shop.has(news, number);
        if let Some(Trouble { file, fault }) = trouble {
            shop.server.fault(file, 100, fault);
        }
        let report = sync(&options).await;
        let succeeded = [PUBLISHED, UNCHANGED].contains(&told(&report));
        let upstream = CLOCKS.map(|clock| shop.upstream_says(clock)?.parse().ok());
        holds(succeeded, before, shop.clocks(), upstream)?;
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
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_run_that_fails_moves_neither_clock(steps in prop::collection::vec((news(), trouble()), 1..8)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(no_failing_run_moves_a_clock(steps))?;
    }
}
