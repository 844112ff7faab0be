//! Versions as pacman orders them: `[epoch:]version[-release]`.
//! <https://man.archlinux.org/man/vercmp.8>

use std::cmp::Ordering;

/// What vercmp says of two versions.
pub(super) fn compare(one: &str, other: &str) -> Ordering {
    let ((epoch, version, release), theirs) = (parts(one), parts(other));
    segments(epoch, theirs.0)
        .then_with(|| segments(version, theirs.1))
        .then_with(|| match (release, theirs.2) {
            (Some(release), Some(theirs)) => segments(release, theirs),
            _ => Ordering::Equal,
        })
}

/// Epoch, version and release.
fn parts(text: &str) -> (&str, &str, Option<&str>) {
    let epoch = text.split_once(':');
    let epoch = epoch.filter(|(epoch, _)| epoch.bytes().all(|byte| byte.is_ascii_digit()));
    let (epoch, rest) = match epoch {
        Some(("", rest)) => ("0", rest),
        Some((epoch, rest)) => (epoch, rest),
        None => ("0", text),
    };
    match rest.rsplit_once('-') {
        Some((version, release)) => (epoch, version, Some(release)),
        None => (epoch, rest, None),
    }
}

/// Compares segments of digits or of letters, one after the other. What stands between them counts by its length only.
fn segments(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one.as_bytes(), other.as_bytes());
    if one == other {
        return Ordering::Equal;
    }
    while !one.is_empty() && !other.is_empty() {
        let between = [one, other].map(|text| length(text, |byte| !byte.is_ascii_alphanumeric()));
        (one, other) = (rest(one, between[0]), rest(other, between[1]));
        if one.is_empty() || other.is_empty() {
            break;
        }
        if between[0] != between[1] {
            return between[0].cmp(&between[1]);
        }
        let is_number = one.first().is_some_and(u8::is_ascii_digit);
        let kind = match is_number {
            true => u8::is_ascii_digit,
            false => u8::is_ascii_alphabetic,
        };
        let lengths = [one, other].map(|text| length(text, kind));
        let segment = [(one, lengths[0]), (other, lengths[1])];
        let [ours, theirs] = segment.map(|(text, length)| text.get(..length).unwrap_or_default());
        let order = match (theirs.is_empty(), is_number) {
            // A number is newer than letters.
            (true, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, true) => {
                let [ours, theirs] = [ours, theirs].map(without_zeros);
                ours.len().cmp(&theirs.len()).then_with(|| ours.cmp(theirs))
            }
            (false, false) => ours.cmp(theirs),
        };
        if order != Ordering::Equal {
            return order;
        }
        (one, other) = (rest(one, lengths[0]), rest(other, lengths[1]));
    }
    let begins_with_letter = |text: &[u8]| text.first().is_some_and(u8::is_ascii_alphabetic);
    match (one.is_empty(), other.is_empty()) {
        (true, true) => Ordering::Equal,
        // Letters that follow are a version before: 1.0rc, 1.0.
        (true, false) if !begins_with_letter(other) => Ordering::Less,
        _ if begins_with_letter(one) => Ordering::Less,
        _ => Ordering::Greater,
    }
}

fn length(text: &[u8], of: impl Fn(&u8) -> bool) -> usize {
    text.iter().take_while(|byte| of(byte)).count()
}

fn rest(text: &[u8], from: usize) -> &[u8] {
    text.get(from..).unwrap_or_default()
}

fn without_zeros(number: &[u8]) -> &[u8] {
    rest(number, length(number, |byte| *byte == b'0'))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    /// The real one; Debian: makepkg.
    fn vercmp(one: &str, other: &str) -> Ordering {
        let output = Command::new("vercmp").args([one, other]).output();
        let output = output
            .unwrap_or_else(|error| panic!("this test needs vercmp (Debian: makepkg): {error}"));
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let number: i32 = said
            .parse()
            .unwrap_or_else(|_| panic!("vercmp says {said:?}"));
        number.cmp(&0)
    }

    #[test]
    fn versions_are_ordered_as_by_vercmp() {
        for (one, other) in [
            ("1.5.0-1", "1.5.0-1"),
            ("1.5.1-1", "1.5.0-1"),
            ("1.5.0-2", "1.5.0-1"),
            ("1.5-1", "1.5"),
            ("1.5b-1", "1.5-1"),
            ("1.5.a", "1.5"),
            ("1.0rc1", "1.0"),
            ("1.0.rc1", "1.0"),
            ("2:1.0-1", "1:3.6-1"),
            ("0:1.0-1", "1.0-1"),
            (":1.0", "1.0"),
            ("1..0", "1.0"),
            ("1.0.", "1.0"),
            ("1.0.", "1.0."),
            ("001", "1"),
            ("20240101.r5.gabc", "20240101.r12.gdef"),
            ("1.a.2", "1.1.2"),
            ("1_2", "1.2"),
            ("a:1", "1"),
            ("1-2-3", "1-2"),
        ] {
            assert_eq!(compare(one, other), vercmp(one, other), "{one} {other}");
            assert_eq!(compare(other, one), vercmp(other, one), "{other} {one}");
        }
    }

    proptest! {
        // Each is a process.
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn any_two_versions_are_ordered_as_by_vercmp(
            one in "[0-9]{0,1}:?[0-9a-c._+~-]{1,8}", other in "[0-9]{0,1}:?[0-9a-c._+~-]{1,8}",
        ) {
            prop_assume!(!one.starts_with('-') && !other.starts_with('-'));
            prop_assert_eq!(compare(&one, &other), vercmp(&one, &other));
        }
    }
}
