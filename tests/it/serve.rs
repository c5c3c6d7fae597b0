//! Starting without a configuration, and ending by SIGTERM.

use std::fs::File;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use acceptance::admin::status_rule;
use acceptance::cli;
use acceptance::eventually::eventually;
use acceptance::host::{HostSpec, TestHost};
use acceptance::load::Load;
use acceptance::oracle::{self, Counts};
use acceptance::process::Process;
use acceptance::reader;
use anyhow::{Result, ensure};
use rustix::process::Signal;

/// `delivery.shutdown-grace` and a little more.
const GRACE: Duration = Duration::from_secs(15);
/// Every key of a listener, and its default port.
pub(crate) const DEFAULT_PORTS: [(&str, u16); 5] = [
    ("mqtt.tcp", 1883),
    ("mqtt.ws", 8083),
    ("admin.listen", 8180),
    ("rocketmq.instances.embedded.name-server-listen", 9876),
    ("rocketmq.instances.embedded.broker-listen", 10_911),
];

/// With no file, no flag and an empty home folder. Only where another program has a default port is
/// that port set to 0: the test is of the defaults, not of the machine.
pub(crate) fn says_what_to_do_next() -> Result<()> {
    let home = tempfile::tempdir()?;
    let log_path = home.path().join("log");
    let log = File::create(&log_path)?;
    let mut command = Command::new(cli::host_binary()?);
    command
        .arg("serve")
        .env("HOME", home.path())
        .env("XDG_DATA_HOME", home.path().join("share"));
    let mut expected = Vec::new();
    for (key, port) in DEFAULT_PORTS {
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            expected.push(port.to_string());
        } else {
            command.arg("--set").arg(format!("{key}=127.0.0.1:0"));
        }
    }
    // Inside the embedded RocketMQ, no address that a user needs.
    expected.retain(|port| port != "10911");
    command
        .current_dir(home.path())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    let mut host = Process::start("rulemill serve", &mut command)?;
    // The promise of 2 s is for a release build; this one is not optimised.
    let said = eventually("what to do next", Duration::from_secs(30), || {
        let text = std::fs::read_to_string(&log_path)?;
        ensure!(host.ended()?.is_none(), "the host ended: {text}");
        Ok(text.contains("rule create").then_some(text))
    })?;
    for port in &expected {
        ensure!(
            said.contains(&format!(":{port}")),
            "port {port} is not named: {said}"
        );
    }
    ensure!(
        said.contains("GID_"),
        "no group in the rule to create: {said}"
    );
    host.signal(Signal::TERM)?;
    let status = host.wait(GRACE)?;
    ensure!(status.success(), "SIGTERM ended it with {status}");
    Ok(())
}

pub(crate) fn sigterm(instance: &str) -> Result<()> {
    let clients = 50;
    let mut host = TestHost::start(HostSpec::on(instance)?)?;
    host.admin()?
        .create_rule(&status_rule("term", "GID_Term", instance, "TopicTerm"))?;
    let load = Load::hold(host.mqtt()?, "GID_Term@@@", clients)?;
    let status = host.terminate(GRACE)?;
    ensure!(status.success(), "SIGTERM ended it with {status}");
    load.kill()?;
    if instance == "embedded" {
        // Its topic ended with it and comes back with it.
        host.restart()?;
    }
    let deadline = Duration::from_secs(30);
    let messages = reader::of(&host, instance, "TopicTerm", clients * 2, deadline)?;
    let verdict = oracle::judge(&messages)?;
    let expected = Counts {
        connect: clients,
        disconnect: 0,
        tcpclean: clients,
    };
    verdict.expect_counts(expected)?;
    let synthetic = verdict
        .clients
        .values()
        .flatten()
        .filter(|event| event.synthetic.is_some())
        .count();
    ensure!(
        synthetic == 0,
        "{synthetic} events were made up at the next start"
    );
    Ok(())
}
