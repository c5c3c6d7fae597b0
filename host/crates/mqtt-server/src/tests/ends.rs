//! Every way in which a connection ends gives its events, for both versions.

use domain::MqttVersion::{V5, V311};
use domain::{ClientId, MqttVersion};

use super::wire::{Client, ConnectPacket, frame, hello};
use super::*;

/// The events of one connection of client `a` that ends as `end` does.
fn events_of(version: MqttVersion, count: usize, end: impl FnOnce(&Host, Client)) -> Vec<String> {
    let host = Host::start();
    end(&host, Client::connect(host.tcp(), &hello(version, "a")));
    let events = host.sink.events(count);
    drop(host);
    events
}

#[test]
fn a_clean_close_is_connect_disconnect_tcpclean() {
    for version in [V311, V5] {
        let events = events_of(version, 3, |_, mut client| {
            client.disconnect();
            assert_eq!(client.try_read(), None);
        });
        assert_eq!(
            events,
            [
                "a connect",
                "a disconnect client-disconnect",
                "a tcpclean client-disconnect"
            ]
        );
    }
}

#[test]
fn a_disconnect_that_is_followed_by_a_reset_is_a_clean_close() {
    let events = events_of(V5, 3, |_, mut client| {
        socket2::SockRef::from(&client.stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        client.disconnect();
    });
    assert_eq!(events[2], "a tcpclean client-disconnect");
}

#[test]
fn a_disconnect_that_wants_the_will_says_so() {
    let events = events_of(V5, 3, |_, mut client| client.send(&[0xE0, 1, 0x04]));
    let reason = "client-disconnect-with-will";
    assert_eq!(
        events,
        [
            "a connect".to_owned(),
            format!("a disconnect {reason}"),
            format!("a tcpclean {reason}")
        ]
    );
}

#[test]
fn a_lost_connection_is_connect_tcpclean() {
    for version in [V311, V5] {
        let events = events_of(version, 2, |_, client| drop(client));
        assert_eq!(events, ["a connect", "a tcpclean connection-lost"]);
    }
}

#[test]
fn a_reset_is_connect_tcpclean() {
    for version in [V311, V5] {
        let events = events_of(version, 2, |_, client| {
            socket2::SockRef::from(&client.stream)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
        });
        assert_eq!(events, ["a connect", "a tcpclean connection-reset"]);
    }
}

#[test]
fn silence_beyond_the_keep_alive_is_connect_tcpclean() {
    for version in [V311, V5] {
        let host = Host::start();
        let mut client = Client::connect(
            host.tcp(),
            &ConnectPacket {
                keep_alive: 1,
                ..hello(version, "a")
            },
        );
        let reason = client.read_to_end();
        assert_eq!(reason, (version == V5).then_some(0x8D));
        assert_eq!(
            host.sink.events(2),
            ["a connect", "a tcpclean keep-alive-timeout"]
        );
    }
}

#[test]
fn garbage_after_the_connect_is_a_protocol_error() {
    for version in [V311, V5] {
        let events = events_of(version, 2, |_, mut client| {
            client.send(&[0xFF; 16]);
            client.read_to_end();
        });
        assert_eq!(events, ["a connect", "a tcpclean protocol-error"]);
    }
}

#[test]
fn a_second_connect_is_a_protocol_error() {
    let events = events_of(V5, 2, |_, mut client| {
        client.send(&hello(V5, "a").bytes());
        client.read_to_end();
    });
    assert_eq!(events, ["a connect", "a tcpclean protocol-error"]);
}

#[test]
fn a_packet_beyond_the_limit_closes() {
    for version in [V311, V5] {
        let events = events_of(version, 2, |_, mut client| {
            // Only the header: the server need not read the rest to know.
            client.send(&frame(0x30, &vec![0; 20_000])[..64]);
            let reason = client.read_to_end();
            assert_eq!(reason, (version == V5).then_some(0x95));
        });
        assert_eq!(events, ["a connect", "a tcpclean packet-too-large"]);
    }
}

#[test]
fn a_payload_beyond_the_limit_closes() {
    for version in [V311, V5] {
        for (flags, packet_id) in [(0, None), (2, Some(1)), (4, Some(1))] {
            let events = events_of(version, 2, |_, mut client| {
                client.publish(flags, "t", packet_id, &vec![0; 8 * 1024 + 1]);
                let reason = client.read_to_end();
                assert_eq!(reason, (version == V5).then_some(0x95));
            });
            assert_eq!(events, ["a connect", "a tcpclean packet-too-large"]);
        }
    }
}

#[test]
fn a_take_over_ends_the_old_connection_first() {
    for version in [V311, V5] {
        let host = Host::start();
        let mut old = Client::connect(host.tcp(), &hello(version, "a"));
        let mut new = Client::connect(host.tcp(), &hello(version, "a"));
        assert_eq!(old.read_to_end(), (version == V5).then_some(0x8E));
        new.disconnect();
        assert_eq!(
            host.sink.events(5),
            [
                "a connect",
                "a tcpclean taken-over",
                "a connect",
                "a disconnect client-disconnect",
                "a tcpclean client-disconnect"
            ]
        );
        let facts = host.sink.facts.lock();
        assert_ne!(facts[0].channel_id, facts[1].channel_id);
    }
}

#[test]
fn a_kick_closes_the_socket() {
    for version in [V311, V5] {
        let events = events_of(version, 2, |host, mut client| {
            assert!(
                host.broker
                    .kick(&ClientId::parse("a").unwrap(), CloseReason::Kicked)
            );
            assert_eq!(client.read_to_end(), (version == V5).then_some(0x98));
        });
        assert_eq!(events, ["a connect", "a tcpclean kicked"]);
    }
}

#[test]
fn what_is_known_of_a_channel_is_recorded() {
    let host = Host::start();
    let connect = ConnectPacket {
        username: Some("user"),
        keep_alive: 7,
        ..hello(V5, "GID_Demo@@@d")
    };
    let client = Client::connect(host.tcp(), &connect);
    let facts = Arc::clone(&host.sink.facts.lock()[0]);
    assert_eq!(facts.client_address, client.stream.local_addr().unwrap());
    assert_eq!(
        facts.group_id.as_ref().map(GroupId::as_str),
        Some("GID_Demo")
    );
    assert_eq!(facts.username.as_deref(), Some("user"));
    assert_eq!(
        (facts.listener, facts.protocol, facts.keep_alive_seconds),
        ("tcp", V5, 7)
    );
    assert_eq!((facts.clean_start, facts.session_present), (true, false));
}
