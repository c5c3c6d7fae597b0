//! Reading a topic: by Apache's Java client, by ali-ons, or through the host.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use xtask::{java_rocketmq, places, requirements};

use crate::cli;
use crate::host::TestHost;
use crate::message::{Message, parse_lines};

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
    let count_text = count.to_string();
    let args = [
        "messages",
        "--instance",
        instance,
        "--topic",
        topic,
        "--from-start",
        "--json",
    ];
    let ran = host
        .cli(&[&args[..], &["--count", &count_text, "--timeout", "60"]].concat())?
        .expect(0)?;
    let messages = parse_lines(&ran.stdout)?;
    ensure!(
        messages.len() == count,
        "asked for {count} messages, got {}",
        messages.len()
    );
    Ok(messages)
}
