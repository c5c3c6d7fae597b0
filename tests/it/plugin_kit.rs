//! From nothing to a live mapping of one's own, outside of the repository, in each language.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use acceptance::admin::{Admin, status_rule};
use acceptance::cli::{self, Ran};
use acceptance::eventually::{eventually, now_ms};
use acceptance::figures;
use acceptance::host::{HostSpec, TestHost};
use acceptance::load::Load;
use acceptance::process::Talker;
use acceptance::reader;
use anyhow::{Context, Result, ensure};
use serde_json::json;
use xtask::requirements;

/// What the issue of the kit promises for Rust on a quiet machine; a development build of the host on a
/// busy one gets four times as long.
const LIVE_AFTER_SAVE: Duration = Duration::from_secs(8);

/// A folder that `plugin new` made, and where the commands find their tools.
struct Kit<'a> {
    admin: &'a Admin,
    home: tempfile::TempDir,
    name: &'static str,
}

impl<'a> Kit<'a> {
    fn new(admin: &'a Admin, name: &'static str, language: &str) -> Result<Self> {
        let home = tempfile::Builder::new().prefix("rulemill-kit-").tempdir()?;
        let kit = Self { admin, home, name };
        let mut command = kit.command(
            kit.home.path(),
            &["plugin", "new", name, "--lang", language],
        )?;
        cli::run_command(&mut command)?.expect(0)?;
        Ok(kit)
    }

    fn folder(&self) -> PathBuf {
        self.home.path().join(self.name)
    }

    fn command(&self, at: &Path, args: &[&str]) -> Result<Command> {
        let mut command = Command::new(cli::host_binary()?);
        command.args(args).current_dir(at);
        command
            .env("RULEMILL_SERVER", self.admin.base())
            .env("RULEMILL_TOKEN", self.admin.token())
            .env("PATH", tools()?)
            // The plugin is built in its own folder.
            .env_remove("CARGO_TARGET_DIR");
        Ok(command)
    }

    fn run(&self, args: &[&str]) -> Result<Ran> {
        cli::run_command(&mut self.command(&self.folder(), args)?)
    }

    fn replace(&self, file: &str, old: &str, new: &str) -> Result<()> {
        let path = self.folder().join(file);
        let text = fs::read_to_string(&path)?;
        ensure!(text.contains(old), "{old:?} is not in {file}");
        Ok(fs::write(path, text.replace(old, new))?)
    }
}

/// The search path with the tools of Python and Node in front.
fn tools() -> Result<String> {
    let python = PathBuf::from(requirements::python());
    let of_python = python
        .parent()
        .map(|it| it.display().to_string())
        .unwrap_or_default();
    let of_node = requirements::node_modules()
        .join(".bin")
        .display()
        .to_string();
    let others = std::env::var("PATH").context("no PATH")?;
    Ok(format!("{of_python}:{of_node}:{others}"))
}

pub(crate) fn first_mapping(language: &'static str) -> Result<()> {
    let host = TestHost::start(HostSpec::default())?;
    let admin = host.admin()?;
    let kit = Kit::new(&admin, "my-mapping", language)?;
    let tested = kit.run(&["plugin", "test"])?.expect(0)?;
    ensure!(tested.stderr.contains("2 passed"), "{}", tested.stderr);
    kit.run(&["plugin", "check"])?.expect(0)?;
    kit.run(&["plugin", "bench", "--calls", "1000"])?
        .expect(0)?;
    kit.run(&["plugin", "push"])?.expect(0)?;
    let mut mapping = json!({ "plugin": "my-mapping", "config": { "region": "eu" } });
    if let (true, Some(mapping)) = (language == "python", mapping.as_object_mut()) {
        // The interpreter alone takes 12 MiB.
        mapping.insert("limits".to_owned(), json!({ "memoryBytesMax": 64 << 20 }));
    }
    let mut rule = status_rule("mine", "GID_Mine", "embedded", "TopicMine");
    if let Some(rule) = rule.as_object_mut() {
        rule.insert("mapping".to_owned(), mapping);
    }
    admin.create_rule(&rule)?;
    drop(Load::hold(host.mqtt()?, "GID_Mine@@@", 1)?);
    let messages = reader::through_host(&host, "embedded", "TopicMine", 2)?;
    for (message, what) in messages.iter().zip(["connect", "tcpclean"]) {
        let body: serde_json::Value =
            serde_json::from_str(message.body.as_deref().unwrap_or_default())?;
        ensure!(
            body.get("event") == Some(&json!(what)) && body.get("region") == Some(&json!("eu")),
            "not our mapping: {body}"
        );
    }

    // A case that does not hold is told, keeps a push from happening, and can be rewritten.
    kit.replace(
        "tests/events.toml",
        "region = \"eu\" }\n\n",
        "region = \"us\" }\n\n",
    )?;
    let wrong = kit.run(&["plugin", "test"])?.expect(1)?;
    ensure!(
        wrong.stdout.contains("FAIL a connect becomes our JSON"),
        "{}",
        wrong.stdout
    );
    let refused = kit.run(&["plugin", "push"])?.expect(1)?;
    ensure!(
        refused.stderr.contains("a connect becomes our JSON"),
        "{}",
        refused.stderr
    );
    kit.run(&["plugin", "test", "--update"])?.expect(0)?;
    kit.run(&["plugin", "test"])?.expect(0)?;
    Ok(())
}

pub(crate) fn watch() -> Result<()> {
    let host = TestHost::start(HostSpec::default())?;
    let admin = host.admin()?;
    let kit = Kit::new(&admin, "my-mapping", "rust")?;
    let live = |version: u64| {
        eventually("a version on the host", Duration::from_secs(240), || {
            let versions = admin.get("/v1/plugins/my-mapping/versions")?;
            let count = versions.at("/total").as_u64().unwrap_or(0);
            Ok((count >= version).then_some(()))
        })
    };
    let mut command = kit.command(&kit.folder(), &["plugin", "watch"])?;
    let mut watcher = Talker::start("plugin watch", &mut command)?;
    live(1)?;
    // Its second build is the one that people wait for.
    kit.replace("src/lib.rs", "\"at\": event.time", "\"when\": event.time")?;
    kit.replace("tests/events.toml", "at = 1", "when = 1")?;
    let saved = now_ms();
    live(2)?;
    let took = Duration::from_millis(now_ms().saturating_sub(saved));
    watcher.process().kill()?;
    ensure!(took <= LIVE_AFTER_SAVE, "live {took:?} after the save");
    figures::say(
        "plugin watch",
        &format!("live {} ms after the save", took.as_millis()),
    );
    Ok(())
}
