//! RocketMQ 4.x: sending, routes, topics and reading. The only crate that names the client library.
//!
//! Sends go through the library's producer; everything else goes through `remoting`, since the
//! library's admin part is left out and its consumers commit offsets. Retrying is the caller's: only it
//! knows what order asks for.

#![recursion_limit = "512"]
#![warn(missing_docs, missing_debug_implementations)]

mod compatibility;
mod config;
mod inspection;
mod instance;
mod lenient_json;
mod outcome;
mod producer;
mod reader;
mod remoting;
mod route;
mod route_cache;
mod runtime;
mod topic_admin;

pub use config::{Credentials, RocketmqConfig};
pub use instance::{OpenInstanceError, RocketmqInstance};
pub use runtime::{RocketmqRuntime, StartRuntimeError};
