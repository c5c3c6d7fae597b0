//! How a plugin misbehaves. A rejection is no fault.

use std::fmt;

use domain::CheckMessageError;

use crate::guest_channel::cut;
use crate::sandbox::HostState;

/// A trap's report is cut to this many bytes: it is stored with dead letters.
const DETAIL_BYTES_MAX: usize = 2048;

/// Whose memory limit was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryScope {
    /// The instance's own.
    Instance,
    /// The one of all instances together.
    Host,
}

impl fmt::Display for MemoryScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Instance => "an instance",
            Self::Host => "all instances together",
        })
    }
}

fn shortage(is_cpu_time: &bool) -> &'static str {
    if *is_cpu_time {
        ""
    } else {
        ", which it did not get within ten times as long"
    }
}

/// The plugin misbehaved on an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapperFault {
    /// It trapped: a panic, an exception, an illegal access.
    #[error("the plugin trapped: {detail}")]
    Trap {
        /// Reason, backtrace and its last line of standard error.
        detail: String,
    },
    /// It took too long.
    #[error("the plugin exceeded its deadline of {deadline_ms} ms of CPU time{}", shortage(.is_cpu_time))]
    Deadline {
        /// The deadline, milliseconds of CPU time.
        deadline_ms: u64,
        /// Whether it used that much, or the thread got too little of the machine.
        is_cpu_time: bool,
    },
    /// It wanted too much memory.
    #[error("the plugin's memory would be {bytes} bytes; the limit of {scope} is {bytes_max}")]
    Memory {
        /// What it would have been.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
        /// Whose limit.
        scope: MemoryScope,
    },
    /// It made more than it may for one event.
    #[error("the plugin made too much output: {detail}")]
    OutputTooLarge {
        /// What was too much.
        detail: String,
    },
    /// A new instance did not start.
    #[error("the plugin does not start: {detail}")]
    Init {
        /// What the plugin or the sandbox said.
        detail: String,
    },
    /// It made a message that RocketMQ would refuse.
    #[error("the plugin made a message that RocketMQ would refuse: {0}")]
    IllegalMessage(CheckMessageError),
}

impl MapperFault {
    /// The variant, for metric labels.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Trap { .. } => "trap",
            Self::Deadline { .. } => "deadline",
            Self::Memory { .. } => "memory",
            Self::OutputTooLarge { .. } => "output_too_large",
            Self::Init { .. } => "init",
            Self::IllegalMessage(_) => "illegal_message",
        }
    }

    /// Whether the host's load may have caused it, so that the same event may well be mapped later.
    #[must_use]
    pub fn may_be_load(&self) -> bool {
        match self {
            // It got too little of the machine; or all instances together took too much of it.
            Self::Deadline {
                is_cpu_time: false, ..
            }
            | Self::Memory {
                scope: MemoryScope::Host,
                ..
            } => true,
            Self::Deadline {
                is_cpu_time: true, ..
            }
            | Self::Memory {
                scope: MemoryScope::Instance,
                ..
            }
            | Self::Trap { .. }
            | Self::OutputTooLarge { .. }
            | Self::Init { .. }
            | Self::IllegalMessage(_) => false,
        }
    }
}

/// What a failed call was stopped for. The sandbox notes its own reasons; everything else is a trap.
pub(crate) fn classify(error: &wasmtime::Error, state: &HostState) -> MapperFault {
    if let Some(refused) = state.memory.refused() {
        let (bytes, bytes_max, scope) = (refused.bytes, refused.bytes_max, refused.scope);
        return MapperFault::Memory {
            bytes,
            bytes_max,
            scope,
        };
    }
    if let Some(exceeded) = state.deadline.exceeded() {
        let deadline_ms = u64::try_from(exceeded.deadline.as_millis()).unwrap_or(u64::MAX);
        return MapperFault::Deadline {
            deadline_ms,
            is_cpu_time: exceeded.is_cpu_time,
        };
    }
    // wasmtime keeps the type of this error to itself.
    if error
        .root_cause()
        .to_string()
        .contains("fuel allocated for hostcalls")
    {
        let detail = "more bytes for one event than plugins.output-max allows".to_owned();
        return MapperFault::OutputTooLarge { detail };
    }
    MapperFault::Trap {
        detail: report(error, state),
    }
}

/// The plugin's last words, the reason and where it happened, on one line.
fn report(error: &wasmtime::Error, state: &HostState) -> String {
    let mut parts: Vec<String> = state.output.last_line().into_iter().collect();
    let reason = error.root_cause().to_string();
    let place = error.to_string();
    parts.push(reason.clone());
    if place != reason {
        parts.extend(place.lines().map(|line| line.trim().to_owned()));
    }
    cut(&parts.join("; "), DETAIL_BYTES_MAX).to_owned()
}

#[cfg(test)]
mod tests {
    use super::{MapperFault, MemoryScope};

    #[test]
    fn only_what_the_host_lacked_may_be_load() {
        let deadline = |is_cpu_time| MapperFault::Deadline {
            deadline_ms: 10,
            is_cpu_time,
        };
        let memory = |scope| MapperFault::Memory {
            bytes: 2,
            bytes_max: 1,
            scope,
        };
        assert!(deadline(false).may_be_load());
        assert!(!deadline(true).may_be_load());
        assert!(memory(MemoryScope::Host).may_be_load());
        assert!(!memory(MemoryScope::Instance).may_be_load());
    }
}
