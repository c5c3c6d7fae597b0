//! kill -9 of the host with open connections.

use std::time::Duration;

use acceptance::admin::status_rule;
use acceptance::eventually::eventually;
use acceptance::host::{HostSpec, TestHost};
use acceptance::load::Load;
use acceptance::oracle::{self, Counts};
use acceptance::{reader, scale};
use anyhow::{Result, ensure};

pub(crate) fn kill_and_restart(instance: &str) -> Result<()> {
    let clients = scale::pick(200, 1000);
    let mut host = TestHost::start(HostSpec::on(instance)?)?;
    let admin = host.admin()?;
    admin.create_rule(&status_rule("crash", "GID_Crash", instance, "TopicCrash"))?;
    let load = Load::hold(host.mqtt()?, "GID_Crash@@@", clients)?;
    // CONNACK may come before the commit: what is promised holds for what is recorded.
    eventually("record of every connect", Duration::from_secs(10), || {
        let recorded = usize::try_from(admin.events("recorded")?)?;
        Ok((recorded == clients).then_some(()))
    })?;
    host.kill()?;
    host.restart()?;
    drop(load);
    // A repeated suffix is allowed, so it asks until every event is there.
    host.admin()?
        .wait_until_delivered(Duration::from_secs(60))?;
    // Not through the host: a repeated suffix makes the number of messages unknown.
    let messages = reader::java(
        &host.name_server(instance)?,
        "TopicCrash",
        clients * 2,
        Duration::from_secs(60),
    )?;
    let verdict = oracle::judge(&messages)?;
    let expected = Counts {
        connect: clients,
        disconnect: 0,
        tcpclean: clients,
    };
    verdict.expect_counts(expected)?;
    verdict.expect_nobody_online()?;
    let made_up = verdict
        .clients
        .values()
        .filter_map(|events| events.last())
        .filter(|event| event.synthetic.as_deref() == Some("host-restart"))
        .count();
    ensure!(
        made_up == clients,
        "{made_up} of {clients} closings say that the host restarted"
    );
    Ok(())
}
