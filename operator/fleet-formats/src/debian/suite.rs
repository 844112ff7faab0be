//! Whether a signed Release file is of the suite that was asked for: a validly signed *other* suite is an attack.

use super::release::Release;
use super::slice::Suite;

/// Ubuntu and Debian derive suites from a code name by these; where `Codename: noble` is in the Release of
/// `noble-updates` too, the code name alone does not tell which of them it is.
const POCKETS: [&str; 5] = [
    "updates",
    "security",
    "backports",
    "proposed",
    "proposed-updates",
];

/// Whether the Release introduces itself by the declared name: as Suite or Codename, as a whole or, as apt has it,
/// without its last part (`bookworm/updates` may call itself `bookworm`). A flat repository that says nothing about
/// itself fits; one at the top of a repository has no name to compare.
pub(super) fn fits(release: &Release, suite: &Suite<'_>) -> bool {
    let (own_suite, own_codename) = (release.suite.as_deref(), release.codename.as_deref());
    let declared = suite.name.trim_end_matches('/');
    if suite.is_flat()
        && (matches!(declared, "" | ".") || (own_suite.is_none() && own_codename.is_none()))
    {
        return true;
    }
    let names = [
        Some(declared),
        declared.rsplit_once('/').map(|(base, _)| base),
    ];
    names.into_iter().flatten().any(|name| {
        own_suite == Some(name)
            || (own_codename == Some(name) && !own_suite.is_some_and(|own| is_pocket_of(own, name)))
    })
}

fn is_pocket_of(suite: &str, codename: &str) -> bool {
    let rest = suite
        .strip_prefix(codename)
        .and_then(|rest| rest.strip_prefix('-'));
    rest.is_some_and(|pocket| POCKETS.contains(&pocket))
}
