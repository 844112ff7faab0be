//! When a suite's state is from, how long it holds, and whether it can follow what was accepted before: the obligations 4
//! to 6 of [`super::verify`]. All but a date in the future can be let through by a person, for one state alone.

use std::collections::BTreeMap;

use fleet_types::documents::UnixSeconds;
use fleet_types::{Accepted, Reason, Relation, UnitRevision};

use super::date;
use super::release::Release;
use crate::seam::{Rejected, VerifyContext, let_through};

/// Of each value of an identity that is remembered, in characters.
const IDENTITY_LENGTH: usize = 128;

/// What a Release says of its time.
#[derive(Debug)]
pub(super) struct Times {
    /// None where an unsigned Release gives none that can be read: apt then takes it for 1970.
    pub date: Option<i64>,
    pub valid_until: Option<i64>,
    pub notes: Vec<String>,
}

/// Reads the dates of a Release. Nothing rests on the dates of an unsigned one. Errors: `IndexMalformed`.
pub(super) fn read(
    release: &Release,
    is_signed: bool,
    max_index_age: Option<i64>,
) -> Result<Times, Rejected> {
    let mut notes = Vec::new();
    let date = match &release.date {
        Some(text) => {
            let date = date::parse(text);
            if date.is_some() && date::parse_as_apt(text) != date {
                notes.push(format!(
                    "the Date of the Release ({text:.40}) is not in a form that apt reads, and its users are warned"
                ));
            }
            date.ok_or_else(|| malformed("Date", text))
        }
        None => Err(Rejected::new(
            Reason::IndexMalformed,
            "the Release file has no Date, so an older state could not be told from a newer one; the upstream must give one",
        )),
    };
    let valid_until = release
        .valid_until
        .as_deref()
        .map(|text| date::parse_as_apt(text).ok_or_else(|| malformed("Valid-Until", text)));
    let (date, valid_until) = match is_signed {
        true => (Some(date?), valid_until.transpose()?),
        false => (date.ok(), valid_until.and_then(Result::ok)),
    };
    let oldest = || Some(date?.saturating_add(max_index_age?));
    Ok(Times {
        date,
        valid_until: valid_until.or_else(oldest),
        notes,
    })
}

fn malformed(field: &str, text: &str) -> Rejected {
    let mut message = format!(
        "{field} is no date as `Sat, 07 Jun 2025 10:12:13 UTC`: {text:.40?}; the upstream must correct it"
    );
    if field == "Valid-Until" {
        message.push_str(" (apt refuses it too)");
    }
    Rejected::new(Reason::IndexMalformed, message)
}

/// What a Release says of whom and what it is of, as far as apt refuses it when that changes. By field; one that the
/// Release does not have is empty.
pub(super) fn identity(release: &Release) -> BTreeMap<String, String> {
    let text = |value: &Option<String>| {
        let value = value.as_deref().unwrap_or_default();
        value.chars().take(IDENTITY_LENGTH).collect::<String>()
    };
    let fields = [
        ("Codename", text(&release.codename)),
        ("Label", text(&release.label)),
        ("Origin", text(&release.origin)),
        ("Priority", release.priority.to_string()),
    ];
    fields
        .map(|(field, value)| (field.to_owned(), value))
        .into()
}

/// Judges a state's place in time. Gives what a person let through of it. Errors: `IndexFromFuture`, and for what is not
/// let through `RollbackDetected`, `Equivocation`, `ReleaseInfoChanged`, `IndexExpired`.
pub(super) fn judge(
    revision: &UnitRevision,
    identity: &BTreeMap<String, String>,
    is_dated: bool,
    context: &VerifyContext<'_>,
) -> Result<Vec<Reason>, Rejected> {
    if revision.is_from_future(context.now) {
        let message = format!(
            "the index is dated {}, in the future; check this machine's clock and the upstream's",
            UnixSeconds(revision.date)
        );
        return Err(Rejected::new(Reason::IndexFromFuture, message));
    }
    let complaints = complaints(revision, identity, is_dated, context);
    let allowances = context.allowances;
    let (through, held): (Vec<_>, Vec<_>) = complaints.into_iter().partition(|complaint| {
        allowances.allows(revision.digest, complaint.reason)
            || (complaint.reason == Reason::IndexExpired && allowances.expired)
    });
    let Some(first) = held.first() else {
        return Ok(through.iter().map(|complaint| complaint.reason).collect());
    };
    let what: Vec<&str> = held
        .iter()
        .map(|complaint| complaint.what.as_str())
        .collect();
    let mut reasons: Vec<Reason> = allowances.reasons_for(revision.digest).collect();
    reasons.extend(held.iter().map(|complaint| complaint.reason));
    Err(Rejected::new(
        first.reason,
        format!("{}; {}", what.join("; "), let_through(revision, &reasons)),
    ))
}

/// What people should know of a state that a person let through.
pub(super) fn notes(revision: &UnitRevision, allowed: &[Reason]) -> Vec<String> {
    let note = |reason: &Reason| match (reason, revision.valid_until) {
        (Reason::IndexExpired, Some(until)) => format!(
            "the index expired at {}, and spec.verification lets it through; clients refuse it unless their sources say \
             `Check-Valid-Until: no` (in a sources.list: [check-valid-until=no])",
            UnixSeconds(until)
        ),
        _ => format!("spec.verification.allowed lets this state through ({reason})"),
    };
    allowed.iter().map(note).collect()
}

/// Something that an honest upstream does rarely, and a client is shown by an attacker.
struct Complaint {
    reason: Reason,
    what: String,
}

fn complaints(
    revision: &UnitRevision,
    identity: &BTreeMap<String, String>,
    is_dated: bool,
    context: &VerifyContext<'_>,
) -> Vec<Complaint> {
    let known = context.accepted;
    let order = known
        .filter(|_| is_dated)
        .and_then(|known| out_of_order(revision, known));
    let changed = known.and_then(|known| changed(identity, known));
    let ended = revision.valid_until.filter(|until| *until < context.now);
    let expired = ended.map(|until| Complaint {
        reason: Reason::IndexExpired,
        what: format!(
            "the index of {} expired at {}: the upstream no longer renews it, or somebody withholds the updates",
            UnixSeconds(revision.date),
            UnixSeconds(until)
        ),
    });
    order.into_iter().chain(changed).chain(expired).collect()
}

fn out_of_order(revision: &UnitRevision, known: &Accepted) -> Option<Complaint> {
    let known = &known.revision;
    match revision.compare(known) {
        Relation::Older => Some(Complaint {
            reason: Reason::RollbackDetected,
            what: format!(
                "the upstream went back from {} to {}",
                UnixSeconds(known.date),
                UnixSeconds(revision.date)
            ),
        }),
        Relation::Contradiction | Relation::Undecided => Some(Complaint {
            reason: Reason::Equivocation,
            what: format!(
                "two different contents are dated {}: {} was accepted before, and the upstream now has another; its next \
             update ends this",
                UnixSeconds(known.date),
                known.digest
            ),
        }),
        Relation::Same | Relation::Newer => None,
    }
}

fn changed(identity: &BTreeMap<String, String>, known: &Accepted) -> Option<Complaint> {
    let before = |field: &String| known.identity.get(field);
    let changes = identity.iter().filter_map(|(field, now)| {
        Some((field, before(field).filter(|before| *before != now)?, now))
    });
    let changes: Vec<String> = changes
        .map(|(field, before, now)| format!("its {field} from {before:?} to {now:?}"))
        .collect();
    (!changes.is_empty()).then(|| Complaint {
        reason: Reason::ReleaseInfoChanged,
        what: format!(
            "the signed Release changed {}, which apt refuses too until its user agrees",
            changes.join(", ")
        ),
    })
}
