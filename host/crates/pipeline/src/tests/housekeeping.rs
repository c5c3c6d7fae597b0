//! What happens by itself: old events expire, drained incarnations are forgotten, sums stay.

use std::time::Duration;

use domain::{AnyRule, IncarnationId};
use store::Outcome;

use super::{Host, assert_all_sums, record, rule_id};
use crate::control::{PendingEvents, is_ahead};

const ONE: IncarnationId = IncarnationId(1);

#[tokio::test(flavor = "multi_thread")]
async fn old_events_expire_although_nothing_delivers() {
    let host = Host::start_with(1, |config| {
        config.delivery.age_max = Duration::from_secs(3);
    })
    .await;
    host.connect("GID_rule1@@@a").unwrap().close();
    let status = host
        .until("expired", |status| status.events.expired == 2)
        .await;
    assert_all_sums(&status);
    assert_eq!(status.events.pending, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_incarnation_leaves_its_counts_to_its_rule() {
    let host = Host::start(1).await;
    host.connect("GID_rule1@@@a").unwrap().close();
    host.committed().await;
    // An edit of the destination: a second incarnation, the first one drains.
    host.meta
        .write(|tx| {
            let mut old = record(1, ONE);
            old.is_retired = true;
            tx.put_incarnation(&old)?;
            let id = tx.next_incarnation()?;
            tx.put_incarnation(&record(1, id))?;
            let AnyRule::Status(mut rule) = host.rule(&rule_id(1)).unwrap().rule else {
                panic!("another type of rule");
            };
            rule.incarnation = id;
            tx.put_rule(&AnyRule::Status(rule))
        })
        .map_err(|error: store::WriteMetaError| error.to_string())
        .unwrap();
    host.reload().await.unwrap();
    let open = host.connect("GID_rule1@@@b").unwrap();
    host.committed().await;
    host.settle(ONE, &Outcome::Delivered);
    let is_forgotten = || !host.intent.load().incarnations.contains_key(&ONE);
    let status = host.until("forgotten", |_| is_forgotten()).await;
    assert_all_sums(&status);
    let counts = status.rules[0].events;
    assert_eq!(
        (counts.recorded, counts.delivered, counts.pending),
        (3, 2, 1)
    );
    assert_eq!(counts.recorded_since_start, 3);
    assert!(!host.couriers.is_running(ONE));
    open.close();
    host.committed().await;
    let host = host.restart().await;
    assert_eq!(host.status().rules[0].events.recorded, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_rule_leaves_its_counts_to_the_total() {
    let host = Host::start(2).await;
    host.connect("GID_rule1@@@a").unwrap().close();
    let open = host.connect("GID_rule1@@@b").unwrap();
    host.connect("GID_rule2@@@a").unwrap().close();
    host.committed().await;
    host.delete_rule(&rule_id(1), PendingEvents::Discard, None)
        .await
        .unwrap();
    // The channel that is still open owes a closing event: the incarnation stays until then.
    let is_forgotten = || !host.intent.load().incarnations.contains_key(&ONE);
    let idle = host.forget_idle(&[ONE].into()).await.unwrap();
    assert!(!idle.contains(&ONE) && !is_forgotten());
    open.close();
    let status = host.until("forgotten", |_| is_forgotten()).await;
    assert_all_sums(&status);
    assert_eq!(status.rules.len(), 1);
    assert_eq!((status.events.recorded, status.events.discarded), (6, 4));
    // A new rule of that name begins with nothing.
    let host = host.restart().await;
    let status = host.status();
    assert_all_sums(&status);
    assert_eq!((status.events.recorded, status.events.discarded), (6, 4));
}

#[test]
fn the_same_clients_events_for_the_same_topic_keep_their_order_across_rules() {
    let earlier = record(1, ONE);
    let later = IncarnationId(2);
    let same_way = store::IncarnationRecord {
        rule_id: rule_id(2),
        id: later,
        ..earlier.clone()
    };
    assert!(is_ahead(&earlier, &same_way), "another name, the same way");
    let mut edited = record(1, later);
    edited.destination.topic = domain::TopicName::parse("Elsewhere").unwrap();
    assert!(is_ahead(&earlier, &edited), "the same rule");
    edited.rule_id = rule_id(2);
    assert!(!is_ahead(&earlier, &edited), "another rule's topic");
    assert!(!is_ahead(&earlier, &record(2, later)), "other clients");
}
