//! What an operator looks at: a rule's history, its last events, trials, live events, instances.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use acceptance::admin::status_rule;
use acceptance::cli;
use acceptance::eventually::eventually;
use acceptance::host::{HostSpec, TestHost};
use acceptance::load::Load;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);

pub(crate) fn history_and_rollback() -> Result<()> {
    let host = TestHost::start(HostSpec::default())?;
    let admin = host.admin()?;
    admin.create_rule(&status_rule("past", "GID_Past", "embedded", "TopicOne"))?;
    host.cli(&[
        "rule",
        "edit",
        "past",
        "--topic",
        "TopicTwo",
        "--description",
        "moved",
    ])?
    .expect(0)?;
    host.cli(&["rule", "disable", "past"])?.expect(0)?;
    // Without a difference there is no revision.
    host.cli(&["rule", "disable", "past"])?.expect(0)?;
    let history = admin.get("/v1/rules/past/history")?.expect(200)?;
    let items = history.at("/items").as_array().cloned().unwrap_or_default();
    let changes: Vec<_> = items
        .iter()
        .filter_map(|it| it.pointer("/change"))
        .collect();
    ensure!(
        changes == ["disabled", "edited", "created"],
        "{}",
        history.text
    );
    let edited = items.get(1).context("no edit")?;
    let fields: Vec<_> = edited
        .pointer("/difference")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|it| it.pointer("/field"))
        .collect();
    ensure!(
        fields == ["description", "destination.topic"],
        "the edit changed {fields:?}"
    );
    ensure!(
        edited.pointer("/by") == Some(&json!("token:admin"))
            && edited.pointer("/at").and_then(Value::as_u64) > Some(0),
        "not known who and when: {edited}"
    );
    let first = items
        .last()
        .and_then(|it| it.pointer("/revision"))
        .context("no revision")?;
    let typed = ["rule", "rollback", "past", "--revision", &first.to_string()];
    host.cli(&typed)?.expect(0)?;
    let rule = admin.get("/v1/rules/past")?.expect(200)?;
    ensure!(
        rule.at("/destination/topic") == "TopicOne" && rule.at("/status") == "enabled",
        "not what it was: {}",
        rule.text
    );
    let shown = host.cli(&["rule", "history", "past"])?.expect(0)?;
    ensure!(shown.stdout.contains("rolledBack"), "{}", shown.stdout);
    admin
        .post("/v1/rules/past/rollback", &json!({ "revision": 999_999 }))?
        .expect_error(404, "revision_not_found")
}

pub(crate) fn sample_and_test() -> Result<()> {
    let host = TestHost::start(HostSpec::default())?;
    let admin = host.admin()?;
    admin.create_rule(&status_rule("tried", "GID_Tried", "embedded", "TopicTried"))?;
    admin
        .post("/v1/rules/tried/test", &json!({ "sample": 1 }))?
        .expect_error(404, "sample_not_found")?;
    admin
        .post(
            "/v1/rules/tried/test",
            &json!({ "event": { "eventType": "gone" } }),
        )?
        .expect_error(422, "invalid_event")?;
    let event = json!({ "eventType": "tcpclean", "clientId": "GID_Tried@@@x", "time": 5, "reason": "kicked" });
    let run = admin
        .post("/v1/rules/tried/test", &json!({ "event": event }))?
        .expect(200)?;
    ensure!(
        run.at("/outcome") == "mapped"
            && run.at("/messages/0/topic") == "TopicTried"
            && run.at("/messages/0/tag") == "tcpclean"
            && run.at("/messages/0/properties/groupId") == "GID_Tried",
        "{}",
        run.text
    );
    let body = run.at("/messages/0/body").as_str().context("no body")?;
    ensure!(body.contains("\"time\":5"), "{body}");
    ensure!(
        run.at("/memoryBytes").as_u64() > Some(0) && run.at("/logs").is_array(),
        "{}",
        run.text
    );
    ensure!(admin.events("observed")? == 0, "a trial was counted");

    Load::hold(host.mqtt()?, "GID_Tried@@@s", 1)?.kill()?;
    let samples = eventually("both events among the samples", SOON, || {
        let samples = admin.get("/v1/rules/tried/sample")?.expect(200)?;
        Ok((samples.at("/total") == 2).then_some(samples))
    })?;
    ensure!(
        samples.at("/items/0/event/eventType") == "tcpclean"
            && samples.at("/items/0/outcome") == "delivered",
        "{}",
        samples.text
    );
    // An event as it is shown can be tried as it is.
    let shown = samples.at("/items/0/event").clone();
    let again = admin
        .post("/v1/rules/tried/test", &json!({ "event": shown }))?
        .expect(200)?;
    ensure!(
        again.at("/messages/0/body") == samples.at("/items/0/messages/0/body"),
        "{}",
        again.text
    );
    let typed = host
        .cli(&["rule", "test", "tried", "--sample", "2"])?
        .expect(0)?;
    ensure!(
        typed.stdout.contains("message to TopicTried connect"),
        "{}",
        typed.stdout
    );
    host.cli(&["rule", "sample", "tried"])?.expect(0)?;
    Ok(())
}

pub(crate) fn live_events() -> Result<()> {
    let host = TestHost::start(HostSpec::default())?;
    let admin = host.admin()?;
    admin.create_rule(&status_rule("live", "GID_Live", "embedded", "TopicLive"))?;
    let mut command = Command::new(cli::host_binary()?);
    command.args(["events", "--group", "GID_Live", "--json"]);
    command.env("RULEMILL_SERVER", admin.base());
    command.env("RULEMILL_TOKEN", admin.token());
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().context("no output")?;
    // It reads as soon as the host counts it.
    eventually("a reader of events", SOON, || {
        let metrics = admin.get("/metrics")?.expect(200)?.text;
        let is_there = metrics.contains("rulemill_live_event_readers 1");
        Ok(is_there.then_some(()))
    })?;
    Load::hold(host.mqtt()?, "GID_Other@@@o", 1)?.kill()?;
    Load::hold(host.mqtt()?, "GID_Live@@@l", 1)?.kill()?;
    let mut lines = BufReader::new(output).lines();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let line = lines.next().context("the events ended")??;
        let event: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
        ensure!(
            event.pointer("/clientId") == Some(&json!("GID_Live@@@l0")),
            "{line}"
        );
        seen.push(event.pointer("/eventType").cloned().unwrap_or_default());
    }
    child.kill()?;
    child.wait()?;
    ensure!(seen == ["connect", "tcpclean"], "seen: {seen:?}");
    Ok(())
}

pub(crate) fn instances() -> Result<()> {
    let host = TestHost::start(HostSpec {
        java_name_server: Some("127.0.0.1:1".to_owned()),
        create_topics: false,
        ..HostSpec::default()
    })?;
    let admin = host.admin()?;
    let listed = admin.get("/v1/rocketmq-instances")?.expect(200)?;
    ensure!(
        listed.at("/items/0/instanceId") == "embedded"
            && listed.at("/items/0/health") == "up"
            && listed.at("/items/1/instanceId") == "java"
            && listed.at("/items/1/health") == "down",
        "{}",
        listed.text
    );
    let problem = listed.at("/items/1/nameServers/0/problem");
    ensure!(
        problem.as_str().unwrap_or_default().contains("127.0.0.1:1"),
        "{problem}"
    );
    let topics = "/v1/rocketmq-instances/embedded/topics";
    admin
        .post(topics, &json!({ "topic": "TopicProbe", "queues": 2 }))?
        .expect(201)?;
    let probe = |instance: &str, topic: &str| {
        let path = format!("/v1/rocketmq-instances/{instance}/probe");
        admin.post(&path, &json!({ "topic": topic }))?.expect(200)
    };
    let well = probe("embedded", "TopicProbe")?;
    ensure!(
        well.at("/ok") == true && well.at("/writableQueues").as_array().map(Vec::len) == Some(2),
        "{}",
        well.text
    );
    let missing = probe("embedded", "TopicNone")?;
    ensure!(
        missing.at("/ok") == false
            && missing.at("/steps/0/ok") == true
            && missing.at("/steps/1/step") == "route"
            && missing.at("/steps/1/code") == "topic_not_found",
        "{}",
        missing.text
    );
    let away = probe("java", "TopicProbe")?;
    ensure!(
        away.at("/steps/0/step") == "nameServer"
            && away.at("/steps/0/code") == "rocketmq_unreachable",
        "{}",
        away.text
    );
    // The probe stored nothing.
    let messages = format!("{topics}/TopicProbe/messages?fromStart=true");
    ensure!(
        admin.get(&messages)?.expect(200)?.text.is_empty(),
        "a probe left a message"
    );
    let listed = admin.get(topics)?;
    ensure!(
        listed.status == 422 || listed.text.contains("TopicProbe"),
        "{}",
        listed.text
    );
    Ok(())
}
