//! Where the time of an event goes, from the socket to the storage by RocketMQ, when nothing else happens.

use std::time::Duration;

use acceptance::admin::status_rule;
use acceptance::bare_client::BareClient;
use acceptance::eventually::{eventually, let_pass};
use acceptance::host::{HostSpec, TestHost};
use acceptance::metrics::{Histogram, Metrics};
use acceptance::{figures, java, oracle, scale};
use anyhow::{Result, ensure};

/// The stages of an event's way, and all of it; `true`: named by the instance, not by the rule.
const STAGES: [(&str, &str, bool); 4] = [
    ("commit", "rulemill_event_commit_seconds", false),
    ("map", "rulemill_mapper_call_seconds", false),
    ("send", "rulemill_rocketmq_send_seconds", true),
    ("all", "rulemill_event_delivery_seconds", false),
];
/// Median and 99th percentile of the whole way, seconds: on a machine that does nothing else, and on a build machine
/// that does much.
const DELIVERY_S: (f64, f64) = (0.02, 0.1);
const DELIVERY_BUSY_S: (f64, f64) = (0.1, 3.0);
const PAUSE: Duration = Duration::from_millis(40);

pub(crate) fn of_one_event() -> Result<()> {
    let visits = scale::pick(100, 2000);
    let host = TestHost::start(HostSpec {
        java_name_server: Some(java::shared()?.0),
        embedded: false,
        ..HostSpec::default()
    })?;
    let admin = host.admin()?;
    admin.create_rule(&status_rule("stages", "GID_Stages", "java", "TopicStages"))?;
    admin.wait_for_health("stages", "running", Duration::from_secs(30))?;
    let visit = |number: u32| -> Result<()> {
        BareClient::visit(host.mqtt()?, &format!("GID_Stages@@@{}", number % 64))?;
        // One at a time: the next comes when the last is delivered and a little longer.
        admin.wait_until_delivered(Duration::from_secs(30))?;
        let_pass(PAUSE);
        Ok(())
    };
    // The first ones open connections and warm instances.
    for number in 0..20 {
        visit(number)?;
    }
    let before = read(&Metrics::read(&admin)?)?;
    for number in 0..visits {
        visit(number)?;
    }
    let now = eventually("metrics of every event", Duration::from_secs(10), || {
        let now = read(&Metrics::read(&admin)?)?;
        let events = now.map_or_zero(&before);
        Ok((events >= f64::from(visits) * 3.0).then_some(now))
    })?;
    report(&now, &before)?;
    oracle::conservation(&admin)
}

/// The stages' histograms in the order of [`STAGES`].
struct Reading(Vec<Histogram>);

impl Reading {
    /// Events that went the whole way since `before`.
    fn map_or_zero(&self, before: &Self) -> f64 {
        match (self.0.last(), before.0.last()) {
            (Some(now), Some(before)) => now.since(before).count(),
            _ => 0.0,
        }
    }
}

fn read(metrics: &Metrics) -> Result<Reading> {
    let mut histograms = Vec::new();
    for (_, name, is_instance) in STAGES {
        let labels = if is_instance {
            "instance=\"java\""
        } else if name == "rulemill_event_commit_seconds" {
            ""
        } else {
            "rule_id=\"stages\""
        };
        histograms.push(metrics.histogram(name, labels)?);
    }
    Ok(Reading(histograms))
}

fn report(now: &Reading, before: &Reading) -> Result<()> {
    let spans: Vec<Histogram> = now
        .0
        .iter()
        .zip(&before.0)
        .map(|(now, before)| now.since(before))
        .collect();
    let [commit, map, send, all] = spans.as_slice() else {
        anyhow::bail!("not every stage has a histogram");
    };
    let mut lines = Vec::new();
    for ((stage, _, _), span) in STAGES.iter().zip(&spans) {
        lines.push(format!(
            "{stage} p50 {:.2} ms, p99 {:.2} ms, mean {:.2} ms ({:.0} %)",
            span.quantile(0.5) * 1000.0,
            span.quantile(0.99) * 1000.0,
            span.mean() * 1000.0,
            span.mean() / all.mean().max(f64::MIN_POSITIVE) * 100.0
        ));
    }
    figures::say(
        "stages",
        &format!("{:.0} events; {}", all.count(), lines.join("; ")),
    );
    ensure!(
        commit.count() > 0.0 && map.count() > 0.0 && send.count() > 0.0,
        "a stage was not timed"
    );
    // The whole is counted in milliseconds from the event's stamp, so parts and whole differ by up to one.
    let parts = commit.mean() + map.mean() + send.mean();
    ensure!(
        parts <= all.mean() + 0.002,
        "the stages take {parts} s, the whole way {} s",
        all.mean()
    );
    let (p50, p99) = scale::pick(DELIVERY_BUSY_S, DELIVERY_S);
    ensure!(
        all.quantile(0.5) <= p50 && all.quantile(0.99) <= p99,
        "delivery has p50 {} s and p99 {} s",
        all.quantile(0.5),
        all.quantile(0.99)
    );
    Ok(())
}
