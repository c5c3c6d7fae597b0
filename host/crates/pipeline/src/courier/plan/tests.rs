//! Plans by themselves: who moves, who waits, and that plans come to rest.

use domain::{Ordering, QueueName};
use proptest::prelude::*;

use super::*;

fn queue(broker: &str, queue: u32) -> QueueName {
    QueueName {
        broker: broker.into(),
        queue,
    }
}

fn queues(brokers: &[&str], each: u32) -> Vec<QueueName> {
    let of = |broker: &&str| {
        let broker = (*broker).to_owned();
        (0..each).map(move |number| queue(&broker, number))
    };
    brokers.iter().flat_map(of).collect()
}

fn listing(queues: &[QueueName], ordering: Ordering) -> Conditions {
    Conditions {
        listed: Some(queues.iter().cloned().collect()),
        ordering,
        ..Conditions::default()
    }
}

fn apply(map: &mut SlotMap, plan: &Plan) {
    map.extend(plan.moves.clone());
}

fn loads(map: &SlotMap) -> BTreeMap<QueueName, usize> {
    let mut loads = BTreeMap::new();
    for queue in map.values() {
        *loads.entry(queue.clone()).or_insert(0) += 1;
    }
    loads
}

#[test]
fn a_balanced_map_stays() {
    let queues = queues(&["a"], 3);
    let map = deal(&queues);
    assert_eq!(
        plan(&map, &listing(&queues, Ordering::Strict)),
        Plan::default()
    );
}

#[test]
fn queues_that_appear_get_their_part_and_no_more() {
    let mut map = deal(&queues(&["a"], 2));
    let more = queues(&["a"], 4);
    let plan = plan(&map, &listing(&more, Ordering::Strict));
    assert!(plan.evicted.is_empty());
    assert_eq!(plan.moves.len(), 128);
    apply(&mut map, &plan);
    assert!(loads(&map).values().all(|load| *load == 64));
}

#[test]
fn a_vanished_queue_keeps_its_slots_when_order_counts() {
    let map = deal(&queues(&["a", "b"], 2));
    let left = queues(&["a"], 2);
    assert_eq!(
        plan(&map, &listing(&left, Ordering::Strict)),
        Plan::default()
    );
}

#[test]
fn a_vanished_queue_is_left_at_once_when_availability_counts() {
    let mut map = deal(&queues(&["a", "b"], 2));
    let left = queues(&["a"], 2);
    let plan = plan(&map, &listing(&left, Ordering::Available));
    assert_eq!(plan.evicted, queues(&["b"], 2).into_iter().collect());
    apply(&mut map, &plan);
    assert_eq!(loads(&map).len(), 2);
    assert!(loads(&map).values().all(|load| *load == 128));
}

#[test]
fn nothing_moves_when_nothing_can_store() {
    let all = queues(&["a"], 2);
    let map = deal(&all);
    let mut conditions = listing(&all, Ordering::Available);
    conditions.failed = all.iter().cloned().collect();
    conditions.failing = conditions.failed.clone();
    assert_eq!(plan(&map, &conditions), Plan::default());
    assert_eq!(
        plan(&map, &Conditions::default()),
        Plan::default(),
        "no route yet"
    );
}

#[test]
fn a_retired_queue_is_left_under_strict_and_gets_nothing_again() {
    let all = queues(&["a"], 2);
    let mut map = deal(&all);
    let mut conditions = listing(&all, Ordering::Strict);
    conditions.retired.insert(queue("a", 1));
    let first = plan(&map, &conditions);
    assert_eq!(first.evicted, [queue("a", 1)].into());
    apply(&mut map, &first);
    assert_eq!(loads(&map), [(queue("a", 0), 256)].into());
    assert_eq!(plan(&map, &conditions), Plan::default());
}

#[test]
fn a_queue_whose_sends_fail_neither_gives_nor_gets_for_balance() {
    let mut map = deal(&queues(&["a"], 2));
    let more = queues(&["a"], 3);
    let mut conditions = listing(&more, Ordering::Strict);
    conditions.failing.insert(queue("a", 0));
    let plan = plan(&map, &conditions);
    apply(&mut map, &plan);
    let loads = loads(&map);
    assert_eq!(loads.get(&queue("a", 0)), Some(&128));
    assert_eq!(loads.get(&queue("a", 2)), Some(&64));
}

proptest! {
    /// Whatever the conditions: every slot has one queue, a plan that is carried out leaves nothing
    /// to do, no slot moves twice or to a queue that cannot store.
    #[test]
    fn plans_come_to_rest(
        listed in proptest::collection::btree_set(0_u32..8, 0..8),
        failing in proptest::collection::btree_set(0_u32..8, 0..4),
        retired in proptest::collection::btree_set(0_u32..8, 0..3),
        owners in proptest::collection::vec(0_u32..8, 256),
        is_available: bool,
    ) {
        let named = |numbers: BTreeSet<u32>| numbers.into_iter().map(|number| queue("a", number)).collect::<BTreeSet<_>>();
        let conditions = Conditions {
            listed: Some(named(listed)),
            failing: named(failing.clone()),
            failed: named(failing),
            retired: named(retired),
            ordering: if is_available { Ordering::Available } else { Ordering::Strict },
        };
        let mut map: SlotMap = Slot::all().zip(owners.into_iter().map(|number| queue("a", number))).collect();
        let first = plan(&map, &conditions);
        let usable = conditions.usable();
        prop_assert!(first.moves.values().all(|queue| usable.contains(queue)));
        apply(&mut map, &first);
        prop_assert_eq!(map.len(), Slot::COUNT);
        prop_assert_eq!(plan(&map, &conditions), Plan::default());
        let counts: Vec<_> = usable.iter().map(|queue| map.values().filter(|it| *it == queue).count()).collect();
        if let (Some(most), Some(least)) = (counts.iter().max(), counts.iter().min()) {
            prop_assert!(most - least <= 1);
        }
    }
}
