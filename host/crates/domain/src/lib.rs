//! Nouns and pure rules of Rulemill: no IO, no async runtime, no serialisation, no engine.
//!
//! Every other crate speaks in these types. They are deliberately not `Serialize`: each boundary
//! (HTTP, store, plugin) has types of its own, so that a change here cannot change a wire format.

#![warn(missing_docs, missing_debug_implementations)]

mod actor;
mod attribute;
mod authenticator;
mod channel;
mod clock;
mod data_rule;
mod error_chain;
mod event;
mod message;
mod names;
mod rocketmq;
mod rule;
mod slot;
mod status_sink;

pub use actor::Actor;
pub use attribute::AttributeName;
pub use authenticator::{
    AuthenticationMethod, Authenticator, ConnectAttempt, ListenerFacts, Principal,
    RefuseAccessError,
};
pub use channel::{ChannelFacts, ChannelId, CloseReason, MqttVersion};
pub use clock::{Clock, SystemClock};
pub use data_rule::{AnyRule, AnyRuleDraft, DataRule, DataRuleDraft, Direction};
pub use error_chain::ErrorChain;
pub use event::{EventId, EventType, Sequence, StatusEvent, Synthetic};
pub use message::{CheckMessageError, Mapping, OutboundMessage, RejectEvent};
pub use names::{
    ClientId, GroupId, InstanceId, MqttTopic, ParseNameError, PluginDigest, PluginName, RuleId,
    TopicName,
};
pub use rocketmq::{
    BoxFuture, CheckSendError, CreateTopicError, InstanceServers, ListTopicsError, MessageSender,
    QueueName, ReadTopicError, RouteError, SendError, ServerState, StoredAs, TopicMessage,
};
pub use rule::{
    Destination, IncarnationId, Mapped, MappingLimits, OnActivate, OnFault, OnReject, Ordering,
    Rule, RuleDraft, RuleType, VersionSelector,
};
pub use slot::Slot;
pub use status_sink::{Admission, ChannelTicket, RefuseConnectError, StatusSink};
