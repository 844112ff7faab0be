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
        "status",
        "why",
        "sync-now",
        "pin",
        "unpin",
        "suspend",
        "resume",
        "logs",
        "events",
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

/// A kubeconfig whose API server is at a port of this machine.
fn kubeconfig(dir: &Path, port: u16) -> String {
    let file = dir.join("kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: here\nclusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{port}'}}}}]\n\
        users: [{{name: u, user: {{}}}}]\ncontexts: [{{name: here, context: {{cluster: c, user: u}}}}, {{name: there, context: {{cluster: c, user: u}}}}]\n"
    );
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

/// The program with a kubeconfig that leads nowhere.
fn without_a_cluster(arguments: &[&str]) -> crate::support::Run {
    let dir = tempfile::tempdir().unwrap();
    let file = kubeconfig(dir.path(), 1);
    let mut whole = arguments.to_vec();
    whole.extend(["--kubeconfig", &file]);
    mirrorfleet(&whole)
}

/// It is interrupted when the API server has been asked, which never answers.
#[test]
fn who_interrupts_a_question_is_told_that_nothing_came_of_it() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = kubeconfig(dir.path(), listener.local_addr().unwrap().port());
    for command in [&["status"][..], &["why", "m"], &["pin", "m"], &["events"]] {
        let mut whole = command.to_vec();
        whole.extend(["--kubeconfig", &file]);
        let program = crate::support::command(&whole)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let (_asked, _) = listener.accept().unwrap();
        let told = std::process::Command::new("kill")
            .args(["-INT", &program.id().to_string()])
            .status();
        assert!(told.unwrap().success());
        let run = crate::support::Run::from(program.wait_with_output().unwrap()).expect(2);
        assert!(
            run.stdout.is_empty() && run.stderr.contains("interrupted"),
            "{run}"
        );
    }
}

#[test]
fn a_cluster_that_cannot_be_asked_is_exit_2_and_one_that_is_not_named_is_exit_1() {
    for command in [
        &["status"][..],
        &["status", "-A", "-o", "json"],
        &["why", "m"],
        &["sync-now", "m"],
        &["pin", "m"],
        &["logs", "m"],
        &["events"],
    ] {
        let run = without_a_cluster(command).expect(2);
        assert!(
            run.stdout.is_empty() && run.stderr.contains("the API server cannot be asked"),
            "{run}"
        );
    }
    let run = without_a_cluster(&["status", "--context", "nowhere"]).expect(1);
    assert!(run.stderr.contains("nowhere"), "{run}");
    let run = mirrorfleet(&["why", "m", "--kubeconfig", "/nowhere/config"]).expect(1);
    assert!(run.stderr.contains("/nowhere/config"), "{run}");
    for wrong in [
        &["status", "-A", "m"][..],
        &["status", "-o", "xml"],
        &["why"],
    ] {
        mirrorfleet(wrong).expect(1);
    }
}

#[test]
fn completions_are_there_for_each_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = mirrorfleet(&["completions", shell]).expect(0);
        assert!(run.stdout.contains("MIRRORFLEET_COMPLETE"), "{run}");
    }
}

/// A real bash loads the script and is asked for what may come next.
#[test]
fn bash_completes_commands_flags_and_contexts() {
    let dir = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_mirrorfleet"));
    for name in ["mirrorfleet", "kubectl_complete-mirrorfleet"] {
        std::os::unix::fs::symlink(program, dir.path().join(name)).unwrap();
    }
    let config = dir.path().join("config");
    fs::write(
        &config,
        "apiVersion: v1\nkind: Config\ncontexts: [{name: production, context: {cluster: c, user: u}}]\n",
    )
    .unwrap();
    let bash = |script: &str| {
        let path = format!(
            "{}:{}",
            dir.path().display(),
            std::env::var("PATH").unwrap()
        );
        let output = std::process::Command::new("bash")
            .args(["--norc", "-c", script])
            .env("PATH", path)
            .env("KUBECONFIG", &config)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let typed = |words: &str, count: usize| {
        bash(&format!(
            "source <(mirrorfleet completions bash); COMP_WORDS=({words} ''); COMP_CWORD={count}; COMP_TYPE=9; \
             f=$(complete -p mirrorfleet | sed 's/.*-F \\([^ ]*\\).*/\\1/'); $f; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        ))
    };
    let commands = typed("mirrorfleet", 1);
    for command in ["snapshots", "status", "sync-now"] {
        assert!(
            commands.lines().any(|line| line.trim() == command),
            "{commands}"
        );
    }
    let contexts = typed("mirrorfleet why --context", 3);
    assert!(contexts.contains("production"), "{contexts}");
    let asked = bash("kubectl_complete-mirrorfleet s");
    assert!(
        asked.contains("status\t") && asked.contains("suspend\t"),
        "{asked}"
    );
    assert!(
        !asked.contains("snapshots") && asked.ends_with(":4\n"),
        "{asked}"
    );
}
