//! Rules that cannot be, through HTTP and the command line.

use std::time::Duration;

use acceptance::admin::{Admin, status_rule};
use acceptance::host::{HostSpec, TestHost};
use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// What a refused rule looks like from both sides.
struct Refused {
    status: u16,
    code: &'static str,
    exit: i32,
    /// Words that the line of the command has.
    words: &'static [&'static str],
}

pub(crate) fn refused() -> Result<()> {
    let spec = HostSpec {
        extra: "[limits]\nrules = 2\n".to_owned(),
        ..HostSpec::default()
    };
    let host = TestHost::start(spec)?;
    let admin = host.admin()?;
    let bad = |rule: Value, refused: &Refused| check(&host, &admin, &rule, refused);

    let group = Refused {
        status: 422,
        code: "invalid_group_id",
        exit: 1,
        words: &["GID_"],
    };
    for id in ["Client_Status", "GID_A", "GID_with blank"] {
        bad(status_rule("rule-1", id, "embedded", "TopicR"), &group)?;
    }
    let rule_id = Refused {
        status: 422,
        code: "invalid_rule_id",
        exit: 1,
        words: &["rule id"],
    };
    for id in ["", "a b", "ä"] {
        bad(status_rule(id, "GID_Right", "embedded", "TopicR"), &rule_id)?;
    }
    ensure!(
        admin.get("/v1/rules")?.expect(200)?.at("/total") == 0,
        "a refused rule was saved"
    );

    let long = "r".repeat(80);
    let cut = admin.create_rule(&status_rule(&long, "GID_One", "embedded", "TopicR"))?;
    ensure!(
        cut.at("/ruleId").as_str().map(str::len) == Some(64),
        "not cut to 64: {}",
        cut.text
    );
    ensure!(
        cut.at("/warnings/0").is_string(),
        "no warning of the cut: {}",
        cut.text
    );

    let second = Refused {
        status: 409,
        code: "group_has_rule",
        exit: 4,
        words: &["GID_One"],
    };
    bad(
        status_rule("second", "GID_One", "embedded", "TopicR"),
        &second,
    )?;
    admin.create_rule(&status_rule("two", "GID_Two", "embedded", "TopicR"))?;
    let full = Refused {
        status: 409,
        code: "too_many_rules",
        exit: 4,
        words: &["2"],
    };
    bad(
        status_rule("three", "GID_Three", "embedded", "TopicR"),
        &full,
    )?;
    ensure!(
        admin.get("/v1/rules")?.expect(200)?.at("/total") == 2,
        "a refused rule was saved"
    );
    Ok(())
}

pub(crate) fn missing_topic() -> Result<()> {
    let host = TestHost::start(HostSpec {
        create_topics: false,
        ..HostSpec::default()
    })?;
    let refused = Refused {
        status: 422,
        code: "topic_not_found",
        exit: 1,
        words: &["TopicMissing"],
    };
    unless_forced(
        &host,
        &status_rule("lost", "GID_Lost", "embedded", "TopicMissing"),
        &refused,
    )
}

pub(crate) fn missing_name_server() -> Result<()> {
    let spec = HostSpec {
        java_name_server: Some("127.0.0.1:1".to_owned()),
        ..HostSpec::default()
    };
    let host = TestHost::start(spec)?;
    let refused = Refused {
        status: 422,
        code: "rocketmq_unreachable",
        exit: 1,
        words: &["127.0.0.1:1"],
    };
    unless_forced(
        &host,
        &status_rule("lost", "GID_Lost", "java", "TopicAny"),
        &refused,
    )
}

fn unless_forced(host: &TestHost, rule: &Value, refused: &Refused) -> Result<()> {
    let admin = host.admin()?;
    check(host, &admin, rule, refused)?;
    ensure!(
        admin.get("/v1/rules")?.expect(200)?.at("/total") == 0,
        "a refused rule was saved"
    );
    admin.post("/v1/rules?force=true", rule)?.expect(201)?;
    let id = rule
        .get("ruleId")
        .and_then(Value::as_str)
        .context("a rule without id")?;
    admin.wait_for_health(id, "retrying", Duration::from_secs(30))?;
    // What waits for RocketMQ can be edited all the same, as long as it still goes there.
    let edited = admin.edit_rule(id, |rule| {
        if let Some(rule) = rule.as_object_mut() {
            rule.insert("description".to_owned(), Value::from("waits"));
        }
    })?;
    ensure!(edited.at("/description") == "waits", "{}", edited.text);
    Ok(())
}

fn check(host: &TestHost, admin: &Admin, rule: &Value, refused: &Refused) -> Result<()> {
    let named = || format!("rule {rule}");
    admin
        .post("/v1/rules", rule)?
        .expect_error(refused.status, refused.code)
        .with_context(named)?;
    let text = |pointer: &str| {
        rule.pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let ran = host.cli(&[
        "rule",
        "create",
        &text("/ruleId"),
        "--group",
        &text("/source/groupId"),
        "--instance",
        &text("/destination/instanceId"),
        "--topic",
        &text("/destination/topic"),
    ])?;
    ran.expect(refused.exit)
        .and_then(|ran| ran.expect_one_line(refused.words))
        .with_context(named)?;
    Ok(())
}
