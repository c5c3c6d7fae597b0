//! A real Apache RocketMQ 4.9.7 from its released jars: one name server and one broker.
//!
//! Maven fetches the jars once into `<target>/rocketmq-java/lib`. Every server gets a home folder of
//! its own. The stores are small files, since the defaults take 1.4 GB at the first message. Both
//! servers listen on all addresses of the machine: 4.9 has no setting for that.

use std::fs::{self, File};
use std::io::Read;
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
        for _ in 0..200 {
            let broker = free_port()?;
            let neighbours = [broker - 2, broker + 1];
            let clashes =
                neighbours.contains(&name_server) || broker == name_server || broker < 10_010;
            if !clashes
                && neighbours
                    .iter()
                    .all(|port| TcpListener::bind(("0.0.0.0", *port)).is_ok())
            {
                return Ok(Self {
                    name_server,
                    broker,
                });
            }
        }
        bail!("found no free ports for a broker")
    }
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

/// Writes the home folder of both servers.
///
/// # Errors
///
/// When a file cannot be written.
pub fn write_home(home: &Path, ports: Ports) -> Result<()> {
    let conf = home.join("conf");
    fs::create_dir_all(&conf).with_context(|| format!("failed to create {}", conf.display()))?;
    for name in ["namesrv", "broker", "tools"] {
        fs::write(conf.join(format!("logback_{name}.xml")), LOGBACK)?;
    }
    fs::write(
        home.join("namesrv.properties"),
        format!("listenPort={}\n", ports.name_server),
    )?;
    let store = home.join("store");
    let broker = format!(
        "brokerClusterName=DefaultCluster\nbrokerName=broker-a\nbrokerId=0\n\
         namesrvAddr=127.0.0.1:{}\nbrokerIP1=127.0.0.1\nlistenPort={}\n\
         storePathRootDir={store}\nstorePathCommitLog={store}/commitlog\n\
         mapedFileSizeCommitLog=16777216\nmapedFileSizeConsumeQueue=600000\nmaxHashSlotNum=50000\n\
         maxIndexNum=200000\nautoCreateTopicEnable=false\ndiskMaxUsedSpaceRatio=95\n",
        ports.name_server,
        ports.broker,
        store = store.display()
    );
    fs::write(home.join("broker.conf"), broker)?;
    Ok(())
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
/// When it ends or says nothing within a minute; with its log.
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
        if start.elapsed() > BOOT_DEADLINE {
            child.kill()?;
            child.wait()?;
            bail!(
                "the server did not come up within {} s: {text}",
                BOOT_DEADLINE.as_secs()
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
