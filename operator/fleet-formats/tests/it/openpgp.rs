//! Verdicts on signatures that gpg made; where gpgv is comparable, we agree with it or are stricter.

use fleet_formats::openpgp::{
    Keyring, KeyringError, VerifiedPayload, verify_cleartext, verify_detached,
};
use fleet_formats::seam::Rejected;
use fleet_types::Reason;
use pgp::composed::{Deserializable, SignedPublicKey};
use pgp::ser::Serialize;

use crate::gpg::{DAY, Gpg, MADE_AT, now};

mod keyrings;

const TEXT: &[u8] =
    b"Suite: stable\nSHA256:\n - a dash\n-leading dash\nblanks at the end  \t\nlast\n";

fn reason(result: Result<VerifiedPayload, Rejected>) -> Reason {
    result.expect_err("must be refused").reason
}

#[test]
fn good_signatures_are_good_in_every_form() {
    let gpg = Gpg::new();
    let ed = gpg.key("ed@example.org", "ed25519", MADE_AT, "never");
    let rsa = gpg.key("rsa@example.org", "rsa2048", MADE_AT, "never");
    let sub = gpg.subkey(&rsa, "rsa2048", MADE_AT, "never");
    let keyring = gpg.keyring(&[]);
    for (signer, primary) in [
        (ed.as_str(), &ed),
        (&format!("{sub}!"), &rsa),
        (&format!("{rsa}!"), &rsa),
    ] {
        let clear = gpg.clearsign(MADE_AT, &[signer], &[], TEXT);
        let verified = verify_cleartext(&clear, &keyring, MADE_AT).unwrap();
        assert_eq!(verified.good, std::slice::from_ref(primary));
        let expected = String::from_utf8_lossy(TEXT).replace("end  \t", "end");
        assert_eq!(String::from_utf8_lossy(&verified.payload), expected);
        assert_eq!(gpg.gpgv(&gpg.export(&[]), &clear, None), ["GOODSIG"]);
        for options in [&[][..], &["--textmode"]] {
            let signature = gpg.detached(MADE_AT, &[signer], options, TEXT);
            let verified = verify_detached(TEXT, &signature, &keyring, MADE_AT).unwrap();
            assert_eq!(
                (verified.good, verified.payload.as_slice()),
                (vec![primary.clone()], TEXT)
            );
        }
    }
}

#[test]
fn a_tampered_payload_is_a_bad_signature_even_beside_a_good_one() {
    let gpg = Gpg::new();
    let one = gpg.key("one@example.org", "ed25519", MADE_AT, "never");
    let two = gpg.key("two@example.org", "ed25519", MADE_AT, "never");
    let keyring = gpg.keyring(&[]);
    let clear = gpg.clearsign(MADE_AT, &[&one], &[], TEXT);
    let tampered = String::from_utf8(clear)
        .unwrap()
        .replace("stable", "stale!")
        .into_bytes();
    assert_eq!(
        reason(verify_cleartext(&tampered, &keyring, MADE_AT)),
        Reason::SignatureBad
    );
    assert_eq!(gpg.gpgv(&gpg.export(&[]), &tampered, None), ["BADSIG"]);

    let mut both = gpg.detached(MADE_AT, &[&one], &[], TEXT);
    assert!(verify_detached(TEXT, &both, &keyring, MADE_AT).is_ok());
    both.extend(gpg.detached(MADE_AT, &[&two], &[], b"something else"));
    assert_eq!(
        reason(verify_detached(TEXT, &both, &keyring, MADE_AT)),
        Reason::SignatureBad
    );
}

#[test]
fn several_signers_are_counted_by_primary_key() {
    let gpg = Gpg::new();
    let one = gpg.key("one@example.org", "ed25519", MADE_AT, "never");
    let sub = gpg.subkey(&one, "ed25519", MADE_AT, "never");
    let two = gpg.key("two@example.org", "rsa3072", MADE_AT, "never");
    let signers = [format!("{one}!"), format!("{sub}!"), two.clone()];
    let signers: Vec<_> = signers.iter().map(String::as_str).collect();
    let clear = gpg.clearsign(MADE_AT, &signers, &[], TEXT);
    let mut expected = [one.clone(), two];
    expected.sort();
    assert_eq!(
        verify_cleartext(&clear, &gpg.keyring(&[]), MADE_AT)
            .unwrap()
            .good,
        expected
    );
    let partly = verify_cleartext(&clear, &gpg.keyring(&[&one]), MADE_AT).unwrap();
    assert_eq!(partly.good, [one]);
    assert_eq!(
        partly
            .problems
            .iter()
            .map(|problem| problem.reason)
            .collect::<Vec<_>>(),
        [Reason::KeyUnknown]
    );
}

#[test]
fn strangers_and_missing_signatures_are_told_apart() {
    let gpg = Gpg::new();
    let known = gpg.key("known@example.org", "ed25519", MADE_AT, "never");
    let stranger = gpg.key("stranger@example.org", "ed25519", MADE_AT, "never");
    let keyring = gpg.keyring(&[&known]);
    let clear = gpg.clearsign(MADE_AT, &[&stranger], &[], TEXT);
    let refused = verify_cleartext(&clear, &keyring, MADE_AT).unwrap_err();
    assert_eq!(refused.reason, Reason::KeyUnknown);
    assert!(refused.message.contains(&stranger), "{refused}");
    assert_eq!(
        gpg.gpgv(&gpg.export(&[&known]), &clear, None),
        ["ERRSIG", "NO_PUBKEY"]
    );
    assert_eq!(
        reason(verify_cleartext(TEXT, &keyring, MADE_AT)),
        Reason::SignatureMissing
    );
    assert_eq!(
        reason(verify_detached(TEXT, b"", &keyring, MADE_AT)),
        Reason::SignatureMissing
    );
}

#[test]
fn keys_past_their_time_do_not_count_whenever_the_signature_was_made() {
    let gpg = Gpg::new();
    let primary = gpg.key("short@example.org", "ed25519", MADE_AT, "30d");
    let lasting = gpg.key("lasting@example.org", "ed25519", MADE_AT, "never");
    let sub = gpg.subkey(&lasting, "ed25519", MADE_AT, "30d");
    let keyring = gpg.keyring(&[]);
    let by_lasting = gpg.clearsign(MADE_AT, &[&format!("{lasting}!")], &[], TEXT);
    let verified = verify_cleartext(&by_lasting, &keyring, MADE_AT).unwrap();
    assert_eq!(verified.good_until, [i64::MAX], "its subkey did not sign");
    for signer in [format!("{primary}!"), format!("{sub}!")] {
        let clear = gpg.clearsign(MADE_AT, &[&signer], &[], TEXT);
        let verified = verify_cleartext(&clear, &keyring, MADE_AT + 30 * DAY - 1).unwrap();
        assert_eq!(verified.good_until, [MADE_AT + 30 * DAY]);
        assert_eq!(
            reason(verify_cleartext(&clear, &keyring, MADE_AT + 30 * DAY)),
            Reason::KeyExpired
        );
        assert_eq!(gpg.gpgv(&gpg.export(&[]), &clear, None), ["EXPKEYSIG"]);
        assert_eq!(
            reason(verify_cleartext(&clear, &keyring, now())),
            Reason::KeyExpired
        );
    }
    let keys = keyring.keys(MADE_AT);
    let short = keys.iter().find(|key| key.fingerprint == primary).unwrap();
    assert_eq!(
        (short.created, short.expires, short.revoked),
        (MADE_AT, Some(MADE_AT + 30 * DAY), false)
    );
    assert_eq!(short.user_ids, ["short@example.org"]);
    assert_eq!(
        keys.iter()
            .find(|key| key.fingerprint == lasting)
            .unwrap()
            .expires,
        None
    );

    gpg.run(
        MADE_AT + DAY,
        &["--quick-set-expire", &primary, "1000d"],
        b"",
    );
    let clear = gpg.clearsign(MADE_AT, &[&primary], &[], TEXT);
    assert!(
        verify_cleartext(&clear, &gpg.keyring(&[]), MADE_AT + 100 * DAY).is_ok(),
        "the newer expiry counts"
    );
}

#[test]
fn revoked_keys_do_not_count() {
    let gpg = Gpg::new();
    let primary = gpg.key("revoked@example.org", "ed25519", MADE_AT, "never");
    let lasting = gpg.key("lasting@example.org", "ed25519", MADE_AT, "never");
    let sub = gpg.subkey(&lasting, "ed25519", MADE_AT, "never");
    let by_primary = gpg.clearsign(MADE_AT, &[&primary], &[], TEXT);
    let by_sub = gpg.clearsign(MADE_AT, &[&format!("{sub}!")], &[], TEXT);
    gpg.revoke(&primary);
    let commands = b"key 1\nrevkey\ny\n0\n\ny\nsave\n";
    gpg.run(
        MADE_AT + DAY,
        &["--command-fd=0", "--edit-key", &lasting],
        commands,
    );
    let keyring = gpg.keyring(&[]);
    for signed in [&by_primary, &by_sub] {
        assert_eq!(
            reason(verify_cleartext(signed, &keyring, MADE_AT + 2 * DAY)),
            Reason::KeyRevoked
        );
        assert_eq!(gpg.gpgv(&gpg.export(&[]), signed, None), ["REVKEYSIG"]);
    }
    let by_lasting = gpg.clearsign(MADE_AT, &[&format!("{lasting}!")], &[], TEXT);
    assert!(
        verify_cleartext(&by_lasting, &keyring, MADE_AT + 2 * DAY).is_ok(),
        "only the subkey is revoked"
    );
    let revoked: Vec<_> = keyring
        .keys(MADE_AT)
        .into_iter()
        .filter(|key| key.revoked)
        .map(|key| key.fingerprint)
        .collect();
    assert_eq!(revoked, [primary]);
}

#[test]
fn signatures_are_judged_by_their_own_times() {
    let gpg = Gpg::new();
    let key = gpg.key("times@example.org", "ed25519", MADE_AT, "never");
    let keyring = gpg.keyring(&[]);
    let clear = gpg.clearsign(MADE_AT + DAY, &[&key], &["--default-sig-expire=7d"], TEXT);
    assert!(verify_cleartext(&clear, &keyring, MADE_AT + 8 * DAY - 1).is_ok());
    assert_eq!(
        reason(verify_cleartext(&clear, &keyring, MADE_AT + 8 * DAY)),
        Reason::SignatureExpired
    );
    assert_eq!(gpg.gpgv(&gpg.export(&[]), &clear, None), ["EXPSIG"]);
    assert!(
        verify_cleartext(&clear, &keyring, MADE_AT + DAY - 10).is_ok(),
        "ten seconds are tolerated"
    );
    let early = verify_cleartext(&clear, &keyring, MADE_AT + DAY - 11).unwrap_err();
    assert!(early.message.contains("future"), "{early}");
}

#[test]
fn weak_digests_and_keys_are_too_weak() {
    let gpg = Gpg::new();
    let ed = gpg.key("ed@example.org", "ed25519", MADE_AT, "never");
    let rsa = gpg.key("rsa@example.org", "rsa1024", MADE_AT, "never");
    let dsa = gpg.key("dsa@example.org", "dsa2048", MADE_AT, "never");
    let keyring = gpg.keyring(&[]);
    let sha1 = gpg.clearsign(MADE_AT, &[&ed], &["--digest-algo=SHA1"], TEXT);
    assert_eq!(gpg.gpgv(&gpg.export(&[]), &sha1, None), ["ERRSIG"]);
    let short = gpg.clearsign(MADE_AT, &[&rsa], &["--digest-algo=SHA256"], TEXT);
    let dsa = gpg.clearsign(MADE_AT, &[&dsa], &["--digest-algo=SHA256"], TEXT);
    for signed in [sha1, short, dsa] {
        assert_eq!(
            reason(verify_cleartext(&signed, &keyring, MADE_AT)),
            Reason::SignatureTooWeak
        );
    }
}

#[test]
fn a_subkey_counts_only_with_a_binding_and_its_own_consent() {
    let gpg = Gpg::new();
    let owner = gpg.key("owner@example.org", "ed25519", MADE_AT, "never");
    let sub = gpg.subkey(&owner, "ed25519", MADE_AT, "never");
    let thief = gpg.key("thief@example.org", "ed25519", MADE_AT, "never");
    let clear = gpg.clearsign(MADE_AT, &[&format!("{sub}!")], &[], TEXT);
    let certificate =
        |name: &str| SignedPublicKey::from_bytes(gpg.export(&[name]).as_slice()).unwrap();
    let verdict = |certificate: &SignedPublicKey| {
        let keyring = Keyring::parse(&certificate.to_bytes().unwrap()).unwrap();
        verify_cleartext(&clear, &keyring, MADE_AT)
    };
    assert_eq!(
        verdict(&certificate(&owner)).unwrap().good,
        std::slice::from_ref(&owner)
    );

    let mut adopted = certificate(&thief);
    adopted.public_subkeys = certificate(&owner).public_subkeys;
    assert_eq!(reason(verdict(&adopted)), Reason::KeyUnknown);

    let mut without_consent = certificate(&owner);
    let binding = &mut without_consent.public_subkeys[0].signatures[0];
    let unhashed = binding.config().unwrap().unhashed_subpackets().count();
    (0..unhashed).for_each(|_| drop(binding.unhashed_subpacket_remove(0).unwrap()));
    assert!(binding.embedded_signature().is_none());
    let refused = verdict(&without_consent).unwrap_err();
    assert!(refused.message.contains("back-signature"), "{refused}");
    let stripped = without_consent.to_bytes().unwrap();
    assert_ne!(gpg.gpgv(&stripped, &clear, None), ["GOODSIG"]);
}

#[test]
fn a_primary_key_that_only_certifies_does_not_sign_data() {
    let gpg = Gpg::new();
    gpg.run(
        MADE_AT,
        &[
            "--quick-generate-key",
            "ca@example.org",
            "ed25519",
            "sign",
            "never",
        ],
        b"",
    );
    let key = gpg.fingerprint("ca@example.org");
    let clear = gpg.clearsign(MADE_AT, &[&key], &[], TEXT);
    gpg.run(
        MADE_AT + DAY,
        &["--command-fd=0", "--edit-key", &key],
        b"change-usage\nS\nQ\nsave\n",
    );
    let refused = verify_cleartext(&clear, &gpg.keyring(&[]), MADE_AT + 2 * DAY).unwrap_err();
    assert_eq!(refused.reason, Reason::KeyUnknown);
    assert!(
        refused.message.contains("not meant for signing"),
        "{refused}"
    );
}

#[test]
fn only_one_signed_block_and_nothing_outside_it() {
    let gpg = Gpg::new();
    let key = gpg.key("one@example.org", "ed25519", MADE_AT, "never");
    let keyring = gpg.keyring(&[]);
    let clear = String::from_utf8(gpg.clearsign(MADE_AT, &[&key], &[], TEXT)).unwrap();
    let verdict = |text: &str| verify_cleartext(text.as_bytes(), &keyring, MADE_AT);
    assert!(verdict(clear.trim_end()).is_ok());
    assert_eq!(
        verdict(&clear.replace('\n', "\r\n")).unwrap().payload,
        verdict(&clear).unwrap().payload
    );
    for forged in [
        format!("\n{clear}"),
        format!("{clear}\n"),
        format!("{clear}{clear}"),
        format!("{clear}Suite: other\n"),
        clear.replacen("Suite", "-Suite", 1),
        clear.replacen("Hash: ", "Comment: ", 1),
        clear.replacen("-----BEGIN PGP SIGNATURE", "-----BEGIN PGP MESSAGE", 1),
        clear.replacen("stable", "sta\rble", 1),
        clear[..clear.len() - 20].to_owned(),
    ] {
        assert_eq!(reason(verdict(&forged)), Reason::IndexMalformed, "{forged}");
    }
    assert_eq!(
        reason(verdict(&format!("Suite: other\n{clear}"))),
        Reason::SignatureMissing
    );
}
