//! `Packages.diff/Index`: the patches that it lists.
#![no_main]

libfuzzer_sys::fuzz_target!(|content: &[u8]| mirrorfleet_fuzz::read_index(4, content));
