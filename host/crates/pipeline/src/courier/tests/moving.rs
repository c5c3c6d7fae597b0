//! Queues that vanish, appear, come back and are retired.

use domain::{Ordering, QueueName};

use crate::courier::RetireQueueError;
use crate::courier::rig::instance::{Answer, queue};
use crate::courier::rig::plugin::{RETRIES, client_of_length};
use crate::courier::rig::{Rig, Setting, client, eventually};
use crate::health::Health;

const CLIENTS: usize = 64;

fn setting(ordering: Ordering) -> Setting {
    Setting {
        ordering,
        ..Setting::default()
    }
}

fn two() -> Vec<QueueName> {
    vec![queue("a", 0), queue("b", 0)]
}

fn connect_all(rig: &Rig) {
    for number in 0..CLIENTS {
        rig.connect(1, &client(number));
    }
}

#[tokio::test]
async fn strict_waits_for_a_vanished_queue_and_says_so() {
    let rig = Rig::new(setting(Ordering::Strict), &two());
    rig.start(1, &[]);
    connect_all(&rig);
    rig.drained(1).await;
    rig.fake.list(&[queue("a", 0)]);
    rig.fake.kill(&[queue("b", 0)]);
    connect_all(&rig);
    let is_told = || {
        rig.worst(1).is_some_and(|(health, reason)| {
            health == Health::Retrying
                && reason.contains("b:0")
                && reason.contains("retire-queue test-rule b:0")
        })
    };
    eventually("it names the queue and the remedy", is_told).await;
    // An event enters in memory, and counts once it is committed.
    eventually("its events wait", || rig.pending(1) > 0).await;
    assert_eq!(rig.queues_in_use(1), two());
    rig.fake.kill(&[]);
    rig.fake.list(&two());
    rig.drained(1).await;
    rig.assert_in_order();
    eventually("it is fine again", || rig.worst(1).is_none()).await;
    rig.end().await;
}

#[tokio::test]
async fn available_leaves_a_dead_broker_and_comes_back() {
    for is_silent in [false, true] {
        let rig = Rig::new(setting(Ordering::Available), &two());
        rig.start(1, &[]);
        connect_all(&rig);
        rig.drained(1).await;
        // The name server has not noticed yet.
        rig.fake.be_silent(is_silent);
        rig.fake.kill(&[queue("b", 0)]);
        if is_silent {
            // Nothing but the route says that the broker is gone.
            rig.fake.list(&[queue("a", 0)]);
        }
        connect_all(&rig);
        rig.drained(1).await;
        assert_eq!(rig.queues_in_use(1), [queue("a", 0)]);
        rig.fake.list(&two());
        rig.fake.kill(&[]);
        eventually("the queue gets slots again", || {
            rig.queues_in_use(1) == two()
        })
        .await;
        connect_all(&rig);
        rig.drained(1).await;
        assert_eq!(rig.fake.overlaps(), 0);
        rig.end().await;
    }
}

#[tokio::test]
async fn available_waits_when_no_queue_can_store() {
    let rig = Rig::new(setting(Ordering::Available), &two());
    rig.start(1, &[]);
    rig.fake.kill(&two());
    connect_all(&rig);
    rig.committed().await;
    eventually("it tried for a while", || rig.fake.offered().len() > 20).await;
    assert_eq!(rig.queues_in_use(1), two());
    rig.fake.kill(&[]);
    rig.drained(1).await;
    rig.assert_in_order();
    rig.end().await;
}

#[tokio::test]
async fn queues_that_appear_are_used_and_the_order_holds() {
    let rig = Rig::new(setting(Ordering::Strict), &[queue("a", 0)]);
    rig.start(1, &[]);
    for round in 0..20 {
        connect_all(&rig);
        if round == 5 {
            rig.fake
                .list(&[queue("a", 0), queue("a", 1), queue("b", 0)]);
        }
        rig.committed().await;
    }
    eventually("all queues have slots", || rig.queues_in_use(1).len() == 3).await;
    rig.drained(1).await;
    connect_all(&rig);
    rig.drained(1).await;
    rig.assert_in_order();
    assert_eq!(rig.fake.overlaps(), 0);
    let last = rig.fake.stored();
    assert!(last.iter().any(|(at, _)| *at == queue("b", 0)));
    rig.end().await;
}

#[tokio::test]
async fn a_slot_with_a_parked_client_does_not_move_for_balance() {
    let rig = Rig::new(setting(Ordering::Strict), &[queue("a", 0)]);
    rig.start(1, &[]);
    let parked: Vec<_> = (0..40)
        .map(|number| client_of_length(&format!("p{number}"), RETRIES))
        .collect();
    for client in &parked {
        rig.connect(1, client);
    }
    connect_all(&rig);
    eventually("the others are stored", || rig.pending(1) == 40).await;
    rig.fake.list(&two());
    eventually("slots without them move", || rig.queues_in_use(1) == two()).await;
    let map = rig.slot_map(1);
    for client in &parked {
        let client = domain::ClientId::parse(client).unwrap();
        assert_eq!(map[&domain::Slot::of(&client)], queue("a", 0), "{client}");
    }
    rig.end().await;
}

#[tokio::test]
async fn a_retired_queue_is_left_under_strict_and_stays_so_after_a_restart() {
    let rig = Rig::new(setting(Ordering::Strict), &two());
    rig.start(1, &[]);
    connect_all(&rig);
    rig.drained(1).await;
    rig.fake.kill(&[queue("b", 0)]);
    connect_all(&rig);
    eventually("events wait", || rig.worst(1).is_some()).await;
    let retire = |queue| rig.retire(queue);
    assert_eq!(
        retire(queue("c", 0)).await,
        Err(RetireQueueError::UnknownQueue)
    );
    assert_eq!(
        retire(queue("a", 0)).await,
        Err(RetireQueueError::OnlyQueue)
    );
    assert_eq!(retire(queue("b", 0)).await, Ok(128));
    rig.drained(1).await;
    assert_eq!(rig.queues_in_use(1), [queue("a", 0)]);
    // It answers again and is in the route, and still gets nothing.
    let rig = rig.restart(&two()).await;
    rig.start(1, &[]);
    connect_all(&rig);
    rig.drained(1).await;
    assert_eq!(rig.queues_in_use(1), [queue("a", 0)]);
    // Nor does it when it is gone from the route and comes back.
    rig.fake.list(&[queue("a", 0), queue("c", 0)]);
    let others = [queue("a", 0), queue("c", 0)];
    eventually("one that appears is used", || {
        rig.queues_in_use(1) == others
    })
    .await;
    rig.fake
        .list(&[queue("a", 0), queue("b", 0), queue("c", 0), queue("d", 0)]);
    let others = [queue("a", 0), queue("c", 0), queue("d", 0)];
    eventually("the route was read", || rig.queues_in_use(1) == others).await;
    rig.end().await;
}

#[tokio::test]
async fn the_only_queue_cannot_be_retired() {
    let rig = Rig::new(setting(Ordering::Strict), &[queue("a", 0)]);
    rig.start(1, &[]);
    eventually("it has its slots", || rig.slot_map(1).len() == 256).await;
    let retired = rig.retire(queue("a", 0)).await;
    assert_eq!(retired, Err(RetireQueueError::OnlyQueue));
    rig.end().await;
}

#[tokio::test]
async fn a_stored_map_with_queues_that_the_topic_does_not_have_is_told() {
    let rig = Rig::new(setting(Ordering::Strict), &two());
    rig.start(1, &[]);
    connect_all(&rig);
    rig.drained(1).await;
    // The topic was created again, with fewer queues and on another broker.
    let rig = rig.restart(&[queue("a", 0)]).await;
    rig.start(1, &[]);
    eventually("it names the queue", || {
        rig.worst(1)
            .is_some_and(|(_, reason)| reason.contains("b:0"))
    })
    .await;
    assert_eq!(rig.retire(queue("b", 0)).await, Ok(128));
    connect_all(&rig);
    rig.drained(1).await;
    eventually("it is fine again", || rig.worst(1).is_none()).await;
    rig.end().await;
}

#[tokio::test]
async fn a_lost_answer_before_a_move_repeats_and_loses_nothing() {
    let rig = Rig::new(setting(Ordering::Available), &two());
    rig.start(1, &[]);
    eventually("it has its slots", || rig.slot_map(1).len() == 256).await;
    rig.fake
        .answer(&[Answer::StoreUnseen, Answer::StoreUnseen, Answer::Never]);
    connect_all(&rig);
    rig.committed().await;
    eventually("some were stored", || !rig.fake.stored().is_empty()).await;
    rig.fake.list(&[queue("a", 0)]);
    rig.fake.kill(&[queue("b", 0)]);
    rig.fake.be_silent(true);
    eventually("the slots are on one queue", || {
        rig.queues_in_use(1) == [queue("a", 0)]
    })
    .await;
    // The send that is never answered belongs to the queue that is left, or the route brings it back.
    rig.fake.list(&[queue("b", 1), queue("c", 1)]);
    rig.drained(1).await;
    let firsts = rig.fake.firsts();
    assert_eq!(firsts.len(), CLIENTS);
    rig.end().await;
}
