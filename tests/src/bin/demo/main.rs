//! `cargo xtask demo`: the main job on embedded parts, with what went in beside what came out.
//!
//! usage: demo [--once] [--json]; the host's binary is `RULEMILL_BIN`, else the one beside it.
//!
//! It connects real MQTT clients, one scenario after the other, reads the topic back, swaps the rule's
//! plugin while the host runs, and does it again. With `--once` it ends then, with 0 only if exactly
//! the expected messages came; with `--json` it prints those messages and nothing else.

#![expect(clippy::print_stdout, reason = "this is the command's output")]

mod scenario;
mod show;

use std::process::ExitCode;
use std::time::Duration;

use acceptance::admin::{Admin, status_rule};
use acceptance::host::{HostSpec, TestHost};
use acceptance::message::{Message, parse_lines};
use acceptance::{event, oracle, reader};
use anyhow::{Context, Result, bail, ensure};

use crate::scenario::{EVENTS_PER_PASS, Scenario};

const RULE: &str = "demo-status";
const GROUP: &str = "GID_Demo";
const TOPIC: &str = "ClientStatus";
/// Mapping of the first and of the second pass.
const PLUGINS: [(&str, event::Format); 2] = [
    ("apsaramq-status", event::Format::Apsaramq),
    ("cloudevents", event::Format::CloudEvents),
];

fn main() -> Result<ExitCode> {
    let (mut once, mut json) = (false, false);
    for arg in std::env::args().skip(1) {
        match arg.as_str() {
            "--once" => once = true,
            "--json" => json = true,
            other => bail!("demo does not know {other}; it knows --once and --json"),
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let host = TestHost::start(HostSpec::default())?;
    let admin = host.admin()?;
    if !json {
        show::addresses(&host)?;
    }
    admin.create_rule(&status_rule(RULE, GROUP, "embedded", TOPIC))?;
    let mut all = Vec::new();
    for (index, (plugin, _)) in PLUGINS.iter().enumerate() {
        let pass = index + 1;
        if pass > 1 {
            swap(&admin, plugin)?;
        }
        runtime.block_on(scenario::run_all(host.mqtt()?, &admin, pass))?;
        let messages = reader::through_host(&host, "embedded", TOPIC, pass * EVENTS_PER_PASS)?;
        let of_pass = in_order(&messages, pass)?;
        if !json {
            show::pass(plugin, pass, &of_pass);
        }
        all.extend(of_pass);
    }
    nothing_more(&host, all.len())?;
    check(&all)?;
    if json {
        show::json(&all)?;
    }
    if !once {
        runtime.block_on(show::until_ctrl_c(&host))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn swap(admin: &Admin, plugin: &str) -> Result<()> {
    admin.edit_rule(RULE, |rule| {
        if let Some(mapping) = rule.get_mut("mapping") {
            *mapping = serde_json::json!({ "plugin": plugin });
        }
    })?;
    admin.wait_for_health(RULE, "running", Duration::from_secs(30))
}

/// Messages of one pass, by scenario and then by sequence.
fn in_order(messages: &[Message], pass: usize) -> Result<Vec<Message>> {
    let mut sorted = Vec::new();
    for scenario in Scenario::ALL {
        let client_id = scenario.client_id(pass);
        let mut of_client = Vec::new();
        for message in messages {
            let event = event::Event::read(message)?;
            if event.client_id == client_id {
                of_client.push((event.sequence, message.clone()));
            }
        }
        of_client.sort_by_key(|(sequence, _)| *sequence);
        sorted.extend(of_client.into_iter().map(|(_, message)| message));
    }
    Ok(sorted)
}

/// Asks for one message more than there should be.
fn nothing_more(host: &TestHost, count: usize) -> Result<()> {
    let second = Duration::from_secs(1);
    let ran = reader::run_messages(host, "embedded", TOPIC, count + 1, second)?.expect(1)?;
    let found = parse_lines(&ran.stdout)?.len();
    ensure!(
        found == count,
        "expected {count} messages in the topic, found {found}"
    );
    Ok(())
}

fn check(messages: &[Message]) -> Result<()> {
    let mut sorted = messages.to_vec();
    sorted.sort_by_key(|message| (message.queue_id, message.queue_offset));
    let verdict = oracle::judge(&sorted)?;
    ensure!(
        verdict.repeated == 0,
        "{} messages came twice",
        verdict.repeated
    );
    for (index, (plugin, format)) in PLUGINS.iter().enumerate() {
        for scenario in Scenario::ALL {
            let client_id = scenario.client_id(index + 1);
            let story = verdict.story(&client_id);
            ensure!(
                story == scenario.story(),
                "{client_id}: {story}, expected {}",
                scenario.story()
            );
            let events = verdict
                .clients
                .get(&client_id)
                .context("a client without events")?;
            ensure!(
                events.iter().all(|event| event.format == *format),
                "{client_id} was not mapped by {plugin}"
            );
        }
    }
    let expected = PLUGINS.len() * EVENTS_PER_PASS;
    ensure!(
        messages.len() == expected,
        "expected {expected} messages, found {}",
        messages.len()
    );
    Ok(())
}
