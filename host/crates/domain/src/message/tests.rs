use super::{CheckMessageError, OutboundMessage};

fn message() -> OutboundMessage {
    OutboundMessage {
        tag: Some("connect".to_owned()),
        keys: vec!["a".to_owned()],
        properties: vec![("p".to_owned(), "v".to_owned())],
        body: b"x".to_vec(),
    }
}

#[test]
fn everything_that_rocketmq_refuses_is_found_before_the_send() {
    assert_eq!(message().check(), Ok(()));
    let with = |change: fn(&mut OutboundMessage)| {
        let mut changed = message();
        change(&mut changed);
        changed.check().unwrap_err()
    };
    assert_eq!(with(|m| m.body.clear()), CheckMessageError::EmptyBody);
    assert!(matches!(
        with(|m| m.body = vec![0; OutboundMessage::BODY_BYTES_MAX + 1]),
        CheckMessageError::BodyTooLarge { .. }
    ));
    assert!(matches!(
        with(|m| m.keys.push("a b".to_owned())),
        CheckMessageError::BlankInKey { .. }
    ));
    assert!(matches!(
        with(|m| m.tag = Some("\u{1}".to_owned())),
        CheckMessageError::Separator { .. }
    ));
    for name in ["UNIQ_KEY", "eventId"] {
        let mut changed = message();
        changed.properties.push((name.to_owned(), "x".to_owned()));
        assert!(matches!(
            changed.check(),
            Err(CheckMessageError::ReservedProperty { .. })
        ));
    }
    assert!(matches!(
        with(|m| m.properties.push(("big".to_owned(), "v".repeat(30_000)))),
        CheckMessageError::PropertiesTooLarge { .. }
    ));
}
