use std::fs;
use std::path::Path;

use fleet_api::{Mirror, Upstream};

use super::*;

fn upstream_problems(spec: &str) -> String {
    let text = format!("metadata: {{name: u}}\nspec: {{type: Debian, {spec}}}\n");
    let object: Upstream = serde_saphyr::from_str(&text).unwrap();
    upstream("u", &object.spec).join("\n")
}

fn mirror_problems(name: &str, content: &str, rest: &str) -> String {
    let text = format!(
        "metadata: {{name: m}}\nspec: {{upstreamRef: {{name: u}}, content: {content}{rest}}}\n"
    );
    let object: Mirror = serde_saphyr::from_str(&text).unwrap();
    mirror(name, &object.spec).join("\n")
}

const DEBIAN: &str = "{debian: {suites: [trixie], components: [main], architectures: [amd64]}}";

#[test]
fn a_plain_upstream_and_mirror_have_no_problems() {
    assert_eq!(
        upstream_problems(
            "authority: {url: 'https://example.org/d/'}, trust: {keyringRef: {name: k, key: k}}"
        ),
        ""
    );
    assert_eq!(
        upstream_problems("authority: {url: 'file:///srv/d/'}, trust: {signatures: None}"),
        ""
    );
    assert_eq!(
        upstream_problems(
            "authority: {url: 'https://example.org/'}, endpoints: [{name: a, url: 'rsync://example.org/debian/'}], trust: {signatures: None}"
        ),
        ""
    );
    assert_eq!(mirror_problems("debian", DEBIAN, ""), "");
    assert_eq!(
        mirror_problems(
            "debian",
            "{debian: {suites: [./]}}",
            ", serving: {path: a/b}"
        ),
        ""
    );
}

#[test]
fn every_wrong_field_of_an_upstream_is_named() {
    for (spec, word) in [
        (
            "authority: {url: 'rsync://example.org/debian/'}, trust: {signatures: None}",
            "spec.authority.url",
        ),
        (
            "authority: {url: 'https://example.org/'}, endpoints: [{name: a, url: 'rsync://example.org/'}], trust: {signatures: None}",
            "module",
        ),
        (
            "authority: {url: 'ftp://example.org/'}, trust: {signatures: None}",
            "spec.authority.url",
        ),
        (
            "authority: {url: 'https://me:pw@example.org/'}, trust: {signatures: None}",
            "credentialsRef",
        ),
        (
            "authority: {url: 'https://example.org/?a=b'}, trust: {signatures: None}",
            "query",
        ),
        (
            "authority: {url: 'https://example.org/'}",
            "trust.keyringRef is missing",
        ),
        (
            "authority: {url: 'https://example.org/'}, trust: {signatures: None, minGoodSignatures: 0}",
            "minGoodSignatures",
        ),
        (
            "authority: {url: 'https://example.org/'}, trust: {signatures: None, allSignaturesGood: true}",
            "allSignaturesGood",
        ),
        (
            "authority: {url: 'https://example.org/'}, trust: {signatures: None}, probe: {interval: 5s}",
            "probe.interval",
        ),
        (
            "authority: {url: 'https://example.org/'}, trust: {signatures: None}, politeness: {maxConnections: 0}",
            "maxConnections",
        ),
        (
            "authority: {url: 'https://example.org/'}, trust: {signatures: None}, politeness: {bandwidth: 0}",
            "bandwidth",
        ),
    ] {
        let problems = upstream_problems(spec);
        assert!(
            problems.contains(word) && !problems.contains("pw"),
            "{spec}: {problems}"
        );
    }
}

#[test]
fn what_is_asked_of_pacmans_packages_is_asked_of_an_upstream_of_arch() {
    let of = |kind: &str, trust: &str| {
        let text = format!(
            "metadata: {{name: u}}\nspec: {{type: {kind}, authority: {{url: 'https://example.org/'}}, trust: {trust}}}\n"
        );
        let object: Upstream = serde_saphyr::from_str(&text).unwrap();
        upstream("u", &object.spec).join("\n")
    };
    let key = "keyringRef: {name: k, key: a.gpg}";
    for (kind, trust, word) in [
        ("Arch", "{KEY}", ""),
        (
            "Arch",
            "{KEY, databases: Required, webOfTrust: {keyringPackage: archlinux-keyring}}",
            "",
        ),
        (
            "Arch",
            "{KEY, additionalKeyringRefs: [{name: k, key: b.gpg}]}",
            "",
        ),
        (
            "Debian",
            "{KEY, additionalKeyringRefs: [{name: k, key: b.gpg}]}",
            "",
        ),
        ("Arch", "{signatures: None}", ""),
        (
            "Arch",
            "{signatures: Optional}",
            "trust.keyringRef is missing",
        ),
        (
            "Arch",
            "{signatures: None, additionalKeyringRefs: [{name: k, key: b.gpg}]}",
            "name that one too",
        ),
        ("Arch", "{KEY, minGoodSignatures: 2}", "minGoodSignatures"),
        (
            "Arch",
            "{KEY, allSignaturesGood: true}",
            "allSignaturesGood",
        ),
        (
            "Arch",
            "{signatures: None, databases: Required}",
            "trust.databases Required",
        ),
        (
            "Arch",
            "{KEY, webOfTrust: {marginalsNeeded: 0}}",
            "marginalsNeeded",
        ),
        (
            "Arch",
            "{KEY, webOfTrust: {keyringPackage: a/b}}",
            "keyringPackage",
        ),
        ("Debian", "{KEY, webOfTrust: {}}", "trust.webOfTrust"),
        ("Debian", "{KEY, databases: IfPresent}", "trust.databases"),
    ] {
        let problems = of(kind, &trust.replace("KEY", key));
        match word {
            "" => assert_eq!(problems, "", "{kind} {trust}"),
            word => assert!(problems.contains(word), "{kind} {trust}: {problems}"),
        }
    }
}

#[test]
fn every_wrong_field_of_a_mirror_is_named() {
    for (name, content, rest, word) in [
        ("1a", DEBIAN, "", "metadata.name"),
        ("m", "{}", "", "spec.content"),
        ("m", "{debian: {suites: []}}", "", "suites"),
        (
            "m",
            "{debian: {suites: [a, a], components: [m], architectures: [x]}}",
            "",
            "twice",
        ),
        ("m", "{debian: {suites: [a]}}", "", "components"),
        (
            "m",
            DEBIAN,
            ", sync: {schedule: nonsense}",
            "spec.sync.schedule",
        ),
        (
            "m",
            DEBIAN,
            ", sync: {timeZone: Mars/Olympus}",
            "spec.sync.timeZone",
        ),
        ("m", DEBIAN, ", sync: {timeout: 0s}", "spec.sync: timeout"),
        ("m", DEBIAN, ", snapshots: {keep: 0}", "snapshots.keep"),
        (
            "m",
            DEBIAN,
            ", snapshots: {pinned: latest}",
            "snapshots.pinned",
        ),
        (
            "m",
            DEBIAN,
            ", snapshots: {pinned: abc}",
            "snapshots.pinned",
        ),
        (
            "m",
            DEBIAN,
            ", sync: {retries: {backoff: 0s}}",
            "retries.backoff",
        ),
        (
            "m",
            "{debian: {suites: [../x], components: [m], architectures: [x]}}",
            "",
            "suites",
        ),
        (
            "m",
            "{debian: {suites: [x], components: [m], architectures: [_]}}",
            "",
            "architectures",
        ),
        ("m", DEBIAN, ", serving: {traceName: -x}", "traceName"),
        ("m", DEBIAN, ", serving: {traceName: a/b}", "traceName"),
        (
            "m",
            "{debian: {suites: [trixie], components: [m], architectures: [x], aliases: [{name: trixie, suite: trixie}]}}",
            "",
            "cannot both",
        ),
        (
            "m",
            "{debian: {suites: [trixie], components: [m], architectures: [x], aliases: [{name: a, suite: sid}]}}",
            "",
            "an alias stands for",
        ),
        (
            "m",
            "{debian: {suites: [trixie], components: [m], architectures: [x], aliases: [{name: ../a, suite: trixie}]}}",
            "",
            "aliases[0].name",
        ),
        ("m", DEBIAN, ", serving: {path: ../x}", "serving.path"),
        (
            "m",
            DEBIAN,
            ", serving: {path: .mirrorfleet}",
            "serving.path",
        ),
        ("m", DEBIAN, ", regions: [{name: a}, {name: a}]", "twice"),
        (
            "m",
            DEBIAN,
            ", verification: {shrink: {maxPercent: 0}}",
            "shrink.maxPercent",
        ),
        (
            "m",
            DEBIAN,
            ", verification: {shrink: {allowed: [abc]}}",
            "shrink.allowed[0]",
        ),
        (
            "m",
            DEBIAN,
            ", verification: {allowed: [{unit: trixie, digest: abc, reasons: [IndexExpired]}]}",
            "allowed[0].digest",
        ),
        (
            "m",
            DEBIAN,
            ", verification: {expired: [{unit: nowhere, rule: Allow}]}",
            "verification.expired speaks",
        ),
        (
            "m",
            "{debian: {suites: [./], releaseNames: [{suite: x/, name: y}]}}",
            "",
            "releaseNames speaks",
        ),
        (
            "m",
            "{debian: {suites: [./], packages: {include: [{}]}}}",
            "",
            "packages.include[0]: a rule over packages needs",
        ),
        (
            "m",
            "{debian: {suites: [./], packages: {exclude: [{name: a}, {section: 'b['}]}}}",
            "",
            "packages.exclude[1].section",
        ),
    ] {
        assert!(
            mirror_problems(name, content, rest).contains(word),
            "{content}{rest}"
        );
    }
    let exclude = DEBIAN.replace("}}", "}, exclude: ['a[']}");
    assert!(mirror_problems("m", &exclude, "").contains("exclude[0]"));
}

/// The samples that the cluster tests give to a real API server: the verdict is the same here.
#[test]
fn samples_are_judged_as_an_api_server_judges_them() {
    let problems = |document: &str| -> Vec<String> {
        if document.contains("kind: Mirror\n") {
            let read = serde_saphyr::from_str::<Mirror>(document);
            return match read {
                Ok(read) => mirror(read.metadata.name.as_deref().unwrap_or(""), &read.spec),
                Err(error) => vec![error.to_string()],
            };
        }
        match serde_saphyr::from_str::<Upstream>(document) {
            Ok(read) => upstream(read.metadata.name.as_deref().unwrap_or(""), &read.spec),
            Err(error) => vec![error.to_string()],
        }
    };
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fleet-api/tests/samples");
    for (folder, good) in [("accepted", true), ("refused", false)] {
        for entry in fs::read_dir(samples.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            // A folder of this machine is a repository where there is no cluster.
            let good = good || path.ends_with("upstream-file-url.yaml");
            let text = fs::read_to_string(&path).unwrap();
            let problems: Vec<_> = text.split("\n---\n").flat_map(problems).collect();
            assert_eq!(
                problems.is_empty(),
                good,
                "{}: {problems:?}",
                path.display()
            );
        }
    }
}
