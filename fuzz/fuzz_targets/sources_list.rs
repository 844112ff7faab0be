//! apt's sources in both notations, as `init` reads them.
#![no_main]
#![allow(dead_code)] // part of the program

#[path = "../../operator/mirrorfleet/src/roles/init/source.rs"]
mod source;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let mut notes = Vec::new();
    let mut sources = source::parse_list("a.list", text, &mut notes);
    sources.extend(source::parse_deb822("a.sources", text, &mut notes));
    assert!(sources.len() + notes.len() <= 2 * text.lines().count());
    for source in &sources {
        assert!(source.packages || source.sources);
        assert!(!source.uris.is_empty() && !source.suites.is_empty());
        let words = source
            .uris
            .iter()
            .chain(&source.suites)
            .chain(&source.components);
        for word in words {
            assert!(!word.is_empty() && !word.contains(char::is_whitespace));
        }
    }
});
