//! Random schedules of faults with fixed seeds.

use acceptance::chaos::{self, Backend, Kind};
use acceptance::{figures, scale};
use anyhow::Result;

/// Seeds of the run in full size: these from 1 on, on each RocketMQ. The small one takes the first.
const SEEDS: u64 = 100;
const SEEDS_SMALL: u64 = 3;
/// Seeds that found a mistake of the host or of this kit, which is mended.
const FOUND: [u64; 0] = [];
/// An embedded RocketMQ is replaced after so many schedules, so that its files do not fill the disk.
const SCHEDULES_PER_BACKEND: usize = 25;

pub(crate) fn schedules(kind: Kind) -> Result<()> {
    let last = scale::pick(SEEDS_SMALL, SEEDS);
    let seeds: Vec<u64> = (1..=last).chain(FOUND).collect();
    let (mut events, mut repeated, mut lost, mut slowest) = (0, 0, 0, 0);
    for seeds in seeds.chunks(SCHEDULES_PER_BACKEND) {
        let mut backend = Backend::start(kind)?;
        for seed in seeds {
            figures::say("chaos", &format!("seed {seed} on {} begins", kind.name()));
            let report = chaos::run(*seed, &mut backend)?;
            events += report.events;
            repeated += report.repeated;
            lost += report.lost_uncommitted;
            slowest = slowest.max(report.elapsed.as_millis());
        }
    }
    figures::say(
        &format!("chaos on {}", kind.name()),
        &format!(
            "seeds {seeds:?}: {events} events, {repeated} repeated, {lost} connections lost before their commit, \
             the slowest took {slowest} ms"
        ),
    );
    Ok(())
}
