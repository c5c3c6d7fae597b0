//! Sends that fail, are refused, come twice or never.

use std::time::Duration;

use crate::courier::rig::instance::{Answer, queue};
use crate::courier::rig::plugin::{THREE, client_of_length};
use crate::courier::rig::{Rig, Setting, client, eventually};

/// Several events of one client, recorded before the courier starts, so that they are one batch.
async fn rig_with(count: usize) -> (Rig, Vec<u64>) {
    let rig = Rig::new(Setting::default(), &[queue("a", 0)]);
    let sequences = (0..count).map(|_| rig.connect(1, &client(1))).collect();
    rig.committed().await;
    (rig, sequences)
}

#[tokio::test]
async fn a_bad_message_is_buried_alone_and_the_order_of_the_others_stays() {
    let (rig, sequences) = rig_with(8).await;
    rig.fake.refuse(sequences[2]);
    rig.fake.refuse(sequences[7]);
    rig.start(1, &[]);
    rig.drained(1).await;
    let good: Vec<_> = [0, 1, 3, 4, 5, 6].map(|index| sequences[index]).to_vec();
    assert_eq!(rig.fake.firsts(), good);
    let counts = rig.outbox.counts(domain::IncarnationId(1));
    assert_eq!((counts.delivered, counts.buried), (6, 2));
    rig.end().await;
}

#[tokio::test]
async fn a_retried_batch_is_offered_again_as_it_was() {
    let (rig, sequences) = rig_with(4).await;
    rig.fake.answer(&[
        Answer::Fail,
        Answer::Busy,
        Answer::StoreUnseen,
        Answer::Fail,
    ]);
    rig.start(1, &[]);
    rig.drained(1).await;
    let offered = rig.fake.offered();
    assert_eq!(offered.len(), 5);
    assert!(offered.iter().all(|(_, batch)| *batch == sequences));
    assert_eq!(rig.fake.firsts(), sequences);
    eventually("a finished delivery leaves no problem", || {
        rig.worst(1).is_none()
    })
    .await;
    rig.end().await;
}

#[tokio::test]
async fn a_server_without_batches_gets_single_messages_in_order() {
    let (rig, sequences) = rig_with(3).await;
    rig.fake.answer(&[Answer::RefuseBatch]);
    rig.start(1, &[]);
    rig.drained(1).await;
    let sizes: Vec<_> = rig
        .fake
        .offered()
        .iter()
        .map(|(_, batch)| batch.len())
        .collect();
    assert_eq!(sizes, [3, 1, 1, 1]);
    assert_eq!(rig.fake.firsts(), sequences);
    rig.end().await;
}

#[tokio::test]
async fn an_event_with_several_messages_is_settled_after_the_last() {
    let rig = Rig::new(Setting::default(), &[queue("a", 0)]);
    let sequence = rig.connect(1, &client_of_length("three", THREE));
    rig.committed().await;
    rig.fake
        .answer(&[Answer::RefuseBatch, Answer::Store, Answer::Fail]);
    rig.start(1, &[]);
    rig.drained(1).await;
    let stored: Vec<_> = rig.fake.stored().into_iter().map(|(_, it)| it).collect();
    assert_eq!(stored, [sequence; 3]);
    assert_eq!(rig.outbox.counts(domain::IncarnationId(1)).delivered, 1);
    rig.end().await;
}

#[tokio::test]
async fn events_that_become_too_old_are_not_offered_for_ever() {
    let setting = Setting {
        age_max: Duration::from_millis(200),
        ..Setting::default()
    };
    let rig = Rig::new(setting, &[queue("a", 0)]);
    rig.fake.kill(&[queue("a", 0)]);
    rig.start(1, &[]);
    rig.connect(1, &client(1));
    rig.drained(1).await;
    let counts = rig.outbox.counts(domain::IncarnationId(1));
    assert_eq!((counts.expired, counts.delivered), (1, 0));
    // The queue is not blocked by what it never got.
    rig.fake.kill(&[]);
    rig.connect(1, &client(2));
    rig.drained(1).await;
    assert_eq!(rig.outbox.counts(domain::IncarnationId(1)).delivered, 1);
    eventually("it is fine again", || rig.worst(1).is_none()).await;
    rig.end().await;
}

#[tokio::test]
async fn events_of_a_dropped_rule_are_discarded_while_its_instance_is_down() {
    let (rig, _) = rig_with(4).await;
    rig.fake.kill(&[queue("a", 0)]);
    rig.start(1, &[]);
    eventually("the first try", || !rig.fake.offered().is_empty()).await;
    rig.put(1, |active| active.is_discarding = true);
    rig.drained(1).await;
    assert_eq!(rig.outbox.counts(domain::IncarnationId(1)).discarded, 4);
    rig.end().await;
}

#[tokio::test]
async fn a_stopped_courier_ends_while_its_instance_never_answers() {
    let (rig, _) = rig_with(1).await;
    rig.fake.be_silent(true);
    rig.fake.kill(&[queue("a", 0)]);
    rig.start(1, &[]);
    eventually("the first try", || !rig.fake.offered().is_empty()).await;
    rig.couriers.stop(domain::IncarnationId(1)).await;
    assert!(!rig.couriers.is_running(domain::IncarnationId(1)));
    assert_eq!(rig.pending(1), 1, "it is offered again by the next courier");
    rig.fake.kill(&[]);
    rig.start(1, &[]);
    rig.drained(1).await;
    rig.end().await;
}
