//! Many clients, half of them closed cleanly and half lost with their process.

use std::time::Duration;

use acceptance::admin::status_rule;
use acceptance::host::{HostSpec, TestHost};
use acceptance::load::Load;
use acceptance::oracle::{self, Counts};
use acceptance::{reader, scale};
use anyhow::{Result, ensure};

pub(crate) fn half_and_half(instance: &str) -> Result<()> {
    let clients = scale::pick(500, 5000);
    let host = TestHost::start(HostSpec::on(instance)?)?;
    let admin = host.admin()?;
    admin.create_rule(&status_rule("half", "GID_Half", instance, "TopicHalf"))?;
    let mut load = Load::hold(host.mqtt()?, "GID_Half@@@", clients)?;
    load.close_half()?;
    load.kill()?;
    let events = clients * 2 + clients / 2;
    let deadline = Duration::from_secs(60);
    let messages = reader::of(&host, instance, "TopicHalf", events, deadline)?;
    // The judge pairs by channel id and checks each client's order in its queue.
    let verdict = oracle::judge(&messages)?;
    let expected = Counts {
        connect: clients,
        disconnect: clients / 2,
        tcpclean: clients,
    };
    verdict.expect_counts(expected)?;
    ensure!(
        verdict.clients.len() == clients,
        "{} clients",
        verdict.clients.len()
    );
    verdict.expect_nobody_online()?;
    admin.wait_until_delivered(Duration::from_secs(10))
}
