//! Validated names. Whoever holds one need not check it again.

use std::fmt;
use std::sync::Arc;

/// Why a text is not the name it should be. The message says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {value:?} {problem}")]
pub struct ParseNameError {
    /// What the text should have been, such as `group id`.
    pub kind: &'static str,
    /// The text, cut to 80 characters.
    pub value: String,
    /// What is wrong and what would be right.
    pub problem: &'static str,
}

impl ParseNameError {
    fn new(kind: &'static str, value: &str, problem: &'static str) -> Self {
        Self {
            kind,
            value: value.chars().take(80).collect(),
            problem,
        }
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and keeps it.
            ///
            /// # Errors
            ///
            /// Says what is wrong with `text` and what would be right.
            pub fn parse(text: &str) -> Result<Self, ParseNameError> {
                let check: fn(&str) -> Option<&'static str> = $check;
                match check(text) {
                    None => Ok(Self(text.into())),
                    Some(problem) => Err(ParseNameError::new($kind, text, problem)),
                }
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = ParseNameError;

            fn try_from(text: &str) -> Result<Self, ParseNameError> {
                Self::parse(text)
            }
        }
    };
}

fn is_word(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

name!(
    /// A group of devices: `GID_…` or `GID-…`, 7 to 64 characters of `A-Z a-z 0-9 - _`
    /// (ApsaraMQ for MQTT, "Manage groups").
    GroupId,
    "group id",
    |text| {
        if !(text.starts_with("GID_") || text.starts_with("GID-")) {
            Some("must start with GID_ or GID-")
        } else if !(7..=64).contains(&text.len()) {
            Some("must have 7 to 64 characters")
        } else if !is_word(text) {
            Some("may have letters, digits, - and _ only")
        } else {
            None
        }
    }
);

name!(
    /// An MQTT client id. [`ClientId::parse`] takes every id that MQTT allows up to 256 bytes
    /// without control characters; [`ClientId::parse_apsaramq`] wants `<GroupID>@@@<DeviceID>`.
    ClientId,
    "client id",
    |text| {
        if text.is_empty() {
            Some("must not be empty")
        } else if text.len() > 256 {
            Some("must not be longer than 256 bytes")
        } else if text.chars().any(char::is_control) {
            Some("must not have control characters")
        } else {
            None
        }
    }
);

impl ClientId {
    /// Checks that `text` is `<GroupID>@@@<DeviceID>`, at most 64 characters, letters, digits,
    /// `-` and `_` in both parts (ApsaraMQ for MQTT, "Limits").
    ///
    /// # Errors
    ///
    /// Says what is wrong with `text`.
    pub fn parse_apsaramq(text: &str) -> Result<Self, ParseNameError> {
        let fail = |problem| Err(ParseNameError::new("client id", text, problem));
        let Some((group, device)) = text.split_once("@@@") else {
            return fail("must be <GroupID>@@@<DeviceID>");
        };
        if text.len() > 64 {
            return fail("must not be longer than 64 characters");
        }
        if device.is_empty() || !is_word(device) {
            return fail("must end in a device id of letters, digits, - and _");
        }
        GroupId::parse(group)?;
        Self::parse(text)
    }

    /// The group that the id names, if it has the form `<GroupID>@@@<DeviceID>`.
    #[must_use]
    pub fn group(&self) -> Option<GroupId> {
        let (group, _) = self.0.split_once("@@@")?;
        GroupId::parse(group).ok()
    }
}

name!(
    /// A rule's name: 3 to 64 of letters, digits, `-`, `_`, with at least one letter or digit
    /// (ApsaraMQ for MQTT, "Manage rules").
    RuleId,
    "rule id",
    |text| {
        if !(3..=64).contains(&text.len()) {
            Some("must have 3 to 64 characters")
        } else if !is_word(text) {
            Some("may have letters, digits, - and _ only")
        } else if !text.bytes().any(|b| b.is_ascii_alphanumeric()) {
            Some("must have at least one letter or digit")
        } else {
            None
        }
    }
);

name!(
    /// A RocketMQ instance as the configuration names it: 1 to 64 of letters, digits, `-`, `_`.
    InstanceId,
    "instance id",
    |text| {
        if text.is_empty() || text.len() > 64 || !is_word(text) {
            Some("must have 1 to 64 letters, digits, - and _")
        } else {
            None
        }
    }
);

name!(
    /// A RocketMQ topic: 1 to 127 of letters, digits, `%`, `|`, `-`, `_` (RocketMQ 4.x, `Validators`).
    TopicName,
    "topic",
    |text| {
        if text.is_empty() || text.len() > 127 {
            Some("must have 1 to 127 characters")
        } else if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"%|-_".contains(&b)) {
            Some("may have letters, digits, %, |, - and _ only")
        } else if text == "TBW102" {
            Some("is the name of RocketMQ's own template topic")
        } else {
            None
        }
    }
);

name!(
    /// A parent topic of MQTT: the first level, which rules name; 3 to 64 of letters, digits, `-`, `_`
    /// (ApsaraMQ for MQTT, "Limits").
    MqttTopic,
    "MQTT topic",
    |text| {
        if text.contains('/') {
            Some("must be a parent topic, without the levels below it")
        } else if !(3..=64).contains(&text.len()) {
            Some("must have 3 to 64 characters")
        } else if !is_word(text) {
            Some("may have letters, digits, - and _ only")
        } else {
            None
        }
    }
);

impl MqttTopic {
    /// Whether both name the same topic: letters differ by case only for the eye.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

name!(
    /// A plugin's name: 1 to 64 of `a-z 0-9 -`.
    PluginName,
    "plugin name",
    |text| {
        if text.is_empty() || text.len() > 64 {
            Some("must have 1 to 64 characters")
        } else if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            Some("may have lower-case letters, digits and - only")
        } else {
            None
        }
    }
);

/// SHA-256 of a plugin's bytes; printed as `sha256:<64 hex digits>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PluginDigest(pub [u8; 32]);

impl PluginDigest {
    /// Reads `sha256:<64 hex digits>`.
    ///
    /// # Errors
    ///
    /// Says that `text` has another form.
    pub fn parse(text: &str) -> Result<Self, ParseNameError> {
        let fail = || ParseNameError::new("plugin digest", text, "must be sha256:<64 hex digits>");
        let hex = text.strip_prefix("sha256:").ok_or_else(fail)?;
        if hex.len() != 64 || !hex.is_ascii() {
            return Err(fail());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| fail())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| fail())?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for PluginDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests;
