//! Each limit and rule of names, types and uniqueness from both sides, through HTTP, the command line and
//! `apply`: the same answer in the same words.

use std::fs;

use acceptance::admin::{Admin, status_rule};
use acceptance::host::{HostSpec, TestHost};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// What the three ways are expected to say.
#[derive(Clone, Copy)]
enum Answer {
    /// The rule is saved.
    Saved,
    /// It is not, with this HTTP status and code, and this in the message.
    Refused(u16, &'static str, &'static str),
}

use Answer::{Refused, Saved};

struct Row {
    what: &'static str,
    rule: Value,
    answer: Answer,
}

fn row(what: &'static str, rule: Value, answer: Answer) -> Row {
    Row { what, rule, answer }
}

fn data_rule(rule_id: &str, rule_type: &str, mqtt_topic: &str) -> Value {
    let rocketmq = json!({ "service": "rocketmq", "instanceId": "embedded", "topic": "TopicT" });
    let mqtt = json!({ "mqttTopic": mqtt_topic });
    let (source, destination) = if rule_type == "dataInbound" {
        (rocketmq, mqtt)
    } else {
        (mqtt, rocketmq)
    };
    json!({ "ruleId": rule_id, "type": rule_type, "status": "disabled",
            "source": source, "destination": destination })
}

fn with(mut rule: Value, pointer: &str, value: Value) -> Value {
    if let Some((parent, name)) = pointer.rsplit_once('/')
        && let Some(fields) = rule.pointer_mut(parent).and_then(Value::as_object_mut)
    {
        fields.insert(name.to_owned(), value);
    }
    rule
}

fn of_id(rule_id: &str) -> Value {
    status_rule(rule_id, "GID_Table", "embedded", "TopicT")
}

fn of_group(group_id: &str) -> Value {
    status_rule("table", group_id, "embedded", "TopicT")
}

/// §4.2: id, description, status, type.
fn basics() -> Vec<Row> {
    let id = |words| Refused(422, "invalid_rule_id", words);
    let rule = |words| Refused(422, "invalid_rule", words);
    vec![
        row("an id of 2 characters", of_id("ab"), id("3 to 64")),
        row("an id of 3 characters", of_id("abc"), Saved),
        row("an id of 64 characters", of_id(&"r".repeat(64)), Saved),
        row("a longer id is cut", of_id(&"r".repeat(65)), Saved),
        row("an id of digits", of_id("111111"), Saved),
        row(
            "an id without letter or digit",
            of_id("-_-"),
            id("at least one"),
        ),
        row("an id with one digit", of_id("-1-"), Saved),
        row(
            "an id with a blank",
            of_id("a b"),
            id("letters, digits, - and _"),
        ),
        row(
            "an id with an umlaut",
            of_id("aäb"),
            id("letters, digits, - and _"),
        ),
        row(
            "a description of 1024 bytes",
            with(of_id("table"), "/description", "x".repeat(1024).into()),
            Saved,
        ),
        row(
            "a description of 1025 bytes",
            with(of_id("table"), "/description", "x".repeat(1025).into()),
            rule("1024 bytes"),
        ),
        row(
            "a disabled rule",
            with(of_id("table"), "/status", "disabled".into()),
            Saved,
        ),
        row(
            "a rule of no type",
            with(of_id("table"), "/type", "statusNotification".into()),
            rule("clientStatusNotification, dataOutbound, dataInbound"),
        ),
        row(
            "a disabled outbound rule",
            data_rule("table", "dataOutbound", "Parent"),
            Saved,
        ),
        row(
            "a disabled inbound rule",
            data_rule("table", "dataInbound", "Parent"),
            Saved,
        ),
    ]
}

/// §4.3 and §5.1: source, destination, names.
#[expect(clippy::too_many_lines, reason = "one row per promise")]
fn ends() -> Vec<Row> {
    let group = |words| Refused(422, "invalid_group_id", words);
    let rule = |words| Refused(422, "invalid_rule", words);
    let to = |pointer: &str, value: &str| with(of_id("table"), pointer, value.into());
    let mqtt = |topic: &str| data_rule("table", "dataOutbound", topic);
    vec![
        row(
            "a group id of 6 characters",
            of_group("GID_ab"),
            group("7 to 64"),
        ),
        row("a group id of 7 characters", of_group("GID_abc"), Saved),
        row("a group id with a dash", of_group("GID-abc"), Saved),
        row(
            "a group id of 64 characters",
            of_group(&format!("GID_{}", "g".repeat(60))),
            Saved,
        ),
        row(
            "a group id of 65 characters",
            of_group(&format!("GID_{}", "g".repeat(61))),
            group("7 to 64"),
        ),
        row(
            "a group id in small letters",
            of_group("gid_abcd"),
            group("GID_ or GID-"),
        ),
        row(
            "a group id with a dot",
            of_group("GID_a.bc"),
            group("letters, digits, - and _"),
        ),
        row(
            "an instance that is not configured",
            to("/destination/instanceId", "elsewhere"),
            Refused(422, "unknown_instance", "embedded"),
        ),
        row(
            "a topic with a blank",
            to("/destination/topic", "a b"),
            rule("destination.topic"),
        ),
        row(
            "a topic of 127 characters",
            to("/destination/topic", &"t".repeat(127)),
            Saved,
        ),
        row(
            "a topic of 128 characters",
            to("/destination/topic", &"t".repeat(128)),
            rule("1 to 127"),
        ),
        row("an MQTT topic of 2 characters", mqtt("ab"), rule("3 to 64")),
        row("an MQTT topic of 3 characters", mqtt("abc"), Saved),
        row(
            "an MQTT topic of 64 characters",
            mqtt(&"m".repeat(64)),
            Saved,
        ),
        row(
            "an MQTT topic of 65 characters",
            mqtt(&"m".repeat(65)),
            rule("3 to 64"),
        ),
        row(
            "an MQTT topic with levels",
            mqtt("Parent/sub"),
            rule("without the levels"),
        ),
        row(
            "an MQTT topic with a dot",
            mqtt("a.bc"),
            rule("letters, digits, - and _"),
        ),
        row(
            "a plugin that is not there",
            with(
                of_id("table"),
                "/mapping",
                json!({ "plugin": "no-such-plugin" }),
            ),
            Refused(422, "unknown_plugin", "no-such-plugin"),
        ),
    ]
}

/// §4.1: one status rule per group, one data rule per MQTT topic and direction; the message names the
/// rule in the way. The other rules are there already.
fn uniqueness() -> Vec<Row> {
    let topic = |words| Refused(409, "topic_has_rule", words);
    vec![
        row(
            "a second status rule of a group",
            of_group("GID_Taken"),
            Refused(409, "group_has_rule", "other-status"),
        ),
        row(
            "a second outbound rule of a topic",
            data_rule("table", "dataOutbound", "TakenOut"),
            topic("other-outbound"),
        ),
        row(
            "the same topic in other letters",
            data_rule("table", "dataOutbound", "TAKENOUT"),
            topic("other-outbound"),
        ),
        row(
            "a second inbound rule of a topic",
            data_rule("table", "dataInbound", "TakenIn"),
            topic("other-inbound"),
        ),
        row(
            "an inbound rule beside an outbound one",
            data_rule("table", "dataInbound", "TakenOut"),
            Saved,
        ),
        row(
            "a RocketMQ topic that another rule has, too",
            of_group("GID_Free"),
            Saved,
        ),
    ]
}

pub(crate) fn from_both_sides() -> Result<()> {
    let host = TestHost::start(HostSpec::default())?;
    let admin = host.admin()?;
    for row in basics().into_iter().chain(ends()) {
        try_row(&host, &admin, &row).with_context(|| row.what.to_owned())?;
    }
    admin.create_rule(&status_rule(
        "other-status",
        "GID_Taken",
        "embedded",
        "TopicT",
    ))?;
    admin.create_rule(&data_rule("other-outbound", "dataOutbound", "TakenOut"))?;
    admin.create_rule(&data_rule("other-inbound", "dataInbound", "TakenIn"))?;
    for row in uniqueness() {
        try_row(&host, &admin, &row).with_context(|| row.what.to_owned())?;
    }
    held_data_rules(&host, &admin).context("data rules stay disabled")?;
    immutable_id(&admin).context("a rule's id cannot change")?;
    groups(&host, &admin).context("groups")?;
    hundred_rules(&host, &admin).context("limit of rules")
}

fn try_row(host: &TestHost, admin: &Admin, row: &Row) -> Result<()> {
    let posted = admin.post("/v1/rules", &row.rule)?;
    let typed = || host.cli(&as_ref(&arguments(&row.rule)));
    let applied = || apply(host, &json!({ "rule": [row.rule] }), &[]);
    match row.answer {
        Saved => {
            let rule_id = text(&posted.expect(201)?.json, "/ruleId");
            ensure!(rule_id.len() <= 64, "not cut: {rule_id}");
            let delete = || admin.delete(&format!("/v1/rules/{rule_id}"))?.expect(204);
            delete()?;
            typed()?.expect(0).context("command line")?;
            delete()?;
            applied()?.expect(0).context("apply")?;
            delete()?;
        }
        Refused(status, code, words) => {
            posted.expect_error(status, code)?;
            let message = text(&posted.json, "/message");
            ensure!(message.contains(words), "{words:?} is not in: {message}");
            let line = format!("rulemill: {message} ({code})");
            let exit = if status == 409 { 4 } else { 1 };
            for (way, ran) in [("command line", typed()?), ("apply", applied()?)] {
                let ran = ran.expect(exit).context(way)?;
                ensure!(
                    ran.stderr.trim() == line,
                    "{way} says {:?}, HTTP says {line:?}",
                    ran.stderr
                );
            }
        }
    }
    Ok(())
}

fn text(value: &Value, pointer: &str) -> String {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

fn as_ref(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// How a person types the rule.
fn arguments(rule: &Value) -> Vec<String> {
    let mut all = vec!["rule".to_owned(), "create".to_owned()];
    let rocketmq = if text(rule, "/type") == "dataInbound" {
        "/source"
    } else {
        "/destination"
    };
    for (option, pointer) in [
        ("--type", "/type".to_owned()),
        ("--group", "/source/groupId".to_owned()),
        ("--mqtt-topic", "/source/mqttTopic".to_owned()),
        ("--mqtt-topic", "/destination/mqttTopic".to_owned()),
        ("--instance", format!("{rocketmq}/instanceId")),
        ("--topic", format!("{rocketmq}/topic")),
        ("--description", "/description".to_owned()),
        ("--plugin", "/mapping/plugin".to_owned()),
    ] {
        if let Some(value) = rule.pointer(&pointer).and_then(Value::as_str) {
            all.extend([option.to_owned(), value.to_owned()]);
        }
    }
    if text(rule, "/status") == "disabled" {
        all.push("--disabled".to_owned());
    }
    all.extend(["--".to_owned(), text(rule, "/ruleId")]);
    all
}

fn apply(host: &TestHost, file: &Value, more: &[&str]) -> Result<acceptance::cli::Ran> {
    let path = host.folder().join("table.json");
    fs::write(&path, file.to_string())?;
    let mut arguments = vec!["apply", "-f", "table.json"];
    arguments.extend(more);
    host.cli(&arguments)
}

fn held_data_rules(host: &TestHost, admin: &Admin) -> Result<()> {
    let refused = admin.post("/v1/rules/other-outbound/enable", &json!({}))?;
    refused.expect_error(422, "data_rule_held")?;
    let line = format!(
        "rulemill: {} (data_rule_held)",
        text(&refused.json, "/message")
    );
    let typed = host.cli(&["rule", "enable", "other-outbound"])?.expect(1)?;
    ensure!(typed.stderr.trim() == line, "{}", typed.stderr);
    let enabled = with(
        data_rule("other-outbound", "dataOutbound", "TakenOut"),
        "/status",
        "enabled".into(),
    );
    let applied = apply(host, &json!({ "rule": [enabled] }), &[])?.expect(1)?;
    ensure!(applied.stderr.trim() == line, "{}", applied.stderr);
    ensure!(
        admin
            .get("/v1/rules/other-outbound")?
            .expect(200)?
            .at("/state/health")
            == "disabled",
        "not disabled"
    );
    Ok(())
}

fn immutable_id(admin: &Admin) -> Result<()> {
    let renamed = of_id("renamed");
    let refused = admin.put("/v1/rules/other-status", None, &renamed)?;
    refused.expect_error(422, "invalid_rule")?;
    let twice = status_rule("other-status", "GID_Other", "embedded", "TopicT");
    admin
        .post("/v1/rules", &twice)?
        .expect_error(409, "rule_exists")
}

/// §5.1: a group's name, by itself.
fn groups(host: &TestHost, admin: &Admin) -> Result<()> {
    let long = |count: usize| format!("GID_{}", "n".repeat(count - 4));
    for wrong in ["GID_12", "Gid_123", "GID_1 3", &long(65)] {
        let refused = admin.post("/v1/groups", &json!({ "groupId": wrong }))?;
        refused.expect_error(422, "invalid_group_id")?;
        let line = format!(
            "rulemill: {} (invalid_group_id)",
            text(&refused.json, "/message")
        );
        let typed = host.cli(&["group", "create", wrong])?.expect(1)?;
        ensure!(typed.stderr.trim() == line, "{}", typed.stderr);
        let applied = apply(host, &json!({ "group": [{ "groupId": wrong }] }), &[])?.expect(1)?;
        ensure!(applied.stderr.trim() == line, "{}", applied.stderr);
    }
    for right in ["GID_123".to_owned(), "GID-123".to_owned(), long(64)] {
        let delete = || admin.delete(&format!("/v1/groups/{right}"))?.expect(204);
        admin
            .post("/v1/groups", &json!({ "groupId": right }))?
            .expect(201)?;
        admin
            .post("/v1/groups", &json!({ "groupId": right }))?
            .expect_error(409, "group_exists")?;
        delete()?;
        host.cli(&["group", "create", &right])?.expect(0)?;
        host.cli(&["group", "create", &right])?.expect(4)?;
        delete()?;
        apply(host, &json!({ "group": [{ "groupId": right }] }), &[])?.expect(0)?;
        delete()?;
    }
    Ok(())
}

/// §4.1: 100 rules of all types together.
fn hundred_rules(host: &TestHost, admin: &Admin) -> Result<()> {
    let many = |count: usize| -> Value {
        let rules = (0..count).map(|n| {
            let rule_id = format!("many-{n}");
            data_rule(&rule_id, "dataOutbound", &format!("Many{n}"))
        });
        json!({ "rule": rules.collect::<Vec<_>>() })
    };
    let too_many = apply(host, &many(101), &["--prune"])?.expect(4)?;
    ensure!(
        too_many.stderr.contains("(too_many_rules)"),
        "{}",
        too_many.stderr
    );
    ensure!(
        admin.get("/v1/rules")?.expect(200)?.at("/total") == 3,
        "a refused apply changed something"
    );
    apply(host, &many(100), &["--prune"])?.expect(0)?;
    ensure!(
        admin.get("/v1/rules")?.expect(200)?.at("/total") == 100,
        "not 100 rules"
    );
    let full = Row {
        what: "the 101st rule",
        rule: of_id("table"),
        answer: Refused(409, "too_many_rules", "100"),
    };
    try_row(host, admin, &full)?;
    admin.delete("/v1/rules/many-0")?.expect(204)?;
    try_row(
        host,
        admin,
        &Row {
            answer: Saved,
            ..full
        },
    )
}
