//! A suite introduces itself by its name, moves forward in time, and is named by strong digests.

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
    let trust = unsigned();
    let roots = [root("dists/stable/Release", text.clone())];
    let check = |context: &VerifyContext<'_>| {
        verify(slice("stable", Include::default()), &roots, context)
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

    let against = |high: &UnitRevision, allow_rollback| {
        check(&VerifyContext {
            high_water: Some(high),
            allow_rollback,
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
    assert_eq!(against(&known, false), Ok(()));
    assert_eq!(against(&older, false), Ok(()));
    assert_eq!(against(&newer, false), Err(Reason::RollbackDetected));
    assert_eq!(against(&newer, true), Ok(()));
    assert_eq!(against(&other, false), Err(Reason::Equivocation));

    let aged = Trust {
        max_index_age: Some(DAY),
        ..unsigned()
    };
    let head = HEAD.replace("Valid-Until", "X-Valid-Until");
    let roots = [root("dists/stable/Release", release(&head, &FILES))];
    let late = VerifyContext {
        now: DATE + DAY + 1,
        ..context(&aged)
    };
    let expired = verify(slice("stable", Include::default()), &roots, &late).unwrap_err();
    assert_eq!(expired.reason, Reason::IndexExpired);
}

#[test]
fn what_is_declared_must_be_offered_with_strong_digests() {
    let reason = |text: &str| verify_text("stable", text).unwrap_err();
    let refused = reason(&release(&HEAD.replace("main contrib", "contrib"), &FILES));
    assert_eq!(refused.reason, Reason::NotOffered);
    assert!(refused.message.contains("contrib"), "{refused}");
    assert_eq!(
        reason(&release(&HEAD.replace("amd64 ", ""), &FILES)).reason,
        Reason::NotOffered
    );
    assert_eq!(
        reason(&release(HEAD, &FILES[3..])).reason,
        Reason::NotOffered
    );
    let weak = release(HEAD, &FILES);
    let weak = weak.split_once("SHA256:").unwrap().0;
    assert_eq!(reason(weak).reason, Reason::WeakHash);
    let prefixed = HEAD.replace("main contrib", "updates/main");
    assert!(verify_text("stable", &release(&prefixed, &FILES)).is_ok());
    assert_eq!(
        reason(&release(HEAD, &["../main/binary-amd64/Packages"])).reason,
        Reason::UnsafePath
    );
    let twice = format!(
        "{} {A} 8 main/binary-amd64/Packages\n",
        release(HEAD, &FILES)
    );
    assert_eq!(reason(&twice).reason, Reason::PathConflict);
    for broken in [
        "",
        "no field",
        "Suite: stable\n",
        &HEAD.replace("Sat, 07", "Sat, 77"),
        &format!("{HEAD}\nSuite: x\n"),
    ] {
        assert_eq!(reason(broken).reason, Reason::IndexMalformed, "{broken}");
    }
}
