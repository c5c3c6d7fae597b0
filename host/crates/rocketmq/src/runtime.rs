//! The client library's own tokio runtime, shared by all instances.
//!
//! The library cannot borrow the host's runtime; its futures may be awaited from it all the same.

use std::fmt;
use std::sync::Arc;

use rocketmq_client_rust::{ClientRuntime, ClientRuntimeConfig};
use rocketmq_observability::TelemetryHandle;
use rocketmq_runtime::{ChildServiceContext, RuntimeConfig, RuntimeOwner};

/// Sends wait for the network, not for the processor: two threads serve all instances.
const WORKER_THREADS: usize = 2;

/// Why the runtime did not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to start the rocketmq client runtime: {detail}")]
pub struct StartRuntimeError {
    /// What the library said.
    pub detail: String,
}

fn start_error(error: &dyn fmt::Debug) -> StartRuntimeError {
    StartRuntimeError {
        detail: format!("{error:?}"),
    }
}

/// Owns the runtime. Instances must be shut down before it.
pub struct RocketmqRuntime {
    owner: RuntimeOwner,
    client: Arc<ClientRuntime>,
}

impl fmt::Debug for RocketmqRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocketmqRuntime").finish_non_exhaustive()
    }
}

impl RocketmqRuntime {
    /// Starts the runtime's threads; connects to nothing.
    ///
    /// # Errors
    ///
    /// When the library cannot make its runtime.
    pub fn start() -> Result<Self, StartRuntimeError> {
        let config = RuntimeConfig {
            worker_threads: WORKER_THREADS,
            thread_name: "rocketmq-client".to_owned(),
            ..RuntimeConfig::default()
        };
        let owner = RuntimeOwner::plan(config)
            .map_err(|error| start_error(&error))?
            .build()
            .map_err(|error| start_error(&error))?;
        let client = ClientRuntime::try_new(
            owner.root_context().component("client"),
            ClientRuntimeConfig::default(),
            TelemetryHandle::noop(),
        )
        .map_err(|error| start_error(&error))?;
        Ok(Self { owner, client })
    }

    pub(crate) fn client(&self) -> Arc<ClientRuntime> {
        Arc::clone(&self.client)
    }

    pub(crate) fn remoting_context(&self) -> ChildServiceContext {
        self.owner.root_context().component("remoting")
    }

    /// Ends the runtime. Blocks, so it must not be called from async code.
    pub fn shutdown(self) {
        // The library refuses on any thread of another runtime, also on those that may block.
        let ended = std::thread::Builder::new()
            .name("rocketmq-end".to_owned())
            .spawn(move || self.end())
            .map(std::thread::JoinHandle::join);
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(_)) => tracing::error!("end of the rocketmq runtime panicked"),
            Err(error) => tracing::warn!(%error, "rocketmq runtime was not ended: no thread"),
        }
    }

    fn end(self) {
        let report = self.owner.block_on(self.client.shutdown());
        if !report.is_healthy() {
            tracing::warn!(report = report.to_json(), "rocketmq client ended uncleanly");
        }
        match self.owner.shutdown_runtime_blocking() {
            Ok(report) if report.is_healthy() => {}
            Ok(report) => {
                tracing::warn!(
                    report = report.to_json(),
                    "rocketmq runtime ended uncleanly"
                );
            }
            Err(error) => tracing::warn!(error = %error, "rocketmq runtime ended uncleanly"),
        }
    }
}
