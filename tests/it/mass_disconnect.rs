//! Every client is lost at once, and RocketMQ with them.

use std::time::Duration;

use acceptance::admin::status_rule;
use acceptance::eventually::{eventually, let_pass, now_ms};
use acceptance::host::{HostSpec, TestHost};
use acceptance::load::{Load, StormReport, StormSpec};
use acceptance::message::Message;
use acceptance::oracle::{self, Counts};
use acceptance::proxy::RocketmqProxy;
use acceptance::{figures, java, memory, reader, scale};
use anyhow::{Context, Result, ensure};

/// What the host's manual states: so much without clients …
const MEMORY_BASE_MIB: u64 = 192;
/// … and so much for a thousand clients, with their closing events waiting.
const MEMORY_PER_1000_MIB: u64 = 24;
/// CONNACK of the clients that come back meanwhile, 99th percentile.
const CONNACK_P99_US: u64 = 1_000_000;
const RESUME_MS: u64 = 5000;

struct Scale {
    clients: usize,
    outage: u32,
    rate: u32,
}

const SCALED: Scale = Scale {
    clients: 500,
    outage: 3,
    rate: 50,
};
const FULL: Scale = Scale {
    clients: 15_000,
    outage: 30,
    rate: 200,
};

pub(crate) fn every_loss_is_told() -> Result<()> {
    let scale = scale::pick(SCALED, FULL);
    let (name_server, broker) = java::shared()?;
    let proxy = RocketmqProxy::start(&name_server, &broker)?;
    let host = TestHost::start(HostSpec {
        java_name_server: Some(proxy.name_server()),
        embedded: false,
        ..HostSpec::default()
    })?;
    let admin = host.admin()?;
    admin.create_rule(&status_rule("mass", "GID_Mass", "java", "TopicMass"))?;
    admin.wait_for_health("mass", "running", Duration::from_secs(30))?;
    let load = Load::hold(host.mqtt()?, "GID_Mass@@@", scale.clients)?;
    eventually("record of every connect", Duration::from_secs(60), || {
        let recorded = usize::try_from(admin.events("recorded")?)?;
        Ok((recorded == scale.clients).then_some(()))
    })?;
    let connected = memory::peak(host.pid())?;

    proxy.cut();
    let cut_at = now_ms();
    load.kill()?;
    // The same clients come back, faster than their losses can have been read.
    let back = StormSpec {
        prefix: "GID_Mass@@@",
        rate: scale.rate,
        seconds: scale.outage,
        clients: u32::try_from(scale.clients)?,
    };
    let back = Load::storm(host.mqtt()?, back)?.report()?;
    let end = cut_at + u64::from(scale.outage) * 1000;
    let_pass(Duration::from_millis(end.saturating_sub(now_ms())));
    ensure!(
        admin.events("pending")? >= u64::try_from(scale.clients)?,
        "the losses were delivered in spite of the outage"
    );
    proxy.restore()?;
    let restored_at = now_ms();
    admin.wait_until_delivered(Duration::from_secs(120))?;
    let peak = memory::peak(host.pid())?;
    figures::say(
        "mass disconnect",
        &format!(
            "{} clients, host {} MiB connected, {} MiB at most; meanwhile {back:?}",
            scale.clients,
            memory::mib(connected),
            memory::mib(peak)
        ),
    );

    judge(
        &scale,
        back,
        &read(admin.events("recorded")?, &name_server)?,
        restored_at,
    )?;
    ensure!(
        back.refused == 0 && back.errors == 0 && back.p99_us <= CONNACK_P99_US,
        "clients could not come back well: {back:?}"
    );
    let thousands = u64::try_from(scale.clients.div_ceil(1000))?;
    let bound = MEMORY_BASE_MIB + MEMORY_PER_1000_MIB * thousands;
    ensure!(
        memory::mib(peak) <= bound,
        "the host took {} MiB, stated are {bound} MiB",
        memory::mib(peak)
    );
    oracle::conservation(&admin)
}

fn read(recorded: u64, name_server: &str) -> Result<Vec<Message>> {
    let events = usize::try_from(recorded)?;
    reader::java(name_server, "TopicMass", events, Duration::from_secs(180))
}

fn judge(scale: &Scale, back: StormReport, messages: &[Message], restored_at: u64) -> Result<()> {
    let verdict = oracle::judge(messages)?;
    let returns = usize::try_from(back.connects)?;
    verdict.expect_counts(Counts {
        connect: scale.clients + returns,
        // Every second one that came back went by DISCONNECT.
        disconnect: returns.div_ceil(2),
        tcpclean: scale.clients + returns,
    })?;
    ensure!(
        verdict.clients.len() == scale.clients,
        "{} clients of {}",
        verdict.clients.len(),
        scale.clients
    );
    verdict.expect_nobody_online()?;
    let resumed_at = messages
        .iter()
        .filter_map(|message| message.stored_at)
        .filter(|stored_at| *stored_at >= restored_at)
        .min()
        .context("nothing arrived after the outage")?;
    ensure!(
        resumed_at - restored_at <= RESUME_MS,
        "delivery resumed after {} ms",
        resumed_at - restored_at
    );
    Ok(())
}
