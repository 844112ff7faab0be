//! What a region copies next, and from which others.

use fleet_types::Sha256;

use super::together::{Member, Standing};

/// What a member is to copy: what comes next, or else what all serve. None where it has both.
pub fn lacks(standing: &Standing, member: &Member) -> Option<Sha256> {
    member.copy.told.as_ref()?;
    let target = standing.target.map(|target| target.snapshot);
    let served = standing.decided.snapshot;
    let wanted = target.into_iter().chain(served);
    wanted.into_iter().find(|id| !member.copy.keeps(id))
}

/// From whom member `of` can copy a snapshot, in the order in which they are asked: the region that it follows, then that
/// one's, then any other. Nobody while the region that it follows will have it by itself, so that nothing crosses a link
/// between regions twice. `followed` says whom each member follows.
pub fn sources(
    id: &Sha256,
    members: &[Member],
    followed: &[Option<usize>],
    of: usize,
) -> Vec<usize> {
    let keeps = |at: &usize| (members.get(*at)).is_some_and(|member| member.copy.keeps(id));
    let next = |at: usize| followed.get(at).copied().flatten();
    // No chain is longer than there are regions.
    let above = std::iter::successors(next(of), |at| next(*at)).take(members.len());
    let above: Vec<usize> = above.collect();
    if above
        .first()
        .is_some_and(|at| comes(id, members, followed, *at))
    {
        return Vec::new();
    }
    let others = (0..members.len()).filter(|at| *at != of && !above.contains(at));
    above.iter().copied().chain(others).filter(keeps).collect()
}

/// Whether a member will have a snapshot by itself: it can copy it now, or once the one that it follows has it.
fn comes(id: &Sha256, members: &[Member], followed: &[Option<usize>], at: usize) -> bool {
    // The hub fetches.
    let next = followed.get(at).copied().flatten();
    let (Some(member), Some(next)) = (members.get(at), next) else {
        return false;
    };
    let copies = member.copy.told.is_some() && !member.fails && !member.copy.keeps(id);
    let can = || !sources(id, members, followed, at).is_empty();
    copies && (comes(id, members, followed, next) || can())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publication::tests::id;
    use crate::publication::together::tests::{hub, member, preparing, silent, standing};

    /// A hub, two that follow it, and one that follows the second.
    const FOLLOWED: [Option<usize>; 4] = [None, Some(0), Some(0), Some(2)];

    #[test]
    fn what_comes_next_is_copied_before_what_is_served() {
        assert_eq!(lacks(&standing(1), &member(&[1])), None);
        assert_eq!(lacks(&standing(1), &member(&[])), Some(id(1)));
        assert_eq!(lacks(&preparing(2, 0), &member(&[])), Some(id(2)));
        assert_eq!(lacks(&preparing(2, 0), &member(&[2])), Some(id(1)));
        let silent = silent(member(&[]), true);
        assert_eq!(lacks(&preparing(2, 0), &silent), None, "nobody knows");
    }

    #[test]
    fn it_is_copied_from_the_region_that_is_followed() {
        let members = [hub(&[2]), member(&[2]), member(&[]), member(&[])];
        assert_eq!(sources(&id(2), &members, &FOLLOWED, 2), [0, 1]);
        let has_it = [hub(&[2]), member(&[]), member(&[2]), member(&[])];
        assert_eq!(sources(&id(2), &has_it, &FOLLOWED, 3), [2, 0]);
    }

    #[test]
    fn nobody_goes_round_a_region_that_will_have_it() {
        let mut members = [hub(&[2]), member(&[]), member(&[]), member(&[])];
        assert!(sources(&id(2), &members, &FOLLOWED, 3).is_empty());
        members[2].fails = true;
        assert_eq!(sources(&id(2), &members, &FOLLOWED, 3), [0]);
        members[2] = silent(member(&[]), true);
        assert_eq!(sources(&id(2), &members, &FOLLOWED, 3), [0]);
    }

    #[test]
    fn nobody_goes_round_one_that_waits_for_another() {
        // A region that follows one that follows the hub, and its second replica.
        let chain = [None, Some(0), Some(1), Some(2)];
        let mut members = [hub(&[2]), member(&[]), member(&[]), member(&[])];
        assert_eq!(sources(&id(2), &members, &chain, 1), [0]);
        for waits in [2, 3] {
            let from = sources(&id(2), &members, &chain, waits);
            assert!(from.is_empty(), "{waits} copies from {from:?}");
        }
        // What the first lacks for good, the others get elsewhere; and the last one still from its sibling.
        members[1].fails = true;
        assert_eq!(sources(&id(2), &members, &chain, 2), [0]);
        assert!(sources(&id(2), &members, &chain, 3).is_empty());
        members[2].fails = true;
        assert_eq!(sources(&id(2), &members, &chain, 3), [0]);
    }

    #[test]
    fn what_only_a_sibling_has_is_copied_from_it() {
        let members = [hub(&[]), member(&[1]), member(&[]), member(&[])];
        assert_eq!(sources(&id(1), &members, &FOLLOWED, 2), [1]);
        assert!(sources(&id(9), &members, &FOLLOWED, 2).is_empty());
    }
}
