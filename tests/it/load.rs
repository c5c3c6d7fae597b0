//! Many clients, half of them closed cleanly and half lost with their process.

use std::time::Duration;

use acceptance::admin::status_rule;
use acceptance::host::{HostSpec, TestHost};
use acceptance::load::Load;
use acceptance::message::Message;
use acceptance::oracle::{self, Counts};
use acceptance::{java as java_server, reader, scale};
use anyhow::{Result, ensure};

pub(crate) fn embedded() -> Result<()> {
    half_and_half(HostSpec::default(), "embedded", |host, count| {
        reader::through_host(host, "embedded", "TopicHalf", count)
    })
}

pub(crate) fn java() -> Result<()> {
    let (name_server, _) = java_server::shared()?;
    let spec = HostSpec {
        java_name_server: Some(name_server.clone()),
        ..HostSpec::default()
    };
    half_and_half(spec, "java", |_, count| {
        reader::java(&name_server, "TopicHalf", count, Duration::from_secs(60))
    })
}

fn half_and_half(
    spec: HostSpec,
    instance: &str,
    read: impl Fn(&TestHost, usize) -> Result<Vec<Message>>,
) -> Result<()> {
    let clients = scale::pick(500, 5000);
    let host = TestHost::start(spec)?;
    let admin = host.admin()?;
    admin
        .post(
            "/v1/rules",
            &status_rule("half", "GID_Half", instance, "TopicHalf"),
        )?
        .expect(201)?;
    let mut load = Load::hold(host.mqtt()?, "GID_Half@@@", clients)?;
    load.close_half()?;
    load.kill()?;
    let events = clients * 2 + clients / 2;
    let messages = read(&host, events)?;
    // The judge pairs by channel id and checks each client's order in its queue.
    let verdict = oracle::judge(&messages)?;
    let expected = Counts {
        connect: clients,
        disconnect: clients / 2,
        tcpclean: clients,
    };
    ensure!(
        verdict.counts() == expected,
        "expected {expected:?}, got {:?}",
        verdict.counts()
    );
    ensure!(
        verdict.clients.len() == clients,
        "{} clients",
        verdict.clients.len()
    );
    ensure!(
        verdict.online().is_empty(),
        "online: {:?}",
        verdict.online()
    );
    admin.wait_until_delivered(Duration::from_secs(10))
}
