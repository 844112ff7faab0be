//! Which packages of the slice are copied: rules over what a stanza says of its package.

use fleet_api::mirror::{DebianPackages, PackageRule};

use crate::deb822::Stanza;
use crate::filter::RuleSet;
use crate::seam::Rejected;

const FIELDS: [&str; 4] = ["name", "section", "priority", "source"];

/// The rules, ready for use. With none, nothing of a stanza is looked at.
#[derive(Debug, Clone, Default)]
pub(super) struct PackageFilter {
    include: Option<RuleSet<4>>,
    exclude: Option<RuleSet<4>>,
}

/// What rules look at, in the order of [`FIELDS`].
type Facts<'a> = [Option<&'a [u8]>; 4];

impl PackageFilter {
    /// Errors: `InvalidSpec` for what is no glob, a rule without a field, and too many rules.
    pub fn new(rules: &DebianPackages) -> Result<PackageFilter, Rejected> {
        Ok(PackageFilter {
            include: rule_set("include", &rules.include)?,
            exclude: rule_set("exclude", &rules.exclude)?,
        })
    }

    /// Whether the package of a `Packages` stanza is copied.
    pub fn wants_binary(&self, stanza: &Stanza<'_>) -> bool {
        self.wants(stanza, |name, source| match source {
            // `glibc (2.36-9)` where the versions differ.
            Some(source) => source
                .split(|byte| byte.is_ascii_whitespace() || *byte == b'(')
                .next(),
            None => name,
        })
    }

    /// Whether the files of a `Sources` stanza are copied.
    pub fn wants_source(&self, stanza: &Stanza<'_>) -> bool {
        self.wants(stanza, |name, _| name)
    }

    /// Where a field stands twice, what either says is enough to be wanted: what a rule leaves out is not judged, so
    /// that has to be certain.
    fn wants<'a>(
        &self,
        stanza: &Stanza<'a>,
        source: impl Fn(Option<&'a [u8]>, Option<&'a [u8]>) -> Option<&'a [u8]>,
    ) -> bool {
        if self.include.is_none() && self.exclude.is_none() {
            return true;
        }
        let by = |field: &dyn Fn(&str) -> Option<&'a [u8]>| {
            let name = field("Package");
            let source = source(name, field("Source"));
            self.wants_facts([name, field("Section"), field("Priority"), source])
        };
        by(&|name| stanza.all(name).next())
            || (stanza.fault.is_some() && by(&|name| stanza.all(name).next_back()))
    }

    fn wants_facts(&self, facts: Facts<'_>) -> bool {
        let facts = facts.each_ref().map(Option::as_slice);
        let included = self.include.as_ref().is_none_or(|set| set.matches(facts));
        included && !self.exclude.as_ref().is_some_and(|set| set.matches(facts))
    }
}

fn rule_set(list: &str, rules: &[PackageRule]) -> Result<Option<RuleSet<4>>, Rejected> {
    let rules = rules.iter().map(|rule| {
        [&rule.name, &rule.section, &rule.priority, &rule.source].map(|pattern| pattern.as_deref())
    });
    RuleSet::new(&format!("debian.packages.{list}"), FIELDS, rules.collect())
}

#[cfg(test)]
mod tests {
    use fleet_types::Reason;

    use super::*;
    use crate::deb822::Reader;
    use crate::filter::MAX_RULES;

    fn rule(name: &str, section: &str, priority: &str, source: &str) -> PackageRule {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        PackageRule {
            name: given(name),
            section: given(section),
            priority: given(priority),
            source: given(source),
        }
    }

    fn wants(rules: &DebianPackages, stanza: &str) -> bool {
        let filter = PackageFilter::new(rules).unwrap();
        let mut reader = Reader::new(stanza.as_bytes());
        let stanza = reader.next_stanza().unwrap().unwrap();
        filter.wants_binary(&stanza)
    }

    const LIBC: &str =
        "Package: libc6\nSource: glibc (2.36-9)\nSection: libs\nPriority: required\n\n";
    const DOCS: &str = "Package: nginx-doc\nSection: non-free/doc\nPriority: optional\n\n";

    #[test]
    fn a_rule_matches_when_all_that_it_gives_does() {
        for (rule, libc, docs) in [
            (rule("lib*", "", "", ""), true, false),
            (rule("*", "", "", ""), true, true),
            (rule("", "*doc", "", ""), false, true),
            (rule("", "{doc,*/doc}", "", ""), false, true),
            (rule("", "", "required", ""), true, false),
            (rule("", "", "", "glibc"), true, false),
            (rule("", "", "", "nginx-doc"), false, true),
            (rule("lib*", "libs", "required", "glibc"), true, false),
            (rule("lib*", "libs", "optional", "glibc"), false, false),
        ] {
            let only = DebianPackages {
                include: vec![rule.clone()],
                exclude: vec![],
            };
            assert_eq!(
                (wants(&only, LIBC), wants(&only, DOCS)),
                (libc, docs),
                "{rule:?}"
            );
            let without = DebianPackages {
                include: vec![],
                exclude: vec![rule],
            };
            assert_eq!(
                (wants(&without, LIBC), wants(&without, DOCS)),
                (!libc, !docs)
            );
        }
    }

    #[test]
    fn one_rule_of_many_is_enough_and_exclusion_wins() {
        let mut include: Vec<_> = (0..MAX_RULES - 1)
            .map(|number| rule(&format!("p{number}"), "x", "", ""))
            .collect();
        include.push(rule("libc6", "", "", ""));
        let mut rules = DebianPackages {
            include,
            exclude: vec![],
        };
        assert!(wants(&rules, LIBC) && !wants(&rules, DOCS));
        assert!(!wants(&rules, "Package: p7\nSection: y\n\n"));
        assert!(!wants(&rules, "Package: p7\n\n"), "no section, no match");
        rules.exclude = vec![rule("", "lib?", "", "")];
        assert!(!wants(&rules, LIBC));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_its_place() {
        let refused = |rules: DebianPackages| {
            let rejected = PackageFilter::new(&rules).unwrap_err();
            assert_eq!(rejected.reason, Reason::InvalidSpec);
            rejected.message
        };
        let include = |include| DebianPackages {
            include,
            exclude: vec![],
        };
        assert!(refused(include(vec![rule("a[", "", "", "")])).contains("include[0].name"));
        assert!(refused(include(vec![PackageRule::default()])).contains("at least one"));
        assert!(refused(include(vec![rule("a", "", "", ""); MAX_RULES + 1])).contains("256"));
    }
}
