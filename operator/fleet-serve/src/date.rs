//! The `Date` header. Written out once a second for each thread.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderValue;

/// Now.
pub fn now() -> HeaderValue {
    thread_local! {
        static WRITTEN: RefCell<Option<(u64, HeaderValue)>> = const { RefCell::new(None) };
    }
    let now = SystemTime::now();
    let second = now
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    WRITTEN.with_borrow_mut(|written| match written {
        Some((of, date)) if *of == second => date.clone(),
        _ => {
            // Digits, letters and colons.
            let date = HeaderValue::try_from(httpdate::fmt_http_date(now));
            let date = date.unwrap_or(HeaderValue::from_static(""));
            *written = Some((second, date.clone()));
            date
        }
    })
}
