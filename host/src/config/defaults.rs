//! The value of every key that nobody sets, each with the reason for the number.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// The instance id in signature user names of a machine that nobody named otherwise.
pub(crate) const INSTANCE_ID: &str = "mqtt-local";

/// MQTT's registered port; loopback, because without a configuration anybody may connect.
pub(crate) const MQTT_TCP: SocketAddr = loopback(1883);
/// The port that most brokers use for WebSocket.
pub(crate) const MQTT_WS: SocketAddr = loopback(8083);
/// A guard against mistakes; memory ends first on most machines.
pub(crate) const CONNECTIONS_MAX: u64 = 1_000_000;
/// Room for the largest payload and generous properties.
pub(crate) const PACKET_BYTES_MAX: u64 = 256 * KIB;
/// The limit of ApsaraMQ for MQTT.
pub(crate) const PAYLOAD_BYTES_MAX: u64 = 64 * KIB;
/// A slow mobile network finishes a CONNECT within it; a silent socket does not stay longer.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest keep alive that ApsaraMQ for MQTT recommends; mobile networks forget connections soon after.
pub(crate) const KEEP_ALIVE_MAX: Duration = Duration::from_secs(8 * 60);

/// Groups appear with their first client, as a first try should need no preparation.
pub(crate) const GROUPS_AUTO_CREATE: bool = true;

/// Loopback, because the API has no TLS.
pub(crate) const ADMIN_LISTEN: SocketAddr = loopback(8180);

/// The name of the instance that exists when none is configured.
#[cfg_attr(
    not(feature = "embedded-rocketmq"),
    expect(
        dead_code,
        reason = "there is no default instance without the embedded server"
    )
)]
pub(crate) const EMBEDDED_INSTANCE: &str = "embedded";
/// RocketMQ's usual name server port.
pub(crate) const NAME_SERVER_LISTEN: SocketAddr = loopback(9876);
/// RocketMQ's usual broker port.
pub(crate) const BROKER_LISTEN: SocketAddr = loopback(10911);
/// RocketMQ's own default is 8 or 16; 4 keep order visible and are plenty for one process.
pub(crate) const TOPIC_QUEUES: u32 = 4;
/// RocketMQ's clients wait as long for a send.
pub(crate) const SEND_TIMEOUT: Duration = Duration::from_secs(3);
/// Beyond it a larger batch no longer raises the throughput of a broker on a local network.
pub(crate) const BATCH_MESSAGES_MAX: u32 = 128;
/// A quarter of the 4 MiB that brokers accept at most.
pub(crate) const BATCH_BYTES_MAX: u64 = MIB;

/// What a power failure may cost; at 5 ms the disk commits 200 times a second at most.
pub(crate) const COMMIT_INTERVAL: Duration = Duration::from_millis(5);
/// A plugin that asks for a retry for a whole day will not succeed tomorrow.
pub(crate) const RETRY_AGE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Service managers kill a process 30 to 90 s after SIGTERM; this leaves time to close the store.
pub(crate) const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

/// Some ten million events: hours of outage at 1,000 events per second.
pub(crate) const OUTBOX_BYTES_MAX: u64 = 4 * GIB;
/// Four rules fill the outbox, so that one rule alone never does.
pub(crate) const OUTBOX_RULE_SHARE: f64 = 0.25;
/// RocketMQ keeps messages as long by default; an older event helps nobody.
pub(crate) const OUTBOX_AGE_MAX: Duration = Duration::from_secs(72 * 3600);
/// Enough to inspect a fault, too little to fill a disk.
pub(crate) const DEAD_LETTERS_BYTES_MAX: u64 = 256 * MIB;

/// Python and JavaScript components carry their interpreter, about 20 MiB.
pub(crate) const COMPONENT_BYTES_MAX: u64 = 32 * MIB;
/// A Rust plugin needs 2 MiB; the rest is for its data.
pub(crate) const PLUGIN_MEMORY_BYTES_MAX: u64 = 16 * MIB;
/// Thousands of times what the default mapping takes.
pub(crate) const CALL_DEADLINE: Duration = Duration::from_millis(10);
/// An interpreter may need hundreds of milliseconds to start.
pub(crate) const INIT_DEADLINE: Duration = Duration::from_secs(1);
/// Fits into one RocketMQ message of 4 MiB.
pub(crate) const OUTPUT_BYTES_MAX: u64 = 3 * MIB;
/// An event that fans out to more is a misuse.
pub(crate) const MESSAGES_MAX: u32 = 16;
/// Sixty-four instances of the default size.
pub(crate) const PLUGIN_MEMORY_TOTAL_BYTES: u64 = GIB;
/// A plugin in Python (18 MB) takes 20 s of CPU time, one in Rust 0.3 s.
pub(crate) const COMPILE_TIME: Duration = Duration::from_secs(120);
/// Address space, of which Python takes 1 GiB, Rust 200 MiB.
pub(crate) const COMPILE_MEMORY_BYTES: u64 = 4 * GIB;
/// A dozen plugins in Rust.
pub(crate) const FUNCTION_BYTES_MAX: u64 = 8 * MIB;

/// The limit of ApsaraMQ for MQTT, per instance.
pub(crate) const RULES_MAX: u32 = 100;

/// Lifecycle and operator actions, nothing per event.
pub(crate) const LOG: &str = "info";
