//! A RocketMQ name server and one broker inside this process, for development and tests.
//!
//! Owns their thread, ports, files and end. Knows no client and no topic: automatic topic creation is
//! off, so that a misspelt topic does not come into being by a send. The servers get a tokio runtime of
//! their own on a thread of their own, because their library cannot borrow the host's.

#![recursion_limit = "512"]
#![warn(missing_docs, missing_debug_implementations)]

mod listeners;
mod servers;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;

use tokio::sync::oneshot;

/// Where the servers listen and keep their files.
#[derive(Clone, Debug)]
pub struct EmbeddedConfig {
    /// Everything is kept below this folder; it is made if it is not there.
    pub data_dir: PathBuf,
    /// Port 0 picks a free port.
    pub name_server_listen: SocketAddr,
    /// Port 0 picks a free port. Port P also takes P-2 (RocketMQ's second listener) and P+1
    /// (replication).
    pub broker_listen: SocketAddr,
}

/// Why the servers did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartEmbeddedError {
    /// Somebody else listens there.
    #[error("rocketmq {listener} listener {address}: address in use")]
    AddressInUse {
        /// Whose listener.
        listener: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("rocketmq {listener} listener {address}")]
    Listen {
        /// Whose listener.
        listener: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The broker's port leaves no room for its two neighbours.
    #[error("rocketmq broker listener {address}: the port must be 3 to 65534, or 0 to pick one")]
    BrokerPort {
        /// The address.
        address: SocketAddr,
    },
    /// No three free neighbouring ports were found for the broker.
    #[error("rocketmq broker listener {address}: no free port with free neighbours")]
    NoFreePorts {
        /// The address.
        address: SocketAddr,
    },
    /// The folder cannot be made.
    #[error("rocketmq data folder {path}")]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The thread cannot be started.
    #[error("failed to start the embedded rocketmq's thread")]
    Thread(#[source] io::Error),
    /// The server library failed.
    #[error("embedded rocketmq {part} failed: {detail}")]
    Server {
        /// Which part.
        part: &'static str,
        /// What the library said.
        detail: String,
    },
}

impl StartEmbeddedError {
    fn server(part: &'static str, error: &dyn std::fmt::Debug) -> Self {
        Self::Server {
            part,
            detail: format!("{error:?}"),
        }
    }
}

/// A running name server and broker. Dropping it stops them without waiting for their end.
#[derive(Debug)]
pub struct EmbeddedRocketmq {
    name_server: SocketAddr,
    broker: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl EmbeddedRocketmq {
    /// Starts both servers and waits until they answer. Blocks for about 0.2 to 1 s, so it must not be
    /// called from async code.
    ///
    /// Messages of an earlier run on the same folder are there again, also if that process was killed.
    ///
    /// # Errors
    ///
    /// When an address is taken (the message names it), the folder cannot be used, or the library fails.
    pub fn start(config: EmbeddedConfig) -> Result<Self, StartEmbeddedError> {
        std::fs::create_dir_all(&config.data_dir).map_err(|source| {
            StartEmbeddedError::DataDir {
                path: config.data_dir.clone(),
                source,
            }
        })?;
        let name_server = listeners::free_address("name server", config.name_server_listen)?;
        let broker = listeners::free_broker_address(config.broker_listen, name_server)?;
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = mpsc::sync_channel(1);
        let layout = servers::Layout {
            data_dir: config.data_dir,
            name_server,
            broker,
        };
        let thread = thread::Builder::new()
            .name("rocketmq-embed".to_owned())
            // The library's start-up futures are large and polled on this thread's stack.
            .stack_size(8 * 1024 * 1024)
            .spawn(move || servers::run(&layout, &ready, stopped))
            .map_err(StartEmbeddedError::Thread)?;
        match started.recv() {
            Ok(Ok(())) => Ok(Self {
                name_server,
                broker,
                stop,
                thread,
            }),
            Ok(Err(error)) => {
                join(thread);
                Err(error)
            }
            Err(_) => {
                join(thread);
                Err(StartEmbeddedError::Server {
                    part: "thread",
                    detail: "it ended before it was ready".to_owned(),
                })
            }
        }
    }

    /// Where the name server listens; the port is never 0.
    #[must_use]
    pub fn name_server(&self) -> SocketAddr {
        self.name_server
    }

    /// Where the broker listens; the port is never 0.
    #[must_use]
    pub fn broker(&self) -> SocketAddr {
        self.broker
    }

    /// Stops the broker, then the name server, and waits for both. Blocks for up to some seconds, so it
    /// must not be called from async code.
    pub fn shutdown(self) {
        if self.stop.send(()).is_err() {
            tracing::warn!("embedded rocketmq had already ended");
        }
        join(self.thread);
    }
}

fn join(thread: thread::JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("embedded rocketmq's thread panicked");
    }
}
