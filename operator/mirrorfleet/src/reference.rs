//! What is written from the command line's definition: manual pages and `docs/command-line.md`. `MIRRORFLEET_BLESS=1` writes
//! them anew; `make docs` does.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};

use crate::Cli;
use crate::program::OF_THE_PLUGIN;

const INTRODUCTION: &str = "\
# The command line

<!-- Written by `make docs` from the program itself. -->

One program. `local` and what it is made of work on one machine, on the stores below a folder; `status` to `events` ask a
cluster and change Mirrors there, and are also `kubectl mirrorfleet` when the program, or a link to it, is on the path as
`kubectl-mirrorfleet`. [Manual pages](man/) say the same.

## Exit codes

| code | meaning |
|---|---|
| 0 | every mirror is verified and current; for `status` and `why` without `--check`: it could be told |
| 1 | usage or manifest error, a missing keyring among them; the API server refuses, in its words |
| 2 | an upstream is unreachable or behind its authority; the cluster is in the way, or its API server cannot be asked, or a question to it was interrupted |
| 3 | refused by verification |
| 4 | storage: full, read-only, corrupt or busy |

In 2 to 4, what was served before still is. With several mirrors or suites the worst wins, in the order 1, 4, 3, 2, 0.

## Rights in a cluster

| command | what it needs of the API server |
|---|---|
| `status`, `why` | `list` or `get` on Mirrors. With `list` on Upstreams they tell more of them; with `list` on pods and `get` on `pods/proxy` they tell how far runs are |
| `status --watch` | the same, and `watch` on Mirrors |
| `sync-now`, `pin`, `unpin`, `skip`, `unskip`, `suspend`, `resume` | `get` and `patch` on Mirrors |
| `logs` | `get` on Mirrors, `list` on pods, `get` on `pods/log` |
| `events` | `get` or `list` on Mirrors, `list` (and for `--watch`, `watch`) on events |

What may not be read is left out. Fields are written as the field manager `mirrorfleet-cli`.

## Completions

```sh
source <(mirrorfleet completions bash)   # in ~/.bashrc; zsh, fish, elvish and powershell likewise
ln -s \"$(command -v mirrorfleet)\" ~/bin/kubectl-mirrorfleet
ln -s \"$(command -v mirrorfleet)\" ~/bin/kubectl_complete-mirrorfleet   # kubectl asks it to complete `kubectl mirrorfleet`
```

Names of Mirrors, regions, snapshots, namespaces and contexts are completed from the cluster that the line means.
";

/// Colours go to terminals only, and not where `NO_COLOR` is set.
fn command() -> Command {
    Cli::command().color(clap::ColorChoice::Never)
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

fn assert_file_is(path: &Path, wanted: &[u8]) {
    if std::env::var_os("MIRRORFLEET_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, wanted).unwrap();
    }
    let found = std::fs::read(path).unwrap_or_default();
    assert!(
        found == wanted,
        "{} is not what the program says; run `make docs`",
        path.display()
    );
}

/// Every manual page, by the name of its file.
fn pages() -> BTreeMap<String, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    clap_mangen::generate_to(command(), folder.path()).unwrap();
    let files = std::fs::read_dir(folder.path()).unwrap();
    files
        .map(|file| {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect()
}

#[test]
fn the_manual_pages_are_what_the_program_says() {
    let folder = docs().join("man");
    let pages = pages();
    assert!(pages.contains_key("mirrorfleet.1") && pages.contains_key("mirrorfleet-why.1"));
    for (name, page) in &pages {
        assert_file_is(&folder.join(name), page);
    }
    for file in std::fs::read_dir(&folder).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(
            pages.contains_key(&name),
            "docs/man/{name} is of no command"
        );
    }
}

#[test]
fn the_page_of_the_command_line_is_what_the_program_says() {
    let mut page = INTRODUCTION.to_owned();
    let mut all = command().term_width(100);
    all.build();
    for name in all
        .get_subcommands()
        .map(|role| role.get_name().to_owned())
        .collect::<Vec<_>>()
    {
        if name == "help" {
            continue;
        }
        let role = all.find_subcommand_mut(&name).unwrap();
        let help = role.render_long_help().to_string();
        let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
        let _ = write!(
            page,
            "\n## {name}\n\n```text\n{}\n```\n",
            lines.join("\n").trim()
        );
    }
    assert_file_is(&docs().join("command-line.md"), page.as_bytes());
}

#[test]
fn the_plugin_has_commands_that_there_are() {
    let all = command();
    for name in OF_THE_PLUGIN {
        assert!(all.find_subcommand(name).is_some(), "{name}");
    }
}

/// What krew-release-bot takes, with its two words of template as a release would fill them.
#[test]
fn the_krew_manifest_is_one() {
    let path = docs().join("../.krew.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let filled: Vec<String> = text
        .lines()
        .map(|line| match line.split_once("{{addURIAndSha") {
            Some((indent, rest)) => {
                let url = rest.split('"').nth(1).unwrap();
                let url = url.replace("{{ .TagName }}", "v0.1.0");
                format!("{indent}uri: {url}\n{indent}sha256: {}", "0".repeat(64))
            }
            None => line.replace("{{ .TagName }}", "v0.1.0"),
        })
        .collect();
    let manifest: serde_json::Value = serde_saphyr::from_str(&filled.join("\n")).unwrap();
    assert_eq!(
        manifest["apiVersion"],
        "krew.googlecontainertools.github.com/v1alpha2"
    );
    assert_eq!(
        (&manifest["kind"], &manifest["metadata"]["name"]),
        (&"Plugin".into(), &"mirrorfleet".into())
    );
    let spec = &manifest["spec"];
    assert_eq!(spec["version"], "v0.1.0");
    assert!(spec["shortDescription"].as_str().unwrap().len() <= 50);
    for platform in spec["platforms"].as_array().unwrap() {
        assert_eq!(platform["bin"], "mirrorfleet");
        let uri = platform["uri"].as_str().unwrap();
        let labels = &platform["selector"]["matchLabels"];
        let (os, arch) = (
            labels["os"].as_str().unwrap(),
            labels["arch"].as_str().unwrap(),
        );
        assert!(
            uri.contains("v0.1.0") && uri.ends_with(&format!("{os}-{arch}.tar.gz")),
            "{uri}"
        );
    }
}
