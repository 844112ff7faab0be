//! apt's sources, in both of their notations (sources.list(5)): text to values, no files.

use std::path::PathBuf;

/// One entry that is switched on, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// `file:line`, for messages.
    pub place: String,
    pub uris: Vec<String>,
    pub suites: Vec<String>,
    pub components: Vec<String>,
    /// Empty: the native one.
    pub architectures: Vec<String>,
    /// Whether packages (`deb`) and sources (`deb-src`) are asked for.
    pub packages: bool,
    pub sources: bool,
    pub signed_by: SignedBy,
}

/// Whom apt believes for an entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SignedBy {
    /// Everything that apt trusts by default.
    Default,
    Files(Vec<PathBuf>),
    /// An armoured block in the entry itself.
    Inline(String),
    /// Keys out of those that apt trusts by default.
    Fingerprints(Vec<String>),
}

/// Reads one-line entries. Lines that are none become notes.
pub fn parse_list(file: &str, text: &str, notes: &mut Vec<String>) -> Vec<Source> {
    let mut sources = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let place = format!("{file}:{}", index + 1);
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        match one_line(&place, line) {
            Ok(source) => sources.push(source),
            Err(problem) => notes.push(format!("{place}: left out: {problem}")),
        }
    }
    sources
}

fn one_line(place: &str, line: &str) -> Result<Source, String> {
    let (kind, rest) = line
        .split_once(char::is_whitespace)
        .ok_or("there is nothing after the first word")?;
    let (packages, sources) = match kind {
        "deb" => (true, false),
        "deb-src" => (false, true),
        other => {
            return Err(format!(
                "it begins with {other:?}, not with `deb` or `deb-src`"
            ));
        }
    };
    let (options, rest) = match rest.trim_start().strip_prefix('[') {
        Some(rest) => rest
            .split_once(']')
            .ok_or("the options in `[` have no `]`")?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    let uri = words.next().ok_or("there is no URI")?;
    let suite = words.next().ok_or("there is no suite")?;
    let mut source = Source {
        place: place.to_owned(),
        uris: vec![uri],
        suites: vec![suite],
        components: words.collect(),
        architectures: Vec::new(),
        packages,
        sources,
        signed_by: SignedBy::Default,
    };
    for option in options.split_whitespace() {
        let (name, value) = option
            .split_once('=')
            .ok_or_else(|| format!("option {option:?} has no `=`"))?;
        let values = || {
            value
                .split(',')
                .filter(|value| !value.is_empty())
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        match name.trim_end_matches('+').to_ascii_lowercase().as_str() {
            "arch" => source.architectures = values(),
            "signed-by" => source.signed_by = signed_by(&values()),
            _ => {}
        }
    }
    Ok(source)
}

fn signed_by(values: &[String]) -> SignedBy {
    let is_path = |value: &String| value.starts_with('/');
    match values {
        [] => SignedBy::Default,
        values if values.iter().all(is_path) => {
            SignedBy::Files(values.iter().map(PathBuf::from).collect())
        }
        values => SignedBy::Fingerprints(
            values
                .iter()
                .filter(|value| !is_path(value))
                .cloned()
                .collect(),
        ),
    }
}

/// Reads entries in deb822 notation. Stanzas that are none become notes.
pub fn parse_deb822(file: &str, text: &str, notes: &mut Vec<String>) -> Vec<Source> {
    let mut sources = Vec::new();
    for stanza in stanzas(text) {
        let place = format!("{file}:{}", stanza.line);
        match stanza.source(&place) {
            Ok(source) => sources.extend(source),
            Err(problem) => notes.push(format!("{place}: left out: {problem}")),
        }
    }
    sources
}

#[derive(Default)]
struct Stanza {
    line: usize,
    /// Lower-case name and value; continuation lines are joined by line ends.
    fields: Vec<(String, String)>,
}

fn stanzas(text: &str) -> Vec<Stanza> {
    let mut stanzas = Vec::new();
    let mut current = Stanza::default();
    for (index, line) in text.lines().enumerate() {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            if !current.fields.is_empty() {
                stanzas.push(std::mem::take(&mut current));
            }
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = current.fields.last_mut() {
                value.push('\n');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            if current.fields.is_empty() {
                current.line = index + 1;
            }
            current
                .fields
                .push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    if !current.fields.is_empty() {
        stanzas.push(current);
    }
    stanzas
}

impl Stanza {
    fn get(&self, name: &str) -> &str {
        self.fields
            .iter()
            .rev()
            .find(|(field, _)| field == name)
            .map(|(_, value)| value.as_str())
            .unwrap_or_default()
    }

    fn words(&self, name: &str) -> Vec<String> {
        self.get(name)
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    }

    /// None for an entry that is switched off.
    fn source(&self, place: &str) -> Result<Option<Source>, String> {
        if matches!(
            self.get("enabled").to_ascii_lowercase().as_str(),
            "no" | "false" | "off" | "0" | "without" | "disable"
        ) {
            return Ok(None);
        }
        let types = self.words("types");
        let source = Source {
            place: place.to_owned(),
            uris: self.words("uris"),
            suites: self.words("suites"),
            components: self.words("components"),
            architectures: self.words("architectures"),
            packages: types.iter().any(|kind| kind == "deb"),
            sources: types.iter().any(|kind| kind == "deb-src"),
            signed_by: self.signed_by(),
        };
        if !source.packages && !source.sources {
            return Err("`Types` names neither `deb` nor `deb-src`".to_owned());
        }
        if source.uris.is_empty() || source.suites.is_empty() {
            return Err("`URIs` and `Suites` must both be there".to_owned());
        }
        Ok(Some(source))
    }

    fn signed_by(&self) -> SignedBy {
        let value = self.get("signed-by");
        if !value.contains("-----BEGIN PGP") {
            return signed_by(&self.words("signed-by"));
        }
        // A lone `.` stands for an empty line, as everywhere in deb822.
        let lines = value
            .lines()
            .filter(|line| !line.is_empty())
            .map(|line| if line == "." { "" } else { line });
        SignedBy::Inline(lines.collect::<Vec<_>>().join("\n") + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> (Vec<Source>, Vec<String>) {
        let mut notes = Vec::new();
        (parse_list("a.list", text, &mut notes), notes)
    }

    fn deb822(text: &str) -> (Vec<Source>, Vec<String>) {
        let mut notes = Vec::new();
        (parse_deb822("a.sources", text, &mut notes), notes)
    }

    #[test]
    fn one_line_entries_with_options_and_comments() {
        let (sources, notes) = list(
            "# x\n\ndeb [arch=amd64,i386 signed-by=/k/a.gpg,/k/b.gpg] https://example.org/debian trixie main contrib # y\ndeb-src https://example.org/debian trixie main\ndeb https://example.org/flat ./\n",
        );
        assert_eq!(notes, Vec::<String>::new());
        assert_eq!(sources[0].place, "a.list:3");
        assert_eq!(sources[0].architectures, ["amd64", "i386"]);
        assert_eq!(sources[0].components, ["main", "contrib"]);
        assert_eq!(
            sources[0].signed_by,
            SignedBy::Files(vec!["/k/a.gpg".into(), "/k/b.gpg".into()])
        );
        assert!(sources[1].sources && !sources[1].packages);
        assert_eq!(
            (sources[2].suites[0].as_str(), sources[2].components.len()),
            ("./", 0)
        );
    }

    #[test]
    fn lines_that_are_no_entries_are_told_with_their_place() {
        let (sources, notes) =
            list("rpm https://example.org/ x\ndeb [arch=amd64 https://example.org/ x main\ndeb\n");
        assert!(sources.is_empty());
        assert!(
            notes[0].starts_with("a.list:1: ") && notes[1].contains("`]`") && notes.len() == 3,
            "{notes:?}"
        );
    }

    #[test]
    fn deb822_stanzas_with_several_of_everything() {
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
            ["a.sources:16: left out: `Types` names neither `deb` nor `deb-src`"]
        );
    }

    #[test]
    fn an_inline_key_keeps_its_empty_line() {
        let (sources, _) = deb822(
            "Types: deb\nURIs: u\nSuites: s/\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDME\n =abcd\n -----END PGP PUBLIC KEY BLOCK-----\n",
        );
        let block = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDME\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n";
        assert_eq!(sources[0].signed_by, SignedBy::Inline(block.to_owned()));
    }

    #[test]
    fn fingerprints_are_told_from_paths() {
        let (sources, _) = list(
            "deb [signed-by=ABCDEF0123456789ABCDEF0123456789ABCDEF01] https://example.org/ s main\n",
        );
        assert!(
            matches!(&sources[0].signed_by, SignedBy::Fingerprints(prints) if prints.len() == 1)
        );
    }
}
