//! Bytes that are copied but for a few places.

use std::io::{self, Write};

use super::scan::Span;

/// What is to be written instead of what stands at some places; those do not overlap.
#[derive(Default)]
pub(super) struct Edits(Vec<(Span, String)>);

impl Edits {
    pub fn replace(&mut self, place: &Span, with: String) {
        self.0.push((place.clone(), with));
    }

    /// Leaves out members of one object, and one of the commas beside each. `members` stand in the document's order.
    pub fn leave_out<'m>(&mut self, members: impl Iterator<Item = (&'m Span, bool)>) {
        let mut members = members.peekable();
        // Where the last member ended, and whether any before is kept.
        let (mut end, mut some_kept) = (None, false);
        while let Some((span, is_left_out)) = members.next() {
            if is_left_out {
                let next = members.peek().map(|(next, _)| next.start);
                let gap = match (some_kept, end, next) {
                    (true, Some(end), _) => end..span.end,
                    (_, _, Some(next)) => span.start..next,
                    _ => span.clone(),
                };
                self.replace(&gap, String::new());
            }
            some_kept |= !is_left_out;
            end = Some(span.end);
        }
    }

    /// Writes `part` of the text.
    pub fn write(mut self, text: &str, part: &Span, out: &mut dyn Write) -> io::Result<()> {
        self.0.sort_by_key(|(place, _)| place.start);
        let copy = |span: Span| text.as_bytes().get(span).unwrap_or_default();
        let mut at = part.start;
        for (place, with) in self.0 {
            if place.start < at || place.end > part.end {
                continue;
            }
            out.write_all(copy(at..place.start))?;
            out.write_all(with.as_bytes())?;
            at = place.end;
        }
        out.write_all(copy(at..part.end))
    }
}

/// A JSON string.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for char in text.chars() {
        match char {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            char if char < ' ' => quoted.push_str(&format!("\\u{:04x}", u32::from(char))),
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}
