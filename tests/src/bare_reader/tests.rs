//! The records are laid out as RocketMQ stores them.

use super::{MAGIC, decode_all};

fn record(flags: i32, properties: &str) -> Vec<u8> {
    let mut rest = MAGIC.to_be_bytes().to_vec();
    rest.extend(0_u32.to_be_bytes()); // checksum
    rest.extend(2_i32.to_be_bytes()); // queue
    rest.extend(0_i32.to_be_bytes()); // the user's flag
    rest.extend(7_i64.to_be_bytes()); // offset
    rest.extend(1_234_i64.to_be_bytes()); // place in the store
    rest.extend(flags.to_be_bytes());
    for time in [1_i64, 1_795_573_125_000] {
        rest.extend(time.to_be_bytes()); // born, stored
        rest.extend([127, 0, 0, 1]);
        rest.extend(10_911_i32.to_be_bytes());
    }
    rest.extend(0_i32.to_be_bytes()); // consumed again
    rest.extend(0_i64.to_be_bytes()); // transaction
    rest.extend(3_i32.to_be_bytes());
    rest.extend(b"one");
    rest.push(6);
    rest.extend(b"TopicB");
    rest.extend(u16::try_from(properties.len()).unwrap().to_be_bytes());
    rest.extend(properties.as_bytes());
    let mut record = i32::try_from(rest.len() + 4)
        .unwrap()
        .to_be_bytes()
        .to_vec();
    record.extend(rest);
    record
}

#[test]
fn records_become_messages_without_the_properties_of_the_system() {
    let mut body = record(
        0,
        "KEYS\u{1}a b\u{2}TAGS\u{1}connect\u{2}UNIQ_KEY\u{1}7F\u{2}sequence\u{1}9\u{2}",
    );
    body.extend(record(0, ""));
    let messages = decode_all(&body).unwrap();
    let [first, second] = messages.as_slice() else {
        panic!("{messages:?}")
    };
    assert_eq!((first.queue_id, first.queue_offset), (2, 7));
    assert_eq!(first.stored_at, Some(1_795_573_125_000));
    assert_eq!(first.topic, "TopicB");
    assert_eq!(first.tag.as_deref(), Some("connect"));
    assert_eq!(first.keys, ["a", "b"]);
    assert_eq!(first.body.as_deref(), Some("one"));
    let properties: Vec<_> = first.properties.iter().collect();
    assert_eq!(properties, [(&"sequence".to_owned(), &"9".to_owned())]);
    assert_eq!((second.tag.as_deref(), second.keys.len()), (None, 0));
}

#[test]
fn what_is_not_understood_is_an_error() {
    assert!(decode_all(&record(1, "")).is_err());
    let mut torn = record(0, "");
    torn.pop();
    assert!(decode_all(&torn).is_err());
}
