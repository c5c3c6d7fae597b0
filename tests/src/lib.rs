//! The harness of the acceptance tests: it drives the real host from outside, as users do.
//!
//! It owns processes (host, Java RocketMQ, third-party clients, load tool), readers of topics and the
//! judge of what was read. It knows no crate of the host: what it expects is written down here
//! once more, so that a mistake of the host cannot hide in shared code.

#![expect(
    clippy::disallowed_methods,
    reason = "a test thread waits for real processes in real time; there is no runtime to block"
)]

pub mod admin;
pub mod bare_client;
pub mod bare_reader;
pub mod certificate;
pub mod chaos;
pub mod cli;
pub mod disk;
pub mod event;
pub mod eventually;
pub mod figures;
pub mod fixture;
pub mod foreign_client;
pub mod guesses;
pub mod host;
pub mod java;
pub mod load;
pub mod memory;
pub mod message;
pub mod metrics;
pub mod oracle;
pub mod process;
pub mod proxy;
pub mod reader;
pub mod scale;
pub mod signature;
