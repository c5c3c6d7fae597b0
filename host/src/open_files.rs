//! The process's limit of open files: one per connection.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that the host needs beside connections: stores, RocketMQ, logs.
const RESERVED: u64 = 512;

/// Raises the soft limit to the hard one, and says so if even that is below what the configuration
/// promises: clients above it are refused by the operating system.
pub(crate) fn raise(connections_max: u64) {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        tracing::warn!(error = %error, "limit of open files cannot be raised");
    }
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if limit < connections_max.saturating_add(RESERVED) {
        tracing::info!(
            limit,
            connections_max,
            "limit of open files is below mqtt.max-connections"
        );
    }
}
