//! What a template sees of an event.
//!
//! Only what the templates use is made, since most of them use a few of some twenty values.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use minijinja::Value;
use minijinja::value::{Enumerator, Object};
use rulemill_sdk::Event;

/// The fields of every event.
const FIELDS: [&str; 9] = [
    "eventId",
    "eventType",
    "clientId",
    "groupId",
    "deviceId",
    "channelId",
    "clientIp",
    "time",
    "sequence",
];

/// The attributes that have a name of their own; others are found in `attributes`.
const ATTRIBUTES: [&str; 12] = [
    "reason",
    "protocol",
    "listener",
    "username",
    "keepAlive",
    "cleanStart",
    "sessionPresent",
    "connectedAt",
    "certificateChainSn",
    "node",
    "instance",
    "synthetic",
];

/// All attributes by name.
const ALL_ATTRIBUTES: &str = "attributes";

/// The names of values that templates use.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeSet<&'static str>);

impl Names {
    /// Notes what `source` may use: every name that stands in it, if only as a part of a word. The
    /// engine's own list of variables leaves out some, such as those in slices.
    pub(crate) fn note(&mut self, source: &str) {
        self.0.extend(all().filter(|name| source.contains(name)));
    }

    /// The attributes among them; none: all that there are.
    pub(crate) fn attributes(&self) -> Option<Vec<&str>> {
        if self.0.contains(ALL_ATTRIBUTES) {
            return None;
        }
        let names = self.0.iter().copied();
        Some(names.filter(|name| ATTRIBUTES.contains(name)).collect())
    }

    /// The values of `event`; an attribute that it does not have is undefined.
    pub(crate) fn context(&self, event: &Event) -> Value {
        let values = self
            .0
            .iter()
            .filter_map(|name| Some((*name, value(event, name)?)))
            .collect();
        Value::from_object(Context(values))
    }
}

/// Every name there is, for a message.
pub(crate) fn all() -> impl Iterator<Item = &'static str> {
    FIELDS.into_iter().chain(ATTRIBUTES).chain([ALL_ATTRIBUTES])
}

fn value(event: &Event, name: &str) -> Option<Value> {
    let text = match name {
        "eventId" => &event.event_id,
        "eventType" => return Some(Value::from(event.event_type.as_str())),
        "clientId" => &event.client_id,
        "groupId" => &event.group_id,
        "deviceId" => {
            let device = event.client_id.split_once("@@@");
            return Some(Value::from(
                device.map_or(event.client_id.as_str(), |(_, device)| device),
            ));
        }
        "channelId" => &event.channel_id,
        "clientIp" => &event.client_ip,
        "time" => return Some(Value::from(event.time)),
        "sequence" => return Some(Value::from(event.sequence)),
        ALL_ATTRIBUTES => {
            return Some(Value::from_object(Attributes(event.attributes.clone())));
        }
        _ => return event.attribute(name).map(Value::from),
    };
    Some(Value::from(text.as_str()))
}

struct Context(Vec<(&'static str, Value)>);

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("event")
    }
}

impl Object for Context {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let found = self.0.iter().find(|(name, _)| *name == key);
        found.map(|(_, value)| value.clone())
    }
}

#[derive(Debug)]
struct Attributes(Vec<(String, String)>);

impl Object for Attributes {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let found = self.0.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| Value::from(value.as_str()))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let names = self.0.iter().map(|(name, _)| Value::from(name.as_str()));
        Enumerator::Values(names.collect())
    }
}
