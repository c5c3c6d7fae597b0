//! What tests need from the machine beside Rust: a Java RocketMQ, third-party clients and readers.
//!
//! A test whose requirement is missing is shown as ignored; it never passes. With
//! `RULEMILL_REQUIRE_ALL=1` it fails.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::{java_rocketmq, places};

/// Environment variable with the names of what was found, separated by commas.
pub const FOUND: &str = "RULEMILL_TEST_FOUND";
/// Environment variable that makes a missing requirement a failure.
pub const REQUIRE_ALL: &str = "RULEMILL_REQUIRE_ALL";

/// One thing that some tests need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// Java 17 with its compiler, and the jars of RocketMQ or Maven to get them.
    JavaRocketmq,
    /// Python 3 with paho-mqtt.
    Paho,
    /// Node with mqtt.js.
    MqttJs,
    /// Node with ali-ons and its HTTP client.
    AliOns,
    /// `mosquitto_pub`.
    Mosquitto,
    /// Alibaba Cloud's SDK for ApsaraMQ for MQTT, for Python.
    OnsMqttSdk,
    /// Schemathesis, which makes requests out of an OpenAPI document.
    Schemathesis,
    /// componentize-py, for plugins in Python.
    ComponentizePy,
    /// componentize-qjs, for plugins in JavaScript.
    ComponentizeQjs,
    /// The right to mount small file systems, and the tools for ext4.
    Mounts,
}

impl Requirement {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::JavaRocketmq,
        Self::Paho,
        Self::MqttJs,
        Self::AliOns,
        Self::Mosquitto,
        Self::OnsMqttSdk,
        Self::Schemathesis,
        Self::ComponentizePy,
        Self::ComponentizeQjs,
        Self::Mounts,
    ];

    /// Its name in the environment variable.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::JavaRocketmq => "java-rocketmq",
            Self::Paho => "paho",
            Self::MqttJs => "mqtt-js",
            Self::AliOns => "ali-ons",
            Self::Mosquitto => "mosquitto",
            Self::OnsMqttSdk => "onsmqtt-sdk",
            Self::Schemathesis => "schemathesis",
            Self::ComponentizePy => "componentize-py",
            Self::ComponentizeQjs => "componentize-qjs",
            Self::Mounts => "mounts",
        }
    }

    /// Which tests need it.
    #[must_use]
    pub fn tests(self) -> &'static str {
        match self {
            Self::JavaRocketmq => "tests with the Java RocketMQ or its client",
            Self::Paho => "tests with paho-mqtt",
            Self::MqttJs => "tests with mqtt.js",
            Self::AliOns => "tests with ali-ons",
            Self::Mosquitto => "tests with mosquitto_pub",
            Self::OnsMqttSdk => "tests with Alibaba Cloud's SDK",
            Self::Schemathesis => "tests of the API against its document",
            Self::ComponentizePy => "tests with plugins in Python",
            Self::ComponentizeQjs => "tests with plugins in JavaScript",
            Self::Mounts => "tests with a full or broken disk",
        }
    }

    /// How to get it.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::JavaRocketmq => "install a JDK 17 or newer and Maven",
            Self::Paho | Self::OnsMqttSdk | Self::Schemathesis | Self::ComponentizePy => {
                "pip install -r tests/python/requirements.txt, in a venv named by RULEMILL_PYTHON"
            }
            Self::MqttJs | Self::AliOns | Self::ComponentizeQjs => "npm ci in tests/node",
            Self::Mosquitto => "apt-get install mosquitto-clients",
            Self::Mounts => "run as root, with e2fsprogs and loop devices",
        }
    }

    /// Whether the machine has it.
    #[must_use]
    pub fn probe(self) -> bool {
        match self {
            Self::JavaRocketmq => java_rocketmq::is_possible(),
            Self::Paho => succeeds(Command::new(python()).args(["-c", "import paho.mqtt.client"])),
            Self::MqttJs => has_node_module(&["mqtt"]),
            Self::AliOns => has_node_module(&["ali-ons", "urllib"]),
            Self::Mosquitto => {
                // It exits with 1 after its help: only whether it starts counts.
                Command::new("mosquitto_pub")
                    .arg("--help")
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status()
                    .is_ok()
            }
            Self::OnsMqttSdk => {
                let script = "import alibabacloud_onsmqtt20200420.client";
                succeeds(Command::new(python()).args(["-c", script]))
            }
            Self::Schemathesis => {
                succeeds(Command::new(python()).args(["-c", "import schemathesis"]))
            }
            Self::ComponentizePy => {
                succeeds(Command::new(python()).args(["-c", "import componentize_py"]))
            }
            Self::ComponentizeQjs => node_modules().join(".bin/componentize-qjs").exists(),
            Self::Mounts => can_mount(),
        }
    }
}

/// The Python to use: `RULEMILL_PYTHON`, else `python3`.
#[must_use]
pub fn python() -> OsString {
    std::env::var_os("RULEMILL_PYTHON").unwrap_or_else(|| OsString::from("python3"))
}

/// The folder of Node's packages: `RULEMILL_NODE_MODULES`, else the one in `tests/node`.
#[must_use]
pub fn node_modules() -> PathBuf {
    std::env::var_os("RULEMILL_NODE_MODULES").map_or_else(
        || places::root().join("tests/node/node_modules"),
        PathBuf::from,
    )
}

/// Asks the machine for everything.
#[must_use]
pub fn probe_all() -> Vec<Requirement> {
    Requirement::ALL
        .iter()
        .copied()
        .filter(|requirement| requirement.probe())
        .collect()
}

/// What the environment says was found; without it, asks the machine.
#[must_use]
pub fn found() -> Vec<Requirement> {
    match std::env::var(FOUND) {
        Ok(list) => Requirement::ALL
            .iter()
            .copied()
            .filter(|requirement| list.split(',').any(|name| name == requirement.name()))
            .collect(),
        Err(_) => probe_all(),
    }
}

/// The value of the environment variable.
#[must_use]
pub fn to_list(found: &[Requirement]) -> String {
    found
        .iter()
        .map(|requirement| requirement.name())
        .collect::<Vec<_>>()
        .join(",")
}

fn has_node_module(names: &[&str]) -> bool {
    let script = names
        .iter()
        .map(|name| format!("require('{name}');"))
        .collect::<String>();
    succeeds(
        Command::new("node")
            .args(["-e", &script])
            .env("NODE_PATH", node_modules()),
    )
}

/// Mounts a file system in memory and one in a file, in a folder that is removed again.
fn can_mount() -> bool {
    let script = "set -e; d=$(mktemp -d); cd \"$d\"; trap 'cd /; umount \"$d/m\" 2>/dev/null; rm -rf \"$d\"' EXIT; \
                  mkdir m; mount -t tmpfs -o size=1m tmpfs m; umount m; truncate -s 8M i; \
                  mkfs.ext4 -q -F i; mount -o loop i m; for t in e2fsck chattr findmnt; do command -v $t; done";
    succeeds(Command::new("sh").args(["-c", script]))
}

pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
