//! The RocketMQ behind the hosts of schedules. It outlives them, so that a dead host takes no message with it.

use std::time::Duration;

use anyhow::{Context, Result};
use xtask::java_rocketmq;

use crate::fixture;
use crate::host::{HostSpec, TestHost};
use crate::java;

/// Which RocketMQ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The embedded one, of a host that does nothing else.
    Embedded,
    /// Apache's.
    Java,
}

impl Kind {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Java => "java",
        }
    }
}

/// A running RocketMQ.
#[derive(Debug)]
pub struct Backend {
    pub(super) kind: Kind,
    pub(super) name_server: String,
    pub(super) broker: String,
    /// The default plugin, for new versions of it.
    pub(super) component: Vec<u8>,
    /// Stopped when it is dropped.
    host: Option<TestHost>,
}

impl Backend {
    /// Starts it; the Java one is the tests' shared one.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(kind: Kind) -> Result<Self> {
        let component = fixture::built_in("apsaramq-status")?;
        if kind == Kind::Java {
            let (name_server, broker) = java::shared()?;
            return Ok(Self {
                kind,
                name_server,
                broker,
                component,
                host: None,
            });
        }
        let port = java_rocketmq::free_broker_port(&[])?;
        let host = TestHost::start(HostSpec {
            embedded: false,
            extra: format!(
                "[rocketmq.instances.embedded]\nkind = \"embedded\"\nname-server-listen = \"127.0.0.1:0\"\n\
                 broker-listen = \"127.0.0.1:{port}\"\n"
            ),
            ..HostSpec::default()
        })
        .context("the host with the embedded RocketMQ")?;
        Ok(Self {
            kind,
            name_server: host.name_server("embedded")?,
            broker: format!("127.0.0.1:{port}"),
            component,
            host: Some(host),
        })
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if let Some(mut host) = self.host.take() {
            // In order, so that its broker writes its files; a failure is no part of what was tested.
            drop(host.terminate(Duration::from_secs(20)));
        }
    }
}
