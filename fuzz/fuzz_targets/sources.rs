//! `Sources`: what an index of source packages lists.
#![no_main]

libfuzzer_sys::fuzz_target!(|content: &[u8]| mirrorfleet_fuzz::read_index(2, content));
