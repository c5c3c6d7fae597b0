//! What the host refuses in messages, with its default limits.

use crate::Message;

const MESSAGES_MAX: usize = 16;
const OUTPUT_BYTES_MAX: usize = 3 * 1024 * 1024;
/// Tag, keys and properties together; the host's count has a few bytes more per entry.
const PROPERTIES_BYTES_MAX: usize = 30_000;

/// Properties that no message may set: those of `RocketMQ` and those that the host sets itself.
pub const RESERVED_PROPERTIES: &[&str] = &[
    "KEYS",
    "TAGS",
    "WAIT",
    "DELAY",
    "RETRY_TOPIC",
    "REAL_TOPIC",
    "REAL_QID",
    "TRAN_MSG",
    "PGROUP",
    "MIN_OFFSET",
    "MAX_OFFSET",
    "BUYER_ID",
    "ORIGIN_MESSAGE_ID",
    "TRANSFER_FLAG",
    "CORRECTION_FLAG",
    "MQ2_FLAG",
    "RECONSUME_TIME",
    "MSG_REGION",
    "TRACE_ON",
    "UNIQ_KEY",
    "MAX_RECONSUME_TIMES",
    "CONSUME_START_TIME",
    "TRAN_PREPARED_QUEUE_OFFSET",
    "TRANSACTION_CHECK_TIMES",
    "CHECK_IMMUNITY_TIME_IN_SECONDS",
    "INSTANCE_ID",
    "__SHARDINGKEY",
    "CORRELATION_ID",
    "REPLY_TO_CLIENT",
    "TTL",
    "ARRIVE_TIME",
    "PUSH_REPLY_TIME",
    "CLUSTER",
    "MSG_TYPE",
    "INNER_MULTI_QUEUE_OFFSET",
    "INNER_MULTI_DISPATCH",
    "INNER_BASE",
    "_INNER_NUM",
    "TIMER_DELAY_SEC",
    "eventId",
    "sequence",
    "groupId",
    "part",
    "synthetic",
    "replayed",
];

/// Attributes that a plugin may name, and bytes of one name.
const SELECTED_MAX: usize = 64;

pub(super) fn check_selection(names: &[&str]) -> Result<(), String> {
    if names.len() > SELECTED_MAX {
        let count = names.len();
        return Err(format!(
            "it names {count} attributes; the limit is {SELECTED_MAX}"
        ));
    }
    match names.iter().find(|name| name.len() > SELECTED_MAX) {
        Some(name) => Err(format!(
            "it names an attribute of {} bytes; the limit is {SELECTED_MAX}",
            name.len()
        )),
        None => Ok(()),
    }
}

pub(super) fn check(messages: &[Message]) -> Result<(), String> {
    if messages.len() > MESSAGES_MAX {
        return Err(format!(
            "{} messages for one event; the limit is {MESSAGES_MAX}",
            messages.len()
        ));
    }
    let bytes: usize = messages
        .iter()
        .map(|message| message.body.len() + properties_bytes(message))
        .sum();
    if bytes > OUTPUT_BYTES_MAX {
        return Err(format!(
            "{bytes} bytes for one event; the limit is {OUTPUT_BYTES_MAX}"
        ));
    }
    messages.iter().try_for_each(check_message)
}

fn check_message(message: &Message) -> Result<(), String> {
    if message.body.is_empty() {
        return Err("the body is empty".to_owned());
    }
    let bytes = properties_bytes(message);
    if bytes > PROPERTIES_BYTES_MAX {
        return Err(format!(
            "tag, keys and properties take {bytes} bytes; the limit is {PROPERTIES_BYTES_MAX}"
        ));
    }
    if let Some(key) = message
        .keys
        .iter()
        .find(|key| key.is_empty() || key.contains(char::is_whitespace))
    {
        return Err(format!("key {key:?} is empty or has a blank"));
    }
    let names = message.properties.iter().map(|(name, _)| name);
    for name in names {
        if name.is_empty() || RESERVED_PROPERTIES.contains(&name.as_str()) {
            return Err(format!("property {name:?} is reserved or empty"));
        }
    }
    let values = message.properties.iter().flat_map(|(n, v)| [n, v]);
    if let Some(text) = message
        .tag
        .iter()
        .chain(&message.keys)
        .chain(values)
        .find(|text| text.contains(['\u{1}', '\u{2}']))
    {
        return Err(format!("{text:?} has U+0001 or U+0002"));
    }
    Ok(())
}

fn properties_bytes(message: &Message) -> usize {
    let pairs = message.properties.iter().map(|(n, v)| n.len() + v.len());
    message.tag.as_ref().map_or(0, String::len)
        + message.keys.iter().map(String::len).sum::<usize>()
        + pairs.sum::<usize>()
}
