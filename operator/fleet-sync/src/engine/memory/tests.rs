use fleet_types::UnitRevision;

use super::*;

fn index(date: i64, allowed: &[Reason]) -> UnitIndex {
    UnitIndex {
        revision: UnitRevision {
            unit: "trixie".into(),
            digest: Sha256([date as u8; 32]),
            date,
            valid_until: None,
        },
        identity: BTreeMap::from([("Origin".to_owned(), format!("of {date}"))]),
        allowed: allowed.to_vec(),
        roots: Vec::new(),
        groups: Vec::new(),
        links: Vec::new(),
        fixed_names: false,
        signed_by: Vec::new(),
        vouched_until: None,
        notes: Vec::new(),
        lacks: Vec::new(),
    }
}

fn told(date: i64) -> Accepted {
    index(date, &[]).revision.into()
}

fn date(memory: &Memory, marks: &[Accepted]) -> i64 {
    memory.high_water("trixie", marks).unwrap().revision.date
}

#[test]
fn the_newest_memory_counts_and_nothing_lowers_it_but_a_person() {
    let mut memory = Memory::default();
    memory.accept(&index(10, &[]), &[]);
    assert_eq!(date(&memory, &[told(9)]), 10);
    assert_eq!(date(&memory, &[told(12), told(11)]), 12);
    assert_eq!(memory.high_water("sid", &[told(12)]), None);
    memory.accept(&index(8, &[]), &[]);
    assert_eq!(date(&memory, &[]), 10);
    memory.accept(&index(8, &[Reason::RollbackDetected]), &[]);
    assert_eq!(date(&memory, &[]), 8);
}

#[test]
fn a_mark_that_a_person_lowered_wins_over_what_it_was_set_in_the_place_of() {
    let mut memory = Memory::default();
    memory.accept(&index(10, &[]), &[]);
    memory.accept(&index(6, &[Reason::RollbackDetected]), &[told(12)]);
    // The report of that run was lost, and the caller remembers what it did before.
    assert_eq!(date(&memory, &[told(12)]), 6);
    assert_eq!(
        date(&memory, &[told(13)]),
        13,
        "something newer than that counts"
    );
    memory.accept(&index(6, &[]), &[told(12)]);
    assert_eq!(
        memory.marks_unlike(&[])[0].allowed,
        [Reason::RollbackDetected],
        "it stays so"
    );
    memory.accept(&index(7, &[]), &[told(12)]);
    assert_eq!(date(&memory, &[told(12)]), 7);
    assert_eq!(memory.marks_unlike(&[])[0].allowed, []);
    memory.accept(&index(14, &[]), &[told(12)]);
    let mark = &memory.marks_unlike(&[])[0];
    assert_eq!((mark.revision.date, mark.instead_of), (14, None));
    assert_eq!(memory.marks_unlike(std::slice::from_ref(mark)), []);
}

#[test]
fn who_a_unit_is_survives_a_memory_that_did_not_know_it() {
    let mut memory = Memory::default();
    memory.accept(&index(10, &[]), &[]);
    let newest = memory.high_water("trixie", &[told(12)]).unwrap();
    assert_eq!(newest.identity["Origin"], "of 10");
}
