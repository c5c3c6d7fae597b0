//! The commands of the README's section on the first plugin, run as they stand there.
//!
//! The section's shell blocks are those between the two markers. They run in one shell in an empty
//! folder, with `rulemill` on the path and a running host in the environment.

use std::process::Command;

use acceptance::cli;
use acceptance::host::{HostSpec, TestHost};
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
    let folder = host.folder().join("readme");
    std::fs::create_dir(&folder)?;
    let binary = cli::host_binary()?;
    let folders = std::env::var("PATH").context("no PATH")?;
    let path = format!(
        "{}:{folders}",
        binary.parent().context("no folder")?.display()
    );
    let mut shell = Command::new("bash");
    shell
        .args(["-euxo", "pipefail", "-c", &script])
        .current_dir(folder);
    shell
        .env("PATH", path)
        .env("RULEMILL_SERVER", admin.base())
        .env("RULEMILL_TOKEN", admin.token());
    // For the path of the SDK, and the ports of this host instead of the usual ones.
    shell
        .env("RULEMILL_SOURCE", places::root())
        .env("MQTT_PORT", host.mqtt()?.port().to_string());
    cli::run_command(&mut shell)?.expect(0)?;
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
