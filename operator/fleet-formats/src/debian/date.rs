//! Dates of Release files.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Reads `Sat, 07 Jun 2025 10:12:13 UTC` (RFC 1123; the weekday may be missing, the zone must be a name of UTC, the hour
/// and day may have one digit: what apt accepts) as seconds since 1970-01-01T00:00:00Z.
pub(super) fn parse(text: &str) -> Option<i64> {
    let rest = text.split_once(',').map_or(text, |(_weekday, rest)| rest);
    let mut words = rest.split_ascii_whitespace();
    let (day, month, year, time, zone) = (
        words.next()?,
        words.next()?,
        words.next()?,
        words.next()?,
        words.next()?,
    );
    if words.next().is_some() || !matches!(zone, "UTC" | "GMT" | "Z" | "+0000" | "-0000") {
        return None;
    }
    let month = (1..)
        .zip(MONTHS)
        .find(|(_, name)| name.eq_ignore_ascii_case(month))?
        .0;
    let mut clock = time.split(':');
    let (hour, minute, second) = (
        number(clock.next()?)?,
        number(clock.next()?)?,
        number(clock.next()?)?,
    );
    if clock.next().is_some() || year.len() != 4 {
        return None;
    }
    let year = year.parse::<u16>().ok()?;
    let civil = DateTime::new(
        year.try_into().ok()?,
        month,
        number(day)?,
        hour,
        minute,
        second,
        0,
    )
    .ok()?;
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
}

fn number(text: &str) -> Option<i8> {
    (matches!(text.len(), 1 | 2) && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_forms_that_apt_accepts_are_read() {
        for text in [
            "Sat, 07 Jun 2025 10:12:13 UTC",
            "Sat, 7 Jun 2025 10:12:13 GMT",
            "Sat,  7 Jun 2025 10:12:13 +0000",
            "7 jun 2025 10:12:13 Z",
        ] {
            assert_eq!(parse(text), Some(1_749_291_133), "{text}");
        }
        assert_eq!(parse("Thu, 01 Jan 1970 00:00:00 UTC"), Some(0));
    }

    #[test]
    fn anything_else_is_no_date() {
        for text in [
            "",
            "Sat, 07 Jun 2025 10:12:13",
            "Sat, 07 Jun 2025 10:12:13 +0200",
            "Sat, 07 Jun 2025 10:12:13 CET",
            "Sat, 31 Feb 2025 10:12:13 UTC",
            "Sat, 07 Jun 2025 25:12:13 UTC",
            "Sat, 07 Jun 2025 10:12 UTC",
            "Sat, 07 Jun 99999 10:12:13 UTC",
            "Sat, +7 Jun 2025 10:12:13 UTC",
            "2025-06-07T10:12:13Z",
            "Sat, 07 Jun 2025 10:12:13 UTC UTC",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
