//! How regions answer, in the words of others.

use fleet_plan::score::{Check, Checks, Score};
use serde_json::{Value, json};

use crate::fleet::{Sketch, board, get, now, scored, text};

/// Ten checks, half a minute apart; one in five fails, the others were an hour and a half late and took a second.
fn score() -> Score {
    let mut checks = Checks::default();
    for number in 0..10 {
        let at = now().as_second() - 270 + 30 * number;
        let fails = number % 5 == 4;
        checks.note(Check {
            at,
            seconds: (!fails).then_some(1.0),
            last_sync: (!fails).then_some(at - 5400),
        });
    }
    checks.score(now().as_second())
}

fn two() -> [Sketch; 1] {
    [Sketch {
        regions: vec!["eu".to_owned(), "us".to_owned()],
        ..Sketch::well("debian")
    }]
}

fn told(board: &fleet_page::Board, path: &str) -> Value {
    let answer = get(board, path);
    assert_eq!(answer.status(), 200, "{path}");
    assert_eq!(answer.headers()["content-type"], "application/json");
    serde_json::from_slice(answer.body()).unwrap()
}

#[test]
fn regions_are_told_of_as_archweb_does_and_what_is_not_known_is_null() {
    let board = scored(&two(), [("eu", score())]);
    assert_eq!(
        told(&board, "/mirrors/mirrors/debian/archweb.json"),
        json!({
            "cutoff": 86400, "last_check": "2026-01-02T12:00:00Z", "num_checks": 10, "check_frequency": 30, "version": 3,
            "urls": [
                {
                    "url": "https://eu.example.org/debian/", "protocol": "https", "last_sync": "2026-01-02T10:29:30Z",
                    "completion_pct": 0.8, "delay": 5400, "duration_avg": 1.0, "duration_stddev": 0.0, "score": 2.5 / 0.8,
                    "active": true, "country": "", "country_code": "", "isos": false, "ipv4": false, "ipv6": false,
                    "details": "../debian",
                },
                {
                    "url": "https://us.example.org/debian/", "protocol": "https", "last_sync": null,
                    "completion_pct": null, "delay": null, "duration_avg": null, "duration_stddev": null, "score": null,
                    "active": true, "country": "", "country_code": "", "isos": false, "ipv4": false, "ipv6": false,
                    "details": "../debian",
                },
            ],
        })
    );
    let copies = &told(&board, "/mirrors/mirrors/debian.json")["copies"];
    assert_eq!(copies[0]["checks"]["score"], json!(2.5 / 0.8));
    assert_eq!(copies[0]["checks"]["outOfSync"], false);
    assert_eq!(copies[1].get("checks"), None);
    let page = get(&board, "/mirrors/mirrors/debian");
    let words =
        "score 3.1, 80.0 % of 10 checks answered, 1h30m late on average, in 1.000 s ± 0.000 s<";
    assert_eq!(text(&page).matches(words).count(), 1, "{}", text(&page));
}

#[test]
fn where_nobody_checks_there_is_nothing_but_addresses() {
    let (board, _) = board(&two(), false);
    let all = told(&board, "/mirrors/mirrors/debian/archweb.json");
    assert_eq!(
        (
            &all["last_check"],
            &all["num_checks"],
            &all["check_frequency"]
        ),
        (&Value::Null, &json!(0), &Value::Null)
    );
    let urls = all["urls"].as_array().unwrap();
    assert!(urls.len() == 2 && urls.iter().all(|url| url["score"].is_null()));
    for path in [
        "/mirrors/mirrors/none/archweb.json",
        "/mirrors/mirrors/archweb.json",
    ] {
        assert_eq!(get(&board, path).status(), 404, "{path}");
    }
}

/// The letters are those of MirrorZ's format, each with its Unix time.
#[test]
fn what_a_site_has_is_told_of_as_mirrorz_reads_it() {
    let running = Sketch {
        running: true,
        ..Sketch::well("running")
    };
    let held = Sketch {
        suspended: true,
        ..Sketch::well("held")
    };
    let down = Sketch {
        down: Some("eu".to_owned()),
        ..Sketch::well("down")
    };
    let sketches = [
        Sketch::well("debian"),
        Sketch::failed("failed", "no key signed it"),
        running,
        held,
        down,
        Sketch {
            regions: vec!["us".to_owned()],
            ..Sketch::well("elsewhere")
        },
    ];
    let (board, _) = board(&sketches, false);
    let all = told(&board, "/mirrorz.json");
    assert_eq!(all["version"], 1.7);
    assert_eq!(
        all["site"],
        json!({"url": "https://eu.example.org", "abbr": "mirrorfleet"})
    );
    assert_eq!(all["info"], json!([]));
    let mirrors = all["mirrors"].as_array().unwrap();
    let of = |name: &str| mirrors.iter().find(|one| one["cname"] == name).unwrap();
    assert_eq!(
        *of("debian"),
        json!({
            "cname": "debian", "desc": "trixie, trixie-updates for amd64", "url": "/debian",
            "status": "S1767313800X1767356220", "help": "", "upstream": "https://deb.example.org/", "size": "596 GiB",
        })
    );
    for (name, status) in [
        ("failed", "F1767313800O1767313800X1767356220"),
        ("running", "Y1767354600O1767313800X1767356220"),
        ("held", "PX1767356220"),
        ("down", "UX1767356220"),
    ] {
        assert_eq!(of(name)["status"], status, "{name}");
    }
    assert_eq!(of("elsewhere")["url"], "https://us.example.org/elsewhere");
    let site = told(&board, "/mirrorz.json?region=us");
    assert_eq!(
        (&site["site"]["abbr"], &site["site"]["url"]),
        (&json!("us"), &json!("https://us.example.org"))
    );
    assert_eq!(site["mirrors"].as_array().unwrap().len(), 1);
    let nowhere = told(&board, "/mirrorz.json?region=none");
    assert_eq!(nowhere["mirrors"], json!([]));
}
