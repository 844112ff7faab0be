//! When to try again.

use std::time::{Duration, SystemTime};

use rand::RngExt;

/// How often a request is repeated within a run, and after which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Repetitions after the first try of all endpoints.
    pub limit: u32,
    /// No wait within a run is longer, neither ours nor one that Retry-After asks for.
    pub longest_wait: Duration,
}

impl RetryPolicy {
    const FIRST_WAIT: Duration = Duration::from_millis(250);

    /// Before the repetition `round` (from 0): doubled each time, between half and all of it.
    pub(crate) fn wait(&self, round: u32) -> Duration {
        let full = Self::FIRST_WAIT
            .saturating_mul(2_u32.saturating_pow(round))
            .min(self.longest_wait);
        full.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    pub(crate) fn allows(&self, retry_after: Duration) -> bool {
        retry_after <= self.longest_wait
    }
}

/// However long an upstream asks to be left alone: nobody in its place may silence a mirror for good.
const LONGEST_REST_SECONDS: u64 = 24 * 3600;

/// The value of a Retry-After header in seconds from `now`, a day at most. RFC 9110, section 10.2.3.
pub(crate) fn parse_retry_after(value: &str, now: SystemTime) -> Option<u64> {
    let value = value.trim();
    let seconds = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More than 64 bits are more than a day.
        value.parse().unwrap_or(u64::MAX)
    } else {
        let date = httpdate::parse_http_date(value).ok()?;
        date.duration_since(now).map_or(0, |left| {
            left.as_secs() + u64::from(left.subsec_nanos() > 0)
        })
    };
    Some(seconds.min(LONGEST_REST_SECONDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(parse_retry_after(" 120 ", now), Some(120));
        assert_eq!(
            parse_retry_after("Sun, 06 Nov 1994 08:49:47 GMT", now),
            Some(10)
        );
        assert_eq!(
            parse_retry_after("Sun, 06 Nov 1994 08:49:30 GMT", now),
            Some(0)
        );
        assert_eq!(parse_retry_after("soon", now), None);
        for ever in [
            "18446744073709551615",
            "18446744073709551616",
            "Fri, 31 Dec 9999 23:59:59 GMT",
        ] {
            assert_eq!(parse_retry_after(ever, now), Some(24 * 3600), "{ever}");
        }
    }

    #[test]
    fn waits_grow_and_stay_below_the_longest() {
        let policy = RetryPolicy {
            limit: 40,
            longest_wait: Duration::from_secs(20),
        };
        for round in 0..40 {
            let full = Duration::from_millis(250)
                .saturating_mul(2_u32.saturating_pow(round))
                .min(policy.longest_wait);
            let wait = policy.wait(round);
            assert!(wait <= full && wait >= full / 2, "round {round}: {wait:?}");
        }
    }
}
