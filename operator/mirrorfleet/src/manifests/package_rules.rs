//! Rules over packages, asked where there is no API server.

use fleet_api::mirror::{DebianPackages, PackageRule};
use globset::Glob;

const MAX_RULES: usize = 256;
const MAX_PATTERN_BYTES: usize = 128;

/// Adds all problems of the rules, as sentences that begin with the path of a field.
pub fn check(packages: &DebianPackages, problems: &mut Vec<String>) {
    rules("include", &packages.include, problems);
    rules("exclude", &packages.exclude, problems);
}

fn rules(list: &str, rules: &[PackageRule], problems: &mut Vec<String>) {
    if rules.len() > MAX_RULES {
        problems.push(format!(
            "spec.content.debian.packages.{list} has {} rules; at most {MAX_RULES} are possible",
            rules.len()
        ));
    }
    for (index, rule) in rules.iter().enumerate() {
        let place = format!("spec.content.debian.packages.{list}[{index}]");
        let fields = [
            ("name", &rule.name),
            ("section", &rule.section),
            ("priority", &rule.priority),
            ("source", &rule.source),
        ];
        if fields.iter().all(|(_, pattern)| pattern.is_none()) {
            problems.push(format!(
                "{place} needs at least one of name, section, priority and source"
            ));
        }
        for (field, pattern) in fields {
            let Some(pattern) = pattern else { continue };
            if pattern.is_empty() || pattern.len() > MAX_PATTERN_BYTES {
                problems.push(format!(
                    "{place}.{field} must have 1 to {MAX_PATTERN_BYTES} characters"
                ));
            }
            if let Err(error) = Glob::new(pattern) {
                problems.push(format!(
                    "{place}.{field} {pattern:?} is not a glob: {}",
                    error.kind()
                ));
            }
        }
    }
}
