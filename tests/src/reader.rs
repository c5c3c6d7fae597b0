//! Reading a topic: by Apache's Java client, by ali-ons, or through the host.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use xtask::{java_rocketmq, places, requirements};

use crate::cli::{self, Ran};
use crate::host::TestHost;
use crate::message::{Message, parse_lines};

/// For a read through the host.
const HOST_DEADLINE: Duration = Duration::from_secs(60);

/// Reads until `count` different events came or the time is over, by the Java client.
///
/// # Errors
///
/// When the reader fails, for instance because there is no such topic.
pub fn java(
    name_server: &str,
    topic: &str,
    count: usize,
    deadline: Duration,
) -> Result<Vec<Message>> {
    let class_path = java_rocketmq::compiled("Reader")?;
    let home = tempfile::tempdir()?;
    let mut command = Command::new("java");
    command
        .arg(format!("-Duser.home={}", home.path().display()))
        .args(["-cp", &class_path, "Reader", name_server, topic])
        .args([count.to_string(), deadline.as_millis().to_string()]);
    let ran = cli::run_command(&mut command)?;
    // The client logs every attempt; the reader's own line is the last but for the client's hints.
    let said: Vec<&str> = ran.stderr.lines().rev().take(4).collect();
    ensure!(
        ran.code == Some(0),
        "the Java reader failed, last lines first: {said:?}"
    );
    parse_lines(&ran.stdout)
}

/// The same by ali-ons, which cannot read the embedded server.
///
/// # Errors
///
/// When the reader fails.
pub fn ali_ons(
    name_server: &str,
    topic: &str,
    count: usize,
    deadline: Duration,
) -> Result<Vec<Message>> {
    let mut command = Command::new("node");
    command
        .arg(places::root().join("tests/node/ali_ons_reader.js"))
        .args([name_server, topic])
        .args([count.to_string(), deadline.as_millis().to_string()])
        .env("NODE_PATH", requirements::node_modules());
    let ran = cli::run_command(&mut command)?
        .expect(0)
        .context("the ali-ons reader failed")?;
    parse_lines(&ran.stdout)
}

/// The same by `rulemill messages`, exactly `count` of them.
///
/// # Errors
///
/// When fewer came in time.
pub fn through_host(
    host: &TestHost,
    instance: &str,
    topic: &str,
    count: usize,
) -> Result<Vec<Message>> {
    let ran = run_messages(host, instance, topic, count, HOST_DEADLINE)?.expect(0)?;
    let messages = parse_lines(&ran.stdout)?;
    ensure!(
        messages.len() == count,
        "asked for {count} messages, got {}",
        messages.len()
    );
    Ok(messages)
}

/// Runs `rulemill messages` for `count` messages from the start, with a deadline of whole seconds; the
/// caller judges its exit code.
///
/// # Errors
///
/// When it cannot be run.
pub fn run_messages(
    host: &TestHost,
    instance: &str,
    topic: &str,
    count: usize,
    deadline: Duration,
) -> Result<Ran> {
    host.cli(&[
        "messages",
        "--instance",
        instance,
        "--topic",
        topic,
        "--from-start",
        "--json",
        "--count",
        &count.to_string(),
        "--timeout",
        &deadline.as_secs().to_string(),
    ])
}

/// Reads a topic of `java` by the Java client until `deadline`, one of another instance through the
/// host, which has a deadline of its own.
///
/// # Errors
///
/// As [`java`] and [`through_host`].
pub fn of(
    host: &TestHost,
    instance: &str,
    topic: &str,
    count: usize,
    deadline: Duration,
) -> Result<Vec<Message>> {
    match instance {
        "java" => java(&host.name_server(instance)?, topic, count, deadline),
        _ => through_host(host, instance, topic, count),
    }
}
