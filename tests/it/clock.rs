//! A data folder that was restored from an older copy.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use acceptance::admin::status_rule;
use acceptance::bare_client::BareClient;
use acceptance::host::{HostSpec, TestHost};
use acceptance::{cli, java, oracle, reader};
use anyhow::{Result, ensure};

const VISITS: usize = 20;
const STOP: Duration = Duration::from_secs(30);

/// Consumers have seen the events after the copy: what comes after the restoration must be later than those.
pub(crate) fn restored_folder() -> Result<()> {
    let name_server = java::shared()?.0;
    let mut host = TestHost::start(HostSpec {
        java_name_server: Some(name_server.clone()),
        embedded: false,
        ..HostSpec::default()
    })?;
    host.admin()?
        .create_rule(&status_rule("clock", "GID_Clock", "java", "TopicClock"))?;
    let copy = host.folder().join("copy");
    visits(&host)?;
    host.terminate(STOP)?;
    copy_folder(&host.data_dir(), &copy)?;

    host.restart()?;
    visits(&host)?;
    host.terminate(STOP)?;
    std::fs::remove_dir_all(host.data_dir())?;
    copy_folder(&copy, &host.data_dir())?;

    host.restart()?;
    visits(&host)?;
    oracle::conservation(&host.admin()?)?;

    let events = VISITS * 3 * 3;
    let messages = reader::java(&name_server, "TopicClock", events, Duration::from_secs(60))?;
    // The judge follows sequences and times of each client through all three lives.
    let verdict = oracle::judge(&messages)?;
    ensure!(
        verdict.counts().connect == VISITS * 3,
        "{:?} of {VISITS} visits in each of three lives",
        verdict.counts()
    );
    let sequences: BTreeSet<u64> = verdict
        .clients
        .values()
        .flatten()
        .map(|event| event.sequence)
        .collect();
    ensure!(
        sequences.len() == events,
        "sequences were given twice: {} different of {events}",
        sequences.len()
    );
    Ok(())
}

fn visits(host: &TestHost) -> Result<()> {
    for number in 0..VISITS {
        BareClient::visit(host.mqtt()?, &format!("GID_Clock@@@{}", number % 4))?;
    }
    host.admin()?.wait_until_delivered(Duration::from_secs(30))
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    cli::run_command(Command::new("cp").arg("-a").args([from, to]))?.expect(0)?;
    Ok(())
}
