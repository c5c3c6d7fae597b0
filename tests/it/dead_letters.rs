//! Dead letters: what becomes one, how it is seen, replayed and deleted, and what happens when there are too many.

use std::time::Duration;

use acceptance::admin::{Admin, status_rule};
use acceptance::bare_client::BareClient;
use acceptance::eventually::eventually;
use acceptance::fixture;
use acceptance::host::{HostSpec, TestHost};
use acceptance::java::JavaRocketmq;
use acceptance::message::Message;
use acceptance::metrics::Metrics;
use acceptance::{oracle, reader};
use anyhow::{Context, Result, ensure};
use serde_json::Value;

const TOPIC: &str = "TopicLetters";
/// The hostile plugin's large message is larger than what this broker takes.
const SMALL_MESSAGES: &str = "maxMessageSize=131072\n";

/// A host whose rule `letters` has the hostile plugin, on a RocketMQ that refuses large messages.
fn start(extra: &str) -> Result<(JavaRocketmq, TestHost)> {
    let rocketmq = JavaRocketmq::start_with(&["broker-a"], SMALL_MESSAGES)?;
    let host = TestHost::start(HostSpec {
        java_name_server: Some(rocketmq.name_server()),
        embedded: false,
        extra: extra.to_owned(),
        ..HostSpec::default()
    })?;
    let admin = host.admin()?;
    admin
        .upload("hostile", &fixture::hostile(None)?)?
        .expect(201)?;
    let mut rule = status_rule("letters", "GID_Letters", "java", TOPIC);
    if let Some(fields) = rule.as_object_mut() {
        fields.insert(
            "mapping".to_owned(),
            serde_json::json!({ "plugin": "hostile" }),
        );
    }
    admin.create_rule(&rule)?;
    admin.wait_for_health("letters", "running", Duration::from_secs(30))?;
    Ok((rocketmq, host))
}

fn visit(host: &TestHost, device: &str) -> Result<()> {
    BareClient::visit(host.mqtt()?, &format!("GID_Letters@@@{device}"))
}

/// Bad clients between good ones, so that the rule is not paused as failing on most events.
fn visits(host: &TestHost, devices: &[&str]) -> Result<()> {
    for (number, device) in devices.iter().enumerate() {
        visit(host, device)?;
        for good in 0..4 {
            visit(host, &format!("good{number}{good}"))?;
        }
        host.admin()?
            .wait_until_delivered(Duration::from_secs(60))?;
    }
    Ok(())
}

fn list(admin: &Admin, filter: &str) -> Result<Vec<Value>> {
    let reply = admin
        .get(&format!("/v1/dead-letters?limit=1000{filter}"))?
        .expect(200)?;
    let items = reply.at("/items").as_array().cloned();
    items.with_context(|| format!("no items: {}", reply.text))
}

fn text<'a>(letter: &'a Value, pointer: &str) -> &'a str {
    letter
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn id(letter: &Value) -> Result<u64> {
    let id = letter.get("id").and_then(Value::as_u64);
    id.with_context(|| format!("no id: {letter}"))
}

fn ids(letters: &[Value]) -> Result<Vec<u64>> {
    letters.iter().map(id).collect()
}

pub(crate) fn seen_replayed_and_deleted() -> Result<()> {
    let (rocketmq, host) = start("")?;
    let admin = host.admin()?;
    visits(&host, &["x-reject", "x-trap", "x-large", "y-reject"])?;
    ensure!(
        admin.events("buried")? == 12,
        "buried: {}",
        admin.events("buried")?
    );
    for (filter, reason, client) in [
        (
            "&reason=rejected&clientId=GID_Letters@@@x-reject",
            "rejected",
            "x-reject",
        ),
        ("&reason=fault", "fault", "x-trap"),
        ("&reason=refused", "refused", "x-large"),
    ] {
        let letters = list(&admin, filter)?;
        ensure!(letters.len() == 3, "{filter}: {letters:?}");
        for letter in &letters {
            expect_complete(letter, reason, client)?;
            let one = admin
                .get(&format!("/v1/dead-letters/{}", id(letter)?))?
                .expect(200)?;
            ensure!(&one.json == letter, "list and single differ: {}", one.text);
        }
    }
    let shown = host
        .cli(&["dead-letter", "list", "--output", "json"])?
        .expect(0)?;
    ensure!(
        shown.stdout.matches("x-large").count() >= 3,
        "the command does not list them: {}",
        shown.stdout
    );
    replay(&host, &admin)?;
    delete(&host, &admin)?;
    judge(&rocketmq)?;
    oracle::conservation(&admin)
}

fn expect_complete(letter: &Value, reason: &str, client: &str) -> Result<()> {
    let client_id = format!("GID_Letters@@@{client}");
    ensure!(
        text(letter, "/reason") == reason
            && text(letter, "/event/clientId") == client_id
            && text(letter, "/ruleId") == "letters"
            && text(letter, "/pluginDigest").starts_with("sha256:")
            && !text(letter, "/detail").is_empty()
            && letter.get("revision").is_some_and(Value::is_u64)
            && letter.get("at").is_some_and(Value::is_u64),
        "not as promised: {letter}"
    );
    Ok(())
}

/// Through a plugin that maps them, by the API and by the command.
fn replay(host: &TestHost, admin: &Admin) -> Result<()> {
    admin.edit_rule("letters", |rule| {
        if let Some(mapping) = rule.get_mut("mapping") {
            *mapping = serde_json::json!({ "plugin": "apsaramq-status" });
        }
    })?;
    // Newest first, so that their order in the topic is the host's doing.
    let ids = ids(&list(admin, "&reason=fault")?)?;
    let reply = admin
        .post(
            "/v1/dead-letters:replay",
            &serde_json::json!({ "ids": ids, "force": true }),
        )?
        .expect(200)?;
    ensure!(reply.at("/replayed") == 3, "replay: {}", reply.text);
    let ids = self::ids(&list(admin, "&reason=refused")?)?;
    let words: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let mut args = vec!["dead-letter", "replay", "--force"];
    args.extend(words.iter().map(String::as_str));
    host.cli(&args)?.expect(0)?;
    admin.wait_until_delivered(Duration::from_secs(30))?;
    ensure!(
        admin.events("replayed")? == 6,
        "replayed: {}",
        admin.events("replayed")?
    );
    // Without force, the connect of a channel that is closed by now is kept: it would tell a lie.
    for letter in list(admin, "&clientId=GID_Letters@@@y-reject")? {
        let path = format!("/v1/dead-letters/{}/replay", id(&letter)?);
        let reply = admin.post(&path, &serde_json::json!({}))?.expect(200)?;
        let is_connect = text(&letter, "/event/eventType") == "connect";
        ensure!(
            reply.at("/skipped") == u64::from(is_connect)
                && reply.at("/replayed") == u64::from(!is_connect),
            "replay of {letter}: {}",
            reply.text
        );
    }
    ensure!(
        list(admin, "&clientId=GID_Letters@@@y-reject")?.len() == 1,
        "the skipped dead letter is gone"
    );
    admin.wait_until_delivered(Duration::from_secs(30))
}

fn delete(host: &TestHost, admin: &Admin) -> Result<()> {
    let rest = list(admin, "&clientId=GID_Letters@@@x-reject")?;
    ensure!(rest.len() == 3, "{rest:?}");
    let ids = ids(&rest)?;
    let [first, second, ..] = ids.as_slice() else {
        anyhow::bail!("too few");
    };
    let second = &second.to_string();
    admin
        .delete(&format!("/v1/dead-letters/{first}"))?
        .expect(204)?;
    admin
        .get(&format!("/v1/dead-letters/{first}"))?
        .expect(404)?;
    // Without a terminal it has to be said twice.
    ensure!(
        host.cli(&["dead-letter", "delete", second])?.code != Some(0),
        "deleted without being asked twice"
    );
    host.cli(&["dead-letter", "delete", second, "--yes"])?
        .expect(0)?;
    host.cli(&["dead-letter", "show", second])?.expect(3)?;
    ensure!(
        list(admin, "&clientId=GID_Letters@@@x-reject")?.len() == 1,
        "not exactly two were deleted"
    );
    Ok(())
}

fn judge(rocketmq: &JavaRocketmq) -> Result<()> {
    // 16 good visits, six events that were forced, two that needed no force.
    let messages = reader::java(
        &rocketmq.name_server(),
        TOPIC,
        16 * 3 + 8,
        Duration::from_secs(30),
    )?;
    for device in ["x-trap", "x-large"] {
        let client_id = format!("GID_Letters@@@{device}");
        let mine: Vec<&Message> = messages
            .iter()
            .filter(|message| message.keys.first() == Some(&client_id))
            .collect();
        let tags: Vec<&str> = mine
            .iter()
            .filter_map(|message| message.tag.as_deref())
            .collect();
        ensure!(
            tags == ["connect", "disconnect", "tcpclean"],
            "{device} was replayed as {tags:?}"
        );
    }
    let skipped = messages.iter().any(|message| {
        message.tag.as_deref() == Some("connect")
            && message
                .keys
                .first()
                .is_some_and(|key| key.ends_with("@@@y-reject"))
    });
    ensure!(
        !skipped,
        "the connect of a closed channel was replayed without force"
    );
    Ok(())
}

/// The rule waits until there is room again; nothing is dropped.
pub(crate) fn too_many_pause_the_rule() -> Result<()> {
    let (rocketmq, host) = start("[outbox]\ndead-letters-max-bytes = \"1MiB\"\n")?;
    let admin = host.admin()?;
    let mut bad = 0_u64;
    // Each dead letter takes some 300 bytes.
    let paused = eventually("the rule to pause", Duration::from_secs(300), || {
        for _ in 0..100 {
            visit(&host, &format!("d{}-reject", bad % 50))?;
            bad += 1;
        }
        let rule = admin.get("/v1/rules/letters")?.expect(200)?;
        let is_paused = rule.at("/state/health") == "paused";
        Ok(is_paused.then(|| rule.at("/state/reason").to_string()))
    })?;
    ensure!(
        paused.contains("dead letters are full"),
        "the reason is {paused}"
    );
    let metrics = Metrics::read(&admin)?;
    ensure!(
        metrics.value("rulemill_outbox_dead_letter_bytes")? >= f64::from(1 << 20),
        "paused with room"
    );
    // Clients still come, and their events wait.
    for _ in 0..10 {
        visit(&host, "waiting-reject")?;
    }
    eventually("the events to wait", Duration::from_secs(10), || {
        Ok((admin.events("pending")? >= 30).then_some(()))
    })?;
    // One answer has all of it, as of one moment.
    let status = admin.get("/v1/status")?.expect(200)?;
    let count = |name: &str| status.at(&format!("/events/{name}")).as_u64();
    let (total, kept) = (count("recorded"), count("buried"));
    ensure!(
        total.is_some() && total == kept.zip(count("pending")).map(|(kept, rest)| kept + rest),
        "something was dropped: {total:?} recorded, {kept:?} buried"
    );
    // Room is made by hand.
    admin
        .delete("/v1/dead-letters?ruleId=letters")?
        .expect(200)?;
    admin.wait_for_health("letters", "running", Duration::from_secs(30))?;
    admin.wait_until_delivered(Duration::from_secs(30))?;
    ensure!(
        admin.events("buried")? == admin.events("recorded")?,
        "not everything was buried in the end"
    );
    drop(rocketmq);
    oracle::conservation(&admin)
}
