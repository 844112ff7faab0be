//! The content block of a Debian mirror.

use fleet_api::mirror::{DebianContent, PackageRule};

use super::glob;

pub(super) fn content(content: &DebianContent, problems: &mut Vec<String>) {
    aliases(content, problems);
    rules("include", &content.packages.include, problems);
    rules("exclude", &content.packages.exclude, problems);
}

/// An alias is a link, so nothing else can stand in its place or below it.
fn aliases(content: &DebianContent, problems: &mut Vec<String>) {
    for (index, alias) in content.aliases.iter().enumerate() {
        let others = content.aliases.iter().enumerate();
        let others = others.filter(|(other, _)| *other != index);
        let names = others.map(|(_, other)| &other.name);
        let within = |inner: &str, outer: &str| {
            inner
                .strip_prefix(outer)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let mut taken = names.chain(&content.suites);
        if let Some(other) =
            taken.find(|other| within(other, &alias.name) || within(&alias.name, other))
        {
            problems.push(format!(
                "spec.content.debian.aliases[{index}].name {:?} and {other:?} cannot both be there: one is, or lies below, the other",
                alias.name
            ));
        }
    }
}

fn rules(list: &str, rules: &[PackageRule], problems: &mut Vec<String>) {
    for (index, rule) in rules.iter().enumerate() {
        let place = format!("spec.content.debian.packages.{list}[{index}]");
        let fields = [
            ("name", &rule.name),
            ("section", &rule.section),
            ("priority", &rule.priority),
            ("source", &rule.source),
        ];
        for (field, pattern) in fields {
            if let Some(pattern) = pattern {
                glob(&format!("{place}.{field}"), pattern, problems);
            }
        }
    }
}
