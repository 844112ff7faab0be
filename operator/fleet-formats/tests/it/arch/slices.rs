//! What is declared, where it lies, and the clocks of an upstream.

use fleet_formats::seam::{Format, Item, Told};
use fleet_types::{ClockReading, Reason, RunFacts};
use serde_json::{Value, json};

use super::archive::*;

/// By unit, the database and what comes with it.
fn roots(content: Value) -> Vec<String> {
    let format = arch(content).unwrap();
    let mut paths = Vec::new();
    for unit in format.units() {
        let plan = format.roots(&unit).unwrap();
        let files = plan.probes.iter().chain(&plan.companions);
        let files: Vec<&str> = files.map(|file| file.path.as_str()).collect();
        paths.push(format!("{unit}: {}", files.join(" ")));
    }
    paths
}

#[test]
fn layouts_of_others_are_paths_with_two_words_to_fill_in() {
    let of = |layout: Value, repos: &[&str], architectures: &[&str]| {
        roots(json!({
            "repos": repos, "architectures": architectures, "layout": layout, "include": {"files": false}
        }))
    };
    assert_eq!(
        of(json!({}), &["core", "extra"], &["x86_64"]),
        [
            "core/x86_64: core/os/x86_64/core.db",
            "extra/x86_64: extra/os/x86_64/extra.db"
        ]
    );
    for (path, repo, architecture, database) in [
        (
            "stable/$repo/$arch",
            "extra",
            "x86_64",
            "stable/extra/x86_64/extra.db",
        ),
        ("$arch/$repo", "alarm", "aarch64", "aarch64/alarm/alarm.db"),
        (
            "$repo/$arch",
            "endeavouros",
            "x86_64",
            "endeavouros/x86_64/endeavouros.db",
        ),
        (
            "$arch_v3/$repo",
            "cachyos-v3",
            "x86_64",
            "x86_64_v3/cachyos-v3/cachyos-v3.db",
        ),
        ("$arch", "archlinuxcn", "x86_64", "x86_64/archlinuxcn.db"),
        ("mingw/$repo", "ucrt64", "x86_64", "mingw/ucrt64/ucrt64.db"),
        (".", "custom", "x86_64", "custom.db"),
    ] {
        let unit = format!("{repo}/{architecture}: {database}");
        assert_eq!(of(json!({"path": path}), &[repo], &[architecture]), [unit]);
    }
    let own = json!({"path": "mingw/$repo", "paths": [{"repo": "msys", "path": "msys/$arch"}]});
    assert_eq!(
        of(own, &["ucrt64", "msys"], &["x86_64"]),
        [
            "ucrt64/x86_64: mingw/ucrt64/ucrt64.db",
            "msys/x86_64: msys/x86_64/msys.db"
        ]
    );
    let both = roots(json!({"repos": ["core"], "architectures": ["x86_64", "aarch64"]}));
    assert_eq!(
        both[1],
        "core/aarch64: core/os/aarch64/core.db core/os/aarch64/core.files"
    );
}

#[test]
fn what_cannot_be_meant_is_refused_by_its_place() {
    for (content, place) in [
        (
            json!({"repos": [], "architectures": ["x86_64"]}),
            "arch.repos",
        ),
        (
            json!({"repos": ["a/b"], "architectures": ["x86_64"]}),
            "arch.repos",
        ),
        (
            json!({"repos": ["core", "core"], "architectures": ["x86_64"]}),
            "arch.repos: \"core/x86_64\" stands twice",
        ),
        (
            json!({"repos": ["core"], "architectures": []}),
            "arch.architectures",
        ),
        (
            json!({"repos": ["core"], "architectures": [".."]}),
            "arch.architectures",
        ),
        (
            json!({"repos": ["core"], "architectures": ["a", "b"], "layout": {"path": "$repo"}}),
            "arch.layout.path",
        ),
        (
            json!({"repos": ["core"], "architectures": ["a"], "layout": {"path": "../$repo"}}),
            "arch.layout.path",
        ),
        (
            json!({"repos": ["core"], "architectures": ["a"], "layout": {"path": "$what"}}),
            "arch.layout.path",
        ),
        (
            json!({"repos": ["core"], "architectures": ["a"], "layout": {"pool": "/pool"}}),
            "arch.layout.pool",
        ),
        (
            json!({"repos": ["core"], "architectures": ["a"], "layout": {"paths": [{"repo": "x", "path": "x"}]}}),
            "arch.layout.paths",
        ),
        (
            json!({"repos": ["core"], "architectures": ["a"], "packages": {"include": [{"name": "a["}]}}),
            "arch.packages.include[0].name",
        ),
        (
            json!({"repos": ["core"], "architectures": ["a"], "packages": {"exclude": [{}]}}),
            "at least one of name, base and group",
        ),
    ] {
        let refused = arch(content.clone()).unwrap_err();
        assert_eq!(refused.reason, Reason::InvalidSpec);
        assert!(refused.message.contains(place), "{content}: {refused}");
    }
}

#[test]
fn rules_look_at_name_base_and_groups() {
    let database = archive(&[package("a", ""), package("lib-b", "")]);
    let wanted = |rules: Value| {
        let format =
            arch(json!({"repos": ["core"], "architectures": ["x86_64"], "packages": rules}));
        let listed = items(&format.unwrap(), &database).unwrap();
        assert_eq!(listed.len(), 4, "what is not wanted is listed all the same");
        let wanted = listed.iter().filter_map(|item| match item {
            Item::File(payload) if payload.wanted => Some(payload.path.file_name().to_owned()),
            _ => None,
        });
        wanted
            .filter(|name| name.ends_with(".zst"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let (a, b) = ("a-1-1-any.pkg.tar.zst", "lib-b-1-1-any.pkg.tar.zst");
    let both = format!("{a} {b}");
    assert_eq!(wanted(json!({})), both);
    assert_eq!(wanted(json!({"include": [{"name": "lib*"}]})), b);
    assert_eq!(wanted(json!({"exclude": [{"base": "lib-b-base"}]})), a);
    assert_eq!(wanted(json!({"include": [{"group": "gnome"}]})), both);
    assert_eq!(wanted(json!({"include": [{"group": "kde"}]})), "");
    assert_eq!(
        wanted(json!({"include": [{"group": "base", "name": "a"}]})),
        a
    );
}

#[test]
fn two_clocks_are_repeated_as_far_as_they_are_numbers() {
    let run = RunFacts {
        started_at: 0,
        finished_at: 0,
        software: String::new(),
        host: String::new(),
        upstream: String::new(),
        transport: String::new(),
        received_bytes: 0,
        seconds: 0.0,
        fields: vec![],
    };
    let says = |clocks: &[(&str, Option<&str>)]| {
        let reading = |(state, beat): &(&str, Option<&str>)| ClockReading {
            state: (*state).to_owned(),
            beat: beat.map(str::to_owned),
        };
        let told = Told {
            run: &run,
            name: "arch",
            contact: None,
            clocks: clocks.iter().map(reading).collect(),
        };
        let format = core();
        let files = format.state_files().render(&told);
        let files = files
            .into_iter()
            .map(|file| format!("{} {:?}", file.path, file.content));
        let files = files.collect::<Vec<_>>().join(", ");
        (files, format.state_files().heartbeat(&told))
    };
    let told = |files: &str, heartbeat| (files.to_owned(), heartbeat);
    assert_eq!(
        says(&[
            ("1700000000\n", Some("1700000100\n")),
            ("999\n", Some("1700000050\n"))
        ]),
        told(
            r#"lastupdate "999\n", lastsync "1700000050\n""#,
            Some(1_700_000_050)
        )
    );
    assert_eq!(
        says(&[("1\n", None), ("2\n", Some("3\n"))]),
        told(r#"lastupdate "1\n""#, None)
    );
    assert_eq!(says(&[]), told("", None));
    let clock = core().state_files().clock().unwrap();
    assert_eq!((clock.read)("1700000000\n"), Some(1_700_000_000));
    for page in [
        "",
        "<html>404</html>",
        "-1",
        "1 2",
        "12345678901234567890",
        "\u{661}",
    ] {
        assert_eq!((clock.read)(page), None, "{page}");
    }
    let none =
        arch(json!({"repos": ["core"], "architectures": ["a"], "layout": {"clock": "none"}}));
    assert!(none.unwrap().state_files().clock().is_none());
}
