use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::{
    BoxFuture, CreateTopicError, MessageSender, OutboundMessage, QueueName, ReadTopicError,
    RouteError, SendError, StoredAs, TopicMessage, TopicName,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Cursor, ReadQuery, Reader, Wanted, write_line};

/// A topic of two queues with three messages each that are there from the start, and one more in
/// the first queue after the second round.
#[derive(Debug, Default)]
struct Topic {
    reads: AtomicU64,
    is_broken: bool,
}

fn queue(number: u32) -> QueueName {
    QueueName {
        broker: "b".into(),
        queue: number,
    }
}

fn message(queue: &QueueName, offset: u64, body: &[u8]) -> TopicMessage {
    TopicMessage {
        queue: queue.clone(),
        queue_offset: offset,
        tag: Some("connect".to_owned()),
        keys: vec!["k".to_owned()],
        properties: vec![("a".to_owned(), "1".to_owned())],
        body: body.to_vec(),
    }
}

impl MessageSender for Topic {
    fn route<'a>(
        &'a self,
        topic: &'a TopicName,
    ) -> BoxFuture<'a, Result<Vec<QueueName>, RouteError>> {
        Box::pin(async {
            Err(RouteError::TopicNotFound {
                topic: topic.clone(),
            })
        })
    }

    fn create_topic<'a>(
        &'a self,
        _: &'a TopicName,
        _: u32,
    ) -> BoxFuture<'a, Result<(), CreateTopicError>> {
        Box::pin(async { Ok(()) })
    }

    fn send<'a>(
        &'a self,
        _: &'a TopicName,
        _: &'a QueueName,
        _: &'a [OutboundMessage],
    ) -> BoxFuture<'a, Result<StoredAs, SendError>> {
        Box::pin(async { Ok(StoredAs::Ok) })
    }

    fn offsets<'a>(
        &'a self,
        _: &'a TopicName,
    ) -> BoxFuture<'a, Result<Vec<(QueueName, u64, u64)>, ReadTopicError>> {
        Box::pin(async { Ok(vec![(queue(0), 0, 3), (queue(1), 0, 3)]) })
    }

    fn read<'a>(
        &'a self,
        _: &'a TopicName,
        queue: &'a QueueName,
        offset: u64,
        count_max: u32,
    ) -> BoxFuture<'a, Result<(Vec<TopicMessage>, u64), ReadTopicError>> {
        let reads = self.reads.fetch_add(1, Ordering::Relaxed);
        let end = if queue.queue == 0 && reads > 4 { 4 } else { 3 };
        let until = end.min(offset + u64::from(count_max)).max(offset);
        let messages = (offset..until)
            .map(|offset| message(queue, offset, b"x"))
            .collect();
        Box::pin(async move {
            if self.is_broken {
                return Err(ReadTopicError::Broker {
                    broker: "b".to_owned(),
                    detail: "gone".to_owned(),
                });
            }
            Ok((messages, until))
        })
    }
}

fn from_start(count: Option<u64>) -> ReadQuery {
    ReadQuery {
        from_start: true,
        count,
        timeout_ms: None,
    }
}

fn from_end(count: Option<u64>) -> ReadQuery {
    ReadQuery {
        from_start: false,
        ..from_start(count)
    }
}

/// How many lines come, and whether the answer breaks off.
async fn count_lines(topic: Topic, query: &ReadQuery, timeout: Duration) -> (usize, bool) {
    let name = TopicName::parse("T").unwrap();
    let sender: Arc<dyn MessageSender> = Arc::new(topic);
    let offsets = sender.offsets(&name).await.unwrap();
    let mut reader = Reader {
        cursors: offsets
            .into_iter()
            .map(|offsets| Cursor::new(offsets, query))
            .collect(),
        sender,
        topic: name,
        wanted: Wanted::new(query),
        ends_at: Instant::now() + timeout,
        shutdown: CancellationToken::new(),
        last_error: None,
    };
    let mut lines = 0;
    loop {
        match reader.next_lines().await {
            Ok(Some(chunk)) => lines += chunk.iter().filter(|byte| **byte == b'\n').count(),
            Ok(None) => return (lines, false),
            Err(_) => return (lines, true),
        }
    }
}

#[tokio::test]
async fn a_reader_stops_at_its_count_at_the_end_or_when_the_time_is_over() {
    let minute = Duration::from_secs(60);
    // Long enough for the third round, in which the late message comes.
    let while_it_comes = Duration::from_secs(1);
    // Exactly as many as wanted.
    assert_eq!(
        count_lines(Topic::default(), &from_start(Some(4)), minute).await,
        (4, false)
    );
    // Without a count, what was there at the start.
    assert_eq!(
        count_lines(Topic::default(), &from_start(None), minute).await,
        (6, false)
    );
    // From the end on, it waits for the message that comes later.
    assert_eq!(
        count_lines(Topic::default(), &from_end(Some(1)), minute).await,
        (1, false)
    );
    // Fewer came than wanted.
    assert_eq!(
        count_lines(Topic::default(), &from_end(Some(5)), while_it_comes).await,
        (1, false)
    );
    assert_eq!(
        count_lines(Topic::default(), &from_end(None), while_it_comes).await,
        (1, false)
    );
    assert_eq!(
        count_lines(Topic::default(), &from_start(Some(0)), minute).await,
        (0, false)
    );
}

#[tokio::test]
async fn a_broker_that_stays_away_breaks_the_answer_off() {
    let broken = Topic {
        is_broken: true,
        ..Topic::default()
    };
    assert_eq!(
        count_lines(broken, &from_start(None), Duration::from_millis(250)).await,
        (0, true)
    );
}

#[test]
fn a_line_has_its_fields_in_order() {
    let topic = TopicName::parse("T").unwrap();
    let mut lines = Vec::new();
    write_line(&topic, &message(&queue(2), 7, "ä".as_bytes()), &mut lines).unwrap();
    write_line(
        &topic,
        &TopicMessage {
            tag: None,
            ..message(&queue(2), 8, &[0xff])
        },
        &mut lines,
    )
    .unwrap();
    let expected = concat!(
        r#"{"topic":"T","queueId":2,"queueOffset":7,"tag":"connect","keys":["k"],"properties":{"a":"1"},"body":"ä"}"#,
        "\n",
        r#"{"topic":"T","queueId":2,"queueOffset":8,"tag":null,"keys":["k"],"properties":{"a":"1"},"bodyBase64":"/w=="}"#,
        "\n"
    );
    assert_eq!(String::from_utf8(lines).unwrap(), expected);
}
