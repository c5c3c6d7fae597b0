//! Back to an earlier version of a plugin: because somebody says so, and by itself when the new one fails.

use std::time::Duration;

use acceptance::admin::{Admin, Reply, status_rule};
use acceptance::eventually::eventually;
use acceptance::fixture;
use acceptance::host::{HostSpec, TestHost};
use acceptance::load::{Load, StormSpec};
use acceptance::metrics::Metrics;
use acceptance::{oracle, reader, scale};
use anyhow::{Context, Result, ensure};
use serde_json::Value;

const PLUGIN: &str = "back";
const PATIENCE: Duration = Duration::from_secs(60);

/// A host with version 1 of the plugin, the default mapping, and a rule that follows its latest version.
fn host_with_rule(
    rule_id: &str,
    group_id: &str,
    topic: &str,
) -> Result<(TestHost, Admin, Vec<u8>)> {
    let host = TestHost::start(HostSpec::default())?;
    let admin = host.admin()?;
    let good = fixture::built_in("apsaramq-status")?;
    admin.upload(PLUGIN, &good)?.expect(201)?;
    let mut rule = status_rule(rule_id, group_id, "embedded", topic);
    if let Some(fields) = rule.as_object_mut() {
        fields.insert(
            "mapping".to_owned(),
            serde_json::json!({ "plugin": PLUGIN }),
        );
    }
    admin.create_rule(&rule)?;
    admin.wait_for_health(rule_id, "running", PATIENCE)?;
    Ok((host, admin, good))
}

fn rule(admin: &Admin, rule_id: &str) -> Result<Reply> {
    admin.get(&format!("/v1/rules/{rule_id}"))?.expect(200)
}

fn ensure_version(admin: &Admin, rule_id: &str, version: u64) -> Result<()> {
    let rule = rule(admin, rule_id)?;
    ensure!(
        rule.at("/state/pluginVersion") == version,
        "version {version} does not map: {}",
        rule.at("/state")
    );
    Ok(())
}

fn version(admin: &Admin, version: u64) -> Result<Reply> {
    admin
        .get(&format!("/v1/plugins/{PLUGIN}/versions/{version}"))?
        .expect(200)
}

fn restart(host: &mut TestHost) -> Result<Admin> {
    host.terminate(PATIENCE)?;
    host.restart()?;
    host.admin()
}

pub(crate) fn by_hand() -> Result<()> {
    let (mut host, admin, good) = host_with_rule("devices", "GID_Hand", "TopicHand")?;
    let second = fixture::built_in("cloudevents")?;
    let pushed = admin.upload(PLUGIN, &second)?.expect(201)?;
    ensure!(
        pushed.at("/createdBy") == "token:admin" && pushed.at("/activeFor/0") == "devices",
        "{}",
        pushed.text
    );
    ensure_version(&admin, "devices", 2)?;
    // No way back is refused with the reason.
    admin
        .post("/v1/plugins/cloudevents/rollback", &serde_json::json!({}))?
        .expect_error(409, "rollback_impossible")?;
    let ran = host
        .cli(&["plugin", "rollback", PLUGIN, "--rule", "devices"])?
        .expect(0)?;
    ensure!(ran.stdout.contains("devices"), "{}", ran.stdout);
    ensure_version(&admin, "devices", 1)?;
    admin
        .post(
            &format!("/v1/plugins/{PLUGIN}/rollback"),
            &serde_json::json!({ "ruleId": "devices" }),
        )?
        .expect_error(409, "no_earlier_version")?;
    let withdrawn = version(&admin, 2)?;
    ensure!(
        withdrawn.at("/withdrawnFor/0/ruleId") == "devices"
            && withdrawn.at("/withdrawnFor/0/by") == "token:admin",
        "it is not withdrawn: {}",
        withdrawn.text
    );
    let admin = restart(&mut host)?;
    ensure_version(&admin, "devices", 1)?;
    // The same bytes say that they are withdrawn and what helps.
    std::fs::write(host.folder().join("second.wasm"), &second)?;
    let push = ["plugin", "push", "second.wasm", "--name", PLUGIN];
    let ran = host.cli(&push)?.expect(0)?;
    ensure!(
        ran.stderr.contains("withdrawn for rule devices") && ran.stderr.contains("--again"),
        "{}",
        ran.stderr
    );
    ensure_version(&admin, "devices", 1)?;
    host.cli(&[&push[..], &["--again"]].concat())?.expect(0)?;
    ensure_version(&admin, "devices", 2)?;
    // What a rule uses or would go back to stays; the rest goes, and its number with it.
    let path = |version| format!("/v1/plugins/{PLUGIN}/versions/{version}");
    for version in [1, 2] {
        let refused = admin.delete(&path(version))?;
        refused.expect_error(409, "plugin_in_use")?;
    }
    let third = fixture::relabelled(&good, "third")?;
    admin.upload(PLUGIN, &third)?.expect(201)?;
    host.cli(&["plugin", "rollback", PLUGIN])?.expect(0)?;
    ensure_version(&admin, "devices", 2)?;
    host.cli(&["plugin", "delete", PLUGIN, "--plugin-version", "3", "--yes"])?
        .expect(0)?;
    admin
        .get(&path(3))?
        .expect_error(404, "plugin_version_not_found")?;
    let fourth = fixture::relabelled(&good, "fourth")?;
    let pushed = admin.upload(PLUGIN, &fourth)?.expect(201)?;
    ensure!(pushed.at("/version") == 4, "{}", pushed.text);
    let shown = host.cli(&["plugin", "show", PLUGIN])?.expect(0)?;
    for word in ["rolledBack", "activated", "token:admin", "devices"] {
        ensure!(shown.stdout.contains(word), "no {word}: {}", shown.stdout);
    }
    Ok(())
}

/// A version that passes its canary and traps for every sixth client.
pub(crate) fn by_itself() -> Result<()> {
    let (mut host, admin, _) = host_with_rule("storm", "GID_Back", "TopicBack")?;
    let (rate, seconds) = scale::pick((100, 12), (1000, 30));
    let storm = |prefix, rate, seconds| {
        let spec = StormSpec {
            prefix,
            rate,
            seconds,
            clients: rate,
        };
        Load::storm(host.mqtt()?, spec)
    };
    let calm = storm("GID_Back@@@", rate, seconds)?;
    eventually("the first events", PATIENCE, || {
        Ok((admin.events("delivered")? > u64::from(rate)).then_some(()))
    })?;
    let crashing = fixture::hostile(None)?;
    admin.upload(PLUGIN, &crashing)?.expect(201)?;
    ensure_version(&admin, "storm", 2)?;
    // Only now do the clients come for which it traps.
    let trapping = storm("GID_Back@@@trap-", rate / 5, seconds / 2)?;
    eventually("the rollback", PATIENCE, || {
        let rule = rule(&admin, "storm")?;
        Ok((rule.at("/state/pluginVersion") == 1).then_some(()))
    })?;
    let mut connects = 0;
    for storm in [calm, trapping] {
        let report = storm.report()?;
        ensure!(
            report.refused == 0 && report.errors == 0,
            "not every connect was accepted: {report:?}"
        );
        connects += report.connects;
    }
    admin.wait_until_delivered(Duration::from_secs(120))?;
    admin.expect_conservation()?;
    let (recorded, delivered) = (admin.events("recorded")?, admin.events("delivered")?);
    ensure!(
        recorded == delivered && admin.events("buried")? == 0,
        "{delivered} of {recorded} events were delivered"
    );
    told(&admin)?;
    let swaps =
        Metrics::read(&admin)?.value("rulemill_plugin_swaps_total{outcome=\"rolled_back\"}")?;
    ensure!((swaps - 1.0).abs() < 0.5, "{swaps} rollbacks");
    // A restart does not bring it back.
    let admin = restart(&mut host)?;
    ensure_version(&admin, "storm", 1)?;
    told(&admin)?;
    let events = usize::try_from(recorded)?;
    let messages = reader::through_host(&host, "embedded", "TopicBack", events)?;
    let counts = oracle::judge(&messages)?.counts();
    ensure!(
        u64::try_from(counts.connect)? == connects && counts.tcpclean == counts.connect,
        "{counts:?} of {connects} connects"
    );
    Ok(())
}

/// The closings that a crash leaves behind are mapped by the version before, although it is loaded only after them.
pub(crate) fn across_a_crash() -> Result<()> {
    // Fewer events than it takes to go back, also if those before the crash are repeated.
    let clients = 2;
    let (mut host, admin, _) = host_with_rule("crash", "GID_Trap", "TopicTrap")?;
    let crashing = fixture::hostile(None)?;
    admin.upload(PLUGIN, &crashing)?.expect(201)?;
    ensure_version(&admin, "crash", 2)?;
    let load = Load::hold(host.mqtt()?, "GID_Trap@@@trap-", clients)?;
    let connects = u64::try_from(clients)?;
    eventually("delivery of every connect", PATIENCE, || {
        Ok((admin.events("delivered")? == connects).then_some(()))
    })?;
    host.kill()?;
    // So it takes its time.
    std::fs::remove_dir_all(host.data_dir().join("compiled-plugins"))?;
    host.restart()?;
    drop(load);
    let admin = host.admin()?;
    admin.wait_until_delivered(PATIENCE)?;
    admin.expect_conservation()?;
    ensure_version(&admin, "crash", 2)?;
    let (delivered, buried) = (admin.events("delivered")?, admin.events("buried")?);
    ensure!(
        delivered == 2 * connects && buried == 0,
        "{delivered} were delivered and {buried} buried of {connects} connects and their closings"
    );
    Ok(())
}

/// The rule and the plugin say what happened.
fn told(admin: &Admin) -> Result<()> {
    let rule = rule(admin, "storm")?;
    let reason = rule.at("/state/reason").as_str().unwrap_or_default();
    ensure!(
        rule.at("/state/health") == "running" && reason.contains("went back to version 1"),
        "the rule does not say it: {}",
        rule.at("/state")
    );
    let version = version(admin, 2)?;
    let withdrawn = version.at("/withdrawnFor/0");
    let field = |name: &str| withdrawn.get(name).and_then(Value::as_str);
    ensure!(
        field("ruleId") == Some("storm") && field("by") == Some("host"),
        "it is not withdrawn: {}",
        version.text
    );
    let plugin = admin.get(&format!("/v1/plugins/{PLUGIN}"))?.expect(200)?;
    let last = plugin.at("/activations/0");
    ensure!(
        last.pointer("/outcome").context("no history")? == "rolledBack",
        "the history does not say it: {last}"
    );
    Ok(())
}
