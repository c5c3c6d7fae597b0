//! The broker's sockets: MQTT 3.1.1 and 5 on one TCP port, both over WebSocket, and all of it over TLS.
//!
//! The only crate that names ntex. It turns packets into calls of `broker` and back, and gives every
//! end of a connection a reason. Nothing of ntex leaves its worker threads; nothing in here decides
//! what a status event is.

#![warn(missing_docs, missing_debug_implementations)]

mod admission;
mod authentication;
mod close_reason;
mod config;
mod link;
mod listen;
mod packet;
mod pump;
mod refusal;
mod refusal_log;
mod resume;
mod server;
mod tls;
mod v3;
mod v5;
mod websocket;
mod writer;

pub use config::{ClientIdPolicy, MqttServerConfig};
pub use listen::StartServerError;
pub use server::{BoundAddresses, MqttServer, Parts};
pub use tls::{CertificateFiles, HandshakeFailure, LoadCertificateError, TlsStats};

#[cfg(test)]
mod tests;
