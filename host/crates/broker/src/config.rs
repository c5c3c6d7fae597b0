//! The limits of the broker. Every one is enforced where the thing is added, and counted.

use std::time::Duration;

/// The limits of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerConfig {
    /// Open channels; one more CONNECT is refused. A client that takes itself over needs no second.
    pub connections_max: usize,
    /// Known clients without a channel, with their sessions. At the limit the one that has been
    /// offline longest is forgotten. Held in 64 equal parts, so one part may be full a little earlier.
    pub offline_clients_max: usize,
    /// How long a session outlives its connection at most; a client that asks for more gets this.
    pub session_expiry_max: Duration,
    /// Messages that wait for one client; at the limit new ones are dropped and counted.
    pub session_queue_max: usize,
    /// Bytes of all messages that wait for all clients; at the limit new ones are dropped and counted.
    pub queued_bytes_max: usize,
    /// Subscriptions of one client; one more is refused.
    pub subscriptions_max: usize,
    /// Levels of a topic or filter; a longer one is refused. Bounds the recursion of the matcher.
    pub topic_levels_max: usize,
    /// Retained messages; a message for one more topic is delivered but not retained, and counted.
    pub retained_max: usize,
    /// Bytes of all retained messages; as `retained_max`.
    pub retained_bytes_max: usize,
}

impl BrokerConfig {
    /// The limits that a host gets which only says how many connections it wants.
    #[must_use]
    pub fn with_connections_max(connections_max: usize) -> Self {
        Self {
            connections_max,
            // About 1 KiB each: 100 MiB when full.
            offline_clients_max: 100_000,
            // Three days, as ApsaraMQ for MQTT keeps offline messages.
            session_expiry_max: Duration::from_secs(3 * 24 * 60 * 60),
            // A device that was away for minutes catches up; one that was away for days should not.
            session_queue_max: 1_000,
            queued_bytes_max: 512 * 1024 * 1024,
            // ApsaraMQ advises 30; some gateways have more.
            subscriptions_max: 100,
            // ApsaraMQ advises 3; 64 is far beyond any design and far from the stack's end.
            topic_levels_max: 64,
            retained_max: 100_000,
            retained_bytes_max: 128 * 1024 * 1024,
        }
    }
}
