//! Keyrings, and what in them takes keys back.

use super::*;

#[test]
fn keyrings_come_in_several_forms() {
    let gpg = Gpg::new();
    let one = gpg.key("one@example.org", "ed25519", MADE_AT, "never");
    let two = gpg.key("two@example.org", "ed25519", MADE_AT, "never");
    let armoured = |name: &str| gpg.run(MADE_AT, &["--armor", "--export", name], b"");
    let several = [
        b"a comment\n".to_vec(),
        armoured(&one),
        b"\n".to_vec(),
        armoured(&two),
    ]
    .concat();
    let fingerprints: Vec<_> = Keyring::parse(&several)
        .unwrap()
        .keys(MADE_AT)
        .into_iter()
        .map(|key| key.fingerprint)
        .collect();
    assert_eq!(fingerprints, [one.clone(), two]);

    let error = |bytes: &[u8]| Keyring::parse(bytes).unwrap_err();
    assert_eq!(error(b""), KeyringError::Empty);
    assert_eq!(error(b"no keys here"), KeyringError::Empty);
    assert_eq!(
        error(&std::fs::read(gpg.home().join("pubring.kbx")).unwrap()),
        KeyringError::Keybox
    );
    assert_eq!(
        error(&gpg.run(MADE_AT, &["--export-secret-keys", &one], b"")),
        KeyringError::PrivateKey
    );
    assert_eq!(
        error(&gpg.run(MADE_AT, &["--armor", "--export-secret-keys", &one], b"")),
        KeyringError::PrivateKey
    );
    let binary = gpg.export(&[&one]);
    assert!(matches!(
        error(&binary[..binary.len() - 1]),
        KeyringError::Malformed(_)
    ));
    let cut = armoured(&one);
    assert!(matches!(
        error(&cut[..cut.len() - 40]),
        KeyringError::Armour(_)
    ));
}

/// This machine's own archive, where it has one: the keys that gpgv finds good are the ones that we find good.
#[test]
fn the_archive_keys_of_this_machine_are_understood() {
    let Ok(keys) = std::fs::read("/usr/share/keyrings/debian-archive-keyring.gpg") else {
        return;
    };
    let keyring = Keyring::parse(&keys).unwrap();
    assert!(
        keyring
            .keys(now())
            .iter()
            .any(|key| key.user_ids.iter().any(|id| id.contains("Debian Archive")))
    );
    let lists = std::fs::read_dir("/var/lib/apt/lists")
        .into_iter()
        .flatten()
        .flatten();
    for path in lists
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with("_InRelease"))
    {
        let Ok(bytes) = std::fs::read(&path) else {
            continue;
        };
        let good = Gpg::new()
            .gpgv(&keys, &bytes, None)
            .iter()
            .filter(|word| *word == "GOODSIG")
            .count();
        let ours = verify_cleartext(&bytes, &keyring, now());
        assert_eq!(
            ours.as_ref().map_or(0, |verified| verified.good.len()),
            good,
            "{path:?}: {ours:?}"
        );
    }
}

#[test]
fn a_revocation_counts_wherever_in_the_keyring_it_stands() {
    let gpg = Gpg::new();
    let key = gpg.key("revoked@example.org", "ed25519", MADE_AT, "never");
    let clear = gpg.clearsign(MADE_AT, &[&key], &[], TEXT);
    let before = gpg.export(&[&key]);
    gpg.revoke(&key);
    let after = gpg.export(&[&key]);
    // gpg writes the revocation behind the primary key, whose packet has a length of one octet.
    let primary = 2 + usize::from(before[1]);
    let revocation = &after[primary..primary + after.len() - before.len()];
    for keyring in [
        [&before[..], &after].concat(),
        [&after[..], &before].concat(),
        [&before[..], revocation].concat(),
    ] {
        let keyring = Keyring::parse(&keyring).unwrap();
        assert_eq!(
            reason(verify_cleartext(&clear, &keyring, now())),
            Reason::KeyRevoked
        );
    }
    let keyring = Keyring::parse(&before).unwrap();
    assert!(verify_cleartext(&clear, &keyring, now()).is_ok());
}
