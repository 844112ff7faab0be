//! From `-f` arguments to single YAML documents, with the places that messages name.

use std::fmt;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// No manifest is larger; keyrings in Secrets are the largest part of any.
const MAX_FILE_BYTES: u64 = 64 << 20;
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// One document of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub place: Place,
    /// Preceded by as many empty lines as the file has before it, so that a parser's line numbers are the file's.
    pub text: String,
}

/// Where a document is, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub file: String,
    /// Counted from 1; documents without content count too.
    pub document: usize,
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, document {} (line {})",
            self.file, self.document, self.line
        )
    }
}

/// Reads all documents of the files and folders, in the order given; a folder's files are sorted by name.
/// `-` is standard input.
pub fn read_all(arguments: &[PathBuf]) -> Result<Vec<Document>, Failure> {
    let mut documents = Vec::new();
    for argument in arguments {
        for file in files_of(argument)? {
            let text = read_text(&file)?;
            documents.extend(split(&file.display().to_string(), &text));
        }
    }
    Ok(documents)
}

fn files_of(argument: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unreadable = |error| {
        Failure::invalid(format!(
            "-f {}: cannot be read: {error}",
            argument.display()
        ))
    };
    if argument == Path::new("-") || !fs::metadata(argument).map_err(unreadable)?.is_dir() {
        return Ok(vec![argument.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(argument).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) && path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(Failure::invalid(format!(
            "-f {}: this folder holds no *.yaml, *.yml or *.json",
            argument.display()
        )));
    }
    files.sort();
    Ok(files)
}

fn read_text(file: &Path) -> Result<String, Failure> {
    let unreadable = |error: &dyn fmt::Display| {
        Failure::invalid(format!("-f {}: cannot be read: {error}", file.display()))
    };
    let reader: Box<dyn Read> = if file == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(fs::File::open(file).map_err(|error| unreadable(&error))?)
    };
    let mut bytes = Vec::new();
    reader
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(&error))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(unreadable(
            &"it is larger than 64 MiB, which no manifest is",
        ));
    }
    String::from_utf8(bytes).map_err(|error| unreadable(&format!("it is not UTF-8 text ({error})")))
}

/// Splits at lines that begin with `---`, as kubectl does; documents of nothing but blanks, comments and directives
/// are left out.
pub fn split(file: &str, text: &str) -> Vec<Document> {
    let mut documents = Vec::new();
    let mut current = Pending {
        first_line: 1,
        ..Pending::default()
    };
    let mut number = 1;
    for (index, line) in text
        .strip_prefix('\u{feff}')
        .unwrap_or(text)
        .lines()
        .enumerate()
    {
        if let Some(rest) = separator(line) {
            // A separator at the very top opens the first document rather than ending an empty one.
            if current.opened || current.has_content {
                documents.extend(current.finish(file, number));
                number += 1;
            }
            current = Pending {
                first_line: index + 1,
                opened: true,
                ..Pending::default()
            };
            current.push(&format!("   {rest}"));
        } else {
            current.push(line);
        }
    }
    documents.extend(current.finish(file, number));
    documents
}

/// What follows `---` on a separator line; none for any other line.
fn separator(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("---")?;
    (rest.is_empty() || rest.starts_with([' ', '\t', '\r'])).then_some(rest)
}

#[derive(Default)]
struct Pending {
    first_line: usize,
    opened: bool,
    has_content: bool,
    text: String,
}

impl Pending {
    fn push(&mut self, line: &str) {
        let trimmed = line.trim();
        self.has_content |=
            !(trimmed.is_empty() || trimmed.starts_with(['#', '%']) || trimmed == "...");
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn finish(self, file: &str, document: usize) -> Option<Document> {
        let place = Place {
            file: file.to_owned(),
            document,
            line: self.first_line,
        };
        let padding = "\n".repeat(self.first_line - 1);
        self.has_content.then(|| Document {
            place,
            text: padding + &self.text,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_split_where_kubectl_splits_them_and_keep_their_lines() {
        let text =
            "# only a comment\n---\na: 1\n--- # second\nb: |\n  ---\n  x\n---\n---\n\n--- {c: 3}\n";
        let documents = split("m.yaml", text);
        let seen: Vec<_> = documents
            .iter()
            .map(|d| (d.place.document, d.place.line, d.text.trim()))
            .collect();
        assert_eq!(
            seen,
            [
                (1, 2, "a: 1"),
                (2, 4, "# second\nb: |\n  ---\n  x"),
                (5, 11, "{c: 3}")
            ]
        );
        assert_eq!(
            documents[1]
                .text
                .lines()
                .position(|line| line.starts_with("b:")),
            Some(4)
        );
    }

    #[test]
    fn nothing_but_separators_and_comments_is_no_document() {
        for text in [
            "",
            "---\n",
            "---\n---\n# x\n",
            "%YAML 1.2\n---\n",
            "\u{feff}---\n",
        ] {
            assert_eq!(split("m.yaml", text), [], "{text:?}");
        }
    }

    #[test]
    fn json_and_windows_line_ends_are_kept_whole() {
        assert_eq!(split("m.json", "{\"kind\": \"Mirror\"}").len(), 1);
        assert_eq!(split("m.yaml", "a: 1\r\n---\r\nb: 2\r\n").len(), 2);
    }
}
