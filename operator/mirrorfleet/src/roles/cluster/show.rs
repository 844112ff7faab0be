//! How a fleet is shown: as text, JSON or YAML, all at once or what changed.

use std::fmt::Write as _;

use fleet_plan::summary::MirrorSummary;
use jiff::Timestamp;
use serde::Serialize;

use super::Cluster;
use super::read::Scope;
use super::table::Page;
use super::terminal::Colours;
use crate::failure::Failure;

/// How a fleet is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// A page of a hundred columns
    Text,
    /// More columns, and notes in full
    Wide,
    Json,
    Yaml,
}

/// What is said where there is nothing to show.
pub fn nothing(scope: &Scope) -> String {
    match scope {
        Scope::Everywhere => "there are no Mirrors in this cluster".to_owned(),
        Scope::Namespace(namespace) | Scope::Named(namespace, _) => {
            format!("there are no Mirrors in namespace {namespace}")
        }
    }
}

/// How summaries become text.
pub struct Show<'a> {
    pub form: Form,
    pub everywhere: bool,
    pub colours: Colours,
    pub cluster: &'a Cluster,
}

impl Show<'_> {
    /// All that there is to show at once.
    pub fn page(&self, mirrors: &[MirrorSummary], now: Timestamp) -> Result<String, Failure> {
        match self.form {
            Form::Text | Form::Wide => Ok(self.layout(now).render(mirrors)),
            Form::Json => json(mirrors),
            Form::Yaml => yaml(mirrors),
        }
    }

    /// One Mirror that changed, below what was printed before.
    pub fn change(
        &self,
        mirror: &MirrorSummary,
        is_first: bool,
        now: Timestamp,
    ) -> Result<String, Failure> {
        let mirrors = std::slice::from_ref(mirror);
        match self.form {
            Form::Text | Form::Wide => Ok(self.layout(now).head_and_rows(mirrors, is_first)),
            Form::Json => json(mirrors),
            Form::Yaml => yaml(mirrors),
        }
    }

    fn layout(&self, now: Timestamp) -> Page<'_> {
        Page {
            everywhere: self.everywhere,
            wide: self.form == Form::Wide,
            colours: self.colours,
            program: &self.cluster.program,
            now,
        }
    }
}

/// One JSON object a line.
pub fn json<T: Serialize>(values: &[T]) -> Result<String, Failure> {
    let mut text = String::new();
    for value in values {
        let line = serde_json::to_string(value);
        let line = line.map_err(|error| Failure::output("JSON", error))?;
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{line}");
    }
    Ok(text)
}

/// A YAML document for each.
pub fn yaml<T: Serialize>(values: &[T]) -> Result<String, Failure> {
    let mut text = String::new();
    for value in values {
        let document = serde_saphyr::to_string(value);
        let document = document.map_err(|error| Failure::output("YAML", error))?;
        let _ = writeln!(text, "---\n{}", document.trim_end());
    }
    Ok(text)
}
