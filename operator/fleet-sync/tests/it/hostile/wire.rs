//! Lies of the server about single files, below and above HTTP.

use std::time::Duration;

use fleet_sync::Credentials;
use fleet_types::Reason;

use crate::support::forge::{Liar, Say, ok};
use crate::support::server::Fault;
use crate::support::trial::{PUBLISHED, Trial};
use crate::support::{World, sync, told};

const IN_RELEASE: &str = "dists/stable/InRelease";
const DELTA: &str = "pool/main/d/delta_1_amd64.deb";

/// An upstream with something new to lie about.
async fn with_delta() -> Trial {
    let mut trial = Trial::new().await;
    let delta = trial.world.archive.package("delta", &[9; 200_000]);
    trial.publish_beside(crate::support::archive::stanza(&delta, false).as_bytes());
    trial.options.timeouts.retry_backoff = Duration::from_millis(1);
    trial
}

fn forever(head: &str, piece: &[u8], pause: Duration) -> Say {
    Say::Forever {
        head: head.to_owned(),
        piece: piece.to_vec(),
        pause,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_without_end_are_read_up_to_their_bound() {
    let mut trial = with_delta().await;
    let piece = [b'x'; 16 << 10];
    let without = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = [b"4000\r\n".as_slice(), &piece, b"\r\n"].concat();
    let with = "HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n";
    let cases = [(without, &piece[..]), (chunked, &chunk), (with, &piece)];
    for (head, piece) in cases {
        let say = forever(head, piece, Duration::ZERO);
        trial.liar.lie(DELTA, say.clone());
        let words = [DELTA, "200000 bytes"];
        trial.is_refused(head, Reason::DigestMismatch, &words).await;
        trial.liar.heal();
        trial.liar.lie(IN_RELEASE, say);
        let words = [IN_RELEASE, "16777216 bytes"];
        trial.is_refused(head, Reason::TooLarge, &words).await;
        trial.liar.heal();
    }
    trial.heals("all of them").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_drip_or_never_come_end_after_the_stall_timeout() {
    drips(DELTA).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roots_that_drip_or_never_come_end_after_the_stall_timeout() {
    drips(IN_RELEASE).await;
}

async fn drips(path: &str) {
    let mut trial = with_delta().await;
    let (patient, pause) = (trial.options.timeouts.stall, Duration::from_millis(50));
    trial.options.timeouts.retry_limit = 0;
    let body = "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n";
    let cases = [
        ("a body byte by byte", forever(body, b"\x09", pause)),
        (
            "a head byte by byte",
            forever("HTTP/1.1 200 OK\r\nX: ", b"x", pause),
        ),
        (
            "nothing but promises",
            forever("", b"HTTP/1.1 100 Continue\r\n\r\n", pause),
        ),
        ("silence", forever("", b"", pause)),
    ];
    for (case, say) in cases {
        trial.options.timeouts.stall = Duration::from_secs(2);
        trial.liar.lie(path, say);
        trial
            .is_refused(case, Reason::SyncStalled, &[path, "within 2 s"])
            .await;
    }
    trial.options.timeouts.stall = patient;
    trial.heals("all of them").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_no_http_are_refused() {
    let mut trial = with_delta().await;
    let content = vec![9; 200_000];
    let with = |head: &str| Say::Bytes([head.as_bytes(), &content].concat());
    let cases = [
        ("nothing", Say::text("")),
        ("no HTTP", Say::text("hello\r\n\r\n")),
        (
            "cut off",
            Say::Bytes(
                [
                    b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n",
                    &content[1..],
                ]
                .concat(),
            ),
        ),
        (
            "two lengths",
            with("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\nContent-Length: 1\r\n\r\n"),
        ),
        (
            "a negative length",
            with("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
        ),
        (
            "broken chunks",
            with("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        ),
        (
            "an endless head",
            forever(
                "HTTP/1.1 200 OK\r\n",
                &b"X-Header: some text for it\r\n".repeat(1000),
                Duration::ZERO,
            ),
        ),
        (
            "206 to no Range",
            with(
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-199999/200000\r\nContent-Length: 200000\r\n\r\n",
            ),
        ),
        (
            "304 to no condition",
            Say::text("HTTP/1.1 304 Not Modified\r\n\r\n"),
        ),
        ("204", Say::text("HTTP/1.1 204 No Content\r\n\r\n")),
        (
            "a redirect to nowhere",
            Say::text("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"),
        ),
    ];
    for (case, say) in cases {
        trial.liar.lie(DELTA, say);
        trial
            .is_refused(case, Reason::UpstreamUnreachable, &[DELTA])
            .await;
    }
    trial.heals("all of them").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_a_proxy_changed_is_told_by_its_encoding() {
    let trial = with_delta().await;
    let other = [8; 200_000];
    for body in [&other[..], &other[..1000]] {
        let answer = ok(body, "Content-Encoding: gzip\r\n");
        trial.liar.lie(DELTA, Say::Bytes(answer));
        let words = [DELTA, "Content-Encoding", "proxy"];
        trial
            .is_refused("re-encoded", Reason::DigestMismatch, &words)
            .await;
    }
    // Some servers name an encoding for what is compressed itself: the digest decides.
    let answer = ok(&[9; 200_000], "Content-Encoding: x-gzip\r\n");
    trial.liar.lie(DELTA, Say::Bytes(answer));
    assert_eq!(told(&sync(&trial.options).await), PUBLISHED);
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_lead_to_no_other_place_than_a_mirror_may_go() {
    let mut trial = with_delta().await;
    let to = |target: &str| {
        Say::text(&format!(
            "HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ))
    };
    trial.liar.lie("pool/loop", to("/debian/pool/loop2"));
    trial.liar.lie("pool/loop2", to("/debian/pool/loop"));
    for number in 0..10 {
        let next = format!("/debian/pool/far{}", number + 1);
        trial.liar.lie(&format!("pool/far{number}"), to(&next));
    }
    for (target, word) in [
        ("/debian/pool/loop", "in a circle"),
        ("/debian/pool/far0", "after 5 others"),
        ("file:///etc/passwd", "file:///etc/passwd"),
        ("ftp://127.0.0.1/x", "ftp://127.0.0.1/x"),
        ("gopher://127.0.0.1/?secret", "gopher://127.0.0.1/"),
        ("http://", "redirect"),
    ] {
        trial.liar.lie(DELTA, to(target));
        let report = trial
            .is_refused(target, Reason::UpstreamUnreachable, &[DELTA, word])
            .await;
        assert!(!report.message.contains("secret"), "{report:?}");
    }
    trial.heals("all of them").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_never_follow_a_redirect_to_another_origin() {
    let mut trial = with_delta().await;
    let elsewhere = Liar::start(trial.world.archive.root()).await;
    trial.options.access.released_to =
        fleet_sync::Destination::read_all("http://127.0.0.1").unwrap();
    trial.options.access.credentials = Some(Credentials::Bearer {
        token: "secret".to_owned(),
    });
    let target = elsewhere.url.join(DELTA).unwrap();
    let answer = format!(
        "HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    trial.liar.lie(DELTA, Say::text(&answer));
    trial.liar.take_heads();
    let report = sync(&trial.options).await;
    assert_eq!(
        told(&report),
        PUBLISHED,
        "its bytes are checked: {report:?}"
    );
    let is_told = |head: &String| head.contains("secret");
    assert!(trial.liar.take_heads().iter().all(is_told));
    let heads = elsewhere.take_heads();
    assert_eq!(heads.len(), 1);
    assert!(
        !heads[0].to_lowercase().contains("authorization"),
        "{heads:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_were_not_asked_for_never_get_into_a_file() {
    let world = World::new(&["stable"]).await;
    let mut options = world.options(&["stable"]);
    options.timeouts.retry_limit = 3;
    let beta = &world.packages[1].path;
    world.server.fault(beta, 1, Fault::BreaksOffAfter(100_000));
    world.server.fault(beta, 3, Fault::WrongRange);
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    assert_eq!(world.served(beta), vec![7; 300_000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_cannot_silence_a_mirror_for_good() {
    let mut trial = with_delta().await;
    for value in ["18446744073709551615", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        let head = format!(
            "HTTP/1.1 429 No\r\nRetry-After: {value}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        trial.liar.lie(IN_RELEASE, Say::text(&head));
        let report = trial
            .is_refused(value, Reason::UpstreamBusy, &[IN_RELEASE])
            .await;
        assert_eq!(report.retry_after_seconds, Some(24 * 3600));
    }
    trial.heals("both").await;
}

/// A date in the future would stay for as long as it is one, since what we say of a file never goes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_modification_date_in_the_future_is_not_repeated() {
    let trial = with_delta().await;
    let date = "Fri, 31 Dec 9999 23:59:59 GMT";
    for path in [DELTA, IN_RELEASE] {
        let content = trial.world.archive.read(path);
        let answer = ok(&content, &format!("Last-Modified: {date}\r\n"));
        trial.liar.lie(path, Say::Bytes(answer));
    }
    let report = sync(&trial.options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    let snapshot = trial.world.store().current_snapshot().unwrap().unwrap();
    for path in [DELTA, IN_RELEASE] {
        let entry = snapshot.get(path).unwrap();
        assert!(
            entry.mtime <= crate::support::archive::now(),
            "{path}: {entry:?}"
        );
    }
}
