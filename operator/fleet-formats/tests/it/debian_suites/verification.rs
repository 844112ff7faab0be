//! A suite introduces itself by its name, moves forward in time, and is named by strong digests.

use fleet_api::mirror::DebianReleaseName;
use fleet_formats::seam::AllowedState;
use fleet_types::Accepted;

use super::*;

#[test]
fn a_suite_must_introduce_itself_by_the_declared_name() {
    let named = |suite: &str, own: &str, codename: &str| {
        let head = HEAD
            .replace("Suite: stable", &format!("Suite: {own}"))
            .replace("trixie", codename);
        verify_text(suite, &release(&head, &FILES))
            .map(drop)
            .map_err(|rejected| rejected.reason)
    };
    let mismatch = Err(Reason::SuiteMismatch);
    assert_eq!(named("stable", "stable", "trixie"), Ok(()));
    assert_eq!(named("trixie", "stable", "trixie"), Ok(()));
    assert_eq!(
        named(
            "bookworm-security",
            "oldstable-security",
            "bookworm-security"
        ),
        Ok(())
    );
    assert_eq!(named("bookworm/updates", "oldstable", "bookworm"), Ok(()));
    assert_eq!(named("noble", "noble", "noble"), Ok(()));
    assert_eq!(named("sid", "stable", "trixie"), mismatch);
    assert_eq!(
        named("stable", "stable-updates", "trixie-updates"),
        mismatch
    );
    assert_eq!(
        named("noble", "noble-updates", "noble"),
        mismatch,
        "a pocket shares its code name"
    );
    let flat = |suite: &str, head: &str| {
        verify_text(suite, &release(head, &["Packages"]))
            .map(drop)
            .map_err(|bad| bad.reason)
    };
    let nameless = "Date: Sat, 07 Jun 2025 10:12:13 UTC\n";
    assert_eq!(
        (
            flat("./", nameless),
            flat("./", HEAD),
            flat("tools/", nameless)
        ),
        (Ok(()), Ok(()), Ok(()))
    );
    assert_eq!(flat("tools/", HEAD), mismatch);
    assert_eq!(
        verify_text("stable", &release(nameless, &FILES))
            .unwrap_err()
            .reason,
        Reason::SuiteMismatch
    );
}

#[test]
fn time_only_moves_forward() {
    let text = release(HEAD, &FILES);
    let trust = Trust::nothing_is_judged();
    let roots = [root("dists/stable/Release", text.clone())];
    let check = |context: &VerifyContext<'_>| {
        verify(slice("stable", DebianInclude::default()), &roots, context)
            .map(|index| index.revision)
            .map_err(|bad| bad.reason)
    };
    let known = check(&context(&trust)).unwrap();
    let at = |now| {
        check(&VerifyContext {
            now,
            ..context(&trust)
        })
    };
    assert!(at(DATE - 10).is_ok() && at(DATE + 7 * DAY).is_ok());
    assert_eq!(at(DATE - 11), Err(Reason::IndexFromFuture));
    assert_eq!(at(DATE + 7 * DAY + 1), Err(Reason::IndexExpired));

    let against = |high: &UnitRevision, allowed: &[Reason]| {
        let allowances = Allowances {
            states: vec![AllowedState {
                digest: known.digest,
                reasons: allowed.to_vec(),
            }],
            expired: false,
        };
        let accepted = Accepted::from(high.clone());
        check(&VerifyContext {
            accepted: Some(&accepted),
            allowances: &allowances,
            ..context(&trust)
        })
        .map(drop)
    };
    let newer = UnitRevision {
        date: DATE + 1,
        ..known.clone()
    };
    let other = UnitRevision {
        digest: fleet_types::Sha256([1; 32]),
        ..known.clone()
    };
    let older = UnitRevision {
        date: DATE - 1,
        ..other.clone()
    };
    use Reason::{Equivocation, RollbackDetected};
    assert_eq!(against(&known, &[]), Ok(()));
    assert_eq!(against(&older, &[]), Ok(()));
    assert_eq!(against(&newer, &[]), Err(RollbackDetected));
    assert_eq!(against(&newer, &[Equivocation]), Err(RollbackDetected));
    assert_eq!(against(&newer, &[RollbackDetected]), Ok(()));
    assert_eq!(against(&other, &[]), Err(Equivocation));
    assert_eq!(against(&other, &[Equivocation]), Ok(()));

    let aged = Trust {
        max_index_age: Some(DAY),
        ..Trust::nothing_is_judged()
    };
    let head = HEAD.replace("Valid-Until", "X-Valid-Until");
    let roots = [root("dists/stable/Release", release(&head, &FILES))];
    let late = VerifyContext {
        now: DATE + DAY + 1,
        ..context(&aged)
    };
    let expired = verify(slice("stable", DebianInclude::default()), &roots, &late).unwrap_err();
    assert_eq!(expired.reason, Reason::IndexExpired);
}

#[test]
fn what_clients_need_must_be_listed_with_strong_digests() {
    let reason = |text: &str| verify_text("stable", text).unwrap_err().reason;
    let weak = release(HEAD, &FILES);
    let weak = weak.split_once("SHA256:").unwrap().0;
    assert_eq!(reason(weak), Reason::WeakHash);
    let more = |line: &str| format!("{}{line}", release(HEAD, &FILES));
    let twice = more(&format!(" {A} 8 main/binary-amd64/Packages\n"));
    let taken = verify_text("stable", &twice).unwrap();
    let notes = taken.notes.join("; ");
    assert!(notes.contains("what stands first counts"), "{notes}");
    let first = verify_text("stable", &release(HEAD, &FILES)).unwrap();
    assert_eq!(taken.groups, first.groups);
    let late = format!("\n\n{}", more(""));
    assert_eq!(reason(&late), Reason::IndexMalformed);
    let three_words = more(&format!(" {A} main/x\n"));
    for broken in ["", "no field", &three_words] {
        assert_eq!(reason(broken), Reason::IndexMalformed, "{broken}");
    }
    let only = |line: &str| {
        let one = release(HEAD, &["main/binary-amd64/Packages.xz"]);
        one.replace(&format!(" {A} 7 main"), line)
    };
    for unusable in [
        format!(" {} 7 main", A.to_uppercase()),
        " abc 7 main".to_owned(),
        format!(" {A} 7x main"),
    ] {
        assert_eq!(
            reason(&only(&unusable)),
            Reason::IndexMalformed,
            "{unusable}"
        );
    }
}

#[test]
fn who_needs_a_date_refuses_a_release_without_one() {
    let signed = Trust {
        signatures: SignaturePolicy::Optional,
        ..Trust::nothing_is_judged()
    };
    let reason = |head: &str| {
        let roots = [root("dists/stable/Release", release(head, &FILES))];
        let verified = verify(
            slice("stable", DebianInclude::default()),
            &roots,
            &context(&signed),
        );
        verified.map(drop).map_err(|rejected| rejected.reason)
    };
    assert_eq!(reason(HEAD), Ok(()));
    let dateless = HEAD.replace("Date: Sat", "Day: Sat");
    assert_eq!(reason(&dateless), Err(Reason::IndexMalformed));
    let no_date = HEAD.replace("Date: Sat, 07", "Date: Sat, 77");
    assert_eq!(reason(&no_date), Err(Reason::IndexMalformed));
}

/// As apt 2.6 was seen to do.
#[test]
fn what_nobody_needs_can_refuse_nothing() {
    let more = |line: &str| {
        let text = format!("{}{line}", release(HEAD, &FILES));
        verify_text("stable", &text).unwrap()
    };
    let plain = stems(&more("")).len();
    for line in [
        format!(" {A} 7 ../../pool/x\n"),
        format!(" {A} 7 /etc/passwd\n"),
        format!(" {A} 7 contrib/a//b\n"),
        " abc 7 main/source/Sources\n".to_owned(),
        format!(" {A} 7x main/other\n"),
        format!(" {A} 8 contrib/binary-amd64/Packages.xz\n"),
        format!(" {A} 99999999999999 main/other\n"),
        "\nSuite: other\nDate: never\n".to_owned(),
    ] {
        assert_eq!(stems(&more(&line)).len(), plain, "{line}");
    }
    let stray = release(
        &HEAD.replace("Components", "Version 1.0\nComponents"),
        &FILES,
    );
    let index = verify_text("stable", &stray).unwrap();
    assert_eq!(stems(&index).len(), plain);
    assert!(
        index.notes.concat().contains("Version 1.0"),
        "{:?}",
        index.notes
    );
    // apt looks for its own spelling.
    let dotted = release(HEAD, &["./main/binary-amd64/Packages.xz"]);
    let index = verify_text("stable", &dotted).unwrap();
    assert!(index.groups.is_empty(), "{index:?}");
}

/// apt passes over the dates of what nobody signed.
#[test]
fn dates_of_a_signed_release_must_be_there_and_be_read() {
    let gpg = Gpg::new();
    let key = gpg.key("archive@example.org", "ed25519", MADE_AT, "never");
    let trust = Trust {
        keyring: Some(gpg.keyring(&[])),
        signatures: SignaturePolicy::Required,
        ..Trust::nothing_is_judged()
    };
    let judged = |head: &str, trust: &Trust| {
        let text = release(head, &FILES);
        let roots = match trust.signatures {
            SignaturePolicy::None => root("dists/stable/Release", text),
            _ => root(
                "dists/stable/InRelease",
                gpg.clearsign(MADE_AT, &[&key], &[], text.as_bytes()),
            ),
        };
        verify(
            slice("stable", DebianInclude::default()),
            &[roots],
            &context(trust),
        )
    };
    let date = "Date: Sat, 07 Jun 2025 10:12:13 UTC\n";
    for bad in ["", "Date: Sat, 77 Jun 2025 10:12:13 UTC\n", "Date: soon\n"] {
        let head = HEAD.replacen(date, bad, 1);
        let refused = judged(&head, &trust).unwrap_err();
        assert_eq!(refused.reason, Reason::IndexMalformed, "{head}");
        assert_eq!(
            judged(&head, &Trust::nothing_is_judged())
                .unwrap()
                .revision
                .date,
            0,
            "{head}"
        );
    }
    let offset = HEAD.replacen("10:12:13 UTC", "12:12:13 +0200", 1);
    let index = judged(&offset, &trust).unwrap();
    assert_eq!(index.revision.date, DATE);
    assert!(
        index.notes[0].contains("not in a form that apt reads"),
        "{index:?}"
    );
    assert!(judged(HEAD, &trust).unwrap().notes.is_empty());

    let until = "Valid-Until: Sat, 14 Jun 2025 10:12:13 UTC";
    for bad in [
        "Valid-Until: never",
        "Valid-Until: Sat, 14 Jun 2025 10:12:13 +0200",
    ] {
        let head = HEAD.replacen(until, bad, 1);
        let refused = judged(&head, &trust).unwrap_err();
        assert_eq!(refused.reason, Reason::IndexMalformed, "{head}");
        assert!(refused.message.contains("apt refuses it too"), "{refused}");
        assert_eq!(
            judged(&head, &Trust::nothing_is_judged())
                .unwrap()
                .revision
                .valid_until,
            None
        );
    }
}

#[test]
fn a_release_may_bear_the_name_that_the_manifest_expects() {
    let named = |suite: &str, head: &str, expected: &str| {
        let path = match suite.strip_suffix('/') {
            Some(folder) => format!("{folder}/Release"),
            None => format!("dists/{suite}/Release"),
        };
        let files: &[&str] = if suite.ends_with('/') {
            &["Packages"]
        } else {
            &FILES
        };
        let slice = DebianContent {
            release_names: vec![DebianReleaseName {
                suite: suite.to_owned(),
                name: expected.to_owned(),
            }],
            ..slice(suite, DebianInclude::default())
        };
        verify(
            slice,
            &[root(&path, release(head, files))],
            &context(&Trust::nothing_is_judged()),
        )
        .map(|index| index.notes.len())
        .map_err(|rejected| rejected.reason)
    };
    let names = |suite: &str, codename: &str| {
        let head = HEAD.replace("Suite: stable\n", suite);
        head.replace("Codename: trixie\n", codename)
    };
    let bionic = names("Suite: bionic\n", "Codename: bionic\n");
    assert_eq!(
        named("bionic/snapshots/5.12", &bionic, "bionic"),
        Ok(1),
        "apt warns"
    );
    assert_eq!(named("all", &names("", ""), ""), Ok(1));
    assert_eq!(
        named("repo/", &names("Suite: stretch\n", ""), "stretch"),
        Ok(1)
    );
    assert_eq!(named("stable", HEAD, "stable"), Ok(0));
    let mismatch = Err(Reason::SuiteMismatch);
    assert_eq!(named("all", HEAD, ""), mismatch);
    assert_eq!(named("all", HEAD, "bookworm"), mismatch);
    assert_eq!(
        named("trixie", HEAD, "bookworm"),
        mismatch,
        "the field decides alone"
    );
    let pocket = names("Suite: noble-updates\n", "Codename: noble\n");
    assert_eq!(
        named("x", &pocket, "noble"),
        mismatch,
        "a pocket shares its code name"
    );
}

#[test]
fn what_is_only_read_says_the_same_whoever_made_it_and_whenever() {
    let roots = [root("dists/stable/Release", release(HEAD, &FILES))];
    let debian = Debian::new(slice("stable", DebianInclude::default())).unwrap();
    let trust = Trust::nothing_is_judged();
    let late = VerifyContext {
        now: DATE + 365 * DAY,
        ..context(&trust)
    };
    let refused = debian.verify("stable", &roots, &late).unwrap_err();
    assert_eq!(refused.reason, Reason::IndexExpired);
    let read = debian.read("stable", &roots).unwrap();
    let verified = debian.verify("stable", &roots, &context(&trust));
    let verified = verified.unwrap();
    assert_eq!(read.revision, verified.revision);
    assert_eq!(
        (&read.groups, &read.roots),
        (&verified.groups, &verified.roots)
    );
    assert_eq!(read.allowed, []);
    let other = HEAD.replace("stable", "sid").replace("trixie", "sid");
    let other = [root("dists/stable/Release", release(&other, &FILES))];
    let refused = debian.read("stable", &other).unwrap_err();
    assert_eq!(refused.reason, Reason::SuiteMismatch);
}
