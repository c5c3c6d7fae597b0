use super::{Order, follow, judge_moved};
use crate::event::{Event, EventType, Format};
use crate::message::Message;

fn events(story: &[(u64, &str, &str)]) -> Vec<Event> {
    let event = |&(sequence, name, channel): &(u64, &str, &str)| Event {
        event_id: sequence.to_string(),
        sequence,
        event_type: EventType::read(name).unwrap(),
        client_id: "GID_A@@@d".to_owned(),
        channel_id: channel.to_owned(),
        time: sequence,
        format: Format::Apsaramq,
        synthetic: None,
        queue_id: 0,
        stored_at: None,
    };
    story.iter().map(event).collect()
}

#[test]
fn a_clean_close_a_loss_and_a_take_over_are_right() {
    let story = [
        (1, "connect", "a"),
        (2, "disconnect", "a"),
        (3, "tcpclean", "a"),
        (5, "connect", "b"),
        (6, "tcpclean", "b"),
        (7, "connect", "c"),
    ];
    follow(&events(&story)).unwrap();
}

#[test]
fn broken_stories_are_found() {
    let broken: [&[(u64, &str, &str)]; 6] = [
        &[(1, "tcpclean", "a")],
        &[(1, "connect", "a"), (2, "connect", "b")],
        &[(1, "connect", "a"), (2, "tcpclean", "b")],
        &[(2, "connect", "a"), (1, "tcpclean", "a")],
        &[
            (1, "connect", "a"),
            (2, "tcpclean", "a"),
            (3, "connect", "a"),
        ],
        &[
            (1, "connect", "a"),
            (2, "disconnect", "a"),
            (3, "disconnect", "a"),
        ],
    ];
    for story in broken {
        assert!(follow(&events(story)).is_err(), "{story:?}");
    }
}

/// A message of client `d` as the default mapping writes it: topic, queue, offset, time of storage, sequence, type,
/// channel.
fn message(place: (&str, i32, i64, u64), sequence: u64, name: &str, channel: char) -> Message {
    let (topic, queue_id, queue_offset, stored_at) = place;
    let channel = channel.to_string().repeat(32);
    let body = format!(
        r#"{{"clientId":"GID_A@@@d","time":1,"eventType":"{name}","channelId":"{channel}","clientIp":"127.0.0.1:9"}}"#
    );
    let properties = [
        (
            "eventId".to_owned(),
            format!("0123456789ab7{sequence:0>19}"),
        ),
        ("sequence".to_owned(), sequence.to_string()),
        ("groupId".to_owned(), "GID_A".to_owned()),
    ];
    Message {
        topic: topic.to_owned(),
        broker: Some("b".to_owned()),
        queue_id,
        queue_offset,
        tag: Some(name.to_owned()),
        keys: vec!["GID_A@@@d".to_owned(), channel],
        properties: properties.into(),
        body: Some(body),
        body_base64: None,
        stored_at: Some(stored_at),
    }
}

const ALL: [Order; 3] = [Order::OneQueue, Order::ByStorage, Order::WithinQueues];

/// Which orders accept the messages.
fn accepted(messages: &[Message]) -> Vec<Order> {
    let accepts = |order: &Order| judge_moved(messages, *order).is_ok();
    ALL.into_iter().filter(accepts).collect()
}

#[test]
fn a_client_may_go_on_in_another_topic() {
    let story = [
        message(("T1", 0, 0, 10), 1, "connect", 'a'),
        message(("T2", 3, 0, 10), 2, "tcpclean", 'a'),
    ];
    assert_eq!(accepted(&story), ALL);
}

#[test]
fn another_topic_must_not_be_ahead() {
    let story = [
        message(("T1", 0, 0, 11), 1, "connect", 'a'),
        message(("T2", 3, 0, 10), 2, "tcpclean", 'a'),
    ];
    assert_eq!(accepted(&story), [Order::WithinQueues]);
}

#[test]
fn another_queue_of_the_topic_is_a_move() {
    let story = [
        message(("T1", 0, 0, 10), 1, "connect", 'a'),
        message(("T1", 1, 0, 11), 2, "tcpclean", 'a'),
    ];
    assert_eq!(accepted(&story), [Order::ByStorage, Order::WithinQueues]);
}

#[test]
fn a_repeated_suffix_is_counted_and_no_disorder() {
    let mut story = vec![
        message(("T1", 0, 0, 10), 1, "connect", 'a'),
        message(("T1", 0, 1, 11), 2, "tcpclean", 'a'),
    ];
    for (offset, at) in [(2, 20), (3, 21)] {
        let mut again = story[usize::try_from(offset - 2).unwrap()].clone();
        (again.queue_offset, again.stored_at) = (offset, Some(at));
        story.push(again);
    }
    let verdict = judge_moved(&story, Order::OneQueue).unwrap();
    assert_eq!((verdict.repeated, verdict.repeated_at), (2, vec![20, 21]));
}

#[test]
fn a_swap_within_a_queue_is_disorder_for_all() {
    let story = [
        message(("T1", 0, 1, 10), 1, "connect", 'a'),
        message(("T1", 0, 0, 10), 2, "tcpclean", 'a'),
    ];
    assert_eq!(accepted(&story), []);
}
