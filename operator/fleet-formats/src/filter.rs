//! Rules over what an index says of a package: globs over several fields, matched at once.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use fleet_types::{Reason, counted};
use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};

use crate::seam::Rejected;

/// More rules than this are refused, in each list.
pub(crate) const MAX_RULES: usize = 256;

/// Several rules, matched at once: by field the patterns of all rules, and which rules do not ask for the field.
#[derive(Debug, Clone)]
pub(crate) struct RuleSet<const FIELDS: usize> {
    fields: [Field; FIELDS],
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

impl<const FIELDS: usize> RuleSet<FIELDS> {
    /// Of rules that give a pattern for some of `names`; none where there is no rule. `place` is the list in the manifest.
    /// Errors: `InvalidSpec` for what is no glob, a rule without a field, and too many rules.
    pub fn new(
        place: &str,
        names: [&str; FIELDS],
        rules: Vec<[Option<&str>; FIELDS]>,
    ) -> Result<Option<RuleSet<FIELDS>>, Rejected> {
        let invalid = |within: String, what: String| {
            Rejected::new(Reason::InvalidSpec, format!("{place}{within}: {what}"))
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
        let mut building: [(GlobSetBuilder, Vec<usize>, Mask); FIELDS] =
            std::array::from_fn(|_| (GlobSetBuilder::new(), Vec::new(), [0; MAX_RULES / 64]));
        for (number, rule) in rules.iter().enumerate() {
            if rule.iter().all(Option::is_none) {
                let (last, others) = names.split_last().unwrap_or((&"", &[]));
                let names = format!("{} and {last}", others.join(", "));
                return Err(invalid(
                    format!("[{number}]"),
                    format!("a rule needs at least one of {names}"),
                ));
            }
            for ((field, pattern), (globs, numbers, indifferent)) in
                names.iter().zip(rule).zip(&mut building)
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
        let mut fields = Vec::with_capacity(FIELDS);
        for (globs, rules, indifferent) in building {
            let patterns = globs.build();
            fields.push(Field {
                patterns: patterns.map_err(|error| invalid(String::new(), error.to_string()))?,
                rules,
                indifferent,
            });
        }
        Ok(fields.try_into().ok().map(|fields| RuleSet { fields }))
    }

    /// Whether some rule matches, given what there is of each field, in the order of its names.
    pub fn matches(&self, facts: [&[&[u8]]; FIELDS]) -> bool {
        let mut left: Mask = [u64::MAX; MAX_RULES / 64];
        for (field, values) in self.fields.iter().zip(facts) {
            let fitting = field.fitting(values);
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
    /// The rules that one of these values is enough for. A field that a package lacks matches no pattern.
    fn fitting(&self, values: &[&[u8]]) -> Mask {
        let mut fitting = self.indifferent;
        for value in values.iter().filter(|_| !self.rules.is_empty()) {
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
