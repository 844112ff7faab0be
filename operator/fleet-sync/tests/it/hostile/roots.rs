//! Lies in what is signed, and about the signature.

use fleet_types::Reason;
use tempfile::TempDir;

use crate::support::archive::{Key, Release, hex, now};
use crate::support::forge::Say;
use crate::support::sync;
use crate::support::trial::{PUBLISHED, SUITE, Trial};
use crate::support::{process, told};

const IN_RELEASE: &str = "dists/stable/InRelease";
/// Of nothing: whatever is said of it, it is the same content.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[tokio::test(flavor = "multi_thread")]
async fn states_of_another_time_are_refused() {
    let mut trial = Trial::new().await;
    let date = trial.world.date;

    trial.publish_release(&Release::of(date - 10), |text| text);
    let words = [
        "suite stable",
        "went back",
        "verification: {allowed: [{unit: \"stable\"",
    ];
    trial
        .is_refused("rollback", Reason::RollbackDetected, &words)
        .await;
    trial.heals("rollback").await;

    let expired = Release {
        valid_until: Some(now() - 1),
        ..trial.newer()
    };
    trial.publish_release(&expired, |text| text);
    let words = ["suite stable", "expired", "withholds"];
    trial
        .is_refused("expired", Reason::IndexExpired, &words)
        .await;
    trial.heals("expired").await;

    let future = Release::of(now() + 3600);
    trial.publish_release(&future, |text| text);
    trial
        .is_refused("future", Reason::IndexFromFuture, &["clock"])
        .await;
    trial.heals("future").await;

    let served = trial.newer();
    trial.publish_release(&served, |text| text);
    assert_eq!(told(&sync(&trial.options).await), PUBLISHED);
    let other = |text: String| text.replace("Origin: Test", "Origin: Other");
    let mut trial = trial.remembering().await;
    trial.publish_release(&served, other);
    let words = ["two different contents", "next update"];
    trial
        .is_refused("equivocation", Reason::Equivocation, &words)
        .await;
    trial.heals("equivocation").await;
}

/// Everything is withheld: the upstream answers as before, for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_grows_too_old_is_told_although_nothing_changes() {
    let mut trial = Trial::new().await;
    trial.options.trust.max_index_age = Some(60);
    trial
        .is_refused("frozen", Reason::IndexExpired, &["expired", "withholds"])
        .await;
    trial.options.trust.max_index_age = Some(7200);
    trial.heals("frozen").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_is_not_the_one_that_was_asked_for_is_refused() {
    let mut trial = Trial::new().await;
    let release = trial.newer();
    type Edit = fn(String) -> String;
    let edits: [(&str, Reason, &str, Edit); 8] = [
        (
            "another suite",
            Reason::SuiteMismatch,
            "Suite oldstable",
            |text| text.replace(": stable\n", ": oldstable\n"),
        ),
        (
            "a name of terminal commands",
            Reason::SuiteMismatch,
            "\\u{1b}[2Jevil",
            |text| text.replace(": stable\n", ": \x1b[2Jevil\n"),
        ),
        ("MD5 only", Reason::WeakHash, "SHA-256", |text| {
            format!(
                "{}MD5Sum:\n {} 0 main/binary-amd64/Packages.xz\n",
                head(&text),
                &EMPTY[..32]
            )
        }),
        ("SHA-1 only", Reason::WeakHash, "SHA-256", |text| {
            format!(
                "{}SHA1:\n {} 0 main/binary-amd64/Packages.xz\n",
                head(&text),
                &EMPTY[..40]
            )
        }),
        ("nothing by SHA-2", Reason::WeakHash, "SHA-256", |text| {
            head(&text).to_owned()
        }),
        (
            "an index of 1 TiB",
            Reason::TooLarge,
            "main/binary-amd64/Packages",
            |text| format!("{text} {EMPTY} 1099511627776 main/binary-amd64/Packages\n"),
        ),
        ("no date", Reason::IndexMalformed, "no Date", |text| {
            text.replace("Date:", "Day:")
        }),
        (
            "a component is gone",
            Reason::NotOffered,
            "no component main",
            |text| {
                text.replace("Components: main", "Components: contrib")
                    .replace(" main/", " contrib/")
            },
        ),
    ];
    for (case, reason, word, edit) in edits {
        trial.publish_release(&release, edit);
        trial.is_refused(case, reason, &["stable", word]).await;
    }
    trial.heals("all of them").await;
}

fn head(release: &str) -> &str {
    release.split("SHA256:").next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_signed_as_it_must_be_is_refused() {
    let mut trial = Trial::new().await;
    let release = trial.newer();
    trial.publish_release(&release, |text| text);
    let good = trial.in_release();
    let page = "<!DOCTYPE html><title>Please log in</title>";
    let many = "a".repeat(17 << 20);
    let zipped = [&[0x1f, 0x8b, 8, 0][..], good.as_bytes()].concat();
    let message = "-----BEGIN PGP SIGNED MESSAGE-----\n";
    let cases: [(&str, Reason, &str, Vec<u8>); 12] = [
        (
            "a login page",
            Reason::SignatureMissing,
            "web page",
            page.into(),
        ),
        ("gzip on the way", Reason::SignatureMissing, "gzip", zipped),
        (
            "nothing",
            Reason::SignatureMissing,
            "cleartext-signed",
            vec![],
        ),
        (
            "not signed",
            Reason::SignatureMissing,
            "cleartext-signed",
            b"Suite: stable\n".to_vec(),
        ),
        ("17 MiB", Reason::TooLarge, "16777216 bytes", many.into()),
        (
            "text before",
            Reason::SignatureMissing,
            "does not begin",
            format!("Suite: evil\n\n{good}").into(),
        ),
        (
            "text after",
            Reason::IndexMalformed,
            "text after the signature",
            format!("{good}\nSuite: evil\n").into(),
        ),
        (
            "two messages",
            Reason::IndexMalformed,
            "text after the signature",
            format!("{good}{good}").into(),
        ),
        (
            "a message inside",
            Reason::IndexMalformed,
            "dash",
            good.replacen("Origin", &format!("{message}Origin"), 1)
                .into(),
        ),
        (
            "a dash that is not escaped",
            Reason::IndexMalformed,
            "dash",
            good.replacen("Origin", "-Origin", 1).into(),
        ),
        (
            "a header that hides text",
            Reason::IndexMalformed,
            "Hash:",
            good.replacen("Hash:", "Comment: x\nHash:", 1).into(),
        ),
        (
            "a forged line",
            Reason::SignatureBad,
            "forged",
            good.replacen("Origin: Test", "Origin: Evil", 1).into(),
        ),
    ];
    for (case, reason, word, content) in cases {
        trial.liar.lie(IN_RELEASE, Say::body(&content));
        trial.is_refused(case, reason, &[word]).await;
    }

    let elsewhere = TempDir::new().unwrap();
    let stranger = Key::new(&elsewhere.path().join("gpg"));
    let (plain, signed) = (elsewhere.path().join("a"), elsewhere.path().join("b"));
    std::fs::write(&plain, "Suite: stable\n").unwrap();
    stranger.sign("--clearsign", &plain, &signed);
    let content = std::fs::read(&signed).unwrap();
    trial.liar.lie(IN_RELEASE, Say::body(&content));
    let words = ["not in the keyring"];
    trial
        .is_refused("a stranger", Reason::KeyUnknown, &words)
        .await;
    trial.heals("all of them").await;
}

/// The signature is good and nothing is missing: line ends are nobody's attack.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_with_windows_line_ends_is_the_same_state() {
    let mut trial = Trial::new().await;
    let release = trial.newer();
    trial.publish_release(&release, |text| text);
    let windows = trial.in_release().replace('\n', "\r\n");
    trial.liar.lie(IN_RELEASE, Say::body(windows.as_bytes()));
    let report = sync(&trial.options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    trial.liar.heal();
    let report = sync(&trial.options).await;
    assert_eq!(report.exit_code(), 0, "no equivocation: {report:?}");
    assert_eq!(
        trial.world.served(IN_RELEASE),
        trial.world.archive.read(IN_RELEASE)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suite_that_is_gone_is_told() {
    let mut trial = Trial::new().await;
    let gone = trial.world.archive.path("dists").join("gone");
    let suite = trial.world.archive.path("dists").join(SUITE);
    std::fs::rename(&suite, &gone).unwrap();
    trial
        .is_refused("gone", Reason::UpstreamIncomplete, &["no such state"])
        .await;
    process::run(std::process::Command::new("mv").arg(&gone).arg(&suite));
    trial.heals("gone").await;
}

/// A Release as large as one may be costs a moment, and nothing of what we do not copy.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_of_a_hundred_thousand_files_is_only_large() {
    let mut trial = Trial::new().await;
    let release = trial.newer();
    trial.publish_release(&release, |mut text| {
        for number in 0..100_000 {
            text.push_str(&format!(
                " {} {number} other/binary-x/{}\n",
                EMPTY,
                hex(&[(number % 251) as u8, 1]) + &number.to_string()
            ));
        }
        text
    });
    assert_eq!(told(&sync(&trial.options).await), PUBLISHED);
}
