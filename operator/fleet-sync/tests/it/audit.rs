//! Audits: what is served is judged as an upstream is, and nothing is kept.

use std::sync::Arc;

use fleet_sync::{AuditReport, Sampling, SyncOptions, Unwatched};
use fleet_types::Reason;
use tokio_util::sync::CancellationToken;

use crate::support::World;
use crate::support::archive::Release;
use crate::support::server::Fault;

const INDEX: &str = "dists/stable/main/binary-amd64/Packages.xz";

async fn audit(options: &SyncOptions, files: usize) -> AuditReport {
    let sampling = Sampling {
        files,
        max_file_bytes: 1 << 20,
        seed: 7,
    };
    fleet_sync::audit(
        options.clone(),
        sampling,
        Arc::new(Unwatched),
        CancellationToken::new(),
    )
    .await
}

fn found(report: &AuditReport) -> Vec<(&str, Reason)> {
    let findings = report.findings.iter();
    findings
        .map(|finding| (finding.path.as_str(), finding.reason))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_mirror_is_as_it_should_be_and_nothing_is_kept_of_it() {
    let world = World::new(&["stable", "testing"]).await;
    let options = world.options(&["stable", "testing"]);
    let report = audit(&options, 100).await;
    assert_eq!(report.reason, Reason::Audited, "{report:?}");
    assert_eq!((report.listed.files, report.sampled.files), (3, 3));
    assert!(
        report
            .units
            .iter()
            .all(|unit| unit.reason == Reason::Audited)
    );
    assert_eq!(report.revision.len(), 2);
    assert!(!options.store_dir.exists());
    // Each name of an index, by-hash ones among them.
    let asked = world.server.take_seen();
    let asked = |name: &str| asked.iter().any(|seen| seen.path.contains(name));
    assert!(asked(INDEX) && asked("by-hash/SHA256/"));
    assert_eq!(audit(&options, 1).await.sampled.files, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_bytes_under_one_of_the_names_of_an_index_are_found() {
    let world = World::new(&["stable"]).await;
    let other = Fault::Content(b"another index".to_vec());
    world.server.fault(INDEX, usize::MAX, other);
    let report = audit(&world.options(&["stable"]), 0).await;
    assert_eq!(found(&report), [(INDEX, Reason::DigestMismatch)]);
    assert_eq!(report.reason.outcome().exit_code(), 3);
    assert_eq!(report.units[0].reason, Reason::Audited, "by-hash is sound");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_is_not_there_or_another_is_found_and_the_others_are_looked_at() {
    let world = World::new(&["stable"]).await;
    let [alpha, beta, _] = &world.packages[..] else {
        panic!("three packages")
    };
    world
        .server
        .fault(&alpha.path, usize::MAX, Fault::Status(404));
    let wrong = Fault::Content(vec![8; 300_000]);
    world.server.fault(&beta.path, usize::MAX, wrong);
    let report = audit(&world.options(&["stable"]), 100).await;
    let wanted = [
        (alpha.path.as_str(), Reason::UpstreamIncomplete),
        (beta.path.as_str(), Reason::DigestMismatch),
    ];
    let mut all = found(&report);
    all.sort_unstable();
    assert_eq!(all, wanted);
    assert_eq!(report.reason, Reason::DigestMismatch, "the worst");
    assert!(report.message.ends_with("and 1 more finding"), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suite_that_is_not_believed_costs_the_others_nothing() {
    let world = World::new(&["stable", "testing"]).await;
    let expired = Release {
        valid_until: Some(world.date + 60),
        ..Release::of(world.date)
    };
    world.archive.publish("testing", &world.packages, &expired);
    let report = audit(&world.options(&["stable", "testing"]), 100).await;
    let units: Vec<Reason> = report.units.iter().map(|unit| unit.reason).collect();
    assert_eq!(units, [Reason::Audited, Reason::IndexExpired]);
    assert_eq!(report.reason, Reason::IndexExpired);
    assert_eq!((report.sampled.files, report.findings_total), (3, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_in_its_time() {
    let world = World::new(&["stable"]).await;
    world.server.fault(INDEX, usize::MAX, Fault::StallsAfter(1));
    let mut options = world.options(&["stable"]);
    options.timeouts.total = std::time::Duration::from_millis(500);
    let report = audit(&options, 1).await;
    assert_eq!(report.reason, Reason::SyncTimeout);
    assert!(
        report.message.contains("the audit is not over"),
        "{report:?}"
    );
}
