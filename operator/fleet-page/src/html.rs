//! HTML that is escaped by construction: it is made of constants of this program and of words, and whatever is a word is
//! escaped when it is put in. There is no way to make one from a text that is not a constant.

/// A piece of a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Html(String);

/// What may stand in the place of a `{}`: words, which are escaped, and pieces, which are so already.
pub trait Slot {
    fn put(&self, page: &mut String);
}

impl Html {
    /// A piece from a constant, in which each `{}` is replaced by the next of `slots`: between tags, or in an attribute's
    /// value between double quotes. A place without a slot stays empty.
    pub fn of(constant: &'static str, slots: &[&dyn Slot]) -> Html {
        let mut piece = Html::default();
        piece.push(constant, slots);
        piece
    }

    /// The same behind what is there.
    pub fn push(&mut self, constant: &'static str, slots: &[&dyn Slot]) {
        let mut slots = slots.iter();
        let mut parts = constant.split("{}");
        self.0.push_str(parts.next().unwrap_or_default());
        for part in parts {
            if let Some(slot) = slots.next() {
                slot.put(&mut self.0);
            }
            self.0.push_str(part);
        }
        debug_assert!(slots.next().is_none(), "more slots than places: {constant}");
    }

    pub fn add(&mut self, piece: &Html) {
        self.0.push_str(&piece.0);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }

    #[cfg(test)]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Slot for Html {
    fn put(&self, page: &mut String) {
        page.push_str(&self.0);
    }
}

impl Slot for str {
    /// For text and for attribute values in double quotes. What no text has (control characters, and those that turn the
    /// direction of what follows) becomes a replacement character.
    fn put(&self, page: &mut String) {
        for character in self.chars() {
            match character {
                '&' => page.push_str("&amp;"),
                '<' => page.push_str("&lt;"),
                '>' => page.push_str("&gt;"),
                '"' => page.push_str("&quot;"),
                '\'' => page.push_str("&#39;"),
                '\n' | '\t' => page.push(character),
                other if other.is_control() || turns(other) => page.push('\u{fffd}'),
                other => page.push(other),
            }
        }
    }
}

/// Whether a character changes in which direction others are shown, so that a text could look like another one.
const fn turns(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl Slot for String {
    fn put(&self, page: &mut String) {
        self.as_str().put(page);
    }
}

impl Slot for &str {
    fn put(&self, page: &mut String) {
        (**self).put(page);
    }
}

macro_rules! numbers {
    ($($number:ty)*) => { $(
        impl Slot for $number {
            fn put(&self, page: &mut String) {
                page.push_str(&self.to_string());
            }
        }
    )* };
}

numbers! { u8 u16 u32 u64 usize i32 i64 }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_escaped_and_pieces_are_not_escaped_twice() {
        let link = Html::of(r#"<a href="{}">{}</a>"#, &[&"x\"y", &"<b>&'"]);
        let page = Html::of("<p>{} {}</p>", &[&link, &3_u64]);
        assert_eq!(
            page.as_str(),
            "<p><a href=\"x&quot;y\">&lt;b&gt;&amp;&#39;</a> 3</p>"
        );
    }

    #[test]
    fn a_text_cannot_look_like_another_one() {
        let page = Html::of("{}", &[&"a\u{202e}b\u{0}c\nd"]);
        assert_eq!(page.as_str(), "a\u{fffd}b\u{fffd}c\nd");
    }
}
