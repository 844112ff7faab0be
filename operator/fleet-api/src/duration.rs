//! Durations as people write them in manifests: `90s`, `10m`, `1h30m`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A Go-style duration in hours, minutes and seconds, whole numbers only: `6h`, `1h30m`, `45s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(pub Duration);

/// A text that is not such a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a duration; write hours, minutes and seconds, for example `6h`, `1h30m` or `45s`"
)]
pub struct DurationError(String);

/// The pattern that the schema and the parser share.
pub const PATTERN: &str = "^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,9}s)?$";

impl GoDuration {
    pub const fn from_secs(seconds: u64) -> Self {
        GoDuration(Duration::from_secs(seconds))
    }
    pub const fn as_secs(self) -> u64 {
        self.0.as_secs()
    }
}

impl FromStr for GoDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let wrong = || DurationError(text.chars().take(40).collect());
        let mut seconds = 0u64;
        let mut rest = text;
        for (unit, factor) in [('h', 3600), ('m', 60), ('s', 1)] {
            if let Some((number, after)) = rest.split_once(unit) {
                let digits = !number.is_empty()
                    && number.len() <= 9
                    && number.bytes().all(|b| b.is_ascii_digit());
                let number: u64 = number.parse().ok().filter(|_| digits).ok_or_else(wrong)?;
                seconds += number * factor;
                rest = after;
            }
        }
        if text.is_empty() || !rest.is_empty() {
            Err(wrong())
        } else {
            Ok(Self::from_secs(seconds))
        }
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.0.as_secs();
        let (hours, minutes, seconds) = (total / 3600, total / 60 % 60, total % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        if seconds > 0 || total == 0 {
            write!(f, "{seconds}s")?;
        }
        Ok(())
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for GoDuration {
    fn schema_name() -> Cow<'static, str> {
        "GoDuration".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 2, "maxLength": 24, "pattern": PATTERN})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_as_people_write_them() {
        for (text, seconds) in [
            ("6h", 21600),
            ("1h30m", 5400),
            ("45s", 45),
            ("2m5s", 125),
            ("0s", 0),
        ] {
            let duration: GoDuration = text.parse().unwrap();
            assert_eq!(duration.as_secs(), seconds);
            assert_eq!(duration.to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in [
            "",
            "6",
            "6d",
            "h",
            "1m1h",
            "-1s",
            "1.5h",
            "99999999999999999999h",
            " 1s",
            "+1s",
        ] {
            assert!(
                text.parse::<GoDuration>().is_err(),
                "{text:?} was taken for a duration"
            );
        }
    }
}
