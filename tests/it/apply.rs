//! The whole configuration as files: applied all or nothing, the same again without a change.

use std::fs;
use std::thread;
use std::time::Duration;

use acceptance::admin::{Admin, status_rule};
use acceptance::cli::Ran;
use acceptance::eventually::eventually;
use acceptance::host::{HostSpec, TestHost};
use acceptance::{fixture, scale};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);

fn mqtt_rule(rule_id: &str, rule_type: &str, topic: &str) -> Value {
    let rocketmq = json!({ "service": "rocketmq", "instanceId": "embedded", "topic": "TopicE" });
    let mqtt = json!({ "mqttTopic": topic });
    let (source, destination) = match rule_type {
        "dataInbound" => (rocketmq, mqtt),
        _ => (mqtt, rocketmq),
    };
    json!({ "ruleId": rule_id, "type": rule_type, "status": "disabled", "source": source, "destination": destination })
}

/// Applies a file; the file's name says its format.
fn apply(host: &TestHost, name: &str, text: &str, more: &[&str]) -> Result<Ran> {
    fs::write(host.folder().join(name), text)?;
    let mut arguments = vec!["apply", "-f", name];
    arguments.extend(more);
    host.cli(&arguments)
}

pub(crate) fn export_is_no_change() -> Result<()> {
    let host = TestHost::start(HostSpec::default())?;
    let admin = host.admin()?;
    let empty = host.cli(&["export"])?.expect(0)?.stdout;
    apply(&host, "empty.toml", &empty, &["--dry-run", "--prune"])?.expect(0)?;

    admin
        .post("/v1/groups", &json!({ "groupId": "GID_Alone" }))?
        .expect(201)?;
    let component = fixture::relabelled(&fixture::built_in("cloudevents")?, "of its own")?;
    admin.upload("own-events", &component)?.expect(201)?;
    let mut rule = status_rule("one", "GID_One", "embedded", "TopicE");
    let mapping = json!({
        "plugin": "apsaramq-status", "version": 1, "onFault": "skip", "onReject": "skip",
        "config": { "remark": true }, "limits": { "callDeadlineMs": 7 }
    });
    set(&mut rule, "mapping", mapping);
    set(
        &mut rule,
        "description",
        "line\nbreak \"quoted\" 'and' ünïcode \u{7}".into(),
    );
    admin.create_rule(&rule)?;
    let mut rule = status_rule("two", "GID_Two", "embedded", "TopicE");
    set(&mut rule, "mapping", json!({ "plugin": "own-events" }));
    set(&mut rule, "status", "disabled".into());
    admin.create_rule(&rule)?;
    admin.create_rule(&mqtt_rule("three", "dataOutbound", "Telemetry"))?;
    admin.create_rule(&mqtt_rule("four", "dataInbound", "Telemetry"))?;

    for (name, arguments) in [
        ("all.toml", &["export"][..]),
        ("all.json", &["export", "--format", "json"]),
        ("table.json", &["export", "--output", "json"]),
    ] {
        let exported = host.cli(arguments)?.expect(0)?.stdout;
        let dry = apply(&host, name, &exported, &["--dry-run", "--prune"])?;
        let dry = dry.expect(0).context(name)?;
        ensure!(dry.stdout.contains("no change"), "{name}: {}", dry.stdout);
        let before = admin.get("/v1/rules")?.expect(200)?.text;
        apply(&host, name, &exported, &["--prune"])?
            .expect(0)
            .context(name)?;
        ensure!(
            admin.get("/v1/rules")?.expect(200)?.text == before,
            "{name} changed something"
        );
    }
    Ok(())
}

fn set(rule: &mut Value, name: &str, value: Value) {
    if let Some(fields) = rule.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}

const PLAN: &str = r#"
[[group]]
groupId = "GID_Made"
[[plugin]]
name = "applied"
file = "applied.wasm"
[[rule]]
ruleId = "kept"
type = "clientStatusNotification"
source = { groupId = "GID_Kept" }
destination = { service = "rocketmq", instanceId = "embedded", topic = "TopicK" }
# Two rules may exchange their groups: only what comes of it counts.
[[rule]]
ruleId = "moved"
type = "clientStatusNotification"
source = { groupId = "GID_Right" }
destination = { service = "rocketmq", instanceId = "embedded", topic = "TopicK" }
[[rule]]
ruleId = "swapped"
type = "clientStatusNotification"
source = { groupId = "GID_Left" }
destination = { service = "rocketmq", instanceId = "embedded", topic = "TopicK" }
[[rule]]
ruleId = "new"
type = "clientStatusNotification"
source = { groupId = "GID_New" }
destination = { service = "rocketmq", instanceId = "embedded", topic = "TopicN" }
mapping = { plugin = "applied" }
"#;

pub(crate) fn plan_then_change() -> Result<()> {
    let host = TestHost::start(HostSpec::default())?;
    let admin = host.admin()?;
    admin.create_rule(&status_rule("kept", "GID_Kept", "embedded", "TopicK"))?;
    admin.create_rule(&status_rule("moved", "GID_Left", "embedded", "TopicK"))?;
    admin.create_rule(&status_rule("swapped", "GID_Right", "embedded", "TopicK"))?;
    admin.create_rule(&status_rule("gone", "GID_Gone", "embedded", "TopicK"))?;
    let component = fixture::relabelled(&fixture::built_in("cloudevents")?, "applied")?;
    fs::write(host.folder().join("applied.wasm"), component)?;
    let before = admin.get("/v1/export")?.expect(200)?.text;
    let dry = apply(&host, "plan.toml", PLAN, &["--prune", "--dry-run"])?.expect(10)?;
    for line in [
        "+ group GID_Made",
        "+ plugin applied",
        "~ rule moved",
        "source.groupId: \"GID_Left\" -> \"GID_Right\"",
        "+ rule new",
        "- rule gone",
        "3 to create, 2 to change, 1 to delete, 1 as declared",
    ] {
        ensure!(dry.stdout.contains(line), "no {line:?} in {}", dry.stdout);
    }
    ensure!(
        admin.get("/v1/export")?.expect(200)?.text == before,
        "a dry run changed something"
    );
    apply(&host, "plan.toml", PLAN, &["--prune"])?.expect(0)?;
    admin.get("/v1/rules/gone")?.expect(404)?;
    admin.wait_for_health("new", "running", SOON)?;
    let again = apply(&host, "plan.toml", PLAN, &["--prune", "--dry-run"])?.expect(0)?;
    ensure!(again.stdout.contains("no change"), "{}", again.stdout);
    wrong_changes_nothing(&host, &admin)
}

/// One wrong rule, and nothing of the file is done; all that is wrong is said.
fn wrong_changes_nothing(host: &TestHost, admin: &Admin) -> Result<()> {
    let before = admin.get("/v1/export")?.expect(200)?.text;
    let wrong = json!({ "group": [{ "groupId": "GID_Never" }], "rule": [
        status_rule("fine", "GID_Fine", "embedded", "TopicK"),
        status_rule("second", "GID_New", "embedded", "TopicK"),
        status_rule("third", "GID_Third", "nowhere", "TopicK"),
    ]});
    let refused = apply(host, "wrong.json", &wrong.to_string(), &[])?.expect(4)?;
    for words in [
        "rule second: group GID_New has the status rule new",
        "rule third:",
        "nowhere",
    ] {
        ensure!(
            refused.stderr.contains(words),
            "no {words:?} in {}",
            refused.stderr
        );
    }
    ensure!(
        admin.get("/v1/export")?.expect(200)?.text == before,
        "a refused apply changed something"
    );
    Ok(())
}

/// One of the two configurations between which the host is killed.
fn side(name: &str, component: &str) -> Value {
    let rules = (0..5).map(|n| {
        let mut rule = status_rule(
            &format!("{name}-{n}"),
            &format!("GID_Kill{n}"),
            "embedded",
            "TopicKill",
        );
        set(&mut rule, "mapping", json!({ "plugin": "killed" }));
        rule
    });
    let mut common = status_rule("common", "GID_Common", "embedded", "TopicKill");
    set(&mut common, "description", name.into());
    json!({
        "plugin": [{ "name": "killed", "file": component }],
        "rule": rules.chain([common]).collect::<Vec<_>>(),
    })
}

pub(crate) fn killed_in_the_middle() -> Result<()> {
    let rounds = scale::pick(8, 100);
    let mut host = TestHost::start(HostSpec::default())?;
    let component = fixture::built_in("cloudevents")?;
    fs::write(host.folder().join("k.wasm"), &component)?;
    let sides = [side("left", "k.wasm"), side("right", "k.wasm")];
    for (name, side) in ["left.json", "right.json"].iter().zip(&sides) {
        fs::write(host.folder().join(name), side.to_string())?;
    }
    host.cli(&["apply", "-f", "left.json", "--prune"])?
        .expect(0)?;
    let (mut done, mut undone) = (0, 0);
    for round in 0..rounds {
        let was_left = is_left(&host.admin()?)?;
        let wanted = if was_left { "right.json" } else { "left.json" };
        let (admin, folder) = (host.admin()?, host.folder().to_owned());
        let applying = thread::spawn(move || {
            let arguments = ["apply", "-f", wanted, "--prune"];
            acceptance::cli::run_on(&admin, &folder, &arguments)
        });
        // From before its first request to after its last one.
        acceptance::eventually::let_pass(Duration::from_millis(25 * (round % 20)));
        host.kill()?;
        let ran = applying.join();
        host.restart()?;
        let is_left = is_left(&host.admin()?).with_context(|| format!("round {round}: {ran:?}"))?;
        if is_left == was_left {
            undone += 1;
        } else {
            done += 1;
        }
    }
    ensure!(
        undone > 0 && (done > 0 || rounds < 20),
        "{done} rounds ended with the new configuration and {undone} with the old one: the kills missed"
    );
    Ok(())
}

/// Which of the two configurations the host has; an error if it is a mixture.
fn is_left(admin: &Admin) -> Result<bool> {
    let rules = admin.get("/v1/rules")?.expect(200)?;
    let items = rules.at("/items").as_array().context("no list")?;
    let name = |rule: &Value| -> String {
        let id = rule.pointer("/ruleId").and_then(Value::as_str);
        id.unwrap_or_default().to_owned()
    };
    let common = items.iter().find(|rule| name(rule) == "common");
    let side = common
        .and_then(|rule| rule.pointer("/description"))
        .and_then(Value::as_str)
        .context("no common rule")?
        .to_owned();
    let of_side = items
        .iter()
        .filter(|rule| name(rule).starts_with(&format!("{side}-")));
    ensure!(
        of_side.count() == 5 && items.len() == 6,
        "a mixture: {}",
        rules.text
    );
    Ok(side == "left")
}

pub(crate) fn folder_of_rules() -> Result<()> {
    let outside = tempfile::tempdir()?;
    let folder = outside.path().join("rules");
    fs::create_dir(&folder)?;
    let file = |rules: &[Value]| json!({ "rule": rules }).to_string();
    let first = status_rule("first", "GID_First", "embedded", "TopicF");
    fs::write(folder.join("a.json"), file(std::slice::from_ref(&first)))?;
    let host = TestHost::start(HostSpec {
        extra: format!("[rules]\ndir = {:?}\n", folder.display().to_string()),
        ..HostSpec::default()
    })?;
    let admin = host.admin()?;
    // There before the host is ready.
    let shown = admin.get("/v1/rules/first")?.expect(200)?;
    ensure!(shown.at("/managedBy") == "a.json", "{}", shown.text);
    for refused in [
        admin.put("/v1/rules/first", None, &first)?,
        admin.delete("/v1/rules/first")?,
        admin.post("/v1/rules/first/disable", &json!({}))?,
        admin.post("/v1/rules/first/rollback", &json!({ "revision": 1 }))?,
    ] {
        refused.expect_error(409, "managed_by_file")?;
    }
    admin.create_rule(&status_rule("by-hand", "GID_Hand", "embedded", "TopicF"))?;
    // What is the folder's is no change of an operator's file, and is not pruned by one.
    let exported = host.cli(&["export"])?.expect(0)?.stdout;
    apply(&host, "all.toml", &exported, &["--prune", "--dry-run"])?.expect(0)?;
    apply(&host, "none.json", "{}", &["--prune"])?.expect(0)?;
    admin.get("/v1/rules/first")?.expect(200)?;
    admin.get("/v1/rules/by-hand")?.expect(404)?;

    let second = status_rule("second", "GID_Second", "embedded", "TopicF");
    fs::write(folder.join("b.json"), file(&[second]))?;
    let there = |id: &str, status: u16| {
        eventually(&format!("{status} of rule {id}"), SOON, || {
            let reply = admin.get(&format!("/v1/rules/{id}"))?;
            Ok((reply.status == status).then_some(()))
        })
    };
    there("second", 200)?;
    // A file that is wrong changes nothing, and the status says what is wrong.
    fs::write(folder.join("b.json"), "{")?;
    eventually("the problem of the folder", SOON, || {
        let status = admin.get("/v1/status")?.expect(200)?;
        let reason = status
            .at("/rulesFolder/reason")
            .as_str()
            .unwrap_or_default()
            .to_owned();
        Ok(reason.contains("b.json").then_some(()))
    })?;
    there("second", 200)?;
    fs::remove_file(folder.join("b.json"))?;
    there("second", 404)?;
    there("first", 200)
}
