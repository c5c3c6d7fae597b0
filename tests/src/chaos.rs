//! Random schedules: clients, an operator and a network that all do what a seed says, and a judge who compares what a
//! consumer reads with what they know.
//!
//! A schedule is reproducible from its seed: the same actions in the same order. How they meet in time varies, so a seed
//! that failed may have to be repeated. Hosts die in schedules; RocketMQ runs in another process.

mod backend;
mod connection;
mod judge;
mod kill_point;
mod operator;
mod player;
mod random;
mod schedule;
mod truth;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::bare_reader;
use crate::eventually::eventually;
use crate::message::Message;
use crate::oracle::{self, Order};

pub use backend::{Backend, Kind};
pub use kill_point::{KILL_POINTS, kill_at};

use judge::{Case, Judged};
use operator::Operator;
use player::Players;
use schedule::Schedule;
use truth::Diary;

/// For clients to connect to a host that is there.
const SETTLE: Duration = Duration::from_secs(20);
/// For everything to be delivered once everything works.
const DELIVERY: Duration = Duration::from_secs(30);
/// For a broker to show what it stored.
const SHOW: Duration = Duration::from_secs(5);

/// What a schedule was like that kept every promise.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Connections that clients tried.
    pub connections: usize,
    /// Events that the consumer read, each once.
    pub events: u64,
    /// Messages that came again.
    pub repeated: usize,
    /// Acknowledged connections that a kill took before their commit; none with `connack = "after-commit"`.
    pub lost_uncommitted: usize,
    /// From the first start of a host to the judgement.
    pub elapsed: Duration,
}

/// What the schedule of a seed does.
#[must_use]
pub fn describe(seed: u64) -> String {
    Schedule::new(seed).to_string()
}

/// Runs the schedule of a seed and judges it.
///
/// # Errors
///
/// Says which promise is broken, with the seed and what was done.
pub fn run(seed: u64, backend: &mut Backend) -> Result<Report> {
    let schedule = Schedule::new(seed);
    let kind = backend.kind().name();
    play(&schedule, backend).with_context(|| format!("on {kind}, {schedule}"))
}

fn play(schedule: &Schedule, backend: &mut Backend) -> Result<Report> {
    let start = Instant::now();
    let mut operator = Operator::start(schedule, backend)?;
    let diary = Arc::new(Diary::default());
    let players = Players::start(operator.host.mqtt()?, schedule.parts.clone(), &diary);
    operator.perform(schedule, backend)?;
    operator.restore()?;
    players.settle(SETTLE)?;
    let report = finish(schedule, backend, &operator, &diary, 0)?;
    players.leave()?;
    Ok(Report {
        elapsed: start.elapsed(),
        ..report
    })
}

/// Judges, when the clients have settled. `others` are events that no client of the schedule caused.
fn finish(
    schedule: &Schedule,
    backend: &Backend,
    operator: &Operator,
    diary: &Diary,
    others: u64,
) -> Result<Report> {
    come_to_rest(schedule, operator)?;
    let judged = judge(schedule, backend, operator, diary)?;
    let status = operator.host.admin()?.get("/v1/status")?.expect(200)?;
    let count = |name: &str| status.at(&format!("/events/{name}")).as_u64();
    let read = Some(judged.events + others);
    ensure!(
        read == count("recorded") && read == count("delivered"),
        "the consumer read {read:?} events: {}",
        status.text
    );
    for name in ["skipped", "buried", "expired", "discarded", "replayed"] {
        ensure!(
            count(name) == Some(0),
            "events were {name}: {}",
            status.text
        );
    }
    Ok(Report {
        connections: diary.attempts().len(),
        events: judged.events,
        repeated: judged.repeated,
        lost_uncommitted: judged.lost_uncommitted,
        elapsed: Duration::ZERO,
    })
}

/// Waits until the host knows of every end and has delivered everything.
fn come_to_rest(schedule: &Schedule, operator: &Operator) -> Result<()> {
    let admin = operator.host.admin()?;
    let stay = schedule.parts.iter().filter(|part| part.stays).count();
    let mut last = String::new();
    let done = eventually("delivery of everything", DELIVERY, || {
        let status = admin.get("/v1/status")?.expect(200)?;
        last.clone_from(&status.text);
        let is_done = *status.at("/connections") == stay
            && *status.at("/outbox/uncommitted") == 0
            && *status.at("/events/pending") == 0;
        Ok(is_done.then_some(()))
    });
    done.with_context(|| format!("{stay} clients stay; last status: {last}"))?;
    oracle::conservation(&admin)
}

fn judge(
    schedule: &Schedule,
    backend: &Backend,
    operator: &Operator,
    diary: &Diary,
) -> Result<Judged> {
    let status = operator.host.admin()?.get("/v1/status")?.expect(200)?;
    let attempts = diary.attempts();
    let mut sum = Judged::default();
    for (rule, matching) in operator.matching.iter().enumerate() {
        let group = format!("{}@@@", schedule::group(rule));
        let of_group: Vec<_> = attempts
            .iter()
            .filter(|attempt| attempt.client_id.starts_with(&group))
            .cloned()
            .collect();
        let case = Case {
            attempts: &of_group,
            matching,
            kills: &operator.kills,
            stops: &operator.stops,
            trouble_since: operator.trouble_since,
            is_after_commit: schedule.is_after_commit,
            order: order(schedule, rule),
        };
        let rule_id = schedule::rule_id(rule);
        let expected = status
            .at("/rules")
            .as_array()
            .and_then(|rules| {
                let is_it = |it: &&Value| it.get("ruleId").is_some_and(|id| *id == *rule_id);
                rules.iter().find(is_it)
            })
            .and_then(|it| it.pointer("/events/recorded")?.as_u64());
        let messages = read(backend, schedule, rule, expected.unwrap_or(0))?;
        let judged = case
            .judge(&messages)
            .with_context(|| format!("rule {rule}"))?;
        sum.events += judged.events;
        sum.repeated += judged.repeated;
        sum.lost_uncommitted += judged.lost_uncommitted;
    }
    Ok(sum)
}

fn order(schedule: &Schedule, rule: usize) -> Order {
    match (Operator::is_strict(rule), schedule.recreates(rule)) {
        (false, _) => Order::WithinQueues,
        // The new rule of the same topic may choose other queues.
        (true, true) => Order::ByStorage,
        (true, false) => Order::OneQueue,
    }
}

/// Everything in all topics of a rule; at least `expected` different events if they come.
fn read(
    backend: &Backend,
    schedule: &Schedule,
    rule: usize,
    expected: u64,
) -> Result<Vec<Message>> {
    let expected = usize::try_from(expected)?;
    let start = Instant::now();
    loop {
        let mut messages = Vec::new();
        for topic in schedule.topics(rule) {
            messages.extend(bare_reader::read(
                &backend.name_server,
                &topic,
                0,
                Duration::ZERO,
            )?);
        }
        let events: std::collections::BTreeSet<_> = messages
            .iter()
            .filter_map(|message| message.properties.get("eventId"))
            .collect();
        if events.len() >= expected || start.elapsed() > SHOW {
            return Ok(messages);
        }
    }
}
