//! Dates of Release files: a wide reader for Date, and apt's own for Valid-Until.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: [&str; 7] = [
    "sunday",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
];
/// The zones with names of RFC 822, in hours. Other names mean different things in different places.
const ZONES: [(&str, i64); 12] = [
    ("utc", 0),
    ("gmt", 0),
    ("ut", 0),
    ("z", 0),
    ("est", -5),
    ("edt", -4),
    ("cst", -6),
    ("cdt", -5),
    ("mst", -7),
    ("mdt", -6),
    ("pst", -8),
    ("pdt", -7),
];
/// What apt takes for UTC besides offsets of nothing.
const ZONES_OF_APT: [&str; 3] = ["UTC", "GMT", "Z"];

/// Seconds since 1970-01-01T00:00:00Z, of any date that can mean one instant only: RFC 1123 (`Sat, 07 Jun 2025 10:12:13
/// UTC`), RFC 850 (`Saturday, 07-Jun-25 10:12:13 GMT`), asctime and date(1) (`Sat Jun  7 10:12:13 2025`), with or without
/// weekday and seconds, and ISO 8601. An offset counts; without a zone it is UTC; two digits of a year are of this century.
pub(super) fn parse(text: &str) -> Option<i64> {
    // RFC 5322: what stands in parentheses is a comment.
    let text = text.split('(').next().unwrap_or_default().trim();
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at.as_second());
    }
    if let Ok(at) = text.parse::<DateTime>()
        && text.contains(':')
    {
        let at = at.to_zoned(TimeZone::UTC).ok()?;
        return Some(at.timestamp().as_second());
    }
    let words: Vec<&str> = text
        .split(|c: char| c.is_ascii_whitespace() || c == ',')
        .filter(|word| !word.is_empty())
        .collect();
    let words = match words.split_first() {
        Some((first, rest)) if is_weekday(first.trim_end_matches('.')) => rest,
        _ => &words,
    };
    let mut parts = Parts::default();
    for word in words {
        parts.add(word)?;
    }
    parts.instant()
}

/// The same for Valid-Until, as apt 2.6 reads it: with a weekday, in one of its three forms, in UTC that is named (asctime
/// has no zone). A month is known by its first three letters, a day that the month does not have is one of the next.
pub(super) fn parse_as_apt(text: &str) -> Option<i64> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let mut parts = Parts::default();
    let zone = match words.as_slice() {
        [weekday, month, day, time, year] if is_short_weekday(weekday) => {
            parts.month(month)?;
            parts.day(day)?;
            parts.time(time)?;
            parts.year(year)?;
            None
        }
        [weekday, day, month, year, time, zone]
            if weekday.strip_suffix(',').is_some_and(is_short_weekday) =>
        {
            parts.day(day)?;
            parts.month(month)?;
            parts.year(year)?;
            parts.time(time)?;
            Some(*zone)
        }
        [weekday, date, time, zone] if weekday.strip_suffix(',').is_some_and(is_long_weekday) => {
            parts.dashed(date)?;
            // Only here apt has the years of the last century.
            if let Some(year) = parts.year.filter(|year| (2070..2100).contains(year))
                && date.len() <= "07-Jun-25".len()
            {
                parts.year = Some(year - 100);
            }
            parts.time(time)?;
            Some(*zone)
        }
        _ => return None,
    };
    if zone.is_some_and(|zone| !ZONES_OF_APT.contains(&zone) && !is_zero(zone)) {
        return None;
    }
    parts.instant()
}

fn is_weekday(word: &str) -> bool {
    is_short_weekday(word) || is_long_weekday(word)
}

fn is_short_weekday(word: &str) -> bool {
    let mut names = WEEKDAYS.iter().filter_map(|name| name.get(..3));
    names.any(|name| name.eq_ignore_ascii_case(word))
}

fn is_long_weekday(word: &str) -> bool {
    WEEKDAYS.iter().any(|name| name.eq_ignore_ascii_case(word))
}

/// An offset of nothing: `+0000`, `-00`, `0`.
fn is_zero(zone: &str) -> bool {
    let digits = zone.strip_prefix(['+', '-']).unwrap_or(zone);
    !digits.is_empty() && digits.bytes().all(|byte| byte == b'0')
}

/// What the words of a date said so far; each at most once.
#[derive(Default)]
struct Parts {
    day: Option<u8>,
    month: Option<i8>,
    year: Option<i16>,
    /// Seconds of the day.
    time: Option<i64>,
    /// Afternoon, where the clock has twelve hours.
    half: Option<bool>,
    /// Seconds east of Greenwich.
    offset: Option<i64>,
}

fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.is_none().then(|| *place = Some(value))
}

impl Parts {
    /// Takes a word for what it must be by its form and by what is there already.
    fn add(&mut self, word: &str) -> Option<()> {
        let digits = word.bytes().all(|byte| byte.is_ascii_digit());
        match word {
            _ if word.contains(':') && !word.starts_with(['+', '-']) => {
                match word.matches(':').count() {
                    1 => self.time(&format!("{word}:00")),
                    _ => self.time(word),
                }
            }
            _ if digits && self.day.is_none() && word.len() <= 2 => self.day(word),
            _ if digits => self.year(word),
            _ if word.starts_with(['+', '-']) => once(&mut self.offset, offset(word)?),
            // As JavaScript writes it.
            _ if word.starts_with("GMT+") || word.starts_with("GMT-") => {
                once(&mut self.offset, offset(word.get(3..)?)?)
            }
            _ if word.contains('-') => self.dashed(word),
            "AM" | "am" => once(&mut self.half, false),
            "PM" | "pm" => once(&mut self.half, true),
            _ => match ZONES.iter().find(|zone| zone.0.eq_ignore_ascii_case(word)) {
                Some((_, hours)) => once(&mut self.offset, hours * 3600),
                None => self.month(word),
            },
        }
    }

    /// `07-Jun-25`
    fn dashed(&mut self, word: &str) -> Option<()> {
        let mut parts = word.split('-');
        self.day(parts.next()?)?;
        self.month(parts.next()?)?;
        self.year(parts.next()?)?;
        parts.next().is_none().then_some(())
    }

    fn day(&mut self, word: &str) -> Option<()> {
        let day = number(word, 1..=31)?;
        once(&mut self.day, u8::try_from(day).ok()?)
    }

    fn month(&mut self, word: &str) -> Option<()> {
        let known = |name: &str| {
            word.get(..3)
                .is_some_and(|start| start.eq_ignore_ascii_case(name))
        };
        let is_word = word.chars().all(char::is_alphabetic);
        let place = MONTHS
            .iter()
            .position(|name| known(name))
            .filter(|_| is_word)?;
        once(&mut self.month, i8::try_from(place + 1).ok()?)
    }

    fn year(&mut self, word: &str) -> Option<()> {
        let year = number(word, 0..=9999)?;
        let year = match word.len() {
            2 => year + 2000,
            4 => year,
            _ => return None,
        };
        once(&mut self.year, i16::try_from(year).ok()?)
    }

    /// `10:12:13`, where apt also takes one digit and a broken second.
    fn time(&mut self, word: &str) -> Option<()> {
        let whole = word.split_once('.').map_or(word, |(whole, _)| whole);
        let mut parts = whole.split(':');
        let (hour, minute) = (parts.next()?, parts.next()?);
        if hour.len() > 2 || minute.len() > 2 {
            return None;
        }
        let second = number(parts.next()?, 0..=61)?;
        let time = number(hour, 0..=23)? * 3600 + number(minute, 0..=59)? * 60 + second;
        parts.next().is_none().then(|| once(&mut self.time, time))?
    }

    fn instant(self) -> Option<i64> {
        let first = DateTime::new(self.year?, self.month?, 1, 0, 0, 0, 0).ok()?;
        let first = first.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second();
        let days = i64::from(self.day?) - 1;
        let time = match (self.half, self.time?) {
            (None, time) => time,
            // Twelve comes before one.
            (Some(afternoon), time) if (3600..13 * 3600).contains(&time) => {
                time % (12 * 3600) + i64::from(afternoon) * 12 * 3600
            }
            _ => return None,
        };
        let at = first + days * 86_400 + time - self.offset.unwrap_or(0);
        // The last days of the year 9999, which some write for never, are beyond what others here can show.
        Some(at.min(Timestamp::MAX.as_second()))
    }
}

/// `+0530` or `+05:30`, in seconds.
fn offset(word: &str) -> Option<i64> {
    let sign = if word.starts_with('-') { -1 } else { 1 };
    if is_zero(word) {
        return Some(0);
    }
    let digits = word.get(1..)?.replacen(':', "", 1);
    let (hours, minutes) = (digits.get(..2)?, digits.get(2..)?);
    let minutes = number(minutes, 0..=59).filter(|_| minutes.len() == 2)?;
    Some(sign * (number(hours, 0..=23)? * 3600 + minutes * 60))
}

fn number(text: &str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
    let digits = matches!(text.len(), 1..=4) && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| text.parse().ok())??;
    range.contains(&number).then_some(number)
}

#[cfg(test)]
mod tests;
