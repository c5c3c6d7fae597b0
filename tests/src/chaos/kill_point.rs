//! A host under load that kills itself at a named point, and what is left of its events.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::backend::Backend;
use super::operator::{INSTANCE, Operator};
use super::player::Players;
use super::random::Random;
use super::schedule::Schedule;
use super::truth::Diary;
use super::{DELIVERY, Report, SETTLE, finish};
use crate::admin::status_rule;
use crate::bare_reader;
use crate::eventually::eventually;
use crate::load::{ChurnSpec, Load};
use crate::proxy::{Direction, Fault};

/// The names of all points.
pub const KILL_POINTS: [&str; 6] = [
    "before-append",
    "before-commit",
    "after-commit",
    "after-send",
    "compaction",
    "start-up",
];

/// For a host to die after it was told to.
const DEATH: Duration = Duration::from_secs(30);
/// For nearly all of a fill to be delivered by an embedded RocketMQ.
const DRAIN: Duration = Duration::from_secs(120);
/// Of load before and after the death.
const LOAD: Duration = Duration::from_millis(500);
/// Seeds of these schedules begin here, far from those of random ones that people choose.
const SEEDS_FROM: u64 = 1 << 40;
/// Rounds of a point.
const ROUNDS_MAX: u64 = 1000;

/// Every compaction passes its point so often at least.
const COMPACTION_PASSES: u64 = 10;

const FILL_GROUP: &str = "GID_ChaosFill";
const FILL_RULE: &str = "chaos-fill";
/// A file of two thirds of this is compacted at the next start if an eighth of it is in use.
const COMPACTED_FROM: u64 = 12 << 20;
/// A start finds the file worth compacting when one of so many events is left.
const FEW_OF: u64 = 10;
const DRAIN_BYTES_PER_SECOND: u64 = 1_500_000;
const FILL_VISITS: u64 = 2500;
const FILLS_MAX: u64 = 30;
/// More open channels than one transaction of a recovery closes.
const MANY_CHANNELS: u64 = 10_050;

/// Events of clients that are not judged one by one.
#[derive(Debug, Default)]
struct Fill {
    events: u64,
    /// Kept open until the host dies.
    open: Option<Load>,
}

/// One round of a point, with its own host; odd rounds run with `connack = "before-commit"`. With `is_large`, a start-up
/// dies between two of its transactions, not after the only one.
///
/// # Errors
///
/// Says which promise is broken, or that the host did not die.
pub fn kill_at(point: &str, round: u64, is_large: bool, backend: &Backend) -> Result<Report> {
    let index = KILL_POINTS.iter().position(|known| *known == point);
    let index = u64::try_from(index.context("no such point")?)?;
    ensure!(round < ROUNDS_MAX, "too many rounds");
    let seed = SEEDS_FROM + index * ROUNDS_MAX + round;
    play(point, seed, is_large, backend)
        .with_context(|| format!("round {round} of {point}, seed {seed}"))
}

fn play(point: &str, seed: u64, is_large: bool, backend: &Backend) -> Result<Report> {
    let start = Instant::now();
    let schedule = Schedule::of_steady_load(seed);
    let mut operator = Operator::start(&schedule, backend)?;
    let topic = schedule.topic(usize::MAX, 0);
    let fill = match (point, is_large) {
        ("compaction", _) => fill_file(&operator, &topic)?,
        ("start-up", true) => open_channels(&operator, &topic)?,
        _ => Fill::default(),
    };
    let diary = Arc::new(Diary::default());
    let players = Players::start(operator.host.mqtt()?, schedule.parts.clone(), &diary);
    if point != "compaction" {
        operator.watch_until(Instant::now() + LOAD)?;
    }
    let pass = match point {
        // Before it, and at its first writes.
        "compaction" => seed / 2 % COMPACTION_PASSES + 1,
        "start-up" => 1,
        _ => Random::new(seed).between(1, 60),
    };
    operator.kill_at(point, pass)?;
    operator
        .await_death(DEATH)
        .with_context(|| format!("at pass {pass}"))?;
    drop(fill.open);
    operator.watch_until(Instant::now() + LOAD)?;
    operator.restore()?;
    players.settle(SETTLE)?;
    let report = finish(&schedule, backend, &operator, &diary, fill.events)?;
    players.leave()?;
    check_fill(backend, &topic, fill.events)?;
    // What was stored and not settled is sent again, always.
    ensure!(
        point != "after-send" || report.repeated > 0,
        "nothing was repeated after a death between storage and settlement"
    );
    Ok(Report {
        elapsed: start.elapsed(),
        ..report
    })
}

fn add_rule(operator: &Operator, topic: &str) -> Result<()> {
    let rule = status_rule(FILL_RULE, FILL_GROUP, INSTANCE, topic);
    let admin = operator.host.admin()?;
    admin.create_rule(&rule)?;
    admin.wait_for_health(FILL_RULE, "running", DELIVERY)
}

/// Makes the outbox's file large and its contents small: a backlog, which waits behind a cut and is then delivered.
fn fill_file(operator: &Operator, topic: &str) -> Result<Fill> {
    add_rule(operator, topic)?;
    let (host, mut visits) = (&operator.host, 0);
    let file = host.data_dir().join("outbox.redb");
    operator.proxy.cut();
    for _ in 0..FILLS_MAX {
        let churn = ChurnSpec {
            prefix: &format!("{FILL_GROUP}@@@"),
            visits: FILL_VISITS,
            // One that is held up must not meet the next visit of its client.
            clients: FILL_VISITS,
            parallel: 64,
        };
        let report = Load::churn(host.mqtt()?, churn)?.report()?;
        ensure!(
            report.connects == FILL_VISITS,
            "not every visit was accepted: {report:?}"
        );
        visits += FILL_VISITS;
        expect_recorded(operator, visits * 3)?;
        if std::fs::metadata(&file)?.len() >= COMPACTED_FROM {
            drain_nearly(operator, visits * 3 / FEW_OF)?;
            return Ok(Fill {
                events: visits * 3,
                open: None,
            });
        }
    }
    bail!(
        "{} is too small to be compacted after {visits} visits",
        file.display()
    )
}

/// Nobody else is there yet: so many events are recorded.
fn expect_recorded(operator: &Operator, events: u64) -> Result<()> {
    let admin = operator.host.admin()?;
    let mut recorded = 0;
    let done = eventually("record of every event", DELIVERY, || {
        recorded = admin.events("recorded")?;
        Ok((recorded == events).then_some(()))
    });
    done.with_context(|| format!("{recorded} of {events}"))
}

/// Delivers nearly all of the backlog. The last events hold the end of the file: when they are gone as well, the engine
/// shortens it by itself.
fn drain_nearly(operator: &Operator, few: u64) -> Result<()> {
    // Slowly, or everything is gone before anybody looks. Whoever restores the network heals this as well.
    let link = operator.proxy.broker_link();
    link.harm(Direction::ToServer, Fault::Throttle(DRAIN_BYTES_PER_SECOND));
    operator.proxy.restore()?;
    let admin = operator.host.admin()?;
    eventually("delivery of nearly everything", DRAIN, || {
        Ok((admin.events("pending")? <= few).then_some(()))
    })
}

/// Opens so many channels that a recovery takes two transactions to close them.
fn open_channels(operator: &Operator, topic: &str) -> Result<Fill> {
    add_rule(operator, topic)?;
    let prefix = format!("{FILL_GROUP}@@@");
    let count = usize::try_from(MANY_CHANNELS)?;
    let load = Load::hold(operator.host.mqtt()?, &prefix, count)?;
    expect_recorded(operator, MANY_CHANNELS)?;
    Ok(Fill {
        events: MANY_CHANNELS * 2,
        open: Some(load),
    })
}

/// The consumer has every event of the fill.
fn check_fill(backend: &Backend, topic: &str, events: u64) -> Result<()> {
    let count = usize::try_from(events)?;
    let messages = bare_reader::read(&backend.name_server, topic, count, DELIVERY)?;
    let verdict = crate::oracle::judge(&messages)?;
    verdict.expect_nobody_online()?;
    let read: usize = verdict.clients.values().map(Vec::len).sum();
    ensure!(
        read == count,
        "the consumer read {read} of {count} events of the fill"
    );
    Ok(())
}
