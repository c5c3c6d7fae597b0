//! The Java RocketMQ of a test run: started by the first test that asks, stopped at the end.
//!
//! Each server runs under a shell that kills it when its stdin ends, so that none is left behind
//! however the test binary dies.

use std::io;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tempfile::TempDir;
use xtask::java_rocketmq::{self, Ports, Role};

use crate::eventually::eventually;

static SHARED: Mutex<Option<JavaRocketmq>> = Mutex::new(None);

const STOP_DEADLINE: Duration = Duration::from_secs(30);
/// `sh -c` of this with a command: runs it until stdin ends, then asks it to end and waits.
const UNTIL_STDIN_ENDS: &str = r#""$@" < /dev/null & p=$!; read -r _; kill "$p"; wait "$p""#;

/// One name server and one broker.
#[derive(Debug)]
pub struct JavaRocketmq {
    ports: Ports,
    /// Broker first: it says goodbye to its name server.
    servers: Vec<Child>,
    _home: TempDir,
}

impl JavaRocketmq {
    /// Starts both in a new folder.
    ///
    /// # Errors
    ///
    /// When the jars cannot be fetched or a server does not come up.
    pub fn start() -> Result<Self> {
        let home = tempfile::Builder::new()
            .prefix("rulemill-rocketmq-")
            .tempdir()?;
        let ports = Ports::free()?;
        java_rocketmq::write_home(home.path(), ports)?;
        let mut rocketmq = Self {
            ports,
            servers: Vec::new(),
            _home: home,
        };
        for role in [Role::NameServer, Role::Broker] {
            let path = rocketmq._home.path();
            let mut command = guarded(&java_rocketmq::command(role, path)?);
            let child = java_rocketmq::start(&mut command, &java_rocketmq::log_path(role, path))?;
            rocketmq.servers.insert(0, child);
        }
        Ok(rocketmq)
    }

    /// `host:port` of the name server.
    #[must_use]
    pub fn name_server(&self) -> String {
        format!("127.0.0.1:{}", self.ports.name_server)
    }

    /// `host:port` that the broker tells clients.
    #[must_use]
    pub fn broker(&self) -> String {
        format!("127.0.0.1:{}", self.ports.broker)
    }
}

impl Drop for JavaRocketmq {
    fn drop(&mut self) {
        for server in &mut self.servers {
            drop(server.stdin.take());
            let ended = eventually("end of a Java server", STOP_DEADLINE, || {
                Ok(server.try_wait()?)
            });
            if ended.is_err() {
                // Its parent is asked in vain; the shell's end leaves the server to the system.
                drop::<io::Result<()>>(server.kill());
            }
        }
    }
}

fn guarded(java: &Command) -> Command {
    let mut guard = Command::new("sh");
    guard
        .args(["-c", UNTIL_STDIN_ENDS, "sh"])
        .arg(java.get_program())
        .args(java.get_args());
    for (name, value) in java.get_envs() {
        match value {
            Some(value) => guard.env(name, value),
            None => guard.env_remove(name),
        };
    }
    if let Some(folder) = java.get_current_dir() {
        guard.current_dir(folder);
    }
    guard.stdin(Stdio::piped());
    guard
}

/// Name server and broker addresses of the shared one.
///
/// # Errors
///
/// When it cannot be started.
pub fn shared() -> Result<(String, String)> {
    let mut shared = SHARED
        .lock()
        .map_err(|_| anyhow!("an earlier start panicked"))?;
    let rocketmq = match shared.take() {
        Some(rocketmq) => rocketmq,
        None => JavaRocketmq::start().context("failed to start the Java RocketMQ")?,
    };
    let addresses = (rocketmq.name_server(), rocketmq.broker());
    *shared = Some(rocketmq);
    Ok(addresses)
}

/// Stops the shared one, if it was started.
pub fn stop_shared() {
    if let Ok(mut shared) = SHARED.lock() {
        drop(shared.take());
    }
}
