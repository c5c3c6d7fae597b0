//! `rulemill messages`.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::api::encode;
use super::connection::Connection;
use super::failure::{Exit, Failure};
use super::output::{field, items, print_line, printable, talk};
use super::rule::only_instance;

/// What the answer may take beyond the time of the reading itself.
const ANSWER_MARGIN: Duration = Duration::from_secs(30);
/// The host's limit.
const TIMEOUT_SECONDS_MAX: f64 = 600.0;

#[derive(Debug, Args)]
pub(super) struct MessagesArgs {
    /// The RocketMQ instance, by its name in the configuration; the only one by default.
    #[arg(long, value_name = "INSTANCE")]
    instance: Option<String>,
    /// The topic.
    #[arg(long, value_name = "TOPIC")]
    topic: String,
    /// Begin with the oldest message; without it, only what comes from now on is shown.
    #[arg(long)]
    from_start: bool,
    /// End after this many; exit 1 if fewer came in time.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// How long to wait, seconds.
    #[arg(long, value_name = "S", default_value_t = 10.0, value_parser = parse_seconds)]
    timeout: f64,
    /// The same as --output json: one line of JSON per message.
    #[arg(long)]
    json: bool,
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=TIMEOUT_SECONDS_MAX).contains(&seconds) => Ok(seconds),
        _ => Err(format!(
            "must be a number of seconds from 0 to {TIMEOUT_SECONDS_MAX}"
        )),
    }
}

impl MessagesArgs {
    pub(super) fn run(self, connection: &Connection) -> Result<(), Failure> {
        let api = connection.api()?;
        let instance = match self.instance {
            Some(instance) => instance,
            None => only_instance(&api)?,
        };
        let timeout = Duration::from_secs_f64(self.timeout);
        let mut path = format!(
            "/v1/rocketmq-instances/{}/topics/{}/messages?fromStart={}&timeoutMs={}",
            encode(&instance),
            encode(&self.topic),
            self.from_start,
            timeout.as_millis()
        );
        if let Some(count) = self.count {
            path.push_str(&format!("&count={count}"));
        }
        let is_json = self.json || connection.is_json();
        let mut came = 0_u64;
        for line in api.lines(&path, timeout + ANSWER_MARGIN)? {
            let line = line.map_err(|error| {
                let message = format!(
                    "reading broke off after {came} messages: {error}; the host's log says why"
                );
                Failure::new(Exit::Failed, message)
            })?;
            print_line(&if is_json { line } else { readable(&line) })?;
            came += 1;
        }
        match self.count {
            Some(count) if came < count => {
                let message = format!("{came} of {count} messages came within {} s", self.timeout);
                Err(Failure::new(Exit::Failed, message))
            }
            None if came == 0 => {
                talk(format_args!(
                    "no message; --from-start shows older ones, --timeout waits longer"
                ));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// `queue:offset tag [keys] {properties} body` on one line.
fn readable(line: &str) -> String {
    let Ok(message) = serde_json::from_str::<Value>(line) else {
        return line.to_owned();
    };
    let keys: Vec<&str> = items(&message, "keys")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let pair =
        |(name, value): (&String, &Value)| format!("{name}={}", value.as_str().unwrap_or_default());
    let properties: Vec<String> = message
        .get("properties")
        .and_then(Value::as_object)
        .map(|all| all.iter().map(pair).collect())
        .unwrap_or_default();
    let body = match message.get("bodyBase64") {
        Some(_) => format!("base64:{}", field(&message, "/bodyBase64")),
        None => field(&message, "/body"),
    };
    let text = format!(
        "{}:{} {} [{}] {{{}}} {body}",
        field(&message, "/queueId"),
        field(&message, "/queueOffset"),
        field(&message, "/tag"),
        keys.join(" "),
        properties.join(" ")
    );
    printable(&text)
}

#[cfg(test)]
mod tests {
    use super::{parse_seconds, readable};

    #[test]
    fn a_message_is_one_readable_line() {
        let line = r#"{"topic":"T","queueId":1,"queueOffset":7,"tag":"connect","keys":["a","b"],"properties":{"p":"v"},"body":"x\ny"}"#;
        assert_eq!(readable(line), "1:7 connect [a b] {p=v} x y");
    }

    #[test]
    fn a_timeout_has_its_limits() {
        assert!(parse_seconds("0.5").is_ok());
        for wrong in ["-1", "601", "NaN", "ten"] {
            assert!(parse_seconds(wrong).is_err(), "{wrong}");
        }
    }
}
