//! apt's sources in both notations, as `init` reads them.
#![no_main]
#![allow(dead_code)] // part of the program

#[path = "../../operator/mirrorfleet/src/roles/init/address.rs"]
mod address;
#[path = "../../operator/mirrorfleet/src/roles/init/auth.rs"]
mod auth;
#[path = "../../operator/mirrorfleet/src/roles/init/deb822.rs"]
mod deb822;
#[path = "../../operator/mirrorfleet/src/roles/init/one_line.rs"]
mod one_line;
#[path = "../../operator/mirrorfleet/src/roles/init/options.rs"]
mod options;
#[path = "../../operator/mirrorfleet/src/roles/init/signed_by.rs"]
mod signed_by;
#[path = "../../operator/mirrorfleet/src/roles/init/source.rs"]
mod source;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let mut notes = Vec::new();
    let mut sources = one_line::parse("a.list", text, &mut notes);
    sources.extend(deb822::parse("a.sources", text, &mut notes));
    // Each word of the text can be told of once by each of the two readers, with the place where it stands.
    assert!(notes.len() <= 2 * text.len());
    for note in &notes {
        let place = ["a.list:", "a.sources:"]
            .iter()
            .find_map(|file| note.strip_prefix(file));
        let line = place.and_then(|place| place.split(':').next()?.parse::<usize>().ok());
        assert!(line.is_some_and(|line| (1..=text.lines().count()).contains(&line)));
    }
    assert!(sources.len() <= 2 * text.lines().count());
    for source in &sources {
        assert!(source.packages || source.sources);
        assert!(!source.uris.is_empty() && !source.suites.is_empty());
        let words = source
            .uris
            .iter()
            .chain(&source.suites)
            .chain(&source.components);
        for word in words {
            // apt's quotes, brackets and percent escapes make words of blanks, of line ends and of nothing.
            let is_word = !word.is_empty() && !word.contains(|c: char| c.is_ascii_whitespace());
            assert!(is_word || text.contains(['"', '[', '%']));
            assert!(!word.contains('\n') || text.contains('%'));
        }
    }
});
