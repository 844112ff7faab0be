//! Packuments: that they are shown byte for byte as they came where nothing is to be changed, and what is changed where
//! something is. The oracle is a parser that knows nothing of us.

use fleet_formats::npm::{PackageName, Packument, Place, View};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const UPSTREAM: &str = "https://registry.example.org/npm";
const HERE: &str = "http://here.example.org:8080/a/b";

fn name(text: &str) -> PackageName {
    PackageName::new(text).unwrap()
}

fn shown(document: &str, package: &str, here: &str, hidden: &[bool]) -> String {
    let name = name(package);
    let packument = Packument::read(document.as_bytes(), &name).unwrap();
    let place = Place {
        package: &name,
        upstream: UPSTREAM,
        here,
    };
    let mut out = Vec::new();
    View {
        packument: &packument,
        place,
        hidden,
    }
    .write(&mut out)
    .unwrap();
    String::from_utf8(out).unwrap()
}

/// A document of a package at the upstream: `versions` with what is said of each besides.
fn document(package: &str, versions: &[(&str, Value)], tags: &[(&str, &str)]) -> Value {
    let bare = package.rsplit('/').next().unwrap();
    let (mut all, mut time) = (Map::new(), Map::new());
    time.insert("created".into(), "2010-01-01T00:00:00.000Z".into());
    for (version, more) in versions {
        let mut told = json!({
            "name": package, "version": version,
            "dist": {
                "integrity": "sha512-3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw==",
                "tarball": format!("{UPSTREAM}/{package}/-/{bare}-{version}.tgz"),
                "attestations": {"url": format!("{UPSTREAM}/-/npm/v1/attestations/{package}@{version}"), "provenance": {}},
                "signatures": [{"keyid": "SHA256:x", "sig": "MEUC"}],
            },
        });
        told.as_object_mut()
            .unwrap()
            .extend(more.as_object().cloned().unwrap_or_default());
        all.insert((*version).to_owned(), told);
        time.insert((*version).to_owned(), "2020-01-01T00:00:00.000Z".into());
    }
    let tags: Map<String, Value> = tags
        .iter()
        .map(|(tag, version)| ((*tag).to_owned(), (*version).into()))
        .collect();
    json!({"_id": package, "_rev": "7-x", "name": package, "dist-tags": tags, "versions": all, "time": time, "readme": "# \u{e9} \"quoted\""})
}

fn versions(count: usize) -> Vec<(String, Value)> {
    (0..count)
        .map(|number| (format!("1.{number}.0"), json!({})))
        .collect()
}

fn written(document: &Value, pretty: bool) -> String {
    match pretty {
        true => format!(" {}\n", serde_json::to_string_pretty(document).unwrap()),
        false => document.to_string(),
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "(\\PC|[\"\\\\/\n\u{1}]){0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-z_]{1,5}", inner, 0..3)
                .prop_map(|map| map.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

/// What a document must become, made with a parser and its tree.
fn expected(document: &Value, package: &str, hidden: &[bool]) -> Value {
    let mut expected = document.clone();
    let names: Vec<String> = document["versions"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    let is_hidden = |version: &str| {
        names
            .iter()
            .position(|name| name == version)
            .is_some_and(|number| hidden[number])
    };
    expected["versions"]
        .as_object_mut()
        .unwrap()
        .retain(|version, _| !is_hidden(version));
    expected["time"]
        .as_object_mut()
        .unwrap()
        .retain(|version, _| !is_hidden(version));
    for (version, told) in expected["versions"].as_object_mut().unwrap() {
        let bare = package.rsplit('/').next().unwrap();
        told["dist"]["tarball"] = format!("{HERE}/{package}/-/{bare}-{version}.tgz").into();
        told["dist"]["attestations"]["url"] =
            format!("{HERE}/-/npm/v1/attestations/{package}@{version}").into();
    }
    expected["dist-tags"]
        .as_object_mut()
        .unwrap()
        .retain(|tag, version| tag == "latest" || !is_hidden(version.as_str().unwrap()));
    expected
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn a_document_of_which_nothing_is_changed_is_the_same_bytes(
        count in 0..5_usize, more in prop::collection::btree_map("[a-z_]{1,6}x", any_json(), 0..4), pretty in any::<bool>(), scoped in any::<bool>(),
    ) {
        let package = if scoped { "@s/p" } else { "p" };
        let versions = versions(count);
        let versions: Vec<(&str, Value)> = versions.iter().map(|(version, _)| (version.as_str(), Value::from(Map::from_iter(more.clone())))).collect();
        let mut document = document(package, &versions, &[]);
        document.as_object_mut().unwrap().extend(more);
        let text = written(&document, pretty);
        prop_assert_eq!(shown(&text, package, UPSTREAM, &vec![false; count]), text);
    }

    #[test]
    fn what_is_held_back_is_gone_and_addresses_lead_here(
        hidden in prop::collection::vec(any::<bool>(), 0..6), pretty in any::<bool>(), tagged in 0..6_usize,
    ) {
        let versions = versions(hidden.len());
        let versions: Vec<(&str, Value)> = versions.iter().map(|(version, more)| (version.as_str(), more.clone())).collect();
        let tag = format!("1.{tagged}.0");
        let last = versions.last().map_or("0.0.0", |(version, _)| version);
        let document = document("@s/p", &versions, &[("latest", last), ("next", &tag)]);
        let shown: Value = serde_json::from_str(&shown(&written(&document, pretty), "@s/p", HERE, &hidden)).unwrap();
        let mut expected = expected(&document, "@s/p", &hidden);
        let allowed = hidden.iter().rposition(|hidden| !hidden);
        match (versions.is_empty(), allowed) {
            (true, _) => {}
            (false, Some(number)) => expected["dist-tags"]["latest"] = format!("1.{number}.0").into(),
            (false, None) => drop(expected["dist-tags"].as_object_mut().unwrap().remove("latest")),
        }
        prop_assert_eq!(shown, expected);
    }

    #[test]
    fn arbitrary_bytes_make_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        drop(Packument::read(&bytes, &name("p")));
    }

    #[test]
    fn a_document_with_a_hole_is_no_document_or_is_shown_as_json(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = document("p", &[("1.0.0", json!({})), ("1.1.0", json!({}))], &[("latest", "1.1.0")]).to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let name = name("p");
        if let Ok(packument) = Packument::read(&bytes, &name) {
            let place = Place { package: &name, upstream: UPSTREAM, here: HERE };
            let mut out = Vec::new();
            View { packument: &packument, place, hidden: &[true, false] }.write(&mut out).unwrap();
            prop_assert!(serde_json::from_slice::<Value>(&out).is_ok());
        }
    }
}

#[test]
fn latest_is_the_newest_that_people_may_have() {
    let gone = json!({"deprecated": "do not"});
    let versions = [
        ("1.0.0", json!({})),
        ("1.1.0", gone),
        ("1.2.0-rc.1", json!({})),
        ("1.2.0", json!({})),
        ("2.0.0", json!({})),
        ("10.0.0", json!({})),
        ("1.0.1", json!({"deprecated": ""})),
    ];
    let document = document(
        "p",
        &versions,
        &[
            ("latest", "1.2.0"),
            ("next", "2.0.0"),
            ("beta", "1.2.0-rc.1"),
        ],
    )
    .to_string();
    let read: Value = serde_json::from_str(&document).unwrap();
    let order: Vec<&String> = read["versions"].as_object().unwrap().keys().collect();
    let hidden: Vec<bool> = order
        .iter()
        .map(|version| matches!(version.as_str(), "1.2.0" | "2.0.0"))
        .collect();
    let shown: Value = serde_json::from_str(&shown(&document, "p", HERE, &hidden)).unwrap();
    assert_eq!(
        shown["dist-tags"],
        json!({"latest": "1.0.1", "beta": "1.2.0-rc.1"})
    );
}

#[test]
fn a_version_is_shown_alone_by_its_number_and_by_a_tag() {
    let document = document(
        "p",
        &[("1.0.0", json!({"x": [1]})), ("1.1.0", json!({}))],
        &[("latest", "1.1.0")],
    )
    .to_string();
    let name = name("p");
    let packument = Packument::read(document.as_bytes(), &name).unwrap();
    let place = Place {
        package: &name,
        upstream: UPSTREAM,
        here: HERE,
    };
    let view = View {
        packument: &packument,
        place,
        hidden: &[false, true],
    };
    let read = |wanted: &str| {
        view.version(wanted)
            .map(|bytes| serde_json::from_slice::<Value>(&bytes).unwrap())
    };
    let first = read("1.0.0").unwrap();
    assert_eq!(
        (&first["x"], &first["dist"]["tarball"]),
        (&json!([1]), &json!(format!("{HERE}/p/-/p-1.0.0.tgz")))
    );
    assert_eq!(read("latest").unwrap()["version"], "1.0.0");
    assert_eq!(
        (read("1.1.0"), read("2.0.0"), read("next")),
        (None, None, None)
    );
    assert_eq!(view.tags_document(), r#"{"latest":"1.0.0"}"#);
}

#[test]
fn addresses_elsewhere_become_the_usual_ones_here() {
    for (told, file) in [
        ("http://evil.example.org/p/-/p-1.0.0.tgz", "p-1.0.0.tgz"),
        (
            "https://registry.example.org/npm/download/p/1.0.0/abc",
            "p-1.0.0.tgz",
        ),
        (
            "https://registry.example.org/npmx/p/-/other.tgz",
            "p-1.0.0.tgz",
        ),
        (
            "https://registry.example.org/npm/p/-/../../x",
            "p-1.0.0.tgz",
        ),
        (
            "https://registry.example.org/npm/p/-/p-1.0.0-old.tgz",
            "p-1.0.0-old.tgz",
        ),
    ] {
        let dist = json!({"dist": {"tarball": told, "shasum": "a9993e364706816aba3e25717850c26c9cd0d89d"}});
        let document = document("p", &[("1.0.0", dist)], &[]).to_string();
        let shown: Value = serde_json::from_str(&shown(&document, "p", HERE, &[false])).unwrap();
        assert_eq!(
            shown["versions"]["1.0.0"]["dist"]["tarball"],
            format!("{HERE}/p/-/{file}"),
            "{told}"
        );
    }
}

#[test]
fn keys_and_addresses_with_escapes_mean_what_they_mean() {
    let document = r#"{"n\u0061me":"p","versions":{"1.0.0":{"name":"p","version":"1.0.0","dist":{"t\u0061rball":"https:\/\/registry.example.org\/npm\/p\/-\/p-1.0.0.tgz"}}}}"#;
    assert_eq!(shown(document, "p", UPSTREAM, &[false]), document);
    let led: Value = serde_json::from_str(&shown(document, "p", HERE, &[false])).unwrap();
    assert_eq!(
        led["versions"]["1.0.0"]["dist"]["tarball"],
        format!("{HERE}/p/-/p-1.0.0.tgz")
    );
}

#[test]
fn what_two_parsers_could_read_in_two_ways_is_refused() {
    for document in [
        r#"{"name":"q"}"#,
        r#"{}"#,
        r#"{"name":"p","name":"p"}"#,
        r#"{"name":"p","versions":{},"versi\u006fns":{}}"#,
        r#"{"name":"p","versions":{"1.0.0":{},"1.0.0":{}}}"#,
        r#"{"name":"p","versions":{"1.0.0":{"dist":{},"dist":{}}}}"#,
        r#"{"name":"p","versions":{"1.0.0":{"dist":{"tarball":"a","t\u0061rball":"b"}}}}"#,
        r#"{"name":"p","dist-tags":{"latest":"1","latest":"2"}}"#,
        r#"{"name":"p","time":{"1":"x","1":"y"}}"#,
        r#"{"name":"p","dist-tags":{"latest":1}}"#,
        r#"{"name":"p","versions":[]}"#,
        r#"{"name":"p"} {}"#,
        "<html>please log in</html>",
        "",
    ] {
        assert!(
            Packument::read(document.as_bytes(), &name("p")).is_err(),
            "{document}"
        );
    }
}

#[test]
fn a_version_that_is_another_ones_document_is_told() {
    let document = r#"{"name":"p","versions":{"1.0.0":{"name":"p","version":"1.0.0"},"2.0.0":{"name":"q","version":"2.0.0"},"3.0.0":{"name":"p","version":"1.0.0"},"4.0.0":{}},"time":{"1.0.0":"2020-01-01T00:00:00.000Z","unpublished":{"name":"x"},"2.0.0":"soon"}}"#;
    let name = name("p");
    let packument = Packument::read(document.as_bytes(), &name).unwrap();
    let fits: Vec<bool> = packument
        .versions()
        .iter()
        .map(|version| version.fits)
        .collect();
    assert_eq!(fits, [true, false, false, false]);
    let dates: Vec<Option<i64>> = packument
        .versions()
        .iter()
        .map(|version| version.published)
        .collect();
    assert_eq!(dates, [Some(1_577_836_800), None, None, None]);
}
