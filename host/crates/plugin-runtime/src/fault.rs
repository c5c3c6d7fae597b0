//! How a plugin misbehaves. A rejection is no fault. Each kind has its entry in
//! `host/manual/faults.md`.

mod fingerprint;
mod parts;
mod place;

use std::fmt;

use domain::CheckMessageError;
use wasmtime::{PoolConcurrencyLimitError, Trap};

use crate::exports::SelectionRefused;
use crate::plain_text::plain;
use crate::pool;
use crate::sandbox::HostState;

pub(crate) use fingerprint::fingerprint;
pub use parts::CountedPart;
use place::place;

/// A trap's report is cut to this many bytes: it is stored with dead letters.
const DETAIL_BYTES_MAX: usize = 2048;
/// Of a longer text the log has only the beginning, bytes.
const BRIEF_BYTES_MAX: usize = 470;

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

impl MemoryScope {
    fn subject(self) -> &'static str {
        match self {
            Self::Instance => "the plugin's memory",
            Self::Host => "the memory of all plugins",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Instance => {
                "keep less in memory, or raise the limit: mapping.limits.memoryBytesMax where the rule has one, else plugins.memory"
            }
            Self::Host => {
                "the host has no more memory for plugins: raise plugins.memory-total, or lower the limits of its rules"
            }
        }
    }
}

/// What the plugin was called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallPhase {
    /// Instantiation and `init`.
    Init,
    /// `map-event`.
    MapEvent,
}

impl fmt::Display for CallPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Init => "for its start and init",
            Self::MapEvent => "for one event",
        })
    }
}

impl CallPhase {
    fn work(self) -> &'static str {
        match self {
            Self::Init => "in init",
            Self::MapEvent => "for an event",
        }
    }

    fn deadline(self) -> &'static str {
        match self {
            Self::Init => "plugins.init-deadline",
            Self::MapEvent => {
                "mapping.limits.callDeadlineMs where the rule has one, else plugins.call-deadline"
            }
        }
    }
}

fn missed(deadline_ms: u64, is_cpu_time: bool, phase: CallPhase, place: &str) -> String {
    let limit = phase.deadline();
    if is_cpu_time {
        let work = phase.work();
        return format!(
            "the plugin exceeded its deadline of {deadline_ms} ms of CPU time {phase}{place}; do less {work}, or raise the limit: {limit}"
        );
    }
    format!(
        "the plugin did not get its {deadline_ms} ms of CPU time {phase} within ten times as long{place}: the machine is busy; \
         give it less to do, or raise the limit: {limit}"
    )
}

/// The plugin misbehaved on an event, or the host did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapperFault {
    /// It trapped: a panic, an exception, an illegal access, or an answer that is none.
    #[error("the plugin trapped: {detail}; mend the plugin and push it again")]
    Trap {
        /// Its panic or its last line of standard error, the reason, where it was, and the event's fingerprint.
        detail: String,
    },
    /// It took too long.
    #[error("{}", missed(*.deadline_ms, *.is_cpu_time, *.phase, .place))]
    Deadline {
        /// The deadline, milliseconds of CPU time.
        deadline_ms: u64,
        /// Whether it used that much, or the thread got too little of the machine.
        is_cpu_time: bool,
        /// Which deadline.
        phase: CallPhase,
        /// Where it was then; empty if that is not known.
        place: String,
    },
    /// It wanted too much memory.
    #[error(
        "{} would be {bytes} bytes; the limit of {scope} is {bytes_max}; {}",
        .scope.subject(),
        .scope.remedy()
    )]
    Memory {
        /// What it would have been.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
        /// Whose limit.
        scope: MemoryScope,
    },
    /// The host has as many instances as it can have at once.
    #[error(
        "the host has no place for one more instance of a plugin: it has {places} memories at once, and three tables \
         for each; raise plugins.memory-total, of which each 512 KiB are a place, up to {}; where the log says that the system \
         reserves little address space, raise the host's limit of it (ulimit -v, LimitAS= of systemd)",
        pool::PLACES_MAX
    )]
    NoPlace {
        /// Memories of all instances together.
        places: u32,
    },
    /// It made more than it may for one event.
    #[error("the plugin made too much output: {detail}")]
    OutputTooLarge {
        /// What was too much, and what allows more.
        detail: String,
    },
    /// A new instance did not start.
    #[error("the plugin does not start: {detail}; mend the plugin or the rule's mapping.config")]
    Init {
        /// What the plugin or the sandbox said.
        detail: String,
    },
    /// Its component is made of too many parts to start.
    #[error(
        "the plugin does not start: {} count too high: its component makes at least {count} {part}, the limit is {}; \
         {}, and push it again",
        .part.name(),
        .part.count_max(),
        .part.remedy()
    )]
    TooManyParts {
        /// What there is too much of.
        part: CountedPart,
        /// How many there were when it was stopped.
        count: usize,
    },
    /// It made a message that RocketMQ would refuse.
    #[error(
        "the plugin made a message that RocketMQ would refuse: {}; correct the message, or let map-event reject the event",
        plain(&.0.to_string(), DETAIL_BYTES_MAX)
    )]
    IllegalMessage(CheckMessageError),
    /// The thread that called it is gone: a bug of the host.
    #[error(
        "the host failed while this event was mapped, which is no fault of the plugin: see \"panicked\" in the host's log, and report it"
    )]
    HostFailed,
}

impl MapperFault {
    /// All kinds, as [`MapperFault::kind`] names them.
    pub const KINDS: [&'static str; 6] = [
        "trap",
        "deadline",
        "memory",
        "output_too_large",
        "init",
        "illegal_message",
    ];

    /// The variant, for metric labels.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        let [trap, deadline, memory, output, init, message] = Self::KINDS;
        match self {
            Self::Trap { .. } | Self::HostFailed => trap,
            Self::Deadline { .. } => deadline,
            Self::Memory { .. } | Self::NoPlace { .. } => memory,
            Self::OutputTooLarge { .. } => output,
            Self::Init { .. } | Self::TooManyParts { .. } => init,
            Self::IllegalMessage(_) => message,
        }
    }

    /// The same for one line of the log: 500 bytes at most. The whole goes to whoever asks the API.
    #[must_use]
    pub fn brief(&self) -> String {
        plain(&self.to_string(), BRIEF_BYTES_MAX)
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
            }
            | Self::NoPlace { .. } => true,
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
            | Self::TooManyParts { .. }
            | Self::IllegalMessage(_)
            | Self::HostFailed => false,
        }
    }
}

/// What a failed call was stopped for. The sandbox notes its own reasons; everything else is a trap.
pub(crate) fn classify(
    error: &wasmtime::Error,
    state: &HostState,
    phase: CallPhase,
) -> MapperFault {
    if error.is::<PoolConcurrencyLimitError>() {
        let places = state.memory.places();
        return MapperFault::NoPlace { places };
    }
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
            phase,
            place: place(error).map_or_else(String::new, |place| format!(", {place}")),
        };
    }
    if let Some(refused) = error.downcast_ref::<SelectionRefused>() {
        let detail = refused.to_string();
        return MapperFault::Init { detail };
    }
    let reason = error.root_cause().to_string();
    if let Some((part, count)) = CountedPart::exceeded(&reason) {
        return MapperFault::TooManyParts { part, count };
    }
    // wasmtime keeps the type of this error to itself.
    if reason.contains("fuel allocated for hostcalls") {
        let detail = format!(
            "it passed more than {} bytes to the host at once, in an answer, a reason or a log line; make it smaller, \
             or raise plugins.output-max",
            state.passed_bytes_max
        );
        return MapperFault::OutputTooLarge { detail };
    }
    MapperFault::Trap {
        detail: report(error, state),
    }
}

/// The plugin's last words, the reason and where it happened, on one line.
fn report(error: &wasmtime::Error, state: &HostState) -> String {
    let output = state.output.last_words();
    let logged = Some(&state.last_error).filter(|line| !line.is_empty());
    // A panic is the very reason; an error that was logged before it may be another matter.
    let said = output.panic.or_else(|| logged.cloned()).or(output.line);
    let mut parts: Vec<String> = said.into_iter().collect();
    let place = place(error);
    let reason = explained(error.root_cause().to_string());
    // What is wrong with a value is found by the host, without any code of the plugin running.
    let is_value = place.is_none() && error.downcast_ref::<Trap>().is_none();
    parts.push(if is_value {
        format!("what it passed to the host is no value of the contract ({reason})")
    } else {
        reason
    });
    parts.extend(place);
    plain(&parts.join("; "), DETAIL_BYTES_MAX)
}

/// What the engine says, with the limit where it leaves that out.
fn explained(reason: String) -> String {
    let limit = if reason.contains("call stack exhausted") {
        "it has 512 KiB"
    } else if reason.contains("resource table has no free keys") {
        "a plugin has 1,024 handles of WASI at once, so close what is not needed"
    } else {
        return reason;
    };
    format!("{reason}: {limit}")
}

#[cfg(test)]
mod tests;
