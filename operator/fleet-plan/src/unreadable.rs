//! A manifest that the schema let pass and that still cannot be read: nothing is planned, and its conditions say so.

use fleet_api::ConditionType;
use fleet_types::Reason;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::fleet::Problem;
use crate::verdict::{conditions, stalled};

/// The conditions of an object that cannot be read; `before` are those that it has. What was ready stays so: nobody
/// takes away what is served. Everything else is left as it was said.
pub fn conditions_of_unreadable(
    before: &[Condition],
    error: &str,
    generation: i64,
    now: Timestamp,
) -> Vec<Condition> {
    let problem = Problem::new(
        Reason::InvalidSpec,
        format!("the manifest cannot be read, so nothing is done about it: {error}; correct it"),
    );
    let said = conditions(stalled(problem, before).into(), before, generation, now);
    let replaced = |known: &&Condition| {
        known.type_ != ConditionType::Reconciling.as_str()
            && !said.iter().any(|new| new.type_ == known.type_)
    };
    let mut all: Vec<_> = before.iter().filter(replaced).cloned().collect();
    all.extend(said);
    all.sort_by(|one, other| one.type_.cmp(&other.type_));
    all
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::verdict::state_of_stalled;

    fn known(kind: &str, status: &str) -> Condition {
        Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: "X".to_owned(),
            message: String::new(),
            observed_generation: Some(1),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        }
    }

    #[test]
    fn it_is_stalled_and_what_was_ready_stays_so() {
        let told = |before: &[Condition]| {
            let all = conditions_of_unreadable(before, "x", 2, Timestamp::UNIX_EPOCH);
            let again = conditions_of_unreadable(&all, "x", 2, Timestamp::MAX);
            assert_eq!(again, all, "said once");
            all.iter()
                .map(|known| format!("{}={}", known.type_, known.status))
                .collect::<Vec<_>>()
        };
        assert_eq!(told(&[]), ["Ready=False", "Stalled=True"]);
        assert_eq!(state_of_stalled(&[], Reason::InvalidSpec), "InvalidSpec");
        let before = [
            known("Ready", "True"),
            known("Fresh", "True"),
            known("Reconciling", "True"),
        ];
        assert_eq!(told(&before), ["Fresh=True", "Ready=True", "Stalled=True"]);
        assert_eq!(
            state_of_stalled(&before, Reason::InvalidSpec),
            "Serving,InvalidSpec"
        );
    }
}
