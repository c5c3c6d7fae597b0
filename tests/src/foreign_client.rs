//! MQTT clients that are not ours: paho-mqtt, mqtt.js and `mosquitto_pub`, one process per connection.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use xtask::{places, requirements};

use crate::process::Talker;

/// Also mosquitto's lowest.
pub const KEEP_ALIVE_S: u16 = 5;
/// Many interpreters start at once on few cores.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// paho-mqtt for Python.
    Paho,
    /// mqtt.js.
    MqttJs,
    /// `mosquitto_pub`, holding its connection by reading lines.
    Mosquitto,
}

/// How a client connects.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// The program.
    pub library: Library,
    /// MQTT 5, else 3.1.1.
    pub v5: bool,
    /// WebSocket, else TCP.
    pub websocket: bool,
}

impl Way {
    /// Every combination that the programs can do.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for library in [Library::Paho, Library::MqttJs, Library::Mosquitto] {
            for v5 in [false, true] {
                for websocket in [false, true] {
                    // mosquitto_pub speaks TCP only.
                    if !(websocket && library == Library::Mosquitto) {
                        all.push(Self {
                            library,
                            v5,
                            websocket,
                        });
                    }
                }
            }
        }
        all
    }

    /// A name for client ids, such as `paho-5-ws`.
    #[must_use]
    pub fn name(self) -> String {
        let library = match self.library {
            Library::Paho => "paho",
            Library::MqttJs => "mqttjs",
            Library::Mosquitto => "mosquitto",
        };
        let (version, transport) = (self.version(), self.transport());
        format!("{library}-{version}-{transport}")
    }

    fn version(self) -> &'static str {
        if self.v5 { "5" } else { "3" }
    }

    fn transport(self) -> &'static str {
        if self.websocket { "ws" } else { "tcp" }
    }

    fn command(self, address: SocketAddr, client_id: &str, shown: &Shown) -> Command {
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let keep_alive = KEEP_ALIVE_S.to_string();
        let script = |mut command: Command, path: &str| {
            command.arg(places::root().join("tests").join(path));
            command.args([
                &host,
                &port,
                self.transport(),
                self.version(),
                client_id,
                &keep_alive,
            ]);
            let Shown {
                username,
                password,
                authority,
            } = shown;
            command.envs(username.as_ref().map(|text| ("MQTT_USERNAME", text)));
            command.envs(password.as_ref().map(|text| ("MQTT_PASSWORD", text)));
            command.envs(authority.as_ref().map(|path| ("MQTT_CA", path)));
            command
        };
        match self.library {
            Library::Paho => script(
                Command::new(requirements::python()),
                "python/paho_client.py",
            ),
            Library::MqttJs => {
                let mut command = script(Command::new("node"), "node/mqtt_js_client.js");
                command.env("NODE_PATH", requirements::node_modules());
                command
            }
            Library::Mosquitto => {
                let version = if self.v5 { "mqttv5" } else { "mqttv311" };
                // It tells of CONNACK by buffered lines otherwise.
                let mut command = Command::new("stdbuf");
                command.args([
                    "-oL",
                    "mosquitto_pub",
                    "-l",
                    "-d",
                    "-t",
                    "unused",
                    "-h",
                    &host,
                    "-p",
                    &port,
                ]);
                command.args(["-i", client_id, "-k", &keep_alive, "-V", version]);
                let texts = [("-u", &shown.username), ("-P", &shown.password)];
                for (flag, text) in texts {
                    if let Some(text) = text {
                        command.args([flag, text]);
                    }
                }
                if let Some(authority) = &shown.authority {
                    command.arg("--cafile").arg(authority);
                }
                command
            }
        }
    }
}

/// What a client shows and trusts.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// Of the CONNECT.
    pub username: Option<String>,
    /// Of the CONNECT.
    pub password: Option<String>,
    /// A PEM file; with it the client speaks TLS and trusts what is signed by these.
    pub authority: Option<PathBuf>,
}

/// One connected client.
#[derive(Debug)]
pub struct ForeignClient {
    talker: Talker,
}

impl ForeignClient {
    /// Connects and waits for CONNACK.
    ///
    /// # Errors
    ///
    /// When it is refused or does not connect.
    pub fn connect(way: Way, address: SocketAddr, client_id: &str) -> Result<Self> {
        Self::connect_as(way, address, client_id, &Shown::default())
    }

    /// Connects with credentials, or over TLS, and waits for CONNACK.
    ///
    /// # Errors
    ///
    /// When it is refused or does not connect.
    pub fn connect_as(
        way: Way,
        address: SocketAddr,
        client_id: &str,
        shown: &Shown,
    ) -> Result<Self> {
        let talker = Talker::start(client_id, &mut way.command(address, client_id, shown))?;
        let connected = |line: &str| line == "connected" || line.ends_with("received CONNACK (0)");
        talker
            .expect(connected, ANSWER_DEADLINE)
            .context("not connected")?;
        Ok(Self { talker })
    }

    /// Connects and expects to be refused; returns the code of MQTT 5 that the program tells.
    ///
    /// # Errors
    ///
    /// When it is accepted, or tells nothing. Only paho tells codes.
    pub fn expect_refusal(way: Way, address: SocketAddr, client_id: &str) -> Result<u8> {
        Self::expect_refusal_as(way, address, client_id, &Shown::default())
    }

    /// As [`ForeignClient::expect_refusal`], with credentials or over TLS.
    ///
    /// # Errors
    ///
    /// When it is accepted, or tells nothing.
    pub fn expect_refusal_as(
        way: Way,
        address: SocketAddr,
        client_id: &str,
        shown: &Shown,
    ) -> Result<u8> {
        let talker = Talker::start(client_id, &mut way.command(address, client_id, shown))?;
        let line = talker.expect(
            |line| line == "connected" || line.starts_with("refused "),
            ANSWER_DEADLINE,
        )?;
        let code = line.strip_prefix("refused ").context("it was accepted")?;
        code.parse()
            .with_context(|| format!("no reason code: {code}"))
    }

    /// DISCONNECT, and the end of the process.
    ///
    /// # Errors
    ///
    /// When it does not end well.
    pub fn close(mut self) -> Result<()> {
        self.talker.hang_up();
        let status = self.talker.process().wait(ANSWER_DEADLINE)?;
        ensure!(status.success(), "the client ended with {status}");
        Ok(())
    }

    /// kill -9.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn kill(mut self) -> Result<()> {
        self.talker.process().kill()
    }

    /// Stops the process; its connection stays open and silent.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn freeze(&mut self) -> Result<()> {
        self.talker.process().signal(Signal::STOP)
    }
}
