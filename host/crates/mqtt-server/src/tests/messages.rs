//! Messages between clients over real sockets: every `QoS`, both versions, also across reconnects.

use domain::MqttVersion::{V5, V311};

use super::wire::{Client, ConnectPacket, Packet, frame, hello};
use super::*;

fn lasting(version: domain::MqttVersion, client_id: &str) -> ConnectPacket {
    ConnectPacket {
        clean: false,
        expiry: 3_600,
        ..hello(version, client_id)
    }
}

#[test]
fn each_qos_arrives_with_its_acknowledgements() {
    for (from, to) in [(V311, V5), (V5, V311)] {
        let host = Host::start();
        let mut subscriber = Client::connect(host.tcp(), &hello(to, "subscriber"));
        subscriber.subscribe("t/+", 2);
        let mut publisher = Client::connect(host.tcp(), &hello(from, "publisher"));

        publisher.publish(0, "t/a", None, b"zero");
        assert_eq!(subscriber.read_publish(), (0, None, b"zero".to_vec()));

        publisher.publish(0b0010, "t/a", Some(9), b"one");
        assert_eq!(publisher.read_ack(0x40), 9);
        let (flags, packet_id, payload) = subscriber.read_publish();
        assert_eq!((flags, payload), (0b0010, b"one".to_vec()));
        subscriber.acknowledge(0x40, packet_id.unwrap());

        publisher.publish(0b0100, "t/a", Some(10), b"two");
        assert_eq!(publisher.read_ack(0x50), 10);
        publisher.acknowledge(0x62, 10);
        assert_eq!(publisher.read_ack(0x70), 10);
        let (flags, packet_id, payload) = subscriber.read_publish();
        assert_eq!((flags, payload), (0b0100, b"two".to_vec()));
        subscriber.acknowledge(0x50, packet_id.unwrap());
        assert_eq!(Some(subscriber.read_ack(0x62)), packet_id);
        subscriber.acknowledge(0x70, packet_id.unwrap());

        subscriber.send(&[0xC0, 0]);
        assert_eq!(
            subscriber.read(),
            Packet {
                first: 0xD0,
                body: Vec::new()
            }
        );
    }
}

#[test]
fn more_messages_than_may_be_in_flight_arrive_in_order() {
    let host = Host::start();
    let mut client = Client::connect(host.tcp(), &hello(V311, "a"));
    client.subscribe("t", 1);
    let mut publisher = Client::connect(host.tcp(), &hello(V311, "b"));
    for n in 0..500_u16 {
        publisher.publish(0b0010, "t", Some(n + 1), &n.to_be_bytes());
        assert_eq!(publisher.read_ack(0x40), n + 1);
    }
    for n in 0..500_u16 {
        let (_, packet_id, payload) = client.read_publish();
        assert_eq!(payload, n.to_be_bytes());
        client.acknowledge(0x40, packet_id.unwrap());
    }
}

#[test]
fn an_alias_is_introduced_by_a_message_that_the_client_can_take() {
    for qos in [0, 1, 2] {
        let host = Host::start();
        let small_packets = ConnectPacket {
            packet_limits: Some((64, 4)),
            ..hello(V5, "subscriber")
        };
        let mut subscriber = Client::connect(host.tcp(), &small_packets);
        subscriber.subscribe("t", qos);
        let mut publisher = Client::connect(host.tcp(), &hello(V311, "publisher"));
        let id_bytes = if qos > 0 { 2 } else { 0 };
        for (packet_id, payload) in [(1, &[b'x'; 100][..]), (2, b"1"), (3, b"2")] {
            publisher.publish(qos << 1, "t", (qos > 0).then_some(packet_id), payload);
            match qos {
                0 => {}
                1 => assert_eq!(publisher.read_ack(0x40), packet_id),
                _ => {
                    assert_eq!(publisher.read_ack(0x50), packet_id);
                    publisher.acknowledge(0x62, packet_id);
                    assert_eq!(publisher.read_ack(0x70), packet_id);
                }
            }
        }
        // The topic, the packet id, one property (the alias) and the payload.
        for (topic, payload) in [(&b"\0\x01t"[..], b"1"), (b"\0\0", b"2")] {
            let body = subscriber.read().body;
            let (start, rest) = body.split_at(topic.len());
            assert_eq!(start, topic, "QoS {qos}");
            assert_eq!(rest[id_bytes..], [&b"\x03\x23\0\x01"[..], payload].concat());
        }
    }
}

#[test]
fn what_was_not_acknowledged_comes_again_after_a_reconnect() {
    for version in [V311, V5] {
        let host = Host::start();
        let mut first = Client::connect(host.tcp(), &lasting(version, "a"));
        first.subscribe("t", 2);
        let mut publisher = Client::connect(host.tcp(), &hello(version, "b"));
        for (packet_id, payload) in [(1, b"1"), (2, b"2")] {
            publisher.publish(0b0100, "t", Some(packet_id), payload);
            publisher.read_ack(0x50);
            publisher.acknowledge(0x62, packet_id);
            publisher.read_ack(0x70);
        }
        let released = first.read_publish().1.unwrap();
        let open = first.read_publish().1.unwrap();
        first.acknowledge(0x50, released);
        assert_eq!(first.read_ack(0x62), released);
        drop(first);

        let (mut second, answer) = Client::ask(host.tcp(), &lasting(version, "a"));
        assert_eq!(answer.body[0], 1, "session present");
        // PUBREL for the one that was received, then the other one again, with DUP.
        assert_eq!(second.read_ack(0x62), released);
        assert_eq!(second.read_publish(), (0b1100, Some(open), b"2".to_vec()));
        second.acknowledge(0x70, released);
        second.acknowledge(0x50, open);
        assert_eq!(second.read_ack(0x62), open);
        second.acknowledge(0x70, open);
        publisher.publish(0, "t", None, b"after");
        assert_eq!(second.read_publish(), (0, None, b"after".to_vec()));
    }
}

#[test]
fn a_qos_2_publish_that_comes_again_after_a_reconnect_is_delivered_once() {
    for version in [V311, V5] {
        let host = Host::start();
        let mut subscriber = Client::connect(host.tcp(), &hello(version, "subscriber"));
        subscriber.subscribe("t", 0);
        let mut first = Client::connect(host.tcp(), &lasting(version, "a"));
        first.publish(0b0100, "t", Some(5), b"once");
        assert_eq!(first.read_ack(0x50), 5);
        drop(first);
        let mut second = Client::connect(host.tcp(), &lasting(version, "a"));
        second.publish(0b1100, "t", Some(5), b"once");
        assert_eq!(second.read_ack(0x50), 5);
        second.acknowledge(0x62, 5);
        assert_eq!(second.read_ack(0x70), 5);
        // After its PUBREL the id is free for another message.
        second.publish(0b0100, "t", Some(5), b"twice");
        assert_eq!(second.read_ack(0x50), 5);
        assert_eq!(subscriber.read_publish().2, b"once");
        assert_eq!(subscriber.read_publish().2, b"twice");
    }
}

#[test]
fn a_will_comes_after_a_loss_and_not_after_a_disconnect() {
    let host = Host::start();
    let mut subscriber = Client::connect(host.tcp(), &hello(V5, "subscriber"));
    subscriber.subscribe("will/+", 1);
    for version in [V311, V5] {
        let with_will = |topic| ConnectPacket {
            will: Some((topic, "gone")),
            ..hello(version, "a")
        };
        let mut clean = Client::connect(host.tcp(), &with_will("will/clean"));
        clean.disconnect();
        assert_eq!(clean.try_read(), None);
        drop(Client::connect(host.tcp(), &with_will("will/lost")));
        let packet = subscriber.read();
        assert!(
            packet.body.windows(9).any(|window| window == b"will/lost"),
            "{packet:?}"
        );
        let packet_id = u16::from_be_bytes([packet.body[11], packet.body[12]]);
        subscriber.acknowledge(0x40, packet_id);
    }
}

#[test]
fn a_retained_message_waits_for_subscribers() {
    let host = Host::start();
    let mut publisher = Client::connect(host.tcp(), &hello(V311, "a"));
    publisher.publish(0b0011, "t", Some(1), b"kept");
    assert_eq!(publisher.read_ack(0x40), 1);
    let mut subscriber = Client::connect(host.tcp(), &hello(V5, "b"));
    subscriber.subscribe("#", 0);
    assert_eq!(subscriber.read_publish(), (1, None, b"kept".to_vec()));
}

#[test]
fn what_came_before_a_disconnect_in_one_write_is_delivered() {
    let host = Host::start();
    let mut subscriber = Client::connect(host.tcp(), &hello(V5, "subscriber"));
    subscriber.subscribe("t", 0);
    let publish = frame(0x30, b"\0\x01tlast");
    let burst = [hello(V311, "a").bytes(), publish, vec![0xE0, 0]].concat();
    let mut client = Client::dial(host.tcp(), V311);
    client.send(&burst);
    drop(client);
    assert_eq!(subscriber.read_publish().2, b"last");
}
