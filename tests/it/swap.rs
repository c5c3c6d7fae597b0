//! The mapping is swapped while clients storm in.

use std::time::Duration;

use acceptance::admin::status_rule;
use acceptance::event::Format;
use acceptance::eventually::eventually;
use acceptance::host::{HostSpec, TestHost};
use acceptance::load::{Load, StormSpec};
use acceptance::message::Message;
use acceptance::oracle::{self, Verdict};
use acceptance::{java as java_server, reader, scale};
use anyhow::{Context, Result, ensure};

pub(crate) fn embedded() -> Result<()> {
    under_storm(HostSpec::default(), "embedded", |host, count| {
        reader::through_host(host, "embedded", "TopicSwap", count)
    })
}

pub(crate) fn java() -> Result<()> {
    let (name_server, _) = java_server::shared()?;
    let spec = HostSpec {
        java_name_server: Some(name_server.clone()),
        ..HostSpec::default()
    };
    under_storm(spec, "java", |_, count| {
        reader::java(&name_server, "TopicSwap", count, Duration::from_secs(120))
    })
}

fn under_storm(
    spec: HostSpec,
    instance: &str,
    read: impl Fn(&TestHost, usize) -> Result<Vec<Message>>,
) -> Result<()> {
    let (rate, seconds) = scale::pick((200, 6), (1000, 20));
    let host = TestHost::start(spec)?;
    let admin = host.admin()?;
    admin
        .post(
            "/v1/rules",
            &status_rule("swap", "GID_Swap", instance, "TopicSwap"),
        )?
        .expect(201)?;
    admin.wait_for_health("swap", "running", Duration::from_secs(30))?;
    // Each client comes several times, before and after the swap.
    let storm = StormSpec {
        prefix: "GID_Swap@@@",
        rate,
        seconds,
        clients: rate,
    };
    let storm = Load::storm(host.mqtt()?, storm)?;
    let third = u64::from(rate * seconds);
    eventually("a part of the storm", Duration::from_secs(60), || {
        let delivered = admin
            .get("/v1/status")?
            .expect(200)?
            .at("/events/delivered")
            .as_u64();
        Ok(delivered.filter(|delivered| *delivered >= third))
    })?;
    admin.edit_rule("swap", |rule| {
        if let Some(mapping) = rule.get_mut("mapping") {
            *mapping = serde_json::json!({ "plugin": "cloudevents" });
        }
    })?;
    let report = storm.report()?;
    ensure!(
        report.refused == 0 && report.errors == 0,
        "not every connect was accepted: {report:?}"
    );
    admin.wait_until_delivered(Duration::from_secs(120))?;
    let recorded = admin
        .get("/v1/status")?
        .expect(200)?
        .at("/events/recorded")
        .as_u64();
    let events = usize::try_from(recorded.context("no events.recorded")?)?;
    let verdict = oracle::judge(&read(&host, events)?)?;
    let counts = verdict.counts();
    ensure!(
        u64::try_from(counts.connect)? == report.connects,
        "{} connects for {report:?}",
        counts.connect
    );
    ensure!(counts.tcpclean == counts.connect, "{counts:?}");
    ensure!(
        counts.connect + counts.disconnect + counts.tcpclean == events,
        "{counts:?} of {events} recorded"
    );
    one_swap_per_client(&verdict)
}

fn one_swap_per_client(verdict: &Verdict) -> Result<()> {
    let mut swapped = 0_usize;
    for (client, events) in &verdict.clients {
        let formats: Vec<Format> = events.iter().map(|event| event.format).collect();
        let first_new = formats
            .iter()
            .position(|format| *format == Format::CloudEvents);
        let first_new = first_new.unwrap_or(formats.len());
        let rest = formats.get(first_new..).unwrap_or_default();
        ensure!(
            rest.iter().all(|format| *format == Format::CloudEvents),
            "{client} goes back: {formats:?}"
        );
        swapped += usize::from(first_new > 0 && first_new < formats.len());
    }
    ensure!(
        swapped > 0,
        "no client lived through the swap: the storm ended before it, or it came too early"
    );
    Ok(())
}
