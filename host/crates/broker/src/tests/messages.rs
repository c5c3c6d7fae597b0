//! Who gets a message, in which order, and what happens at the limits.

use std::num::NonZeroU16;
use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::{Published, SubscribeError};

fn publish(connected: &Connected, message: Message) -> Published {
    connected.connection.publish(message, None).unwrap()
}

fn packet_id(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}

#[test]
fn overlapping_filters_give_one_delivery_with_the_highest_qos() {
    let (broker, _sink) = broker();
    let a = connect(&broker, request("a"));
    a.connection
        .subscribe("x/+", options(QoS::AtMostOnce))
        .unwrap();
    a.connection
        .subscribe("x/#", options(QoS::AtLeastOnce))
        .unwrap();
    assert_eq!(
        publish(&a, message("x/y", "1", QoS::ExactlyOnce)),
        Published::Routed(1)
    );
    assert_eq!(drain(&a.outbound), ["x/y=1*1"]);
    assert!(a.connection.unsubscribe("x/#"));
    assert!(!a.connection.unsubscribe("x/#"));
    publish(&a, message("x/y", "2", QoS::ExactlyOnce));
    assert_eq!(drain(&a.outbound), ["x/y=2"]);
}

#[test]
fn no_local_keeps_a_clients_own_messages_from_it() {
    let (broker, _sink) = broker();
    let publisher = connect(&broker, request("publisher"));
    let no_local = SubscriptionOptions {
        no_local: true,
        ..options(QoS::AtMostOnce)
    };
    publisher.connection.subscribe("t", no_local).unwrap();
    assert_eq!(
        publish(&publisher, message("t", "x", QoS::AtMostOnce)),
        Published::Routed(0)
    );
}

#[test]
fn a_shared_subscription_gives_each_message_to_one_member() {
    let (broker, _sink) = broker();
    let members: Vec<_> = (0..3)
        .map(|n| connect(&broker, lasting(&format!("m{n}"))))
        .collect();
    for member in &members {
        member
            .connection
            .subscribe("$share/g/t", options(QoS::AtLeastOnce))
            .unwrap();
    }
    for _ in 0..9 {
        publish(&members[0], message("t", "x", QoS::AtLeastOnce));
    }
    let counts: Vec<_> = members
        .iter()
        .map(|member| drain(&member.outbound).len())
        .collect();
    assert_eq!(counts, [3, 3, 3]);
    // Who is offline gets nothing as long as another is online.
    members[1].connection.close(CloseReason::ConnectionLost);
    members[2].connection.close(CloseReason::ConnectionLost);
    for _ in 0..3 {
        publish(&members[0], message("t", "x", QoS::AtLeastOnce));
    }
    assert_eq!(drain(&members[0].outbound).len(), 3);
}

#[test]
fn a_full_queue_drops_and_counts() {
    let (broker, _sink) = broker_with(|config| config.session_queue_max = 2);
    let a = connect(&broker, request("a"));
    a.connection
        .subscribe("t", options(QoS::AtLeastOnce))
        .unwrap();
    for n in 0..5 {
        publish(&a, message("t", &n.to_string(), QoS::AtLeastOnce));
    }
    assert_eq!(drain(&a.outbound), ["t=0*1", "t=1*2"]);
    let snapshot = broker.stats().snapshot();
    assert_eq!(
        (snapshot.messages_queued, snapshot.messages_dropped),
        (2, 3)
    );
}

#[test]
fn the_bytes_of_all_queues_are_limited_and_given_back() {
    let (broker, _sink) = broker_with(|config| config.queued_bytes_max = 300);
    let a = connect(&broker, lasting("a"));
    a.connection
        .subscribe("t", options(QoS::AtLeastOnce))
        .unwrap();
    for _ in 0..3 {
        publish(&a, message("t", "x", QoS::AtLeastOnce));
    }
    assert_eq!(broker.stats().snapshot().messages_dropped, 1);
    assert_eq!(drain(&a.outbound).len(), 2);
    assert_eq!(broker.queued_bytes(), 0);
    publish(&a, message("t", "x", QoS::AtMostOnce));
    publish(&a, message("t", "x", QoS::AtLeastOnce));
    a.connection.close(CloseReason::ConnectionLost);
    assert!(broker.queued_bytes() > 0);
    drop(connect(&broker, request("a")));
    assert_eq!(broker.queued_bytes(), 0);
}

#[test]
fn an_expired_message_is_not_delivered() {
    let (broker, _sink) = broker();
    let a = connect(&broker, request("a"));
    a.connection
        .subscribe("t", options(QoS::AtLeastOnce))
        .unwrap();
    let expires_at = Some(Instant::now());
    publish(
        &a,
        Message {
            expires_at,
            ..message("t", "old", QoS::AtLeastOnce)
        },
    );
    let expires_at = Some(Instant::now() + Duration::from_secs(60));
    publish(
        &a,
        Message {
            expires_at,
            ..message("t", "new", QoS::AtLeastOnce)
        },
    );
    assert_eq!(drain(&a.outbound), ["t=new*1"]);
    assert_eq!(broker.queued_bytes(), 0);
}

#[test]
fn without_credit_only_qos_0_leaves_and_order_is_kept() {
    let (broker, _sink) = broker();
    let a = connect(&broker, request("a"));
    a.connection
        .subscribe("t", options(QoS::AtLeastOnce))
        .unwrap();
    publish(&a, message("t", "0", QoS::AtMostOnce));
    publish(&a, message("t", "1", QoS::AtLeastOnce));
    assert!(matches!(
        a.outbound.next(Credit::Exhausted),
        NextDelivery::Publish {
            packet_id: None,
            ..
        }
    ));
    assert!(matches!(
        a.outbound.next(Credit::Exhausted),
        NextDelivery::Wait { for_credit: true }
    ));
    assert!(matches!(
        a.outbound.next(Credit::Available),
        NextDelivery::Publish {
            packet_id: Some(_),
            ..
        }
    ));
    assert!(matches!(
        a.outbound.next(Credit::Available),
        NextDelivery::Wait { for_credit: false }
    ));
}

#[test]
fn what_was_in_flight_is_sent_again_in_order() {
    let (broker, _sink) = broker();
    let a = connect(&broker, lasting("a"));
    a.connection
        .subscribe("t", options(QoS::ExactlyOnce))
        .unwrap();
    for n in 1..=4 {
        publish(&a, message("t", &n.to_string(), QoS::ExactlyOnce));
    }
    assert_eq!(drain(&a.outbound).len(), 4);
    a.outbound.received(packet_id(1));
    a.outbound.completed(packet_id(1));
    a.outbound.received(packet_id(3));
    publish(&a, message("t", "5", QoS::ExactlyOnce));
    a.connection.close(CloseReason::ConnectionReset);
    let again = connect(&broker, lasting("a"));
    assert_eq!(
        drain(&again.outbound),
        ["t=2*2!", "release*3", "t=4*4!", "t=5*5"]
    );
    // What the first connection still says about packet ids is nothing.
    a.outbound.completed(packet_id(2));
    again.connection.close(CloseReason::ConnectionReset);
    let third = connect(&broker, lasting("a"));
    assert_eq!(
        drain(&third.outbound),
        ["t=2*2!", "release*3", "t=4*4!", "t=5*5!"]
    );
}

#[test]
fn a_qos_2_message_is_routed_once_until_it_is_released() {
    let (broker, _sink) = broker();
    let a = connect(&broker, lasting("a"));
    let send = |to: &Connected| {
        to.connection
            .publish(message("t", "x", QoS::ExactlyOnce), Some(packet_id(7)))
            .unwrap()
    };
    assert_eq!(send(&a), Published::Routed(0));
    a.connection.close(CloseReason::ConnectionLost);
    let b = connect(&broker, lasting("a"));
    assert_eq!(send(&b), Published::Again);
    b.connection.release(packet_id(7));
    assert_eq!(send(&b), Published::Routed(0));
    b.connection.close(CloseReason::ConnectionLost);
    assert_eq!(send(&b), Published::Closed);
}

#[test]
fn a_retained_message_goes_to_later_subscribers_until_it_is_removed() {
    let (broker, _sink) = broker_with(|config| config.retained_max = 2);
    let a = connect(&broker, request("a"));
    let retained = |topic: &str, payload: &str| Message {
        retain: true,
        ..message(topic, payload, QoS::AtLeastOnce)
    };
    publish(&a, retained("x/1", "old"));
    publish(&a, retained("x/1", "one"));
    publish(&a, retained("x", "two"));
    publish(&a, retained("x/3", "beyond the limit"));
    assert_eq!(broker.stats().snapshot().retained_refused, 1);
    let get = |filter| {
        a.connection.send_retained(filter, options(QoS::AtMostOnce));
        drain(&a.outbound)
    };
    assert_eq!(get("x/#"), ["x=two", "x/1=one"]);
    assert_eq!(get("+/1"), ["x/1=one"]);
    assert_eq!(get("$share/g/x/#"), Vec::<String>::new());
    publish(&a, retained("x/1", ""));
    assert_eq!(get("#"), ["x=two"]);
}

#[test]
fn subscriptions_are_limited_and_checked() {
    let (broker, _sink) = broker_with(|config| config.subscriptions_max = 1);
    let a = connect(&broker, request("a"));
    assert_eq!(
        a.connection.subscribe("t", options(QoS::AtMostOnce)),
        Ok(true)
    );
    assert_eq!(
        a.connection.subscribe("t", options(QoS::AtLeastOnce)),
        Ok(false)
    );
    let one_more = a.connection.subscribe("u", options(QoS::AtMostOnce));
    assert_eq!(
        one_more,
        Err(SubscribeError::TooMany {
            subscriptions_max: 1
        })
    );
    assert!(matches!(
        a.connection.subscribe("a#", options(QoS::AtMostOnce)),
        Err(SubscribeError::Filter(_))
    ));
    a.connection.close(CloseReason::ConnectionLost);
    assert_eq!(
        a.connection.subscribe("t", options(QoS::AtMostOnce)),
        Err(SubscribeError::Closed)
    );
}

#[test]
fn a_long_topic_is_refused() {
    let (broker, _sink) = broker();
    let a = connect(&broker, request("a"));
    let levels = "a/".repeat(30_000);
    assert!(
        a.connection
            .publish(message(&levels, "x", QoS::AtMostOnce), None)
            .is_err()
    );
    assert!(
        a.connection
            .subscribe(&levels, options(QoS::AtMostOnce))
            .is_err()
    );
}
