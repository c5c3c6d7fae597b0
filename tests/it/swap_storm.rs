//! Swap after swap while clients storm in: good versions, versions that the host rejects, and versions that pass their
//! canary and crash for some clients.
//!
//! **What is measured.** Two figures, each the 99th percentile of a run, disturbed against undisturbed. *Call* is
//! `rulemill_mapper_call_seconds`: what one mapping takes, waiting for a mapper thread included, as the mean of its batch.
//! A stall makes the next batches larger and so hides in such a mean; therefore also *stored*, from each event's own time
//! to its storage by RocketMQ: nothing that a swap makes anybody wait for is left out of it. Both count all events, those
//! that crash too.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use acceptance::admin::{Admin, status_rule};
use acceptance::event::{Event, Format};
use acceptance::eventually::{eventually, let_pass};
use acceptance::host::{HostSpec, TestHost};
use acceptance::load::{Load, StormSpec};
use acceptance::message::Message;
use acceptance::metrics::Metrics;
use acceptance::{figures, fixture, java, oracle, reader, scale};
use anyhow::{Context, Result, ensure};
use serde_json::Value;

const RULE: &str = "storm";
const PLUGIN: &str = "storm";
/// How much longer the 99th percentile may be with swaps.
const RATIO_MAX: f64 = 1.5;
/// Visits a second of clients for whom the crashing versions trap.
const CRASHING_RATE: u32 = 4;
/// The part of a storm in which its swaps are made.
const SWAPPING_PART: f64 = 0.85;

/// How large a run is.
#[derive(Clone, Copy)]
struct Size {
    pairs: usize,
    /// Visits a second; each is 2.5 events.
    rate: u32,
    seconds: u32,
    swaps: u32,
}

/// What is pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Good,
    /// Traps in its canary.
    Rejected,
    /// Traps for clients `trap-…`; the good version before it maps them.
    Crashing,
}

/// Two good versions of different mappings, one that crashes, one that is rejected, and so on: before each crashing
/// one is a good one.
const TURNS: [(Kind, &str); 4] = [
    (Kind::Good, "cloudevents"),
    (Kind::Crashing, "hostile"),
    (Kind::Good, "apsaramq-status"),
    (Kind::Rejected, "always-trap"),
];

/// 99th percentiles of a run, seconds.
#[derive(Clone, Copy)]
struct Latency {
    call: f64,
    stored: f64,
}

pub(crate) fn loses_nothing_and_slows_nobody() -> Result<()> {
    let size = scale::pick(
        Size {
            pairs: 1,
            rate: 200,
            seconds: 30,
            swaps: 12,
        },
        Size {
            pairs: 5,
            rate: 2000,
            seconds: 80,
            swaps: 200,
        },
    );
    let components = BTreeMap::from([
        ("cloudevents", fixture::built_in("cloudevents")?),
        ("apsaramq-status", fixture::built_in("apsaramq-status")?),
        ("hostile", fixture::hostile(None)?),
        ("always-trap", fixture::hostile(Some("always-trap"))?),
    ]);
    let (mut calls, mut stored) = (Vec::new(), Vec::new());
    for number in 0..size.pairs {
        // By turns, so that neither always runs on the warmer machine.
        let run = |is_disturbed| one_run(&components, size, number, is_disturbed);
        let (calm, disturbed) = if number % 2 == 0 {
            let calm = run(false)?;
            (calm, run(true)?)
        } else {
            let disturbed = run(true)?;
            (run(false)?, disturbed)
        };
        figures::say(
            "swap storm",
            &format!(
                "p99 undisturbed and with {} swaps: call {:.1} and {:.1} µs, stored {:.1} and {:.1} ms",
                size.swaps,
                calm.call * 1e6,
                disturbed.call * 1e6,
                calm.stored * 1e3,
                disturbed.stored * 1e3
            ),
        );
        calls.push(disturbed.call / calm.call.max(f64::MIN_POSITIVE));
        stored.push(disturbed.stored / calm.stored.max(f64::MIN_POSITIVE));
    }
    let (call, stored) = (median(calls)?, median(stored)?);
    figures::say(
        "swap storm",
        &format!("median ratios of p99: call {call:.2}, stored {stored:.2}"),
    );
    // One pair on a build machine that does much else says nothing of time.
    let allowed = scale::pick(f64::INFINITY, RATIO_MAX);
    ensure!(
        call <= allowed && stored <= allowed,
        "with swaps the p99 of a call is {call:.2} times, of the way to storage {stored:.2} times as long"
    );
    Ok(())
}

fn median(mut values: Vec<f64>) -> Result<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().context("no pairs")
}

fn one_run(
    components: &BTreeMap<&str, Vec<u8>>,
    size: Size,
    number: usize,
    is_disturbed: bool,
) -> Result<Latency> {
    let (name_server, _) = java::shared()?;
    let host = TestHost::start(HostSpec {
        java_name_server: Some(name_server.clone()),
        embedded: false,
        ..HostSpec::default()
    })?;
    let admin = host.admin()?;
    let first = components.get("apsaramq-status").context("no component")?;
    admin.upload(PLUGIN, first)?.expect(201)?;
    let topic = format!("TopicSwapStorm{number}{}", u8::from(is_disturbed));
    let mut rule = status_rule(RULE, "GID_SwapStorm", "java", &topic);
    if let Some(fields) = rule.as_object_mut() {
        fields.insert(
            "mapping".to_owned(),
            serde_json::json!({ "plugin": PLUGIN }),
        );
    }
    admin.create_rule(&rule)?;
    admin.wait_for_health(RULE, "running", Duration::from_secs(30))?;
    let storms = [
        ("GID_SwapStorm@@@", size.rate),
        ("GID_SwapStorm@@@trap-", CRASHING_RATE),
    ];
    let storms = storms.map(|(prefix, rate)| StormSpec {
        prefix,
        rate,
        seconds: size.seconds,
        clients: rate,
    });
    let connects = Load::under_storms(host.mqtt()?, &storms, || {
        if is_disturbed {
            swap(&admin, components, size)
        } else {
            Ok(())
        }
    })?;
    all_delivered(&admin)?;
    if is_disturbed {
        reuses_functions(&admin)?;
    }
    let call = Metrics::read(&admin)?
        .histogram(
            "rulemill_mapper_call_seconds",
            &format!("rule_id=\"{RULE}\""),
        )?
        .quantile(0.99);
    let events = usize::try_from(admin.events("recorded")?)?;
    let messages = reader::java(&name_server, &topic, events, Duration::from_secs(300))?;
    let stored = judge(&messages, connects, events, is_disturbed)?;
    Ok(Latency { call, stored })
}

/// The same few components are compiled again and again, under other labels: nearly all of each is known.
fn reuses_functions(admin: &Admin) -> Result<()> {
    let metrics = Metrics::read(admin)?;
    let functions = |outcome: &str| {
        metrics.value(&format!(
            "rulemill_plugin_functions_total{{outcome=\"{outcome}\"}}"
        ))
    };
    let (reused, compiled) = (functions("reused")?, functions("compiled")?);
    ensure!(
        reused > compiled && metrics.value("rulemill_plugin_functions_bytes")? > 0.0,
        "{reused} functions were reused, {compiled} compiled"
    );
    Ok(())
}

/// Pushes versions at a steady pace, and checks what the host says to each.
fn swap(admin: &Admin, components: &BTreeMap<&str, Vec<u8>>, size: Size) -> Result<()> {
    let storm = Duration::from_secs(u64::from(size.seconds));
    let pace = storm.mul_f64(SWAPPING_PART) / size.swaps;
    let start = Instant::now();
    let mut generation = state(admin)?.at("/state/generation").as_u64().unwrap_or(0);
    let mut crashes = 0.0;
    for (number, (kind, name)) in (0..size.swaps).zip(TURNS.iter().cycle()) {
        let_pass((pace * number).saturating_sub(start.elapsed()));
        let component = components.get(name).context("no component")?;
        let component = fixture::relabelled(component, &number.to_string())?;
        let faults = faults(admin)?;
        let reply = admin.upload(PLUGIN, &component)?;
        if *kind == Kind::Rejected {
            reply.expect_error(422, "canary_failed")?;
            continue;
        }
        let version = reply.expect(201)?.at("/version").clone();
        let rule = state(admin)?;
        if *kind == Kind::Good {
            ensure!(
                rule.at("/state/pluginVersion") == &version
                    && rule.at("/state/health") == "running",
                "swap {number}: version {version} is not live: {}",
                rule.at("/state")
            );
            let now = rule.at("/state/generation").as_u64().unwrap_or(0);
            ensure!(now > generation, "swap {number}: generation {now} again");
            generation = now;
        } else {
            // It may be rolled back, and its canary may have met an event that it traps on: both are right. Otherwise
            // it stays until it has crashed.
            crashes += until_crashed(admin, &version, faults, pace)?;
        }
    }
    ensure!(crashes > 0.0, "no version crashed: nothing was shown");
    Ok(())
}

fn state(admin: &Admin) -> Result<acceptance::admin::Reply> {
    admin.get(&format!("/v1/rules/{RULE}"))?.expect(200)
}

fn faults(admin: &Admin) -> Result<f64> {
    Ok(Metrics::read(admin)?.total("rulemill_mapper_faults_total"))
}

/// How many faults there are more than `before`, as soon as there is one, the version is gone or the time is over.
fn until_crashed(admin: &Admin, version: &Value, before: f64, time: Duration) -> Result<f64> {
    let start = Instant::now();
    eventually("a crash", time + Duration::from_secs(10), || {
        let more = faults(admin)? - before;
        let is_live = state(admin)?.at("/state/pluginVersion") == version;
        let is_over = more > 0.0 || !is_live || start.elapsed() >= time;
        Ok(is_over.then_some(more))
    })
}

/// Nothing is left, nothing became a dead letter, nothing was left out.
fn all_delivered(admin: &Admin) -> Result<()> {
    admin.wait_until_delivered(Duration::from_secs(120))?;
    oracle::conservation(admin)?;
    let status = admin.get("/v1/status")?.expect(200)?;
    let count = |name: &str| status.at(&format!("/events/{name}")).as_u64();
    ensure!(
        count("delivered") == count("recorded") && count("buried") == Some(0),
        "not every event was delivered: {}",
        status.at("/events")
    );
    Ok(())
}

/// Order and completeness; returns the 99th percentile of the time to storage, seconds.
fn judge(messages: &[Message], connects: u64, events: usize, is_disturbed: bool) -> Result<f64> {
    let verdict = oracle::judge(messages)?;
    let counts = verdict.counts();
    ensure!(
        u64::try_from(counts.connect)? == connects && counts.tcpclean == counts.connect,
        "{counts:?} of {connects} connects"
    );
    ensure!(
        counts.connect + counts.disconnect + counts.tcpclean == events,
        "{counts:?} of {events} recorded"
    );
    let all = || verdict.clients.values().flatten();
    let is_swapped = all().any(|event| event.format == Format::CloudEvents);
    ensure!(
        is_swapped == is_disturbed,
        "the mapping {} seen in the messages",
        if is_disturbed { "was not" } else { "was" }
    );
    let mut ages = all().map(age_ms).collect::<Result<Vec<u64>>>()?;
    ages.sort_unstable();
    Ok(Duration::from_millis(figures::percentile(&ages, 99)).as_secs_f64())
}

fn age_ms(event: &Event) -> Result<u64> {
    let stored_at = event.stored_at.context("no time of storage")?;
    Ok(stored_at.saturating_sub(event.time))
}
