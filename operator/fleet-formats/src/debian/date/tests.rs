use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::{parse, parse_as_apt};

/// 2025-06-07T10:12:13Z
const AT: i64 = 1_749_291_133;

#[test]
fn a_date_that_means_one_instant_is_read() {
    for text in [
        "Sat, 07 Jun 2025 10:12:13 UTC",
        "Sat, 7 Jun 2025 10:12:13 GMT",
        "Sat,  7 Jun 2025 10:12:13 +0000",
        "Sat., 07 Jun 2025 10:12:13 UTC",
        "7 jun 2025 10:12:13 Z",
        "Sat, 07 Jun 2025 10:12:13",
        "Sat, 07 Jun 2025 05:12:13 -0500",
        "Sat, 07 Jun 2025 05:12:13 EST",
        "Sat, 07 Jun 2025 15:42:13 +05:30",
        "Sat, 07 Jun 25 10:12:13 utc",
        "Saturday, 07-Jun-25 10:12:13 GMT",
        "Saturday, 07-Jun-25 10:12:13",
        "Saturday, 07 June 2025 10:12:13 UTC",
        "Sat Jun  7 10:12:13 2025",
        "Sat Jun  7 10:12:13 UTC 2025",
        "Sat Jun  7 10:12:13 AM UTC 2025",
        "Sat 07 Jun 2025 12:12:13 +0200",
        "2025-06-07T10:12:13Z",
        "2025-06-07T12:12:13+02:00",
        "2025-06-07 10:12:13",
        "Sat, 07 Jun 2025 10:12:13 +0000 (UTC)",
        "Sat Jun 07 2025 12:12:13 GMT+0200 (Central European Summer Time)",
    ] {
        assert_eq!(parse(text), Some(AT), "{text}");
    }
    assert_eq!(parse("Sat, 07 Jun 2025 10:12 UTC"), Some(AT - 13));
    assert_eq!(parse("Thu, 01 Jan 1970 00:00:00 UTC"), Some(0));
    assert_eq!(parse("Thu Jan  1 12:00:01 AM UTC 1970"), Some(1));
    assert_eq!(parse("Thu Jan  1 12:00:01 PM UTC 1970"), Some(43_201));
}

#[test]
fn anything_else_is_no_date() {
    for text in [
        "",
        "never",
        "Sat, 07 Jun 2025 10:12:13 CET",
        "Sat, 32 Jan 2025 10:12:13 UTC",
        "Sat, 00 Jan 2025 10:12:13 UTC",
        "Sat, 07 Jun 2025 25:12:13 UTC",
        "Sat, 07 Jun 99999 10:12:13 UTC",
        "Sat, 07 Jun 2025 10:12:13 UTC UTC",
        "Sat, 07 Jun 2025 10:12:13 +2",
        "Sat, 07 Jun 2025 13:12:13 PM UTC",
        "2025-06-07",
        "1749291133",
    ] {
        assert_eq!(parse(text), None, "{text}");
    }
}

/// Each line was shown to apt 2.6.2 as the Valid-Until of a signed Release.
#[test]
fn valid_until_is_read_as_apt_reads_it() {
    for (text, apt) in [
        ("Sat, 07 Jun 2025 10:12:13 UTC", Some(AT)),
        ("Sat, 07 Jun 2025 10:12:13 GMT", Some(AT)),
        ("Sat, 07 Jun 2025 10:12:13 Z", Some(AT)),
        ("SAT, 07 JUN 2025 10:12:13 -0000", Some(AT)),
        ("Sat, 07 Jun 2025 10:12:13 +0", Some(AT)),
        ("Sat, 7 Juni 2025 10:12:13 UTC", Some(AT)),
        ("Sat, 07 Jun 2025 10:12:13.5 UTC", Some(AT)),
        ("Sat Jun  7 10:12:13 2025", Some(AT)),
        ("Saturday, 07-Jun-25 10:12:13 GMT", Some(AT)),
        ("Saturday, 07-June-25 10:12:13 Z", Some(AT)),
        // 31 February, as apt counts on: 3 March.
        ("Sat, 31 Feb 2026 10:00:00 UTC", Some(1_772_532_000)),
        ("Thursday, 03-Dec-69 10:20:30 GMT", Some(3_153_291_630)),
        ("Thursday, 03-Dec-70 10:20:30 GMT", Some(29_067_630)),
        ("Sat, 07 Jun 2025 10:12:13 +0200", None),
        ("Sat, 07 Jun 2025 10:12:13 CET", None),
        ("Sat, 07 Jun 2025 10:12:13 utc", None),
        ("Sat, 07 Jun 2025 10:12:13 UT", None),
        ("Sat, 07 Jun 2025 10:12:13", None),
        ("Sat, 07 Jun 2025 10:12:13 UTC x", None),
        ("Sat, 07 Jun 2025 10:12 UTC", None),
        ("Sat, 07 Jun 2025 24:00:00 UTC", None),
        ("Sat, 32 Jun 2025 10:00:00 UTC", None),
        ("Sat,07 Jun 2025 10:12:13 UTC", None),
        ("Sat., 07 Jun 2025 10:12:13 UTC", None),
        ("Xyz, 07 Jun 2025 10:12:13 UTC", None),
        ("Saturday, 07 Jun 2025 10:12:13 UTC", None),
        ("Sat Jun  7 10:12:13 UTC 2025", None),
        ("Saturday, 07-Jun-25 10:12:13", None),
        ("07 Jun 2025 10:12:13 UTC", None),
        ("2025-06-07T10:12:13Z", None),
        ("never", None),
    ] {
        assert_eq!(parse_as_apt(text), apt, "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_a_reader_panic(text in "\\PC{0,60}", words in "[-+:,.0-9A-Za-z ]{0,60}") {
        for text in [text, words] {
            let _ = (parse(&text), parse_as_apt(&text));
        }
    }

    #[test]
    fn what_is_written_in_any_form_is_read_as_the_same_instant(
        seconds in 0i64..3_000_000_000,
        offset in -14i32 * 3600..=14 * 3600,
    ) {
        let zone = jiff::tz::Offset::from_seconds(offset / 60 * 60).unwrap();
        let at = Timestamp::from_second(seconds).unwrap();
        for form in ["%a, %d %b %Y %H:%M:%S %z", "%a %b %d %H:%M:%S %z %Y", "%A, %d-%b-%Y %H:%M:%S %z"] {
            let text = strtime::format(form, &at.to_zoned(TimeZone::fixed(zone))).unwrap();
            prop_assert_eq!(parse(&text), Some(seconds), "{}", text);
        }
        for form in ["%a, %d %b %Y %H:%M:%S UTC", "%a %b %e %H:%M:%S %Y"] {
            let text = strtime::format(form, &at.to_zoned(TimeZone::UTC)).unwrap();
            prop_assert_eq!((parse(&text), parse_as_apt(&text)), (Some(seconds), Some(seconds)), "{}", text);
        }
    }
}
