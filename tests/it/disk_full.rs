//! The disk under the data folder is full, or turns read-only.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use acceptance::admin::status_rule;
use acceptance::bare_client::{BareClient, Version};
use acceptance::disk::{self, BreakableDisk, SmallDisk};
use acceptance::eventually::eventually;
use acceptance::host::{HostSpec, TestHost};
use acceptance::metrics::Metrics;
use acceptance::oracle::{self, Verdict};
use acceptance::proxy::RocketmqProxy;
use acceptance::{figures, java, reader};
use anyhow::{Context, Result, anyhow, ensure};

/// MQTT 5 "server unavailable" and its counterpart of 3.1.1.
const V5_UNAVAILABLE: u8 = 0x88;
const V3_UNAVAILABLE: u8 = 3;
/// Clients at the same time, so that commits hold several events.
const VISITORS: u32 = 8;
/// What the outbox may grow by before the disk is full.
const SPARE_BYTES: u64 = 1 << 20;
/// After this many visits every small disk is full.
const VISITS_MAX: u32 = 60_000;
/// The writer tries again every 5 s at the latest.
const RECOVERY: Duration = Duration::from_secs(15);

/// A host on its disk, and the clients whose CONNACK said that their `connect` is durable.
struct Trial {
    proxy: RocketmqProxy,
    host: TestHost,
    topic: &'static str,
    acknowledged: BTreeSet<String>,
    visits: u32,
}

impl Trial {
    fn start(data_dir: std::path::PathBuf, topic: &'static str) -> Result<Self> {
        let (name_server, broker) = java::shared()?;
        let proxy = RocketmqProxy::start(&name_server, &broker)?;
        let host = TestHost::start(HostSpec {
            java_name_server: Some(proxy.name_server()),
            embedded: false,
            data_dir: Some(data_dir),
            extra: "[delivery]\nconnack = \"after-commit\"\n".to_owned(),
            ..HostSpec::default()
        })?;
        let admin = host.admin()?;
        admin.create_rule(&status_rule("disk", "GID_Disk", "java", topic))?;
        admin.wait_for_health("disk", "running", Duration::from_secs(30))?;
        let mut trial = Self {
            proxy,
            host,
            topic,
            acknowledged: BTreeSet::new(),
            visits: 0,
        };
        for _ in 0..20 {
            ensure!(trial.visit()?.is_none(), "refused on a good disk");
        }
        admin.wait_until_delivered(Duration::from_secs(30))?;
        Ok(trial)
    }

    /// One clean visit of a new client; the code if it is refused.
    fn visit(&mut self) -> Result<Option<u8>> {
        self.visits += 1;
        let client_id = format!("GID_Disk@@@{}", self.visits);
        let (answer, client) = BareClient::ask(self.host.mqtt()?, Version::V5, &client_id)?;
        let Some(client) = client else {
            return Ok(Some(answer.code));
        };
        self.acknowledged.insert(client_id);
        client.close()?;
        Ok(None)
    }

    /// Visits of many clients at once until they are refused, and checks how.
    fn until_refused(&mut self) -> Result<()> {
        let address = self.host.mqtt()?;
        let next = AtomicU32::new(self.visits + 1);
        let visitor = || -> Result<Vec<String>> {
            let mut acknowledged = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                ensure!(
                    number < VISITS_MAX,
                    "{number} visits and the disk still takes them"
                );
                let client_id = format!("GID_Disk@@@{number}");
                let (answer, client) = BareClient::ask(address, Version::V5, &client_id)?;
                let Some(client) = client else {
                    ensure!(answer.code == V5_UNAVAILABLE, "{answer:?}");
                    return Ok(acknowledged);
                };
                acknowledged.push(client_id);
                client.close()?;
            }
        };
        let found: Vec<Result<Vec<String>>> = thread::scope(|scope| {
            let threads: Vec<_> = (0..VISITORS).map(|_| scope.spawn(visitor)).collect();
            let joined = threads.into_iter().map(|thread| {
                let result = thread.join();
                result.unwrap_or_else(|_| Err(anyhow!("a visitor panicked")))
            });
            joined.collect()
        });
        self.visits = next.into_inner();
        for acknowledged in found {
            self.acknowledged.extend(acknowledged?);
        }
        let client_id = "GID_Disk@@@three";
        let (v3, _) = BareClient::ask(address, Version::V3, client_id)?;
        ensure!(v3.code == V3_UNAVAILABLE, "MQTT 3.1.1: {v3:?}");
        self.expect_told()
    }

    fn expect_told(&mut self) -> Result<()> {
        ensure!(self.host.is_running()?, "the host ended");
        let admin = self.host.admin()?;
        let ready = admin.get("/readyz")?;
        ensure!(
            ready.status == 503 && ready.text.contains("outbox cannot be written"),
            "/readyz: {} {}",
            ready.status,
            ready.text
        );
        ensure!(
            Metrics::read(&admin)?.value("rulemill_outbox_commit_failures_total")? > 0.0,
            "no metric tells of the failures"
        );
        let log = self.host.log();
        let errors = log.lines().filter(|line| line.contains("ERROR")).count();
        ensure!(
            (1..=20).contains(&errors),
            "{errors} lines of errors in the log: neither silence nor a flood is wanted"
        );
        // Other clients are no matter of the disk.
        BareClient::visit(self.host.mqtt()?, "GID_Nobody@@@1")
    }

    fn expect_recovery(&mut self) -> Result<()> {
        eventually("recovery by itself", RECOVERY, || {
            Ok(self.visit()?.is_none().then_some(()))
        })?;
        let admin = self.host.admin()?;
        eventually("/readyz to be as before", RECOVERY, || {
            Ok((admin.get("/readyz")?.status == 200).then_some(()))
        })
    }

    /// Everything acknowledged is in the topic, with its end.
    fn judge(&self) -> Result<Verdict> {
        let admin = self.host.admin()?;
        admin.wait_until_delivered(Duration::from_secs(120))?;
        let (name_server, _) = java::shared()?;
        let events = usize::try_from(admin.events("recorded")?)?;
        let messages = reader::java(&name_server, self.topic, events, Duration::from_secs(120))?;
        let verdict = oracle::judge(&messages)?;
        verdict.expect_nobody_online()?;
        let lost: Vec<&String> = self
            .acknowledged
            .iter()
            .filter(|client| !verdict.clients.contains_key(*client))
            .collect();
        ensure!(
            lost.is_empty(),
            "{} acknowledged clients are not in the topic: {:?}",
            lost.len(),
            lost.iter().take(5).collect::<Vec<_>>()
        );
        figures::say(
            self.topic,
            &format!(
                "{} acknowledged, {} in the topic, {} repeated",
                self.acknowledged.len(),
                verdict.clients.len(),
                verdict.repeated
            ),
        );
        oracle::conservation(&admin)?;
        Ok(verdict)
    }
}

pub(crate) fn full() -> Result<()> {
    let disk = SmallDisk::new(64)?;
    let mut trial = Trial::start(disk.path().join("data"), "TopicDiskFull")?;
    // Its closings must be told although the disk is full when it closes.
    let open = BareClient::connect(trial.host.mqtt()?, Version::V5, "GID_Disk@@@open")?;
    trial.acknowledged.insert("GID_Disk@@@open".to_owned());
    trial.proxy.cut();
    disk.fill(SPARE_BYTES)?;
    trial.until_refused()?;
    open.close()?;
    disk.make_room()?;
    trial.expect_recovery()?;

    // Again, and this time the process dies while the disk is full.
    disk.fill(SPARE_BYTES)?;
    trial.until_refused()?;
    trial.host.kill()?;
    disk.fill(0)?;
    match trial.host.restart() {
        Ok(()) => trial.host.kill()?,
        // It says so in one line and ends; nothing is changed.
        Err(error) => ensure!(
            format!("{error:#}").contains("No space left on device"),
            "a start on a full disk: {error:#}"
        ),
    }
    disk.make_room()?;
    trial.host.restart()?;
    ensure!(trial.visit()?.is_none(), "refused after the restart");
    trial.proxy.restore()?;
    let verdict = trial.judge()?;
    let story = verdict.story("GID_Disk@@@open");
    ensure!(
        story == "connect disconnect tcpclean",
        "the client that closed on the full disk: {story}"
    );
    Ok(())
}

pub(crate) fn read_only() -> Result<()> {
    let mut disk = BreakableDisk::new(256)?;
    let data_dir = disk.path()?.join("data");
    let mut trial = Trial::start(data_dir.clone(), "TopicReadOnly")?;
    // No write reaches the file any more, as on a disk that was mounted read-only; then it is writable again.
    let outbox = data_dir.join("outbox.redb");
    disk::set_immutable(&outbox, true)?;
    let refused = trial.until_refused();
    disk::set_immutable(&outbox, false)?;
    refused?;
    trial.expect_recovery()?;

    // The kernel itself stops all writing: that lasts until the disk is mounted anew.
    disk.turn_read_only()?;
    trial.until_refused()?;
    ensure!(trial.host.is_running()?, "the host ended");
    trial.host.kill()?;
    disk.repair().context("the disk cannot be repaired")?;
    trial.host.restart()?;
    ensure!(trial.visit()?.is_none(), "refused after the restart");
    trial.judge()?;
    Ok(())
}
