//! The trace file of the archive's master, which every Debian mirror carries: which run of the archive it has.
//! <https://salsa.debian.org/mirror-team/archvsync>

pub(super) const MASTER: &str = "project/trace/master";
/// Real ones have less than a kilobyte.
pub(super) const MAX_BYTES: u64 = 64 << 10;
const FIELD: &str = "Archive serial";
const MAX_DIGITS: usize = 20;

/// Nobody has signed it, so that nothing but a number is repeated.
pub(super) fn archive_serial(text: &[u8]) -> Option<(String, String)> {
    let mut lines = text.split(|byte| *byte == b'\n');
    let value = lines.find_map(|line| line.strip_prefix(FIELD.as_bytes())?.strip_prefix(b":"))?;
    let value = str::from_utf8(value.trim_ascii()).ok()?;
    let is_number =
        (1..=MAX_DIGITS).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| (FIELD.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_is_repeated() {
        let serial = |text: &[u8]| archive_serial(text).map(|(_, value)| value);
        let master =
            b"Sat Nov 23 20:20:20 UTC 2024\nUsing dak v1\nArchive serial: 2024112304\r\nDate: x\n";
        assert_eq!(serial(master), Some("2024112304".to_owned()));
        for text in [
            &b""[..],
            b"Archive serial",
            b"Archive serial:\n",
            b"Archive serial: 1 2",
            b"Archive serial: -1",
            b"Archive serial: 123456789012345678901",
            b"Archive serial: \xff1",
            "Archive serial: \u{661}".as_bytes(),
            b" Archive serial: 1",
        ] {
            assert_eq!(serial(text), None, "{}", String::from_utf8_lossy(text));
        }
    }
}
