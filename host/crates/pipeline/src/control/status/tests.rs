//! How counts for ever become counts since start.

use store::{IncarnationCounts, OutboxCounts};

use super::{Baseline, events, total};
use crate::intent::Intent;

#[test]
fn counts_since_start_leave_out_what_earlier_runs_recorded() {
    let counts = IncarnationCounts {
        recorded: 10,
        delivered: 7,
        pending: 3,
        ..IncarnationCounts::default()
    };
    let before = OutboxCounts {
        forgotten: IncarnationCounts {
            recorded: 4,
            ..IncarnationCounts::default()
        },
        ..OutboxCounts::default()
    };
    let baseline = Baseline::new(&Intent::default(), &before);
    assert_eq!(baseline.total, total(&before).recorded);
    let events = events(&counts, baseline.total, 2, 5);
    assert_eq!(events.recorded_since_start, 6);
    assert_eq!(events.matched, events.recorded_since_start + events.refused);
    assert_eq!(events.observed, events.matched + events.unmatched);
    assert_eq!((events.observed, events.recorded), (13, 10));
}
