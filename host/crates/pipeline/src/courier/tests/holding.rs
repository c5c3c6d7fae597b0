//! Events that wait: for room among the dead letters, for a better plugin, and their limits.

use domain::IncarnationId;

use crate::courier::rig::instance::queue;
use crate::courier::rig::plugin::{LOOPS, REJECTED, RETRIES, TRAPS, client_of_length};
use crate::courier::rig::{Rig, Setting, client, eventually};
use crate::health::Health;

#[tokio::test]
async fn full_dead_letters_pause_the_rule_and_drop_nothing() {
    let setting = Setting {
        dead_letters_bytes_max: 1,
        ..Setting::default()
    };
    let rig = Rig::new(setting, &[queue("a", 0)]);
    rig.start(1, &[]);
    // The first one finds room.
    rig.connect(1, &client_of_length("r0", REJECTED));
    rig.drained(1).await;
    rig.connect(1, &client_of_length("r1", REJECTED));
    rig.connect(1, &client(1));
    eventually("it says so", || {
        rig.worst(1).is_some_and(|(health, reason)| {
            health == Health::Paused && reason.contains("dead letters are full")
        })
    })
    .await;
    assert!(rig.pending(1) >= 1);
    assert_eq!(rig.outbox.stats().dead_letters, 1);
    let letters = rig
        .outbox
        .dead_letters(&store::DeadLetterFilter::default(), 10)
        .unwrap();
    let ids: Vec<_> = letters.iter().map(|letter| letter.id).collect();
    rig.outbox.delete_dead_letters(&ids).unwrap();
    rig.drained(1).await;
    let counts = rig.outbox.counts(IncarnationId(1));
    assert_eq!((counts.buried, counts.delivered), (2, 1));
    eventually("it is fine again", || rig.worst(1).is_none()).await;
    rig.end().await;
}

#[tokio::test]
async fn a_paused_rule_notices_that_its_events_are_dropped() {
    let setting = Setting {
        dead_letters_bytes_max: 1,
        ..Setting::default()
    };
    let rig = Rig::new(setting, &[queue("a", 0)]);
    rig.start(1, &[]);
    rig.connect(1, &client_of_length("r0", REJECTED));
    rig.drained(1).await;
    rig.connect(1, &client_of_length("r1", REJECTED));
    eventually("it waits", || rig.worst(1).is_some()).await;
    rig.put(1, |active| active.is_discarding = true);
    rig.drained(1).await;
    assert_eq!(rig.outbox.counts(IncarnationId(1)).discarded, 1);
    rig.end().await;
}

#[tokio::test]
async fn a_trap_is_buried_after_its_tries() {
    let rig = Rig::new(Setting::default(), &[queue("a", 0)]);
    rig.start(1, &[]);
    rig.connect(1, &client_of_length("t", TRAPS));
    rig.connect(1, &client(1));
    rig.drained(1).await;
    let counts = rig.outbox.counts(IncarnationId(1));
    assert_eq!((counts.buried, counts.delivered), (1, 1));
    rig.end().await;
}

#[tokio::test]
async fn a_loop_costs_its_own_events_only() {
    let rig = Rig::new(Setting::default(), &[queue("a", 0)]);
    rig.start(1, &[]);
    let slow = client_of_length("slow", LOOPS);
    rig.connect(1, &slow);
    rig.connect(1, &slow);
    for number in 0..20 {
        rig.connect(1, &client(number));
    }
    rig.drained(1).await;
    let counts = rig.outbox.counts(IncarnationId(1));
    assert_eq!((counts.buried, counts.delivered), (2, 20));
    rig.end().await;
}

#[tokio::test]
async fn faults_in_a_row_pause_the_rule_before_they_bury_everything() {
    let rig = Rig::new(Setting::default(), &[queue("a", 0)]);
    rig.start(1, &[]);
    for number in 0..20 {
        rig.connect(1, &client_of_length(&format!("t{number}"), TRAPS));
    }
    eventually("it pauses", || {
        rig.worst(1)
            .is_some_and(|(health, _)| health == Health::Faulted)
    })
    .await;
    let counts = rig.outbox.counts(IncarnationId(1));
    assert!(counts.buried < 5, "{counts:?}");
    rig.put(1, |active| active.is_discarding = true);
    rig.drained(1).await;
    rig.end().await;
}

#[tokio::test]
async fn a_parked_client_with_many_events_holds_up_no_other_of_its_slot() {
    let rig = Rig::new(Setting::default(), &[queue("a", 0)]);
    let parked = client_of_length("parked", RETRIES);
    let slot = domain::Slot::of(&domain::ClientId::parse(&parked).unwrap());
    let is_beside = |id: &String| domain::Slot::of(&domain::ClientId::parse(id).unwrap()) == slot;
    let other = (0..).map(client).find(is_beside).unwrap();
    // Many batches of its own, all in front of the other client, and still fewer than may be parked.
    for _ in 0..3000 {
        rig.connect(1, &parked);
    }
    let sequence = rig.connect(1, &other);
    rig.committed().await;
    rig.start(1, &[]);
    eventually("the other is stored", || rig.fake.firsts() == [sequence]).await;
    eventually("the others wait", || rig.pending(1) == 3000).await;
    rig.end().await;
}
