//! One-line entries, word by word as apt's sourcelist.cc and `ParseQuoteWord` in its strutl.cc read them.

use percent_encoding::percent_decode_str;

use super::source::{Entry, Source};

/// Reads one-line entries. Lines that are none become notes; apt would refuse the whole file.
pub fn parse(file: &str, text: &str, notes: &mut Vec<String>) -> Vec<Source> {
    let mut sources = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = without_comment(line).trim_matches([' ', '\t', '\r']);
        if line.is_empty() {
            continue;
        }
        let place = format!("{file}:{number}");
        match entry(&place, line).and_then(|entry| entry.understand(notes)) {
            Ok(source) => sources.push(source),
            Err(problem) => notes.push(format!("{place}: left out: {problem}")),
        }
    }
    sources
}

/// A `#` inside of brackets begins no comment.
fn without_comment(line: &str) -> &str {
    let mut depth = 0_i32;
    for (index, character) in line.char_indices() {
        match character {
            '[' => depth += 1,
            ']' => depth -= 1,
            '#' if depth <= 0 => return &line[..index],
            _ => {}
        }
    }
    line
}

fn entry(place: &str, line: &str) -> Result<Entry, String> {
    let kind = line.split([' ', '\t', '\u{b}']).next().unwrap_or_default();
    let (packages, sources) = match kind {
        "deb" => (true, false),
        "deb-src" => (false, true),
        _ => return Err("it begins with neither `deb` nor `deb-src`".to_owned()),
    };
    let mut words = Words(line.get(kind.len()..).unwrap_or_default().trim_start());
    let mut entry = Entry {
        place: place.to_owned(),
        packages,
        sources,
        ..Entry::default()
    };
    if let Some(rest) = words.0.strip_prefix('[') {
        words = Words(rest.trim_start());
        while !words.0.starts_with(']') {
            let (name, value) = words.option()?;
            entry.options.insert(name, value);
        }
        words = Words(words.0.get(1..).unwrap_or_default().trim_start());
    }
    entry.uris.extend(words.word()?);
    entry.suites.extend(words.word()?);
    while let Some(component) = words.word()? {
        entry.components.push(component);
    }
    Ok(entry)
}

/// What is left of a line.
struct Words<'a>(&'a str);

impl Words<'_> {
    /// The next word: blanks inside of quotes or brackets are part of it, quotes are not, and `%20` is a blank.
    fn word(&mut self) -> Result<Option<String>, String> {
        let text = self.0.trim_start();
        if text.is_empty() {
            return Ok(None);
        }
        let end = end_of_word(text)?;
        let (word, rest) = text.split_at(end);
        self.0 = rest.trim_start();
        Ok(Some(unquoted(word)))
    }

    /// `name=value`; the last one may stand right before the `]`.
    fn option(&mut self) -> Result<(String, String), String> {
        let unclosed = || "the options in `[` have no `]`".to_owned();
        let before = self.0;
        let mut option = self.word()?.ok_or_else(unclosed)?;
        if option.ends_with(']') {
            option.pop();
            let taken = before.len() - self.0.len();
            let bracket = before
                .get(..taken)
                .and_then(|taken| taken.rfind(']'))
                .ok_or_else(unclosed)?;
            self.0 = before.get(bracket..).unwrap_or_default();
        }
        let (name, value) = option
            .split_once('=')
            .ok_or("one of its options has no `=`")?;
        if name.is_empty() || value.is_empty() {
            return Err("one of its options has no name or no value".to_owned());
        }
        Ok((name.to_owned(), value.to_owned()))
    }
}

fn end_of_word(text: &str) -> Result<usize, String> {
    let mut closing = None;
    for (index, character) in text.char_indices() {
        match closing {
            Some(awaited) if character == awaited => closing = None,
            Some(_) => {}
            None if character.is_ascii_whitespace() => return Ok(index),
            None if character == '"' => closing = Some('"'),
            None if character == '[' => closing = Some(']'),
            None => {}
        }
    }
    match closing {
        Some(awaited) => Err(format!("a {awaited:?} is missing")),
        None => Ok(text.len()),
    }
}

fn unquoted(word: &str) -> String {
    // In apt's order: a quote that is written as %22 stays.
    let plain = word.replace('"', "");
    percent_decode_str(&plain).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::signed_by::SignedBy;
    use super::*;

    fn list(text: &str) -> (Vec<Source>, Vec<String>) {
        let mut notes = Vec::new();
        (parse("a.list", text, &mut notes), notes)
    }

    #[test]
    fn entries_with_options_and_comments() {
        let (sources, notes) = list(
            "# x\n\ndeb [arch=amd64,i386 signed-by=/k/a.gpg,/k/b.gpg] https://example.org/debian trixie main contrib # y\r\n\tdeb-src\thttps://example.org/debian\ttrixie main\ndeb https://example.org/flat ./\n",
        );
        assert_eq!(notes, Vec::<String>::new());
        assert_eq!(sources[0].place, "a.list:3");
        let only = sources[0].architectures.only.clone().unwrap();
        assert_eq!(only, ["amd64", "i386"]);
        assert_eq!(sources[0].components, ["main", "contrib"]);
        assert_eq!(sources[0].signed_by.files.len(), 2);
        assert!(sources[1].sources && !sources[1].packages);
        let flat = &sources[2];
        assert_eq!((flat.suites[0].as_str(), flat.components.len()), ("./", 0));
    }

    #[test]
    fn quotes_brackets_and_percent_signs_are_read_as_apt_reads_them() {
        let (sources, notes) = list(
            "deb [ arch=\"amd64\" signed-by=\"/k/a.gpg\" ] \"http://example.org/a b/\" stable main\ndeb [arch=amd64] http://[::1]:80/x%20y stable \"ma\"in # [ arch=x ]\ndeb [trusted=yes arch=arm64] http://example.org/ stable main\ndeb cdrom:[Debian 12 #1]/ stable main\n",
        );
        assert_eq!(notes, Vec::<String>::new());
        assert_eq!(sources[0].uris, ["http://example.org/a b/"]);
        assert_eq!(sources[0].signed_by.files.len(), 1);
        assert_eq!(sources[1].uris, ["http://[::1]:80/x y"]);
        assert_eq!(sources[1].components, ["main"]);
        assert!(sources[2].trusted);
        assert_eq!(sources[2].uris, ["http://example.org/"]);
        assert_eq!(sources[3].uris, ["cdrom:[Debian 12 #1]/"]);
    }

    #[test]
    fn lines_that_are_no_entries_are_told_with_their_place() {
        let (sources, notes) = list(
            "rpm https://example.org/ x\ndeb [arch=amd64 https://example.org/ x main\ndeb\ndeb [arch] u s c\ndeb \"u s c\ndeb [arch=] u s c\ndeb u s/ c\ndeb u s\ndeb [signed-by=a.gpg] u s c\n",
        );
        assert!(sources.is_empty());
        assert_eq!(notes.len(), 9, "{notes:?}");
        for (number, note) in (1..).zip(&notes) {
            assert!(
                note.starts_with(&format!("a.list:{number}: left out: ")),
                "{note}"
            );
        }
    }

    #[test]
    fn fingerprints_are_told_from_paths() {
        let (sources, _) = list(
            "deb [signed-by=ABCDEF0123456789ABCDEF0123456789ABCDEF01] https://example.org/ s main\ndeb https://example.org/ s main\n",
        );
        assert_eq!(sources[0].signed_by.keys.len(), 1);
        assert_eq!(sources[1].signed_by, SignedBy::default());
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(deb |\\[|\\]|\"|%20|%|=|#|[a-z]{1,4}| |\n|\\PC){0,40}") {
            list(&text);
        }
    }
}
