//! What is written is what is read; everything else is damage.

use proptest::prelude::*;

use super::*;

fn channel() -> impl Strategy<Value = ChannelFacts> {
    let client_id = prop_oneof![
        "[a-z]{1,20}",
        "GID_[A-Z]{3,20}@@@[a-z0-9]{1,20}".prop_map(|id| id),
        "\\PC{1,60}",
    ];
    let names = (
        client_id,
        prop_oneof![Just(None), "GID_[A-Z]{3,20}".prop_map(Some)],
        any::<bool>(),
    );
    let rest = (
        any::<[u8; 16]>(),
        any::<SocketAddr>(),
        any::<bool>(),
        proptest::option::of("\\PC{0,40}"),
        any::<u16>(),
    );
    (names, rest).prop_map(
        |(
            (client_id, group, is_own_group),
            (id, client_address, flag, username, keep_alive_seconds),
        )| {
            let client_id =
                ClientId::parse(&client_id).unwrap_or_else(|_| ClientId::parse("x").unwrap());
            let named = group.map(|group| GroupId::parse(&group).unwrap());
            ChannelFacts {
                group_id: if is_own_group {
                    client_id.group()
                } else {
                    named
                },
                client_id,
                channel_id: ChannelId(id),
                client_address,
                protocol: if flag {
                    MqttVersion::V5
                } else {
                    MqttVersion::V311
                },
                listener: if flag { "tcp" } else { "ws" },
                username: username.map(Arc::from),
                keep_alive_seconds,
                clean_start: flag,
                session_present: !flag,
            }
        },
    )
}

fn event() -> impl Strategy<Value = StatusEvent> {
    let reasons: Vec<_> = CloseReason::ALL
        .iter()
        .copied()
        .map(Some)
        .chain([None])
        .collect();
    let synthetic = vec![
        None,
        Some(Synthetic::Snapshot),
        Some(Synthetic::HostRestart),
    ];
    let kind = (
        proptest::sample::select(EventType::ALL.to_vec()),
        proptest::sample::select(reasons),
        proptest::sample::select(synthetic),
    );
    // A mask keeps IPv6 flow labels and scopes out: no accepted socket has them.
    (
        any::<[u8; 16]>(),
        kind,
        any::<u64>(),
        any::<u64>(),
        0..1_u64 << 53,
        channel(),
    )
        .prop_map(
            |(
                id,
                (event_type, reason, synthetic),
                time_ms,
                connected_at_ms,
                sequence,
                mut channel,
            )| {
                channel.client_address =
                    SocketAddr::new(channel.client_address.ip(), channel.client_address.port());
                StatusEvent {
                    event_id: EventId(id),
                    event_type,
                    time_ms,
                    sequence: Sequence(sequence),
                    reason,
                    synthetic,
                    connected_at_ms,
                    channel: Arc::new(channel),
                }
            },
        )
}

proptest! {
    #[test]
    fn an_event_reads_back_as_it_was(event in event(), incarnation: u32, slot: u8) {
        let key = event_key(IncarnationId(incarnation), Slot(slot), event.sequence);
        let record = encode_event(key, event.time_ms, &event);
        prop_assert_eq!(event_time_ms(&record), event.time_ms);
        let stored = decode_event(key, &record).unwrap();
        prop_assert_eq!(stored.entered_ms, event.time_ms);
        prop_assert_eq!(stored.event, event);
    }

    #[test]
    fn a_replay_keeps_its_first_sequence_and_time(event in event(), position: u64, entered_ms: u64) {
        prop_assume!(position != event.sequence.0);
        let key = event_key(IncarnationId(1), Slot(2), Sequence(position));
        let record = encode_event(key, entered_ms, &event);
        prop_assert_eq!(event_time_ms(&record), entered_ms);
        let stored = decode_event(key, &record).unwrap();
        prop_assert_eq!(stored.entered_ms, entered_ms);
        prop_assert_eq!(stored.event, event);
    }

    #[test]
    fn an_open_channel_reads_back_as_it_was(event in event(), incarnation: u32) {
        let record = encode_open_channel(IncarnationId(incarnation), &event);
        let row = decode_open_channel(event.sequence, &record).unwrap();
        prop_assert_eq!(row.incarnation, IncarnationId(incarnation));
        prop_assert_eq!(row.connected_at_ms, event.connected_at_ms);
        prop_assert_eq!(row.channel, event.channel);
    }

    #[test]
    fn a_flipped_bit_is_damage(event in event(), position: prop::sample::Index, bit in 0..8_u8) {
        let key = event_key(IncarnationId(1), Slot(2), event.sequence);
        let mut record = encode_event(key, event.time_ms, &event);
        let position = position.index(record.len());
        record[position] ^= 1 << bit;
        prop_assert!(decode_event(key, &record).is_err());
    }

    #[test]
    fn a_record_under_another_key_is_damage(event in event()) {
        let key = event_key(IncarnationId(1), Slot(2), event.sequence);
        let record = encode_event(key, event.time_ms, &event);
        prop_assert!(decode_event((1, 3, event.sequence.0), &record).is_err());
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
        prop_assert!(decode_event((1, 2, 3), &bytes).is_err());
    }
}

#[test]
fn a_typical_event_is_smaller_than_its_reservation() {
    let channel = Arc::new(ChannelFacts {
        client_id: ClientId::parse(&format!("GID_Client_Status@@@{}", "d".repeat(44))).unwrap(),
        group_id: Some(GroupId::parse("GID_Client_Status").unwrap()),
        channel_id: ChannelId([7; 16]),
        client_address: "[2001:db8::1]:50312".parse().unwrap(),
        protocol: MqttVersion::V5,
        listener: "tcp",
        username: Some("Signature|LTAI000000000000000000|mqtt-cn-000000000".into()),
        keep_alive_seconds: 60,
        clean_start: true,
        session_present: false,
    });
    let event = StatusEvent {
        event_id: EventId([1; 16]),
        event_type: EventType::TcpClean,
        time_ms: 1_795_573_125_000,
        sequence: Sequence(1 << 52),
        reason: Some(CloseReason::KeepAliveTimeout),
        synthetic: None,
        connected_at_ms: 1_795_573_125_000,
        channel,
    };
    let bytes = encode_event((1, 1, 1 << 52), event.time_ms, &event).len();
    assert!((150..230).contains(&bytes), "{bytes}");
}
