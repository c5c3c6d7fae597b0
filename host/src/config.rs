//! The configuration of the host: what may be set, and how the layers become one `Config`.
//!
//! File, environment `RULEMILL__SECTION__KEY` and `--set KEY=VALUE`, in rising precedence. Every
//! problem is found before any is shown. The tree is read with readers of our own instead of
//! serde, because serde stops at the first problem and does not know the place of a value.

pub(crate) mod defaults;
mod print;
mod reader;
mod rocketmq;
mod secret;
mod sections;
mod tree;
mod values;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::InstanceId;

pub(crate) use print::print;
pub(crate) use rocketmq::{EmbeddedInstance, RemoteInstance, RocketmqInstance, SecretFile};
pub(crate) use secret::Secret;
pub(crate) use sections::default_data_dir;

/// Everything that can be configured, validated.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    pub(crate) node: Node,
    /// The instance id in signature user names.
    pub(crate) instance_id: InstanceId,
    pub(crate) mqtt: Mqtt,
    /// Whether a group appears with its first client.
    pub(crate) groups_auto_create: bool,
    /// Where a client may connect without credentials.
    pub(crate) anonymous: Anonymous,
    /// Where the HTTP API listens; beyond loopback only with a certificate.
    pub(crate) admin_listen: SocketAddr,
    /// With one, the HTTP API speaks TLS only.
    pub(crate) admin_certificate: Option<Certificate>,
    pub(crate) rocketmq: BTreeMap<InstanceId, RocketmqInstance>,
    pub(crate) delivery: Delivery,
    pub(crate) outbox: Outbox,
    pub(crate) plugins: Plugins,
    /// Whose files say which rules there are; relative to the working folder.
    pub(crate) rules_dir: Option<PathBuf>,
    /// How many rules there may be.
    pub(crate) rules_max: u32,
    pub(crate) telemetry: Telemetry,
}

/// This machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) data_dir: PathBuf,
}

/// The MQTT listeners and their limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mqtt {
    pub(crate) tcp: Vec<SocketAddr>,
    /// WebSocket, path `/mqtt`.
    pub(crate) ws: Vec<SocketAddr>,
    pub(crate) tls: Vec<SocketAddr>,
    /// WebSocket over TLS, path `/mqtt`.
    pub(crate) wss: Vec<SocketAddr>,
    /// Of `tls` and `wss`; there if one of them is, and usable when it was read.
    pub(crate) certificate: Option<Certificate>,
    pub(crate) connections_max: u64,
    pub(crate) packet_bytes_max: u32,
    pub(crate) payload_bytes_max: u32,
    /// From the accepted socket to the CONNECT.
    pub(crate) connect_timeout: Duration,
    pub(crate) keep_alive_max: Duration,
    pub(crate) client_ids: ClientIds,
}

/// The PEM files of a certificate chain and its private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// Which client ids are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientIds {
    /// `<GroupID>@@@<DeviceID>` only.
    Apsaramq,
    /// All; those without a group match no status rule.
    Any,
}

/// Where a client may connect without credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anonymous {
    /// On listeners with a loopback address.
    Loopback,
    Always,
    Never,
}

/// How events are kept and sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// Longest wait for a group commit.
    pub(crate) commit_interval: Duration,
    pub(crate) connack: Connack,
    /// How long a plugin may ask for a retry of one event.
    pub(crate) retry_age_max: Duration,
    /// How long the couriers go on after the listeners are closed.
    pub(crate) shutdown_grace: Duration,
}

/// When CONNACK is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connack {
    BeforeCommit,
    AfterCommit,
}

/// Limits of the outbox.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outbox {
    pub(crate) bytes_max: u64,
    /// The part of it that one rule may fill: above 0, at most 1.
    pub(crate) rule_share: f64,
    pub(crate) age_max: Duration,
    pub(crate) dead_letters_bytes_max: u64,
}

/// Limits of plugins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plugins {
    /// Whose `NAME.wasm` become versions of plugins; relative to the working folder. It need not be there yet.
    pub(crate) watch_dir: Option<PathBuf>,
    pub(crate) component_bytes_max: u64,
    /// Of one instance.
    pub(crate) memory_bytes_max: u64,
    pub(crate) call_deadline: Duration,
    pub(crate) init_deadline: Duration,
    pub(crate) output_bytes_max: u64,
    /// Messages of one event.
    pub(crate) messages_max: u32,
    /// Of all warm instances.
    pub(crate) memory_total_bytes: u64,
    /// CPU time of the compiler of one component.
    pub(crate) compile_time: Duration,
    /// Address space of that compiler.
    pub(crate) compile_memory_bytes: u64,
    /// Kept in memory of the functions that it compiled; 0 keeps none.
    pub(crate) function_bytes_max: u64,
}

/// Logging.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Telemetry {
    /// A filter of tracing-subscriber, such as `info` or `info,pipeline=debug`; checked.
    pub(crate) log: String,
    pub(crate) log_format: LogFormat,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// One thing that is wrong with the configuration, in one line with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem(String);

impl Problem {
    fn new(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads the layers. `environment` is all of it; what is not ours is left out.
///
/// # Errors
///
/// All problems, if there are any.
pub(crate) fn load(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
    settings: &[String],
) -> Result<Config, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut root = file
        .map(|path| tree::read_file(path, &mut problems))
        .unwrap_or_default();
    tree::overlay_environment(&mut root, environment);
    tree::overlay_settings(&mut root, settings, &mut problems);
    let findings = reader::Findings::default();
    let config = sections::read(reader::Section::root(root, &findings));
    problems.extend(findings.into_problems());
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(problems),
    }
}

#[cfg(test)]
mod tests;
