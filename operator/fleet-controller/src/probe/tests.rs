//! Probes against a scripted upstream, and the limits of the real fetcher.

use std::collections::BTreeMap;
use std::sync::Mutex;

use fleet_api::{Mirror, Upstream};
use serde_json::json;

use super::error::UNTOLD;
use super::*;

const RELEASE: &str = "Suite: stable\nCodename: trixie\nDate: Sat, 07 Jun 2025 10:12:13 UTC\nComponents: main\n\
    Architectures: amd64\nSHA256:\n 0000000000000000000000000000000000000000000000000000000000000001 5 main/binary-amd64/Packages.xz\n \
    0000000000000000000000000000000000000000000000000000000000000002 5 main/binary-all/Packages.xz\n";

/// Answers from a table, and notes what was asked with which condition.
#[derive(Default)]
struct Scripted {
    files: BTreeMap<&'static str, Vec<u8>>,
    asked: Mutex<Vec<(String, bool)>>,
}

impl Fetcher for Scripted {
    async fn fetch(
        &self,
        url: &Url,
        _: u64,
        validators: Option<&Validators>,
    ) -> Result<Fetched, ProbeError> {
        self.asked
            .lock()
            .unwrap()
            .push((url.path().to_owned(), validators.is_some()));
        Ok(match self.files.get(url.path()) {
            None => Fetched::Absent,
            Some(_) if validators.is_some() => Fetched::Unchanged,
            Some(bytes) => {
                Fetched::Content(bytes.clone(), Validators::default(), Default::default())
            }
        })
    }
}

fn upstream(url: &str) -> Upstream {
    let spec = json!({"type": "Debian", "authority": {"url": url}});
    Upstream::new("debian", serde_json::from_value(spec).unwrap())
}

fn mirror(suites: &[&str]) -> Mirror {
    let debian = json!({"suites": suites, "components": ["main"], "architectures": ["amd64"]});
    let spec = json!({"upstreamRef": {"name": "debian"}, "content": {"debian": debian}});
    Mirror::new("debian", serde_json::from_value(spec).unwrap())
}

fn now() -> Timestamp {
    "2025-06-08T00:00:00Z".parse().unwrap()
}

async fn ask(fetcher: &Scripted, suites: &[&str], memory: &Memory) -> Findings {
    let upstream = upstream("http://authority.example.org/debian");
    let declared = declared([&mirror(suites)]);
    let budget = Budget::default();
    inquiry(&upstream, &declared, fetcher, memory, &budget)
        .of_authority()
        .await
}

fn inquiry<'a>(
    upstream: &'a Upstream,
    declared: &'a Declared,
    fetcher: &'a Scripted,
    memory: &'a Memory,
    budget: &'a Budget,
) -> Inquiry<'a, Scripted> {
    Inquiry {
        upstream,
        declared,
        fetcher,
        memory,
        budget,
        audience: Audience::Everybody,
        now: now(),
    }
}

#[tokio::test]
async fn the_revision_is_read_once_and_then_asked_for_conditionally() {
    let signed = format!(
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{RELEASE}-----BEGIN PGP SIGNATURE-----\n\niQ==\n-----END PGP SIGNATURE-----\n"
    );
    let fetcher = Scripted {
        files: BTreeMap::from([("/debian/dists/trixie/InRelease", signed.into_bytes())]),
        ..Default::default()
    };
    let memory = Memory::default();
    let first = ask(&fetcher, &["trixie"], &memory).await;
    let revision = first["trixie"].clone().unwrap();
    assert_eq!(revision.date, 1749291133);
    assert_eq!(
        ask(&fetcher, &["trixie"], &memory).await["trixie"],
        Ok(revision)
    );
    let path = "/debian/dists/trixie/InRelease".to_owned();
    assert_eq!(
        *fetcher.asked.lock().unwrap(),
        [(path.clone(), false), (path, true)]
    );
}

#[tokio::test]
async fn release_stands_in_for_inrelease_with_the_same_revision() {
    let memory = Memory::default();
    let plain = Scripted {
        files: BTreeMap::from([("/debian/dists/trixie/Release", RELEASE.into())]),
        ..Default::default()
    };
    let inline = Scripted {
        files: BTreeMap::from([("/debian/dists/trixie/InRelease", RELEASE.into())]),
        ..Default::default()
    };
    let revision = ask(&plain, &["trixie"], &memory).await["trixie"]
        .clone()
        .unwrap();
    assert_eq!(
        ask(&inline, &["trixie"], &Memory::default()).await["trixie"],
        Ok(revision)
    );
}

#[tokio::test]
async fn a_release_without_a_date_tells_the_state_of_what_nobody_signs() {
    let undated = RELEASE.replace("Date: Sat, 07 Jun 2025 10:12:13 UTC\n", "");
    let release = |text: String| Scripted {
        files: BTreeMap::from([("/debian/dists/trixie/Release", text.into_bytes())]),
        ..Default::default()
    };
    let mut unsigned = upstream("http://authority.example.org/debian");
    unsigned.spec.trust.signatures = Signatures::None;
    let signed = upstream("http://authority.example.org/debian");
    let ask = async |upstream: &Upstream, text: String| {
        let (fetcher, memory) = (release(text), Memory::default());
        let declared = declared([&mirror(&["trixie"])]);
        let budget = Budget::default();
        let inquiry = inquiry(upstream, &declared, &fetcher, &memory, &budget);
        let mut found = inquiry.of_authority().await;
        found.remove("trixie").unwrap()
    };
    let revision = ask(&unsigned, undated.clone()).await.unwrap();
    assert!(!revision.is_dated());
    assert!(ask(&signed, undated.clone()).await.is_err());
    // What it does not list may be anything.
    let nothing = undated.split("SHA256:").next().unwrap().to_owned();
    assert!(ask(&unsigned, nothing).await.is_err());
}

#[tokio::test]
async fn a_date_in_the_future_tells_nothing() {
    let dated = |year: &str| Scripted {
        files: BTreeMap::from([(
            "/debian/dists/trixie/Release",
            RELEASE.replace("2025", year).into_bytes(),
        )]),
        ..Default::default()
    };
    let ask = async |year: &str| {
        let found = ask(&dated(year), &["trixie"], &Memory::default()).await;
        found["trixie"].is_ok()
    };
    assert!(ask("2025").await);
    assert!(!ask("2031").await);
}

#[tokio::test]
async fn each_suite_counts_by_itself_and_no_body_reaches_a_message() {
    let secret = b"root:x:0:0 -- Date: SECRET".to_vec();
    let files = BTreeMap::from([
        ("/debian/dists/trixie/InRelease", RELEASE.into()),
        ("/debian/dists/sid/InRelease", secret),
    ]);
    let findings = ask(
        &Scripted {
            files,
            ..Default::default()
        },
        &["trixie", "sid", "gone"],
        &Memory::default(),
    )
    .await;
    assert!(findings["trixie"].is_ok());
    // Not there, and there with something else: nobody can tell one from the other.
    let error = findings["sid"].as_ref().unwrap_err();
    assert_eq!(findings["gone"].as_ref().unwrap_err(), error);
    assert_eq!(
        (error.reason, error.message.as_str()),
        (Reason::UpstreamUnreachable, UNTOLD)
    );
}

/// A file that is asked for never comes.
struct Silent;

impl Fetcher for Silent {
    async fn fetch(&self, _: &Url, _: u64, _: Option<&Validators>) -> Result<Fetched, ProbeError> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn an_endpoint_that_is_silent_is_given_up_for_all_units_and_asked_below_its_own_url() {
    let (upstream, memory) = (
        upstream("http://authority.example.org/debian"),
        Memory::default(),
    );
    let (declared, budget) = (declared([&mirror(&["trixie", "sid"])]), Budget::default());
    let endpoint = Url::parse("http://fr.example.org/pub/debian/").unwrap();
    let silent = Inquiry {
        upstream: &upstream,
        declared: &declared,
        fetcher: &Silent,
        memory: &memory,
        budget: &budget,
        audience: Audience::Tenant,
        now: now(),
    };
    let found = silent
        .of_endpoint_within(&endpoint, Duration::from_millis(20))
        .await;
    assert!(
        found.len() == 2 && found.values().all(Result::is_err),
        "{found:?}"
    );
    let files = BTreeMap::from([("/pub/debian/dists/trixie/InRelease", RELEASE.into())]);
    let fetcher = Scripted {
        files,
        ..Default::default()
    };
    let asked = inquiry(&upstream, &declared, &fetcher, &memory, &budget);
    let found = asked.of_endpoint(&endpoint).await;
    assert!(
        found["trixie"].is_ok() && found["sid"].is_err(),
        "{found:?}"
    );
}

#[tokio::test]
async fn the_real_fetcher_does_not_go_where_only_the_controller_can() {
    crate::install_crypto();
    let fetcher = HttpFetcher::new(
        &Access {
            user_agent: "test".into(),
            ..Default::default()
        },
        Budget::default(),
    )
    .unwrap();
    for url in [
        "http://127.0.0.1:1/",
        "http://[::1]:1/",
        "http://169.254.169.254/",
        "file:///etc/passwd",
    ] {
        let refused = fetcher
            .fetch(&Url::parse(url).unwrap(), 10, None)
            .await
            .unwrap_err();
        assert_eq!(refused.reason, Reason::InvalidSpec, "{url}: {refused}");
    }
    let refused = fetcher
        .fetch(&Url::parse("http://localhost:1/").unwrap(), 10, None)
        .await
        .unwrap_err();
    assert!(
        refused.message.contains("resolves to loopback"),
        "{refused}"
    );
    let proxy = Access {
        proxy: Some(Url::parse("http://127.0.0.1:3128/").unwrap()),
        ..Default::default()
    };
    assert_eq!(
        HttpFetcher::new(&proxy, Budget::default())
            .err()
            .map(|error| error.reason),
        Some(Reason::InvalidSpec)
    );
    let bundle = Access {
        ca_bundle: Some(b"no certificate".to_vec()),
        ..Default::default()
    };
    assert_eq!(
        HttpFetcher::new(&bundle, Budget::default())
            .err()
            .map(|error| error.reason),
        Some(Reason::CaBundleNotFound)
    );
}
