//! The records are laid out as RocketMQ stores them.

use super::*;

/// One stored record of queue 2 at offset 7, from and on IPv4 hosts.
fn record(sys_flag: i32, body: &[u8], properties: &str) -> Vec<u8> {
    const MAGIC: i32 = -626_843_481;
    let mut rest = Vec::new();
    rest.extend(MAGIC.to_be_bytes());
    rest.extend(0_u32.to_be_bytes()); // CRC
    rest.extend(2_i32.to_be_bytes()); // queue
    rest.extend(0_i32.to_be_bytes()); // flag
    rest.extend(7_i64.to_be_bytes()); // queue offset
    rest.extend(1_234_i64.to_be_bytes()); // place in the commit log
    rest.extend(sys_flag.to_be_bytes());
    for _ in ["born", "stored"] {
        rest.extend(1_795_573_125_000_i64.to_be_bytes());
        rest.extend([127, 0, 0, 1]);
        rest.extend(10_911_i32.to_be_bytes());
    }
    rest.extend(0_i32.to_be_bytes()); // times consumed again
    rest.extend(0_i64.to_be_bytes()); // transaction
    rest.extend(i32::try_from(body.len()).unwrap().to_be_bytes());
    rest.extend(body);
    rest.push(6);
    rest.extend(b"TopicB");
    rest.extend(i16::try_from(properties.len()).unwrap().to_be_bytes());
    rest.extend(properties.as_bytes());
    let mut record = i32::try_from(rest.len() + 4)
        .unwrap()
        .to_be_bytes()
        .to_vec();
    record.extend(rest);
    record
}

fn queue() -> QueueName {
    QueueName {
        broker: Arc::from("broker-a"),
        queue: 2,
    }
}

#[test]
fn records_become_messages_without_rocketmqs_own_properties() {
    let properties = "KEYS\u{1}a b\u{2}UNIQ_KEY\u{1}7F0001\u{2}TAGS\u{1}connect\u{2}WAIT\u{1}true\u{2}CLUSTER\u{1}C\u{2}\
                      sequence\u{1}9\u{2}eventId\u{1}01JD\u{2}пусто\u{1}";
    let mut body = record(0, b"one", properties);
    body.extend(record(0, b"two", ""));
    let messages = decode_all(&queue(), body.into()).unwrap();
    let [first, second] = messages.as_slice() else {
        panic!("{messages:?}")
    };
    assert_eq!(first.queue_offset, 7);
    assert_eq!(first.tag.as_deref(), Some("connect"));
    assert_eq!(first.keys, ["a", "b"]);
    let properties: Vec<_> = first
        .properties
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        properties,
        [("eventId", "01JD"), ("sequence", "9"), ("пусто", "")]
    );
    assert_eq!(first.body, b"one");
    assert_eq!(
        (second.tag.as_deref(), second.body.as_slice()),
        (None, &b"two"[..])
    );
}

#[test]
fn compressed_bodies_are_read_plain() {
    // zlib of "aaaaaaaaaa"
    let zlib = [0x78, 0x9c, 0x4b, 0x84, 0x03, 0x00, 0x14, 0xe1, 0x03, 0xcb];
    let messages = decode_all(&queue(), record(1, &zlib, "").into()).unwrap();
    assert_eq!(messages[0].body, b"aaaaaaaaaa");
}

#[test]
fn a_torn_record_is_an_error_and_no_end() {
    let mut body = record(0, b"one", "");
    body.truncate(body.len() - 3);
    assert!(matches!(
        decode_all(&queue(), body.into()),
        Err(ReadTopicError::Broker { .. })
    ));
}
