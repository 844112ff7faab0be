//! Numbers with their nouns, as people read them.

use std::fmt::Display;

/// `1 file`, `2 files`, `0 entries`: the number and its noun, of which `one` is the singular.
pub fn counted<N: Display + PartialEq + From<u8>>(count: N, one: &str) -> String {
    if count == N::from(1) {
        return format!("1 {one}");
    }
    let consonant = |stem: &&str| !stem.ends_with(['a', 'e', 'i', 'o', 'u']);
    match one.strip_suffix('y').filter(consonant) {
        Some(stem) => format!("{count} {stem}ies"),
        None => format!("{count} {one}s"),
    }
}

/// The verb after so many.
pub fn are<N: PartialEq + From<u8>>(count: N) -> &'static str {
    match count == N::from(1) {
        true => "is",
        false => "are",
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    #[test]
    fn one_is_no_plural() {
        let files = [0, 1, 2].map(|count: u64| counted(count, "stored file"));
        assert_eq!(files, ["0 stored files", "1 stored file", "2 stored files"]);
        assert_eq!(counted(3_usize, "entry"), "3 entries");
        assert_eq!(counted(3_i32, "day"), "3 days");
        assert_eq!([are(0_u64), are(1), are(2)], ["are", "is", "are"]);
    }

    /// What is counted in messages.
    const NOUNS: &[&str] = &[
        "answers",
        "bits",
        "blobs",
        "bytes",
        "connections",
        "days",
        "endpoints",
        "entries",
        "events",
        "files",
        "findings",
        "hours",
        "inodes",
        "jobs",
        "keys",
        "messages",
        "minutes",
        "mirrors",
        "paths",
        "pods",
        "regions",
        "replicas",
        "requests",
        "rules",
        "seconds",
        "signatures",
        "snapshots",
        "suites",
        "syncs",
        "units",
        "upstreams",
    ];

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "tests" {
                sources(&path, found);
            } else if name.ends_with(".rs") && !name.contains("tests") {
                found.push(path);
            }
        }
    }

    /// Places of a text at which a value is put before a noun in the plural. A constant that is written out is no count.
    fn plurals(text: &str) -> Vec<&str> {
        let mut found = Vec::new();
        for (at, _) in text.match_indices("} ") {
            let before = &text[..at];
            let name = &before[before.rfind('{').map_or(0, |begin| begin + 1)..];
            let is_value = name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_.:".contains(c));
            let is_constant =
                !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
            let words: Vec<&str> = text[at + 2..]
                .split(|c: char| !c.is_ascii_alphabetic() && c != ' ')
                .next()
                .unwrap_or_default()
                .split(' ')
                .take(3)
                .collect();
            let noun = words
                .iter()
                .position(|word| NOUNS.contains(&word.to_ascii_lowercase().as_str()));
            let adjectives = noun.map(|noun| &words[..noun]);
            let counts =
                adjectives.is_some_and(|words| words.iter().all(|word| ADJECTIVES.contains(word)));
            if is_value && !is_constant && counts {
                found.push(text[at..].lines().next().unwrap_or_default());
            }
        }
        found
    }

    /// What stands between the number and the noun.
    const ADJECTIVES: &[&str] = &[
        "stored", "more", "other", "new", "good", "index", "listed", "damaged", "last",
    ];

    #[test]
    fn no_message_puts_a_number_before_a_plural_by_itself() {
        assert_eq!(plurals("{count} stored files are").len(), 1);
        assert_eq!(plurals("{} files").len(), 1);
        assert!(plurals("{MAX_BYTES} bytes, {path} is, {name} holds files").is_empty());
        let operator = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut files = Vec::new();
        for entry in std::fs::read_dir(operator).unwrap() {
            let source = entry.unwrap().path().join("src");
            if source.is_dir() {
                sources(&source, &mut files);
            }
        }
        assert!(files.len() > 200, "{}", files.len());
        let mut wrong = Vec::new();
        for file in files.iter().filter(|file| !file.ends_with("counted.rs")) {
            let text = std::fs::read_to_string(file).unwrap();
            let lines: Vec<&str> = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//") && line.contains('"'))
                .collect();
            let told = lines.iter().flat_map(|line| plurals(line));
            wrong.extend(told.map(|what| format!("{}: {what}", file.display())));
        }
        assert!(
            wrong.is_empty(),
            "use fleet_types::counted:\n{}",
            wrong.join("\n")
        );
    }
}
