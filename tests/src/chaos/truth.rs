//! What really happened, as clients and operator know it, for the judge.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::eventually::now_ms;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It did not.
    Open,
    /// The client sent DISCONNECT and the host closed.
    Disconnected,
    /// The client sent DISCONNECT; whether the host read it is not known.
    Unsure,
    /// The client closed without a word.
    Lost,
    /// The client said nothing any more.
    Silent,
    /// By the client's next connection.
    TakenOver,
    /// The host closed: it died, it was stopped.
    ByHost,
}

/// One CONNECT.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) client_id: String,
    /// The client's own address, no other attempt of the schedule has it.
    pub(super) address: IpAddr,
    /// When CONNECT was sent, UNIX milliseconds.
    pub(super) asked_at: u64,
    /// When CONNACK accepted it.
    pub(super) accepted_at: Option<u64>,
    /// The code of a CONNACK that did not.
    pub(super) refused: Option<u8>,
    pub(super) end: End,
    pub(super) ended_at: Option<u64>,
}

/// From when to when, UNIX milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Span {
    pub(super) fn contains(self, at: u64) -> bool {
        (self.from..=self.to).contains(&at)
    }

    pub(super) fn overlaps(self, other: Self) -> bool {
        self.from <= other.to && other.from <= self.to
    }

    pub(super) fn covers(self, other: Self) -> bool {
        self.contains(other.from) && self.contains(other.to)
    }
}

/// What is certain of whether a rule matches.
#[derive(Clone, Debug, Default)]
pub(super) struct Matching {
    pub(super) certainly_on: Vec<Span>,
    pub(super) certainly_off: Vec<Span>,
}

impl Matching {
    /// Since `now_ms` on, or off, until a later call of [`Matching::unknown`].
    pub(super) fn known(&mut self, is_on: bool) {
        let span = Span {
            // Whatever began in the same millisecond may have been before it.
            from: now_ms() + 1,
            to: u64::MAX,
        };
        if is_on {
            self.certainly_on.push(span);
        } else {
            self.certainly_off.push(span);
        }
    }

    /// From now on it is not known.
    pub(super) fn unknown(&mut self) {
        // Whatever ends in the same millisecond may be after it.
        let last = now_ms().saturating_sub(1);
        for span in self.certainly_on.iter_mut().chain(&mut self.certainly_off) {
            span.to = span.to.min(last);
        }
    }
}

/// What clients write down while they play.
#[derive(Debug, Default)]
pub(super) struct Diary {
    attempts: Mutex<Vec<Attempt>>,
}

impl Diary {
    fn lock(&self) -> MutexGuard<'_, Vec<Attempt>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client is about to send CONNECT; returns the attempt's number.
    pub(super) fn asks(&self, client_id: &str, address: IpAddr) -> usize {
        let mut attempts = self.lock();
        attempts.push(Attempt {
            client_id: client_id.to_owned(),
            address,
            asked_at: now_ms(),
            accepted_at: None,
            refused: None,
            end: End::ByHost,
            ended_at: None,
        });
        attempts.len() - 1
    }

    pub(super) fn accepted(&self, number: usize) {
        if let Some(attempt) = self.lock().get_mut(number) {
            attempt.accepted_at = Some(now_ms());
            attempt.end = End::Open;
        }
    }

    pub(super) fn refused(&self, number: usize, code: u8) {
        if let Some(attempt) = self.lock().get_mut(number) {
            attempt.refused = Some(code);
        }
    }

    pub(super) fn ended(&self, number: usize, end: End) {
        if let Some(attempt) = self.lock().get_mut(number) {
            attempt.end = end;
            attempt.ended_at = Some(now_ms());
        }
    }

    /// Everything so far.
    pub(super) fn attempts(&self) -> Vec<Attempt> {
        self.lock().clone()
    }
}
