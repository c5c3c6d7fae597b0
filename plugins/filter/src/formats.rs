//! The shipped mappings that may follow the filter, from their own sources.

#[path = "../../apsaramq-status/src/mapping.rs"]
pub mod apsaramq_status;
#[path = "../../aws-iot-lifecycle/src/mapping.rs"]
pub mod aws_iot_lifecycle;
#[path = "../../cloudevents/src/mapping.rs"]
pub mod cloudevents;
#[path = "../../emqx-events/src/mapping.rs"]
pub mod emqx_events;
#[path = "../../template/src/mapping.rs"]
pub mod template;

use rulemill_sdk::{Event, MapError, Message, StatusRule};
use serde::Deserialize;

use apsaramq_status::ApsaramqStatus;
use aws_iot_lifecycle::AwsIotLifecycle;
use cloudevents::CloudEvents;
use emqx_events::EmqxEvents;
use template::Template;

/// The name of a shipped mapping.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FormatName {
    #[default]
    ApsaramqStatus,
    AwsIotLifecycle,
    #[serde(rename = "cloudevents")]
    CloudEvents,
    EmqxEvents,
    Template,
}

/// A started mapping.
#[derive(Debug)]
pub(crate) enum Format {
    ApsaramqStatus(ApsaramqStatus),
    AwsIotLifecycle(AwsIotLifecycle),
    CloudEvents(CloudEvents),
    EmqxEvents(EmqxEvents),
    Template(Box<Template>),
}

impl Format {
    /// Starts the mapping `name` with its own configuration.
    pub(crate) fn start(name: FormatName, config: &str) -> Result<Self, String> {
        Ok(match name {
            FormatName::ApsaramqStatus => Self::ApsaramqStatus(ApsaramqStatus::init(config)?),
            FormatName::AwsIotLifecycle => Self::AwsIotLifecycle(AwsIotLifecycle::init(config)?),
            FormatName::CloudEvents => Self::CloudEvents(CloudEvents::init(config)?),
            FormatName::EmqxEvents => Self::EmqxEvents(EmqxEvents::init(config)?),
            FormatName::Template => Self::Template(Box::new(Template::init(config)?)),
        })
    }

    pub(crate) fn attributes(&self) -> Option<Vec<&str>> {
        match self {
            Self::ApsaramqStatus(rule) => rule.attributes(),
            Self::AwsIotLifecycle(rule) => rule.attributes(),
            Self::CloudEvents(rule) => rule.attributes(),
            Self::EmqxEvents(rule) => rule.attributes(),
            Self::Template(rule) => rule.attributes(),
        }
    }

    pub(crate) fn map_event(&self, event: &Event) -> Result<Vec<Message>, MapError> {
        match self {
            Self::ApsaramqStatus(rule) => rule.map_event(event),
            Self::AwsIotLifecycle(rule) => rule.map_event(event),
            Self::CloudEvents(rule) => rule.map_event(event),
            Self::EmqxEvents(rule) => rule.map_event(event),
            Self::Template(rule) => rule.map_event(event),
        }
    }
}
