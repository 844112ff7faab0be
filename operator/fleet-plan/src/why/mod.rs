//! Why a Mirror is as it is, in one paragraph: what is wrong, since when, what it means for clients, what happens next by
//! itself and what a person can do. It tells what the status says, which the planner wrote, and adds nothing to it.

mod advice;
mod alone;
mod clients;
mod facts;
mod next;

use fleet_api::ConditionType;
use fleet_types::Reason;
use jiff::Timestamp;
use serde::Serialize;

pub(crate) use self::next::words;

use self::facts::Facts;
use crate::summary::endpoints::sentence as sentence_of_endpoints;
use crate::summary::{Known, MirrorSummary, Note, Program, capital, span, summary};
use crate::verdict::Verdict;

/// An answer to "why?".
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    pub namespace: String,
    pub mirror: String,
    /// The fixed word of the root; none where nothing is wrong and nothing is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// What is wrong.
    pub wrong: String,
    /// What it means for clients.
    pub clients: String,
    /// What happens next by itself.
    pub next: String,
    /// What a person can do; empty where there is nothing to do.
    pub help: String,
    /// The command for it, to copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

impl Explanation {
    /// The paragraph.
    pub fn paragraph(&self) -> String {
        let sentences = [&self.wrong, &self.clients, &self.next, &self.help];
        let sentences = sentences.into_iter().filter(|text| !text.is_empty());
        sentences.cloned().collect::<Vec<_>>().join(" ")
    }
}

/// Explains a Mirror; commands are written for `program`.
pub fn why(known: &Known, program: &Program) -> Explanation {
    explained(known, |reason| {
        advice::of(reason, &Facts::new(known, reason, program))
    })
}

/// Explains a copy without a cluster, as `mirrorfleet local` has: what helps there is no command of a cluster's.
pub fn why_alone(known: &Known) -> Explanation {
    explained(known, alone::advice)
}

fn explained(known: &Known, advice: impl FnOnce(Reason) -> advice::Advice) -> Explanation {
    let told = summary(known);
    let root = told.problems.first().or(told.held.first());
    let reason = root.map(|note| note.reason);
    let advice = reason.map_or_else(advice::Advice::nothing, advice);
    Explanation {
        namespace: told.namespace.clone(),
        mirror: told.mirror.clone(),
        reason,
        since: root.and_then(|note| note.since),
        wrong: wrong(known, &told.problems, &told.held) + &endpoints(&told),
        clients: clients::sentence(known, &told),
        next: next::sentence(known, &told),
        help: advice.text,
        command: advice.command,
    }
}

/// Endpoints that are not as they should be, where something is wrong that they may be why of.
fn endpoints(told: &MirrorSummary) -> String {
    match told.well {
        true => String::new(),
        false => sentence_of_endpoints(&told.endpoints),
    }
}

/// The root, since when, and what else there is to know in a word each.
fn wrong(known: &Known, problems: &[Note], held: &[Note]) -> String {
    let mirror = known.name();
    let Some(root) = problems.first() else {
        let Some(root) = held.first() else {
            return match known.mirror.spec.fills_itself() {
                true => format!("Mirror {mirror} is well: every region serves its registry."),
                false => {
                    format!("Mirror {mirror} is well: every region serves, verified and fresh.")
                }
            };
        };
        let more = others(&held[1..]);
        return format!(
            "Nothing is wrong with Mirror {mirror}, which is held ({}): {}.{more}",
            root.reason,
            ended(&root.message)
        );
    };
    let since = root.since.map(|since| {
        let ago = span(known.now.duration_since(since).as_secs());
        format!(", since {since}, {ago} ago")
    });
    let more = problems[1..].iter().chain(held);
    let more: Vec<Note> = more
        .filter(|note| note.reason != root.reason)
        .cloned()
        .collect();
    format!(
        "Mirror {mirror} {} ({}{}): {}.{}",
        what(known, root),
        root.reason,
        since.unwrap_or_default(),
        ended(&root.message),
        others(&more)
    )
}

/// What else is so, as words: the sentence of each stands in the status.
fn others(notes: &[Note]) -> String {
    if notes.is_empty() {
        return String::new();
    }
    let words: Vec<String> = notes.iter().map(|note| note.reason.to_string()).collect();
    format!(" Besides: {}.", crate::summary::enumeration(&words))
}

/// What the root amounts to.
fn what(known: &Known, root: &Note) -> &'static str {
    let is = |kind: ConditionType| {
        let complaint = known.complaint(kind);
        complaint.is_some_and(|(verdict, _)| verdict.reason == root.reason)
    };
    let serves = || {
        let status = known.status();
        (status.regions.iter()).any(|region| region.state.has_content())
    };
    if known.is_unseen() {
        "has not been looked at"
    } else if is(ConditionType::Stalled) {
        "waits for an edit"
    } else if is(ConditionType::Ready) && !serves() {
        "has nothing to serve yet"
    } else if is(ConditionType::Ready) {
        "is not ready"
    } else if is(ConditionType::StorageReady) {
        "has trouble with its storage"
    } else if is(ConditionType::Verified) {
        "refuses what its upstream sends"
    } else if root.reason == Reason::Stale {
        "is stale"
    } else if root.reason == Reason::IndexExpired {
        "serves an index that is past its time"
    } else if root.reason == Reason::Progressing {
        "is not being looked after"
    } else if matches!(root.reason, Reason::Unknown | Reason::NotProbed) {
        "serves, but nobody can tell how fresh it is"
    } else {
        "serves, but is not kept up to date"
    }
}

/// A message as the part of a sentence before its full stop.
fn ended(message: &str) -> &str {
    message.trim_end_matches(['.', ' ', ';'])
}

/// The region and its replica that a reason is about: the first whose run ended so, that a condition names, that is late or
/// that does not serve.
fn place(known: &Known, reason: Reason) -> (String, u32) {
    let status = known.status();
    let all = || {
        status.regions.iter().flat_map(|region| {
            let replicas = (0..).zip(&region.replicas);
            replicas.map(move |(number, replica)| (region, number, replica))
        })
    };
    let failed = all().find(|(_, _, replica)| {
        let last = replica.last_attempt.as_ref();
        last.is_some_and(|last| last.reason == reason)
    });
    let named = || {
        let mut conditions = status.conditions.iter().map(Verdict::of);
        let message = conditions.find(|verdict| verdict.reason == reason)?.message;
        let mentions =
            all().filter_map(|it| Some((mentioned(&message, &it.0.title(it.1 as usize))?, it)));
        mentions.min_by_key(|(at, _)| *at).map(|(_, it)| it)
    };
    let late = || all().find(|(it, ..)| reason == Reason::Stale && it.superseded_at.is_some());
    let down = || all().find(|(_, _, replica)| !replica.ready);
    let found = failed.or_else(named).or_else(late).or_else(down);
    let found = found.or_else(|| all().next());
    let found = found.map(|(region, number, _)| (region.name.clone(), number));
    let declared = || {
        known
            .mirror
            .spec
            .regions
            .first()
            .map(|region| (region.name.clone(), 0))
    };
    found.or_else(declared).unwrap_or_default()
}

/// Where a sentence first speaks of the region, or of the replica of one, that is called so: at which of its words.
fn mentioned(message: &str, title: &str) -> Option<usize> {
    let is_of_names = |letter: char| letter.is_ascii_alphanumeric() || "-/".contains(letter);
    let words: Vec<&str> = message.split(|letter| !is_of_names(letter)).collect();
    words.windows(2).position(|pair| pair == ["region", title])
}

/// A sentence from its parts.
fn sentence(text: &str) -> String {
    format!("{}.", capital(ended(text)))
}
