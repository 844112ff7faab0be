//! Questions to the upstream registry, and when it is left alone: after several failures in a row, or when it says so.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fleet_fetch::{Asker, FailureKind, FetchError, FetchOptions, Meter, Question, Told};
use fleet_telemetry::{QuestionResult, RegistryTraffic};
use fleet_types::{Problem, lock};
use http::{HeaderName, HeaderValue, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

use crate::refusal::Refusal;

/// So many failures in a row may be about single packages.
const FAILURES_UNTIL_BLOCK: u32 = 3;
const FIRST_BLOCK: Duration = Duration::from_secs(5);
const LONGEST_BLOCK: Duration = Duration::from_secs(300);
/// However long an upstream asks to be left alone: what is kept grows old meanwhile.
const LONGEST_REST: Duration = Duration::from_secs(3600);

pub struct Upstream {
    asker: Asker,
    /// Of so many connections the answers may wait until somebody reads them.
    early: Arc<Semaphore>,
    /// Without a slash at its end.
    address: String,
    is_offline: bool,
    breaker: Mutex<Breaker>,
    traffic: Arc<RegistryTraffic>,
}

/// An answer that nobody reads yet. It counts among those of [`Upstream::ask_if_free`] until then.
pub struct Early {
    pub told: Told,
    _permit: OwnedSemaphorePermit,
}

impl Upstream {
    pub fn new(
        options: &FetchOptions,
        is_offline: bool,
        meter: &Arc<Meter>,
        traffic: Arc<RegistryTraffic>,
    ) -> Result<Upstream, Problem> {
        Ok(Upstream {
            asker: Asker::new(options, meter)?,
            early: Arc::new(Semaphore::new(options.max_connections / 2)),
            address: options.authority.as_str().trim_end_matches('/').to_owned(),
            is_offline,
            breaker: Mutex::default(),
            traffic,
        })
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn is_offline(&self) -> bool {
        self.is_offline
    }

    /// Since when nothing has been asked, in Unix seconds; none while it is.
    pub fn blocked_since(&self) -> Option<i64> {
        lock(&self.breaker).since
    }

    /// Asks for what is at `path`, from the slash after the registry's address on. An answer that says nothing about the
    /// upstream's health is answered with, whatever its status is.
    pub async fn ask(
        &self,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Option<&Bytes>,
    ) -> Result<Told, Refusal> {
        self.ask_at(&format!("{}{path}", self.address), headers, body)
            .await
    }

    /// The same for a URL.
    pub async fn ask_at(
        &self,
        url: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Option<&Bytes>,
    ) -> Result<Told, Refusal> {
        let url = self.may_be_asked(url)?;
        let question = Question {
            url: &url,
            headers,
            body,
        };
        self.judge(self.asker.ask(question).await)
    }

    /// The same, as long as that takes no connection that somebody waits for, and half of all are left for others. None where
    /// it would.
    pub async fn ask_if_free(
        &self,
        url: &str,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Option<Result<Early, Refusal>> {
        let permit = self.early.clone().try_acquire_owned().ok()?;
        let url = match self.may_be_asked(url) {
            Ok(url) => url,
            Err(refusal) => return Some(Err(refusal)),
        };
        let question = Question {
            url: &url,
            headers,
            body: None,
        };
        let told = self.asker.ask_if_free(question).await?;
        Some(self.judge(told).map(|told| Early {
            told,
            _permit: permit,
        }))
    }

    /// Whether anything is asked for just now.
    fn may_be_asked(&self, url: &str) -> Result<Url, Refusal> {
        let url = Url::parse(url).map_err(|_| {
            Refusal::new(StatusCode::BAD_GATEWAY, "this makes no URL at the upstream")
        })?;
        if self.is_offline {
            let text = "this registry is offline (pullThrough.offline): what is not kept here cannot be had";
            return Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, text));
        }
        match lock(&self.breaker).blocked(Instant::now()) {
            None => Ok(url),
            Some(left) => Err(Refusal {
                retry_after: Some(left.as_secs() + 1),
                ..Refusal::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    format!(
                        "the upstream registry has failed and is left alone for {} s more; what is not kept here cannot be had meanwhile",
                        left.as_secs() + 1
                    ),
                )
            }),
        }
    }

    /// What the head of an answer, or none, says of the upstream's health.
    fn judge(&self, told: Result<Told, FetchError>) -> Result<Told, Refusal> {
        let told = told.map_err(|error| self.failed(&error))?;
        let status = told.status();
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(self.failed(&told.refusal()));
        }
        // Who never comes to the end of what was promised by the head is no better than who says nothing.
        if !status.is_success() {
            self.answered();
        }
        Ok(told)
    }

    /// An answer has come as a whole.
    pub fn answered(&self) {
        if let Some(rested) = lock(&self.breaker).good() {
            tracing::info!(
                upstream = self.address,
                failures = rested,
                "the upstream registry answers again"
            );
        }
        self.traffic.set_blocked(None);
    }

    /// An answer that broke off, or none at all.
    pub fn failed(&self, error: &FetchError) -> Refusal {
        self.traffic.asked(QuestionResult::Failed);
        let asked_for = match error.kind {
            FailureKind::Busy { retry_after } => retry_after.map(Duration::from_secs),
            _ => None,
        };
        if let Some(rest) = lock(&self.breaker).bad(Instant::now(), asked_for) {
            tracing::warn!(upstream = self.address, %error.message, "the upstream registry is left alone for {} s", rest.as_secs());
            self.traffic
                .set_blocked(Some(crate::now().saturating_add_unsigned(rest.as_secs())));
        }
        Refusal::of_upstream(error)
    }
}

/// Decided with plain values: `now` comes from outside.
#[derive(Debug, Default)]
struct Breaker {
    /// In a row.
    failures: u32,
    until: Option<Instant>,
    /// Unix seconds.
    since: Option<i64>,
}

impl Breaker {
    /// How much longer nothing is asked.
    fn blocked(&self, now: Instant) -> Option<Duration> {
        self.until?
            .checked_duration_since(now)
            .filter(|left| !left.is_zero())
    }

    /// Answers with how many failures there were, if there was a block.
    fn good(&mut self) -> Option<u32> {
        let failures = std::mem::take(&mut self.failures);
        self.since = None;
        self.until.take().map(|_| failures)
    }

    /// For how long nothing is asked from now on, if that is new.
    fn bad(&mut self, now: Instant, asked_for: Option<Duration>) -> Option<Duration> {
        let was_blocked = self.blocked(now).is_some();
        self.failures = self.failures.saturating_add(1);
        let own = match self.failures.checked_sub(FAILURES_UNTIL_BLOCK) {
            // Those that were under way when it began are no further failure.
            Some(_) if was_blocked => None,
            Some(times) => Some(
                FIRST_BLOCK
                    .saturating_mul(2_u32.saturating_pow(times))
                    .min(LONGEST_BLOCK),
            ),
            None => None,
        };
        let rest = own.max(asked_for.map(|rest| rest.min(LONGEST_REST)))?;
        self.until = self.until.max(now.checked_add(rest));
        self.since.get_or_insert_with(crate::now);
        (!was_blocked).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_is_left_alone_after_several_failures_and_longer_each_time() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        assert_eq!(
            (breaker.bad(start, None), breaker.bad(start, None)),
            (None, None)
        );
        assert_eq!(breaker.blocked(start), None);
        assert_eq!(breaker.bad(start, None), Some(5 * SECOND));
        assert_eq!(breaker.bad(start, None), None, "one that was under way");
        assert_eq!(breaker.blocked(start + 4 * SECOND), Some(SECOND));
        let later = start + 5 * SECOND;
        assert_eq!(breaker.blocked(later), None, "it is tried again");
        let next = breaker.bad(later, None).unwrap();
        assert!(next > 5 * SECOND && next <= LONGEST_BLOCK);
        assert!(
            breaker.since.is_some(),
            "it is blocked while it is only tried"
        );
        assert!(breaker.good().is_some());
        assert_eq!(breaker.since, None);
        assert_eq!((breaker.blocked(later), breaker.good()), (None, None));
        assert_eq!(
            breaker.bad(later, None),
            None,
            "it counts from the beginning"
        );
    }

    #[test]
    fn it_is_left_alone_when_it_says_so() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        assert_eq!(breaker.bad(start, Some(90 * SECOND)), Some(90 * SECOND));
        assert_eq!(breaker.blocked(start + 89 * SECOND), Some(SECOND));
        let mut patient = Breaker::default();
        assert_eq!(
            patient.bad(start, Some(1_000_000 * SECOND)),
            Some(LONGEST_REST)
        );
    }
}
