//! How much is sent.

use crate::fleet::{Sketch, board, get};

const MOST: usize = 100_000;

#[test]
fn no_page_is_large_however_large_the_fleet_is() {
    let name = |number: usize| format!("{}-{number:04}", "a-long-name".repeat(5));
    let message = "a \"quoted\" <word> & 'another'; ".repeat(100);
    let mut fleet: Vec<Sketch> = (0..5000)
        .map(|number| Sketch {
            regions: (0..3).map(|region| format!("region-{region}")).collect(),
            running: number % 2 == 0,
            ..Sketch::failed(&name(number), &message)
        })
        .collect();
    fleet.push(Sketch {
        regions: (0..64)
            .map(|region| format!("region-with-a-name-{region}"))
            .collect(),
        ..Sketch::failed("wide", &message)
    });
    let (board, _) = board(&fleet, false);
    let begin = std::time::Instant::now();
    let first = get(&board, "/");
    let made = begin.elapsed();
    let begin = std::time::Instant::now();
    get(&board, "/?page=100");
    println!(
        "5,001 Mirrors: judged and shown in {made:?}, shown again in {:?}",
        begin.elapsed()
    );
    for (path, size) in [
        ("/", first.body().len()),
        ("/?page=7", get(&board, "/?page=7").body().len()),
        (
            "/mirrors/mirrors/wide",
            get(&board, "/mirrors/mirrors/wide").body().len(),
        ),
        (
            "/mirrors/mirrors/wide?page=4",
            get(&board, "/mirrors/mirrors/wide?page=4").body().len(),
        ),
    ] {
        assert!(size < MOST, "{path} has {size} bytes");
        println!("{path}: {size} bytes");
    }
}
