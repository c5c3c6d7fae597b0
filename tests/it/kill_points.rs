//! A host that kills itself at the worst moments: after each, the promises hold, and only what may be lost or repeated is.

use acceptance::chaos::{self, Backend, Kind};
use acceptance::{figures, scale};
use anyhow::Result;

/// In the full size, one round of so many dies between two transactions of a large recovery.
const LARGE_EVERY: u64 = 10;

pub(crate) fn rounds(point: &str) -> Result<()> {
    let rounds: u64 = scale::pick(2, 50);
    let backend = Backend::start(Kind::Embedded)?;
    let (mut events, mut repeated, mut lost) = (0, 0, 0);
    for round in 0..rounds {
        let is_large = scale::pick(false, round % LARGE_EVERY == LARGE_EVERY - 1);
        let report = chaos::kill_at(point, round, is_large, &backend)?;
        events += report.events;
        repeated += report.repeated;
        lost += report.lost_uncommitted;
    }
    figures::say(
        &format!("kill -9 at {point}"),
        &format!(
            "{rounds} rounds, {events} events, {repeated} repeated, {lost} connections lost before their commit"
        ),
    );
    Ok(())
}
