//! One real host in a folder of its own, on ports that were free.
//!
//! Its ports are pinned after the first start, so that it comes back where its clients knew it. Its
//! log goes to a file; the end of it is kept for the report of a test that fails.

use std::cell::RefCell;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde::Deserialize;
use tempfile::TempDir;

use crate::admin::Admin;
use crate::cli::{self, Ran};
use crate::eventually::eventually;
use crate::java;
use crate::process::Process;

/// A development build, several hosts at once, two cores.
const START_DEADLINE: Duration = Duration::from_secs(60);
const LOG_LINES: usize = 80;

thread_local! {
    static LOGS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Ends of the logs of the hosts that this thread dropped since the last call.
#[must_use]
pub fn take_logs() -> Vec<String> {
    LOGS.with(RefCell::take)
}

/// What a host is asked to be.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches, each with a name of its own"
)]
pub struct HostSpec {
    /// Address of a RocketMQ outside, as instance `java`.
    pub java_name_server: Option<String>,
    /// Whether a rule may create its topic.
    pub create_topics: bool,
    /// Whether there is an embedded RocketMQ; its files are in the data folder.
    pub embedded: bool,
    /// The data folder, if it is not to be beside the configuration.
    pub data_dir: Option<PathBuf>,
    /// Environment variables of the host.
    pub environment: Vec<(String, String)>,
    /// More of section `[mqtt]`.
    pub mqtt: String,
    /// Whether there are TLS listeners; `mqtt` says with which certificate.
    pub tls: bool,
    /// More of the configuration file.
    pub extra: String,
}

impl Default for HostSpec {
    fn default() -> Self {
        Self {
            java_name_server: None,
            create_topics: true,
            embedded: true,
            data_dir: None,
            environment: Vec::new(),
            mqtt: String::new(),
            tls: false,
            extra: String::new(),
        }
    }
}

impl HostSpec {
    /// For rules to `instance`: `embedded`, or `java` with the shared Java RocketMQ.
    ///
    /// # Errors
    ///
    /// When there is no such instance, or the Java RocketMQ cannot be started.
    pub fn on(instance: &str) -> Result<Self> {
        match instance {
            "embedded" => Ok(Self::default()),
            "java" => Ok(Self {
                java_name_server: Some(java::shared()?.0),
                ..Self::default()
            }),
            other => bail!("no instance {other}"),
        }
    }
}

/// `run.json`, as far as it is used.
#[derive(Clone, Debug, Deserialize)]
pub struct RunFile {
    /// The version of the host.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Where it listens.
    pub addresses: Addresses,
}

/// Where a host listens.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Addresses {
    /// MQTT over TCP.
    pub mqtt_tcp: Vec<SocketAddr>,
    /// MQTT over WebSocket.
    pub mqtt_ws: Vec<SocketAddr>,
    /// MQTT over TLS.
    pub mqtt_tls: Vec<SocketAddr>,
    /// MQTT over WebSocket over TLS.
    pub mqtt_wss: Vec<SocketAddr>,
    /// The API.
    pub admin: SocketAddr,
    /// Name servers of embedded instances.
    pub rocketmq_name_server: std::collections::BTreeMap<String, SocketAddr>,
}

/// A host.
#[derive(Debug)]
pub struct TestHost {
    folder: TempDir,
    spec: HostSpec,
    process: Option<Process>,
    run_file: RunFile,
    /// How long the last start took.
    pub started_in: Duration,
}

impl TestHost {
    /// Starts a host and waits until it is ready.
    ///
    /// # Errors
    ///
    /// When it ends or is not ready in time; with its log.
    pub fn start(spec: HostSpec) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("rulemill-").tempdir()?;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let encrypted: Vec<_> = spec.tls.then_some(nowhere).into_iter().collect();
        let addresses = Addresses {
            mqtt_tcp: vec![nowhere],
            mqtt_ws: vec![nowhere],
            mqtt_tls: encrypted.clone(),
            mqtt_wss: encrypted,
            admin: nowhere,
            rocketmq_name_server: [("embedded".to_owned(), nowhere)].into(),
        };
        let run_file = RunFile {
            version: String::new(),
            pid: 0,
            addresses,
        };
        let mut host = Self {
            folder,
            spec,
            process: None,
            run_file,
            started_in: Duration::ZERO,
        };
        host.restart()?;
        Ok(host)
    }

    /// Starts the host again on its folder and ports, after it ended.
    ///
    /// # Errors
    ///
    /// As [`TestHost::start`].
    pub fn restart(&mut self) -> Result<()> {
        let config = self.folder.path().join("rulemill.toml");
        fs::write(&config, self.configuration())?;
        // A killed host leaves it behind.
        let run_path = self.data_dir().join("run.json");
        if run_path.exists() {
            fs::remove_file(&run_path)?;
        }
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())?;
        let mut command = Command::new(cli::host_binary()?);
        command
            .args(["serve", "--config"])
            .arg(&config)
            .envs(self.spec.environment.iter().cloned())
            .current_dir(self.folder.path());
        command
            .stdin(std::process::Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let start = Instant::now();
        let mut process = Process::start("the host", &mut command)?;
        let ready = eventually("start of the host", START_DEADLINE, || {
            if let Some(status) = process.ended()? {
                bail!("the host ended: {status}");
            }
            match fs::read(&run_path) {
                Ok(bytes) => Ok(Some(
                    serde_json::from_slice::<RunFile>(&bytes).context("bad run.json")?,
                )),
                Err(_) => Ok(None),
            }
        });
        self.run_file = ready.with_context(|| log_end(&self.log_path()))?;
        self.started_in = start.elapsed();
        self.process = Some(process);
        Ok(())
    }

    fn configuration(&self) -> String {
        let addresses = &self.run_file.addresses;
        let list = |all: &[SocketAddr]| {
            all.iter()
                .map(|address| format!("\"{address}\""))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let embedded = addresses
            .rocketmq_name_server
            .get("embedded")
            .map_or_else(|| "127.0.0.1:0".to_owned(), ToString::to_string);
        let mut text = format!(
            "[node]\nid = \"test-node\"\ndata-dir = \"{}\"\n\
             [mqtt]\ntcp = [{}]\nws = [{}]\ntls = [{}]\nwss = [{}]\n{}\n[admin]\nlisten = \"{}\"\n",
            self.data_dir().display(),
            list(&addresses.mqtt_tcp),
            list(&addresses.mqtt_ws),
            list(&addresses.mqtt_tls),
            list(&addresses.mqtt_wss),
            self.spec.mqtt,
            addresses.admin,
        );
        if self.spec.embedded {
            text += &format!(
                "[rocketmq.instances.embedded]\nkind = \"embedded\"\nname-server-listen = \"{embedded}\"\n\
                 broker-listen = \"127.0.0.1:0\"\ncreate-topics = {}\n",
                self.spec.create_topics
            );
        }
        if let Some(name_server) = &self.spec.java_name_server {
            text += &format!(
                "[rocketmq.instances.java]\nkind = \"remote\"\nname-servers = [\"{name_server}\"]\n\
                 create-topics = {}\ntopic-queues = 4\n",
                self.spec.create_topics
            );
        }
        text + &self.spec.extra
    }

    /// The data folder.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        match &self.spec.data_dir {
            Some(data_dir) => data_dir.clone(),
            None => self.folder.path().join("data"),
        }
    }

    /// What the next start is asked to be.
    pub fn spec_mut(&mut self) -> &mut HostSpec {
        &mut self.spec
    }

    /// Everything that it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Whether the process is still there.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.process.is_some() && self.exit_status()?.is_none())
    }

    /// How it ended, if it ended by itself.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        match &mut self.process {
            Some(process) => process.ended(),
            None => Ok(None),
        }
    }

    /// A folder for the test's own files, removed with the host.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("host.log")
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.run_file.addresses
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.run_file.pid
    }

    /// MQTT over TCP.
    ///
    /// # Errors
    ///
    /// When it has no such listener.
    pub fn mqtt(&self) -> Result<SocketAddr> {
        self.addresses()
            .mqtt_tcp
            .first()
            .copied()
            .context("no TCP listener")
    }

    /// MQTT over WebSocket.
    ///
    /// # Errors
    ///
    /// When it has no such listener.
    pub fn websocket(&self) -> Result<SocketAddr> {
        self.addresses()
            .mqtt_ws
            .first()
            .copied()
            .context("no WebSocket listener")
    }

    /// MQTT over TLS.
    ///
    /// # Errors
    ///
    /// When it has no such listener.
    pub fn tls(&self) -> Result<SocketAddr> {
        let address = self.addresses().mqtt_tls.first();
        address.copied().context("no TLS listener")
    }

    /// MQTT over WebSocket over TLS.
    ///
    /// # Errors
    ///
    /// When it has no such listener.
    pub fn secure_websocket(&self) -> Result<SocketAddr> {
        let address = self.addresses().mqtt_wss.first();
        address.copied().context("no secure WebSocket listener")
    }

    /// The name server of an instance, for readers.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn name_server(&self, instance: &str) -> Result<String> {
        if instance == "java" {
            return self
                .spec
                .java_name_server
                .clone()
                .context("no Java RocketMQ");
        }
        let address = self.addresses().rocketmq_name_server.get(instance);
        Ok(address.context("no such instance in run.json")?.to_string())
    }

    /// Its API.
    ///
    /// # Errors
    ///
    /// When there is no token.
    pub fn admin(&self) -> Result<Admin> {
        Admin::open(&self.addresses().admin.to_string(), &self.data_dir())
    }

    /// Runs its command line.
    ///
    /// # Errors
    ///
    /// When it cannot be run.
    pub fn cli(&self, args: &[&str]) -> Result<Ran> {
        cli::run_on(&self.admin()?, self.folder.path(), args)
    }

    /// Runs its command line with a secret on stdin.
    ///
    /// # Errors
    ///
    /// When it cannot be run.
    pub fn cli_with_secret(&self, args: &[&str], secret: &str) -> Result<Ran> {
        cli::run_with_secret(&self.admin()?, self.folder.path(), args, secret)
    }

    /// kill -9.
    ///
    /// # Errors
    ///
    /// When it was not running.
    pub fn kill(&mut self) -> Result<()> {
        self.process
            .take()
            .context("the host is not running")?
            .kill()
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    ///
    /// When it does not end before the deadline.
    pub fn terminate(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let mut process = self.process.take().context("the host is not running")?;
        process.signal(Signal::TERM)?;
        process.wait(deadline)
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        self.process = None;
        let end = log_end(&self.log_path());
        LOGS.with(|logs| logs.borrow_mut().push(end));
    }
}

fn log_end(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let skipped = lines.len().saturating_sub(LOG_LINES);
    let tail: Vec<&str> = lines.into_iter().skip(skipped).collect();
    format!("--- host log, last {LOG_LINES} lines\n{}", tail.join("\n"))
}
