//! Every channel is closed once, in order, with a reason; a refused CONNECT changes nothing.

use std::collections::BTreeMap;

use super::*;
use crate::RefuseClientError;

#[test]
fn a_clean_close_is_disconnect_and_then_tcpclean_with_one_reason() {
    let (broker, sink) = broker();
    let connected = connect(&broker, request("a"));
    connected
        .connection
        .disconnect(CloseReason::ClientDisconnectWithWill, None);
    connected
        .connection
        .disconnect(CloseReason::ClientDisconnect, None);
    connected.connection.close(CloseReason::ConnectionLost);
    connected.connection.close(CloseReason::ConnectionReset);
    drop(connected);
    assert_eq!(
        sink.take(),
        [
            "a connect",
            "a disconnect client-disconnect-with-will",
            "a tcpclean client-disconnect-with-will"
        ]
    );
    assert_eq!(broker.online(), 0);
}

#[test]
fn a_dropped_connection_is_closed() {
    let (broker, sink) = broker();
    drop(connect(&broker, request("a")));
    assert_eq!(sink.take(), ["a connect", "a tcpclean connection-lost"]);
}

#[test]
fn a_take_over_closes_the_old_channel_before_it_opens_the_new_one() {
    let (broker, sink) = broker();
    let old = connect(&broker, request("a"));
    let new = connect(&broker, request("a"));
    assert_eq!(
        sink.take(),
        ["a connect", "a tcpclean taken-over", "a connect"]
    );
    assert_eq!(old.outbound.closed(), Some(CloseReason::TakenOver));
    assert_eq!(broker.online(), 1);

    // A late DISCONNECT of the old one is nothing.
    old.connection
        .disconnect(CloseReason::ClientDisconnect, None);
    drop(old);
    assert_eq!(sink.take(), Vec::<String>::new());
    assert_eq!(new.outbound.closed(), None);
}

#[test]
fn a_take_over_after_a_disconnect_keeps_the_clients_reason() {
    let (broker, sink) = broker();
    let old = connect(&broker, request("a"));
    old.connection
        .disconnect(CloseReason::ClientDisconnect, None);
    let _new = connect(&broker, request("a"));
    drop(old);
    assert_eq!(
        sink.take(),
        [
            "a connect",
            "a disconnect client-disconnect",
            "a tcpclean client-disconnect",
            "a connect"
        ]
    );
}

#[test]
fn a_kick_closes_once() {
    let (broker, sink) = broker();
    let connected = connect(&broker, request("a"));
    assert!(broker.kick(&id("a"), CloseReason::Kicked));
    assert!(!broker.kick(&id("a"), CloseReason::Kicked));
    assert!(!broker.kick(&id("b"), CloseReason::Kicked));
    drop(connected);
    assert_eq!(sink.take(), ["a connect", "a tcpclean kicked"]);
}

#[test]
fn a_refused_connect_takes_nothing_over_and_emits_nothing() {
    let (broker, sink) = broker();
    let first = connect(&broker, request("a"));
    sink.take();
    *sink.refuse.lock() = Some(RefuseConnectError::ShareFull);
    let refused = broker.connect(request("a")).unwrap_err();
    assert_eq!(
        refused,
        RefuseClientError::Events(RefuseConnectError::ShareFull)
    );
    assert_eq!(sink.take(), Vec::<String>::new());
    assert_eq!(first.outbound.closed(), None);
    let refused = broker.stats().snapshot().refused;
    assert_eq!(refused.iter().map(|(_, count)| count).sum::<u64>(), 1);
}

#[test]
fn the_limit_of_connections_refuses_and_gives_the_admission_back() {
    let (broker, sink) = broker_with(|config| config.connections_max = 1);
    let first = connect(&broker, request("a"));
    assert_eq!(
        broker.connect(request("b")).unwrap_err(),
        RefuseClientError::ConnectionsMax
    );
    assert_eq!(sink.open_admissions.load(Ordering::SeqCst), 0);
    // A client that takes itself over needs no second place.
    let second = connect(&broker, request("a"));
    assert_eq!(broker.online(), 1);
    drop((first, second));
    assert!(broker.connect(request("b")).is_ok());
}

#[test]
fn a_will_without_a_proper_topic_refuses_the_connect() {
    let (broker, sink) = broker();
    let request = ConnectRequest {
        will: Some(will("a/#", 0)),
        ..request("a")
    };
    assert!(matches!(
        broker.connect(request),
        Err(RefuseClientError::WillTopic(_))
    ));
    assert_eq!(sink.take(), Vec::<String>::new());
}

#[test]
fn a_shutdown_closes_every_channel_at_once_and_lets_nobody_in() {
    let (broker, sink) = broker();
    let open: Vec<_> = (0..100)
        .map(|n| connect(&broker, request(&format!("c{n}"))))
        .collect();
    sink.take();
    broker.shutdown();
    let closed = sink.take();
    assert_eq!(closed.len(), 100);
    assert!(
        closed
            .iter()
            .all(|line| line.ends_with(" tcpclean host-shutdown")),
        "{closed:?}"
    );
    assert_eq!(broker.online(), 0);
    let refused = broker.connect(request("late")).unwrap_err();
    assert_eq!(
        refused,
        RefuseClientError::Events(RefuseConnectError::ShuttingDown)
    );
    drop(open);
    assert_eq!(sink.take(), Vec::<String>::new());
}

/// What one thread does with its channel, by turn.
#[expect(clippy::needless_pass_by_value, reason = "the channel ends here")]
fn end(broker: &Broker, connected: Connected, turn: usize) {
    let client = connected.connection.facts().client_id.clone();
    match turn % 5 {
        0 => connected.connection.close(CloseReason::KeepAliveTimeout),
        1 => connected
            .connection
            .disconnect(CloseReason::ClientDisconnect, None),
        2 => {
            broker.kick(&client, CloseReason::Kicked);
        }
        3 => {
            connected
                .connection
                .disconnect(CloseReason::ClientDisconnect, None);
            broker.kick(&client, CloseReason::Kicked);
        }
        _ => {}
    }
}

#[test]
fn connect_and_tcpclean_of_a_client_alternate_whatever_threads_do() {
    let (broker, sink) = broker();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let broker = Arc::clone(&broker);
            scope.spawn(move || {
                for turn in 0..500 {
                    let mut request = lasting(&format!("c{}", (thread + turn) % 3));
                    request.clean_start = turn % 2 == 0;
                    end(&broker, connect(&broker, request), turn + thread);
                }
            });
        }
    });
    assert_eq!(broker.online(), 0);
    assert_eq!(sink.open_admissions.load(Ordering::SeqCst), 0);
    let mut by_client = BTreeMap::<String, Vec<Seen>>::new();
    for seen in sink.seen.lock().drain(..) {
        by_client.entry(seen.client.clone()).or_default().push(seen);
    }
    let mut channels = 0;
    for events in by_client.values() {
        let mut rest = events.iter().peekable();
        while let Some(opened) = rest.next() {
            assert_eq!(opened.event_type, EventType::Connect);
            channels += 1;
            let disconnect = rest.next_if(|seen| seen.event_type == EventType::Disconnect);
            let closed = rest.next().expect("every channel is closed");
            assert_eq!(closed.event_type, EventType::TcpClean);
            assert_eq!(closed.channel, opened.channel);
            if let Some(disconnect) = disconnect {
                assert_eq!(
                    (disconnect.channel, disconnect.reason),
                    (opened.channel, closed.reason)
                );
            }
        }
    }
    assert_eq!(channels, 8 * 500);
    let closed: u64 = broker
        .stats()
        .snapshot()
        .closed
        .iter()
        .map(|(_, count)| count)
        .sum();
    assert_eq!(closed, 8 * 500);
}

#[test]
fn a_connect_that_races_with_a_shutdown_is_refused_or_closed() {
    for _ in 0..50 {
        let (broker, sink) = broker();
        // The threads of the sockets are slow: no channel is closed by them before the count.
        let held = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (broker, held) = (&broker, &held);
                scope.spawn(move || {
                    for turn in 0..20 {
                        let connected = broker.connect(request(&format!("c{thread}-{turn}")));
                        held.lock().extend(connected.ok());
                    }
                });
            }
            broker.shutdown();
        });
        let count = |event| {
            sink.seen
                .lock()
                .iter()
                .filter(|seen| seen.event_type == event)
                .count()
        };
        assert_eq!(count(EventType::Connect), count(EventType::TcpClean));
    }
}

#[test]
fn the_counters_tell_what_happened() {
    let (broker, _sink) = broker();
    let tcp = connect(&broker, request("a"));
    let ws = connect(
        &broker,
        ConnectRequest {
            listener: "ws",
            ..request("b")
        },
    );
    tcp.connection.close(CloseReason::ConnectionReset);
    let snapshot = broker.stats().snapshot();
    assert_eq!(
        snapshot.opened,
        [("tcp", 1), ("ws", 1), ("tls", 0), ("wss", 0)]
    );
    assert_eq!(snapshot.online, 1);
    for (reason, count) in snapshot.closed {
        assert_eq!(
            count,
            u64::from(reason == CloseReason::ConnectionReset),
            "{reason:?}"
        );
    }
    drop(ws);
}
