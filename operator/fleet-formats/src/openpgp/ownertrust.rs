//! The two lists beside a keyring of pacman's: `archlinux-trusted`, in the form of `gpg --export-ownertrust`, and
//! `archlinux-revoked`, fingerprints. Both as `pacman-key --populate` reads them.

use std::collections::{BTreeMap, BTreeSet};

/// How far a key is believed about other keys. It is itself believed in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownertrust {
    /// Not at all.
    Nothing,
    /// Together with others.
    Marginal,
    /// Alone.
    Full,
}

/// What is wrong with a list, and in which line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not {wanted}")]
pub struct ListError {
    pub line: usize,
    pub wanted: &'static str,
}

/// `FINGERPRINT:NUMBER:`, a line for each key; by fingerprint in upper-case hexadecimal.
pub fn parse_trusted(text: &[u8]) -> Result<BTreeMap<String, Ownertrust>, ListError> {
    let wanted = "a fingerprint of 40 hexadecimal digits with an ownertrust, as `gpg --export-ownertrust` writes them";
    let read = |line: &str| {
        let (key, rest) = line.split_once(':')?;
        let trust = match rest.strip_suffix(':').unwrap_or(rest) {
            "2" | "3" => Ownertrust::Nothing,
            "4" => Ownertrust::Marginal,
            "5" | "6" => Ownertrust::Full,
            _ => return None,
        };
        Some((fingerprint(key)?, trust))
    };
    lines(text, wanted, read).collect()
}

/// A fingerprint a line, in upper-case hexadecimal.
pub fn parse_disabled(text: &[u8]) -> Result<BTreeSet<String>, ListError> {
    lines(text, "a fingerprint of 40 hexadecimal digits", fingerprint).collect()
}

fn lines<'a, T: 'a>(
    text: &'a [u8],
    wanted: &'static str,
    read: impl Fn(&str) -> Option<T> + 'a,
) -> impl Iterator<Item = Result<T, ListError>> + 'a {
    let numbered = (1..).zip(text.split(|byte| *byte == b'\n'));
    numbered.filter_map(move |(line, bytes)| {
        let text = bytes.trim_ascii();
        if text.is_empty() || text.starts_with(b"#") {
            return None;
        }
        let read = str::from_utf8(text).ok().and_then(&read);
        Some(read.ok_or(ListError { line, wanted }))
    })
}

fn fingerprint(text: &str) -> Option<String> {
    let fits = text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    fits.then(|| text.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef0123456789ABCDEF01234567";

    #[test]
    fn lists_are_read_as_pacman_key_reads_them() {
        let text = format!("# masters\n\n{KEY}:4:\r\n");
        let trusted = parse_trusted(text.as_bytes()).unwrap();
        let known = KEY.to_ascii_uppercase();
        assert_eq!(
            trusted,
            BTreeMap::from([(known.clone(), Ownertrust::Marginal)])
        );
        let disabled = parse_disabled(format!("{KEY}\n").as_bytes()).unwrap();
        assert_eq!(disabled, BTreeSet::from([known]));
    }

    #[test]
    fn what_is_no_list_says_in_which_line() {
        for (text, line) in [
            (format!("{KEY}:4:\n<html>"), 2),
            (KEY.to_owned(), 1),
            (format!("{KEY}:7:"), 1),
            (format!("{}:4:", &KEY[..16]), 1),
        ] {
            assert_eq!(
                parse_trusted(text.as_bytes()).unwrap_err().line,
                line,
                "{text}"
            );
        }
        assert_eq!(parse_disabled(b"\nABCD").unwrap_err().line, 2);
        assert_eq!(parse_disabled(&[0xff]).unwrap_err().line, 1);
    }
}
