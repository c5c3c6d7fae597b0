//! What outlives a connection and for how long: sessions, wills, what is known of a client.

use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::ClientFilter;

fn after(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

fn subscribed(broker: &Arc<Broker>, client: &str, filter: &str) -> Connected {
    let connected = connect(broker, lasting(client));
    connected
        .connection
        .subscribe(filter, options(QoS::ExactlyOnce))
        .unwrap();
    connected
}

#[test]
fn a_session_goes_on_with_what_came_meanwhile() {
    let (broker, _sink) = broker();
    let first = subscribed(&broker, "a", "t");
    assert!(!first.session_present);
    drop(first);
    let publisher = connect(&broker, request("publisher"));
    publisher
        .connection
        .publish(message("t", "0", QoS::AtMostOnce), None)
        .unwrap();
    publisher
        .connection
        .publish(message("t", "1", QoS::AtLeastOnce), None)
        .unwrap();
    let second = connect(&broker, lasting("a"));
    assert!(second.session_present);
    assert_eq!(drain(&second.outbound), ["t=1*1"]);
}

#[test]
fn a_session_ends_with_its_expiry() {
    let (broker, _sink) = broker();
    drop(subscribed(&broker, "a", "t"));
    broker.advance(after(3_590));
    drop(connect(&broker, lasting("a")));
    broker.advance(after(3_610));
    let late = connect(&broker, lasting("a"));
    assert!(!late.session_present);
    late.connection
        .publish(message("t", "x", QoS::AtLeastOnce), None)
        .unwrap();
    assert_eq!(drain(&late.outbound), Vec::<String>::new());
    assert_eq!(broker.offline_len(), (0, 0));
}

#[test]
fn the_expiry_is_limited_and_a_disconnect_may_change_it() {
    let (broker, _sink) =
        broker_with(|config| config.session_expiry_max = Duration::from_secs(100));
    let connected = connect(
        &broker,
        ConnectRequest {
            session_expiry_seconds: u32::MAX,
            ..lasting("a")
        },
    );
    assert_eq!(connected.session_expiry_seconds, 100);
    connected
        .connection
        .disconnect(CloseReason::ClientDisconnect, Some(0));
    drop(connected);
    assert!(!connect(&broker, lasting("a")).session_present);
}

#[test]
fn a_clean_start_ends_the_earlier_session() {
    let (broker, _sink) = broker();
    drop(subscribed(&broker, "a", "t"));
    let clean = connect(&broker, request("a"));
    assert!(!clean.session_present);
    clean
        .connection
        .publish(message("t", "x", QoS::AtLeastOnce), None)
        .unwrap();
    assert_eq!(drain(&clean.outbound), Vec::<String>::new());
}

#[test]
fn a_take_over_resumes_a_lasting_session_only() {
    let (broker, _sink) = broker();
    let _short = connect(&broker, request("a"));
    let lasting_one = connect(&broker, lasting("a"));
    assert!(!lasting_one.session_present);
    lasting_one
        .connection
        .subscribe("t", options(QoS::AtLeastOnce))
        .unwrap();
    let next = connect(&broker, lasting("a"));
    assert!(next.session_present);
    // The connection that was taken over has no say in the session any more.
    assert!(!lasting_one.connection.unsubscribe("t"));
    next.connection
        .publish(message("t", "x", QoS::AtLeastOnce), None)
        .unwrap();
    assert_eq!(drain(&lasting_one.outbound), Vec::<String>::new());
    assert_eq!(drain(&next.outbound), ["t=x*1"]);
}

#[test]
fn a_will_is_published_unless_the_client_disconnects() {
    let (broker, _sink) = broker();
    let watcher = subscribed(&broker, "watcher", "will/#");
    for (client, reason) in [
        ("a", CloseReason::ConnectionLost),
        ("b", CloseReason::ClientDisconnect),
        ("c", CloseReason::ClientDisconnectWithWill),
        ("d", CloseReason::Kicked),
    ] {
        let will = Some(will(&format!("will/{client}"), 0));
        let connected = connect(
            &broker,
            ConnectRequest {
                will,
                ..request(client)
            },
        );
        connected.connection.close(reason);
    }
    assert_eq!(
        drain(&watcher.outbound),
        ["will/a=gone*1", "will/c=gone*2", "will/d=gone*3"]
    );
}

#[test]
fn a_delayed_will_waits_and_is_cancelled_by_a_return() {
    let (broker, _sink) = broker();
    let watcher = subscribed(&broker, "watcher", "will");
    let with_will = || ConnectRequest {
        will: Some(will("will", 60)),
        ..lasting("a")
    };
    drop(connect(&broker, with_will()));
    broker.advance(after(50));
    let back = connect(&broker, with_will());
    broker.advance(after(70));
    assert_eq!(drain(&watcher.outbound), Vec::<String>::new());
    drop(back);
    broker.advance(after(70));
    broker.advance(after(80));
    assert_eq!(drain(&watcher.outbound), ["will=gone*1"]);
}

#[test]
fn a_delayed_will_is_not_later_than_the_end_of_its_session() {
    let (broker, _sink) = broker();
    let watcher = subscribed(&broker, "watcher", "will");
    let with_will = |expiry| ConnectRequest {
        will: Some(will("will", 60)),
        session_expiry_seconds: expiry,
        ..lasting("a")
    };
    drop(connect(&broker, with_will(0)));
    assert_eq!(drain(&watcher.outbound), ["will=gone*1"]);
    drop(connect(&broker, with_will(10)));
    broker.advance(after(11));
    assert_eq!(drain(&watcher.outbound), ["will=gone*2"]);
    drop(connect(&broker, with_will(600)));
    drop(connect(&broker, request("a")));
    assert_eq!(drain(&watcher.outbound), ["will=gone*3"]);
}

/// Clients of one shard.
fn in_one_shard(count: usize) -> Vec<String> {
    let slot = domain::Slot::of(&id("a")).0 % 64;
    (0..)
        .map(|n| format!("n{n}"))
        .filter(|client| domain::Slot::of(&id(client)).0 % 64 == slot)
        .take(count)
        .collect()
}

/// A broker that keeps one offline client in a shard.
fn broker_with_one_offline_client() -> Arc<Broker> {
    broker_with(|config| config.offline_clients_max = 64).0
}

#[test]
fn the_client_that_was_offline_longest_is_forgotten_first() {
    let broker = broker_with_one_offline_client();
    let same = in_one_shard(2);
    drop(connect(&broker, lasting(&same[0])));
    drop(connect(&broker, lasting(&same[1])));
    assert_eq!(broker.client(&id(&same[0])), None);
    assert!(broker.client(&id(&same[1])).is_some());
    assert!(!connect(&broker, lasting(&same[0])).session_present);
    assert_eq!(broker.stats().snapshot().clients_forgotten, 2);
}

#[test]
fn a_take_over_forgets_nobody_and_a_kick_does_at_the_limit() {
    let broker = broker_with_one_offline_client();
    let same = in_one_shard(2);
    drop(connect(&broker, lasting(&same[0])));
    let _old = connect(&broker, lasting(&same[1]));
    let _new = connect(&broker, lasting(&same[1]));
    assert!(broker.client(&id(&same[0])).is_some());
    assert_eq!(broker.stats().snapshot().clients_forgotten, 0);

    broker.kick(&id(&same[1]), CloseReason::Kicked);
    assert_eq!(broker.client(&id(&same[0])), None);
    assert!(broker.client(&id(&same[1])).is_some());
    assert_eq!(broker.stats().snapshot().clients_forgotten, 1);
}

#[test]
fn a_shutdown_keeps_the_limit_of_offline_clients() {
    let broker = broker_with_one_offline_client();
    let open: Vec<_> = in_one_shard(3)
        .iter()
        .map(|client| connect(&broker, lasting(client)))
        .collect();
    broker.shutdown();
    assert_eq!(broker.offline_len(), (1, 1));
    assert_eq!(broker.stats().snapshot().clients_forgotten, 2);
    drop(open);
}

#[test]
fn clients_are_listed_by_id_in_pages() {
    let (broker, _sink) = broker();
    let open: Vec<_> = (0..5)
        .map(|n| connect(&broker, request(&format!("GID_Demo@@@d{n}"))))
        .collect();
    drop(connect(&broker, request("GID_Gone@@@d0")));
    drop(connect(&broker, request("other")));

    let page = broker.clients(None, 3, &ClientFilter::default());
    let ids: Vec<_> = page
        .items
        .iter()
        .map(|view| view.client_id.as_str())
        .collect();
    assert_eq!(ids, ["GID_Demo@@@d0", "GID_Demo@@@d1", "GID_Demo@@@d2"]);
    assert_eq!(page.total, 7);
    let rest = broker.clients(page.next.as_ref(), 4, &ClientFilter::default());
    assert_eq!((rest.items.len(), rest.next, rest.total), (4, None, 7));

    let of_group = ClientFilter {
        group_id: id("GID_Demo@@@d0").group(),
        online: None,
    };
    assert_eq!(broker.clients(None, 10, &of_group).total, 5);
    let offline = ClientFilter {
        group_id: None,
        online: Some(false),
    };
    let offline = broker.clients(None, 10, &offline);
    let ids: Vec<_> = offline
        .items
        .iter()
        .map(|view| view.client_id.as_str())
        .collect();
    assert_eq!(ids, ["GID_Gone@@@d0", "other"]);
    drop(open);
}

#[test]
fn a_view_shows_the_last_channel_and_since_when() {
    let (broker, _sink) = broker();
    let connected = connect(&broker, request("GID_Demo@@@d"));
    let view = broker.client(&id("GID_Demo@@@d")).unwrap();
    assert!(view.online);
    assert_eq!(view.channel_id, connected.connection.facts().channel_id);
    assert_eq!((view.sequence, view.since_ms), (Sequence(0), 1_000));
    drop(connected);
    let view = broker.client(&id("GID_Demo@@@d")).unwrap();
    assert_eq!(
        (view.online, view.sequence, view.since_ms),
        (false, Sequence(0), 2_000)
    );
}
