//! Which packages of the slice are copied: rules over what a stanza says of its package.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use fleet_api::mirror::{DebianPackages, PackageRule};
use fleet_types::{Reason, counted};
use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};

use crate::deb822::Stanza;
use crate::seam::Rejected;

/// More rules than this are refused, in each of the two lists.
const MAX_RULES: usize = 256;

/// The rules, ready for use. With none, nothing of a stanza is looked at.
#[derive(Debug, Clone, Default)]
pub(super) struct PackageFilter {
    include: Option<RuleSet>,
    exclude: Option<RuleSet>,
}

/// Several rules, matched at once: by field the patterns of all rules, and which rules do not ask for the field.
#[derive(Debug, Clone)]
struct RuleSet {
    fields: [Field; 4],
}

#[derive(Debug, Clone)]
struct Field {
    patterns: GlobSet,
    /// For each pattern, the rule that it stands in.
    rules: Vec<usize>,
    /// The rules that are content with anything.
    indifferent: Mask,
}

/// A set of rules.
type Mask = [u64; MAX_RULES / 64];

/// What rules look at, in the order of [`patterns`].
struct Facts<'a> {
    values: [Option<&'a [u8]>; 4],
}

fn patterns(rule: &PackageRule) -> [(&'static str, Option<&str>); 4] {
    [
        ("name", rule.name.as_deref()),
        ("section", rule.section.as_deref()),
        ("priority", rule.priority.as_deref()),
        ("source", rule.source.as_deref()),
    ]
}

impl PackageFilter {
    /// Errors: `InvalidSpec` for what is no glob, a rule without a field, and too many rules.
    pub fn new(rules: &DebianPackages) -> Result<PackageFilter, Rejected> {
        Ok(PackageFilter {
            include: RuleSet::new("include", &rules.include)?,
            exclude: RuleSet::new("exclude", &rules.exclude)?,
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
            self.wants_facts(&Facts {
                values: [name, field("Section"), field("Priority"), source],
            })
        };
        by(&|name| stanza.all(name).next())
            || (stanza.fault.is_some() && by(&|name| stanza.all(name).next_back()))
    }

    fn wants_facts(&self, facts: &Facts<'_>) -> bool {
        let included = self.include.as_ref().is_none_or(|set| set.matches(facts));
        included && !self.exclude.as_ref().is_some_and(|set| set.matches(facts))
    }
}

impl RuleSet {
    /// None where there is no rule.
    fn new(list: &str, rules: &[PackageRule]) -> Result<Option<RuleSet>, Rejected> {
        let invalid = |place: String, what: String| {
            Rejected::new(
                Reason::InvalidSpec,
                format!("debian.packages.{list}{place}: {what}"),
            )
        };
        if rules.len() > MAX_RULES {
            return Err(invalid(
                String::new(),
                format!(
                    "{}; at most {MAX_RULES} are possible",
                    counted(rules.len(), "rule")
                ),
            ));
        }
        let mut building: [(GlobSetBuilder, Vec<usize>, Mask); 4] =
            std::array::from_fn(|_| (GlobSetBuilder::new(), Vec::new(), [0; MAX_RULES / 64]));
        for (number, rule) in rules.iter().enumerate() {
            let patterns = patterns(rule);
            if patterns.iter().all(|(_, pattern)| pattern.is_none()) {
                return Err(invalid(
                    format!("[{number}]"),
                    "a rule needs at least one of name, section, priority and source".to_owned(),
                ));
            }
            for ((field, pattern), (globs, numbers, indifferent)) in
                patterns.into_iter().zip(&mut building)
            {
                let Some(pattern) = pattern else {
                    set(indifferent, number);
                    continue;
                };
                let glob = GlobBuilder::new(pattern).build().map_err(|error| {
                    invalid(
                        format!("[{number}].{field}"),
                        format!("{pattern:?} is not a glob: {}", error.kind()),
                    )
                })?;
                globs.add(glob);
                numbers.push(number);
            }
        }
        if rules.is_empty() {
            return Ok(None);
        }
        let [name, section, priority, source] = building.map(|(globs, rules, indifferent)| {
            globs
                .build()
                .map(|patterns| Field {
                    patterns,
                    rules,
                    indifferent,
                })
                .map_err(|error| invalid(String::new(), error.to_string()))
        });
        Ok(Some(RuleSet {
            fields: [name?, section?, priority?, source?],
        }))
    }

    fn matches(&self, facts: &Facts<'_>) -> bool {
        let mut left: Mask = [u64::MAX; MAX_RULES / 64];
        for (field, value) in self.fields.iter().zip(facts.values) {
            let fitting = field.fitting(value);
            for (left, fitting) in left.iter_mut().zip(fitting) {
                *left &= fitting;
            }
            if left.iter().all(|word| *word == 0) {
                return false;
            }
        }
        true
    }
}

impl Field {
    /// The rules that have nothing against this value. A field that a stanza lacks matches no pattern.
    fn fitting(&self, value: Option<&[u8]>) -> Mask {
        let mut fitting = self.indifferent;
        if let Some(value) = value.filter(|_| !self.rules.is_empty()) {
            let candidate = Candidate::new(OsStr::from_bytes(value));
            for pattern in self.patterns.matches_candidate(&candidate) {
                if let Some(rule) = self.rules.get(pattern) {
                    set(&mut fitting, *rule);
                }
            }
        }
        fitting
    }
}

fn set(mask: &mut Mask, number: usize) {
    if let Some(word) = mask.get_mut(number / 64) {
        *word |= 1 << (number % 64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deb822::Reader;

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
