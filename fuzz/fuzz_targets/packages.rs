//! `Packages`: what a package index lists.
#![no_main]

libfuzzer_sys::fuzz_target!(|content: &[u8]| mirrorfleet_fuzz::read_index(1, content));
