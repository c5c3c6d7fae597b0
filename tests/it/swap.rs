//! The mapping is swapped while clients storm in.

use std::time::Duration;

use acceptance::admin::{Admin, status_rule};
use acceptance::event::Format;
use acceptance::eventually::eventually;
use acceptance::host::{HostSpec, TestHost};
use acceptance::load::{Load, StormSpec};
use acceptance::oracle::{self, Verdict};
use acceptance::{reader, scale};
use anyhow::{Result, ensure};

pub(crate) fn under_storm(instance: &str) -> Result<()> {
    let (rate, seconds) = scale::pick((200, 6), (1000, 20));
    let host = TestHost::start(HostSpec::on(instance)?)?;
    let admin = host.admin()?;
    admin.create_rule(&status_rule("swap", "GID_Swap", instance, "TopicSwap"))?;
    admin.wait_for_health("swap", "running", Duration::from_secs(30))?;
    // Each client comes several times, before and after the swap.
    let storm = StormSpec {
        prefix: "GID_Swap@@@",
        rate,
        seconds,
        clients: rate,
    };
    let third = u64::from(rate * seconds);
    let connects = Load::under_storms(host.mqtt()?, &[storm], || swap_amid(&admin, third))?;
    admin.wait_until_delivered(Duration::from_secs(120))?;
    let events = usize::try_from(admin.events("recorded")?)?;
    let deadline = Duration::from_secs(120);
    let messages = reader::of(&host, instance, "TopicSwap", events, deadline)?;
    let verdict = oracle::judge(&messages)?;
    let counts = verdict.counts();
    ensure!(
        u64::try_from(counts.connect)? == connects,
        "{} connect events of {connects} connects",
        counts.connect
    );
    ensure!(counts.tcpclean == counts.connect, "{counts:?}");
    ensure!(
        counts.connect + counts.disconnect + counts.tcpclean == events,
        "{counts:?} of {events} recorded"
    );
    one_swap_per_client(&verdict)
}

/// Changes the mapping once `events` were delivered, and returns when as many more were.
fn swap_amid(admin: &Admin, events: u64) -> Result<()> {
    let more = |before: u64| {
        eventually("a part of the storm", Duration::from_secs(60), || {
            Ok((admin.events("delivered")? >= before + events).then_some(()))
        })
    };
    more(0)?;
    admin.edit_rule("swap", |rule| {
        if let Some(mapping) = rule.get_mut("mapping") {
            *mapping = serde_json::json!({ "plugin": "cloudevents" });
        }
    })?;
    more(admin.events("delivered")?)
}

fn one_swap_per_client(verdict: &Verdict) -> Result<()> {
    let mut swapped = 0_usize;
    for (client, events) in &verdict.clients {
        let formats: Vec<Format> = events.iter().map(|event| event.format).collect();
        let first_new = formats
            .iter()
            .position(|format| *format == Format::CloudEvents);
        let first_new = first_new.unwrap_or(formats.len());
        let rest = formats.get(first_new..).unwrap_or_default();
        ensure!(
            rest.iter().all(|format| *format == Format::CloudEvents),
            "{client} goes back: {formats:?}"
        );
        swapped += usize::from(first_new > 0 && first_new < formats.len());
    }
    ensure!(
        swapped > 0,
        "no client lived through the swap: the storm ended before it, or it came too early"
    );
    Ok(())
}
