//! A long outage: millions of events wait on disk, the host restarts with them, and they are drained.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use acceptance::admin::{Admin, status_rule};
use acceptance::eventually::{eventually, now_ms};
use acceptance::host::{HostSpec, TestHost};
use acceptance::java::JavaRocketmq;
use acceptance::load::{ChurnSpec, Load};
use acceptance::proxy::RocketmqProxy;
use acceptance::reader::{self, QueueLength, Sampled};
use acceptance::{figures, memory, oracle, scale};
use anyhow::{Context, Result, ensure};

/// What the host's manual states for any backlog.
const MEMORY_MIB_MAX: u64 = 512;
const START_MAX: Duration = Duration::from_secs(5);
/// What the file may keep in the end, however large it was.
const KEPT_MIB: u64 = 64;
const STOP: Duration = Duration::from_secs(30);
const TOPIC: &str = "TopicBacklog";

pub(crate) fn of_a_long_outage() -> Result<()> {
    let (visits, deadline) = scale::pick((6_700, 120), (3_340_000, 3600));
    let deadline = Duration::from_secs(deadline);
    // Its own: a store of gigabytes goes with it.
    let rocketmq = JavaRocketmq::start_with(&["broker-a"], "")?;
    let name_server = rocketmq.name_server();
    let proxy = RocketmqProxy::start(&name_server, &rocketmq.broker())?;
    let mut host = TestHost::start(HostSpec {
        java_name_server: Some(proxy.name_server()),
        embedded: false,
        extra: "[outbox]\nmax-bytes = \"8GiB\"\nrule-share = 1.0\n[delivery]\nshutdown-grace = \"1s\"\n"
            .to_owned(),
        ..HostSpec::default()
    })?;
    let admin = host.admin()?;
    admin.create_rule(&status_rule("backlog", "GID_Backlog", "java", TOPIC))?;
    admin.wait_for_health("backlog", "running", Duration::from_secs(30))?;
    proxy.cut();

    let events = grow(&host, visits)?;
    let file = host.data_dir().join("outbox.redb");
    let largest = std::fs::metadata(&file)?.len();
    let grown = memory::peak(host.pid())?;
    let [after_stop, after_kill] = restart_twice(&mut host)?;
    let admin = host.admin()?;
    ensure!(
        admin.events("pending")? == events,
        "{} of {events} events are pending after the restarts",
        admin.events("pending")?
    );
    figures::say(
        "backlog",
        &format!(
            "{events} events in {} MiB; host {} MiB at most meanwhile; start after a stop {:?} with {} MiB, after kill -9 {:?} with {} MiB",
            memory::mib(largest),
            memory::mib(grown),
            after_stop.0,
            memory::mib(after_stop.1),
            after_kill.0,
            memory::mib(after_kill.1)
        ),
    );
    proxy.restore()?;
    drain(&admin, events, deadline)?;
    let drained = memory::peak(host.pid())?;
    let kept = wait_for_space(&file)?;
    figures::say(
        "backlog",
        &format!(
            "host {} MiB at most until the end; the file has {} MiB then",
            memory::mib(drained),
            memory::mib(kept)
        ),
    );
    let most = grown.max(after_stop.1).max(drained);
    ensure!(
        memory::mib(most) <= MEMORY_MIB_MAX,
        "the host took {} MiB, stated are {MEMORY_MIB_MAX} MiB",
        memory::mib(most)
    );
    oracle::conservation(&admin)?;
    judge(&name_server, events)
}

/// Waits until the file has shrunk; returns its size.
fn wait_for_space(file: &Path) -> Result<u64> {
    let deadline = Duration::from_secs(120);
    let kept = eventually("disk space to be given back", deadline, || {
        let size = std::fs::metadata(file)?.len();
        Ok((memory::mib(size) <= KEPT_MIB).then_some(size))
    });
    kept.with_context(|| {
        let size = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
        format!("the file still has {} MiB", memory::mib(size))
    })
}

/// How long a start takes with the backlog, and the host's memory then: after a stop, after kill -9.
fn restart_twice(host: &mut TestHost) -> Result<[(Duration, u64); 2]> {
    host.terminate(STOP)?;
    host.restart()?;
    let after_stop = (host.started_in, memory::peak(host.pid())?);
    host.kill()?;
    host.restart()?;
    let after_kill = (host.started_in, memory::peak(host.pid())?);
    ensure!(
        after_stop.0 <= START_MAX && after_kill.0 <= START_MAX,
        "a start took {:?} after a stop, {:?} after kill -9",
        after_stop.0,
        after_kill.0
    );
    Ok([after_stop, after_kill])
}

/// Visits until the outbox holds what was asked for; returns how many events that are.
fn grow(host: &TestHost, visits: u64) -> Result<u64> {
    let spec = ChurnSpec {
        prefix: "GID_Backlog@@@",
        visits,
        clients: 100_000,
        parallel: 64,
    };
    let report = Load::churn(host.mqtt()?, spec)?.report()?;
    ensure!(
        report.refused == 0 && report.errors == 0,
        "not every visit was accepted: {report:?}"
    );
    let events = report.connects * 3;
    let rate = events * 1000 / report.elapsed_ms.max(1);
    figures::say(
        "backlog",
        &format!("{events} events came at {rate} a second; {report:?}"),
    );
    let admin = host.admin()?;
    eventually("record of every event", Duration::from_secs(60), || {
        Ok((admin.events("pending")? == events).then_some(()))
    })?;
    Ok(events)
}

/// Waits until nothing is queued; prints how many events a second went, for every ten seconds.
fn drain(admin: &Admin, events: u64, deadline: Duration) -> Result<()> {
    let span_ms = scale::pick(1000, 10_000);
    let start = now_ms();
    let (mut curve, mut last, mut since) = (Vec::new(), events, start);
    eventually("delivery of the backlog", deadline, || {
        let (pending, now) = (admin.events("pending")?, now_ms());
        if now >= since + span_ms || pending == 0 {
            let rate = (last - pending) * 1000 / (now - since).max(1);
            curve.push(rate.to_string());
            (last, since) = (pending, now);
        }
        Ok((pending == 0).then_some(()))
    })?;
    let elapsed_ms = (now_ms() - start).max(1);
    figures::say(
        "backlog",
        &format!(
            "drained in {elapsed_ms} ms, {} events a second; each {span_ms} ms: {}",
            events * 1000 / elapsed_ms,
            curve.join(" ")
        ),
    );
    Ok(())
}

/// The topic holds every event at least once, as its length says; samples of every queue are in order.
fn judge(name_server: &str, events: u64) -> Result<()> {
    let windows = 16;
    let length = scale::pick(300, 3000);
    let (queues, samples) = reader::java_sample(name_server, TOPIC, windows, length)?;
    let stored: u64 = queues.iter().map(QueueLength::messages).sum();
    ensure!(
        stored >= events,
        "{stored} messages of {events} events in {queues:?}"
    );
    // Each restart may repeat what was in flight: nothing was, as RocketMQ was off until the end.
    ensure!(
        stored <= events + events / 100,
        "{} messages more than events",
        stored - events
    );
    let mut seen = 0;
    for window in &samples {
        follow(window)?;
        seen += window.len();
    }
    figures::say(
        "backlog",
        &format!("{stored} messages in the topic, {seen} of them looked at"),
    );
    ensure!(seen > 0, "nothing was looked at");
    Ok(())
}

/// Within a stretch of a queue each client's sequence grows, and its channels come one after the other.
fn follow(window: &[Sampled]) -> Result<()> {
    let mut seen = BTreeSet::new();
    let mut last: BTreeMap<&str, &Sampled> = BTreeMap::new();
    for now in window {
        if !seen.insert(now.event_id.as_str()) {
            continue;
        }
        let expected = match last.insert(&now.client_id, now) {
            None => continue,
            Some(before) => {
                ensure!(before.sequence < now.sequence, "{before:?} before {now:?}");
                match before.tag.as_str() {
                    "connect" => ("disconnect", Some(before.channel_id.as_str())),
                    "disconnect" => ("tcpclean", Some(before.channel_id.as_str())),
                    _ => ("connect", None),
                }
            }
        };
        ensure!(
            now.tag == expected.0 && expected.1.is_none_or(|channel| channel == now.channel_id),
            "{now:?} is not the {expected:?} that follows"
        );
    }
    Ok(())
}
