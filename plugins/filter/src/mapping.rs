//! Which events pass, and what becomes of those that do not: they are skipped and counted.
//!
//! A list under `include` lets pass only what it names, one under `exclude` what it does not; where
//! both name something, `exclude` wins. A `connect` has no reason, so lists of reasons do not concern
//! it.

use rulemill_sdk::{CloseReason, Event, EventType, MapError, Message, StatusRule, config, host};
use serde::Deserialize;

use crate::formats::{Format, FormatName};
use crate::glob::Glob;

/// Patterns under one `clients`.
const PATTERNS_MAX: usize = 256;

/// The filter with what follows it.
#[derive(Debug)]
pub struct Filter {
    include: Lists,
    exclude: Lists,
    format: Format,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    include: Lists,
    exclude: Lists,
    /// The mapping of what passes.
    then: FormatName,
    /// The configuration of that mapping.
    config: serde_json::Map<String, serde_json::Value>,
}

/// `None`: the list says nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Lists {
    event_types: Option<Vec<EventType>>,
    reasons: Option<Vec<CloseReason>>,
    clients: Option<Vec<Glob>>,
}

impl StatusRule for Filter {
    fn init(config: &str) -> Result<Self, String> {
        let config: Config = config::read(config)?;
        for (side, lists) in [("include", &config.include), ("exclude", &config.exclude)] {
            let patterns = lists.clients.as_ref().map_or(0, Vec::len);
            if patterns > PATTERNS_MAX {
                return Err(format!(
                    "bad configuration: {side}.clients: {patterns} patterns; the limit is {PATTERNS_MAX}"
                ));
            }
        }
        let of_format = serde_json::Value::Object(config.config).to_string();
        let format = Format::start(config.then, &of_format)
            .map_err(|error| format!("in `config`, which is that of `then`: {error}"))?;
        Ok(Self {
            include: config.include,
            exclude: config.exclude,
            format,
        })
    }

    fn attributes(&self) -> Option<Vec<&str>> {
        let mut names = self.format.attributes()?;
        let reads_reason = |lists: &Lists| lists.reasons.is_some();
        if reads_reason(&self.include) || reads_reason(&self.exclude) {
            names.push("reason");
        }
        Some(names)
    }

    fn map_event(&self, event: &Event) -> Result<Vec<Message>, MapError> {
        match self.objection(event) {
            Some(counter) => {
                host::add(counter, 1);
                Ok(Vec::new())
            }
            None => self.format.map_event(event),
        }
    }
}

impl Filter {
    /// The counter of what stops `event`; none: it passes.
    fn objection(&self, event: &Event) -> Option<&'static str> {
        let has_type = |lists: &Lists| {
            let types = lists.event_types.as_ref()?;
            Some(types.contains(&event.event_type))
        };
        let has_reason = |lists: &Lists| {
            let reasons = lists.reasons.as_ref()?;
            event.attribute("reason")?;
            Some(
                event
                    .close_reason()
                    .is_some_and(|reason| reasons.contains(&reason)),
            )
        };
        let has_client = |lists: &Lists| {
            let clients = lists.clients.as_ref()?;
            Some(clients.iter().any(|glob| glob.matches(&event.client_id)))
        };
        if self.stops(has_type) {
            Some("filtered_event_type")
        } else if self.stops(has_reason) {
            Some("filtered_reason")
        } else if self.stops(has_client) {
            Some("filtered_client")
        } else {
            None
        }
    }

    /// Whether a list stops the event; `names` says whether a side names it, `None` that there is no such list.
    fn stops(&self, names: impl Fn(&Lists) -> Option<bool>) -> bool {
        names(&self.include) == Some(false) || names(&self.exclude) == Some(true)
    }
}
