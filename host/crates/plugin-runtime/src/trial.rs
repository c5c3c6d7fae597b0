//! One event through a plugin, for somebody who looks: nothing is kept and nothing is sent.

use std::sync::Arc;
use std::time::Duration;

use domain::StatusEvent;

use crate::cases::Answer;
use crate::fault::MapperFault;
use crate::guest_channel::GuestLine;
use crate::instance::{Instance, StartInstanceError};
use crate::mapper::{CompiledPlugin, Mapper, MapperSpec};
use crate::room::with_room;
use crate::runtime::{PluginRuntime, PrepareMapperError};

/// What a plugin did with one event.
#[derive(Clone, Debug)]
pub struct Trial {
    /// What it answered.
    pub answer: Answer,
    /// What it logged, from `init` on; the first hundred lines.
    pub lines: Vec<GuestLine>,
    /// Lines beyond them.
    pub lines_dropped: u64,
    /// The call of `map-event`.
    pub took: Duration,
    /// Linear memory afterwards, bytes; it never shrinks, so that is the most it had.
    pub memory_bytes: u64,
}

impl PluginRuntime {
    /// Maps one event in a throw-away instance. Blocks for `init` and one call, up to their deadlines.
    /// What the plugin logs is in the answer and not in the host's log.
    ///
    /// # Errors
    ///
    /// When `spec` asks for more than a rule may have.
    pub fn try_event(
        &self,
        plugin: &Arc<CompiledPlugin>,
        spec: MapperSpec,
        event: &StatusEvent,
    ) -> Result<Trial, PrepareMapperError> {
        let mapper = self.untried(plugin, spec)?;
        let _ticking = mapper.core.ticker.begin();
        let attempt = || {
            mapper.guest.record();
            Attempt::make(&mapper, event)
        };
        let Attempt {
            answer,
            took,
            memory_bytes,
        } = with_room(self.scheduler(), attempt, Attempt::fault);
        let (lines, lines_dropped) = mapper.guest.recorded();
        Ok(Trial {
            answer,
            lines,
            lines_dropped,
            took,
            memory_bytes,
        })
    }
}

/// What came of one event in an instance of its own.
pub(crate) struct Attempt {
    pub(crate) answer: Answer,
    /// The call of `map-event`.
    pub(crate) took: Duration,
    /// Linear memory afterwards, bytes.
    pub(crate) memory_bytes: u64,
}

impl Attempt {
    pub(crate) fn make(mapper: &Mapper, event: &StatusEvent) -> Self {
        let (mut took, mut memory_bytes) = (Duration::ZERO, 0);
        let answer = match Instance::start(mapper) {
            Ok(mut instance) => {
                let started = tokio::time::Instant::now();
                let answer = instance.map(mapper, event);
                took = started.elapsed();
                memory_bytes = instance.memory_bytes();
                answer.map_or_else(Answer::Fault, Answer::Mapped)
            }
            Err(StartInstanceError::Refused(reason)) => Answer::ConfigRefused(reason),
            Err(StartInstanceError::Fault(fault)) => Answer::Fault(fault),
        };
        Self {
            answer,
            took,
            memory_bytes,
        }
    }

    pub(crate) fn fault(&self) -> Option<&MapperFault> {
        match &self.answer {
            Answer::Fault(fault) => Some(fault),
            Answer::Mapped(_) | Answer::ConfigRefused(_) => None,
        }
    }
}
