//! Slots change hands without a moment in which two workers have one.

use domain::{QueueName, Slot};

use super::*;
use crate::courier::plan::deal;

fn queue(number: u32) -> QueueName {
    QueueName {
        broker: "a".into(),
        queue: number,
    }
}

fn table(queues: u32) -> (SlotTable, Vec<Arc<Line>>) {
    let queues: Vec<_> = (0..queues).map(queue).collect();
    let table = SlotTable::new(deal(&queues));
    let lines = table.assign(&table.free());
    (table, lines)
}

fn moves(slots: &[u8], to: u32) -> Plan {
    Plan {
        moves: slots.iter().map(|slot| (Slot(*slot), queue(to))).collect(),
        ..Plan::default()
    }
}

#[test]
fn a_slot_is_let_go_of_before_it_is_assigned() {
    let (table, lines) = table(2);
    let mut seen = 0;
    assert_eq!(
        table
            .slots(&lines[0], &mut seen, BTreeSet::new)
            .unwrap()
            .len(),
        128
    );
    assert_eq!(
        table.slots(&lines[0], &mut seen, BTreeSet::new),
        None,
        "nothing is new"
    );
    table.want(moves(&[0, 2], 1));
    assert!(table.free().is_empty(), "its worker has not let go of it");
    let left = table.slots(&lines[0], &mut seen, BTreeSet::new).unwrap();
    assert!(!left.contains(&Slot(0)) && left.len() == 126);
    assert_eq!(table.map().get(&Slot(0)), Some(&queue(0)), "not stored yet");
    let free = table.free();
    assert_eq!(free, moves(&[0, 2], 1).moves);
    let mut other = 0;
    assert_eq!(
        table
            .slots(&lines[1], &mut other, BTreeSet::new)
            .unwrap()
            .len(),
        128
    );
    assert!(
        table.assign(&free).is_empty(),
        "its worker is there already"
    );
    assert_eq!(
        table
            .slots(&lines[1], &mut other, BTreeSet::new)
            .unwrap()
            .len(),
        130
    );
}

#[test]
fn a_slot_with_a_parked_client_stays_until_it_is_not_kept() {
    let (table, lines) = table(2);
    let mut seen = 0;
    table.want(moves(&[0], 1));
    for _ in 0..2 {
        let kept = table
            .slots(&lines[0], &mut seen, || [Slot(0)].into())
            .unwrap();
        assert!(kept.contains(&Slot(0)));
    }
    let left = table.slots(&lines[0], &mut seen, BTreeSet::new).unwrap();
    assert!(!left.contains(&Slot(0)));
}

#[test]
fn a_worker_without_slots_ends_and_a_new_one_is_started_later() {
    let (table, lines) = table(2);
    let all: Vec<u8> = (0..=255).filter(|slot| slot % 2 == 0).collect();
    table.want(moves(&all, 1));
    let mut seen = 0;
    assert_eq!(
        table.slots(&lines[0], &mut seen, BTreeSet::new),
        Some(Vec::new())
    );
    table.assign(&table.free());
    table.want(moves(&[0], 0));
    let mut other = 0;
    table.slots(&lines[1], &mut other, BTreeSet::new).unwrap();
    let started = table.assign(&table.free());
    assert_eq!(started.len(), 1);
    assert_eq!(started[0].queue, queue(0));
    assert!(!started[0].is_evicted());
}

#[test]
fn a_plan_that_is_dropped_leaves_free_slots_where_they_were() {
    let (table, lines) = table(2);
    table.want(moves(&[0], 1));
    let mut seen = 0;
    table.slots(&lines[0], &mut seen, BTreeSet::new).unwrap();
    table.want(Plan::default());
    assert_eq!(table.free(), moves(&[0], 0).moves);
    table.assign(&table.free());
    let again = table.slots(&lines[0], &mut seen, BTreeSet::new).unwrap();
    assert_eq!(again.len(), 128);
}

#[test]
fn an_eviction_is_lifted_by_the_next_plan() {
    let (table, lines) = table(2);
    let evicted = Plan {
        evicted: [queue(0)].into(),
        ..Plan::default()
    };
    table.want(evicted);
    assert!(lines[0].is_evicted() && !lines[1].is_evicted());
    table.want(Plan::default());
    assert!(!lines[0].is_evicted());
}
