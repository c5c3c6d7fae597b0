//! The demo, as `cargo xtask demo --once --json` runs it.

use std::process::Command;

use acceptance::cli;
use acceptance::event::Format;
use acceptance::message::parse_lines;
use acceptance::oracle;
use anyhow::{Result, ensure};

pub(crate) fn prints_exactly_its_messages() -> Result<()> {
    let mut demo = Command::new(cli::beside("demo")?);
    let ran = cli::run_command(demo.args(["--once", "--json"]))?.expect(0)?;
    ensure!(
        ran.stdout.lines().count() == 22,
        "not 22 lines: {}",
        ran.stdout
    );
    let verdict = oracle::judge(&parse_lines(&ran.stdout)?)?;
    let expected = [
        ("clean", "connect disconnect tcpclean"),
        ("lost", "connect tcpclean"),
        ("twice", "connect tcpclean connect tcpclean"),
        ("silent", "connect tcpclean"),
    ];
    ensure!(
        verdict.clients.len() == 8,
        "not 8 clients: {:?}",
        verdict.clients.keys()
    );
    for (pass, format) in [(1, Format::Apsaramq), (2, Format::CloudEvents)] {
        for (name, story) in expected {
            let client_id = format!("GID_Demo@@@{name}-{pass}");
            ensure!(
                verdict.story(&client_id) == story,
                "{client_id}: {}",
                verdict.story(&client_id)
            );
            let events = verdict
                .clients
                .get(&client_id)
                .map(Vec::as_slice)
                .unwrap_or_default();
            ensure!(
                events.iter().all(|event| event.format == format),
                "{client_id} has another format"
            );
        }
    }
    Ok(())
}
