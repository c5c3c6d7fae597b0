//! Two brokers behind one name server, one of them killed: a rule that asks for availability goes on, one that asks
//! for order waits, one whose operator gives the queues up goes on without them, and all come back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use acceptance::admin::{Admin, status_rule};
use acceptance::event::Event;
use acceptance::eventually::{eventually, let_pass, now_ms};
use acceptance::host::{HostSpec, TestHost};
use acceptance::java::JavaRocketmq;
use acceptance::load::{Load, StormReport, StormSpec};
use acceptance::message::Message;
use acceptance::{figures, oracle, reader, scale};
use anyhow::{Context, Result, ensure};

const DEAD: &str = "broker-b";
/// Longest time from an event, or from the failure, to its storage where delivery goes on.
const GOES_ON_MS: u64 = 5000;
/// Longest time from the broker's return to the first message that it stores.
const RETURNS_MS: u64 = 5000;

/// Queues of a topic on each broker.
const QUEUES: u32 = 4;
const RULES: [&str; 3] = ["strict", "available", "retired"];

/// When what happened, UNIX milliseconds.
#[derive(Clone, Copy)]
struct Times {
    killed: u64,
    /// The dead broker's queues were retired for the rule `retired`.
    retired: u64,
    back: u64,
}

pub(crate) fn one_killed() -> Result<()> {
    let (rate, outage_ms) = scale::pick((50, 8000), (200, 30_000));
    let mut rocketmq = JavaRocketmq::start_with(&["broker-a", DEAD], "")?;
    let name_server = rocketmq.name_server();
    let host = TestHost::start(HostSpec {
        java_name_server: Some(name_server.clone()),
        embedded: false,
        ..HostSpec::default()
    })?;
    let admin = host.admin()?;
    create_rules(&admin)?;
    // Before the failure, through it, and until after the return.
    let seconds = u32::try_from(outage_ms / 1000)? + 15;
    let storm = |prefix| {
        let spec = StormSpec {
            prefix,
            rate,
            seconds,
            clients: rate * 4,
        };
        Load::storm(host.mqtt()?, spec)
    };
    let (strict, available) = (storm("GID_Strict@@@")?, storm("GID_Available@@@")?);
    let retired = storm("GID_Retired@@@")?;
    let before = u64::from(rate) * 4;
    eventually("delivery of all rules", Duration::from_secs(30), || {
        Ok((admin.events("delivered")? >= before * 3).then_some(()))
    })?;

    let times = kill_and_restart(&mut rocketmq, &host, outage_ms)?;
    let storms = [strict.report()?, available.report()?, retired.report()?];
    admin.wait_until_delivered(Duration::from_secs(60))?;
    for rule in RULES {
        admin.wait_for_health(rule, "running", Duration::from_secs(30))?;
    }
    let read = |topic: &str, storm: StormReport| -> Result<Vec<Message>> {
        ensure!(
            storm.refused == 0 && storm.errors == 0,
            "not every connect was accepted: {storm:?}"
        );
        // A clean visit has 3 events, a lost one 2, by turns.
        let events = storm.connects * 2 + storm.connects.div_ceil(2);
        let events = usize::try_from(events)?;
        reader::java(&name_server, topic, events, Duration::from_secs(120))
    };
    let [strict, available, retired] = storms;
    judge_strict(&read("TopicStrict", strict)?, strict, times)?;
    judge_available(&read("TopicAvailable", available)?, available, times)?;
    judge_retired(&read("TopicRetired", retired)?, retired, times)?;
    oracle::conservation(&admin)
}

fn kill_and_restart(rocketmq: &mut JavaRocketmq, host: &TestHost, outage_ms: u64) -> Result<Times> {
    rocketmq.kill_broker(DEAD)?;
    let killed = now_ms();
    for queue in 0..QUEUES {
        let queue = format!("{DEAD}:{queue}");
        host.cli(&["outbox", "retire-queue", "retired", &queue])?
            .expect(0)?;
    }
    let retired = now_ms();
    let end = killed + outage_ms;
    let_pass(Duration::from_millis(end.saturating_sub(now_ms())));
    ensure!(
        host.admin()?.events("pending")? > 0,
        "nothing waits for the dead broker"
    );
    rocketmq.restart_broker(DEAD)?;
    Ok(Times {
        killed,
        retired,
        back: now_ms(),
    })
}

fn create_rules(admin: &Admin) -> Result<()> {
    let rules = [
        ("strict", "GID_Strict", "TopicStrict"),
        ("available", "GID_Available", "TopicAvailable"),
        ("retired", "GID_Retired", "TopicRetired"),
    ];
    for (rule_id, group, topic) in rules {
        let mut rule = status_rule(rule_id, group, "java", topic);
        let destination = rule
            .get_mut("destination")
            .and_then(serde_json::Value::as_object_mut);
        if let Some(fields) = destination.filter(|_| rule_id == "available") {
            fields.insert("ordering".to_owned(), "available".into());
        }
        admin.create_rule(&rule)?;
        admin.wait_for_health(rule_id, "running", Duration::from_secs(30))?;
    }
    Ok(())
}

/// An event's first storage.
struct Stored {
    event: Event,
    at: u64,
    on_dead: bool,
}

/// First occurrences by time of storage.
fn firsts(messages: &[Message]) -> Result<Vec<Stored>> {
    let mut firsts: BTreeMap<String, Stored> = BTreeMap::new();
    for message in messages {
        let event = Event::read(message)?;
        let stored = Stored {
            at: event.stored_at.context("no time of storage")?,
            on_dead: message.broker.as_deref() == Some(DEAD),
            event,
        };
        let id = stored.event.event_id.clone();
        match firsts.get(&id) {
            Some(first) if first.at <= stored.at => {}
            Some(_) | None => {
                firsts.insert(id, stored);
            }
        }
    }
    Ok(firsts.into_values().collect())
}

/// How long after the event, or after `since` if that was later, milliseconds.
fn delay(stored: &Stored, since: u64) -> u64 {
    stored.at.saturating_sub(stored.event.time.max(since))
}

fn judge_strict(messages: &[Message], storm: StormReport, times: Times) -> Result<()> {
    // One queue per client and its order are checked here; the broker is a part of the queue's name.
    let verdict = oracle::judge(messages)?;
    expect_complete(&verdict, storm)?;
    let mut brokers: BTreeMap<String, BTreeSet<bool>> = BTreeMap::new();
    let stored = firsts(messages)?;
    for one in &stored {
        let client = brokers.entry(one.event.client_id.clone()).or_default();
        client.insert(one.on_dead);
        ensure!(
            client.len() == 1,
            "client {} moved to another broker",
            one.event.client_id
        );
    }
    let slowest = stored
        .iter()
        .filter(|one| !one.on_dead)
        .map(|one| delay(one, times.killed))
        .max()
        .context("nothing on the living broker")?;
    let returned = stored
        .iter()
        .filter(|one| one.on_dead && one.at > times.back)
        .map(|one| one.at - times.back)
        .min()
        .context("nothing on the broker that came back")?;
    let waited = stored
        .iter()
        .filter(|one| one.on_dead && one.event.time < times.back && one.at >= times.back)
        .count();
    figures::say(
        "two brokers, strict",
        &format!(
            "{waited} events waited, first stored {returned} ms after the return; slowest on the living broker {slowest} ms; {} repeated",
            verdict.repeated
        ),
    );
    ensure!(waited > 0, "no event waited for its broker");
    ensure!(
        slowest <= GOES_ON_MS,
        "the living broker's queues stood still for {slowest} ms"
    );
    ensure!(
        returned <= RETURNS_MS,
        "delivery to the broker resumed {returned} ms after its return"
    );
    Ok(())
}

fn judge_available(messages: &[Message], storm: StormReport, times: Times) -> Result<()> {
    let stored = expect_all_events(messages, storm)?;
    let slowest = stored
        .iter()
        .map(|one| delay(one, times.killed))
        .max()
        .unwrap_or(0);
    let moved = stored
        .iter()
        .filter(|one| one.event.time > times.killed && one.at < times.back)
        .count();
    let back = stored
        .iter()
        .filter(|one| one.on_dead && one.at > times.back)
        .count();
    figures::say(
        "two brokers, available",
        &format!(
            "slowest {slowest} ms, {moved} events stored without the broker, {back} on it after its return; {} repeated",
            messages.len() - stored.len()
        ),
    );
    ensure!(
        slowest <= GOES_ON_MS,
        "an event waited for {slowest} ms although its rule asks for availability"
    );
    Ok(())
}

fn judge_retired(messages: &[Message], storm: StormReport, times: Times) -> Result<()> {
    let stored = expect_all_events(messages, storm)?;
    let slowest = stored
        .iter()
        .map(|one| delay(one, times.retired))
        .max()
        .unwrap_or(0);
    let back = stored
        .iter()
        .filter(|one| one.on_dead && one.at > times.retired)
        .count();
    figures::say(
        "two brokers, retired",
        &format!(
            "retired {} ms after the failure, slowest {slowest} ms after that; {} repeated",
            times.retired - times.killed,
            messages.len() - stored.len()
        ),
    );
    ensure!(back == 0, "{back} events were stored in retired queues");
    ensure!(
        slowest <= GOES_ON_MS,
        "an event waited for {slowest} ms although its queue was retired"
    );
    Ok(())
}

/// For clients that moved: their order by storage across the move is not promised. The set of their events
/// is, and the order within each queue. Returns first occurrences.
fn expect_all_events(messages: &[Message], storm: StormReport) -> Result<Vec<Stored>> {
    let mut by_sequence: Vec<Message> = messages.to_vec();
    for message in &mut by_sequence {
        message.queue_id = 0;
    }
    by_sequence.sort_by_cached_key(|message| {
        message
            .properties
            .get("sequence")
            .and_then(|text| text.parse::<u64>().ok())
    });
    expect_complete(&oracle::judge(&by_sequence)?, storm)?;
    expect_order_within_queues(messages)?;
    firsts(messages)
}

fn expect_complete(verdict: &oracle::Verdict, storm: StormReport) -> Result<()> {
    let counts = verdict.counts();
    let connects = usize::try_from(storm.connects)?;
    ensure!(
        counts.connect == connects
            && counts.tcpclean == connects
            && counts.disconnect == connects.div_ceil(2),
        "{counts:?} of {storm:?}"
    );
    verdict.expect_nobody_online()
}

fn expect_order_within_queues(messages: &[Message]) -> Result<()> {
    let mut seen = BTreeSet::new();
    let mut last: BTreeMap<(Option<String>, i32, String), u64> = BTreeMap::new();
    for message in messages {
        let event = Event::read(message)?;
        if !seen.insert(event.event_id.clone()) {
            continue;
        }
        let place = (
            message.broker.clone(),
            message.queue_id,
            event.client_id.clone(),
        );
        let before = last.insert(place, event.sequence).unwrap_or(0);
        ensure!(
            before < event.sequence,
            "client {} goes back within a queue: {before}, {}",
            event.client_id,
            event.sequence
        );
    }
    Ok(())
}
