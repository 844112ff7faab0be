use super::*;
use fleet_plan::observed::SeenMeta;
use fleet_types::documents::StorageUse;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers one connection with `response` and gives back what was asked.
async fn pod(response: Vec<u8>) -> (SocketAddr, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).await.unwrap();
        // The client may hang up early; that is what some cases are about.
        let _ = stream.write_all(&response).await;
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    (address, task)
}

fn asker() -> Asker {
    crate::install_crypto();
    Asker::new("mirrorfleet/test").unwrap()
}

fn response(status: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[tokio::test]
async fn a_pod_is_asked_for_its_mirror_and_its_answer_is_read() {
    let (address, task) = pod(response(
        "200 OK",
        r#"{"mirror":"debian","snapshot":"ab","newer":1}"#,
    ))
    .await;
    let answer = asker().ask_at(address, "debian").await.answer;
    assert!(matches!(answer, Answer::Serves(status) if status.snapshot.as_deref() == Some("ab")));
    assert!(
        task.await
            .unwrap()
            .starts_with("GET /.mirrorfleet/status/debian HTTP/1.1\r\n")
    );
}

#[tokio::test]
async fn a_pod_without_a_store_says_so_and_a_broken_one_is_unreachable() {
    for status in ["404 Not Found", "503 Service Unavailable"] {
        let (address, _task) = pod(response(status, "")).await;
        assert!(matches!(
            asker().ask_at(address, "debian").await.answer,
            Answer::Nothing
        ));
    }
    let redirect =
        b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n".to_vec();
    for broken in [
        response("200 OK", "<html>"),
        response("500 Oops", ""),
        redirect,
        b"SSH-2.0\r\n".to_vec(),
    ] {
        let (address, _task) = pod(broken).await;
        assert!(matches!(
            asker().ask_at(address, "debian").await.answer,
            Answer::Unreachable(_)
        ));
    }
}

#[tokio::test]
async fn an_endless_answer_is_cut_and_nobody_there_is_unreachable() {
    let (address, _task) = pod(response("200 OK", &"[".repeat(MAX_BODY + 1))).await;
    let answer = asker().ask_at(address, "debian").await.answer;
    assert!(matches!(answer, Answer::Unreachable(text) if text.contains("longer than")));
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    assert!(matches!(
        asker().ask_at(free, "debian").await.answer,
        Answer::Unreachable(_)
    ));
}

#[test]
fn an_answer_counts_for_the_very_pod_that_gave_it() {
    let mirror = ObjectName::new("ns", "debian");
    let named = |uid: &str| {
        let mut pod = SeenPod::default();
        pod.meta.name = "debian-0".into();
        pod.meta.uid = uid.into();
        (pod.role, pod.running) = (PodRole::Serving, true);
        pod.ip = Some("192.0.2.1".into());
        pod
    };
    let answers = Answers::default();
    assert!(answers.put(&mirror, &named("1"), Answer::Nothing));
    assert!(!answers.put(&mirror, &named("1"), Answer::Nothing));
    let unreachable = |words: &str| {
        let answer = Answer::Unreachable(words.to_owned());
        answers.put(&mirror, &named("1"), answer)
    };
    let told = |uid| answers.of(&mirror, &[named(uid)]).into_values().next();
    assert!(!unreachable("a") && !unreachable("b"));
    assert!(
        matches!(told("1"), Some(Answer::Nothing)),
        "what it said stands"
    );
    assert!(unreachable("c") && !unreachable("d"));
    assert!(matches!(told("1"), Some(Answer::Unreachable(_))));
    assert!(matches!(told("2"), Some(Answer::NotAsked)));
    assert!(answers.put(&mirror, &named("1"), Answer::Nothing));
    assert!(!unreachable("a") && !unreachable("b"), "counted anew");
    answers.retain(&mirror, &[named("2")]);
    assert!(answers.known().is_empty());
    let mut ended = named("1");
    ended.running = false;
    assert!(answers.of(&mirror, &[ended]).is_empty(), "nobody to ask");
}

#[test]
fn a_pod_is_asked_again_soon_until_it_follows_and_not_for_ever() {
    let mirror = ObjectName::new("ns", "debian");
    let answers = Answers::default();
    let id = fleet_types::Sha256([1; 32]);
    let order = |epoch| Order {
        epoch,
        snapshot: id,
    };
    let told = |epoch: u64| {
        let mut pod = SeenPod::default();
        let text = order(epoch).to_string();
        pod.meta.annotations.insert(SERVE.to_owned(), text);
        pod
    };
    let follows = |epoch| {
        Answer::Serves(Box::new(ServedStatus {
            order: Some(order(epoch)),
            ..ServedStatus::default()
        }))
    };
    let asks = |told: &SeenPod, answer: &Answer| answers.impatience(&mirror, told, answer);
    assert_eq!(
        asks(&SeenPod::default(), &Answer::Nothing),
        None,
        "nothing was told"
    );
    for wait in &IMPATIENCE[1..] {
        assert_eq!(asks(&told(2), &follows(1)), Some(*wait));
    }
    assert_eq!(asks(&told(2), &follows(1)), None, "it has its time");
    assert_eq!(
        asks(&told(3), &Answer::Nothing),
        Some(IMPATIENCE[1]),
        "told anew"
    );
    assert_eq!(asks(&told(3), &follows(3)), None);
    assert_eq!(asks(&told(3), &follows(4)), None);
}

#[test]
fn what_a_volume_holds_counts_when_it_has_changed_by_a_hundredth() {
    let (mirror, pod) = (ObjectName::new("ns", "debian"), SeenPod::default());
    let answers = Answers::default();
    let uses = |used: u64| {
        let storage = StorageUse {
            used,
            capacity: 1000,
        };
        let served = ServedStatus {
            storage: Some(storage),
            ..ServedStatus::default()
        };
        answers.put(&mirror, &pod, Answer::Serves(Box::new(served)))
    };
    assert!(uses(500));
    assert!(
        !uses(506) && !uses(494),
        "as others write to a shared volume"
    );
    assert!(uses(510), "counted from what was last told");
    assert!(!uses(515) && uses(520));
}

#[test]
fn a_clock_is_wrong_that_says_what_it_could_not_have_been() {
    for (theirs, skew) in [
        (100, 0),
        (103, 0),
        (95, 0),
        (94, -6),
        (109, 6),
        (3700, 3597),
    ] {
        assert_eq!(super::skew(theirs, 100, 103), skew, "{theirs}");
    }
    // Our own clock was set back meanwhile.
    assert_eq!(super::skew(100, 100, 50), 0);
}

#[test]
fn we_are_cut_off_where_most_pods_begin_to_fail_at_once() {
    const COUNTS: bool = true;
    let begin = Instant::now();
    let at = |seconds: &[(u64, bool)]| -> Vec<(Instant, bool)> {
        let instants = seconds.iter();
        instants
            .map(|(after, counts)| (begin + Duration::from_secs(*after), *counts))
            .collect()
    };
    let all_count = |seconds: &[u64]| -> Vec<(u64, bool)> {
        seconds.iter().map(|after| (*after, COUNTS)).collect()
    };
    for (since, all, wanted) in [
        (all_count(&[]), 0, false),
        (all_count(&[0]), 1, false),
        (all_count(&[0, 10]), 2, true),
        (all_count(&[0, 61]), 2, false),
        (all_count(&[0, 10]), 4, false),
        (all_count(&[0, 10, 60]), 5, true),
        (all_count(&[0, 100, 110, 120]), 5, true),
        (all_count(&[0, 10, 100, 110]), 5, false),
        // The first of which is known that it does not answer would be left out until the others are asked as often.
        (vec![(0, COUNTS), (10, false), (20, false)], 3, true),
        (vec![(0, false), (10, false), (20, false)], 3, false),
        // It does not answer for long, and two others were asked in vain once.
        (vec![(0, COUNTS), (3600, false), (3601, false)], 3, false),
    ] {
        assert_eq!(
            super::is_sudden(&at(&since), all),
            wanted,
            "{since:?} of {all}"
        );
    }
}

#[test]
fn nobody_is_left_out_before_it_is_known_that_all_are_silent() {
    let answers = Answers::default();
    let mirror = ObjectName::new("ns", "debian");
    let pods = ["a", "b", "c"].map(|name| SeenPod {
        meta: SeenMeta {
            name: name.to_owned(),
            ..SeenMeta::default()
        },
        ..SeenPod::default()
    });
    let silent = || Answer::Unreachable("timed out".to_owned());
    for _ in 0..2 {
        for pod in &pods {
            assert!(!answers.put(&mirror, pod, silent()));
        }
    }
    assert!(!answers.are_cut_off());
    assert!(answers.put(&mirror, &pods[0], silent()), "it counts");
    assert!(answers.are_cut_off(), "and so does that it is not alone");
}
