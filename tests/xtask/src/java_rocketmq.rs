//! A real Apache RocketMQ 4.9.7 from its released jars: one name server and one or more brokers.
//!
//! Maven fetches the jars once into `<target>/rocketmq-java/lib`. The name server and the first broker share
//! a home folder, every further broker has one of its own. The stores are small files, since the defaults take 1.4 GB at the first message. Both
//! servers listen on all addresses of the machine: 4.9 has no setting for that.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::places;
use crate::requirements::succeeds;

const OPENS: [&str; 8] = [
    "--add-exports",
    "java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-exports",
    "java.base/jdk.internal.ref=ALL-UNNAMED",
    "--add-opens",
    "java.base/java.nio=ALL-UNNAMED",
    "--add-opens",
    "java.base/sun.nio.ch=ALL-UNNAMED",
];

const LOGBACK: &str = r#"<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender"><encoder><pattern>%d %p %c{1} - %m%n</pattern></encoder></appender>
  <root level="WARN"><appender-ref ref="OUT"/></root>
</configuration>
"#;

/// Five digits, as the ports of proxies before it have.
const BROKER_PORT_MIN: u16 = 10_010;
const EPHEMERAL_PORT_MIN: u16 = 32_768;

/// What a guard is told that is to kill its server: see [`start`].
pub const KILL: &str = "KILL";

/// How long a server may take to say that it is up.
const BOOT_DEADLINE: Duration = Duration::from_secs(60);

/// Ports of one name server and one broker.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// The name server's.
    pub name_server: u16,
    /// The broker's; it also takes the ports at -2 and +1.
    pub broker: u16,
}

impl Ports {
    /// Ports that are free now, all with five digits.
    ///
    /// # Errors
    ///
    /// When none of some hundred candidates is free.
    pub fn free() -> Result<Self> {
        let name_server = free_port()?;
        Ok(Self {
            name_server,
            broker: free_broker_port(&[name_server])?,
        })
    }
}

/// A port for a broker that is free now with its neighbours at -2 and +1; nothing comes near `taken`.
///
/// # Errors
///
/// When none of some hundred candidates is free.
pub fn free_broker_port(taken: &[u16]) -> Result<u16> {
    for _ in 0..200 {
        // Below the ports that systems give to outgoing connections: those come and go all the time.
        let broker = BROKER_PORT_MIN + free_port()? % (EPHEMERAL_PORT_MIN - BROKER_PORT_MIN - 1);
        // Another broker's port is at least 4 away: it takes -2 and +1 as well.
        let clashes = taken.iter().any(|port| port.abs_diff(broker) < 4);
        let all = [broker - 2, broker, broker + 1];
        if !clashes
            && all
                .iter()
                .all(|port| TcpListener::bind(("0.0.0.0", *port)).is_ok())
        {
            return Ok(broker);
        }
    }
    bail!("found no free ports for a broker")
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("0.0.0.0", 0)).context("failed to bind a free port")?;
    Ok(listener.local_addr()?.port())
}

/// Whether Java 17 and the jars, or Maven to get them, are here.
#[must_use]
pub fn is_possible() -> bool {
    let java = Command::new("javac")
        .arg("--version")
        .output()
        .is_ok_and(|output| {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let major = text
                .trim_start_matches("javac ")
                .split('.')
                .next()
                .unwrap_or("")
                .trim()
                .parse::<u32>();
            major.is_ok_and(|major| major >= 17)
        });
    java && (jars_marker().exists() || succeeds(Command::new("mvn").arg("--version")))
}

fn folder() -> PathBuf {
    places::target().join("rocketmq-java")
}

fn jars_marker() -> PathBuf {
    folder().join("jars-4.9.7.complete")
}

/// The class path of the jars, fetched by Maven if they are not here yet.
///
/// # Errors
///
/// When Maven fails.
pub fn class_path() -> Result<String> {
    let lib = folder().join("lib");
    if !jars_marker().exists() {
        let output = Command::new("mvn")
            .args(["-q", "-B", "dependency:copy-dependencies"])
            .arg(format!("-DoutputDirectory={}", lib.display()))
            .current_dir(places::root().join("tests/java"))
            .output()
            .context("failed to start mvn")?;
        ensure!(
            output.status.success(),
            "mvn failed: {}",
            String::from_utf8_lossy(&output.stdout)
        );
        fs::write(jars_marker(), "")?;
    }
    Ok(format!("{}/*", lib.display()))
}

/// Compiles the Java file `name` of `tests/java` if it is newer than its classes; returns the class path to run it with.
///
/// # Errors
///
/// When Maven or the compiler fails.
pub fn compiled(name: &str) -> Result<String> {
    let jars = class_path()?;
    let classes = folder().join("classes");
    let source = places::root()
        .join("tests/java")
        .join(format!("{name}.java"));
    let class = classes.join(format!("{name}.class"));
    let is_fresh = || -> Result<bool> {
        Ok(fs::metadata(&class)?.modified()? > fs::metadata(&source)?.modified()?)
    };
    if !is_fresh().unwrap_or(false) {
        let output = Command::new("javac")
            .args(["-nowarn", "-cp", jars.as_str(), "-d"])
            .arg(&classes)
            .arg(&source)
            .output()
            .context("failed to start javac")?;
        ensure!(
            output.status.success(),
            "javac failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(format!("{}:{jars}", classes.display()))
}

/// Which of the two servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The name server.
    NameServer,
    /// The broker.
    Broker,
}

/// The first broker's name.
pub const FIRST_BROKER: &str = "broker-a";

/// Writes the home folder of both servers.
///
/// # Errors
///
/// When a file cannot be written.
pub fn write_home(home: &Path, ports: Ports) -> Result<()> {
    write_broker_home(home, FIRST_BROKER, ports, "")?;
    let path = home.join("namesrv.properties");
    fs::write(&path, format!("listenPort={}\n", ports.name_server))
        .with_context(|| format!("failed to write {}", path.display()))
}

/// Writes the home folder of a broker; `extra` are further lines of its configuration.
///
/// # Errors
///
/// When a file cannot be written.
pub fn write_broker_home(home: &Path, name: &str, ports: Ports, extra: &str) -> Result<()> {
    write_conf(home)?;
    let store = home.join("store");
    let broker = format!(
        "brokerClusterName=DefaultCluster\nbrokerName={name}\nbrokerId=0\n\
         namesrvAddr=127.0.0.1:{}\nbrokerIP1=127.0.0.1\nlistenPort={}\n\
         storePathRootDir={store}\nstorePathCommitLog={store}/commitlog\n\
         mapedFileSizeCommitLog=16777216\nmapedFileSizeConsumeQueue=600000\nmaxHashSlotNum=50000\n\
         maxIndexNum=200000\nautoCreateTopicEnable=false\ndiskMaxUsedSpaceRatio=95\n{extra}",
        ports.name_server,
        ports.broker,
        store = store.display()
    );
    fs::write(home.join("broker.conf"), broker)?;
    Ok(())
}

/// What every program of RocketMQ asks for: without a file of its name it exits.
fn write_conf(home: &Path) -> Result<()> {
    let conf = home.join("conf");
    fs::create_dir_all(&conf).with_context(|| format!("failed to create {}", conf.display()))?;
    for name in ["namesrv", "broker", "tools"] {
        fs::write(conf.join(format!("logback_{name}.xml")), LOGBACK)?;
    }
    Ok(())
}

/// RocketMQ's `mqadmin`, in a home folder that it gets if need be; its words are to be added.
///
/// # Errors
///
/// When the jars cannot be fetched or the folder cannot be written.
pub fn admin_command(home: &Path) -> Result<Command> {
    write_conf(home)?;
    let mut java = Command::new("java");
    java.args(OPENS)
        .arg(format!("-Duser.home={}", home.display()))
        .args([
            "-cp",
            &class_path()?,
            "org.apache.rocketmq.tools.command.MQAdminStartup",
        ])
        .env("ROCKETMQ_HOME", home);
    Ok(java)
}

/// The command that runs one server in its home folder.
///
/// # Errors
///
/// When the jars cannot be fetched.
pub fn command(role: Role, home: &Path) -> Result<Command> {
    let (heap, class, config): (&[&str], _, _) = match role {
        Role::NameServer => (
            &["-Xms64m", "-Xmx256m"],
            "org.apache.rocketmq.namesrv.NamesrvStartup",
            "namesrv.properties",
        ),
        Role::Broker => (
            &["-Xms128m", "-Xmx768m", "-XX:MaxDirectMemorySize=512m"],
            "org.apache.rocketmq.broker.BrokerStartup",
            "broker.conf",
        ),
    };
    let mut java = Command::new("java");
    java.args(heap)
        .args(OPENS)
        .arg(format!("-Duser.home={}", home.display()))
        .args(["-cp", &class_path()?, class, "-c"])
        .arg(home.join(config))
        .env("ROCKETMQ_HOME", home)
        .current_dir(home);
    Ok(java)
}

/// Where a server's output goes.
#[must_use]
pub fn log_path(role: Role, home: &Path) -> PathBuf {
    home.join(match role {
        Role::NameServer => "namesrv.log",
        Role::Broker => "broker.log",
    })
}

/// Starts `command`, its output into `log`, and waits until the log says `boot success`.
///
/// # Errors
///
/// When it ends or says nothing within a minute; with its log. A command with a pipe to its stdin is taken for a
/// guard, which kills the server on the line [`KILL`].
pub fn start(command: &mut Command, log: &Path) -> Result<Child> {
    let file = File::create(log).with_context(|| format!("failed to create {}", log.display()))?;
    command
        .stdout(Stdio::from(file.try_clone()?))
        .stderr(Stdio::from(file));
    let mut child = command
        .spawn()
        .with_context(|| format!("failed to start {command:?}"))?;
    let start = Instant::now();
    loop {
        let mut text = String::new();
        File::open(log)?.read_to_string(&mut text)?;
        if text.contains("boot success") {
            return Ok(child);
        }
        if let Some(status) = child.try_wait()? {
            bail!("the server ended ({status}): {text}");
        }
        // A broker whose second port is taken says so and does not end.
        if text.contains("BindException") {
            abandon(child)?;
            bail!("the server has no port: {text}");
        }
        if start.elapsed() > BOOT_DEADLINE {
            abandon(child)?;
            bail!(
                "the server did not come up within {} s: {text}",
                BOOT_DEADLINE.as_secs()
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Ends a server that is of no use. One with a stdin is a guard that ends the server itself: killed, it would leave it behind.
fn abandon(mut child: Child) -> Result<()> {
    match child.stdin.take() {
        Some(mut stdin) => writeln!(stdin, "{KILL}")?,
        None => child.kill()?,
    }
    child.wait()?;
    Ok(())
}
