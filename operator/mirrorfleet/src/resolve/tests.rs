use std::fs;

use fleet_formats::seam::{SignaturePolicy, let_through};
use fleet_sync::{Credentials, Shrink, Verification};
use fleet_types::UnitRevision;

use super::*;

const UPSTREAM: &str = "apiVersion: mirrorfleet.dev/v1alpha1\nkind: Upstream\nmetadata: {name: debian}\nspec:\n  type: Debian\n  authority: {url: AUTHORITY}\n  trust: TRUST\n";
const MIRROR: &str = "apiVersion: mirrorfleet.dev/v1alpha1\nkind: Mirror\nmetadata: {name: NAME}\nspec:\n  upstreamRef: {name: debian}\n  content:\n    debian: {suites: [trixie], components: [main], architectures: [amd64]}\n";

fn world(trust: &str, authority: &str, rest: &str) -> Manifests {
    let upstream = UPSTREAM
        .replace("TRUST", trust)
        .replace("AUTHORITY", authority);
    load(&format!(
        "{upstream}---\n{}---\n{rest}",
        MIRROR.replace("NAME", "debian")
    ))
}

fn load(text: &str) -> Manifests {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    Manifests::load(&[file.path().to_owned()]).unwrap()
}

fn resolve(manifests: &Manifests, references: &References) -> Result<SyncOptions, Failure> {
    let resolver = Resolver {
        manifests,
        references: references.clone(),
        data: Path::new("data"),
    };
    resolver.options(manifests.mirror("debian").unwrap(), Vec::new())
}

fn refusal(manifests: &Manifests, references: &References) -> Failure {
    resolve(manifests, references)
        .err()
        .expect("it should have been refused")
}

const URL: &str = "https://example.org/debian/";

#[test]
fn a_mirror_becomes_options() {
    let manifests = world("{signatures: None}", URL, "");
    let options = resolve(&manifests, &References::Manifests).unwrap();
    assert_eq!(options.store_dir, Path::new("data/debian"));
    assert_eq!(
        (
            options.serving_path.as_str(),
            options.upstream_type.as_str()
        ),
        ("debian", "Debian")
    );
    assert_eq!(options.content["debian"]["suites"][0], "trixie");
    assert_eq!(options.format.units(), ["trixie"]);
    assert_eq!(options.trust.signatures, SignaturePolicy::None);
}

#[test]
fn what_is_missing_has_its_own_reason_and_is_named() {
    let trust = "{keyringRef: {name: keys, key: a.gpg}}";
    for (trust, rest, reason, word) in [
        (trust, "", Reason::KeyringNotFound, "\"keys\""),
        (
            trust,
            "apiVersion: v1\nkind: Secret\nmetadata: {name: keys}\nstringData: {other: x}\n",
            Reason::KeyringNotFound,
            "other",
        ),
        (
            trust,
            "apiVersion: v1\nkind: Secret\nmetadata: {name: keys}\nstringData: {a.gpg: ''}\n",
            Reason::KeyringInvalid,
            "a.gpg",
        ),
        (
            "{signatures: None}\n  access: {credentialsRef: {name: login}}",
            "",
            Reason::CredentialsNotFound,
            "login",
        ),
        (
            "{signatures: None}\n  access: {caBundleRef: {name: ca}}",
            "",
            Reason::CaBundleNotFound,
            "ca",
        ),
        (
            "{signatures: None}\n  access: {caBundleRef: {name: ca}}",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ca}\ndata: {ca.crt: nothing}\n",
            Reason::CaBundleNotFound,
            "BEGIN CERTIFICATE",
        ),
        ("{}", "", Reason::InvalidSpec, "keyringRef"),
    ] {
        let failure = refusal(&world(trust, URL, rest), &References::Manifests);
        assert_eq!(failure.reason, reason, "{failure}");
        assert!(failure.message.contains(word), "{failure}");
    }
}

#[test]
fn credentials_are_a_token_or_a_name_with_a_password() {
    let trust = "{signatures: None}\n  access: {credentialsRef: {name: login}}";
    let with = |data: &str| {
        world(
            trust,
            URL,
            &format!(
                "apiVersion: v1\nkind: Secret\nmetadata: {{name: login}}\nstringData: {data}\n"
            ),
        )
    };
    let basic = resolve(
        &with("{username: me, password: \"pw\\n\", hosts: example.org}"),
        &References::Manifests,
    )
    .unwrap();
    assert!(
        basic.access.credentials
            == Some(Credentials::Basic {
                username: "me".into(),
                password: "pw".into()
            })
    );
    let bearer = resolve(
        &with("{token: abc, hosts: example.org}"),
        &References::Manifests,
    )
    .unwrap();
    assert!(
        bearer.access.credentials
            == Some(Credentials::Bearer {
                token: "abc".into()
            })
    );
    assert_eq!(
        refusal(&with("{username: me}"), &References::Manifests).reason,
        Reason::CredentialsNotFound
    );
}

#[test]
fn a_secret_goes_only_where_it_says_itself() {
    let trust = "{signatures: None}\n  access: {credentialsRef: {name: login}}";
    let resolved = |url: &str, hosts: &str| {
        let data = format!("{{token: abc, hosts: \"{hosts}\"}}");
        let rest = format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: login}}\nstringData: {data}\n"
        );
        resolve(&world(trust, url, &rest), &References::Manifests)
    };
    for (url, hosts, line) in [
        (URL, "", "`example.org`"),
        (
            URL,
            "other.example.org\\nexample.org.evil.example",
            "`example.org`",
        ),
        (URL, "http://example.org", "`example.org`"),
        (
            "http://example.org/debian/",
            "example.org",
            "`http://example.org`",
        ),
        ("http://example.org:81/", "", "`http://example.org:81`"),
    ] {
        let failure = resolved(url, hosts).err().unwrap();
        assert_eq!(failure.reason, Reason::CredentialsNotReleased, "{failure}");
        let told = failure.message.contains(line) && failure.message.contains("`hosts`");
        assert!(told && !failure.message.contains("abc"), "{failure}");
        // What the message says helps.
        let remedy = line.trim_matches('`');
        let access = resolved(url, remedy).unwrap().access;
        let url = url::Url::parse(url).unwrap();
        assert!(access.credentials_for(&url).is_some(), "{remedy}");
        let elsewhere = url::Url::parse("https://other.example.org/").unwrap();
        assert!(access.credentials_for(&elsewhere).is_none());
    }
    let wrong = resolved(URL, "ftp://example.org").err().unwrap();
    assert_eq!(wrong.reason, Reason::CredentialsNotReleased);
}

#[test]
fn an_upstream_that_is_not_there_is_named() {
    let manifests = load(&MIRROR.replace("NAME", "debian"));
    let failure = refusal(&manifests, &References::Manifests);
    assert_eq!(failure.reason, Reason::UpstreamNotFound);
    assert!(failure.message.contains("\"debian\""), "{failure}");
}

#[test]
fn in_a_cluster_values_are_mounted_and_file_urls_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let references = References::Directory(directory.path().to_owned());
    let trust = "{signatures: None}\n  access: {credentialsRef: {name: login}}";
    let manifests = world(trust, URL, "");
    assert_eq!(
        refusal(&manifests, &references).reason,
        Reason::CredentialsNotFound
    );
    let secret = directory.path().join("Secret/login");
    fs::create_dir_all(&secret).unwrap();
    fs::write(secret.join("token"), "abc\n").unwrap();
    fs::write(secret.join("hosts"), "example.org\n").unwrap();
    assert!(resolve(&manifests, &references).is_ok());

    let manifests = world("{signatures: None}", "file:///srv/debian/", "");
    assert!(resolve(&manifests, &References::Manifests).is_ok());
    assert!(
        refusal(&manifests, &references)
            .message
            .contains("file:///srv/debian/")
    );
}

#[test]
fn a_reference_cannot_leave_the_mounted_folder() {
    let directory = tempfile::tempdir().unwrap();
    let references = References::Directory(directory.path().join("refs"));
    fs::create_dir_all(directory.path().join("refs/Secret")).unwrap();
    fs::write(directory.path().join("secret"), "x").unwrap();
    for trust in [
        "{keyringRef: {name: .., key: secret}}",
        "{keyringRef: {name: a, key: ../../../secret}}",
        "{keyringRef: {name: a, key: ..}}",
    ] {
        let failure = refusal(&world(trust, URL, ""), &references);
        assert_eq!(failure.reason, Reason::InvalidSpec);
        assert!(
            failure.message.contains("spec.trust.keyringRef."),
            "{failure}"
        );
    }
}

#[test]
fn two_mirrors_cannot_have_one_path() {
    let upstream = UPSTREAM
        .replace("TRUST", "{signatures: None}")
        .replace("AUTHORITY", URL);
    let mirror = |name: &str, path: &str| {
        format!(
            "{}  serving: {{path: '{path}'}}\n",
            MIRROR.replace("NAME", name)
        )
    };
    for (path, taken) in [("debian", true), ("debian/x", true), ("debian-x", false)] {
        let manifests = load(&format!(
            "{upstream}---\n{}---\n{}",
            mirror("debian", ""),
            mirror("other", path)
        ));
        let result = resolve(&manifests, &References::Manifests);
        assert_eq!(
            result.is_err_and(|failure| failure.reason == Reason::PathTaken),
            taken,
            "{path}"
        );
    }
}

#[test]
fn a_change_of_trust_changes_its_digest() {
    let digest = |trust: &str| {
        resolve(&world(trust, URL, ""), &References::Manifests)
            .unwrap()
            .trust_digest
    };
    assert_eq!(digest("{signatures: None}"), digest("{signatures: None}"));
    assert_ne!(
        digest("{signatures: None}"),
        digest("{signatures: Optional}")
    );
    assert_ne!(
        digest("{signatures: Optional}"),
        digest("{signatures: Optional, maxIndexAge: 9h}")
    );
}

#[test]
fn what_a_person_allows_and_leaves_out_reaches_the_engine() {
    let plain = MIRROR.replace("NAME", "debian");
    let upstream = UPSTREAM
        .replace("TRUST", "{signatures: None}")
        .replace("AUTHORITY", URL);
    let resolved = |mirror: &str| {
        let manifests = load(&format!("{upstream}---\n{mirror}"));
        resolve(&manifests, &References::Manifests).unwrap()
    };
    let without = resolved(&plain);
    assert_eq!(
        without.verification,
        Verification::default(),
        "the defaults of both are the same"
    );
    assert!(
        without.content["debian"].get("packages").is_none(),
        "what is not declared is no input of a snapshot"
    );

    let digest = "ab".repeat(32);
    let rules = "architectures: [amd64], packages: {exclude: [{section: debug}]}}";
    let mirror = format!(
        "{}  verification:\n    shrink: {{maxPercent: 50, maxCount: 0, allowed: [\"{digest}\"]}}\n",
        plain.replace("architectures: [amd64]}", rules)
    );
    let with = resolved(&mirror);
    assert_eq!(
        with.verification.shrink,
        Shrink {
            max_percent: 50,
            max_count: None,
            allowed: vec![digest.parse().unwrap()],
        }
    );
    assert_eq!(
        with.content["debian"]["packages"]["exclude"][0]["section"],
        "debug"
    );
}

#[test]
fn what_a_refusal_prints_can_be_pasted_into_the_manifest() {
    let revision = UnitRevision {
        unit: "trixie".to_owned(),
        digest: fleet_types::Sha256([0x12; 32]),
        date: 0,
        valid_until: None,
    };
    let reasons = [
        Reason::RollbackDetected,
        Reason::Equivocation,
        Reason::IndexExpired,
        Reason::ReleaseInfoChanged,
    ];
    let message = let_through(&revision, &reasons);
    let yaml = message.split('`').nth(1).unwrap();
    let manifests = load(&format!(
        "{}---\n{}  {yaml}\n",
        UPSTREAM
            .replace("TRUST", "{signatures: None}")
            .replace("AUTHORITY", URL),
        MIRROR.replace("NAME", "debian")
    ));
    let options = resolve(&manifests, &References::Manifests).unwrap();
    let allowances = &options.verification.allowances["trixie"];
    let allowed: Vec<_> = allowances.reasons_for(revision.digest).collect();
    assert_eq!(allowed, reasons);
    assert!(!allowances.expired);
}
