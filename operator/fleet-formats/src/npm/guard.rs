//! What may come in: which packages, which versions of them, and from when on. Decided with plain values, without a clock.
//!
//! The order of judgement is fixed: names that are reserved, the lists of what is carried, what a person has waived, whether
//! the bytes are still the first ones, and the age.

use std::fmt;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use jiff::Timestamp;

use super::name::PackageName;

/// Rules over names and ages.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// Names that are never asked for at the upstream.
    pub reserved: Patterns,
    /// What the mirror carries; none: everything.
    pub allow: Option<Patterns>,
    pub deny: Vec<Deny>,
    pub waivers: Vec<Waiver>,
    /// Seconds that a version must have been known; 0 for none.
    pub minimum_age: i64,
    /// Whether what was in the first document of a package is as old as that document says.
    pub trust_upstream_time: bool,
    /// Nothing is held back for its age or by a list; what would be is told.
    pub dry_run: bool,
}

/// Globs over names: `@corp/*`, `corp-*`. A `*` does not go over the slash of a scope.
#[derive(Debug, Clone, Default)]
pub struct Patterns(GlobSet);

/// Packages that the mirror does not carry.
#[derive(Debug, Clone)]
pub struct Deny {
    pub packages: Patterns,
    /// Only this version; none: all of them.
    pub version: Option<String>,
    /// Told to who asks.
    pub reason: String,
}

/// One version that a person lets in although it is too young, until an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiver {
    pub package: String,
    pub version: String,
    /// Unix seconds.
    pub until: i64,
}

/// What is known of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// When it was published, by the upstream's word; Unix seconds.
    pub published: Option<i64>,
    /// When it was first seen here.
    pub seen: i64,
    /// Whether it was in the first document of its package that was seen here.
    pub was_there: bool,
    /// Whether other bytes were promised for it before.
    pub is_mutated: bool,
}

/// Which rule holds something back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HeldBy {
    Reserved,
    Deny,
    Allow,
    Mutation,
    Age,
}

impl HeldBy {
    pub const ALL: [HeldBy; 5] = [
        HeldBy::Reserved,
        HeldBy::Deny,
        HeldBy::Allow,
        HeldBy::Mutation,
        HeldBy::Age,
    ];

    /// One fixed word, for metrics and the trail.
    pub const fn as_str(self) -> &'static str {
        match self {
            HeldBy::Reserved => "reserved",
            HeldBy::Deny => "deny",
            HeldBy::Allow => "allow",
            HeldBy::Mutation => "mutation",
            HeldBy::Age => "age",
        }
    }
}

/// Something that is held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub by: HeldBy,
    /// A sentence for who asks.
    pub reason: String,
    /// From when on it is not, in Unix seconds.
    pub opens: Option<i64>,
}

/// What is decided of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Open,
    /// Open by a waiver, until then; after that it would be held back.
    Waived {
        until: i64,
        otherwise: Held,
    },
    Held(Held),
    /// It would be held back, and is not: a dry run.
    WouldBeHeld(Held),
}

impl Verdict {
    pub fn held(&self) -> Option<&Held> {
        match self {
            Verdict::Held(held) => Some(held),
            _ => None,
        }
    }

    /// When another verdict is due, as far as that is known; Unix seconds.
    pub fn changes(&self) -> Option<i64> {
        match self {
            Verdict::Open => None,
            Verdict::Waived { until, .. } => Some(*until),
            Verdict::Held(held) | Verdict::WouldBeHeld(held) => held.opens,
        }
    }
}

impl Patterns {
    /// Errors say which pattern is none.
    pub fn new<'p>(patterns: impl IntoIterator<Item = &'p str>) -> Result<Patterns, String> {
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            let glob = GlobBuilder::new(pattern).literal_separator(true).build();
            set.add(glob.map_err(|error| {
                format!("{pattern:?} is not a glob over names: {}", error.kind())
            })?);
        }
        set.build().map(Patterns).map_err(|error| error.to_string())
    }

    pub fn is_match(&self, name: &PackageName) -> bool {
        self.0.is_match(name.as_str())
    }
}

impl Guard {
    /// Whether the name is one that no upstream is asked for.
    pub fn is_reserved(&self, name: &PackageName) -> bool {
        self.reserved.is_match(name)
    }

    /// Whether versions are held back for their age: then their dates must be known.
    pub fn needs_dates(&self) -> bool {
        self.minimum_age > 0
    }

    /// Judges a package as a whole, without any version. A dry run asks for reserved names no more than any other.
    pub fn package(&self, name: &PackageName) -> Verdict {
        if self.is_reserved(name) {
            let reason = format!(
                "{name} is a name that this registry keeps for packages of its own (guard.reserved): it is not asked for upstream"
            );
            return Verdict::Held(Held {
                by: HeldBy::Reserved,
                reason,
                opens: None,
            });
        }
        match self.listed(name, None) {
            Some(held) => self.unless_dry(held),
            None => Verdict::Open,
        }
    }

    /// Judges one version of a package that is not held back as a whole. `now` in Unix seconds.
    pub fn version(&self, name: &PackageName, version: &str, facts: &Facts, now: i64) -> Verdict {
        if let Some(held) = self.listed(name, Some(version)) {
            return self.unless_dry(held);
        }
        if facts.is_mutated {
            let reason = format!(
                "the upstream offers other bytes for {name}@{version} than it did before: what came first is kept, and the new ones are not let in"
            );
            return Verdict::Held(Held {
                by: HeldBy::Mutation,
                reason,
                opens: None,
            });
        }
        let Some(held) = self.too_young(name, version, facts, now) else {
            return Verdict::Open;
        };
        let waiver = self
            .waivers
            .iter()
            .find(|waiver| waiver.package == name.as_str() && waiver.version == version);
        match waiver.filter(|waiver| now < waiver.until) {
            Some(waiver) => Verdict::Waived {
                until: waiver.until,
                otherwise: held,
            },
            None => self.unless_dry(held),
        }
    }

    fn unless_dry(&self, held: Held) -> Verdict {
        match self.dry_run {
            true => Verdict::WouldBeHeld(held),
            false => Verdict::Held(held),
        }
    }

    /// By the lists of what the mirror carries.
    fn listed(&self, name: &PackageName, version: Option<&str>) -> Option<Held> {
        let denied = self.deny.iter().find(|deny| {
            let concerns_it = deny.version.is_none() || deny.version.as_deref() == version;
            concerns_it && deny.packages.is_match(name)
        });
        if let Some(deny) = denied {
            let what =
                version.map_or_else(|| name.to_string(), |version| format!("{name}@{version}"));
            let reason = format!(
                "{what} is not carried by this registry (content.npm.deny): {}",
                deny.reason
            );
            return Some(Held {
                by: HeldBy::Deny,
                reason,
                opens: None,
            });
        }
        let is_carried = self.allow.as_ref().is_none_or(|allow| allow.is_match(name));
        (!is_carried).then(|| Held {
            by: HeldBy::Allow,
            reason: format!(
                "{name} is not among the packages that this registry carries (content.npm.allow)"
            ),
            opens: None,
        })
    }

    fn too_young(
        &self,
        name: &PackageName,
        version: &str,
        facts: &Facts,
        now: i64,
    ) -> Option<Held> {
        if self.minimum_age <= 0 {
            return None;
        }
        let since = match facts.published {
            Some(published) if self.trust_upstream_time && facts.was_there => published,
            // What appears later is not older than its first sight, whatever date it brings.
            Some(published) if self.trust_upstream_time => published.max(facts.seen),
            _ => facts.seen,
        };
        let opens = since.saturating_add(self.minimum_age);
        (now < opens).then(|| Held {
            by: HeldBy::Age,
            reason: format!("{name}@{version} is younger than this registry lets in (guard.minimumReleaseAge); it opens at {}", Instant(opens)),
            opens: Some(opens),
        })
    }
}

/// Unix seconds, for people.
struct Instant(i64);

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_second(self.0) {
            Ok(at) => at.fmt(f),
            Err(_) => f.write_str("no time that can be told"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;
    const NOW: i64 = 1_800_000_000;

    fn name(text: &str) -> PackageName {
        PackageName::new(text).unwrap()
    }

    fn patterns(text: &[&str]) -> Patterns {
        Patterns::new(text.iter().copied()).unwrap()
    }

    fn guard() -> Guard {
        Guard {
            minimum_age: 3 * DAY,
            trust_upstream_time: true,
            ..Guard::default()
        }
    }

    fn facts(published: Option<i64>, seen: i64, was_there: bool) -> Facts {
        Facts {
            published,
            seen,
            was_there,
            is_mutated: false,
        }
    }

    fn judged(guard: &Guard, facts: Facts) -> Verdict {
        guard.version(&name("p"), "1.0.0", &facts, NOW)
    }

    #[test]
    fn reserved_names_and_lists_hold_whole_packages_back() {
        let guard = Guard {
            reserved: patterns(&["@corp/*", "corp-*"]),
            allow: Some(patterns(&["@types/*", "left-*", "corp-x"])),
            deny: vec![
                Deny {
                    packages: patterns(&["left-pad"]),
                    version: None,
                    reason: "write it yourself".into(),
                },
                Deny {
                    packages: patterns(&["left-x"]),
                    version: Some("2.0.0".into()),
                    reason: "broken".into(),
                },
            ],
            ..Guard::default()
        };
        let by = |package: &str| guard.package(&name(package)).held().map(|held| held.by);
        assert_eq!(by("@corp/a"), Some(HeldBy::Reserved));
        assert_eq!(by("corp-x"), Some(HeldBy::Reserved));
        assert_eq!(by("left-pad"), Some(HeldBy::Deny));
        assert_eq!(by("right-pad"), Some(HeldBy::Allow));
        assert_eq!((by("left-x"), by("@types/node")), (None, None));
        let version =
            |version: &str| guard.version(&name("left-x"), version, &facts(None, 0, true), NOW);
        assert_eq!(version("1.0.0"), Verdict::Open);
        assert!(version("2.0.0").held().unwrap().reason.contains("broken"));
    }

    #[test]
    fn age_counts_from_what_cannot_be_made_up() {
        for (known, opens) in [
            (facts(Some(NOW - 4 * DAY), NOW, true), None),
            (facts(Some(NOW - DAY), NOW, true), Some(NOW + 2 * DAY)),
            // It came later with an old date.
            (
                facts(Some(NOW - 400 * DAY), NOW - DAY, false),
                Some(NOW + 2 * DAY),
            ),
            (
                facts(Some(NOW + DAY), NOW - 9 * DAY, false),
                Some(NOW + 4 * DAY),
            ),
            (facts(Some(NOW - 400 * DAY), NOW - 3 * DAY, false), None),
            // No date at all.
            (facts(None, NOW - 2 * DAY, true), Some(NOW + DAY)),
        ] {
            assert_eq!(
                judged(&guard(), known).held().and_then(|held| held.opens),
                opens,
                "{known:?}"
            );
        }
        let strict = Guard {
            trust_upstream_time: false,
            ..guard()
        };
        assert_eq!(
            judged(&strict, facts(Some(0), NOW, true)).changes(),
            Some(NOW + 3 * DAY)
        );
    }

    #[test]
    fn a_waiver_opens_one_version_until_its_end() {
        let waiver = |until| Waiver {
            package: "p".into(),
            version: "1.0.0".into(),
            until,
        };
        let young = facts(Some(NOW), NOW, true);
        let waived = Guard {
            waivers: vec![waiver(NOW + 5)],
            ..guard()
        };
        assert_eq!(judged(&waived, young).held(), None);
        assert_eq!(judged(&waived, young).changes(), Some(NOW + 5));
        assert!(
            waived
                .version(&name("p"), "1.0.1", &young, NOW)
                .held()
                .is_some()
        );
        let over = Guard {
            waivers: vec![waiver(NOW)],
            ..guard()
        };
        assert!(judged(&over, young).held().is_some());
        let mutated = Facts {
            is_mutated: true,
            ..young
        };
        assert_eq!(
            judged(&waived, mutated).held().unwrap().by,
            HeldBy::Mutation
        );
    }

    #[test]
    fn a_dry_run_tells_and_lets_in_what_only_rules_hold() {
        let dry = Guard {
            dry_run: true,
            deny: vec![Deny {
                packages: patterns(&["q"]),
                version: None,
                reason: String::new(),
            }],
            ..guard()
        };
        let young = facts(Some(NOW), NOW, true);
        assert!(
            matches!(judged(&dry, young), Verdict::WouldBeHeld(held) if held.by == HeldBy::Age)
        );
        assert!(matches!(dry.package(&name("q")), Verdict::WouldBeHeld(_)));
        let mutated = Facts {
            is_mutated: true,
            ..young
        };
        assert!(judged(&dry, mutated).held().is_some());
        let reserved = Guard {
            reserved: patterns(&["q"]),
            ..dry
        };
        assert!(reserved.package(&name("q")).held().is_some());
    }
}
