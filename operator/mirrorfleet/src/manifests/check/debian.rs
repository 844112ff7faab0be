//! The content block of a Debian mirror.

use std::collections::BTreeSet;

use fleet_api::mirror::DebianContent;
use fleet_api::names;

use super::super::package_rules;
use super::declared;

const MAX_ALIASES: usize = 32;

pub(super) fn content(content: &DebianContent, problems: &mut Vec<String>) {
    aliases(content, problems);
    let mut seen = BTreeSet::new();
    for (index, expected) in content.release_names.iter().enumerate() {
        let field = format!("spec.content.debian.releaseNames[{index}].suite");
        declared(&field, &expected.suite, &content.suites, problems);
        if !seen.insert(&expected.suite) {
            problems.push(format!("{field} {:?} is there twice", expected.suite));
        }
    }
    if content.suites.is_empty() {
        problems.push("spec.content.debian.suites is empty; name at least one suite".to_owned());
    }
    package_rules::check(&content.packages, problems);
    type Allowed = fn(&str) -> bool;
    let lists: [(&str, &Vec<String>, Allowed); 3] = [
        ("suites", &content.suites, names::is_suite),
        ("components", &content.components, names::is_index_name),
        (
            "architectures",
            &content.architectures,
            names::is_architecture,
        ),
    ];
    for (field, values, allowed) in lists {
        let mut seen = BTreeSet::new();
        for value in values {
            if !allowed(value) {
                problems.push(format!(
                    "spec.content.debian.{field} {value:?}: write it as it stands in a sources.list"
                ));
            }
            if !seen.insert(value) {
                problems.push(format!("spec.content.debian.{field} names {value:?} twice"));
            }
        }
    }
    if content.suites.iter().any(|suite| !suite.ends_with('/')) {
        if content.components.is_empty() {
            problems.push("spec.content.debian.components is empty; only flat repositories (suites that end in `/`) have none".to_owned());
        }
        if content.architectures.is_empty() && !content.include.sources {
            problems.push("spec.content.debian.architectures is empty; only flat repositories (suites that end in `/`) and sources alone (`include: {sources: true}`) have none".to_owned());
        }
    }
}

fn aliases(content: &DebianContent, problems: &mut Vec<String>) {
    if content.aliases.len() > MAX_ALIASES {
        problems.push(format!(
            "spec.content.debian.aliases has {} entries; at most {MAX_ALIASES} are possible",
            content.aliases.len()
        ));
    }
    for (index, alias) in content.aliases.iter().enumerate() {
        let field = format!("spec.content.debian.aliases[{index}]");
        if !names::is_index_name(&alias.name) {
            problems.push(format!(
                "{field}.name {:?}: write it as a suite stands in a sources.list",
                alias.name
            ));
        }
        if alias.suite.ends_with('/') || !content.suites.contains(&alias.suite) {
            problems.push(format!(
                "{field}.suite {:?} is none of the suites, or a flat repository; name a declared suite",
                alias.suite
            ));
        }
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
                "{field}.name {:?} and {other:?} cannot both be there: one is, or lies below, the other",
                alias.name
            ));
        }
    }
}
