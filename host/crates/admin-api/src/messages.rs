//! Reads a topic back: one line of JSON per message, sent as they come. Commits no offsets.
//!
//! A broker that fails in between is asked again until the time is over; only then does the answer
//! break off, so that a reader cannot mistake it for a short topic.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::{ErrorChain, MessageSender, QueueName, ReadTopicError, TopicMessage, TopicName};
use futures_util::stream;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::api_error::ApiError;
use crate::extract::{Path, Query};
use crate::instances::{find_sender, parse_topic};
use crate::openapi::words;
use crate::server::Served;

const TIMEOUT_MS_DEFAULT: u64 = 10_000;
const TIMEOUT_MS_MAX: u64 = 600_000;
/// How long to wait before asking again when no queue had anything.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Messages of one read of one queue; bounds the memory of a reader to this many messages.
const READ_COUNT_MAX: u32 = 32;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReadQuery {
    /// Begin with the oldest message instead of with those that come.
    #[serde(default)]
    from_start: bool,
    /// End after so many messages; without it at what was there (`fromStart`) or at the end of the time.
    count: Option<u64>,
    /// End after so long, milliseconds; 10,000 by default.
    #[param(minimum = 0, maximum = 600000, default = 10000)]
    timeout_ms: Option<u64>,
}

/// A message line; the order of its fields is part of the interface.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageOut<'a> {
    topic: &'a str,
    queue_id: u32,
    queue_offset: u64,
    tag: Option<&'a str>,
    keys: &'a [String],
    #[serde(serialize_with = "as_map")]
    properties: &'a [(String, String)],
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// Properties of a message as an object.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct PropertiesOut(
    #[serde(serialize_with = "as_owned_map")] pub(crate) Vec<(String, String)>,
);

fn as_owned_map<S: Serializer>(
    pairs: &Vec<(String, String)>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    as_map(&pairs.as_slice(), serializer)
}

fn as_map<S: Serializer>(pairs: &&[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(pairs.len()))?;
    for (name, value) in *pairs {
        map.serialize_entry(name, value)?;
    }
    map.end()
}

/// Appends the line of `message` with its line end.
fn write_line(topic: &TopicName, message: &TopicMessage, lines: &mut Vec<u8>) -> io::Result<()> {
    let text = std::str::from_utf8(&message.body).ok();
    let line = MessageOut {
        topic: topic.as_str(),
        queue_id: message.queue.queue,
        queue_offset: message.queue_offset,
        tag: message.tag.as_deref(),
        keys: &message.keys,
        properties: &message.properties,
        body: text,
        body_base64: text.is_none().then(|| STANDARD.encode(&message.body)),
    };
    serde_json::to_writer(&mut *lines, &line)?;
    lines.push(b'\n');
    Ok(())
}

#[utoipa::path(
    get, path = "/v1/rocketmq-instances/{instanceId}/topics/{topic}/messages", tag = "RocketMQ", operation_id = "readMessages",
    summary = "Reads a topic back, one line of JSON per message; commits no offsets",
    params(("instanceId" = words::InstanceIdText, Path, description = "A configured instance"), ("topic" = words::TopicText, Path, description = "Its topic"), ReadQuery),
    responses((status = 200, description = "Lines of `{\"topic\", \"queueId\", \"queueOffset\", \"tag\", \"keys\", \"properties\", \"body\" or \"bodyBase64\"}` as they come", body = String, content_type = "application/x-ndjson")),
    extensions(("x-errors" = json!(["instance_not_found", "invalid_topic", "404 topic_not_found", "rocketmq_unreachable", "rocketmq_denied"]))),
)]
pub(crate) async fn read(
    State(served): State<Served>,
    Path((id, topic)): Path<(String, String)>,
    Query(query): Query<ReadQuery>,
) -> Result<Response, ApiError> {
    let timeout_ms = query.timeout_ms.unwrap_or(TIMEOUT_MS_DEFAULT);
    if timeout_ms > TIMEOUT_MS_MAX {
        return Err(ApiError::invalid_query(format!(
            "timeoutMs must be at most {TIMEOUT_MS_MAX}"
        )));
    }
    let (_, sender) = find_sender(&served, &id)?;
    let topic = parse_topic(&topic)?;
    let offsets = sender.offsets(&topic).await?;
    let reader = Reader {
        sender,
        topic,
        cursors: offsets
            .into_iter()
            .map(|offsets| Cursor::new(offsets, &query))
            .collect(),
        wanted: Wanted::new(&query),
        ends_at: Instant::now() + Duration::from_millis(timeout_ms),
        shutdown: served.shutdown.clone(),
        last_error: None,
    };
    let lines = stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match reader.next_lines().await {
            Ok(None) => None,
            Ok(Some(lines)) => Some((Ok(lines), Some(reader))),
            Err(error) => Some((Err(error), None)),
        }
    });
    let content_type = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((content_type, Body::from_stream(lines)).into_response())
}

/// When a reader has enough.
enum Wanted {
    /// This many more.
    Count(u64),
    /// What was there when it began.
    Present,
    /// Whatever comes until the time is over.
    All,
}

impl Wanted {
    fn new(query: &ReadQuery) -> Self {
        match query.count {
            Some(count) => Self::Count(count),
            None if query.from_start => Self::Present,
            None => Self::All,
        }
    }
}

struct Cursor {
    queue: QueueName,
    next: u64,
    /// The next offset of the queue when the reader began.
    end: u64,
}

impl Cursor {
    fn new((queue, low, end): (QueueName, u64, u64), query: &ReadQuery) -> Self {
        Self {
            queue,
            next: if query.from_start { low } else { end },
            end,
        }
    }
}

struct Reader {
    sender: Arc<dyn MessageSender>,
    topic: TopicName,
    cursors: Vec<Cursor>,
    wanted: Wanted,
    ends_at: Instant,
    shutdown: CancellationToken,
    last_error: Option<ReadTopicError>,
}

impl Reader {
    /// The next lines; `None` at the end.
    async fn next_lines(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if self.is_satisfied() {
                return Ok(None);
            }
            let lines = self.read_round().await?;
            if !lines.is_empty() {
                return Ok(Some(lines));
            }
            // A round of a slow broker may have taken long; what it had was not lost.
            if Instant::now() >= self.ends_at {
                return self.end();
            }
            let pause = self.ends_at.min(Instant::now() + POLL_INTERVAL);
            tokio::select! {
                () = self.shutdown.cancelled() => {
                    info!(topic = %self.topic, "reading of a topic cut off by the shutdown");
                    return Err(io::Error::other("the host is shutting down"));
                }
                () = tokio::time::sleep_until(pause) => {}
            }
        }
    }

    fn is_satisfied(&self) -> bool {
        match self.wanted {
            Wanted::Count(count) => count == 0,
            Wanted::Present => self.cursors.iter().all(|cursor| cursor.next >= cursor.end),
            Wanted::All => Instant::now() >= self.ends_at,
        }
    }

    /// The time is over.
    fn end(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self.last_error.take() {
            None => Ok(None),
            Some(error) => {
                warn!(topic = %self.topic, error = %ErrorChain(&error), "topic could not be read to its end");
                Err(io::Error::other(error))
            }
        }
    }

    /// Asks every queue once.
    async fn read_round(&mut self) -> io::Result<Vec<u8>> {
        let mut lines = Vec::new();
        self.last_error = None;
        for cursor in &mut self.cursors {
            let count_max = match self.wanted {
                Wanted::Count(0) => break,
                Wanted::Count(left) => READ_COUNT_MAX.min(u32::try_from(left).unwrap_or(u32::MAX)),
                Wanted::Present if cursor.next >= cursor.end => continue,
                Wanted::Present | Wanted::All => READ_COUNT_MAX,
            };
            let messages = match self
                .sender
                .read(&self.topic, &cursor.queue, cursor.next, count_max)
                .await
            {
                Ok((messages, next)) => {
                    cursor.next = next;
                    messages
                }
                Err(error) => {
                    self.last_error = Some(error);
                    continue;
                }
            };
            for message in &messages {
                write_line(&self.topic, message, &mut lines)?;
            }
            if let Wanted::Count(left) = &mut self.wanted {
                *left = left.saturating_sub(messages.len() as u64);
            }
        }
        Ok(lines)
    }
}

#[cfg(test)]
mod tests;
