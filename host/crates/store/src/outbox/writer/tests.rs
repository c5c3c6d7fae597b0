//! What the writer does next.

use super::super::tests::{Bench, channel, connect, pending, settlement, wait_committed};
use super::*;

#[test]
fn settlements_are_confirmed_every_second_although_more_keep_coming() {
    let bench = Bench::new();
    let (outbox, _) = bench.open();
    connect(&outbox, IncarnationId(1), &channel(1));
    wait_committed(&outbox);
    let events = pending(&outbox, IncarnationId(1));
    let mut writer = Writer::new(Arc::clone(&outbox.shared), Box::new(|_| {}), 0);
    let mut intake = Intake::new(outbox.shared.intake.lock().stamper, [].into());
    let one = settlement(&events[0], Outcome::Delivered);
    intake.settlements = vec![one; SETTLEMENTS_MIN];
    let now = Instant::now();
    let next = |writer: &Writer, since| match writer.step(&intake, now + since) {
        Step::Write(durable) => durable,
        Step::Wait(_) | Step::End => panic!("it has to write"),
    };
    assert!(
        !next(&writer, Duration::ZERO),
        "the disk need not confirm each"
    );
    writer.unsaved_since = Some(now);
    assert!(!next(&writer, UNSAVED_WAIT / 2));
    assert!(next(&writer, UNSAVED_WAIT));
}
