//! Two endpoints whose clocks stand alike: what it means that they have different contents, and for how long it means nothing.

use std::fs;

use fleet_sync::SyncOptions;
use fleet_types::Reason;
use serde_json::Value;

use super::clocks::copy;
use super::{PUBLISHED, Shop};
use crate::support::server::Server;
use crate::support::{endpoint, sync, told, writer};

/// What the store remembers of units.
const MEMORY: &str = "units";
/// Longer than anybody is waited for.
const DAYS: i64 = 3 * 86_400;

/// The shop, and another endpoint with what it has now, of which only the index of `core` is another one.
struct Two {
    shop: Shop,
    other: Server,
    options: SyncOptions,
}

impl Two {
    async fn new() -> Two {
        let shop = Shop::new().await;
        let top = shop.dir.path().join("other");
        fs::create_dir(&top).unwrap();
        let other = Server::start(top).await;
        let mut options = shop.options();
        options.endpoints = vec![
            endpoint("first", &shop.server.url, 10),
            endpoint("second", &other.url, 20),
        ];
        let two = Two {
            shop,
            other,
            options,
        };
        two.copies();
        two
    }

    fn at_other(&self, path: &str) -> std::path::PathBuf {
        self.shop.dir.path().join("other").join(path)
    }

    fn copies(&self) {
        copy(&self.shop.path(""), &self.at_other(""));
    }

    /// The same date, the same clock, another content.
    fn differs(&self) {
        let index = self.at_other("core/core.db");
        let text = fs::read_to_string(&index)
            .unwrap()
            .replace("notes-of", "notes-on");
        fs::write(index, text).unwrap();
    }

    fn contradictions(&self) -> Vec<Value> {
        let memory: Value = writer(&self.options).state(MEMORY).unwrap().unwrap();
        let found = &memory["units"]["core"]["contradictions"];
        found.as_array().cloned().unwrap_or_default()
    }

    /// As if all that is remembered of contradictions were so much older.
    fn time_passes(&self, seconds: i64) {
        let writer = writer(&self.options);
        let mut memory: Value = writer.state(MEMORY).unwrap().unwrap();
        let since = &mut memory["units"]["core"]["contradictions"][0]["since"];
        *since = (since.as_i64().unwrap() - seconds).into();
        writer.state_write(MEMORY, &memory).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_endpoints_contradict_each_other_in_is_held_when_it_lasts_and_not_before() {
    let mut two = Two::new().await;
    two.differs();
    let report = sync(&two.options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    let note = &report.units[0].message;
    assert!(
        note.contains(two.other.url.as_str()) && note.contains("clocks stand alike"),
        "{note}"
    );
    assert_eq!(two.contradictions().len(), 1);

    // While that is so, the clock is not believed: what differs is asked for again, and nothing else.
    two.shop.beats();
    two.shop.server.take_seen();
    two.other.take_seen();
    sync(&two.options).await;
    for server in [&two.shop.server, &two.other] {
        let seen = server.take_seen();
        let indices: Vec<_> = seen
            .iter()
            .filter(|seen| seen.path.ends_with(".db"))
            .collect();
        assert!(
            matches!(&indices[..], [seen] if seen.path.ends_with("core.db")),
            "{seen:?}"
        );
    }

    // The next states too: it lasts.
    two.time_passes(DAYS);
    two.shop.publish("core", "gamma", "gamma 1");
    two.shop.publish("extra", "delta", "delta 1");
    two.copies();
    two.differs();
    let report = sync(&two.options).await;
    let core = &report.units[0];
    assert_eq!(core.reason, Reason::Equivocation, "{report:?}");
    let has = |text: &str| core.message.contains(text);
    assert!(
        has(two.shop.server.url.as_str()) && has(two.other.url.as_str()),
        "{core:?}"
    );
    assert!(has("verification: {allowed:"), "{core:?}");
    assert_eq!(two.shop.served("core/gamma.pkg"), None);
    assert!(
        two.shop.is_served("extra/delta.pkg"),
        "no matter of another unit"
    );

    // A person chooses.
    let digests: Vec<&str> = core
        .message
        .split([' ', ',', ';'])
        .filter(|word| word.len() == 64)
        .collect();
    let mut chosen = two.options.clone();
    let allowed = fleet_formats::seam::Allowances {
        states: vec![fleet_formats::seam::AllowedState {
            digest: digests[0].parse().unwrap(),
            reasons: vec![Reason::Equivocation],
        }],
        expired: false,
    };
    chosen
        .verification
        .allowances
        .insert("core".to_owned(), allowed);
    assert_eq!(told(&sync(&chosen).await), PUBLISHED);
    assert!(two.shop.is_served("core/gamma.pkg"));
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_that_agree_once_begin_anew_and_what_is_of_another_time_says_nothing() {
    let mut two = Two::new().await;
    two.differs();
    assert_eq!(told(&sync(&two.options).await), PUBLISHED);
    two.time_passes(DAYS);

    // Behind: its clock is another one.
    two.shop.publish("core", "gamma", "gamma 1");
    let report = sync(&two.options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    assert_eq!(two.contradictions().len(), 1, "nothing was found out");

    two.shop.publish("core", "delta", "delta 1");
    two.copies();
    assert_eq!(told(&sync(&two.options).await), PUBLISHED);
    assert_eq!(two.contradictions().len(), 0, "they agree");
    two.shop.publish("core", "epsilon", "epsilon 1");
    two.copies();
    two.other.take_seen();
    assert_eq!(told(&sync(&two.options).await), PUBLISHED);
    let seen = two.other.take_seen();
    let bodies = seen
        .iter()
        .filter(|seen| seen.path.ends_with(".db"))
        .count();
    assert_eq!(bodies, 2, "one request for each unit: {seen:?}");
    // While the clock stands, nobody else is asked.
    two.shop.beats();
    sync(&two.options).await;
    let seen = two.other.take_seen();
    assert!(seen.is_empty(), "{seen:?}");
    two.shop.publish("core", "zeta", "zeta 1");
    two.copies();
    two.differs();
    assert_eq!(
        told(&sync(&two.options).await),
        PUBLISHED,
        "for the first time again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_stands_while_the_authority_goes_on_is_passed_over_when_that_lasts() {
    let mut shop = Shop::new().await;
    let (top, stopped) = (
        shop.dir.path().join("authority"),
        shop.dir.path().join("stopped"),
    );
    fs::create_dir(&top).unwrap();
    let authority = Server::start(top.clone()).await;
    copy(&shop.path(""), &stopped);
    let frozen = Server::start(stopped).await;
    let goes_on =
        |shop: &Shop| fs::write(top.join("lastupdate"), shop.updated.to_string()).unwrap();
    let mut options = shop.options();
    options.authority = authority.url.clone();
    options.endpoints = vec![endpoint("frozen", &frozen.url, 10)];
    goes_on(&shop);
    assert_eq!(told(&sync(&options).await), PUBLISHED);
    shop.publish("core", "gamma", "gamma 1");
    goes_on(&shop);
    assert_eq!(
        told(&sync(&options).await),
        super::UNCHANGED,
        "it may be late"
    );

    {
        let writer = writer(&options);
        let mut memory: Value = writer.state(MEMORY).unwrap().unwrap();
        let behind = memory["behind"].as_object_mut().unwrap();
        let known = behind.values_mut().next().unwrap();
        known["since"] = (known["since"].as_i64().unwrap() - DAYS).into();
        writer.state_write(MEMORY, &memory).unwrap();
    }
    let report = sync(&options).await;
    assert_eq!(report.reason, Reason::BehindAuthority, "{report:?}");
    assert!(report.message.contains(frozen.url.as_str()), "{report:?}");
    // Another one is asked, where there is one.
    options
        .endpoints
        .push(endpoint("alive", &shop.server.url, 20));
    assert_eq!(told(&sync(&options).await), PUBLISHED);
    assert!(shop.is_served("core/gamma.pkg"));
}
