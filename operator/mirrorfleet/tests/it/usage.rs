//! The command line's contract where no archive is needed: flags, exit codes, messages.

use std::fs;
use std::path::Path;

use crate::support::mirrorfleet;

const MIRROR: &str = "apiVersion: mirrorfleet.dev/v1alpha1\nkind: Upstream\nmetadata: {name: u}\nspec:\n  type: Debian\n  authority: {url: 'file:///nowhere/'}\n  trust: {keyringRef: {name: keys, key: k}}\n---\napiVersion: mirrorfleet.dev/v1alpha1\nkind: Mirror\nmetadata: {name: m}\nspec:\n  upstreamRef: {name: u}\n  content:\n    debian: {suites: [s], components: [main], architectures: [amd64]}\n";

fn once(text: &str) -> crate::support::Run {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.yaml");
    fs::write(&file, text).unwrap();
    let data = dir.path().join("data");
    mirrorfleet(&[
        "local",
        "-f",
        file.to_str().unwrap(),
        "--data",
        data.to_str().unwrap(),
        "--once",
        "-o",
        "json",
    ])
}

#[test]
fn a_file_in_the_place_of_the_data_is_told_without_the_systems_number() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.yaml");
    fs::write(&file, MIRROR).unwrap();
    let path = file.to_str().unwrap();
    let run = mirrorfleet(&["local", "-f", path, "--data", path, "--once"]).expect(1);
    assert!(run.stderr.contains("is a file; name a directory"), "{run}");
    assert!(!run.stderr.contains("os error"), "{run}");
}

#[test]
fn wrong_usage_is_exit_1_and_help_is_exit_0() {
    for arguments in [
        &["local"][..],
        &["nonsense"],
        &["sync", "-f", "x"],
        &["serve", "--data", "x", "--listen", "nowhere"],
        &[],
    ] {
        let run = mirrorfleet(arguments).expect(1);
        assert!(run.stdout.is_empty() && !run.stderr.is_empty(), "{run}");
    }
    let help = mirrorfleet(&["--help"]).expect(0);
    assert!(help.stdout.contains("Exit codes:"), "{help}");
    mirrorfleet(&["--version"]).expect(0);
    for role in [
        "init",
        "local",
        "sync",
        "serve",
        "plan",
        "verify",
        "export",
        "snapshots",
        "controller",
        "crds",
    ] {
        assert!(
            mirrorfleet(&[role, "--help"])
                .expect(0)
                .stdout
                .contains("Usage: mirrorfleet")
        );
    }
}

#[test]
fn an_unknown_field_is_exit_1_with_its_path() {
    let run = once(&MIRROR.replace("  upstreamRef", "  upstreamref: x\n  upstreamRef")).expect(1);
    assert!(
        run.stderr.contains("spec.upstreamref") && run.stderr.contains("document 2"),
        "{run}"
    );
}

#[test]
fn a_missing_keyring_is_exit_1_and_still_a_report() {
    let run = once(MIRROR).expect(1);
    let report = run.json();
    assert_eq!(
        (
            report["mirror"].as_str(),
            report["result"].as_str(),
            report["reason"].as_str()
        ),
        (Some("m"), Some("Failed"), Some("KeyringNotFound"))
    );
    for field in [
        "suites",
        "revision",
        "filesFetched",
        "bytesFetched",
        "requests",
        "seconds",
    ] {
        assert!(!report[field].is_null(), "{field}: {run}");
    }
}

#[test]
fn a_wrong_spec_is_exit_1_and_names_the_field() {
    let run = once(&format!("{MIRROR}  sync: {{schedule: whenever}}\n")).expect(1);
    assert_eq!(run.json()["reason"], "InvalidSpec");
    assert!(
        run.json()["message"]
            .as_str()
            .unwrap()
            .contains("spec.sync.schedule"),
        "{run}"
    );
}

#[test]
fn an_unreachable_upstream_is_exit_2() {
    let text = MIRROR.replace("{keyringRef: {name: keys, key: k}}", "{signatures: None}");
    let run = once(&text).expect(2);
    assert!(
        ["UpstreamUnreachable", "UpstreamIncomplete"]
            .contains(&run.json()["reason"].as_str().unwrap()),
        "{run}"
    );
    let refused = once(&text.replace("file:///nowhere/", "http://127.0.0.1:1/")).expect(2);
    assert_eq!(refused.json()["reason"], "UpstreamUnreachable", "{refused}");
}

#[test]
fn what_is_printed_as_crds_is_what_is_committed() {
    let printed = mirrorfleet(&["crds"]).expect(0).stdout;
    let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds");
    let committed = |name: &str| fs::read_to_string(crds.join(name)).unwrap();
    let (upstreams, mirrors) = (
        committed("upstreams.mirrorfleet.dev.yaml"),
        committed("mirrors.mirrorfleet.dev.yaml"),
    );
    assert!(
        printed == format!("{upstreams}---\n{mirrors}"),
        "crds/ is not what `mirrorfleet crds` prints"
    );
    assert_eq!(printed.matches("kind: CustomResourceDefinition").count(), 2);
}

#[test]
fn completions_are_there_for_each_shell() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            mirrorfleet(&["completions", shell])
                .expect(0)
                .stdout
                .contains("snapshots")
        );
    }
}
