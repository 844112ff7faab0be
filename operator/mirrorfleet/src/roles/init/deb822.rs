//! Entries in deb822 notation, by the rules of apt's tagfile.cc.

use super::options::is_yes;
use super::source::{Entry, Source};

/// Fields whose values are lists, and the options of the one-line notation that say the same.
const LISTS: [(&str, &str); 9] = [
    ("architectures", "arch"),
    ("architectures-add", "arch+"),
    ("architectures-remove", "arch-"),
    ("languages", "lang"),
    ("languages-add", "lang+"),
    ("languages-remove", "lang-"),
    ("targets", "target"),
    ("targets-add", "target+"),
    ("targets-remove", "target-"),
];
/// Fields whose names are those of the options.
const SINGLE: [&str; 15] = [
    "trusted",
    "check-valid-until",
    "valid-until-min",
    "valid-until-max",
    "check-date",
    "date-max-future",
    "snapshot",
    "signed-by",
    "pdiffs",
    "by-hash",
    "include",
    "exclude",
    "allow-insecure",
    "allow-weak",
    "allow-downgrade-to-insecure",
];

/// Reads stanzas. Those that are no entries become notes; apt would refuse the whole file.
pub fn parse(file: &str, text: &str, notes: &mut Vec<String>) -> Vec<Source> {
    let mut sources = Vec::new();
    for stanza in stanzas(text) {
        let place = format!("{file}:{}", stanza.line);
        let entry = stanza.entry(&place).transpose();
        match entry.map(|entry| entry.and_then(|entry| entry.understand(notes))) {
            None => {}
            Some(Ok(source)) => sources.push(source),
            Some(Err(problem)) => notes.push(format!("{place}: left out: {problem}")),
        }
    }
    sources
}

#[derive(Default)]
struct Stanza {
    /// Where its first field stands.
    line: usize,
    /// Lower-case name and value; continuation lines are joined by line ends.
    fields: Vec<(String, String)>,
}

/// Only a line of nothing ends a stanza: one of blanks goes on with the field before it.
fn stanzas(text: &str) -> Vec<Stanza> {
    let mut stanzas = Vec::new();
    let mut current = Stanza::default();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_end_matches('\r');
        if line.starts_with('#') {
            continue;
        }
        if line.is_empty() {
            if !current.fields.is_empty() {
                stanzas.push(std::mem::take(&mut current));
            }
        } else if line.starts_with(char::is_whitespace) {
            if let Some((_, value)) = current.fields.last_mut() {
                value.push('\n');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            if current.fields.is_empty() {
                current.line = number;
            }
            let name = name.trim_end().to_ascii_lowercase();
            current.fields.push((name, value.trim().to_owned()));
        }
    }
    if !current.fields.is_empty() {
        stanzas.push(current);
    }
    stanzas
}

impl Stanza {
    /// Of a field that is there twice, the last one counts.
    fn get(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter().rev();
        fields
            .find(|(field, _)| field == name)
            .map(|(_, value)| value.as_str())
    }

    fn words(&self, name: &str) -> Vec<String> {
        let words = self.get(name).unwrap_or_default().split_whitespace();
        words.map(str::to_owned).collect()
    }

    /// None for an entry that is switched off.
    fn entry(&self, place: &str) -> Result<Option<Entry>, String> {
        if self.get("enabled").and_then(is_yes) == Some(false) {
            return Ok(None);
        }
        let types = self.words("types");
        if types.is_empty() || types.iter().any(|kind| kind != "deb" && kind != "deb-src") {
            return Err("`Types` must name `deb`, `deb-src` or both".to_owned());
        }
        let mut entry = Entry {
            place: place.to_owned(),
            packages: types.iter().any(|kind| kind == "deb"),
            sources: types.iter().any(|kind| kind == "deb-src"),
            uris: self.words("uris"),
            suites: self.words("suites"),
            components: self.words("components"),
            ..Entry::default()
        };
        for (field, option) in LISTS {
            if self.get(field).is_some() {
                let value = self.words(field).join(",");
                entry.options.insert(option.to_owned(), value);
            }
        }
        for field in SINGLE {
            if let Some(value) = self.get(field).filter(|value| !value.is_empty()) {
                entry.options.insert(field.to_owned(), value.to_owned());
            }
        }
        Ok(Some(entry))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn deb822(text: &str) -> (Vec<Source>, Vec<String>) {
        let mut notes = Vec::new();
        (parse("a.sources", text, &mut notes), notes)
    }

    #[test]
    fn stanzas_with_several_of_everything() {
        let (sources, notes) = deb822(
            "Types: deb deb-src\nURIs: https://example.org/a\n https://example.org/b\nSuites: trixie trixie-updates\nComponents: main\n# why\nArchitectures: arm64\nsigned-by: /k/a.gpg\n\n\nEnabled: no\nTypes: deb\nURIs: x\nSuites: y\n\nTypes: rpm\nURIs: x\nSuites: y\n",
        );
        assert_eq!(sources.len(), 1);
        assert_eq!(
            sources[0].uris,
            ["https://example.org/a", "https://example.org/b"]
        );
        assert_eq!(sources[0].suites, ["trixie", "trixie-updates"]);
        assert!(sources[0].packages && sources[0].sources);
        assert_eq!(
            notes,
            ["a.sources:16: left out: `Types` must name `deb`, `deb-src` or both"]
        );
    }

    #[test]
    fn a_line_of_blanks_ends_no_stanza_and_comments_no_value() {
        let (sources, notes) = deb822(
            "Types: deb\nURIs: https://example.org/a\nSuites: s\nComponents: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n \n mDME\n#x\n =abcd\n -----END PGP PUBLIC KEY BLOCK-----\nArchitectures-Remove: i386\r\n\r\nTypes: deb-src\nURIs: https://example.org/b\nSuites: ./\n",
        );
        assert_eq!(notes, Vec::<String>::new());
        assert_eq!(sources.len(), 2);
        assert_eq!(sources[0].architectures.remove, ["i386"]);
        let inline = sources[0].signed_by.inline.clone().unwrap();
        assert!(inline.contains("BLOCK-----\n\nmDME\n=abcd\n"), "{inline}");
        assert!(sources[1].sources && !sources[1].packages);
    }

    #[test]
    fn fields_of_others_and_repeated_ones_are_read_as_apt_reads_them() {
        let (sources, notes) = deb822(
            "X-Repolib-Name: x\nDescription: y\n z\nTypes: deb\nURIs: https://example.org/a\nSuites: old\nSuites: new\nComponents: main\nTrusted: yes\nEnabled: yes\nPDiffs: yes\n",
        );
        assert_eq!(notes, Vec::<String>::new());
        assert_eq!(sources[0].suites, ["new"]);
        assert!(sources[0].trusted && sources[0].more.pdiffs);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(Types: deb|URIs:|Suites: s|Signed-By:| |\n|#|:|\\PC){0,40}") {
            deb822(&text);
        }
    }
}
