//! Reads a rule's configuration into a plugin's own type. Feature `config`.
//!
//! The error is what the editor of a rule gets to see, so it says where in the configuration the
//! mistake is, not where in the text: the host writes the text anew.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::EventType;

/// The configuration `config` as a `T`; an empty text is an empty object.
///
/// Derive `Deserialize` for `T` with `#[serde(deny_unknown_fields)]`, else a misspelt setting is
/// ignored.
///
/// # Errors
///
/// Names the setting and what is wrong with it.
pub fn read<T: DeserializeOwned>(config: &str) -> Result<T, String> {
    from_object(object(config)?)
}

/// The configuration of a plugin without settings.
///
/// # Errors
///
/// Names a setting that was given all the same.
pub fn none(config: &str) -> Result<(), String> {
    match object(config)?.keys().next() {
        None => Ok(()),
        Some(name) => Err(format!(
            "bad configuration: unknown setting {name}: this plugin has no settings"
        )),
    }
}

/// An object, since serde would take a list for a struct as well.
fn object(config: &str) -> Result<Map<String, Value>, String> {
    if config.trim().is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_str(config).map_err(|error| format!("bad configuration: {error}"))
}

fn from_object<T: DeserializeOwned>(object: Map<String, Value>) -> Result<T, String> {
    serde_path_to_error::deserialize(Value::Object(object)).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        if path == "." {
            format!("bad configuration: {inner}")
        } else {
            format!("bad configuration: {path}: {inner}")
        }
    })
}

impl<'de> serde::Deserialize<'de> for EventType {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Name {
            Connect,
            Disconnect,
            Tcpclean,
        }
        Ok(match Name::deserialize(deserializer)? {
            Name::Connect => Self::Connect,
            Name::Disconnect => Self::Disconnect,
            Name::Tcpclean => Self::Tcpclean,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::{none, read};
    use crate::EventType;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    struct Config {
        region: String,
        #[serde(default)]
        only: Inner,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, rename_all = "camelCase", default)]
    struct Inner {
        event_types: Vec<EventType>,
    }

    fn refusal(config: &str) -> String {
        read::<Config>(config).unwrap_err()
    }

    #[test]
    fn a_configuration_becomes_the_type() {
        let config: Config = read(r#"{"region":"eu","only":{"eventTypes":["tcpclean"]}}"#).unwrap();
        assert_eq!(config.region, "eu");
        assert_eq!(config.only.event_types, [EventType::Tcpclean]);
    }

    #[test]
    fn nothing_is_an_empty_object() {
        assert_eq!(read::<Inner>("").unwrap(), Inner::default());
        assert_eq!(read::<Inner>(" ").unwrap(), read::<Inner>("{}").unwrap());
    }

    #[test]
    fn an_error_says_where_the_mistake_is() {
        for (config, path, what) in [
            ("{}", "region", "missing field"),
            (r#"{"region":1}"#, "region", "expected a string"),
            (r#"{"region":"eu","zone":1}"#, "zone", "unknown field"),
            (
                r#"{"region":"eu","only":{"eventTypes":["connect","gone"]}}"#,
                "only.eventTypes[1]",
                "`tcpclean`",
            ),
            ("[]", "sequence", "expected a map"),
            ("{", "EOF", "bad configuration"),
        ] {
            let error = refusal(config);
            assert!(
                error.contains(path) && error.contains(what),
                "{config}: {error}"
            );
        }
    }

    #[test]
    fn a_plugin_without_settings_refuses_one_by_name() {
        assert_eq!(none(""), Ok(()));
        assert_eq!(none("{}"), Ok(()));
        assert!(none(r#"{"remark":true}"#).unwrap_err().contains("remark"));
        assert!(none("[]").is_err());
    }
}
