//! What stands on pages, and how they are handed out.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::StatusCode;
use jiff::SignedDuration;
use serde_json::Value;

use crate::fleet::{Sketch, board, get, get_with, now, text};

fn three() -> [Sketch; 3] {
    let held = Sketch {
        suspended: true,
        ..Sketch::well("b-held")
    };
    let running = Sketch {
        running: true,
        regions: vec!["eu".to_owned(), "us".to_owned()],
        ..Sketch::well("a-well")
    };
    [
        running,
        held,
        Sketch::failed("c-late", "no key of the ring signed it"),
    ]
}

#[test]
fn what_needs_attention_stands_first_and_is_explained() {
    let (board, _) = board(&three(), false);
    let page = get(&board, "/");
    let page = text(&page);
    assert!(
        page.contains("<h1>1 of 3 mirrors needs attention</h1>"),
        "{page}"
    );
    let place = |name: &str| {
        page.find(&format!("<h3><a href=\"mirrors/mirrors/{name}\""))
            .unwrap()
    };
    assert!(place("c-late") < place("b-held") && place("b-held") < place("a-well"));
    assert!(page.contains("11h behind, 6h allowed"), "{page}");
    assert!(page.contains("no key of the ring signed it"));
    assert!(
        page.contains("<b>43%</b> of 3.2 GiB"),
        "what is fetched now"
    );
    let late = get(&board, "/mirrors/mirrors/c-late");
    let late = text(&late);
    for words in [
        "kubectl get upstream debian",
        "SignatureBad",
        "<dt>For clients</dt>",
        "<td>+14 −9 paths, 6 changed; 12 files (3.3 MiB) fetched in 30m</td>",
        "URIs: https://eu.example.org/c-late/",
        "Signed-By: /etc/apt/keyrings/debian-keyring.gpg",
    ] {
        assert!(late.contains(words), "{words}: {late}");
    }
}

#[test]
fn a_registry_has_no_snapshot_and_is_told_with_what_its_clients_need() {
    let npm = Sketch {
        is_registry: true,
        ..Sketch::well("npm")
    };
    let (board, _) = board(&[npm], false);
    let list = get(&board, "/");
    let list = text(&list);
    for words in [
        "The mirror is well",
        "all packages of a registry",
        "current",
    ] {
        assert!(list.contains(words), "{words}: {list}");
    }
    let page = get(&board, "/mirrors/mirrors/npm");
    let page = text(&page);
    for words in [
        "registry=https://eu.example.org/npm/",
        "replace-registry-host=always",
        "~/.yarnrc.yml",
        "everything else from the upstream",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
}

#[test]
fn a_mirrors_page_tells_what_the_upstreams_endpoints_have() {
    let (open, _) = board(&three(), false);
    let page = get(&open, "/mirrors/mirrors/a-well");
    let page = text(&page);
    for words in [
        "<th scope=\"row\">fr</th><td>Unreachable ",
        "nothing could be read",
        "<th scope=\"row\">nl</th><td>Reachable ",
        "(trixie)",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let (fixed, _) = board(&three(), true);
    for (board, message) in [(&open, "nothing could be read"), (&fixed, "")] {
        let told = get(board, "/mirrors/mirrors/a-well.json");
        let told: Value = serde_json::from_slice(told.body()).unwrap();
        let endpoint = &told["endpoints"][0];
        assert_eq!(endpoint["message"].as_str().unwrap_or_default(), message);
        assert_eq!(told["endpoints"][1]["behindSince"], "2026-01-01T06:00:00Z");
    }
}

#[test]
fn the_list_can_be_narrowed_and_paged() {
    let many: Vec<Sketch> = (0..45)
        .map(|number| Sketch::well(&format!("m{number:02}")))
        .collect();
    let (board, _) = board(&many, false);
    let rows = |path: &str| text(&get(&board, path)).matches("<li class=\"row").count();
    assert_eq!((rows("/"), rows("/?page=3"), rows("/?page=99")), (20, 5, 5));
    assert_eq!(
        (
            rows("/?q=M3"),
            rows("/?q=debian&page=2"),
            rows("/?q=nobody")
        ),
        (10, 20, 0)
    );
    assert_eq!(
        (
            rows("/?only=well"),
            rows("/?only=trouble"),
            rows("/?only=syncing")
        ),
        (20, 0, 0)
    );
    let told: Value =
        serde_json::from_slice(get(&board, "/index.json?q=m4&page=1").body()).unwrap();
    assert_eq!((&told["found"], &told["all"]), (&5.into(), &45.into()));
    assert_eq!(told["mirrors"][0]["mirror"], "m40");
    assert_eq!(told["mirrors"][0]["hours"].as_str().map(str::len), Some(48));
}

#[test]
fn nobody_who_has_a_page_gets_it_again_and_nothing_comes_from_elsewhere() {
    let (board, _) = board(&three(), false);
    for path in [
        "/",
        "/index.json",
        "/mirrors/mirrors/c-late",
        "/mirrors/mirrors/c-late.json",
    ] {
        let first = get(&board, path);
        assert_eq!(first.status(), StatusCode::OK, "{path}");
        let tag = first.headers()["etag"].to_str().unwrap();
        let again = get_with(
            &board,
            path,
            &[("if-none-match", &format!("\"x\", W/{tag}"))],
        );
        assert_eq!(
            (again.status(), again.body().len()),
            (StatusCode::NOT_MODIFIED, 0),
            "{path}"
        );
        assert_eq!(
            get_with(&board, path, &[("if-none-match", "\"x\"")]).status(),
            StatusCode::OK
        );
        let policy = first.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));
        assert_eq!(first.headers()["x-content-type-options"], "nosniff");
        assert_eq!(first.headers()["referrer-policy"], "no-referrer");
        assert!(!first.headers().contains_key("set-cookie"));
    }
    let page = get(&board, "/");
    assert!(!text(&page).contains("http://") && !text(&page).contains("style="));
}

#[test]
fn what_is_not_there_is_said_with_a_way_back() {
    let (board, _) = board(&three(), false);
    for path in [
        "/x",
        "/mirrors/mirrors/none",
        "/mirrors/%ff/x",
        "/mirrors/other/c-late",
        "/a/b/c/d/e",
        "/assets/style-0.css",
    ] {
        let answer = get(&board, path);
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        assert!(text(&answer).contains("All mirrors"));
    }
}

#[test]
fn a_fleet_is_looked_at_once_a_second_and_judged_only_where_it_changed() {
    let (board, looks) = board(&three(), false);
    for _ in 0..5 {
        get(&board, "/");
    }
    assert_eq!(looks.load(Ordering::Relaxed), 1);
    let first = board.fleet(now());
    let later = board.fleet(now() + SignedDuration::from_secs(2));
    assert_eq!(looks.load(Ordering::Relaxed), 2);
    let same = |place: usize| Arc::ptr_eq(&first.rows[place], &later.rows[place]);
    assert!(same(0) && same(1), "nothing changed");
    assert!(!same(2), "a run goes on, and has got further");
    let much_later = board.fleet(now() + SignedDuration::from_secs(40));
    assert!(
        !Arc::ptr_eq(&first.rows[0], &much_later.rows[0]),
        "time alone makes one stale"
    );
}

#[test]
fn strangers_read_fixed_words_only() {
    let (board, _) = board(&three(), true);
    for path in [
        "/",
        "/index.json",
        "/mirrors/mirrors/c-late",
        "/mirrors/mirrors/c-late.json",
    ] {
        let answer = get(&board, path);
        let told = text(&answer);
        assert!(!told.contains("no key of the ring"), "{path}: {told}");
        assert!(!told.contains("kubectl"), "{path}: {told}");
        assert!(told.contains("signature"), "{path}: {told}");
    }
}

#[test]
fn no_secret_of_an_address_is_shown() {
    let (board, _) = board(&three(), false);
    for path in ["/mirrors/mirrors/c-late", "/mirrors/mirrors/c-late.json"] {
        let answer = get(&board, path);
        let told = text(&answer);
        assert!(
            told.contains("https://deb.example.org/") && !told.contains("0123456789abcdef"),
            "{told}"
        );
    }
}

#[test]
fn the_hours_are_those_that_were_seen() {
    let (board, _) = board(&three(), false);
    let mut at = now() - SignedDuration::from_hours(3);
    while at <= now() {
        board.tick(at);
        at += SignedDuration::from_secs(30);
    }
    let told: Value =
        serde_json::from_slice(get(&board, "/mirrors/mirrors/c-late.json").body()).unwrap();
    let hours = told["copies"][0]["hours"].as_str().unwrap();
    assert_eq!(hours, format!("{}lllu", "u".repeat(44)));
    let page = get(&board, "/mirrors/mirrors/c-late");
    assert!(
        text(&page).contains("aria-label=\"Last 48 hours: 3 h behind for longer, 45 h not known\"")
    );
    let kept = board.hours_of("mirrors", "c-late");
    let (again, _) = crate::fleet::board(&three(), false);
    again.take_up("mirrors", "c-late", kept);
    let told: Value =
        serde_json::from_slice(get(&again, "/mirrors/mirrors/c-late.json").body()).unwrap();
    assert_eq!(told["copies"][0]["hours"], hours);
}

#[test]
fn who_does_not_know_everything_yet_says_so() {
    let source = crate::fleet::Painted {
        look: fleet_page::Look::default(),
        looks: Arc::default(),
        scores: Default::default(),
    };
    let board = fleet_page::Board::new(Box::new(source), crate::fleet::manner(false));
    let page = get(&board, "/");
    assert!(text(&page).contains("<h1>The mirrors are being listed</h1>"));
    assert!(!text(&page).contains("There is no mirror"));
    assert_eq!(
        get(&board, "/mirrors/a/b").status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(get(&board, "/x").status(), StatusCode::NOT_FOUND);
}
