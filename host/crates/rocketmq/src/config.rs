//! What an instance needs to know. Values come checked; only `Debug` hides secrets.

use std::fmt;
use std::time::Duration;

use domain::{InstanceId, TopicName};

/// One RocketMQ instance.
#[derive(Clone, Debug)]
pub struct RocketmqConfig {
    /// Its name in this host; also part of the producer's client id.
    pub instance_id: InstanceId,
    /// `host:port` each, at least one.
    pub name_servers: Vec<String>,
    /// Put before topics and groups as `namespace%`; empty for none.
    pub namespace: String,
    /// Signs every request when there are any.
    pub credentials: Option<Credentials>,
    /// Encrypts and checks certificates against the system's roots.
    pub tls: bool,
    /// How long one send may take.
    pub send_timeout: Duration,
    /// The producer group.
    pub producer_group: String,
}

/// Keys of RocketMQ's access control. `Debug` prints `***`.
#[derive(Clone)]
pub struct Credentials {
    /// Names the account.
    pub access_key: String,
    /// Signs.
    pub secret_key: String,
    /// Of temporary credentials.
    pub security_token: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(***)")
    }
}

impl RocketmqConfig {
    /// `name` as the servers know it.
    pub(crate) fn with_namespace(&self, name: &str) -> String {
        if self.namespace.is_empty() {
            name.to_owned()
        } else {
            format!("{}%{name}", self.namespace)
        }
    }

    /// `topic` as the servers know it.
    pub(crate) fn wire_topic(&self, topic: &TopicName) -> String {
        self.with_namespace(topic.as_str())
    }
}
