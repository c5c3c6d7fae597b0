//! TLS and secure WebSocket listeners: third-party clients, certificates that change, and that are wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use acceptance::admin::status_rule;
use acceptance::certificate::{Authority, ServerPair, put};
use acceptance::cli;
use acceptance::eventually::eventually;
use acceptance::foreign_client::{ForeignClient, Library, Shown, Way};
use acceptance::host::{HostSpec, TestHost};
use acceptance::metrics::Metrics;
use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

const EX_CONFIG: i32 = 64;
const RELOAD_DEADLINE: Duration = Duration::from_secs(30);
/// Further than any test runs.
const LAST_YEAR: i32 = 4000;

fn trusting(authority: &Authority, folder: &Path, name: &str) -> Result<Shown> {
    put(folder, name, &authority.pem())?;
    Ok(Shown {
        authority: Some(folder.join(name)),
        ..Shown::default()
    })
}

/// A host with the pair, which is in the folder.
fn start(folder: &TempDir, pair: &ServerPair) -> Result<TestHost> {
    pair.put(folder.path())?;
    let at = folder.path().display();
    let host = TestHost::start(HostSpec {
        mqtt: format!("tls-cert = \"{at}/cert.pem\"\ntls-key = \"{at}/key.pem\""),
        tls: true,
        ..HostSpec::default()
    })?;
    host.admin()?
        .create_rule(&status_rule("tls", "GID_Tls", "embedded", "TopicTls"))?;
    Ok(host)
}

fn expect_events(host: &TestHost, events: u64) -> Result<()> {
    let admin = host.admin()?;
    eventually("all events", Duration::from_secs(20), || {
        Ok((admin.events("observed")? >= events).then_some(()))
    })?;
    let observed = admin.events("observed")?;
    ensure!(observed == events, "{observed} events instead of {events}");
    Ok(())
}

pub(crate) fn foreign_clients() -> Result<()> {
    connect_all(&[Library::Paho, Library::MqttJs])
}

pub(crate) fn mosquitto() -> Result<()> {
    connect_all(&[Library::Mosquitto])
}

fn connect_all(libraries: &[Library]) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let authority = Authority::new("test authority")?;
    let host = start(&folder, &authority.server(LAST_YEAR)?)?;
    let shown = trusting(&authority, folder.path(), "ca.pem")?;
    let (mut tls, mut wss) = (0_u32, 0_u32);
    for &library in libraries {
        for v5 in [false, true] {
            for websocket in [false, true] {
                if websocket && library == Library::Mosquitto {
                    continue;
                }
                let way = Way {
                    library,
                    v5,
                    websocket,
                };
                let address = if websocket {
                    host.secure_websocket()?
                } else {
                    host.tls()?
                };
                let client_id = format!("GID_Tls@@@{}", way.name());
                ForeignClient::connect_as(way, address, &client_id, &shown)
                    .with_context(|| way.name())?
                    .close()?;
                *(if websocket { &mut wss } else { &mut tls }) += 1;
            }
        }
    }
    let events = u64::from(tls + wss) * 3;
    expect_events(&host, events)?;
    let metrics = Metrics::read(&host.admin()?)?;
    for (listener, count) in [("tls", tls), ("wss", wss), ("tcp", 0), ("ws", 0)] {
        let name = format!("rulemill_connections_opened_total{{listener=\"{listener}\"}}");
        let opened = metrics.value(&name)?;
        ensure!(
            (opened - f64::from(count)).abs() < 0.5,
            "{listener}: {opened}"
        );
    }
    // Who does not trust the certificate does not connect, and is no event.
    let stranger = trusting(&Authority::new("another")?, folder.path(), "other.pem")?;
    let refused = ForeignClient::connect_as(
        Way {
            library: libraries.first().copied().context("no client")?,
            v5: true,
            websocket: false,
        },
        host.tls()?,
        "GID_Tls@@@stranger",
        &stranger,
    );
    ensure!(refused.is_err(), "a client took an unknown certificate");
    expect_events(&host, events)
}

/// Waits until a counter of `/metrics` has reached `count`.
fn wait_for(host: &TestHost, name: &str, count: f64) -> Result<()> {
    let admin = host.admin()?;
    eventually(name, RELOAD_DEADLINE, || {
        let value = Metrics::read(&admin)?.value(name)?;
        Ok((value >= count).then_some(()))
    })
}

pub(crate) fn a_certificate_is_replaced() -> Result<()> {
    let taken = "rulemill_tls_certificate_reloads_total{result=\"taken\"}";
    let failed = "rulemill_tls_certificate_reloads_total{result=\"failed\"}";
    let folder = tempfile::tempdir()?;
    let (old, new) = (Authority::new("old")?, Authority::new("new")?);
    let host = start(&folder, &old.server(LAST_YEAR)?)?;
    let trusts_old = trusting(&old, folder.path(), "old.pem")?;
    let trusts_new = trusting(&new, folder.path(), "new.pem")?;
    let connect = |name: &str, websocket: bool, shown: &Shown| {
        let address = if websocket {
            host.secure_websocket()?
        } else {
            host.tls()?
        };
        let client_id = format!("GID_Tls@@@{name}");
        let library = if websocket {
            Library::MqttJs
        } else {
            Library::Paho
        };
        let way = Way {
            library,
            v5: true,
            websocket,
        };
        ForeignClient::connect_as(way, address, &client_id, shown)
    };
    let present = [
        connect("present1", false, &trusts_old)?,
        connect("present2", true, &trusts_old)?,
    ];
    new.server(LAST_YEAR)?.put(folder.path())?;
    wait_for(&host, taken, 1.0)?;
    for websocket in [false, true] {
        ensure!(
            connect("late", websocket, &trusts_old).is_err(),
            "the old certificate is still shown"
        );
        connect("next", websocket, &trusts_new)?.close()?;
    }
    // A key of another pair, an expired certificate, no certificate.
    let stray = new.server(LAST_YEAR)?;
    put(folder.path(), "key.pem", &stray.key)?;
    wait_for(&host, failed, 1.0)?;
    new.server(2020)?.put(folder.path())?;
    wait_for(&host, failed, 2.0)?;
    fs::remove_file(folder.path().join("cert.pem"))?;
    wait_for(&host, failed, 3.0)?;
    connect("after", false, &trusts_new)?.close()?;
    let log = host.log();
    for words in [
        "does not belong to the certificate",
        "expired on",
        "cert.pem cannot be read",
    ] {
        ensure!(log.contains(words), "the log does not say: {words}");
    }
    ensure!(!log.contains("PRIVATE KEY-----"), "the log shows a key");
    stray.put(folder.path())?;
    wait_for(&host, taken, 2.0)?;
    connect("again", true, &trusts_new)?.close()?;
    // Those that were there are still there.
    expect_events(&host, 2 + 4 * 3)?;
    for client in present {
        client.close()?;
    }
    expect_events(&host, 6 * 3)
}

/// Files that no start accepts, and what is said.
fn wrong_pairs(at: &Path) -> Result<Vec<(PathBuf, PathBuf, &'static str)>> {
    let authority = Authority::new("test authority")?;
    let (one, other) = (authority.server(LAST_YEAR)?, authority.server(LAST_YEAR)?);
    let file = |name: &str, text: &str| -> Result<PathBuf> {
        put(at, name, text)?;
        Ok(at.join(name))
    };
    let cert = file("cert.pem", &one.certificate)?;
    let key = file("key.pem", &one.key)?;
    Ok(vec![
        (at.join("none.pem"), key.clone(), "none.pem cannot be read"),
        (cert.clone(), at.join("none.pem"), "none.pem cannot be read"),
        (at.to_owned(), key.clone(), "cannot be read"),
        (
            cert.clone(),
            file("other.pem", &other.key)?,
            "does not belong to the certificate",
        ),
        (key.clone(), cert.clone(), "holds no certificate"),
        (cert, file("empty.pem", "")?, "holds no private key"),
        (
            file("expired.pem", &authority.server(2020)?.certificate)?,
            key,
            "expired on",
        ),
    ])
}

pub(crate) fn wrong_certificates() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data_dir = format!("node.data-dir={}", folder.path().join("data").display());
    for (cert, key, words) in wrong_pairs(folder.path())? {
        let cert = format!("mqtt.tls-cert={}", cert.display());
        let key = format!("mqtt.tls-key={}", key.display());
        let settings = [&data_dir, "mqtt.tls=127.0.0.1:0", &cert, &key];
        for command in [&["serve"][..], &["config", "check"][..]] {
            let mut args = command.to_vec();
            for setting in settings {
                args.extend(["--set", setting]);
            }
            cli::run(&args)?
                .expect(EX_CONFIG)?
                .expect_one_line(&["mqtt.tls-cert", words])?;
        }
    }
    let settings = ["--set", &data_dir, "--set", "mqtt.wss=127.0.0.1:0"];
    cli::run(&[&["serve"][..], &settings].concat())?
        .expect(EX_CONFIG)?
        .expect_one_line(&["mqtt.wss", "mqtt.tls-cert", "mqtt.tls-key"])?;
    Ok(())
}
