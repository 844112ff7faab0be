use super::*;

/// Every way in which so many regions follow one hub, at most two steps away.
fn trees(number: usize) -> Vec<Vec<Option<usize>>> {
    let mut all = vec![vec![None]];
    for _ in 1..number {
        let grown = all.iter().flat_map(|tree: &Vec<Option<usize>>| {
            let parents = (0..tree.len()).filter(move |at| tree[*at].is_none_or(|hub| hub == 0));
            parents.map(move |parent| [tree.as_slice(), &[Some(parent)]].concat())
        });
        all = grown.collect();
    }
    all
}

fn regions(tree: &[Option<usize>]) -> Vec<Reader> {
    let region = |follows: &Option<usize>| Reader {
        follows: *follows,
        is_awaited: true,
    };
    tree.iter().map(region).collect()
}

/// What regions read and what the hub writes, by whether each has the image that comes.
fn fits(tree: &[Option<usize>], raised: &[bool], away: &[bool], way: Way) -> bool {
    let version = |at: usize| match way {
        Way::LeavesFirst => 1 + u32::from(raised[at]),
        Way::HubFirst => 2 - u32::from(raised[at]),
    };
    let counted = (1..tree.len()).filter(|at| !away[*at]);
    counted.map(version).all(|reads| reads >= version(0))
}

/// Goes every way that the order leaves open, with one region at a time.
fn explore(tree: &[Option<usize>], raised: &[bool], away: &[bool], way: Way) {
    assert!(
        fits(tree, raised, away, way),
        "{tree:?} {raised:?} {away:?} {way:?}"
    );
    let mut regions = regions(tree);
    for (at, region) in regions.iter_mut().enumerate() {
        region.is_awaited = !raised[at] && !away[at];
    }
    let left = |at: &usize| regions[*at].is_awaited;
    let open = (0..tree.len()).filter(left);
    let open = open.filter(|at| goes_after(&regions, *at, way).is_none());
    let open: Vec<usize> = open.collect();
    assert!(
        !open.is_empty() || (0..tree.len()).all(|at| !left(&at)),
        "{tree:?} {raised:?} {away:?}"
    );
    for at in open {
        let mut next = raised.to_vec();
        next[at] = true;
        explore(tree, &next, away, way);
    }
}

#[test]
fn whoever_is_away_no_region_ever_reads_less_than_the_hub_writes_and_all_are_raised() {
    for tree in trees(4) {
        for mask in 0..1_u32 << tree.len() {
            let away: Vec<bool> = (0..tree.len()).map(|at| mask >> at & 1 == 1).collect();
            for way in [Way::LeavesFirst, Way::HubFirst] {
                // A hub that is away writes nothing, and comes back with the image that comes.
                if away[0] {
                    continue;
                }
                explore(&tree, &vec![false; tree.len()], &away, way);
            }
        }
    }
}

#[test]
fn what_is_no_tree_is_no_endless_loop() {
    let regions = regions(&[Some(1), Some(0)]);
    assert_eq!(followed(&regions, 0).count(), 2);
}
