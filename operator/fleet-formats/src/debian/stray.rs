//! Lines of a Release file that are no fields, and what stands behind its first stanza: apt's reader passes over both, and
//! what it passes over with them is nothing to us either.
//!
//! apt looks for the colon that ends a field's name without regard to ends of lines: a line without one becomes a part of
//! the next field's name, which then is one that nobody knows. Where no colon follows, apt refuses the file.

use fleet_types::Reason;

use crate::seam::Rejected;

/// Excerpts in notes.
const SHOWN_CHARS: usize = 60;

/// What is left of a Release file.
pub(super) struct Passed {
    pub text: Vec<u8>,
    /// One sentence for each thing that was passed over.
    pub notes: Vec<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Field,
    /// In a name that began with a line without a colon.
    StrayName,
    /// In the value of such a field.
    StrayValue,
}

/// Errors: `IndexMalformed` where apt refuses too.
pub(super) fn pass_over(payload: &[u8]) -> Result<Passed, Rejected> {
    let mut text = Vec::with_capacity(payload.len());
    let mut notes = Vec::new();
    let mut place = Place::Field;
    let mut stray = String::new();
    let mut skipped = false;
    let mut lines = payload.split_inclusive(|byte| *byte == b'\n');
    for line in lines.by_ref() {
        if line.trim_ascii().is_empty() {
            // One is passed over, a second one is the end.
            if text.is_empty() && place == Place::Field && !skipped {
                skipped = true;
                continue;
            }
            break;
        }
        let has_colon = line.contains(&b':');
        let begins = !matches!(line.first(), Some(b' ' | b'\t'));
        place = match place {
            Place::StrayName if has_colon => {
                notes.push(format!(
                    "the Release file has a line that is no field, {stray:?}: apt passes over it and over the field behind it, \
                     {:?}, and so do we",
                    shown(line)
                ));
                Place::StrayValue
            }
            Place::StrayName => Place::StrayName,
            Place::Field | Place::StrayValue if begins && has_colon => Place::Field,
            Place::Field | Place::StrayValue if begins => {
                stray = shown(line);
                Place::StrayName
            }
            same => same,
        };
        if place == Place::Field {
            text.extend_from_slice(line);
        }
    }
    if place == Place::StrayName {
        let message = format!("the Release file ends in a line that is no field: {stray:?}");
        return Err(Rejected::new(Reason::IndexMalformed, message));
    }
    if lines.any(|line| !line.trim_ascii().is_empty()) {
        notes.push("the Release file has a second stanza, which clients pass over".to_owned());
    }
    Ok(Passed { text, notes })
}

fn shown(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line.trim_ascii());
    line.chars().take(SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(text: &str) -> (String, usize) {
        let passed = pass_over(text.as_bytes()).unwrap();
        (String::from_utf8(passed.text).unwrap(), passed.notes.len())
    }

    #[test]
    fn a_stray_line_takes_the_field_behind_it_along() {
        let text = "Suite: a\nVersion 1.0\nComponents: main\n more\nDate: x\nSHA256:\n a b\n";
        assert_eq!(
            passed(text),
            ("Suite: a\nDate: x\nSHA256:\n a b\n".to_owned(), 1)
        );
        let first = "Stray\n indented\nSuite: a\nDate: x\n";
        assert_eq!(passed(first), ("Date: x\n".to_owned(), 1));
        assert_eq!(
            passed("Suite: a\n\nDate: x\n"),
            ("Suite: a\n".to_owned(), 1)
        );
        assert_eq!(
            passed("\nSuite: a\n b\n\n"),
            ("Suite: a\n b\n".to_owned(), 0)
        );
        assert_eq!(passed("\n\nSuite: a\n"), (String::new(), 1));
        assert!(pass_over(b"Suite: a\nStray end\n").is_err());
    }
}
