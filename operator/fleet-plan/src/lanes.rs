//! Which writes of a plan wait for which others.

use crate::plan::Write;

/// The writes of one replica in their order, or one of the whole Mirror.
#[derive(Debug, PartialEq)]
pub struct Lane<'w> {
    /// As [`Write::part`] says it.
    pub part: Option<String>,
    pub writes: Vec<&'w Write>,
}

/// The writes in stages that come one after another. Lanes of one stage may be carried out side by side: what is of one
/// replica builds on nothing of another one. What is of the whole Mirror is a stage of its own.
pub fn stages(writes: &[Write]) -> Vec<Vec<Lane<'_>>> {
    let mut stages: Vec<Vec<Lane>> = Vec::new();
    for write in writes {
        let part = write.part();
        let open = stages.last_mut().filter(|lanes| {
            let of_replicas = lanes.iter().all(|lane| lane.part.is_some());
            part.is_some() && of_replicas
        });
        let lane = |part| Lane {
            part,
            writes: vec![write],
        };
        match open {
            None => stages.push(vec![lane(part)]),
            Some(lanes) => match lanes.iter_mut().find(|lane| lane.part == part) {
                Some(known) => known.writes.push(write),
                None => lanes.push(lane(part)),
            },
        }
    }
    stages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evicts(part: &str) -> Write {
        let (name, uid) = (part.to_owned(), String::new());
        Write::Evict {
            part: part.to_owned(),
            name,
            uid,
        }
    }

    #[test]
    fn replicas_go_side_by_side_each_in_its_order_and_the_whole_mirror_by_itself() {
        let (eu, other, us) = (evicts("eu"), evicts("eu/1"), evicts("us"));
        let writes = [
            Write::AddFinalizer,
            eu.clone(),
            us.clone(),
            eu.clone(),
            other.clone(),
            Write::RemoveFinalizer,
            Write::AddFinalizer,
            us.clone(),
        ];
        let stages_of = stages(&writes);
        let told = stages_of.iter().map(|lanes| {
            let lanes = lanes.iter();
            let told = lanes.map(|lane| (lane.part.as_deref(), lane.writes.len()));
            told.collect()
        });
        let told: Vec<Vec<(Option<&str>, usize)>> = told.collect();
        let whole = vec![(None, 1)];
        let replicas = vec![(Some("eu"), 2), (Some("us"), 1), (Some("eu/1"), 1)];
        let wanted = [
            whole.clone(),
            replicas,
            whole.clone(),
            whole,
            vec![(Some("us"), 1)],
        ];
        assert_eq!(told, wanted);
        assert!(stages(&[]).is_empty());
    }
}
