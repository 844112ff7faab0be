//! Values of conditions, and what becomes of them.

use fleet_api::{ConditionStatus, ConditionType};
use fleet_types::Reason;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::fleet::Problem;
use crate::runs::whole;

/// Longest message of a condition, in characters.
const MESSAGE_LENGTH: usize = 2048;

/// The value of a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub status: ConditionStatus,
    pub reason: Reason,
    pub message: String,
}

impl Verdict {
    pub fn yes(reason: Reason, message: impl Into<String>) -> Verdict {
        Verdict::new(ConditionStatus::True, reason, message)
    }

    pub fn no(reason: Reason, message: impl Into<String>) -> Verdict {
        Verdict::new(ConditionStatus::False, reason, message)
    }

    pub fn unknown(reason: Reason, message: impl Into<String>) -> Verdict {
        Verdict::new(ConditionStatus::Unknown, reason, message)
    }

    fn new(status: ConditionStatus, reason: Reason, message: impl Into<String>) -> Verdict {
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(MESSAGE_LENGTH) {
            message.truncate(end);
        }
        Verdict {
            status,
            reason,
            message,
        }
    }

    /// What a condition says.
    pub fn of(condition: &Condition) -> Verdict {
        Verdict {
            status: ConditionStatus::of(&condition.status),
            reason: Reason::of(&condition.reason),
            message: condition.message.clone(),
        }
    }

    pub fn is(&self, status: ConditionStatus) -> bool {
        self.status == status
    }
}

impl From<Problem> for Verdict {
    fn from(problem: Problem) -> Verdict {
        Verdict::no(problem.reason, problem.message)
    }
}

/// What conditions say of a type.
pub fn said(kind: ConditionType, conditions: &[Condition]) -> Option<Verdict> {
    kind.find(conditions).map(Verdict::of)
}

/// What was said before stands; `unsaid` is why there may be nothing.
pub fn stands(kind: ConditionType, before: &[Condition], unsaid: &str) -> Verdict {
    said(kind, before).unwrap_or_else(|| Verdict::unknown(Reason::Unknown, unsaid))
}

/// `Stalled` says what to change. What is served stays served, so `Ready` stays as it was once it was true.
pub fn stalled(problem: Problem, before: &[Condition]) -> [(ConditionType, Verdict); 2] {
    let ready = said(ConditionType::Ready, before).filter(|known| known.is(ConditionStatus::True));
    let stalled = Verdict::yes(problem.reason, problem.message.clone());
    [
        (
            ConditionType::Ready,
            ready.unwrap_or_else(|| problem.into()),
        ),
        (ConditionType::Stalled, stalled),
    ]
}

/// What the column State shows of a Mirror that is stalled.
pub fn state_of_stalled(conditions: &[Condition], reason: Reason) -> String {
    let ready = said(ConditionType::Ready, conditions);
    match ready.is_some_and(|known| known.is(ConditionStatus::True)) {
        true => format!("{},{reason}", Reason::Serving),
        false => reason.to_string(),
    }
}

/// Verdicts as conditions: the instant of the last transition moves only when the status does.
pub fn conditions(
    verdicts: Vec<(ConditionType, Verdict)>,
    before: &[Condition],
    generation: i64,
    now: Timestamp,
) -> Vec<Condition> {
    let build = |(kind, verdict): (ConditionType, Verdict)| {
        let known = (kind.find(before)).filter(|known| known.status == verdict.status.as_str());
        Condition {
            type_: kind.as_str().to_owned(),
            status: verdict.status.to_string(),
            reason: verdict.reason.to_string(),
            message: verdict.message,
            observed_generation: Some(generation),
            last_transition_time: known
                .map_or(Time(whole(now)), |known| known.last_transition_time.clone()),
        }
    };
    verdicts.into_iter().map(build).collect()
}
