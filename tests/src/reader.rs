//! Reading a topic: by Apache's Java client, by ali-ons, or through the host.

use std::collections::BTreeSet;
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

/// How long a queue is.
#[derive(Clone, Debug)]
pub struct QueueLength {
    /// Its broker.
    pub broker: String,
    /// Its number there.
    pub queue_id: u32,
    /// Its lowest offset.
    pub first: u64,
    /// The offset of the next message.
    pub end: u64,
}

impl QueueLength {
    /// How many messages it holds.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.end.saturating_sub(self.first)
    }
}

/// What a sample tells of a message.
#[derive(Clone, Debug)]
pub struct Sampled {
    /// The first key.
    pub client_id: String,
    /// The second key.
    pub channel_id: String,
    /// The tag.
    pub tag: String,
    /// The property `sequence`.
    pub sequence: u64,
    /// The property `eventId`.
    pub event_id: String,
}

/// The lengths of a topic's queues, and of each queue `windows` stretches of `length` messages, by the Java client:
/// for topics that are too long to be read.
///
/// # Errors
///
/// When the topic cannot be read.
pub fn java_sample(
    name_server: &str,
    topic: &str,
    windows: u32,
    length: u32,
) -> Result<(Vec<QueueLength>, Vec<Vec<Sampled>>)> {
    let class_path = java_rocketmq::compiled("Offsets")?;
    let home = tempfile::tempdir()?;
    let mut command = Command::new("java");
    command
        .arg(format!("-Duser.home={}", home.path().display()))
        .args(["-cp", &class_path, "Offsets", name_server, topic])
        .args([windows.to_string(), length.to_string()]);
    let ran = cli::run_command(&mut command)?
        .expect(0)
        .context("the sampling reader failed")?;
    let (mut queues, mut samples) = (Vec::new(), Vec::new());
    for line in ran.stdout.lines() {
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["queue", broker, queue_id, first, end] => queues.push(QueueLength {
                broker: (*broker).to_owned(),
                queue_id: queue_id.parse()?,
                first: first.parse()?,
                end: end.parse()?,
            }),
            ["window"] => samples.push(Vec::new()),
            [client_id, channel_id, tag, sequence, event_id] => {
                let window = samples.last_mut().context("a message in no window")?;
                window.push(Sampled {
                    client_id: (*client_id).to_owned(),
                    channel_id: (*channel_id).to_owned(),
                    tag: (*tag).to_owned(),
                    sequence: sequence.parse()?,
                    event_id: (*event_id).to_owned(),
                });
            }
            _ => anyhow::bail!("not a line of the sampling reader: {line}"),
        }
    }
    Ok((queues, samples))
}

/// As [`java`] by ali-ons, which cannot read the embedded server.
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

/// As [`java`] by `rulemill messages`: until `count` different messages came.
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
    let mut asked = count;
    loop {
        let ran = run_messages(host, instance, topic, asked, HOST_DEADLINE)?.expect(0)?;
        let messages = parse_lines(&ran.stdout)?;
        ensure!(
            messages.len() == asked,
            "asked for {asked} messages, got {}",
            messages.len()
        );
        let different: BTreeSet<_> = messages.iter().map(Message::identity).collect();
        match count.saturating_sub(different.len()) {
            0 => return Ok(messages),
            // What was sent again, as at least once allows, stands in the place of events that come later.
            repeated => asked += repeated,
        }
    }
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
