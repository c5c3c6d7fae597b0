//! The properties that the SDK refuses in a plugin's native tests are those that this host refuses.

use std::collections::BTreeSet;

use crate::exports;
use domain::OutboundMessage;
use rulemill_sdk::testing::{Plugin, RESERVED_PROPERTIES, connect};
use rulemill_sdk::{Event, MapError, Message, StatusRule};

/// Sets the property that its configuration names; if that is a number, names so many attributes.
struct Setting(String);

impl StatusRule for Setting {
    fn init(config: &str) -> Result<Self, String> {
        Ok(Self(config.to_owned()))
    }

    fn attributes(&self) -> Option<Vec<&str>> {
        let count = self.0.parse().ok()?;
        Some(vec!["reason"; count])
    }

    fn map_event(&self, _event: &Event) -> Result<Vec<Message>, MapError> {
        Ok(vec![Message::new("x").property(&self.0, "1")])
    }
}

/// Whether a native test with a message that sets `name` passes.
fn passes(name: &str) -> bool {
    let plugin = Plugin::<Setting>::start(name).unwrap();
    let attempt = || drop(plugin.map(&connect().build()));
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(attempt)).is_ok()
}

#[test]
fn the_sdk_and_the_host_reserve_the_same_properties() {
    let names = |all: &[&'static str]| all.iter().copied().collect::<BTreeSet<_>>();
    assert_eq!(
        names(RESERVED_PROPERTIES),
        names(OutboundMessage::RESERVED_PROPERTIES)
    );
    for name in OutboundMessage::RESERVED_PROPERTIES {
        assert!(!passes(name), "{name}");
    }
    assert!(passes("region"));
}

#[test]
fn the_sdk_and_the_host_take_as_many_names_of_attributes() {
    let most = exports::NAMES_MAX;
    assert!(passes(&most.to_string()));
    assert!(!passes(&(most + 1).to_string()));
}
