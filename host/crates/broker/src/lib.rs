//! MQTT semantics without sockets: who is connected, what they subscribed to, what waits for them.
//!
//! It owns the order of a client's status events: every `opened` and `closing` of a client is called
//! under the lock of its shard. It does not own sockets, packets or authentication, and it stores
//! nothing on disk: sessions and retained messages end with the process.

#![warn(missing_docs, missing_debug_implementations)]

mod broker;
mod channel;
mod clients;
mod config;
mod connection;
mod message;
mod outbound;
mod registry;
mod retained;
mod router;
mod session;
mod stats;
mod topic;
mod will;

pub use broker::Broker;
pub use clients::{ClientFilter, ClientPage, ClientView};
pub use config::BrokerConfig;
pub use connection::{
    ConnectRequest, Connected, Connection, Published, RefuseClientError, SubscribeError,
};
pub use message::{Delivery, Message, Properties, QoS, SubscriptionOptions};
pub use outbound::{Credit, NextDelivery, Outbound};
pub use stats::{RefusalReason, Stats, StatsSnapshot};
pub use topic::CheckTopicError;
pub use will::Will;

#[cfg(test)]
mod tests;
