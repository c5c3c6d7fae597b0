//! A plugin whose new version wants another configuration: both change in one step, by an edit or by an apply.

use std::fs;
use std::time::Duration;

use acceptance::admin::{Admin, status_rule};
use acceptance::fixture;
use acceptance::host::{HostSpec, TestHost};
use anyhow::{Result, ensure};
use serde_json::{Value, json};

const PLUGIN: &str = "both";
const RULE: &str = "both";
const PATIENCE: Duration = Duration::from_secs(60);

fn rule(config: &Value) -> Value {
    let mut rule = status_rule(RULE, "GID_Both", "embedded", "TopicBoth");
    if let Some(fields) = rule.as_object_mut() {
        let mapping = json!({ "plugin": PLUGIN, "config": config });
        fields.insert("mapping".to_owned(), mapping);
    }
    rule
}

fn ensure_version(admin: &Admin, version: u64) -> Result<()> {
    let rule = admin.get(&format!("/v1/rules/{RULE}"))?.expect(200)?;
    ensure!(
        rule.at("/state/pluginVersion") == version && rule.at("/state/health") == "running",
        "version {version} does not map: {}",
        rule.at("/state")
    );
    Ok(())
}

pub(crate) fn change_together() -> Result<()> {
    let mut host = TestHost::start(HostSpec::default())?;
    let admin = host.admin()?;
    let (strict, other) = (
        fixture::built_in("apsaramq-status")?,
        fixture::built_in("template")?,
    );
    admin.upload(PLUGIN, &strict)?.expect(201)?;
    admin.create_rule(&rule(&json!({ "remark": true })))?;
    admin.wait_for_health(RULE, "running", PATIENCE)?;
    // Neither version takes the other's configuration, so the upload alone moves nothing.
    let pushed = admin.upload(PLUGIN, &other)?.expect(201)?;
    ensure!(
        pushed.text.contains("rule both keeps the version"),
        "{}",
        pushed.text
    );
    ensure_version(&admin, 1)?;
    let refused = rule(&json!({ "nobody": "knows this" }));
    let path = format!("/v1/rules/{RULE}");
    let refusal = admin.put(&path, None, &refused)?;
    refusal.expect_error(422, "plugin_config_refused")?;
    ensure!(
        refusal.text.contains("version 2, the newest"),
        "only the version that the rule has is told of: {}",
        refusal.text
    );
    ensure_version(&admin, 1)?;
    let wanted = json!({ "body": "{{ clientId }}" });
    let edited = admin.put(&path, None, &rule(&wanted))?.expect(200)?;
    ensure!(
        edited.text.contains("moves to version 2"),
        "the move is not told: {}",
        edited.text
    );
    ensure_version(&admin, 2)?;
    host.terminate(PATIENCE)?;
    host.restart()?;
    let admin = host.admin()?;
    ensure_version(&admin, 2)?;
    // An apply that brings the version and the configuration that goes with it.
    let third = fixture::relabelled(&strict, "third")?;
    fs::write(host.folder().join("third.wasm"), &third)?;
    let declared = json!({
        "plugin": [{ "name": PLUGIN, "file": "third.wasm" }],
        "rule": [rule(&json!({ "remark": false }))],
    });
    fs::write(host.folder().join("all.json"), declared.to_string())?;
    host.cli(&["apply", "-f", "all.json"])?.expect(0)?;
    ensure_version(&admin, 3)?;
    let shown = admin.get(&format!("/v1/plugins/{PLUGIN}/versions/3"))?;
    ensure!(
        shown.at("/activations/0/by") == "token:admin"
            && shown.at("/activations/0/outcome") == "activated",
        "the history does not say who applied: {}",
        shown.text
    );
    // A rule that goes with the same apply does not try what comes.
    let fourth = fixture::relabelled(&other, "fourth")?;
    fs::write(host.folder().join("fourth.wasm"), &fourth)?;
    let declared = json!({ "plugin": [{ "name": PLUGIN, "file": "fourth.wasm" }] });
    fs::write(host.folder().join("none.json"), declared.to_string())?;
    let ran = host.cli(&["apply", "-f", "none.json", "--prune"])?;
    let ran = ran.expect(0)?;
    ensure!(
        !ran.stdout.contains("keeps the version") && !ran.stderr.contains("keeps the version"),
        "{}{}",
        ran.stdout,
        ran.stderr
    );
    admin.get(&path)?.expect(404)?;
    Ok(())
}

pub(crate) fn stays_withdrawn() -> Result<()> {
    let host = TestHost::start(HostSpec::default())?;
    let admin = host.admin()?;
    let (good, bad) = (
        fixture::built_in("apsaramq-status")?,
        fixture::built_in("cloudevents")?,
    );
    admin.upload(PLUGIN, &good)?.expect(201)?;
    admin.create_rule(&rule(&json!({})))?;
    admin.wait_for_health(RULE, "running", PATIENCE)?;
    admin.upload(PLUGIN, &bad)?.expect(201)?;
    ensure_version(&admin, 2)?;
    host.cli(&["plugin", "rollback", PLUGIN])?.expect(0)?;
    ensure_version(&admin, 1)?;
    let deleted = admin.delete(&format!("/v1/plugins/{PLUGIN}/versions/2"))?;
    deleted.expect(204)?;
    // The same bytes under another number are what the rule went back from.
    let pushed = admin.upload(PLUGIN, &bad)?.expect(201)?;
    ensure!(
        pushed.at("/version") == 3 && pushed.text.contains("withdrawn for rule both"),
        "{}",
        pushed.text
    );
    ensure_version(&admin, 1)?;
    fs::write(host.folder().join("bad.wasm"), &bad)?;
    let again = ["plugin", "push", "bad.wasm", "--name", PLUGIN, "--again"];
    host.cli(&again)?.expect(0)?;
    ensure_version(&admin, 3)
}
