//! Between the domain's values and those of the contract.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use domain::{AttributeName, EventType, Mapping, OutboundMessage, RejectEvent, StatusEvent};

use crate::bindings::exports::rulemill::rule::status_mapper::{Event, MapError, Message};
use crate::bindings::rulemill::rule::status;
use crate::config::RuntimeConfig;
use crate::fault::MapperFault;
use crate::plain_text::shortened;

/// A plugin's reason for a refusal; more is cut, since it is stored with every event that it refuses.
const REASON_BYTES_MAX: usize = 2048;

/// A socket address of IPv6 with a scope as text: written at once, without growing.
const ADDRESS_BYTES_MAX: usize = 64;

/// The texts of an event, from which the contract's record borrows.
pub(crate) struct EventTexts<'a> {
    event: &'a StatusEvent,
    event_id: String,
    channel_id: String,
    client_ip: String,
    attributes: Vec<(&'static str, Cow<'a, str>)>,
}

impl<'a> EventTexts<'a> {
    /// Those of `event` with these attributes.
    pub(crate) fn of(
        event: &'a StatusEvent,
        attributes: &[AttributeName],
        config: &'a RuntimeConfig,
    ) -> Self {
        let mut client_ip = String::with_capacity(ADDRESS_BYTES_MAX);
        // Writing to a string does not fail.
        let _: fmt::Result = write!(client_ip, "{}", event.channel.client_address);
        Self {
            event,
            event_id: event.event_id.to_string(),
            channel_id: event.channel.channel_id.to_string(),
            client_ip,
            attributes: event.attributes_of(attributes, &config.node, &config.instance),
        }
    }

    /// The attributes as the record wants them.
    pub(crate) fn attributes(&self) -> Vec<(&str, &str)> {
        self.attributes
            .iter()
            .map(|(name, value)| (*name, value.as_ref()))
            .collect()
    }

    /// The record.
    pub(crate) fn record<'b>(&'b self, attributes: &'b [(&'b str, &'b str)]) -> Event<'b> {
        let channel = &self.event.channel;
        Event {
            event_type: match self.event.event_type {
                EventType::Connect => status::EventType::Connect,
                EventType::Disconnect => status::EventType::Disconnect,
                EventType::TcpClean => status::EventType::Tcpclean,
            },
            client_id: channel.client_id.as_str(),
            group_id: channel
                .group_id
                .as_ref()
                .map_or("", domain::GroupId::as_str),
            channel_id: &self.channel_id,
            client_ip: &self.client_ip,
            time: self.event.time_ms,
            sequence: self.event.sequence.0,
            event_id: &self.event_id,
            attributes,
        }
    }
}

/// A plugin's answer as a verdict.
pub(crate) fn mapping(
    answer: Result<Vec<Message>, MapError>,
    config: &RuntimeConfig,
) -> Result<Mapping, MapperFault> {
    let messages = match answer {
        Ok(messages) => messages,
        Err(MapError::Rejected(reason)) => {
            let reason = shortened(reason, REASON_BYTES_MAX);
            return Ok(Mapping::Reject(RejectEvent::Rejected(reason)));
        }
        Err(MapError::Retry(reason)) => {
            let reason = shortened(reason, REASON_BYTES_MAX);
            return Ok(Mapping::Reject(RejectEvent::Retry(reason)));
        }
    };
    if messages.len() > config.messages_max {
        let (made, limit) = (messages.len(), config.messages_max);
        let detail = format!(
            "{made} messages for one event; the limit is {limit}; make fewer, or raise plugins.messages-max"
        );
        return Err(MapperFault::OutputTooLarge { detail });
    }
    let bytes = messages.iter().map(bytes_of).sum::<usize>();
    if bytes > config.output_bytes_max {
        let limit = config.output_bytes_max;
        let detail = format!(
            "{bytes} bytes for one event; the limit is {limit}; make the messages smaller, or raise plugins.output-max"
        );
        return Err(MapperFault::OutputTooLarge { detail });
    }
    let messages = messages
        .into_iter()
        .map(outbound)
        .collect::<Result<_, _>>()?;
    Ok(Mapping::Deliver(messages))
}

fn bytes_of(message: &Message) -> usize {
    message.body.len()
        + message.tag.as_ref().map_or(0, String::len)
        + message.keys.iter().map(String::len).sum::<usize>()
        + message
            .properties
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum::<usize>()
}

fn outbound(message: Message) -> Result<OutboundMessage, MapperFault> {
    let message = OutboundMessage {
        tag: message.tag,
        keys: message.keys,
        properties: message.properties,
        body: message.body,
    };
    message.check().map_err(MapperFault::IllegalMessage)?;
    Ok(message)
}
