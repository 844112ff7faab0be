use super::super::options::Architectures;
use super::super::signed_by::SignedBy;
use super::*;

fn source(uri: &str, suites: &[&str], components: &[&str]) -> Source {
    let strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Source {
        place: "a.list:1".into(),
        uris: vec![uri.into()],
        suites: strings(suites),
        components: strings(components),
        architectures: Architectures::default(),
        packages: true,
        sources: false,
        signed_by: SignedBy::default(),
        trusted: false,
        expired: false,
        more: More::default(),
    }
}

fn archives(sources: &[Source]) -> (Archives, Vec<String>) {
    let (mut archives, mut notes) = (Archives::default(), Vec::new());
    let context = Context {
        architectures: &["amd64".to_owned()],
        logins: &[],
    };
    for source in sources {
        let trust = Trust::Keys(b"key".to_vec());
        archives.add(source, &trust, &context, &mut notes);
    }
    (archives, notes)
}

#[test]
fn slices_of_one_archive_share_a_mirror_which_says_what_more_it_copies() {
    let (archives, notes) = archives(&[
        source(
            "http://example.org/debian",
            &["trixie", "trixie-updates"],
            &["main"],
        ),
        source("http://example.org/debian/", &["trixie"], &["main"]),
        source(
            "http://example.org/debian",
            &["trixie-backports"],
            &["main", "contrib"],
        ),
    ]);
    assert_eq!((archives.0.len(), notes.len()), (1, 0));
    assert_eq!(archives.0[0].url.as_str(), "http://example.org/debian/");
    let slice = archives.0[0].slice();
    assert_eq!(
        slice.suites,
        ["trixie", "trixie-updates", "trixie-backports"]
    );
    assert_eq!(slice.components, ["main", "contrib"]);
    assert_eq!(slice.architectures, ["amd64"]);
    let suites: Vec<_> = slice.unasked.keys().map(String::as_str).collect();
    assert_eq!(suites, ["trixie", "trixie-updates"]);
    assert_eq!(slice.unasked["trixie"], ["contrib/amd64"]);
}

#[test]
fn deb_and_deb_src_of_one_suite_are_one_and_sources_alone_have_no_architecture() {
    let mut with_sources = source("http://example.org/debian", &["trixie"], &["main"]);
    (with_sources.packages, with_sources.sources) = (false, true);
    let packages = source("http://example.org/debian", &["trixie"], &["main"]);
    let both = archives(&[packages, with_sources.clone()]).0.0[0].slice();
    assert!(both.sources && both.architectures == ["amd64"] && both.unasked.is_empty());
    let alone = archives(&[with_sources]).0.0[0].slice();
    assert!(alone.sources && alone.architectures.is_empty(), "{alone:?}");
}

#[test]
fn names_that_no_manifest_can_say_are_left_out_with_a_note() {
    let (found, notes) = archives(&[
        source("http://example.org/a", &["st?ble", "./x/", "/"], &[]),
        source("cdrom:[Debian 13]/", &["s"], &["main"]),
    ]);
    assert_eq!(found.0[0].slice().suites, ["x/", "./"]);
    assert_eq!(notes.len(), 2, "{notes:?}");
}

#[test]
fn only_the_chosen_suites_stay() {
    let (mut archives, _) = archives(&[
        source(
            "http://example.org/debian",
            &["trixie", "trixie-updates"],
            &["main"],
        ),
        source(
            "http://example.org/security",
            &["trixie-security"],
            &["main"],
        ),
    ]);
    let missing = archives.select(&["trixie-updates".into(), "sid".into()]);
    assert_eq!(missing, ["sid"]);
    let left: Vec<_> = archives.suites().into_iter().collect();
    assert_eq!(left, ["trixie-updates"]);
    assert_eq!(archives.0.len(), 1);
}
