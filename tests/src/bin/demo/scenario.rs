//! The four ways in which a connection ends, played by rumqttc.
//!
//! rumqttc works only while it is polled: a client that is not polled is silent, one that is dropped
//! closes its socket without DISCONNECT.

use std::net::SocketAddr;
use std::time::Duration;

use acceptance::admin::Admin;
use anyhow::{Context, Result, bail, ensure};
use rumqttc::{AsyncClient, Event, EventLoop, Incoming, MqttOptions, Outgoing};
use tokio::time::{Instant, sleep, timeout};

/// Events of all scenarios together.
pub(crate) const EVENTS_PER_PASS: usize = 11;
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    Clean,
    Lost,
    Twice,
    Silent,
}

impl Scenario {
    pub(crate) const ALL: [Self; 4] = [Self::Clean, Self::Lost, Self::Twice, Self::Silent];

    pub(crate) fn client_id(self, pass: usize) -> String {
        let name = match self {
            Self::Clean => "clean",
            Self::Lost => "lost",
            Self::Twice => "twice",
            Self::Silent => "silent",
        };
        format!("GID_Demo@@@{name}-{pass}")
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Clean => "clean close: DISCONNECT, then the socket closes",
            Self::Lost => "loss: the socket closes without DISCONNECT",
            Self::Twice => {
                "take-over: a second connection with the same client id, then that is lost"
            }
            Self::Silent => "keep-alive time-out: the client says nothing any more",
        }
    }

    /// Types of its events.
    pub(crate) fn story(self) -> &'static str {
        match self {
            Self::Clean => "connect disconnect tcpclean",
            Self::Lost | Self::Silent => "connect tcpclean",
            Self::Twice => "connect tcpclean connect tcpclean",
        }
    }
}

/// Plays all scenarios, each after the host saw the end of the one before.
pub(crate) async fn run_all(address: SocketAddr, admin: &Admin, pass: usize) -> Result<()> {
    let mut expected = (pass - 1) * EVENTS_PER_PASS;
    for scenario in Scenario::ALL {
        let client_id = scenario.client_id(pass);
        expected += scenario.story().split(' ').count();
        // A silent client must stay until the host has enough of it.
        let silent = play(scenario, address, &client_id).await?;
        wait_for_observed(admin, expected)
            .await
            .with_context(|| format!("client {client_id}"))?;
        drop(silent);
    }
    Ok(())
}

async fn play(
    scenario: Scenario,
    address: SocketAddr,
    client_id: &str,
) -> Result<Option<EventLoop>> {
    match scenario {
        Scenario::Clean => {
            let (client, mut events) = connect(address, client_id, 60).await?;
            client.disconnect().await?;
            timeout(PATIENCE, until_disconnected(&mut events))
                .await
                .context("no DISCONNECT")??;
            Ok(None)
        }
        Scenario::Lost => connect(address, client_id, 60).await.map(|_| None),
        Scenario::Twice => {
            let first = connect(address, client_id, 60).await?;
            let second = connect(address, client_id, 60).await?;
            drop(first);
            drop(second);
            Ok(None)
        }
        Scenario::Silent => {
            let (_client, events) = connect(address, client_id, 1).await?;
            Ok(Some(events))
        }
    }
}

async fn connect(
    address: SocketAddr,
    client_id: &str,
    keep_alive_s: u64,
) -> Result<(AsyncClient, EventLoop)> {
    let mut options = MqttOptions::new(client_id, address.ip().to_string(), address.port());
    options.set_keep_alive(Duration::from_secs(keep_alive_s));
    let (client, mut events) = AsyncClient::new(options, 4);
    let first = timeout(PATIENCE, events.poll())
        .await
        .context("no CONNACK")??;
    ensure!(
        matches!(first, Event::Incoming(Incoming::ConnAck(_))),
        "no CONNACK but {first:?}"
    );
    Ok((client, events))
}

async fn until_disconnected(events: &mut EventLoop) -> Result<()> {
    while events.poll().await? != Event::Outgoing(Outgoing::Disconnect) {}
    // The DISCONNECT is written by the next poll at the latest; that one ends with the connection.
    drop(events.poll().await);
    Ok(())
}

async fn wait_for_observed(admin: &Admin, expected: usize) -> Result<()> {
    let start = Instant::now();
    loop {
        let observed = admin.events("observed")?;
        match usize::try_from(observed)?.cmp(&expected) {
            std::cmp::Ordering::Equal => return Ok(()),
            std::cmp::Ordering::Greater => {
                bail!("expected {expected} events, the host observed {observed}")
            }
            std::cmp::Ordering::Less if start.elapsed() > PATIENCE => {
                bail!("expected {expected} events, the host observed only {observed}")
            }
            std::cmp::Ordering::Less => sleep(Duration::from_millis(20)).await,
        }
    }
}
