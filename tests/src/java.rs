//! A Java RocketMQ for tests. The shared one is started by the first test that asks and stopped at the end; a test
//! that kills brokers or configures them starts its own.
//!
//! Each server runs under a shell that kills it when its stdin ends, so that none is left behind
//! however the test binary dies.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use tempfile::TempDir;
use xtask::java_rocketmq::{self, Ports, Role};

use crate::cli;
use crate::eventually::eventually;

static SHARED: Mutex<Option<JavaRocketmq>> = Mutex::new(None);

const STOP_DEADLINE: Duration = Duration::from_secs(30);
/// `sh -c` of this with a command: runs it until stdin ends or has a line, then sends it TERM, or the signal
/// that the line names, and waits.
const UNTIL_STDIN_ENDS: &str =
    r#""$@" < /dev/null & p=$!; read -r s; kill -"${s:-TERM}" "$p"; wait "$p""#;

/// One name server and one broker or more.
#[derive(Debug)]
pub struct JavaRocketmq {
    name_server_port: u16,
    _name_server: Server,
    brokers: Vec<Broker>,
    /// Removed last.
    home: TempDir,
}

/// One running server; stopped when it is dropped.
#[derive(Debug)]
struct Server {
    child: Child,
}

#[derive(Debug)]
struct Broker {
    name: String,
    port: u16,
    home: PathBuf,
    /// `None` after it was killed.
    server: Option<Server>,
}

impl JavaRocketmq {
    /// Starts a name server and `broker-a` in a new folder.
    ///
    /// # Errors
    ///
    /// When the jars cannot be fetched or a server does not come up.
    pub fn start() -> Result<Self> {
        Self::start_with(&[java_rocketmq::FIRST_BROKER], "")
    }

    /// Starts a name server and brokers of these names; `extra` are further lines of their configuration.
    ///
    /// # Errors
    ///
    /// As [`JavaRocketmq::start`].
    pub fn start_with(brokers: &[&str], extra: &str) -> Result<Self> {
        let home = tempfile::Builder::new()
            .prefix("rulemill-rocketmq-")
            .tempdir()?;
        let ports = Ports::free()?;
        java_rocketmq::write_home(home.path(), ports)?;
        let mut rocketmq = Self {
            name_server_port: ports.name_server,
            _name_server: Server::start(Role::NameServer, home.path())?,
            brokers: Vec::new(),
            home,
        };
        for name in brokers {
            // A port may be taken between the look at it and its use.
            let first = rocketmq.add_broker(name, extra);
            first.or_else(|_| rocketmq.add_broker(name, extra))?;
        }
        Ok(rocketmq)
    }

    fn add_broker(&mut self, name: &str, extra: &str) -> Result<()> {
        let mut taken: Vec<u16> = self.brokers.iter().map(|broker| broker.port).collect();
        taken.push(self.name_server_port);
        let ports = Ports {
            name_server: self.name_server_port,
            broker: java_rocketmq::free_broker_port(&taken)?,
        };
        let home = self.home.path().join(name);
        java_rocketmq::write_broker_home(&home, name, ports, extra)?;
        let server = Some(Server::start(Role::Broker, &home)?);
        self.brokers.push(Broker {
            name: name.to_owned(),
            port: ports.broker,
            home,
            server,
        });
        Ok(())
    }

    /// `host:port` of the name server.
    #[must_use]
    pub fn name_server(&self) -> String {
        format!("127.0.0.1:{}", self.name_server_port)
    }

    /// `host:port` that the first broker tells clients.
    #[must_use]
    pub fn broker(&self) -> String {
        let port = self.brokers.first().map_or(0, |broker| broker.port);
        format!("127.0.0.1:{port}")
    }

    /// kill -9 of a broker.
    ///
    /// # Errors
    ///
    /// When there is no such broker or it does not end.
    pub fn kill_broker(&mut self, name: &str) -> Result<()> {
        let broker = self.find(name)?;
        let mut server = broker.server.take().context("the broker is not running")?;
        let stdin = server.child.stdin.as_mut().context("no stdin")?;
        writeln!(stdin, "{}", java_rocketmq::KILL).context("the guard does not listen")?;
        eventually("end of a broker", STOP_DEADLINE, || {
            Ok(server.child.try_wait()?)
        })?;
        Ok(())
    }

    /// Starts a killed broker again on its port and store; waits until it says that it is up.
    ///
    /// # Errors
    ///
    /// When there is no such broker or it does not come up.
    pub fn restart_broker(&mut self, name: &str) -> Result<()> {
        let broker = self.find(name)?;
        broker.server = Some(Server::start(Role::Broker, &broker.home)?);
        Ok(())
    }

    /// Changes how many queues of a topic are written and read, on every broker.
    ///
    /// # Errors
    ///
    /// When RocketMQ's own tool fails.
    pub fn set_queues(&self, topic: &str, write: u32, read: u32) -> Result<()> {
        let mut command = java_rocketmq::admin_command(&self.home.path().join("admin"))?;
        command.args(["updateTopic", "-n", &self.name_server()]);
        command.args(["-c", "DefaultCluster", "-t", topic]);
        command.args(["-w", &write.to_string(), "-r", &read.to_string()]);
        let ran = cli::run_command(&mut command)?.expect(0)?;
        // It exits with 0 whatever happens.
        ensure!(
            ran.stdout.contains("success"),
            "the topic was not changed: {ran:?}"
        );
        Ok(())
    }

    fn find(&mut self, name: &str) -> Result<&mut Broker> {
        self.brokers
            .iter_mut()
            .find(|broker| broker.name == name)
            .with_context(|| format!("no broker {name}"))
    }
}

impl Server {
    fn start(role: Role, home: &Path) -> Result<Self> {
        let mut command = guarded(&java_rocketmq::command(role, home)?);
        let child = java_rocketmq::start(&mut command, &java_rocketmq::log_path(role, home))?;
        Ok(Self { child })
    }
}

impl Drop for JavaRocketmq {
    fn drop(&mut self) {
        // Brokers first: they say goodbye to their name server.
        self.brokers.clear();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let ended = eventually("end of a Java server", STOP_DEADLINE, || {
            Ok(self.child.try_wait()?)
        });
        if ended.is_err() {
            // Its parent is asked in vain; the shell's end leaves the server to the system.
            drop::<io::Result<()>>(self.child.kill());
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
