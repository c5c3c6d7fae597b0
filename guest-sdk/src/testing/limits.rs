//! What the host refuses in messages, with its default limits.

use crate::Message;

const MESSAGES_MAX: usize = 16;
const OUTPUT_BYTES_MAX: usize = 3 * 1024 * 1024;
/// Tag, keys and properties together; the host's count has a few bytes more per entry.
const PROPERTIES_BYTES_MAX: usize = 30_000;

/// What the host sets itself. `RocketMQ`'s own names are refused by the host as well.
const RESERVED: [&str; 8] = [
    "eventId",
    "sequence",
    "groupId",
    "part",
    "synthetic",
    "replayed",
    "KEYS",
    "TAGS",
];

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
        .find(|key| key.contains(char::is_whitespace))
    {
        return Err(format!("key {key:?} has a blank"));
    }
    let names = message.properties.iter().map(|(name, _)| name);
    for name in names {
        if name.is_empty() || RESERVED.contains(&name.as_str()) {
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
