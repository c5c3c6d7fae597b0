//! Log lines: to stderr, as text or JSON, filtered as configured.

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::{LogFormat, Telemetry};

/// Starts logging for the whole process.
///
/// # Errors
///
/// When the filter is none, or logging runs already.
pub(crate) fn start(telemetry: &Telemetry) -> anyhow::Result<()> {
    // The RocketMQ crates log each attempt to connect as an error; what matters of it is logged and
    // counted by our own crates.
    let quiet = [
        "rocketmq_client_rust",
        "rocketmq_broker",
        "rocketmq_namesrv",
        "rocketmq_store",
        "rocketmq_transport",
        "rocketmq_remoting",
        "rocketmq_runtime",
        "rocketmq_common",
        "rocketmq_auth",
        "rocketmq_model",
        "rocketmq_observability",
        "ntex",
    ];
    let mut filter = telemetry.log.clone();
    for target in quiet {
        if !telemetry.log.contains(target) {
            filter.push_str(&format!(",{target}=off"));
        }
    }
    let filter = EnvFilter::try_new(&filter).context("telemetry.log is not a log filter")?;
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match telemetry.log_format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("logging cannot be started: {error}"))
}
