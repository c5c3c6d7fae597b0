//! The commands of the README's section on the first plugin, run as they stand there.
//!
//! The section's shell blocks are those between the two markers. They run in one shell at the top of the
//! checkout, as the section says, with `rulemill` on the path and a running host in the environment.

use std::process::Command;

use acceptance::cli;
use acceptance::host::{HostSpec, TestHost};
use acceptance::load::Load;
use acceptance::reader;
use anyhow::{Context, Result, ensure};
use xtask::places;

const BEGIN: &str = "<!-- tested: first plugin -->";
const END: &str = "<!-- end tested -->";

pub(crate) fn first_plugin() -> Result<()> {
    let readme =
        std::fs::read_to_string(places::root().join("README.md")).context("no README.md")?;
    let (_, after) = readme
        .split_once(BEGIN)
        .with_context(|| format!("README.md has no {BEGIN}"))?;
    let (section, _) = after
        .split_once(END)
        .with_context(|| format!("README.md has no {END}"))?;
    let script = shell_blocks(section).join("\n");
    ensure!(
        !script.trim().is_empty(),
        "no shell block between the markers"
    );
    let host = TestHost::start(HostSpec::default())?;
    let admin = host.admin()?;
    let made = places::root().join("my-status");
    let is_new = !made.exists();
    let binary = cli::host_binary()?;
    let folders = std::env::var("PATH").context("no PATH")?;
    let path = format!(
        "{}:{folders}",
        binary.parent().context("no folder")?.display()
    );
    let mut shell = Command::new("bash");
    shell
        .args(["-euxo", "pipefail", "-c", &script])
        .current_dir(places::root())
        // The section's own paths are below its folder.
        .env_remove("CARGO_TARGET_DIR");
    shell
        .env("PATH", path)
        .env("RULEMILL_SERVER", admin.base())
        .env("RULEMILL_TOKEN", admin.token());
    let ran = cli::run_command(&mut shell).and_then(|ran| ran.expect(0));
    if is_new {
        std::fs::remove_dir_all(&made).context("my-status cannot be removed")?;
    }
    ran?;
    drop(Load::hold(host.mqtt()?, "GID_First@@@", 1)?);
    let messages = reader::through_host(&host, "embedded", "FirstTopic", 2)?;
    for (message, what) in messages.iter().zip(["connect", "tcpclean"]) {
        let body = message.body.as_deref().unwrap_or_default();
        let end = format!("\",\"what\":\"{what}\"}}");
        ensure!(
            body.starts_with("{\"device\":\"GID_First@@@") && body.ends_with(&end),
            "not in our words: {body}"
        );
    }
    Ok(())
}

fn shell_blocks(section: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<(bool, Vec<&str>)> = None;
    for line in section.lines() {
        open = match (open, line.strip_prefix("```")) {
            (None, Some(language)) => Some((matches!(language.trim(), "sh" | "bash"), Vec::new())),
            (Some((is_shell, lines)), Some(_)) => {
                if is_shell {
                    blocks.push(lines.join("\n"));
                }
                None
            }
            (Some((is_shell, mut lines)), None) => {
                lines.push(line);
                Some((is_shell, lines))
            }
            (None, None) => None,
        };
    }
    blocks
}
