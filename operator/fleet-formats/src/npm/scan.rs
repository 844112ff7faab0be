//! Bytes of JSON to spans, in one pass and without a tree: what is found is told by where it stands.
//!
//! Everything is checked by the grammar (RFC 8259), also what nobody looks at: bytes that are copied from here must be the
//! document that another parser reads.

use std::borrow::Cow;
use std::ops::Range;

/// Deeper documents are refused.
const MAX_DEPTH: u32 = 64;
/// Of an object whose members are told: several times what the largest packages have.
const MAX_MEMBERS: usize = 200_000;

/// Where something stands in the document.
pub(super) type Span = Range<usize>;

/// Not the document that it should be, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}, at byte {at}")]
pub struct Malformed {
    pub what: Cow<'static, str>,
    pub at: usize,
}

/// A member of an object.
#[derive(Debug, Clone)]
pub(super) struct Member<'a> {
    /// Without escapes.
    pub key: Cow<'a, str>,
    /// From the key's quote to the end of the value.
    pub span: Span,
    pub value: Span,
}

/// A reader of one text.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
}

impl<'a> Scanner<'a> {
    /// `bytes` must be UTF-8 as a whole.
    pub fn new(bytes: &'a [u8]) -> Result<Scanner<'a>, Malformed> {
        let text = std::str::from_utf8(bytes).map_err(|error| Malformed {
            what: "it is not UTF-8".into(),
            at: error.valid_up_to(),
        })?;
        Ok(Scanner {
            text,
            at: 0,
            depth: 0,
        })
    }

    pub fn text(&self) -> &'a str {
        self.text
    }

    pub fn at(&self) -> usize {
        self.at
    }

    pub fn fail(&self, what: impl Into<Cow<'static, str>>) -> Malformed {
        Malformed {
            what: what.into(),
            at: self.at,
        }
    }

    /// The byte that comes next, behind white space.
    pub fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(self.at) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    /// Nothing but white space follows.
    pub fn end(&mut self) -> Result<(), Malformed> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.fail("there is more behind the document")),
        }
    }

    /// Reads an object: `each` must read the value of the member whose key it is given. Answers with the members.
    pub fn object(
        &mut self,
        mut each: impl FnMut(&mut Scanner<'a>, &str) -> Result<(), Malformed>,
    ) -> Result<Vec<Member<'a>>, Malformed> {
        let mut members = Vec::new();
        self.walk(|scanner, key, start| {
            if members.len() >= MAX_MEMBERS {
                return Err(scanner.fail(format!("an object has more than {MAX_MEMBERS} members")));
            }
            let from = scanner.at;
            each(scanner, &key)?;
            members.push(Member {
                key,
                span: start..scanner.at,
                value: from..scanner.at,
            });
            Ok(())
        })?;
        Ok(members)
    }

    /// Reads an object: `each` is given a key and where its member begins, and must read the value.
    pub fn walk(
        &mut self,
        mut each: impl FnMut(&mut Scanner<'a>, Cow<'a, str>, usize) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.expect(b'{', "an object must be here")?;
        self.deeper()?;
        if self.peek() != Some(b'}') {
            loop {
                if self.peek() != Some(b'"') {
                    return Err(self.fail("a key must be here"));
                }
                let start = self.at;
                let key = self.string()?;
                self.expect(b':', "a colon must be behind a key")?;
                self.peek();
                each(self, key, start)?;
                match self.peek() {
                    Some(b',') => self.at += 1,
                    _ => break,
                }
            }
        }
        self.expect(b'}', "a comma or the end of the object must be here")?;
        self.depth -= 1;
        Ok(())
    }

    /// A string, without its escapes.
    pub fn string(&mut self) -> Result<Cow<'a, str>, Malformed> {
        let span = self.string_span()?;
        unescaped(self.text.get(span).unwrap_or_default())
            .ok_or_else(|| self.fail("an escape in a string is none"))
    }

    /// Passes over any value.
    pub fn skip(&mut self) -> Result<(), Malformed> {
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'{') => self.walk(|scanner, _, _| scanner.skip()),
            Some(b'[') => self.array(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.fail("a value must be here")),
        }
    }

    fn array(&mut self) -> Result<(), Malformed> {
        self.expect(b'[', "a list must be here")?;
        self.deeper()?;
        if self.peek() != Some(b']') {
            loop {
                self.skip()?;
                match self.peek() {
                    Some(b',') => self.at += 1,
                    _ => break,
                }
            }
        }
        self.expect(b']', "a comma or the end of the list must be here")?;
        self.depth -= 1;
        Ok(())
    }

    fn deeper(&mut self) -> Result<(), Malformed> {
        self.depth += 1;
        match self.depth > MAX_DEPTH {
            true => Err(self.fail(format!("it is nested more than {MAX_DEPTH} deep"))),
            false => Ok(()),
        }
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Malformed> {
        match self.peek() == Some(byte) {
            true => {
                self.at += 1;
                Ok(())
            }
            false => Err(self.fail(what)),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Malformed> {
        match self
            .text
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(word))
        {
            true => {
                self.at += word.len();
                Ok(())
            }
            false => Err(self.fail("a value must be here")),
        }
    }

    fn number(&mut self) -> Result<(), Malformed> {
        let bytes = self.text.as_bytes();
        let byte = |at: usize| bytes.get(at).copied();
        let digits = |mut at: usize| {
            while byte(at).is_some_and(|byte| byte.is_ascii_digit()) {
                at += 1;
            }
            at
        };
        let mut at = self.at + usize::from(byte(self.at) == Some(b'-'));
        let whole = digits(at);
        let mut is_number = whole > at && (whole == at + 1 || byte(at) != Some(b'0'));
        at = whole;
        if byte(at) == Some(b'.') {
            let end = digits(at + 1);
            is_number &= end > at + 1;
            at = end;
        }
        if let Some(b'e' | b'E') = byte(at) {
            let from = at + 1 + usize::from(matches!(byte(at + 1), Some(b'+' | b'-')));
            let end = digits(from);
            is_number &= end > from;
            at = end;
        }
        match is_number {
            true => {
                self.at = at;
                Ok(())
            }
            false => Err(self.fail("a number must be here")),
        }
    }

    /// What stands between the quotes.
    fn string_span(&mut self) -> Result<Span, Malformed> {
        self.expect(b'"', "a string must be here")?;
        let (bytes, start) = (self.text.as_bytes(), self.at);
        loop {
            let rest = bytes.get(self.at..).unwrap_or_default();
            let Some(length) = memchr::memchr2(b'"', b'\\', rest) else {
                return Err(self.fail("a string has no end"));
            };
            let plain = rest.get(..length).unwrap_or_default();
            // Without leaving early, many at a time.
            if plain
                .iter()
                .fold(false, |found, byte| found | (*byte < b' '))
            {
                return Err(self.fail("a string has a control character"));
            }
            self.at += length;
            if bytes.get(self.at) == Some(&b'"') {
                self.at += 1;
                return Ok(start..self.at - 1);
            }
            // The backslash, and what it escapes: judged when the string is read.
            self.at += 2;
            if self.at > bytes.len() || !self.text.is_char_boundary(self.at) {
                return Err(self.fail("an escape in a string is none"));
            }
        }
    }
}

/// None where an escape is none, or stands for half a character.
fn unescaped(raw: &str) -> Option<Cow<'_, str>> {
    if !raw.contains('\\') {
        return Some(Cow::Borrowed(raw));
    }
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((plain, escape)) = rest.split_once('\\') {
        text.push_str(plain);
        let kind = escape.chars().next()?;
        rest = escape.get(kind.len_utf8()..)?;
        text.push(match kind {
            '"' | '\\' | '/' => kind,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let first = four_digits(&mut rest)?;
                match first {
                    0xD800..=0xDBFF => {
                        rest = rest.strip_prefix("\\u")?;
                        let second = four_digits(&mut rest)?
                            .checked_sub(0xDC00)
                            .filter(|low| *low < 0x400)?;
                        char::from_u32(0x10000 + ((first - 0xD800) << 10) + second)?
                    }
                    _ => char::from_u32(first)?,
                }
            }
            _ => return None,
        });
    }
    text.push_str(rest);
    Some(Cow::Owned(text))
}

fn four_digits(rest: &mut &str) -> Option<u32> {
    let (digits, behind) = rest.split_at_checked(4)?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    *rest = behind;
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_read(bytes: &[u8]) -> bool {
        Scanner::new(bytes)
            .is_ok_and(|mut scanner| scanner.skip().and_then(|()| scanner.end()).is_ok())
    }

    fn agrees(text: &str) {
        let told: Result<serde_json::Value, _> = serde_json::from_str(text);
        // What is out of a float's range is a number all the same.
        let is_large = |error: &serde_json::Error| error.to_string().contains("out of range");
        let expected = told.as_ref().map_or_else(is_large, |_| true);
        assert_eq!(is_read(text.as_bytes()), expected, "{text:?}: {told:?}");
    }

    #[test]
    fn it_takes_what_a_parser_takes() {
        for text in [
            "{}",
            " [1, 2.5e-3, -0, \"a\\u00e9\\\\\" , null,true,false ] ",
            "{\"a\":{\"b\":[]}}",
            "\"\\ud83d\\ude00\"",
            "0",
            "1e400",
            "[]",
            "",
            "{",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "[1,]",
            "{\"a\":1,}",
            "01",
            "-",
            "1.",
            "1e",
            ".5",
            "+1",
            "\"\\x\"",
            "\"\\ud83d\"",
            "\"\\ude00\"",
            "\"\\ud83d\\u0041\"",
            "\"a",
            "\"\u{1}\"",
            "nul",
            "truex",
            "[] []",
            "\"\\u12g4\"",
            "\"\\u+123\"",
            "\"\\é\"",
        ] {
            agrees(text);
        }
        assert!(!is_read(b"\"\xff\""));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(is_read(nested(64).as_bytes()) && !is_read(nested(65).as_bytes()));
        assert!(!is_read("{\"a\":".repeat(1_000_000).as_bytes()));
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_parser(text in "([\\[\\]{}:,\" ]|\"a\"|\\\\|\\\\u[0-9d]{4}|[0-9.eE+-]|true|null|\\PC){0,12}") {
            agrees(&text);
        }
    }
}
