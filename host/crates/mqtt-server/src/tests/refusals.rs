//! A refused CONNECT gets its code and, in MQTT 5, a reason in words; no event comes of it.

use broker::RefusalReason;
use domain::MqttVersion::{V5, V311};

use super::wire::{Client, ConnectPacket, hello};
use super::*;

/// The code of the refusal and all text in the CONNACK.
pub(super) fn refused(host: &Host, connect: &ConnectPacket) -> (u8, String) {
    let (mut client, answer) = Client::ask(host.tcp(), connect);
    assert_eq!(client.try_read(), None);
    (
        answer.body[1],
        String::from_utf8_lossy(&answer.body).into_owned(),
    )
}

pub(super) fn count_refused(host: &Host, reason: RefusalReason) -> u64 {
    let refused = host.broker.stats().snapshot().refused;
    refused.iter().find(|(it, _)| *it == reason).unwrap().1
}

/// That nothing came of what was tried: a client that is let in is the first in the record.
pub(super) fn nothing_recorded(host: &Host) {
    *host.sink.refuse.lock() = None;
    let _fence = Client::connect(host.tcp(), &hello(V5, "GID_Demo@@@fence"));
    assert_eq!(host.sink.events(1), ["GID_Demo@@@fence connect"]);
}

#[test]
fn a_client_id_of_another_form_is_refused_with_the_right_form() {
    let host = Host::start_with(|config| config.client_ids = ClientIdPolicy::Apsaramq);
    for client_id in ["", "device-1", "GID_Demo@@@", "XID@@@d"] {
        assert_eq!(refused(&host, &hello(V311, client_id)).0, 2, "{client_id}");
        assert_eq!(refused(&host, &hello(V5, client_id)).0, 0x85, "{client_id}");
    }
    let (_, text) = refused(&host, &hello(V5, "device-1"));
    assert!(text.contains("must be <GroupID>@@@<DeviceID>"), "{text}");
    assert_eq!(count_refused(&host, RefusalReason::ClientId), 9);
    nothing_recorded(&host);
}

#[test]
fn an_empty_client_id_is_replaced_where_every_id_is_accepted() {
    let host = Host::start();
    let (_client, answer) = Client::ask(host.tcp(), &hello(V5, ""));
    assert_eq!(answer.body[1], 0);
    assert!(String::from_utf8_lossy(&answer.body).contains("auto-"));
    let _client = Client::connect(host.tcp(), &hello(V311, ""));
    assert_eq!(host.sink.facts.lock().len(), 2);
    let not_clean = ConnectPacket {
        clean: false,
        ..hello(V311, "")
    };
    assert_eq!(refused(&host, &not_clean).0, 2);
}

#[test]
fn every_refusal_of_the_sink_has_its_code_and_its_count() {
    let host = Host::start();
    for (error, v5, v3, reason) in [
        (
            RefuseConnectError::ShareFull,
            0x97,
            3,
            RefusalReason::ShareFull,
        ),
        (
            RefuseConnectError::OutboxFull,
            0x97,
            3,
            RefusalReason::OutboxFull,
        ),
        (
            RefuseConnectError::RecorderFull,
            0x97,
            3,
            RefusalReason::RecorderFull,
        ),
        (
            RefuseConnectError::StoreFailed,
            0x88,
            3,
            RefusalReason::StoreFailed,
        ),
        (
            RefuseConnectError::ShuttingDown,
            0x89,
            3,
            RefusalReason::ShuttingDown,
        ),
        (
            RefuseConnectError::UnknownGroup,
            0x87,
            5,
            RefusalReason::UnknownGroup,
        ),
    ] {
        *host.sink.refuse.lock() = Some(error);
        let (given, text) = refused(&host, &hello(V5, "a"));
        assert_eq!(given, v5, "{error:?}");
        // The reason string names the cause.
        assert!(text.contains(&error.to_string()), "{text}");
        assert_eq!(refused(&host, &hello(V311, "a")).0, v3, "{error:?}");
        assert_eq!(count_refused(&host, reason), 2, "{error:?}");
    }
    nothing_recorded(&host);
}

#[test]
fn a_refused_connect_takes_nothing_over() {
    let host = Host::start();
    let mut first = Client::connect(host.tcp(), &hello(V5, "a"));
    *host.sink.refuse.lock() = Some(RefuseConnectError::ShareFull);
    assert_eq!(refused(&host, &hello(V5, "a")).0, 0x97);
    first.send(&[0xC0, 0]);
    assert_eq!(first.read().first, 0xD0);
    assert_eq!(host.sink.events(1), ["a connect"]);
}

#[test]
fn a_connect_whose_event_was_not_stored_is_refused_and_closed() {
    for (version, code) in [(V5, 0x88), (V311, 3)] {
        let host = Host::start_with(|config| config.connack_after_commit = true);
        drop(Client::connect(host.tcp(), &hello(version, "a")));
        assert_eq!(host.sink.events(2).len(), 2);
        host.sink.commits_fail.store(true, Ordering::SeqCst);
        assert_eq!(refused(&host, &hello(version, "b")).0, code);
        assert_eq!(
            host.sink.events(4)[2..],
            ["b connect", "b tcpclean internal-error"]
        );
        assert_eq!(count_refused(&host, RefusalReason::StoreFailed), 1);
        assert_eq!(host.broker.online(), 0);
    }
}

#[test]
fn connack_waits_for_the_commit_if_it_is_to_mean_recorded() {
    for version in [V5, V311] {
        let host = Host::start_with(|config| config.connack_after_commit = true);
        host.sink.hold_commits();
        let mut waiting = Client::dial(host.tcp(), version);
        waiting.send(&hello(version, "a").bytes());
        assert_eq!(host.sink.events(1), ["a connect"]);
        assert!(!waiting.has_answer());
        host.sink.let_commits_go();
        assert_eq!(waiting.read().body[1], 0);
        // A client that goes while it waits gets its closing event all the same.
        host.sink.hold_commits();
        let mut gone = Client::dial(host.tcp(), version);
        gone.send(&hello(version, "b").bytes());
        assert_eq!(host.sink.events(2)[1], "b connect");
        drop(gone);
        host.sink.let_commits_go();
        let events = host.sink.events(3);
        assert!(events[2].starts_with("b tcpclean"), "{events:?}");
        // A client that no rule records has nothing to wait for.
        host.sink.hold_commits();
        host.sink.is_unmatched.store(true, Ordering::SeqCst);
        drop(Client::connect(host.tcp(), &hello(version, "d")));
        host.sink.let_commits_go();
        // Without the setting nothing waits.
        let host = Host::start();
        host.sink.hold_commits();
        drop(Client::connect(host.tcp(), &hello(version, "c")));
        host.sink.let_commits_go();
    }
}

#[test]
fn a_connection_without_a_connect_is_closed_in_time_and_is_nothing() {
    let host = Host::start_with(|config| config.connect_timeout = Duration::from_secs(1));
    let mut silent = Client::dial(host.tcp(), V5);
    assert_eq!(silent.try_read(), None);
    let mut garbage = Client::dial(host.tcp(), V5);
    garbage.send(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(garbage.try_read(), None);
    assert_eq!(
        host.broker.stats().snapshot().opened,
        [("tcp", 0), ("ws", 0), ("tls", 0), ("wss", 0)]
    );
    nothing_recorded(&host);
}

#[test]
fn a_longer_keep_alive_is_answered_with_the_servers() {
    let host = Host::start_with(|config| config.keep_alive_max = Duration::from_secs(30));
    for (keep_alive, expected) in [(31, true), (0, true), (30, false)] {
        let (_client, answer) = Client::ask(
            host.tcp(),
            &ConnectPacket {
                keep_alive,
                ..hello(V5, "a")
            },
        );
        // Property 0x13 is Server Keep Alive.
        let told = answer.body.windows(3).any(|window| window == [0x13, 0, 30]);
        assert_eq!(told, expected, "{keep_alive}");
    }
}
