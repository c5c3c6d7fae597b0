//! The load tool (`src/bin/load.rs`) as a process, so that it can be killed.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde::Deserialize;

use crate::cli;
use crate::process::Talker;

/// What a storm of connects was like.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StormReport {
    /// CONNACKs that accepted.
    pub connects: u64,
    /// CONNACKs that refused.
    pub refused: u64,
    /// Connections without CONNACK.
    pub errors: u64,
    /// Median of CONNECT to CONNACK, microseconds.
    pub p50_us: u64,
    /// 99th percentile.
    pub p99_us: u64,
    /// How long it took, milliseconds.
    pub elapsed_ms: u64,
}

/// How hard a storm blows.
#[derive(Clone, Copy, Debug)]
pub struct StormSpec<'a> {
    /// Client ids start with it.
    pub prefix: &'a str,
    /// Connects a second.
    pub rate: u32,
    /// How long.
    pub seconds: u32,
    /// Different client ids, used in turn.
    pub clients: u32,
}

/// How many clean visits a churn makes.
#[derive(Clone, Copy, Debug)]
pub struct ChurnSpec<'a> {
    /// Client ids start with it.
    pub prefix: &'a str,
    /// Visits: `connect`, `disconnect` and `tcpclean` each.
    pub visits: u64,
    /// Different client ids, used in turn.
    pub clients: u64,
    /// Visits at the same time; at most half of `clients`.
    pub parallel: u64,
}

/// A running load tool.
#[derive(Debug)]
pub struct Load {
    talker: Talker,
    patience: Duration,
}

impl Load {
    /// Connects clients `<prefix>0` to `<prefix>COUNT-1` and keeps them; waits until all are connected.
    ///
    /// # Errors
    ///
    /// When one is not accepted.
    pub fn hold(address: SocketAddr, prefix: &str, count: usize) -> Result<Self> {
        let mut command = Command::new(cli::beside("load")?);
        command.args(["hold", &address.to_string(), prefix, &count.to_string()]);
        let talker = Talker::start("the load tool", &mut command)?;
        talker.expect(|line| line == "connected", Duration::from_secs(120))?;
        Ok(Self {
            talker,
            patience: Duration::from_secs(120),
        })
    }

    /// Closes every second client by DISCONNECT and waits until the host closed their connections.
    ///
    /// # Errors
    ///
    /// When it cannot.
    pub fn close_half(&mut self) -> Result<()> {
        self.talker.say("close-half")?;
        self.talker
            .expect(|line| line == "closed", self.patience)
            .map(drop)
    }

    /// kill -9: every connection is lost.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn kill(mut self) -> Result<()> {
        self.talker.process().kill()
    }

    /// Starts a storm: connections that come at a rate and go at once, half by DISCONNECT.
    ///
    /// # Errors
    ///
    /// When the tool cannot be started.
    pub fn storm(address: SocketAddr, spec: StormSpec<'_>) -> Result<Self> {
        let mut command = Command::new(cli::beside("load")?);
        command.args(["storm", &address.to_string(), spec.prefix]);
        command.args([spec.rate, spec.seconds, spec.clients].map(|number| number.to_string()));
        let talker = Talker::start("the load tool", &mut command)?;
        Ok(Self {
            talker,
            patience: Duration::from_secs(u64::from(spec.seconds) + 120),
        })
    }

    /// Does `work` while storms come in, each again until `work` is done, so that it may take as long as the machine needs;
    /// how many connects were accepted.
    ///
    /// # Errors
    ///
    /// When not every connect was accepted, the tool fails, or `work` does.
    pub fn under_storms(
        address: SocketAddr,
        specs: &[StormSpec<'_>],
        work: impl FnOnce() -> Result<()>,
    ) -> Result<u64> {
        let is_done = &AtomicBool::new(false);
        thread::scope(|scope| {
            let storms: Vec<_> = specs
                .iter()
                .map(|spec| scope.spawn(move || Self::storms_until(is_done, address, *spec)))
                .collect();
            let worked = work();
            is_done.store(true, Ordering::Relaxed);
            let mut connects = 0;
            // First, since work fails where a storm does.
            for storm in storms {
                connects += storm.join().map_err(|_| anyhow!("a storm panicked"))??;
            }
            worked?;
            Ok(connects)
        })
    }

    fn storms_until(is_done: &AtomicBool, address: SocketAddr, spec: StormSpec<'_>) -> Result<u64> {
        let mut connects = 0;
        loop {
            let report = Self::storm(address, spec)?.report()?;
            ensure!(
                report.refused == 0 && report.errors == 0,
                "not every connect was accepted: {report:?}"
            );
            connects += report.connects;
            if is_done.load(Ordering::Relaxed) {
                return Ok(connects);
            }
        }
    }

    /// Starts a churn: clean visits as fast as the host takes them.
    ///
    /// # Errors
    ///
    /// When the tool cannot be started.
    pub fn churn(address: SocketAddr, spec: ChurnSpec<'_>) -> Result<Self> {
        let mut command = Command::new(cli::beside("load")?);
        command.args(["churn", &address.to_string(), spec.prefix]);
        command.args([spec.visits, spec.clients, spec.parallel].map(|number| number.to_string()));
        let talker = Talker::start("the load tool", &mut command)?;
        Ok(Self {
            talker,
            // The slowest host that was seen makes 300 visits a second.
            patience: Duration::from_secs(120 + spec.visits / 300),
        })
    }

    /// Waits for the end of a storm or churn.
    ///
    /// # Errors
    ///
    /// When the tool fails.
    pub fn report(self) -> Result<StormReport> {
        let line = self
            .talker
            .expect(|line| line.starts_with('{'), self.patience)?;
        serde_json::from_str(&line).with_context(|| format!("no report: {line}"))
    }
}
