//! The sums of the counts hold whenever somebody looks, and for ever.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use domain::IncarnationId;
use store::Outcome;

use super::{Host, assert_all_sums};

const ONE: IncarnationId = IncarnationId(1);
const TWO: IncarnationId = IncarnationId(2);

/// Connects clients of both rules and of no rule, and closes them, until told to stop. Returns what
/// it saw: accepted and refused CONNECTs, closing events, and those that no rule wants.
fn load(host: &Host, thread: usize, is_over: &AtomicBool) -> [u64; 3] {
    let [mut matched, mut refused, mut unmatched] = [0; 3];
    for round in 0_u64.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let group = ["GID_rule1", "GID_rule2", "GID_none"][usize::try_from(round % 3).unwrap()];
        match host.connect(&format!("{group}@@@{thread}-{}", round % 50)) {
            Ok(channel) => {
                let is_matched = channel.ticket.incarnation.is_some();
                channel.close();
                *(if is_matched {
                    &mut matched
                } else {
                    &mut unmatched
                }) += 2;
            }
            Err(_) => refused += 1,
        }
    }
    [matched, refused, unmatched]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sums_hold_at_every_moment_under_load() {
    // A share of about 100 channels: the limit is reached again and again.
    let host = Host::start_with(2, |config| {
        config.outbox_bytes_max = 200_000;
        config.rule_share = 0.4;
    })
    .await;
    let is_over = AtomicBool::new(false);
    let seen = thread::scope(|scope| {
        let loads: Vec<_> = (0..3)
            .map(|number| {
                scope.spawn({
                    let (host, is_over) = (&host, &is_over);
                    move || load(host, number, is_over)
                })
            })
            .collect();
        scope.spawn(|| {
            let outcomes = [Outcome::Delivered, Outcome::Skipped, Outcome::Expired];
            for outcome in outcomes.iter().cycle() {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                host.settle(ONE, outcome);
                host.settle(TWO, outcome);
                thread::yield_now();
            }
        });
        let mut last = host.status();
        for _ in 0..3_000 {
            let status = host.status();
            assert_all_sums(&status);
            let of_rules: u64 = status.rules.iter().map(|rule| rule.events.recorded).sum();
            assert_eq!(status.events.recorded, of_rules);
            assert!(
                status.events.observed >= last.events.observed,
                "counts never shrink"
            );
            last = status;
        }
        is_over.store(true, Ordering::Relaxed);
        let seen = loads.into_iter().map(|load| load.join().unwrap());
        seen.fold([0; 3], |sum, it| {
            [sum[0] + it[0], sum[1] + it[1], sum[2] + it[2]]
        })
    });
    host.committed().await;
    // What was counted is what the clients saw.
    let counts = host.status().events;
    let [matched, refused, unmatched] = seen;
    assert_eq!(
        [counts.recorded, counts.refused, counts.unmatched],
        [matched, refused, unmatched]
    );
    assert!(refused > 0, "the share was never full");
    let types: u64 = host.observed.recorded().iter().sum();
    assert_eq!(types, counts.recorded);
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_of_the_outbox_are_for_ever_and_those_of_the_recorder_since_start() {
    let host = Host::start(1).await;
    host.connect("GID_rule1@@@a").unwrap().close();
    let _open = host.connect("GID_rule1@@@b").unwrap();
    host.connect("GID_none@@@c").unwrap().close();
    host.committed().await;
    host.settle(ONE, &Outcome::Delivered);
    host.until("delivered", |status| status.events.delivered == 3)
        .await;
    let host = host.restart().await;
    // The open channel got its closing event, which nobody observed.
    let status = host.status();
    assert_all_sums(&status);
    let counts = status.events;
    assert_eq!(
        (counts.recorded, counts.delivered, counts.pending),
        (4, 3, 1)
    );
    assert_eq!((counts.observed, counts.recorded_since_start), (0, 0));
    host.connect("GID_rule1@@@d").unwrap().close();
    host.committed().await;
    let status = host.status();
    assert_all_sums(&status);
    assert_eq!(status.rules[0].events.observed, 2);
    assert_eq!(status.events.recorded, 6);
}
