//! What a person lets through: one state, for the reasons that the refusal names, and from then on it is the newest.

use std::collections::BTreeMap;

use fleet_formats::seam::{Allowances, AllowedState};
use fleet_sync::{Report, RunResult, SyncOptions};
use fleet_types::{Accepted, Reason};

use crate::support::archive::{Release, now};
use crate::support::server::Server;
use crate::support::trial::{PUBLISHED, SUITE, Trial};
use crate::support::{World, endpoint, set_content, sync, told};

/// The entry that a refusal prints, as `verification.allowed` would have it.
fn entry(report: &Report) -> AllowedState {
    let yaml = report.message.split('`').nth(1).unwrap();
    let (_, after_unit) = yaml
        .split_once(&format!("{{unit: {SUITE:?}, digest: \""))
        .unwrap();
    let (digest, reasons) = after_unit.split_once("\", reasons: [").unwrap();
    let known = |word: &str| {
        *Reason::ALL
            .iter()
            .find(|known| known.as_str() == word)
            .unwrap()
    };
    AllowedState {
        digest: digest.parse().unwrap(),
        reasons: reasons
            .strip_suffix("]}]}")
            .unwrap()
            .split(", ")
            .map(known)
            .collect(),
    }
}

fn allow(options: &mut SyncOptions, states: &[AllowedState]) {
    let allowances = Allowances {
        states: states.to_vec(),
        expired: false,
    };
    options.verification.allowances = BTreeMap::from([(SUITE.to_owned(), allowances)]);
}

/// The state is refused, then allowed by what the refusal prints.
async fn takes(trial: &mut Trial, case: &str, reasons: &[Reason]) -> Accepted {
    let report = trial
        .is_refused(case, reasons[0], &[case, "goes on being served"])
        .await;
    let entry = entry(&report);
    assert_eq!(entry.reasons, reasons, "{case}");
    allow(&mut trial.options, &[entry]);
    let report = sync(&trial.options).await;
    assert_eq!(told(&report), PUBLISHED, "{case}: {report:?}");
    let marks = |mark: &&Accepted| mark.revision.unit == SUITE;
    let mark = report.accepted.iter().find(marks).unwrap().clone();
    assert_eq!(mark.allowed, reasons, "{case}");
    mark
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_state_that_is_allowed_is_the_newest_from_then_on() {
    let mut trial = Trial::new().await;
    let date = trial.world.date;
    trial.publish_release(&Release::of(date - 100), |text| text);
    let mark = takes(&mut trial, "went back", &[Reason::RollbackDetected]).await;
    assert_eq!(
        (mark.revision.date, mark.instead_of),
        (date - 100, Some(date))
    );

    // Neither the field nor what the controller remembers of before is needed or in the way any more.
    allow(&mut trial.options, &[]);
    let before = Accepted {
        revision: fleet_types::UnitRevision {
            date,
            ..mark.revision.clone()
        },
        instead_of: None,
        ..mark.clone()
    };
    trial.options.high_water = vec![before];
    let mut trial = trial.remembering().await;
    trial.publish_release(&Release::of(date - 101), |text| text);
    trial
        .is_refused("behind it", Reason::RollbackDetected, &[])
        .await;
    trial.publish_release(&Release::of(date - 50), |text| text);
    let report = sync(&trial.options).await;
    assert_eq!(
        told(&report),
        PUBLISHED,
        "newer than what was allowed: {report:?}"
    );
    assert_eq!(report.accepted[0].instead_of, Some(date));
    assert_eq!(report.accepted[0].allowed, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_contents_of_a_date_can_be_allowed() {
    let mut trial = Trial::new().await;
    let release = Release::of(trial.world.date);
    let other = |text: String| text.replace("Components: main", "Components: main other");
    trial.publish_release(&release, other);
    takes(
        &mut trial,
        "two different contents",
        &[Reason::Equivocation],
    )
    .await;
    trial.publish_release(&release, |text| {
        text.replace("Components: main", "Components: main third")
    });
    let report = sync(&trial.options).await;
    assert_eq!(
        told(&report).1,
        Reason::Equivocation,
        "that state alone: {report:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_state_can_be_allowed_and_so_can_all_of_a_suite() {
    let mut trial = Trial::new().await;
    let expired = |trial: &mut Trial| Release {
        valid_until: Some(now() - 1),
        ..trial.newer()
    };
    let release = expired(&mut trial);
    trial.publish_release(&release, |text| text);
    takes(&mut trial, "expired", &[Reason::IndexExpired]).await;
    let mut trial = trial.remembering().await;
    let release = expired(&mut trial);
    trial.publish_release(&release, |text| text);
    trial
        .is_refused("the next one", Reason::IndexExpired, &[])
        .await;

    let frozen = Allowances {
        states: Vec::new(),
        expired: true,
    };
    trial.options.verification.allowances = BTreeMap::from([(SUITE.to_owned(), frozen)]);
    let report = sync(&trial.options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    let note = &report.suites[0].message;
    assert!(note.contains("Check-Valid-Until: no"), "{report:?}");
    assert_eq!(told(&sync(&trial.options).await).1, Reason::Unchanged);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_speaks_against_a_state_is_told_at_once() {
    let mut trial = Trial::new().await;
    let release = Release {
        valid_until: Some(now() - 1),
        ..Release::of(trial.world.date - 5)
    };
    trial.publish_release(&release, |text| {
        text.replace("Origin: Test", "Origin: Other")
    });
    let reasons = [
        Reason::RollbackDetected,
        Reason::ReleaseInfoChanged,
        Reason::IndexExpired,
    ];
    takes(&mut trial, "went back", &reasons).await;
}

/// As apt does: who a repository is must not change without its user's word.
#[tokio::test(flavor = "multi_thread")]
async fn another_origin_label_or_code_name_needs_a_persons_word_also_on_a_new_volume() {
    type Edit = fn(String) -> String;
    let edits: [(&str, Edit); 4] = [
        ("Origin from \"Test\" to \"Other\"", |text| {
            text.replace("Origin: Test", "Origin: Other")
        }),
        ("Label from \"\" to \"l\"", |text| {
            format!("Label: l\n{text}")
        }),
        ("Codename from \"stable\" to \"\"", |text| {
            text.replace("Codename: stable\n", "")
        }),
        ("Priority from \"500\" to \"1\"", |text| {
            format!("NotAutomatic: yes\n{text}")
        }),
    ];
    for (case, edit) in edits {
        let mut trial = Trial::new().await;
        let marks = sync(&trial.options).await.accepted;
        let release = trial.newer();
        trial.publish_release(&release, edit);
        let mut lost = trial.world.options(&[SUITE]);
        lost.store_dir = trial.world.store.path().join("new");
        lost.high_water = marks;
        let report = sync(&lost).await;
        assert_eq!(told(&report).1, Reason::ReleaseInfoChanged, "{report:?}");
        assert!(
            report.message.contains("nothing was served yet"),
            "{report:?}"
        );
        let mark = takes(&mut trial, case, &[Reason::ReleaseInfoChanged]).await;
        assert_eq!(mark.instead_of, None);
        let release = trial.newer();
        trial.publish_release(&release, |text| text);
        let report = sync(&trial.options).await;
        assert_eq!(
            told(&report).1,
            Reason::ReleaseInfoChanged,
            "and back: {report:?}"
        );
    }
    // Versions and suites (testing becomes stable) change all the time, and apt says nothing.
    let mut trial = Trial::new().await;
    let release = trial.newer();
    trial.publish_release(&release, |text| {
        format!(
            "Version: 2\n{}",
            text.replace("Suite: stable", "Suite: oldstable")
        )
    });
    assert_eq!(told(&sync(&trial.options).await), PUBLISHED);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_endpoints_the_one_is_taken_whose_state_is_allowed() {
    let world = World::new(&[SUITE]).await;
    let other = Server::start(world.archive.freeze("other")).await;
    let mut options = world.options(&[SUITE]);
    options.endpoints = vec![
        endpoint("first", &world.server.url, 10),
        endpoint("second", &other.url, 20),
    ];
    let release = Release::of(world.date);
    world.archive.publish(SUITE, &world.packages[..2], &release);
    let refused = sync(&options).await;
    assert_eq!(told(&refused), (RunResult::Failed, Reason::Equivocation));
    let mut entry = entry(&refused);
    let mut digests = refused
        .message
        .split([' ', ',', ';'])
        .filter(|word| word.len() == 64);
    let (first, second) = (digests.next().unwrap(), digests.next().unwrap());
    assert_eq!(entry.digest.to_string(), first);
    let serves = || world.state_of(&world.packages[2].path).is_some();

    entry.digest = second.parse().unwrap();
    allow(&mut options, std::slice::from_ref(&entry));
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    assert!(serves(), "the second has three packages");

    entry.digest = first.parse().unwrap();
    allow(&mut options, std::slice::from_ref(&entry));
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    assert!(!serves() && report.suites[0].message.contains("verification.allowed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_of_another_name_needs_the_field_that_the_refusal_prints() {
    for (edit, name) in [
        (["Suite: stable", "Suite: edge"], "edge"),
        (["Suite: stable\n", ""], ""),
    ] {
        let mut trial = Trial::new().await;
        let release = trial.newer();
        trial.publish_release(&release, |text| {
            let text = text.replace(edit[0], edit[1]);
            text.replace(
                "Codename: stable\n",
                if name.is_empty() {
                    ""
                } else {
                    "Codename: edge\n"
                },
            )
        });
        let field = format!("`releaseNames: [{{suite: \"stable\", name: {name:?}}}]`");
        trial
            .is_refused(name, Reason::SuiteMismatch, &[&field])
            .await;
        let content = |name: &str| {
            serde_json::json!({"suites": [SUITE], "components": ["main"], "architectures": ["amd64"],
                "releaseNames": [{"suite": SUITE, "name": name}]})
        };
        set_content(&mut trial.options, content("another"));
        trial
            .is_refused(
                "another",
                Reason::SuiteMismatch,
                &["which debian.releaseNames expects"],
            )
            .await;
        set_content(&mut trial.options, content(name));
        // The code name changed too, which apt refuses.
        takes(&mut trial, "Codename", &[Reason::ReleaseInfoChanged]).await;
    }
}
