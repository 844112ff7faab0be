//! Who must have signed a suite, and which of its root files speak.

use super::*;

fn signed(keyring: Keyring, min_good_signatures: u32) -> Trust {
    Trust {
        keyring: Some(keyring),
        signatures: SignaturePolicy::Required,
        min_good_signatures,
        ..Trust::nothing_is_judged()
    }
}

#[test]
fn signatures_and_the_pair_of_release_files() {
    let gpg = Gpg::new();
    let key = gpg.key("archive@example.org", "ed25519", MADE_AT, "never");
    let text = release(HEAD, &FILES);
    let in_release = root(
        "dists/stable/InRelease",
        gpg.clearsign(MADE_AT, &[&key], &[], text.as_bytes()),
    );
    let plain = root("dists/stable/Release", text.clone());
    let detached = root(
        "dists/stable/Release.gpg",
        gpg.detached(MADE_AT, &[&key], &["--armor"], text.as_bytes()),
    );
    let check_in = |roots: &[&RootContent], context: &VerifyContext<'_>| {
        let roots: Vec<_> = roots.iter().map(|root| (*root).clone()).collect();
        verify(slice("stable", DebianInclude::default()), &roots, context)
    };
    let check = |roots: &[&RootContent], trust: &Trust| check_in(roots, &context(trust));
    let required = signed(gpg.keyring(&[]), 1);
    let all = check(&[&in_release, &plain, &detached], &required).unwrap();
    assert_eq!(
        (all.roots.len(), all.signed_by.as_slice()),
        (3, &[key.clone()][..])
    );
    let pair = check(&[&plain, &detached], &required).unwrap();
    let single = check(&[&in_release], &required).unwrap();
    assert!(
        pair.revision == all.revision && single.revision == all.revision,
        "one state, however it is signed"
    );
    assert_eq!((pair.roots.len(), single.roots.len()), (2, 1));

    let reason = |roots: &[&RootContent], trust: &Trust| check(roots, trust).unwrap_err().reason;
    let other = root("dists/stable/Release", text.replace("contrib", "nothing"));
    // What nobody signed decides about nothing.
    let without = check(&[&in_release, &other], &required).unwrap();
    assert_eq!((without.roots.len(), without.notes.len()), (1, 1));
    assert_eq!(
        reason(&[&other, &detached], &required),
        Reason::SignatureBad
    );
    let forged = root(
        "dists/stable/Release.gpg",
        gpg.detached(MADE_AT, &[&key], &[], b"else"),
    );
    let misfit = [&in_release, &plain, &forged];
    assert_eq!(reason(&misfit, &required), Reason::ReleasePairMismatch);
    let settled = VerifyContext {
        settled: true,
        ..context(&required)
    };
    let without = check_in(&misfit, &settled).unwrap();
    assert_eq!((without.roots.len(), without.notes.len()), (2, 1));
    let of_other = root(
        "dists/stable/Release.gpg",
        gpg.detached(MADE_AT, &[&key], &[], &other.bytes().unwrap()),
    );
    assert_eq!(
        check_in(&[&in_release, &other, &of_other], &settled)
            .unwrap_err()
            .reason,
        Reason::ReleasePairMismatch
    );
    assert_eq!(reason(&[&plain], &required), Reason::SignatureMissing);
    assert_eq!(reason(&[], &required), Reason::UpstreamIncomplete);
    assert_eq!(
        reason(&[&in_release], &signed(gpg.keyring(&[]), 2)),
        Reason::TooFewSignatures
    );
    let no_keyring = Trust {
        keyring: None,
        ..required.clone()
    };
    assert_eq!(reason(&[&in_release], &no_keyring), Reason::KeyringNotFound);

    let optional = Trust {
        signatures: SignaturePolicy::Optional,
        ..required
    };
    assert!(check(&[&plain], &optional).unwrap().signed_by.is_empty());
    assert_eq!(
        reason(&[&other, &detached], &optional),
        Reason::SignatureBad
    );
    let ignored = Trust {
        signatures: SignaturePolicy::None,
        ..optional
    };
    assert!(check(&[&other, &forged], &ignored).is_ok());
    assert_eq!(
        check(&[&in_release], &ignored).unwrap().revision,
        all.revision
    );
}

#[test]
fn how_long_a_suite_is_vouched_for_is_up_to_the_last_key_that_is_needed() {
    let gpg = Gpg::new();
    let lifetimes = ["1000d", "2000d", "never"];
    let key = |lifetime: &&str| {
        gpg.key(
            &format!("{lifetime}@example.org"),
            "ed25519",
            MADE_AT,
            lifetime,
        )
    };
    let keys: Vec<String> = lifetimes.iter().map(key).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let text = release(HEAD, &FILES);
    let by_all = gpg.clearsign(MADE_AT, &keys, &[], text.as_bytes());
    let roots = [root("dists/stable/InRelease", by_all)];
    let until = |trust: &Trust| {
        let slice = slice("stable", DebianInclude::default());
        verify(slice, &roots, &context(trust))
            .unwrap()
            .vouched_until
    };
    let of_all = |needed| signed(gpg.keyring(&[]), needed);
    assert_eq!(until(&of_all(1)), None, "one never expires");
    assert_eq!(until(&of_all(2)), Some(MADE_AT + 2000 * DAY));
    assert_eq!(until(&of_all(3)), Some(MADE_AT + 1000 * DAY));
    let known = signed(gpg.keyring(&keys[..2]), 1);
    assert_eq!(
        until(&known),
        Some(MADE_AT + 2000 * DAY),
        "a stranger does not count"
    );
}

#[test]
fn during_a_key_rollover_one_good_signature_is_enough_unless_all_are_asked_for() {
    let gpg = Gpg::new();
    let old = gpg.key("old@example.org", "ed25519", MADE_AT, "never");
    let new = gpg.key("new@example.org", "ed25519", MADE_AT, "never");
    let text = release(HEAD, &FILES);
    let both = gpg.clearsign(MADE_AT, &[&old, &new], &[], text.as_bytes());
    let one = gpg.clearsign(MADE_AT, &[&old], &[], text.as_bytes());
    let check = |bytes: &[u8], trust: &Trust| {
        let roots = [root("dists/stable/InRelease", bytes)];
        verify(
            slice("stable", DebianInclude::default()),
            &roots,
            &context(trust),
        )
        .map(|index| index.signed_by.len())
        .map_err(|rejected| (rejected.reason, rejected.message))
    };
    let any = |names: &[&str]| signed(gpg.keyring(names), 1);
    let all = |names: &[&str]| Trust {
        all_signatures_good: true,
        ..any(names)
    };
    for names in [&[old.as_str()][..], &[new.as_str()]] {
        assert_eq!(check(&both, &any(names)), Ok(1));
        let (reason, message) = check(&both, &all(names)).unwrap_err();
        assert_eq!(reason, Reason::KeyUnknown);
        assert!(message.contains("trust.allSignaturesGood"), "{message}");
    }
    assert_eq!(check(&both, &all(&[])), Ok(2));
    assert_eq!(check(&one, &all(&[])), Ok(1), "all that there are");
    gpg.revoke(&old);
    assert_eq!(check(&both, &any(&[])), Ok(1));
    assert_eq!(
        check(&both, &all(&[])).unwrap_err().0,
        Reason::KeyRevoked,
        "the reason is the one of the signature"
    );
}
