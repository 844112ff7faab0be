//! Retry-After, as a number of seconds and as a date.
#![no_main]
#![allow(dead_code)] // part of the worker

#[path = "../../operator/fleet-fetch/src/retry.rs"]
mod retry;

use std::time::{Duration, SystemTime};

libfuzzer_sys::fuzz_target!(|value: &str| {
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_500);
    if let Some(seconds) = retry::parse_retry_after(value, now) {
        assert!(seconds <= 24 * 3600, "nobody is silenced for good");
        let again = retry::parse_retry_after(&seconds.to_string(), now);
        assert_eq!(again, Some(seconds));
    }
});
