//! What a terminal can show and a file cannot.

use std::io::IsTerminal;

/// Whether colours are written: on terminals, unless `NO_COLOR` is set or the terminal says that it is dumb.
/// <https://no-color.org/>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colours(bool);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    Plain,
    Bold,
    Faint,
    Red,
    Yellow,
    Green,
}

impl Colours {
    #[cfg(test)]
    pub const NONE: Colours = Colours(false);

    pub fn of_standard_output() -> Colours {
        let variable = |name| std::env::var_os(name);
        let forbidden = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = variable("TERM").is_some_and(|value| value == "dumb");
        Colours(std::io::stdout().is_terminal() && !forbidden && !dumb)
    }

    pub fn paint(self, colour: Colour, text: &str) -> String {
        let code = match colour {
            Colour::Plain => return text.to_owned(),
            Colour::Bold => 1,
            Colour::Faint => 2,
            Colour::Red => 31,
            Colour::Yellow => 33,
            Colour::Green => 32,
        };
        match self.0 && !text.is_empty() {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

/// A text in the place of what the screen showed before, without a blank in between.
pub fn repaint(text: &str) -> String {
    let lines = text.replace('\n', "\x1b[K\n");
    format!("\x1b[H{lines}\x1b[J")
}

/// Breaks a text between words into lines of so many characters; a longer word has a line of its own.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let length = word.chars().count();
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + length <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words() {
        assert_eq!(wrap("", 10), Vec::<String>::new());
        assert_eq!(wrap("a bc\n def", 4), ["a bc", "def"]);
        assert_eq!(wrap("ab abcdefgh c", 4), ["ab", "abcdefgh", "c"]);
    }

    #[test]
    fn colours_are_left_out_where_nobody_sees_them() {
        assert_eq!(Colours::NONE.paint(Colour::Red, "a"), "a");
        assert_eq!(Colours(true).paint(Colour::Red, "a"), "\x1b[31ma\x1b[0m");
        assert_eq!(Colours(true).paint(Colour::Red, ""), "");
        assert_eq!(Colours(true).paint(Colour::Plain, "a"), "a");
    }
}
