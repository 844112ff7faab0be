//! Whether a signed Release file is of the suite that was asked for: a validly signed *other* suite is an attack.

use fleet_types::Reason;

use super::release::Release;
use super::slice::{Slice, Suite};
use crate::seam::Rejected;

/// Ubuntu and Debian derive suites from a code name by these; where `Codename: noble` is in the Release of
/// `noble-updates` too, the code name alone does not tell which of them it is.
const POCKETS: [&str; 5] = [
    "updates",
    "security",
    "backports",
    "proposed",
    "proposed-updates",
];

/// Refuses the Release of another suite. What the slice expects it to be called counts instead of the suite's own name.
/// Gives what people should know: clients of a suite that bears another name hear a warning. Errors: `SuiteMismatch`.
pub(super) fn is_the_one(
    release: &Release,
    slice: &Slice,
    suite: &Suite<'_>,
) -> Result<Option<String>, Rejected> {
    let expected = slice.release_name_of(suite.name);
    let as_expected = match expected {
        Some("") => release.suite.is_none() && release.codename.is_none(),
        Some(name) => bears(release, name),
        None => fits(release, suite),
    };
    if !as_expected {
        return Err(Rejected::new(
            Reason::SuiteMismatch,
            mismatch(release, suite, expected),
        ));
    }
    let warned = expected.is_some() && !fits(release, suite);
    Ok(warned.then(|| {
        format!(
            "the Release says {}, as debian.releaseNames expects; apt warns its users of a conflicting distribution",
            own_names(release)
        )
    }))
}

fn mismatch(release: &Release, suite: &Suite<'_>, expected: Option<&str>) -> String {
    let name = release.suite.as_ref().or(release.codename.as_ref());
    let expected = match expected {
        Some("") => "no name, which debian.releaseNames expects".to_owned(),
        Some(name) => format!("{name}, which debian.releaseNames expects"),
        None => suite.name.to_owned(),
    };
    format!(
        "suite {}: the Release says {} and not {expected}; if the upstream calls this suite so, put into the \
         Mirror's spec.content.debian `releaseNames: [{{suite: {:?}, name: {:?}}}]`",
        suite.name,
        own_names(release),
        suite.name,
        name.map_or("", String::as_str),
    )
}

/// For messages.
pub(super) fn own_names(release: &Release) -> String {
    let own = |name: &Option<String>| name.clone().unwrap_or_else(|| "(none)".to_owned());
    format!(
        "Suite {}, Codename {}",
        own(&release.suite),
        own(&release.codename)
    )
}

/// Whether the Release introduces itself by the declared name: as Suite or Codename, as a whole or, as apt has it,
/// without its last part (`bookworm/updates` may call itself `bookworm`). A flat repository that says nothing about
/// itself fits; one at the top of a repository has no name to compare.
pub(super) fn fits(release: &Release, suite: &Suite<'_>) -> bool {
    let declared = suite.name.trim_end_matches('/');
    let nameless = release.suite.is_none() && release.codename.is_none();
    if suite.is_flat() && (matches!(declared, "" | ".") || nameless) {
        return true;
    }
    let base = declared.rsplit_once('/').map(|(base, _)| base);
    bears(release, declared) || base.is_some_and(|base| bears(release, base))
}

fn bears(release: &Release, name: &str) -> bool {
    let own_suite = release.suite.as_deref();
    own_suite == Some(name)
        || (release.codename.as_deref() == Some(name)
            && !own_suite.is_some_and(|own| is_pocket_of(own, name)))
}

fn is_pocket_of(suite: &str, codename: &str) -> bool {
    let rest = suite
        .strip_prefix(codename)
        .and_then(|rest| rest.strip_prefix('-'));
    rest.is_some_and(|pocket| POCKETS.contains(&pocket))
}
