//! Third-party clients against both RocketMQ servers, read by third-party consumers: every way to
//! connect times every way to end.

use std::thread;
use std::time::Duration;

use acceptance::admin::status_rule;
use acceptance::foreign_client::{ForeignClient, KEEP_ALIVE_S, Way};
use acceptance::host::{HostSpec, TestHost};
use acceptance::message::Message;
use acceptance::{eventually, oracle, reader};
use anyhow::{Context, Result, anyhow, ensure};

/// The ends, and the events that each gives.
const ENDS: [(&str, &str); 4] = [
    ("clean", "connect disconnect tcpclean"),
    ("killed", "connect tcpclean"),
    ("silent", "connect tcpclean"),
    ("twice", "connect tcpclean connect tcpclean"),
];
const EVENTS_PER_WAY: usize = 11;
const READ_DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn embedded() -> Result<()> {
    let host = TestHost::start(HostSpec::on("embedded")?)?;
    let name_server = host.name_server("embedded")?;
    let count = play(&host, "embedded", "TopicMatrix")?;
    let messages = reader::java(&name_server, "TopicMatrix", count, READ_DEADLINE)?;
    check(&messages, count)?;
    let own = reader::through_host(&host, "embedded", "TopicMatrix", count)?;
    same(&own, &messages, "rulemill messages")
}

pub(crate) fn java() -> Result<()> {
    let host = TestHost::start(HostSpec::on("java")?)?;
    let name_server = host.name_server("java")?;
    let count = play(&host, "java", "TopicMatrix")?;
    let messages = reader::java(&name_server, "TopicMatrix", count, READ_DEADLINE)?;
    check(&messages, count)?;
    let other = reader::ali_ons(&name_server, "TopicMatrix", count, READ_DEADLINE)?;
    same(&other, &messages, "ali-ons")?;
    let own = reader::through_host(&host, "java", "TopicMatrix", count)?;
    same(&own, &messages, "rulemill messages")
}

/// All ways at once; returns how many events that makes.
fn play(host: &TestHost, instance: &str, topic: &str) -> Result<usize> {
    let admin = host.admin()?;
    admin.create_rule(&status_rule("matrix", "GID_Matrix", instance, topic))?;
    admin.wait_for_health("matrix", "running", Duration::from_secs(30))?;
    let ways = Way::all();
    let silent = thread::scope(|scope| {
        let players: Vec<_> = ways
            .iter()
            .map(|way| (way, scope.spawn(|| play_way(host, *way))))
            .collect();
        let mut silent = Vec::new();
        for (way, player) in players {
            let played = player.join().map_err(|_| anyhow!("the player panicked"))?;
            silent.push(played.with_context(|| way.name())?);
        }
        anyhow::Ok(silent)
    })?;
    // Only the host's own clock ends these: killed earlier, they would be losses.
    let deadline = Duration::from_secs(u64::from(KEEP_ALIVE_S) * 2 + 20);
    eventually::eventually(
        "keep-alive time-out of the silent clients",
        deadline,
        || Ok((admin.get("/v1/status")?.expect(200)?.at("/connections") == 0).then_some(())),
    )?;
    for client in silent {
        client.kill()?;
    }
    Ok(ways.len() * EVENTS_PER_WAY)
}

fn client_id(way: Way, end: &str) -> String {
    format!("GID_Matrix@@@{}-{end}", way.name())
}

/// Plays the short ends; returns the client that says nothing any more.
fn play_way(host: &TestHost, way: Way) -> Result<ForeignClient> {
    let address = if way.websocket {
        host.websocket()?
    } else {
        host.mqtt()?
    };
    let connect = |end: &str| {
        ForeignClient::connect(way, address, &client_id(way, end)).context(end.to_owned())
    };

    let mut silent = connect("silent")?;
    silent.freeze()?;
    connect("clean")?.close()?;
    connect("killed")?.kill()?;
    let mut first = connect("twice")?;
    // Else it would notice and connect again, which would be a take-over back.
    first.freeze()?;
    let second = connect("twice")?;
    second.kill()?;
    first.kill()?;
    Ok(silent)
}

fn check(messages: &[Message], count: usize) -> Result<()> {
    let verdict = oracle::judge(messages)?;
    for way in Way::all() {
        for (end, story) in ENDS {
            let client_id = client_id(way, end);
            ensure!(
                verdict.story(&client_id) == story,
                "{client_id}: {}",
                verdict.story(&client_id)
            );
        }
    }
    ensure!(
        verdict.repeated == 0,
        "{} messages came twice without a fault",
        verdict.repeated
    );
    ensure!(
        messages.len() == count,
        "expected {count} messages, got {}",
        messages.len()
    );
    Ok(())
}

/// Two readers saw the same, but for what only one of them tells.
fn same(found: &[Message], expected: &[Message], who: &str) -> Result<()> {
    ensure!(
        found.len() == expected.len(),
        "{who} read {} of {} messages",
        found.len(),
        expected.len()
    );
    for (found, expected) in found.iter().zip(expected) {
        let found = Message {
            stored_at: expected.stored_at,
            broker: expected.broker.clone(),
            ..found.clone()
        };
        ensure!(found == *expected, "{who} read {found:?} for {expected:?}");
    }
    Ok(())
}
