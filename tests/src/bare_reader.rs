//! Reads topics of any RocketMQ 4.x without a library: what is there at the moment, within milliseconds.
//!
//! A test that reads hundreds of topics would spend most of its time on starting a Java client for each.
//! Only uncompressed messages between IPv4 addresses are understood, as the tests' are.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

use crate::message::Message;

const PATIENCE: Duration = Duration::from_secs(10);
/// A broker makes its queues a moment after it stored the messages.
const QUIET: Duration = Duration::from_millis(30);
/// Passes without anything new, after which a topic is read.
const QUIET_PASSES: u32 = 3;

const GET_ROUTE: u32 = 105;
const PULL: u32 = 11;
const SUCCESS: i64 = 0;
const TOPIC_NOT_EXIST: i64 = 17;
const MAGIC: i32 = -626_843_481;
/// Bits of a message that say: compressed, from an IPv6 address, on one.
const NOT_UNDERSTOOD: i32 = 1 | 1 << 4 | 1 << 5;
/// Properties that the client library or the broker sets.
const SYSTEM: [&str; 9] = [
    "CLUSTER",
    "KEYS",
    "MAX_OFFSET",
    "MIN_OFFSET",
    "MSG_REGION",
    "TAGS",
    "TRACE_ON",
    "UNIQ_KEY",
    "WAIT",
];

/// One server, one connection.
struct Server {
    stream: TcpStream,
    opaque: u32,
}

struct Answer {
    code: i64,
    fields: Map<String, Value>,
    remark: String,
    body: Vec<u8>,
}

/// Reads a topic of `name_server` from its start: until `count` different events (property `eventId`) were seen or the
/// time is over, and then until nothing new comes. In the order of broker, queue and offset; nothing of a topic
/// that does not exist.
///
/// # Errors
///
/// When a server does not answer or says what is not understood.
pub fn read(
    name_server: &str,
    topic: &str,
    count: usize,
    deadline: Duration,
) -> Result<Vec<Message>> {
    let start = Instant::now();
    let mut queues = Vec::new();
    let mut brokers = BTreeMap::new();
    for (broker, address, queue_count) in route(name_server, topic)? {
        brokers.insert(broker.clone(), Server::open(&address)?);
        queues.extend((0..queue_count).map(|queue| (broker.clone(), queue, 0_u64)));
    }
    let mut messages: Vec<Message> = Vec::new();
    let mut events = BTreeSet::new();
    let mut quiet_passes = 0;
    while quiet_passes < QUIET_PASSES || (events.len() < count && start.elapsed() < deadline) {
        let before = messages.len();
        for (broker, queue, next) in &mut queues {
            let server = brokers.get_mut(broker).context("no such broker")?;
            while let Some((body, then)) = pull(server, topic, *queue, *next)? {
                *next = then;
                for mut message in decode_all(&body)? {
                    message.broker = Some(broker.clone());
                    events.extend(message.properties.get("eventId").cloned());
                    messages.push(message);
                }
            }
        }
        if messages.len() == before {
            quiet_passes += 1;
            std::thread::sleep(QUIET);
        } else {
            quiet_passes = 0;
        }
    }
    messages.sort_by_cached_key(|message| {
        (
            message.broker.clone(),
            message.queue_id,
            message.queue_offset,
        )
    });
    Ok(messages)
}

/// Name, address and number of queues of each broker of a topic.
fn route(name_server: &str, topic: &str) -> Result<Vec<(String, String, u32)>> {
    let answer = Server::open(name_server)?.ask(GET_ROUTE, &json!({ "topic": topic }))?;
    if answer.code == TOPIC_NOT_EXIST {
        return Ok(Vec::new());
    }
    ensure!(
        answer.code == SUCCESS,
        "no route of {topic}: {}",
        answer.remark
    );
    // Java writes the number of a broker as a key without quotes; the tests' brokers have number 0 only.
    let text = String::from_utf8(answer.body)?.replace("{0:", "{\"0\":");
    let route: Value = serde_json::from_str(&text).context("the route is no JSON")?;
    let list = |name: &str| {
        route
            .get(name)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let addresses: BTreeMap<String, String> = list("brokerDatas")
        .iter()
        .filter_map(|broker| {
            let name = broker.get("brokerName")?.as_str()?;
            let address = broker.pointer("/brokerAddrs/0")?.as_str()?;
            Some((name.to_owned(), address.to_owned()))
        })
        .collect();
    let mut found = Vec::new();
    for queue in list("queueDatas") {
        let name = queue
            .get("brokerName")
            .and_then(Value::as_str)
            .context("no broker")?;
        let count = queue.get("readQueueNums").and_then(Value::as_u64);
        let address = addresses
            .get(name)
            .with_context(|| format!("no address of {name}"))?;
        let count = u32::try_from(count.context("no number of queues")?)?;
        found.push((name.to_owned(), address.clone(), count));
    }
    Ok(found)
}

/// Messages from an offset on, and the next offset; `None` at the end of the queue.
fn pull(
    server: &mut Server,
    topic: &str,
    queue: u32,
    offset: u64,
) -> Result<Option<(Vec<u8>, u64)>> {
    let answer = server.ask(
        PULL,
        &json!({
            "consumerGroup": "TOOLS_CONSUMER", "topic": topic, "queueId": queue.to_string(),
            "queueOffset": offset.to_string(), "maxMsgNums": "32", "sysFlag": "4", "commitOffset": "0",
            "suspendTimeoutMillis": "0", "subscription": "*", "subVersion": "0", "expressionType": "TAG",
        }),
    )?;
    if answer.code != SUCCESS {
        // Nothing there, or nothing there yet.
        ensure!(
            (19..=21).contains(&answer.code),
            "pull refused: {}",
            answer.remark
        );
        return Ok(None);
    }
    let next = answer.fields.get("nextBeginOffset").and_then(Value::as_str);
    let next: u64 = next.context("no next offset")?.parse()?;
    ensure!(next > offset, "the next offset is not later");
    Ok(Some((answer.body, next)))
}

impl Server {
    fn open(address: &str) -> Result<Self> {
        let stream =
            TcpStream::connect(address).with_context(|| format!("no server at {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, opaque: 0 })
    }

    fn ask(&mut self, code: u32, fields: &Value) -> Result<Answer> {
        self.opaque += 1;
        let head = json!({
            "code": code, "language": "JAVA", "version": 399, "opaque": self.opaque, "flag": 0,
            "extFields": fields, "serializeTypeCurrentRPC": "JSON",
        });
        let head = serde_json::to_vec(&head)?;
        let head_length = u32::try_from(head.len())?;
        let mut frame = (head_length + 4).to_be_bytes().to_vec();
        frame.extend(head_length.to_be_bytes());
        frame.extend(head);
        self.stream.write_all(&frame)?;
        self.answer().context("no answer")
    }

    fn answer(&mut self) -> Result<Answer> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length))?];
        self.stream.read_exact(&mut frame)?;
        let mut cursor = Cursor(&frame);
        let head_length = u32::try_from(cursor.int()?)?;
        ensure!(head_length >> 24 == 0, "the answer's head is no JSON");
        let head = cursor.take(usize::try_from(head_length)?)?;
        let head: Value = serde_json::from_slice(head).context("the answer's head is no JSON")?;
        let field = |name: &str| head.get(name).cloned().unwrap_or(Value::Null);
        Ok(Answer {
            code: field("code").as_i64().context("no code")?,
            fields: field("extFields").as_object().cloned().unwrap_or_default(),
            remark: field("remark").to_string(),
            body: cursor.0.to_vec(),
        })
    }
}

/// What is left of some bytes.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).context("cut off")?;
        self.0 = rest;
        Ok(taken)
    }

    fn int(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into()?))
    }

    fn long(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.take(8)?.try_into()?))
    }
}

fn decode_all(body: &[u8]) -> Result<Vec<Message>> {
    let mut cursor = Cursor(body);
    let mut messages = Vec::new();
    while !cursor.0.is_empty() {
        let length = usize::try_from(cursor.int()?)?;
        let record = cursor.take(length.saturating_sub(4))?;
        messages.push(decode(&mut Cursor(record)).context("no message")?);
    }
    Ok(messages)
}

fn decode(record: &mut Cursor<'_>) -> Result<Message> {
    ensure!(
        record.int()? == MAGIC,
        "a message of another version of the store"
    );
    // Checksum.
    record.int()?;
    let queue_id = record.int()?;
    // The user's flag.
    record.int()?;
    let queue_offset = record.long()?;
    // Place in the store.
    record.long()?;
    let flags = record.int()?;
    if flags & NOT_UNDERSTOOD != 0 {
        bail!("a message of flags {flags:#x}");
    }
    // When and where it was born.
    record.take(16)?;
    let stored_at = u64::try_from(record.long()?)?;
    // Where it was stored, how often it was consumed again, its transaction.
    record.take(20)?;
    let body_length = usize::try_from(record.int()?)?;
    let body = String::from_utf8(record.take(body_length)?.to_vec()).ok();
    let topic_length = record.take(1)?.first().copied().unwrap_or(0);
    let topic = String::from_utf8(record.take(usize::from(topic_length))?.to_vec())?;
    let properties_length = u16::from_be_bytes(record.take(2)?.try_into()?);
    let text = String::from_utf8(record.take(usize::from(properties_length))?.to_vec())?;
    let all: BTreeMap<&str, &str> = text
        .split('\u{2}')
        .filter_map(|property| property.split_once('\u{1}'))
        .collect();
    let keys = all.get("KEYS").copied().unwrap_or_default();
    Ok(Message {
        topic,
        broker: None,
        queue_id,
        queue_offset,
        tag: all.get("TAGS").map(|tag| (*tag).to_owned()),
        keys: keys.split_whitespace().map(str::to_owned).collect(),
        properties: all
            .iter()
            .filter(|(name, _)| !SYSTEM.contains(name))
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        body,
        body_base64: None,
        stored_at: Some(stored_at),
    })
}

#[cfg(test)]
mod tests;
