//! The queues of a topic become more, then fewer, under load: each client's order holds, and nothing is lost.

use std::collections::BTreeMap;
use std::time::Duration;

use acceptance::admin::{Admin, status_rule};
use acceptance::event::Event;
use acceptance::eventually::{eventually, let_pass};
use acceptance::host::{HostSpec, TestHost};
use acceptance::java::JavaRocketmq;
use acceptance::load::{Load, StormSpec};
use acceptance::message::Message;
use acceptance::{figures, oracle, reader, scale};
use anyhow::{Context, Result, ensure};

const TOPIC: &str = "TopicQueues";
const AT_FIRST: u32 = 4;
const MORE: u32 = 8;
const FEWER: u32 = 2;

pub(crate) fn come_and_vanish() -> Result<()> {
    let (rate, seconds) = scale::pick((50, 30), (200, 90));
    let phase = Duration::from_secs(u64::from(seconds / 6));
    let rocketmq = JavaRocketmq::start_with(&["broker-a"], "")?;
    let host = TestHost::start(HostSpec {
        java_name_server: Some(rocketmq.name_server()),
        embedded: false,
        ..HostSpec::default()
    })?;
    let admin = host.admin()?;
    admin.create_rule(&status_rule("queues", "GID_Queues", "java", TOPIC))?;
    admin.wait_for_health("queues", "running", Duration::from_secs(30))?;
    let spec = StormSpec {
        prefix: "GID_Queues@@@",
        rate,
        seconds,
        clients: rate * 2,
    };
    let storm = Load::storm(host.mqtt()?, spec)?;
    let_pass(phase);
    rocketmq.set_queues(TOPIC, MORE, MORE)?;
    let_pass(phase);
    // They may still be read: a consumer drains what is in them.
    rocketmq.set_queues(TOPIC, FEWER, MORE)?;
    let waiting = wait_for_vanished(&admin)?;
    for queue in FEWER..MORE {
        let queue = format!("broker-a:{queue}");
        host.cli(&["outbox", "retire-queue", "queues", &queue])?
            .expect(0)?;
    }
    let storm = storm.report()?;
    ensure!(
        storm.refused == 0 && storm.errors == 0,
        "not every connect was accepted: {storm:?}"
    );
    admin.wait_until_delivered(Duration::from_secs(30))?;
    admin.wait_for_health("queues", "running", Duration::from_secs(30))?;
    let events = usize::try_from(admin.events("recorded")?)?;
    let name_server = rocketmq.name_server();
    let messages = reader::java(&name_server, TOPIC, events, Duration::from_secs(60))?;
    judge(messages, usize::try_from(storm.connects)?, &waiting)?;
    oracle::conservation(&admin)
}

/// The rule names the queues that its clients wait for, since it may not move them by itself.
fn wait_for_vanished(admin: &Admin) -> Result<String> {
    eventually(
        "the rule to tell of vanished queues",
        Duration::from_secs(60),
        || {
            let rule = admin.get("/v1/rules/queues")?.expect(200)?;
            let reason = rule.at("/state/reason").as_str().unwrap_or_default();
            let is_named = (FEWER..MORE).any(|queue| reason.contains(&format!("broker-a:{queue}")));
            Ok(is_named.then(|| reason.to_owned()))
        },
    )
}

fn judge(mut messages: Vec<Message>, connects: usize, waiting: &str) -> Result<()> {
    let mut queues: BTreeMap<i32, usize> = BTreeMap::new();
    for message in &messages {
        *queues.entry(message.queue_id).or_default() += 1;
    }
    // A client that moved is in several queues. Its events were stored one after the other all the
    // same: nothing of it was in flight when it moved.
    let mut last: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut by_sequence = Vec::new();
    for message in &messages {
        let event = Event::read(message)?;
        by_sequence.push((
            event.sequence,
            event.stored_at.context("no time of storage")?,
            event.client_id,
        ));
    }
    by_sequence.sort();
    by_sequence.dedup_by(|next, first| next.0 == first.0);
    for (sequence, stored_at, client_id) in by_sequence {
        let before = last.insert(client_id.clone(), (sequence, stored_at));
        ensure!(
            before.is_none_or(|(_, at)| at <= stored_at),
            "client {client_id}: sequence {sequence} was stored before {before:?}"
        );
    }
    for message in &mut messages {
        message.queue_id = 0;
    }
    messages.sort_by_cached_key(|message| {
        let sequence = message.properties.get("sequence");
        sequence.and_then(|text| text.parse::<u64>().ok())
    });
    let verdict = oracle::judge(&messages)?;
    figures::say(
        "queues",
        &format!(
            "messages by queue {queues:?}, {} repeated; the rule said {waiting:?}",
            verdict.repeated
        ),
    );
    let counts = verdict.counts();
    ensure!(
        counts.connect == connects && counts.tcpclean == connects,
        "{counts:?} of {connects} connects"
    );
    verdict.expect_nobody_online()?;
    ensure!(
        queues.len() > usize::try_from(AT_FIRST)?,
        "the new queues were not used: {queues:?}"
    );
    Ok(())
}
