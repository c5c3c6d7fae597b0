//! A rule's share of the outbox, or all of the outbox, is full: who is refused, how it is told, and how it ends.

use std::time::Duration;

use acceptance::admin::{Admin, status_rule};
use acceptance::bare_client::{Answer, BareClient, Version};
use acceptance::eventually::eventually;
use acceptance::foreign_client::{ForeignClient, Library, Way};
use acceptance::host::{HostSpec, TestHost};
use acceptance::load::{ChurnSpec, Load};
use acceptance::metrics::Metrics;
use acceptance::oracle::{self, Counts};
use acceptance::proxy::RocketmqProxy;
use acceptance::{figures, java, reader};
use anyhow::{Context, Result, ensure};

/// MQTT 5 "quota exceeded", MQTT 3.1.1 "server unavailable", and what paho makes of the latter.
const QUOTA_EXCEEDED: u8 = 0x97;
const V3_UNAVAILABLE: u8 = 3;
const PAHO_V3_UNAVAILABLE: u8 = 0x88;
/// Clients that are connected before the share is full.
const OPEN: usize = 10;
const RECOVERY: Duration = Duration::from_secs(10);

fn start(extra: &str) -> Result<(RocketmqProxy, TestHost)> {
    let (name_server, broker) = java::shared()?;
    let proxy = RocketmqProxy::start(&name_server, &broker)?;
    let host = TestHost::start(HostSpec {
        java_name_server: Some(proxy.name_server()),
        extra: extra.to_owned(),
        ..HostSpec::default()
    })?;
    Ok((proxy, host))
}

fn create(admin: &Admin, rule_id: &str, group: &str, instance: &str, topic: &str) -> Result<()> {
    admin.create_rule(&status_rule(rule_id, group, instance, topic))?;
    admin.wait_for_health(rule_id, "running", Duration::from_secs(30))
}

/// Visits until the group is refused; returns how many were accepted and how many refused.
fn fill(host: &TestHost, prefix: &str) -> Result<(u64, u64)> {
    let spec = ChurnSpec {
        prefix,
        visits: 4000,
        clients: 500,
        parallel: 16,
    };
    let report = Load::churn(host.mqtt()?, spec)?.report()?;
    ensure!(
        report.refused > 0 && report.errors == 0,
        "{prefix} did not become full: {report:?}"
    );
    Ok((report.connects, report.refused))
}

fn ask(host: &TestHost, version: Version, client_id: &str) -> Result<Answer> {
    Ok(BareClient::ask(host.mqtt()?, version, client_id)?.0)
}

fn expect_refusal(host: &TestHost, client_id: &str, word: &str) -> Result<()> {
    let v5 = ask(host, Version::V5, client_id)?;
    ensure!(
        v5.code == QUOTA_EXCEEDED && v5.reason.as_deref().is_some_and(|text| text.contains(word)),
        "MQTT 5: {v5:?}, not {QUOTA_EXCEEDED:#x} with {word:?}"
    );
    let v3 = ask(host, Version::V3, client_id)?;
    ensure!(v3.code == V3_UNAVAILABLE, "MQTT 3.1.1: {v3:?}");
    Ok(())
}

fn expect_paho_refusal(host: &TestHost, client_id: &str) -> Result<()> {
    for (v5, expected) in [(true, QUOTA_EXCEEDED), (false, PAHO_V3_UNAVAILABLE)] {
        let way = Way {
            library: Library::Paho,
            v5,
            websocket: false,
        };
        let code = ForeignClient::expect_refusal(way, host.mqtt()?, client_id)?;
        ensure!(code == expected, "paho was told {code:#x}, v5: {v5}");
    }
    Ok(())
}

/// Counts of one rule in `/v1/status`.
fn of_rule(admin: &Admin, rule_id: &str, count: &str) -> Result<u64> {
    let status = admin.get("/v1/status")?.expect(200)?;
    let rules = status.at("/rules").as_array().cloned().unwrap_or_default();
    let rule = rules
        .iter()
        .find(|rule| rule.pointer("/ruleId").is_some_and(|id| id == rule_id))
        .with_context(|| format!("no rule {rule_id} in {}", status.text))?;
    rule.pointer(&format!("/events/{count}"))
        .and_then(serde_json::Value::as_u64)
        .with_context(|| format!("no count {count}: {rule}"))
}

pub(crate) fn share() -> Result<()> {
    let (proxy, host) = start("[outbox]\nmax-bytes = \"1MiB\"\nrule-share = 0.5\n")?;
    let admin = host.admin()?;
    create(&admin, "narrow", "GID_Full", "java", "TopicFull")?;
    create(&admin, "other", "GID_Other", "embedded", "TopicOther")?;
    let mut open = Load::hold(host.mqtt()?, "GID_Full@@@open", OPEN)?;
    admin.wait_until_delivered(Duration::from_secs(30))?;

    proxy.cut();
    let (accepted, mut refused) = fill(&host, "GID_Full@@@v")?;
    expect_refusal(&host, "GID_Full@@@bare", "share")?;
    expect_paho_refusal(&host, "GID_Full@@@paho")?;
    refused += 4;
    told(&host, &admin, "narrow")?;
    let counted = of_rule(&admin, "narrow", "refused")?;
    ensure!(
        counted == refused && of_rule(&admin, "other", "refused")? == 0,
        "{counted} refusals are counted, {refused} were seen"
    );
    others_go_on(&host, &admin)?;
    // What was promised at CONNECT is kept: closing events are recorded although the share is full.
    let recorded = of_rule(&admin, "narrow", "recorded")?;
    open.close_half()?;
    open.kill()?;
    let closings = u64::try_from(OPEN + OPEN / 2)?;
    eventually("record of the closings", Duration::from_secs(10), || {
        let more = of_rule(&admin, "narrow", "recorded")? - recorded;
        Ok((more == closings).then_some(()))
    })?;

    proxy.restore()?;
    eventually("recovery by itself", RECOVERY, || {
        let answer = ask(&host, Version::V5, "GID_Full@@@again")?;
        Ok((answer.code == 0).then_some(()))
    })?;
    admin.wait_until_delivered(Duration::from_secs(60))?;
    expect_ready(&admin)?;
    let accepted = usize::try_from(accepted)?;
    let events = accepted * 3 + OPEN * 2 + OPEN / 2 + 2;
    let (name_server, _) = java::shared()?;
    let messages = reader::java(&name_server, "TopicFull", events, Duration::from_secs(60))?;
    let verdict = oracle::judge(&messages)?;
    verdict.expect_counts(Counts {
        connect: accepted + OPEN + 1,
        disconnect: accepted + OPEN / 2,
        tcpclean: accepted + OPEN + 1,
    })?;
    verdict.expect_nobody_online()?;
    figures::say(
        "full share",
        &format!("{accepted} visits of 3 events in 512 KiB, then {refused} refusals"),
    );
    oracle::conservation(&admin)
}

/// The metric, the log and `/readyz` name the rule; the host as a whole is ready for other clients.
fn told(host: &TestHost, admin: &Admin, rule_id: &str) -> Result<()> {
    let metrics = Metrics::read(admin)?;
    ensure!(
        metrics.value("rulemill_status_events_refused_total{event_type=\"connect\"}")? > 0.0,
        "no metric tells of the refusals"
    );
    let ready = admin.get("/readyz")?.expect(200)?;
    let degraded = ready.at("/degraded").to_string();
    ensure!(
        ready.at("/ready") == true && degraded.contains(rule_id) && degraded.contains("full"),
        "/readyz tells nothing: {}",
        ready.text
    );
    let log = host.log();
    let mut told = log
        .lines()
        .filter(|line| line.contains("WARN") && line.contains("full") && line.contains(rule_id));
    ensure!(
        told.next().is_some() && told.next().is_none(),
        "the log does not name the rule in exactly one warning"
    );
    Ok(())
}

fn expect_ready(admin: &Admin) -> Result<()> {
    let mut last = String::new();
    eventually("/readyz to be as before", RECOVERY, || {
        let ready = admin.get("/readyz")?;
        last.clone_from(&ready.text);
        let is_well = ready.status == 200 && ready.at("/degraded") == &serde_json::json!([]);
        Ok(is_well.then_some(()))
    })
    .with_context(|| format!("last: {last}"))
}

fn others_go_on(host: &TestHost, admin: &Admin) -> Result<()> {
    let delivered = of_rule(admin, "other", "delivered")?;
    for number in 0..20 {
        BareClient::visit(host.mqtt()?, &format!("GID_Other@@@{number}"))?;
    }
    eventually(
        "delivery of the other rule",
        Duration::from_secs(10),
        || {
            let more = of_rule(admin, "other", "delivered")? - delivered;
            Ok((more == 60).then_some(()))
        },
    )?;
    // No rule records this group: it has nothing to do with the outbox.
    BareClient::visit(host.mqtt()?, "GID_Nobody@@@1")
}

pub(crate) fn outbox() -> Result<()> {
    // Two rules fill it: the first has its share, the second takes what is left, which is less than its own.
    let (proxy, host) = start("[outbox]\nmax-bytes = \"1MiB\"\nrule-share = 0.6\n")?;
    let admin = host.admin()?;
    create(&admin, "first", "GID_First", "java", "TopicFirst")?;
    create(&admin, "second", "GID_Second", "java", "TopicSecond")?;
    create(&admin, "third", "GID_Third", "embedded", "TopicThird")?;
    proxy.cut();
    let (first, _) = fill(&host, "GID_First@@@v")?;
    expect_refusal(&host, "GID_First@@@bare", "share")?;
    let (second, _) = fill(&host, "GID_Second@@@v")?;
    expect_refusal(&host, "GID_Second@@@bare", "outbox is full")?;
    // A rule without anything queued is refused as well: its events could not be kept.
    expect_refusal(&host, "GID_Third@@@bare", "outbox is full")?;
    BareClient::visit(host.mqtt()?, "GID_Nobody@@@1")?;
    let ready = admin.get("/readyz")?;
    ensure!(
        ready.status == 503 && ready.text.contains("outbox is full"),
        "/readyz: {} {}",
        ready.status,
        ready.text
    );
    proxy.restore()?;
    eventually("recovery by itself", RECOVERY, || {
        for group in ["GID_First", "GID_Second", "GID_Third"] {
            if ask(&host, Version::V5, &format!("{group}@@@again"))?.code != 0 {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })?;
    admin.wait_until_delivered(Duration::from_secs(60))?;
    expect_ready(&admin)?;
    for (rule, accepted) in [("first", first), ("second", second)] {
        let delivered = of_rule(&admin, rule, "delivered")?;
        ensure!(
            delivered >= accepted * 3 + 2,
            "{delivered} events of {accepted} accepted visits of rule {rule}"
        );
    }
    oracle::conservation(&admin)
}
