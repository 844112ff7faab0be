//! Aliases, by-hash names, and what a trace tells of a slice.

use fleet_formats::seam::Told;
use fleet_types::RunFacts;

use super::*;

fn aliases(pairs: &[(&str, &str)]) -> Vec<DebianAlias> {
    let alias = |(name, suite): &(&str, &str)| DebianAlias {
        name: (*name).to_owned(),
        suite: (*suite).to_owned(),
    };
    pairs.iter().map(alias).collect()
}

#[test]
fn an_alias_holds_as_long_as_the_suite_bears_the_name() {
    let links = |head: &str, alias: &str| {
        let slice = DebianContent {
            aliases: aliases(&[(alias, "trixie")]),
            ..slice("trixie", DebianInclude::default())
        };
        let roots = [root("dists/trixie/Release", release(head, &FILES))];
        let index = verify(slice, &roots, &context(&Trust::nothing_is_judged())).unwrap();
        let links: Vec<_> = index
            .links
            .iter()
            .map(|(link, target)| format!("{link} {target}"))
            .collect();
        (links, index.notes.concat())
    };
    let (held, notes) = links(HEAD, "stable");
    assert_eq!(
        (held, notes.as_str()),
        (vec!["dists/stable dists/trixie".to_owned()], "")
    );
    assert_eq!(
        links(HEAD, "stable/updates").0,
        ["dists/stable/updates dists/trixie"]
    );
    let moved_on = HEAD.replace("Suite: stable", "Suite: oldstable");
    let (gone, notes) = links(&moved_on, "stable");
    assert!(gone.is_empty());
    assert!(
        notes.contains("alias stable") && notes.contains("oldstable"),
        "{notes}"
    );
}

#[test]
fn a_label_may_be_in_any_encoding() {
    let mut text = b"Label: Caf\xe9\n".to_vec();
    text.extend(release(HEAD, &FILES).into_bytes());
    let roots = [root("dists/trixie/Release", text)];
    let slice = slice("trixie", DebianInclude::default());
    assert!(verify(slice, &roots, &context(&Trust::nothing_is_judged())).is_ok());
}

#[test]
fn aliases_are_names_of_their_own() {
    let checked = |pairs: &[(&str, &str)]| {
        let slice = DebianContent {
            suites: strings(&["trixie", "trixie/updates", "tools/"]),
            aliases: aliases(pairs),
            ..slice("trixie", DebianInclude::default())
        };
        Debian::new(slice)
            .map(drop)
            .map_err(|rejected| rejected.reason)
    };
    let good = [
        ("stable", "trixie"),
        ("testing", "trixie"),
        ("stable-updates", "trixie/updates"),
    ];
    assert_eq!(checked(&good), Ok(()));
    for bad in [
        [("trixie", "trixie/updates")].as_slice(),
        &[("trixie/x", "trixie")],
        &[("stable", "sid")],
        &[("stable", "tools/")],
        &[("stable/", "trixie")],
        &[("../x", "trixie")],
        &[("stable", "trixie"), ("stable", "trixie")],
        &[("stable", "trixie"), ("stable", "trixie/updates")],
        &[("stable", "trixie"), ("stable/updates", "trixie/updates")],
    ] {
        assert_eq!(checked(bad), Err(Reason::InvalidSpec), "{bad:?}");
    }
}

#[test]
fn a_suite_says_whether_its_names_stay_and_a_slice_what_a_trace_tells() {
    let by_hash = |head: &str| {
        verify_text("stable", &release(head, &FILES))
            .unwrap()
            .fixed_names
    };
    assert!(by_hash(HEAD));
    assert!(!by_hash(&HEAD.replace("Acquire-By-Hash: yes\n", "")));
    let include = DebianInclude {
        sources: true,
        ..DebianInclude::default()
    };
    let format = Debian::new(slice("stable", include)).unwrap();
    let files = format.state_files().render(&told(&facts()));
    let [_, traces, trace] = &files[..] else {
        panic!("{files:?}");
    };
    assert_eq!(
        (traces.path.as_str(), traces.content.as_str()),
        ("project/trace/_traces", "us\n")
    );
    assert_eq!(trace.path.as_str(), "project/trace/us");
    let said: Vec<_> = trace
        .content
        .lines()
        .filter(|line| line.starts_with("Suites") || line.starts_with("Arch"))
        .collect();
    assert_eq!(
        said,
        [
            "Archive serial: 1",
            "Suites: stable",
            "Architectures: all amd64 source",
            "Architectures-Configuration: INCLUDE amd64 source"
        ]
    );
    let mark = format
        .state_files()
        .update_mark("mirror.example.org")
        .unwrap();
    assert_eq!(
        mark.path.as_str(),
        "Archive-Update-in-Progress-mirror.example.org"
    );
    assert!(format.state_files().update_mark("../x").is_none());
    let roots = format.roots("trixie").unwrap();
    let names: Vec<_> = roots
        .written_last()
        .iter()
        .map(|path| path.file_name())
        .collect();
    assert_eq!(names, ["Release.gpg", "Release", "InRelease"]);
}

/// As an older version wrote them: with what the format says itself.
fn facts() -> RunFacts {
    RunFacts {
        started_at: 1,
        finished_at: 2,
        software: "mirrorfleet test".into(),
        host: "pod".into(),
        upstream: "upstream.example.org".into(),
        transport: "https".into(),
        received_bytes: 0,
        seconds: 1.0,
        fields: vec![
            ("Archive serial".into(), "1".into()),
            ("Suites".into(), "another".into()),
        ],
    }
}

fn told(run: &RunFacts) -> Told<'_> {
    Told {
        run,
        name: "us",
        contact: None,
        clocks: Vec::new(),
    }
}
