//! `SHA256SUMS` of installer images.
#![no_main]

libfuzzer_sys::fuzz_target!(|content: &[u8]| mirrorfleet_fuzz::read_index(3, content));
