//! Aliases, by-hash names, and what a trace tells of a slice.

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
        let index = verify(slice, &roots, &context(&unsigned())).unwrap();
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
    assert!(verify(slice, &roots, &context(&unsigned())).is_ok());
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
    let fields = format.trace().unwrap();
    let said: Vec<_> = fields
        .iter()
        .map(|(field, value)| format!("{field}: {value}"))
        .collect();
    assert_eq!(
        said,
        [
            "Suites: stable",
            "Architectures: all amd64 source",
            "Architectures-Configuration: INCLUDE amd64 source"
        ]
    );
    let mark = format.update_mark("mirror.example.org").unwrap();
    assert_eq!(
        mark.path.as_str(),
        "Archive-Update-in-Progress-mirror.example.org"
    );
    assert!(format.update_mark("../x").is_none());
}
