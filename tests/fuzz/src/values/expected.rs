//! What should come of a call, and whether it did.

use domain::{Mapping, OutboundMessage, RejectEvent, StatusEvent};
use plugin_runtime::{MapperFault, MemoryScope};

use super::model::Call;
use super::{
    INSTANCE, LINE_BYTES_MAX, MESSAGES_MAX, NAME_BYTES_MAX, NAMES_MAX, NODE, OUTPUT_BYTES_MAX,
    REASON_BYTES_MAX, guest, lines,
};

pub(super) type Verdict = Result<Mapping, MapperFault>;

/// What should come of a call.
pub(super) enum Expected {
    Exactly(Verdict),
    /// The fault of a value that is none.
    Invalid,
    TooMuch,
    Anything,
}

/// The contract's own limits for what a guest returned.
pub(super) fn judge(mapping: Mapping) -> Verdict {
    let messages = match &mapping {
        Mapping::Deliver(messages) => messages,
        Mapping::Reject(RejectEvent::Rejected(why)) => {
            return Ok(Mapping::Reject(RejectEvent::Rejected(reason(why))));
        }
        Mapping::Reject(RejectEvent::Retry(why)) => {
            return Ok(Mapping::Reject(RejectEvent::Retry(reason(why))));
        }
    };
    let bytes: usize = messages
        .iter()
        .map(|message| {
            let strings = message.tag.iter().chain(&message.keys);
            let pairs = message
                .properties
                .iter()
                .map(|(name, value)| name.len() + value.len());
            message.body.len() + strings.map(String::len).sum::<usize>() + pairs.sum::<usize>()
        })
        .sum();
    if messages.len() > MESSAGES_MAX || bytes > OUTPUT_BYTES_MAX {
        let detail = String::new();
        return Err(MapperFault::OutputTooLarge { detail });
    }
    match messages.iter().find_map(|message| message.check().err()) {
        Some(error) => Err(MapperFault::IllegalMessage(error)),
        None => Ok(mapping),
    }
}

/// A reason as the host keeps it.
pub(super) fn reason(text: &str) -> String {
    if text.len() <= REASON_BYTES_MAX {
        return text.to_owned();
    }
    let beginning = &text[..text.floor_char_boundary(REASON_BYTES_MAX)];
    format!("{beginning} … ({} bytes in all)", text.len())
}

pub(super) fn compare(expected: &Expected, got: &Verdict) -> Result<(), String> {
    let is_too_much = matches!(got, Err(MapperFault::OutputTooLarge { .. }));
    let is_trap = matches!(got, Err(MapperFault::Trap { detail }) if !detail.is_empty());
    let equals = |wanted: &Verdict| match (wanted, got) {
        (Err(MapperFault::OutputTooLarge { .. }), _) => is_too_much,
        _ => wanted == got,
    };
    let (is_right, wanted) = match expected {
        Expected::Exactly(wanted) => (equals(wanted), format!("{wanted:?}")),
        Expected::Invalid => (is_trap, "a trap".to_owned()),
        Expected::TooMuch => (is_too_much, "too much output".to_owned()),
        Expected::Anything => return Ok(()),
    };
    if is_right {
        return Ok(());
    }
    let mut got = format!("{got:?}");
    got.truncate(got.floor_char_boundary(1000));
    let wanted: String = wanted.chars().take(1000).collect();
    Err(format!("should be {wanted}, but is {got}"))
}

/// Whether the machine may be to blame.
pub(super) fn is_load(fault: &MapperFault) -> bool {
    match fault {
        MapperFault::Deadline { is_cpu_time, .. } => !is_cpu_time,
        MapperFault::Memory { scope, .. } => *scope == MemoryScope::Host,
        MapperFault::NoPlace { .. } => true,
        _ => false,
    }
}

pub(super) fn kind(verdict: &Verdict) -> String {
    match verdict {
        Ok(Mapping::Deliver(messages)) => format!("delivers {}", messages.len().min(2)),
        Ok(Mapping::Reject(RejectEvent::Rejected(_))) => "rejects".to_owned(),
        Ok(Mapping::Reject(RejectEvent::Retry(_))) => "asks for a retry".to_owned(),
        Err(fault) => fault.to_string(),
    }
}

/// Lines that were written are those that were said, in their order; the rate may have cost some.
pub(super) fn check_lines(calls: &[Call]) -> Result<(), String> {
    let mut said = calls.iter().filter_map(|call| match call {
        Call::Log(line) => Some(&line[..line.floor_char_boundary(LINE_BYTES_MAX)]),
        Call::Add(..) => None,
    });
    for line in lines::take() {
        if !said.any(|wanted| wanted == line) {
            return Err(format!("the log has {line:?}, which was not said"));
        }
    }
    Ok(())
}

/// The text that the guest rejects with.
pub(super) fn nth_text(event: &StatusEvent, number: u64) -> String {
    let channel = &event.channel;
    match number {
        0 => channel.client_id.as_str().to_owned(),
        1 => channel
            .group_id
            .as_ref()
            .map_or_else(String::new, ToString::to_string),
        2 => channel.channel_id.to_string(),
        3 => channel.client_address.to_string(),
        4 => event.event_id.to_string(),
        _ => {
            let place = usize::try_from(number - guest::ATTRIBUTE_TEXTS).unwrap_or(usize::MAX);
            let attributes = event.attributes(NODE, INSTANCE);
            let (name, value) = &attributes[place / 2];
            if place.is_multiple_of(2) {
                (*name).to_owned()
            } else {
                value.to_string()
            }
        }
    }
}

/// Whether a plugin may name so many attributes of such lengths.
pub(super) fn are_few(names: &[String]) -> bool {
    names.len() <= NAMES_MAX && names.iter().all(|name| name.len() <= NAME_BYTES_MAX)
}

/// The message that holds the event, with the attributes that are `read`.
pub(super) fn record(event: &StatusEvent, read: impl Fn(&str) -> bool) -> OutboundMessage {
    let attributes = event.attributes(NODE, INSTANCE);
    OutboundMessage {
        tag: Some(nth_text(event, 1)),
        keys: vec![nth_text(event, 4)],
        properties: attributes
            .into_iter()
            .filter(|(name, _)| read(name))
            .map(|(name, value)| (name.to_owned(), value.into_owned()))
            .collect(),
        ..numbers(event)
    }
}

/// The message whose body is the event's numbers.
pub(super) fn numbers(event: &StatusEvent) -> OutboundMessage {
    let event_type = EVENT_TYPES
        .iter()
        .position(|name| *name == event.event_type.as_str());
    let mut body = vec![
        event_type
            .and_then(|at| u8::try_from(at).ok())
            .unwrap_or(u8::MAX),
    ];
    body.extend(event.time_ms.to_le_bytes());
    body.extend(event.sequence.0.to_le_bytes());
    OutboundMessage {
        tag: None,
        keys: Vec::new(),
        properties: Vec::new(),
        body,
    }
}

/// In the order of the contract.
pub(super) const EVENT_TYPES: [&str; 3] = ["connect", "disconnect", "tcpclean"];
