//! Sequences, times and ids of events. Neither sequence nor time ever goes back.
//!
//! A new process goes on after the larger of two numbers: the largest sequence in the file, and the
//! wall clock in 1/2048 of a millisecond. So it is ahead of whatever a process before it gave,
//! also when the file is an older copy, as long as fewer than two million events a second were
//! recorded. The promise ends where both fail together: an older copy and a clock set back.
//! Times have the largest stored time as their floor, and with an older copy the clock alone.

use std::sync::Arc;

use domain::{ChannelFacts, CloseReason, EventId, EventType, Sequence, StatusEvent, Synthetic};

/// Sequences stay exact where numbers are doubles.
const SEQUENCE_MAX: u64 = (1 << 53) - 1;

/// Sequences a millisecond: from 2109 on, the clock's number would exceed [`SEQUENCE_MAX`].
const SEQUENCES_PER_MS: u64 = 2048;

/// A clock this far behind the largest time given was set back.
const CLOCK_STEP_MS: u64 = 1000;

/// What an event is, beside its stamp and its channel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventKind {
    pub(crate) event_type: EventType,
    pub(crate) reason: Option<CloseReason>,
    pub(crate) synthetic: Option<Synthetic>,
    /// `None`: now.
    pub(crate) connected_at_ms: Option<u64>,
}

/// Gives sequence, time and id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamper {
    /// The largest sequence given.
    sequence: u64,
    /// The largest time given, UNIX milliseconds.
    time_ms: u64,
    /// The clock is behind `time_ms`.
    is_behind: bool,
    /// How often it fell behind since the start.
    clock_steps: u64,
}

impl Stamper {
    /// Goes on after the largest stored sequence and time.
    pub(crate) fn after(sequence: u64, time_ms: u64, now_ms: u64) -> Self {
        // A clock beyond all reason must not use the numbers up.
        let of_clock = now_ms
            .checked_mul(SEQUENCES_PER_MS)
            .filter(|sequence| *sequence <= SEQUENCE_MAX);
        let mut stamper = Self {
            sequence: sequence.max(of_clock.unwrap_or(0)),
            time_ms,
            is_behind: false,
            clock_steps: 0,
        };
        stamper.observe(now_ms);
        stamper
    }

    pub(crate) fn clock_steps(&self) -> u64 {
        self.clock_steps
    }

    pub(crate) fn stamp(
        &mut self,
        now_ms: u64,
        channel: &Arc<ChannelFacts>,
        kind: EventKind,
    ) -> StatusEvent {
        let (sequence, time_ms) = self.next(now_ms);
        StatusEvent {
            event_id: EventId::at(time_ms),
            event_type: kind.event_type,
            time_ms,
            sequence,
            reason: kind.reason,
            synthetic: kind.synthetic,
            connected_at_ms: kind.connected_at_ms.unwrap_or(time_ms),
            channel: Arc::clone(channel),
        }
    }

    /// The next sequence, and the time that goes with it.
    pub(crate) fn next(&mut self, now_ms: u64) -> (Sequence, u64) {
        self.observe(now_ms);
        self.sequence += 1;
        self.time_ms = self.time_ms.max(now_ms);
        (Sequence(self.sequence), self.time_ms)
    }

    /// Logs that the clock was set back, and that it caught up, once each.
    fn observe(&mut self, now_ms: u64) {
        let behind_ms = self.time_ms.saturating_sub(now_ms);
        if self.is_behind && behind_ms == 0 {
            self.is_behind = false;
            tracing::info!("clock caught up with the events");
        } else if !self.is_behind && behind_ms > CLOCK_STEP_MS {
            self.is_behind = true;
            self.clock_steps += 1;
            tracing::warn!(
                behind_ms,
                "clock was set back: events get the last time given until it catches up"
            );
        }
    }
}

#[cfg(test)]
mod tests;
