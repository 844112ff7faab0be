//! What a status and headers mean, decided without network.

use fleet_types::counted;
use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use reqwest::header::{CONTENT_ENCODING, CONTENT_RANGE, HeaderMap, LOCATION, RETRY_AFTER};
use url::Url;

use super::retry::parse_retry_after;
use super::sink::Sink;
use super::url_path::shown;
use super::{FailureKind, FetchError};

/// Longer than the clocks of two machines are apart, usually.
const SETTLING_TIME: Duration = Duration::from_secs(10);

/// A file that changed just now can change again within the same second, and a validator made from its date (many ETags
/// are) would not tell. RFC 9110, section 8.8.2.2.
pub(super) fn is_settled(modified: Option<SystemTime>, now: SystemTime) -> bool {
    let since = |modified| now.duration_since(modified).unwrap_or(Duration::ZERO);
    modified.is_none_or(|modified| since(modified) >= SETTLING_TIME)
}

pub(super) fn unix(time: SystemTime) -> Option<i64> {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
}

pub(super) fn check_length(
    length: Option<u64>,
    start: u64,
    sink: &Sink,
    name: &str,
) -> Result<(), FetchError> {
    let Some(length) = length else { return Ok(()) };
    sink.announced(start, length).map_err(|e| e.at(name))?;
    match sink.promised() {
        // The server's own word is that its file is another one: no need to read it.
        Some(promised) if start.saturating_add(length) < promised => Err(FetchError::new(
            FailureKind::Mismatch,
            format!(
                "{name}: has {}, its index promises {promised}",
                counted(start.saturating_add(length), "byte")
            ),
        )),
        _ => Ok(()),
    }
}

/// `bytes START-END/TOTAL` with our start and, where both sides say it, the promised total. RFC 9110, section 14.4.
pub(super) fn range_fits(headers: &HeaderMap, start: u64, promised: Option<u64>) -> bool {
    let Some(value) = headers
        .get(CONTENT_RANGE)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let Some((range, total)) = value
        .trim()
        .strip_prefix("bytes ")
        .and_then(|rest| rest.split_once('/'))
    else {
        return false;
    };
    let Some((first, last)) = range.split_once('-') else {
        return false;
    };
    let (Ok(first), Ok(last)) = (first.trim().parse::<u64>(), last.trim().parse::<u64>()) else {
        return false;
    };
    let total_fits = match (total.trim().parse::<u64>(), promised) {
        (Ok(total), Some(promised)) => total == promised && last.checked_add(1) == Some(total),
        (Ok(total), None) => last < total,
        (Err(_), _) => total.trim() == "*",
    };
    first == start && last >= first && total_fits
}

pub(super) fn refusal(status: StatusCode, headers: &HeaderMap, name: &str) -> FetchError {
    if status == StatusCode::NOT_MODIFIED {
        let text = format!("{name}: an answer 304 to a request without conditions");
        return FetchError::new(FailureKind::Broken, text);
    }
    if status.is_redirection() {
        return unfollowed(status, headers, name);
    }
    let retry_after = headers
        .get(RETRY_AFTER)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| parse_retry_after(v, SystemTime::now()));
    refused(status, retry_after, name)
}

/// The same for what is no redirect.
pub(super) fn refused(status: StatusCode, retry_after: Option<u64>, name: &str) -> FetchError {
    let kind = match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => FailureKind::NotFound,
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::PROXY_AUTHENTICATION_REQUIRED => FailureKind::Forbidden,
        StatusCode::TOO_MANY_REQUESTS => FailureKind::Busy { retry_after },
        StatusCode::SERVICE_UNAVAILABLE if retry_after.is_some() => {
            FailureKind::Busy { retry_after }
        }
        status if status.is_server_error() => FailureKind::Unreachable,
        _ => FailureKind::Broken,
    };
    FetchError::new(kind, format!("{name}: the upstream answered {status}"))
}

/// What the client does not even try to follow: a redirect to another scheme, or to nowhere.
fn unfollowed(status: StatusCode, headers: &HeaderMap, name: &str) -> FetchError {
    let target = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let target = match target.map(Url::parse) {
        Some(Ok(url)) => format!("to {}", shown(&url)),
        Some(Err(_)) | None => "without a usable target".to_owned(),
    };
    let text = format!(
        "{name}: the upstream answered {status} with a redirect {target}; only redirects to http and https are followed"
    );
    FetchError::new(FailureKind::Redirect, text)
}

/// Whether the value of a Connection header says that no other answer follows.
pub(super) fn says_close(value: &str) -> bool {
    value
        .split(',')
        .any(|option| option.trim().eq_ignore_ascii_case("close"))
}

/// We ask for no encoding; some servers name one for files that are compressed themselves, so only a body that does not
/// fit is suspected of it.
pub(super) fn re_encoded(error: FetchError, headers: &HeaderMap) -> FetchError {
    match headers.get(CONTENT_ENCODING) {
        Some(encoding) if error.kind == FailureKind::Mismatch => FetchError {
            message: format!(
                "{}; it came with Content-Encoding {encoding:?}, which nobody asked for: a proxy in between may have changed it",
                error.message
            ),
            ..error
        },
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_range_that_was_asked_for_is_accepted() {
        let fits = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_RANGE, value.parse().unwrap());
            range_fits(&headers, 10, Some(100))
        };
        assert!(fits("bytes 10-99/100") && fits("bytes 10-99/*"));
        for wrong in [
            "bytes 0-99/100",
            "bytes 10-98/100",
            "bytes 10-99/101",
            "bytes */100",
            "lines 10-99/100",
            "bytes 10-x/100",
            "bytes 10-9/*",
        ] {
            assert!(!fits(wrong), "{wrong}");
        }
        assert!(!range_fits(&HeaderMap::new(), 10, Some(100)));
    }
}
