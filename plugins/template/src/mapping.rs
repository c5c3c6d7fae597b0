//! From the configuration to compiled templates, and from an event to its message.
//!
//! A template is tried out when the rule is saved, on an event of each type, with and without what not
//! every client has. So what it cannot map is said to who writes it, not found in dead letters.

mod context;
mod engine;
mod samples;
mod to_json;

use std::collections::BTreeMap;

use rulemill_sdk::{Event, MapError, Message, StatusRule, config};
use serde::Deserialize;

use context::Names;
use engine::{Failure, Scale, Text};

/// A body's source, bytes.
const BODY_SOURCE_BYTES_MAX: usize = 64 * 1024;
/// Any other source, bytes.
const SOURCE_BYTES_MAX: usize = 4 * 1024;
const KEYS_MAX: usize = 16;
const PROPERTIES_MAX: usize = 32;

/// The mapping with its compiled templates.
#[derive(Debug)]
pub struct Template {
    /// `None`: the event type.
    tag: Option<Text>,
    /// `None`: client id and channel id.
    keys: Option<Vec<Text>>,
    properties: Vec<(String, Text)>,
    body: Text,
    /// What of an event the templates use.
    names: Names,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    tag: Option<String>,
    keys: Option<Vec<String>>,
    #[serde(default)]
    properties: BTreeMap<String, String>,
    body: String,
}

impl StatusRule for Template {
    fn init(config: &str) -> Result<Self, String> {
        let template = Self::compile(config::read(config)?)
            .map_err(|reason| format!("bad configuration: {reason}"))?;
        for (what, event) in samples::all() {
            match template.map(&event) {
                Ok(_) | Err(Failure::Rejected(_)) => {}
                Err(Failure::Broken(reason)) => {
                    return Err(format!("bad configuration: {reason}, {what}"));
                }
            }
        }
        Ok(template)
    }

    fn attributes(&self) -> Option<Vec<&str>> {
        self.names.attributes()
    }

    fn map_event(&self, event: &Event) -> Result<Vec<Message>, MapError> {
        self.map(event).map_err(|failure| match failure {
            Failure::Rejected(reason) | Failure::Broken(reason) => MapError::Rejected(reason),
        })
    }
}

impl Template {
    fn compile(config: Config) -> Result<Self, String> {
        let (n_keys, n_properties) = (
            config.keys.as_ref().map_or(0, Vec::len),
            config.properties.len(),
        );
        if n_keys > KEYS_MAX {
            return Err(format!("keys: {n_keys} keys; the limit is {KEYS_MAX}"));
        }
        if n_properties > PROPERTIES_MAX {
            return Err(format!(
                "properties: {n_properties} properties; the limit is {PROPERTIES_MAX}"
            ));
        }
        let mut names = Names::default();
        let mut small = |field: String, source| {
            Text::compile(field, source, SOURCE_BYTES_MAX, Scale::Small, &mut names)
        };
        let tag = config
            .tag
            .map(|source| small("tag".to_owned(), source))
            .transpose()?;
        let key = |(at, source)| small(format!("keys[{at}]"), source);
        let keys = config
            .keys
            .map(|sources| sources.into_iter().enumerate().map(key).collect())
            .transpose()?;
        let mut properties = Vec::with_capacity(n_properties);
        for (name, source) in config.properties {
            let field = format!("properties.{name}");
            let text = Text::compile(field, source, SOURCE_BYTES_MAX, Scale::Small, &mut names)?;
            properties.push((name, text));
        }
        let body = Text::compile(
            "body".to_owned(),
            config.body,
            BODY_SOURCE_BYTES_MAX,
            Scale::Body,
            &mut names,
        )?;
        Ok(Self {
            tag,
            keys,
            properties,
            body,
            names,
        })
    }

    /// What renders to nothing is left out; without a body there is no message.
    fn map(&self, event: &Event) -> Result<Vec<Message>, Failure> {
        let context = self.names.context(event);
        let body = self.body.render(&context)?;
        if body.trim().is_empty() {
            return Ok(Vec::new());
        }
        let mut message = Message::new(body);
        match &self.tag {
            None => message = message.tag(event.event_type.as_str()),
            Some(text) => {
                let tag = text.render(&context)?;
                if !tag.is_empty() {
                    message = message.tag(tag);
                }
            }
        }
        message = match &self.keys {
            None => message.keys(event.keys()),
            Some(texts) => message.keys(keys(texts, &context)?),
        };
        for (name, text) in &self.properties {
            let value = text.render(&context)?;
            if !value.is_empty() {
                message = message.property(name, value);
            }
        }
        Ok(vec![message])
    }
}

fn keys(texts: &[Text], context: &minijinja::Value) -> Result<Vec<String>, Failure> {
    let mut keys = Vec::with_capacity(texts.len());
    for text in texts {
        let key = text.render(context)?;
        if key.contains(char::is_whitespace) {
            // RocketMQ would read two keys; the host calls it a fault.
            return Err(Failure::Broken(format!(
                "{}: {key:?} has a blank, at which RocketMQ splits keys",
                text.field()
            )));
        }
        if !key.is_empty() {
            keys.push(key);
        }
    }
    Ok(keys)
}
