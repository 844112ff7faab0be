//! Serves the status page of a made-up fleet at the address that is given, to work on how it looks and to make the pictures of
//! the documentation: `cargo run -p fleet-page --example painted -- 127.0.0.1:8090`.

#[path = "../tests/it/fleet.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod fleet;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use fleet_page::{Board, Look, Source};
use fleet_plan::score::{Check, Checks, Score};
use http::Request;
use jiff::{SignedDuration, Timestamp};

use crate::fleet::Sketch;

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:8090"))?;
    println!("http://{}/", listener.local_addr()?);
    let board = lived(&sketches());
    for stream in listener.incoming() {
        answer(&board, stream?)?;
    }
    Ok(())
}

/// It stands still.
fn clock() -> Timestamp {
    fleet::now() + SignedDuration::from_mins(10)
}

fn sketches() -> Vec<Sketch> {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let regions = names(&["eu-1", "us-1", "ap-1"]);
    let of = |sketch: Sketch, suites: &[&str]| Sketch {
        regions: names(&["eu-1", "us-1", "ap-1"]),
        suites: names(suites),
        ..sketch
    };
    let forged = "trixie-security: a signature by key 0E98404D386FA1D9 does not fit the content; what was served before still is";
    vec![
        of(
            Sketch::failed("debian-security", forged),
            &["trixie-security"],
        ),
        of(
            Sketch {
                running: true,
                ..Sketch::well("debian")
            },
            &["trixie", "trixie-updates", "trixie-backports"],
        ),
        of(
            Sketch {
                suspended: true,
                ..Sketch::well("debian-debug")
            },
            &["trixie-debug"],
        ),
        of(
            Sketch::well("ubuntu"),
            &["noble", "noble-updates", "noble-security"],
        ),
        of(Sketch::well("postgresql"), &["trixie-pgdg"]),
        Sketch {
            regions,
            suites: names(&["stable"]),
            ..Sketch::well("docker")
        },
        of(Sketch::well("nodesource"), &["nodistro"]),
    ]
}

/// Two days: one region was down for two hours, one Mirror has become late, and for a while nobody looked.
struct Days(Vec<Sketch>);

impl Source for Days {
    fn look(&self, now: Timestamp) -> Look {
        let hours = clock().duration_since(now).as_hours();
        let mut sketches = self.0.clone();
        for sketch in &mut sketches {
            if hours >= 6 {
                sketch.behind = None;
                sketch.failed = None;
            }
            if sketch.name == "ubuntu" && (20..22).contains(&hours) {
                sketch.down = Some("us-1".to_owned());
            }
        }
        let mut look = fleet::look(&sketches);
        for seen in &mut look.mirrors {
            seen.versions.0 = now.as_second().unsigned_abs();
        }
        look
    }

    fn scores(&self, _: &str, mirror: &str, now: Timestamp) -> BTreeMap<String, Score> {
        let known = self.0.iter().find(|sketch| sketch.name == mirror);
        let regions = known.into_iter().flat_map(|sketch| &sketch.regions);
        let score = |(number, region): (usize, &String)| {
            let mut checks = Checks::default();
            for second in (0..86_400_i64).step_by(30) {
                let at = now.as_second() - 86_400 + second;
                checks.note(Check {
                    at,
                    seconds: Some(0.012 * (number + 1) as f64 + 0.001 * (second % 5) as f64),
                    last_sync: Some(at - 900 - second % 1800),
                });
            }
            (region.clone(), checks.score(now.as_second()))
        };
        regions.enumerate().map(score).collect()
    }
}

fn lived(sketches: &[Sketch]) -> Board {
    let board = Board::new(Box::new(Days(sketches.to_vec())), fleet::manner(false));
    let mut at = clock() - SignedDuration::from_hours(44);
    while at <= clock() {
        let hours = clock().duration_since(at).as_hours();
        if !(33..35).contains(&hours) {
            board.tick(at);
        }
        at += SignedDuration::from_secs(60);
    }
    board
}

fn answer(board: &Board, mut stream: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let path = first.split(' ').nth(1).unwrap_or("/");
    let Ok(request) = Request::builder().uri(path).body(()) else {
        return Ok(());
    };
    let answer = fleet_page::answer(board, &request.into_parts().0, clock());
    write!(
        stream,
        "HTTP/1.1 {}\r\nConnection: close\r\nContent-Length: {}\r\n",
        answer.status(),
        answer.body().len()
    )?;
    for (name, value) in answer.headers() {
        write!(stream, "{name}: {}\r\n", value.to_str().unwrap_or_default())?;
    }
    stream.write_all(b"\r\n")?;
    stream.write_all(answer.body())
}
