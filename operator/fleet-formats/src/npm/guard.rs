//! What may come in: which packages, which versions of them, and from when on. Decided with plain values, without a clock.
//!
//! The order of judgement is fixed: names that are reserved, the lists of what is carried, what a person has waived, whether
//! the bytes are still the first ones, and the age.

use std::fmt;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use jiff::Timestamp;

use super::integrity::Integrity;
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
    pub mutations: Vec<Mutation>,
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

/// Bytes of one version that a person takes for the right ones, whatever was promised for it first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mutation {
    pub package: String,
    pub version: String,
    pub integrity: Integrity,
}

/// What is known of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts<'v> {
    /// When it was published, by the upstream's word; Unix seconds.
    pub published: Option<i64>,
    /// When it was first seen here.
    pub seen: i64,
    /// Whether it was in the first document of its package that was seen here.
    pub was_there: bool,
    /// What is promised for it now, where that are other bytes than before.
    pub mutated: Option<&'v Integrity>,
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

    /// What a person has approved of a package's versions.
    pub fn approved<'g>(
        &'g self,
        name: &'g PackageName,
    ) -> impl Iterator<Item = (&'g str, &'g Integrity)> {
        let mutations = self.mutations.iter();
        let of_it = mutations.filter(|mutation| mutation.package == name.as_str());
        of_it.map(|mutation| (mutation.version.as_str(), &mutation.integrity))
    }

    /// Judges one version of a package that is not held back as a whole. `now` in Unix seconds.
    pub fn version(
        &self,
        name: &PackageName,
        version: &str,
        facts: &Facts<'_>,
        now: i64,
    ) -> Verdict {
        if let Some(held) = self.listed(name, Some(version)) {
            return self.unless_dry(held);
        }
        if let Some(integrity) = facts.mutated {
            let reason = format!(
                "the upstream offers other bytes for {name}@{version} than it did before: what came first is kept, and the new ones ({integrity}) are not let in, unless a person approves them by guard.allowMutations"
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
        facts: &Facts<'_>,
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
mod tests;
