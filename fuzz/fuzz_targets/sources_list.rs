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
    // Words may hold blanks: apt's quotes and percent escapes make them.
    assert!(sources.len() <= 2 * text.lines().count());
    for source in &sources {
        assert!(source.packages || source.sources);
        assert!(!source.uris.is_empty() && !source.suites.is_empty());
    }
});
