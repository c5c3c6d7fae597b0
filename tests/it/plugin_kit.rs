//! From nothing to a live mapping of one's own, outside of the repository, in each language.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use acceptance::admin::Admin;
use acceptance::cli::{self, Ran};
use acceptance::eventually::{eventually, now_ms};
use acceptance::figures;
use acceptance::host::{HostSpec, TestHost};
use acceptance::load::Load;
use acceptance::process::Talker;
use acceptance::scale;
use anyhow::{Context, Result, ensure};
use xtask::requirements;

use crate::readme_blocks;

const SDK_README: &str = "guest-sdk/README.md";

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

    /// Runs a script where a stranger would: in an empty folder, with `rulemill` on the search path.
    fn shell(&self, script: &str) -> Result<Ran> {
        let binary = cli::host_binary()?;
        let folder = binary.parent().context("no folder")?.display().to_string();
        let mut shell = Command::new("bash");
        shell
            .args(["-euo", "pipefail", "-c", script])
            .current_dir(self.home.path())
            .env("RULEMILL_SERVER", self.admin.base())
            .env("RULEMILL_TOKEN", self.admin.token())
            .env("PATH", format!("{folder}:{}", tools()?))
            .env_remove("CARGO_TARGET_DIR");
        cli::run_command(&mut shell)?.expect(0)
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

/// What the README of the SDK says for one language.
struct Walk {
    language: &'static str,
    /// The plugin, its folder and its rule.
    name: &'static str,
    group: &'static str,
}

const WALKS: [Walk; 3] = [
    Walk {
        language: "rust",
        name: "my-mapping",
        group: "GID_Mine",
    },
    Walk {
        language: "python",
        name: "my-python",
        group: "GID_Python",
    },
    Walk {
        language: "javascript",
        name: "my-script",
        group: "GID_Script",
    },
];

/// Runs the commands of the SDK's README as they stand there, in an empty folder outside of the repository,
/// then goes on in the folder that they made.
pub(crate) fn first_mapping(language: &'static str) -> Result<()> {
    let walk = WALKS
        .iter()
        .find(|walk| walk.language == language)
        .context("no such language")?;
    let host = TestHost::start(HostSpec::default())?;
    let admin = host.admin()?;
    let home = tempfile::Builder::new().prefix("rulemill-kit-").tempdir()?;
    let kit = Kit {
        admin: &admin,
        home,
        name: walk.name,
    };
    let started = now_ms();
    let ran = kit.shell(&readme_blocks::commands(SDK_README, language)?)?;
    figures::say(
        &format!("from nothing to a live mapping in {language}"),
        &format!("{} s", now_ms().saturating_sub(started) / 1000),
    );
    ensure!(ran.stderr.contains("1 passed"), "{}", ran.stderr);
    drop(Load::hold(host.mqtt()?, &format!("{}@@@", walk.group), 1)?);
    let seen = kit.shell(&readme_blocks::commands(SDK_README, "look")?)?;
    for what in ["connect", "tcpclean"] {
        ensure!(
            seen.stdout.lines().any(|line| {
                line.contains(&format!(" {what} "))
                    && line.contains(&format!("{{\"id\":\"{}@@@", walk.group))
            }),
            "no {what} in our words: {}",
            seen.stdout
        );
    }

    let checked = kit.run(&["plugin", "check"])?.expect(0)?;
    for shown in ["rulemill:rule@1.0.0", "imports", "size", "reads", "may use"] {
        ensure!(
            checked.stdout.contains(shown),
            "{shown} is not in {}",
            checked.stdout
        );
    }
    // A case that does not hold is told, keeps a push from happening, and can be rewritten.
    kit.replace("tests/events.toml", "tag = \"tcpclean\"", "tag = \"gone\"")?;
    let wrong = kit.run(&["plugin", "test"])?.expect(1)?;
    ensure!(
        wrong.stdout.contains("FAIL a client is told by its id"),
        "{}",
        wrong.stdout
    );
    let refused = kit.run(&["plugin", "push"])?.expect(1)?;
    ensure!(
        refused.stderr.contains("a client is told by its id"),
        "{}",
        refused.stderr
    );
    kit.run(&["plugin", "test", "--update", "--no-build"])?
        .expect(0)?;
    kit.run(&["plugin", "test"])?.expect(0)?;
    Ok(())
}

/// A mistake in a template that throws.
struct Mistake {
    file: &'static str,
    sound: &'static str,
    broken: &'static str,
    /// What its traceback names.
    names: &'static [&'static str],
}

fn mistake(language: &str) -> Mistake {
    match language {
        "rust" => Mistake {
            file: "src/lib.rs",
            sound: "let name = event.event_type.as_str();",
            broken: "let name = event.event_type.as_str();\n        assert!(!event.client_id.contains(\"boom\"), \"no boom\");",
            names: &["panicked at src/lib.rs", "no boom"],
        },
        "python" => Mistake {
            file: "app.py",
            sound: "name = NAMES[event.event_type]",
            broken: "name = NAMES[event.event_type] if \"boom\" not in event.client_id else NAMES[\"no boom\"]",
            names: &[
                "Traceback (most recent call last)",
                "app.py",
                "in map_event",
                "KeyError: 'no boom'",
            ],
        },
        _ => Mistake {
            file: "rule.js",
            sound: "const body = { id",
            broken: "if (event.clientId.includes('boom')) throw new TypeError('no boom');\n    const body = { id",
            names: &["TypeError: no boom", "rule.js"],
        },
    }
}

/// The template of a language as it is, and with a mistake that throws: its traceback is where its author
/// looks, and where its operator looks.
pub(crate) fn traceback(language: &'static str) -> Result<()> {
    let Mistake {
        file,
        sound,
        broken,
        names,
    } = mistake(language);
    let host = TestHost::start(HostSpec::default())?;
    let admin = host.admin()?;
    let kit = Kit::new(&admin, "my-mapping", language)?;
    // The template's own cases hold before anything is touched.
    let tested = kit.run(&["plugin", "test"])?.expect(0)?;
    ensure!(tested.stderr.contains("2 passed"), "{}", tested.stderr);
    kit.replace(file, sound, broken)?;
    let cases = kit.folder().join("tests/events.toml");
    let text = fs::read_to_string(&cases)?;
    let boom =
        "\n[[case]]\nname = \"boom\"\nevent = { clientId = \"GID_Demo@@@boom\" }\nskipped = true\n";
    fs::write(&cases, format!("{text}{boom}"))?;
    let failed = kit.run(&["plugin", "test"])?.expect(1)?;
    for name in names {
        ensure!(
            failed.stdout.contains(name),
            "plugin test does not say {name:?}: {}",
            failed.stdout
        );
    }

    // Without the case it passes the canary, and a client sets it off.
    fs::write(&cases, text)?;
    kit.run(&["plugin", "build"])?.expect(0)?;
    kit.run(&["plugin", "push"])?.expect(0)?;
    let memory = if language == "python" {
        "64MiB"
    } else {
        "16MiB"
    };
    kit.run(&[
        "rule",
        "create",
        "boom",
        "--group",
        "GID_Boom",
        "--topic",
        "TopicBoom",
        "--plugin",
        "my-mapping",
        "--memory",
        memory,
    ])?
    .expect(0)?;
    drop(Load::hold(host.mqtt()?, "GID_Boom@@@boom", 1)?);
    for name in names {
        eventually(
            &format!("{name:?} in the host's log"),
            Duration::from_secs(60),
            || Ok(host.log().contains(name).then_some(())),
        )?;
    }
    Ok(())
}

/// A short test misleads: interpreters grow slowly. The host renews them in time.
pub(crate) fn many_calls(language: &'static str) -> Result<()> {
    let calls: u64 = scale::pick(5_000, 500_000);
    let host = TestHost::start(HostSpec::default())?;
    let admin = host.admin()?;
    let kit = Kit::new(&admin, "my-mapping", language)?;
    kit.run(&["plugin", "build"])?.expect(0)?;
    let ran = kit
        .run(&[
            "plugin",
            "bench",
            "--output",
            "json",
            "--calls",
            &calls.to_string(),
        ])?
        .expect(0)?;
    let figures: serde_json::Value = serde_json::from_str(&ran.stdout)?;
    let at = |place: &str| -> Result<u64> {
        figures
            .pointer(place)
            .and_then(serde_json::Value::as_u64)
            .with_context(|| format!("no {place} in {figures}"))
    };
    ensure!(at("/calls")? == calls, "{figures}");
    // One renewal each 100,000 calls at least, and before its memory is full.
    ensure!(
        at("/renewals")? >= calls.saturating_sub(1) / 100_000,
        "{figures}"
    );
    let cap = if language == "python" { 64 } else { 16 } << 20;
    ensure!(at("/memoryBytes/most")? <= cap, "{figures}");
    ensure!(at("/fuel/call")? > 1_000, "{figures}");
    figures::say(
        &format!("plugin bench of the template in {language}"),
        &figures.to_string(),
    );
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
