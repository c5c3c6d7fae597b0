//! Bits and bytes of a killed host's `outbox.redb` turn over, a block of it becomes zeros, its tail is cut: the host
//! starts and delivers everything, or refuses in one line and does so after `rulemill outbox repair`, less what
//! that named as lost.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use acceptance::admin::status_rule;
use acceptance::cli::{self, Ran};
use acceptance::event::{Event, EventType};
use acceptance::eventually::eventually;
use acceptance::host::{HostSpec, TestHost};
use acceptance::load::{ChurnSpec, Load};
use acceptance::{reader, scale};
use anyhow::{Context, Result, ensure};
use serde_json::Value;

const TOPIC: &str = "TopicDamage";
const VISITS: u64 = 700;
const HELD: usize = 100;
const SEED: u64 = 20_261_125;
/// Nobody listens there.
const NOWHERE: &str = "127.0.0.1:1";
/// A sector of a disk.
const SECTOR: usize = 512;
/// The first page has its flags and the roots of the last two commits here.
const HEADER_BYTES: u64 = 320;
const DELIVERY: Duration = Duration::from_secs(120);

/// What an event is, whatever id it has: a made-up `tcpclean` gets a new one at each start.
type Identity = (String, String, EventType);

pub(crate) fn single_bits() -> Result<()> {
    let mut host = TestHost::start(HostSpec {
        java_name_server: Some(NOWHERE.to_owned()),
        ..HostSpec::default()
    })?;
    record(&host)?;
    host.kill()?;
    // From now on the rule's RocketMQ is the embedded one.
    host.spec_mut().java_name_server = Some(host.name_server("embedded")?);
    let data = host.data_dir();
    let kept = host.folder().join("kept");
    copy_folder(&data, &kept)?;

    host.restart().context("the undamaged file")?;
    let truth = delivered(&mut host)?;
    ensure!(
        truth.len() >= usize::try_from(VISITS)? * 3 + HELD * 2,
        "only {} events of an undamaged file",
        truth.len()
    );
    let mut draw = Draw {
        random: SEED,
        bytes: fs::metadata(kept.join("outbox.redb"))?.len(),
    };
    let limits = scale::pick((2, 3), (usize::MAX, usize::MAX));
    rounds_of(&mut host, &truth, limits, || draw.bit())?;
    let limits = scale::pick((1, 2), (10, 30));
    let mut in_header = false;
    rounds_of(&mut host, &truth, limits, || {
        in_header = !in_header;
        draw.byte(in_header)
    })?;
    rounds_of(&mut host, &truth, limits, || draw.block())?;
    // Without the end of the file next to nothing is sound.
    let limits = scale::pick((0, 2), (10, 30));
    rounds_of(&mut host, &truth, limits, || draw.tail())
}

/// Damages the kept file in one way again and again, until so many were sound all the same and so many were not.
fn rounds_of(
    host: &mut TestHost,
    truth: &BTreeSet<Identity>,
    (sound, damaged): (usize, usize),
    mut draw: impl FnMut() -> Harm,
) -> Result<()> {
    let data = host.data_dir();
    let kept = host.folder().join("kept");
    let mut left = [sound, damaged];
    let rounds = scale::pick(400, 100);
    let mut last = None;
    for _ in 0..rounds {
        let harm = draw();
        fs::remove_dir_all(&data)?;
        copy_folder(&kept, &data)?;
        harm.on(&data.join("outbox.redb"))?;
        let check = outbox(&data, "check")?;
        last = Some(harm);
        let Some(kind) = left.get_mut(usize::from(check.code != Some(0))) else {
            continue;
        };
        if *kind == 0 {
            continue;
        }
        *kind -= 1;
        round(host, truth, &check).with_context(|| format!("{harm:?}: {}", check.stdout))?;
        if left == [0, 0] {
            break;
        }
    }
    ensure!(left[1] < damaged, "{rounds} times no harm, last {last:?}");
    Ok(())
}

/// Visits and open connections whose events nobody takes.
fn record(host: &TestHost) -> Result<()> {
    let admin = host.admin()?;
    // Makes the topic.
    admin.create_rule(&status_rule("topic", "GID_Topic", "embedded", TOPIC))?;
    admin
        .post(
            "/v1/rules?force=true",
            &status_rule("damage", "GID_Damage", "java", TOPIC),
        )?
        .expect(201)?;
    let churn = ChurnSpec {
        prefix: "GID_Damage@@@churn",
        visits: VISITS,
        clients: 200,
        parallel: 20,
    };
    let report = Load::churn(host.mqtt()?, churn)?.report()?;
    ensure!(report.connects == VISITS, "{report:?}");
    let held = Load::hold(host.mqtt()?, "GID_Damage@@@held", HELD)?;
    let expected = VISITS * 3 + u64::try_from(HELD)?;
    let mut found = 0;
    let recorded = eventually("record of every event", Duration::from_secs(30), || {
        found = admin.events("pending")?;
        Ok((found >= expected).then_some(()))
    });
    recorded.with_context(|| format!("{found} of {expected} events are pending"))?;
    // Their connections end with the host.
    drop(held);
    Ok(())
}

/// Starts on a damaged file, after a repair if the host wants one.
fn round(host: &mut TestHost, truth: &BTreeSet<Identity>, check: &Ran) -> Result<()> {
    let data = host.data_dir();
    let log_before = host.log().len();
    let mut lost = 0;
    if host.restart().is_err() {
        ensure!(
            check.code == Some(1),
            "the host refuses what the check finds sound"
        );
        let log = host.log();
        let said = log.get(log_before..).unwrap_or_default();
        let lines: Vec<&str> = said
            .lines()
            .filter(|line| line.starts_with("rulemill: "))
            .collect();
        let [line] = lines.as_slice() else {
            anyhow::bail!("not one line of refusal: {said}");
        };
        for word in ["outbox.redb", "rulemill outbox repair"] {
            ensure!(line.contains(word), "no {word:?} in: {line}");
        }
        let repaired = outbox(&data, "repair")?.expect(0)?;
        let report: Value = serde_json::from_str(&repaired.stdout)?;
        let file = report
            .pointer("/files/0")
            .context("no file in the report")?;
        let told = file.pointer("/lostEvents").context("no lostEvents")?;
        lost = told.as_u64().unwrap_or(u64::MAX);
        if told.is_null() {
            // Without the last commit nobody knows what it had; then it is said.
            let remedy = file.pointer("/remedy").and_then(Value::as_str);
            ensure!(
                remedy == Some("salvaged") && repaired.stdout.contains("is not known"),
                "an unknown loss is not told: {report}"
            );
        } else {
            ensure!(lost < u64::MAX, "lostEvents is no number: {report}");
        }
        let kept = file.pointer("/damagedFile").and_then(Value::as_str);
        ensure!(
            kept.is_some_and(|path| Path::new(path).exists()),
            "the damaged file is gone: {report}"
        );
        outbox(&data, "check")?.expect(0)?;
        host.restart().context("start after the repair")?;
    }
    let found = delivered(host)?;
    let missing: Vec<&Identity> = truth.difference(&found).collect();
    ensure!(
        u64::try_from(missing.len())? <= lost,
        "{} events are missing, {lost} were told as lost: {:?}",
        missing.len(),
        missing.first()
    );
    Ok(())
}

/// Everything in the topic once nothing is pending; ends the host.
fn delivered(host: &mut TestHost) -> Result<BTreeSet<Identity>> {
    let admin = host.admin()?;
    admin.wait_until_delivered(DELIVERY)?;
    let sent = usize::try_from(admin.events("delivered")?)?;
    let messages = reader::through_host(host, "embedded", TOPIC, sent)?;
    let events = messages.iter().map(Event::read);
    let found = events
        .map(|event| event.map(|event| (event.client_id, event.channel_id, event.event_type)))
        .collect::<Result<_>>()?;
    host.terminate(Duration::from_secs(30))?;
    Ok(found)
}

fn outbox(data: &Path, command: &str) -> Result<Ran> {
    let data = data.to_str().context("a folder that is no text")?;
    cli::run(&["outbox", command, "--data-dir", data, "--output", "json"])
}

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Bit { byte: u64, bit: u8 },
    Byte { byte: u64 },
    ZeroBlock { begin: u64 },
    Cut { bytes: u64 },
}

impl Harm {
    fn on(self, path: &Path) -> Result<()> {
        match self {
            Self::Bit { byte, bit } => turn_bits(path, byte, 1 << bit),
            Self::Byte { byte } => turn_bits(path, byte, 0xff),
            Self::ZeroBlock { begin } => {
                let file = fs::File::options().write(true).open(path)?;
                Ok(file.write_all_at(&[0; SECTOR], begin)?)
            }
            Self::Cut { bytes } => {
                Ok(fs::File::options().write(true).open(path)?.set_len(bytes)?)
            }
        }
    }
}

fn turn_bits(path: &Path, byte: u64, mask: u8) -> Result<()> {
    let file = fs::File::options().read(true).write(true).open(path)?;
    let mut found = [0];
    file.read_exact_at(&mut found, byte)?;
    file.write_all_at(&[found[0] ^ mask], byte)?;
    Ok(())
}

/// Harms that look random and are the same each time.
struct Draw {
    random: u64,
    bytes: u64,
}

impl Draw {
    fn next(&mut self) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.random >> 20
    }

    fn bit(&mut self) -> Harm {
        let drawn = self.next();
        Harm::Bit {
            byte: drawn / 8 % self.bytes,
            bit: u8::try_from(drawn % 8).unwrap_or(0),
        }
    }

    fn byte(&mut self, in_header: bool) -> Harm {
        let limit = if in_header { HEADER_BYTES } else { self.bytes };
        Harm::Byte {
            byte: self.next() % limit,
        }
    }

    fn block(&mut self) -> Harm {
        let sector = SECTOR as u64;
        Harm::ZeroBlock {
            begin: self.next() % (self.bytes / sector) * sector,
        }
    }

    /// Up to half of it is cut off.
    fn tail(&mut self) -> Harm {
        Harm::Cut {
            bytes: self.bytes - self.next() % (self.bytes / 2),
        }
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
