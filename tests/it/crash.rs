//! kill -9 of the host with open connections.

use std::time::Duration;

use acceptance::admin::status_rule;
use acceptance::eventually::eventually;
use acceptance::host::{HostSpec, TestHost};
use acceptance::load::Load;
use acceptance::message::Message;
use acceptance::oracle::{self, Counts};
use acceptance::{java as java_server, reader, scale};
use anyhow::{Result, ensure};

pub(crate) fn embedded() -> Result<()> {
    kill_and_restart(HostSpec::default(), "embedded", |host, count| {
        // Not through the host: a repeated suffix makes the number of messages unknown.
        let name_server = host.name_server("embedded")?;
        reader::java(&name_server, "TopicCrash", count, Duration::from_secs(60))
    })
}

pub(crate) fn java() -> Result<()> {
    let (name_server, _) = java_server::shared()?;
    let spec = HostSpec {
        java_name_server: Some(name_server.clone()),
        ..HostSpec::default()
    };
    kill_and_restart(spec, "java", |_, count| {
        reader::java(&name_server, "TopicCrash", count, Duration::from_secs(60))
    })
}

fn kill_and_restart(
    spec: HostSpec,
    instance: &str,
    read: impl Fn(&TestHost, usize) -> Result<Vec<Message>>,
) -> Result<()> {
    let clients = scale::pick(200, 1000);
    let mut host = TestHost::start(spec)?;
    host.admin()?
        .post(
            "/v1/rules",
            &status_rule("crash", "GID_Crash", instance, "TopicCrash"),
        )?
        .expect(201)?;
    let load = Load::hold(host.mqtt()?, "GID_Crash@@@", clients)?;
    // CONNACK may come before the commit: what is promised holds for what is recorded.
    let admin = host.admin()?;
    eventually("record of every connect", Duration::from_secs(10), || {
        let status = admin.get("/v1/status")?.expect(200)?;
        let recorded = status.at("/events/recorded").as_u64();
        Ok((recorded == u64::try_from(clients).ok()).then_some(()))
    })?;
    host.kill()?;
    host.restart()?;
    drop(load);
    // A repeated suffix is allowed, so it asks until every event is there.
    host.admin()?
        .wait_until_delivered(Duration::from_secs(60))?;
    let verdict = oracle::judge(&read(&host, clients * 2)?)?;
    let expected = Counts {
        connect: clients,
        disconnect: 0,
        tcpclean: clients,
    };
    ensure!(
        verdict.counts() == expected,
        "expected {expected:?}, got {:?}",
        verdict.counts()
    );
    ensure!(
        verdict.online().is_empty(),
        "online: {:?}",
        verdict.online()
    );
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
