//! The RocketMQ behind the hosts of schedules. It outlives them, so that a dead host takes no message with it.

use std::time::Duration;

use anyhow::{Context, Result};
use xtask::java_rocketmq::{FIRST_BROKER, free_broker_port};

use crate::fixture;
use crate::host::{HostSpec, TestHost};
use crate::java::JavaRocketmq;

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
    pub(super) name_server: String,
    pub(super) broker: String,
    /// The default plugin, for new versions of it.
    pub(super) component: Vec<u8>,
    server: Server,
}

#[derive(Debug)]
enum Server {
    Embedded(Box<TestHost>),
    Java(JavaRocketmq),
}

impl Backend {
    /// Starts it. The Java one is not the tests' shared one, since its broker is killed.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(kind: Kind) -> Result<Self> {
        let component = fixture::built_in("apsaramq-status")?;
        if kind == Kind::Java {
            let rocketmq = JavaRocketmq::start()?;
            return Ok(Self {
                name_server: rocketmq.name_server(),
                broker: rocketmq.broker(),
                component,
                server: Server::Java(rocketmq),
            });
        }
        // Both come back on their ports, so no connection may have taken one meanwhile.
        let broker = free_broker_port(&[])?;
        let name_server = free_broker_port(&[broker])?;
        let host = TestHost::start(HostSpec {
            embedded: false,
            extra: format!(
                "[rocketmq.instances.embedded]\nkind = \"embedded\"\nname-server-listen = \"127.0.0.1:{name_server}\"\n\
                 broker-listen = \"127.0.0.1:{broker}\"\n"
            ),
            ..HostSpec::default()
        })
        .context("the host with the embedded RocketMQ")?;
        Ok(Self {
            name_server: format!("127.0.0.1:{name_server}"),
            broker: format!("127.0.0.1:{broker}"),
            component,
            server: Server::Embedded(Box::new(host)),
        })
    }

    pub(super) fn kind(&self) -> Kind {
        match self.server {
            Server::Embedded(_) => Kind::Embedded,
            Server::Java(_) => Kind::Java,
        }
    }

    /// kill -9 of the broker, of the embedded one with its name server; then a new start on the same files.
    pub(super) fn kill_broker(&mut self) -> Result<()> {
        match &mut self.server {
            Server::Embedded(host) => {
                host.kill()?;
                host.restart()
            }
            Server::Java(rocketmq) => {
                rocketmq.kill_broker(FIRST_BROKER)?;
                rocketmq.restart_broker(FIRST_BROKER)
            }
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if let Server::Embedded(host) = &mut self.server {
            // In order, so that its broker writes its files; a failure is no part of what was tested.
            drop(host.terminate(Duration::from_secs(20)));
        }
    }
}
