//! The watched plugin folder of a running host.

use std::fs;
use std::path::Path;
use std::time::Duration;

use acceptance::admin::{Admin, Reply, status_rule};
use acceptance::bare_client::BareClient;
use acceptance::event::Format;
use acceptance::eventually::eventually;
use acceptance::host::{HostSpec, TestHost};
use acceptance::load::{Load, StormSpec};
use acceptance::metrics::Metrics;
use acceptance::{fixture, oracle, reader};
use anyhow::{Context, Result, ensure};

const PLUGIN: &str = "my-mapping";
const FILE: &str = "my-mapping.wasm";
/// Seen, found still, compiled and tried, on a build machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);
const RATE: u32 = 40;
const SECONDS: u32 = 30;

/// A rename makes a version; half-written, bad and unchanged files make none, and say so; a restart makes none again.
/// Events are delivered all the while.
pub(crate) fn each_rename_is_a_version() -> Result<()> {
    let old = fixture::built_in("cloudevents")?;
    let good = fixture::built_in("apsaramq-status")?;
    let third = fixture::relabelled(&good, "third")?;
    let trap = fixture::hostile(Some("always-trap"))?;
    // The folder is not there yet; its path is relative to where the host was started.
    let mut host = TestHost::start(HostSpec {
        extra: "[plugins]\nwatch-dir = \"plugins\"\n".to_owned(),
        ..HostSpec::default()
    })?;
    let admin = host.admin()?;
    wait_for_status(&admin, "the missing folder", |status| {
        status.at("/pluginFolder/reason").is_string()
    })?;
    let folder = host.folder().join("plugins");
    fs::create_dir(&folder)?;
    rename_into(&folder, FILE, &old)?;
    wait_for_versions(&admin, 1)?;
    let mut rule = status_rule("watched", "GID_Watched", "embedded", "TopicWatched");
    if let Some(fields) = rule.as_object_mut() {
        fields.insert(
            "mapping".to_owned(),
            serde_json::json!({ "plugin": PLUGIN }),
        );
    }
    admin.create_rule(&rule)?;
    wait_until_live(&admin, 1)?;
    // The storm may be over before a busy machine has compiled: these two are mapped by known versions.
    BareClient::visit(host.mqtt()?, "GID_Watched@@@first")?;
    admin.wait_until_delivered(PATIENCE)?;
    let storm = Load::storm(
        host.mqtt()?,
        StormSpec {
            prefix: "GID_Watched@@@",
            rate: RATE,
            seconds: SECONDS,
            clients: RATE,
        },
    )?;
    rename_into(&folder, FILE, &good)?;
    wait_until_live(&admin, 2)?;
    BareClient::visit(host.mqtt()?, "GID_Watched@@@second")?;
    half_written(&admin, &folder, &third)?;
    bad_files(&host, &admin, &folder, &trap)?;
    let report = storm.report()?;
    ensure!(
        report.refused == 0 && report.errors == 0,
        "not every connect was accepted: {report:?}"
    );
    admin.wait_until_delivered(PATIENCE)?;
    oracle::conservation(&admin)?;
    after_restart(&mut host, &folder)?;
    judge(&host, report.connects + 2)
}

/// As the manual says it: written under another name, then renamed.
fn rename_into(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let temporary = folder.join(format!("{name}.tmp"));
    fs::write(&temporary, bytes)?;
    fs::rename(&temporary, folder.join(name))?;
    Ok(())
}

/// Written in place, in two halves with a long pause between them.
fn half_written(admin: &Admin, folder: &Path, bytes: &[u8]) -> Result<()> {
    let (half, _) = bytes.split_at(bytes.len() / 2);
    fs::write(folder.join(FILE), half)?;
    let status = wait_for_status(admin, "the half-written file", |status| {
        status.at("/pluginFolder/problems/0/outcome") == "rejected"
    })?;
    ensure!(
        status.at("/pluginFolder/problems/0/file") == FILE,
        "another file is at fault: {}",
        status.text
    );
    wait_until_live(admin, 2)?;
    fs::write(folder.join(FILE), bytes)?;
    wait_until_live(admin, 3)?;
    wait_for_status(admin, "no problem", |status| {
        status.at("/pluginFolder/problemCount") == 0
    })?;
    Ok(())
}

/// Files that are no versions are told with cause and remedy, once, and change nothing.
fn bad_files(host: &TestHost, admin: &Admin, folder: &Path, trap: &[u8]) -> Result<()> {
    rename_into(folder, "trap.wasm", trap)?;
    rename_into(folder, "My_Mapping.wasm", b"")?;
    fs::create_dir(folder.join("old"))?;
    std::os::unix::fs::symlink(folder.join(FILE), folder.join("link.wasm"))?;
    let status = wait_for_status(admin, "four problems", |status| {
        status.at("/pluginFolder/problemCount") == 4
    })?;
    let problems = status.at("/pluginFolder/problems").as_array().cloned();
    let field = |problem: &serde_json::Value, name: &str| {
        let value = problem.get(name).and_then(serde_json::Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    let told: Vec<(String, String)> = problems
        .context("no problems")?
        .iter()
        .filter(|problem| {
            !field(problem, "cause").is_empty() && !field(problem, "remedy").is_empty()
        })
        .map(|problem| (field(problem, "file"), field(problem, "outcome")))
        .collect();
    let expected = [
        ("My_Mapping.wasm", "wrong_name"),
        ("link.wasm", "symlink"),
        ("old", "sub_folder"),
        ("trap.wasm", "rejected"),
    ];
    let expected = expected.map(|(file, outcome)| (file.to_owned(), outcome.to_owned()));
    ensure!(told == expected, "told were {told:?}");
    let lines = host
        .log()
        .lines()
        .filter(|line| line.contains("trap.wasm"))
        .count();
    ensure!(lines == 1, "the rejected file is logged {lines} times");
    admin.get("/v1/plugins/trap")?.expect(404)?;
    wait_until_live(admin, 3)
}

/// What was read before is read again at the start, and is known.
fn after_restart(host: &mut TestHost, folder: &Path) -> Result<()> {
    host.terminate(Duration::from_secs(30))?;
    host.restart()?;
    let admin = host.admin()?;
    eventually("the unchanged file", PATIENCE, || {
        let metrics = Metrics::read(&admin)?;
        let known = metrics.value("rulemill_plugin_watch_files_total{outcome=\"unchanged\"}")?;
        Ok((known >= 1.0).then_some(()))
    })?;
    let created = Metrics::read(&admin)?
        .value("rulemill_plugin_watch_files_total{outcome=\"new_version\"}")?;
    ensure!(created < 1.0, "a restart made {created} versions");
    ensure!(versions(&admin)? == 3, "a restart changed the versions");
    wait_until_live(&admin, 3)?;
    // What leaves the folder stays in the host.
    fs::remove_file(folder.join(FILE))?;
    wait_for_status(&admin, "one entry fewer", |status| {
        status.at("/pluginFolder/entries") == 4
    })?;
    ensure!(
        versions(&admin)? == 3,
        "a file that left took its version along"
    );
    Ok(())
}

/// Every event arrived, the first in one mapping, the last in another.
fn judge(host: &TestHost, connects: u64) -> Result<()> {
    let admin = host.admin()?;
    let events = usize::try_from(admin.events("recorded")?)?;
    let messages = reader::through_host(host, "embedded", "TopicWatched", events)?;
    let verdict = oracle::judge(&messages)?;
    let counts = verdict.counts();
    ensure!(
        u64::try_from(counts.connect)? == connects && counts.tcpclean == counts.connect,
        "{counts:?} of {connects} connects"
    );
    ensure!(
        counts.connect + counts.disconnect + counts.tcpclean == events,
        "{counts:?} of {events} recorded"
    );
    let formats = |format: Format| {
        let all = verdict.clients.values().flatten();
        all.filter(|event| event.format == format).count()
    };
    ensure!(
        formats(Format::CloudEvents) > 0 && formats(Format::Apsaramq) > 0,
        "the swap was not seen"
    );
    Ok(())
}

fn wait_for_status(admin: &Admin, what: &str, is_so: impl Fn(&Reply) -> bool) -> Result<Reply> {
    let mut last = String::new();
    let done = eventually(what, PATIENCE, || {
        let status = admin.get("/v1/status")?.expect(200)?;
        last = status.at("/pluginFolder").to_string();
        Ok(is_so(&status).then_some(status))
    });
    done.with_context(|| format!("last: {last}"))
}

fn versions(admin: &Admin) -> Result<u64> {
    let plugin = admin.get(&format!("/v1/plugins/{PLUGIN}"))?;
    Ok(plugin.at("/versions").as_u64().unwrap_or(0))
}

fn wait_for_versions(admin: &Admin, count: u64) -> Result<()> {
    let what = format!("version {count} of {PLUGIN}");
    eventually(&what, PATIENCE, || {
        Ok((versions(admin)? == count).then_some(()))
    })
}

/// Waits until the rule maps with the version, which is the last one.
fn wait_until_live(admin: &Admin, version: u64) -> Result<()> {
    let mut last = String::new();
    let done = eventually(&format!("version {version} in the rule"), PATIENCE, || {
        let rule = admin.get("/v1/rules/watched")?.expect(200)?;
        last = rule.at("/state").to_string();
        let is_live = rule.at("/state/pluginVersion") == version
            && rule.at("/state/health") == "running"
            && versions(admin)? == version;
        Ok(is_live.then_some(()))
    });
    done.with_context(|| format!("last state: {last}"))
}
