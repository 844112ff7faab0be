use proptest::prelude::*;

use super::*;

fn reads_back(document: &Document) -> Result<(), TestCaseError> {
    let text = to_yaml(&[Commented {
        comment: "from somewhere\nelse".into(),
        document,
    }])
    .unwrap();
    let ours: Document =
        serde_saphyr::from_str(&text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
    prop_assert_eq!(&ours, document, "{}", text);
    let other: Document =
        serde_yaml::from_str(&text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
    prop_assert_eq!(&other, document, "{}", text);
    Ok(())
}

fn words() -> impl Strategy<Value = Vec<String>> {
    let word = prop_oneof![
        "[ -~]{1,20}",
        "(no|yes|on|off|null|~|1e3|0x1f|2026-01-01|trixie|12:30|\\./|=)",
        "\\PC{1,12}"
    ];
    proptest::collection::vec(word, 1..4)
}

proptest! {
    #[test]
    fn what_is_written_reads_back_the_same(suites in words(), components in words(), url in "https://[!-~]{1,40}", sources: bool) {
        let unit = suites.first().cloned().unwrap_or_default();
        let expired = vec![ExpiredUnit { unit, rule: "Allow".into() }];
        let include = sources.then_some(Include { sources, ..Include::default() });
        let slice = DebianBlock { suites, components, architectures: vec!["amd64".into()], include };
        reads_back(&Document::mirror("debian", MirrorDocument {
            upstream_ref: "debian".into(),
            mode: None,
            content: Content::Debian { debian: slice },
            guard: None,
            verification: sources.then_some(Verification { expired }),
            regions: vec!["no".into()],
        }))?;
        let keyring_ref = sources.then(|| KeyReference { kind: "Secret".into(), name: "a".into(), key: "keyring.gpg".into() });
        let access = Some(Access { credentials_ref: Some("a".into()), proxy_url: Some(url.clone()) });
        reads_back(&Document::upstream("debian", UpstreamDocument { upstream_type: "Debian".into(), authority: Address { url }, endpoints: Vec::new(), trust: TrustBlock { signatures: (!sources).then(|| "None".into()), keyring_ref, ..TrustBlock::default() }, access }))?;
    }

    #[test]
    fn secrets_read_back_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..400), password in "\\PC{0,30}") {
        reads_back(&Document::binary_secret("keys", "keyring.gpg", &bytes))?;
        reads_back(&Document::login_secret("login", "no", &password, "example.org"))?;
    }
}
