//! RocketMQ is cut off during a storm: clients must not notice, and nothing may be lost.

use std::time::Duration;

use acceptance::admin::{Admin, status_rule};
use acceptance::eventually::now_ms;
use acceptance::host::{HostSpec, TestHost};
use acceptance::load::{Load, StormReport, StormSpec};
use acceptance::proxy::RocketmqProxy;
use acceptance::{java, oracle, reader, scale};
use anyhow::{Context, Result, ensure};

/// Below this, a factor of two says nothing on a shared machine.
const P99_FLOOR_US: u64 = 20_000;
const RESUME_MS: u64 = 5000;

pub(crate) fn slows_no_client() -> Result<()> {
    let (rate, seconds) = scale::pick((200, 10), (1000, 60));
    let (name_server, broker) = java::shared()?;
    let proxy = RocketmqProxy::start(&name_server, &broker)?;
    let host = TestHost::start(HostSpec {
        java_name_server: Some(proxy.name_server()),
        ..HostSpec::default()
    })?;
    let admin = host.admin()?;
    admin.create_rule(&status_rule("outage", "GID_Outage", "java", "TopicOutage"))?;
    admin.wait_for_health("outage", "running", Duration::from_secs(30))?;
    let storm = |prefix: &'static str| -> Result<StormReport> {
        let spec = StormSpec {
            prefix,
            rate,
            seconds,
            clients: rate * 2,
        };
        let report = Load::storm(host.mqtt()?, spec)?.report()?;
        ensure!(
            report.refused == 0 && report.errors == 0,
            "not every connect was accepted: {report:?}"
        );
        Ok(report)
    };

    let calm = storm("GID_Outage@@@calm")?;
    admin.wait_until_delivered(Duration::from_secs(60))?;
    proxy.cut();
    let cut_at = now_ms();
    let cut_off = storm("GID_Outage@@@cut");
    // The storm lasts as long as the cut is promised to be survived.
    let still_cut = admin.events("pending")?;
    proxy.restore()?;
    let restored_at = now_ms();
    let cut_off = cut_off?;
    ensure!(still_cut > 0, "events were delivered in spite of the cut");
    ensure!(
        restored_at - cut_at >= u64::from(seconds) * 1000,
        "the cut was too short"
    );
    let limit = calm.p99_us.max(P99_FLOOR_US) * 2;
    ensure!(
        cut_off.p99_us <= limit,
        "CONNACK p99 {} µs cut off, {} µs before",
        cut_off.p99_us,
        calm.p99_us
    );

    admin.wait_until_delivered(Duration::from_secs(120))?;
    judge(&admin, &name_server, [calm, cut_off], restored_at)
}

fn judge(
    admin: &Admin,
    name_server: &str,
    storms: [StormReport; 2],
    restored_at: u64,
) -> Result<()> {
    let events = usize::try_from(admin.events("recorded")?)?;
    let messages = reader::java(name_server, "TopicOutage", events, Duration::from_secs(120))?;
    let verdict = oracle::judge(&messages)?;
    let counts = verdict.counts();
    let connects: u64 = storms.iter().map(|storm| storm.connects).sum();
    ensure!(
        u64::try_from(counts.connect)? == connects,
        "{counts:?} for {connects} connects"
    );
    ensure!(
        counts.tcpclean == counts.connect && verdict.online().is_empty(),
        "{counts:?}"
    );
    let resumed_at = messages
        .iter()
        .filter_map(|message| message.stored_at)
        .filter(|stored_at| *stored_at >= restored_at)
        .min()
        .context("nothing arrived after the cut")?;
    ensure!(
        resumed_at - restored_at <= RESUME_MS,
        "delivery resumed after {} ms",
        resumed_at - restored_at
    );
    Ok(())
}
