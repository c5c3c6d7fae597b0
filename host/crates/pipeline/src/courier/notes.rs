//! What a worker notes of a batch for the rule's samples. Of many events only the last ones are worth
//! the effort.

use std::collections::VecDeque;
use std::sync::Arc;

use store::{DeadLetterReason, Outcome, PendingEvent};

use super::CourierContext;
use super::delivery::{Fate, Parcel};
use super::mapping::Origin;
use crate::samples::{SAMPLES_MAX, Sample, SampleOutcome, cut};

/// A fault is shown with its beginning, bytes.
const FAULT_BYTES_MAX: usize = 512;

/// The last events of a batch, oldest first.
#[derive(Debug)]
pub(super) struct Notes {
    now_ms: u64,
    samples: VecDeque<Sample>,
    /// Events before the first of `samples`.
    passed: usize,
}

impl Notes {
    pub(super) fn new(now_ms: u64) -> Self {
        Self {
            now_ms,
            samples: VecDeque::new(),
            passed: 0,
        }
    }

    pub(super) fn add(&mut self, event: &PendingEvent, origin: &Origin, outcome: SampleOutcome) {
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
            self.passed += 1;
        }
        let fault = origin.fault.as_deref();
        self.samples.push_back(Sample {
            event: Arc::new(event.event.clone()),
            outcome,
            fault: fault.map(|fault| cut(fault, FAULT_BYTES_MAX)),
            plugin_version: origin.version,
            at_ms: self.now_ms,
        });
    }

    /// Notes an event that ended, if there is something to say of its end.
    pub(super) fn add_ended(&mut self, event: &PendingEvent, origin: &Origin, outcome: &Outcome) {
        let outcome = match outcome {
            Outcome::Skipped => SampleOutcome::skipped(None),
            Outcome::Buried(burial) => SampleOutcome::buried(burial.reason, &burial.detail),
            Outcome::Delivered | Outcome::Expired | Outcome::Discarded => return,
        };
        self.add(event, origin, outcome);
    }

    /// Notes events that are about to be sent, as if they were delivered.
    pub(super) fn expect(&mut self, parcels: &[Parcel]) {
        let passed = parcels.len().saturating_sub(SAMPLES_MAX);
        for parcel in parcels.iter().skip(passed) {
            let outcome = SampleOutcome::delivered(&parcel.messages);
            self.add(&parcel.event, &parcel.origin, outcome);
        }
        self.passed = passed;
    }

    /// Corrects what was expected. Events that go on waiting are left out.
    pub(super) fn delivered(&mut self, fates: &[Fate], now_ms: u64) {
        let samples = std::mem::take(&mut self.samples).into_iter();
        let fates = fates.iter().skip(self.passed);
        for (mut sample, fate) in samples.zip(fates) {
            sample.at_ms = now_ms;
            match fate {
                Fate::Stored => {}
                Fate::Refused(detail) => {
                    sample.outcome = SampleOutcome::buried(DeadLetterReason::Refused, detail);
                }
                Fate::Left | Fate::Expired | Fate::Discarded => continue,
            }
            self.samples.push_back(sample);
        }
    }

    /// Makes them samples of the courier's rule.
    pub(super) fn keep(self, context: &CourierContext) {
        context.samples.note(&context.rule_id, self.samples.into());
    }
}
