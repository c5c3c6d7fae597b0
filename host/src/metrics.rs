//! `/metrics`: the pipeline's text and the broker's counters, as one OpenMetrics document.

use std::fmt::Write as _;

use broker::StatsSnapshot;

/// Joins both and ends the document.
pub(crate) fn render(pipeline: String, broker: &StatsSnapshot) -> String {
    let mut text = pipeline;
    // Writing to a String cannot fail.
    let _: std::fmt::Result = write(&mut text, broker);
    text.push_str("# EOF\n");
    text
}

fn write(text: &mut String, broker: &StatsSnapshot) -> std::fmt::Result {
    writeln!(text, "# TYPE rulemill_connections_opened counter")?;
    for (listener, count) in &broker.opened {
        writeln!(
            text,
            "rulemill_connections_opened_total{{listener=\"{listener}\"}} {count}"
        )?;
    }
    writeln!(text, "# TYPE rulemill_connections_closed counter")?;
    for (reason, count) in &broker.closed {
        writeln!(
            text,
            "rulemill_connections_closed_total{{reason=\"{}\"}} {count}",
            reason.as_str()
        )?;
    }
    writeln!(
        text,
        "# TYPE rulemill_connections gauge\nrulemill_connections {}",
        broker.online
    )?;
    writeln!(text, "# TYPE rulemill_connects_refused counter")?;
    for (reason, count) in &broker.refused {
        writeln!(
            text,
            "rulemill_connects_refused_total{{reason=\"{}\"}} {count}",
            reason.as_str()
        )?;
    }
    let refused = broker.refused.iter().map(|(_, count)| count).sum();
    let counters = [
        ("connections_refused", refused),
        ("messages_received", broker.messages_received),
        ("messages_queued", broker.messages_queued),
        ("messages_dropped", broker.messages_dropped),
        ("retained_refused", broker.retained_refused),
        ("clients_forgotten", broker.clients_forgotten),
    ];
    for (name, count) in counters {
        writeln!(
            text,
            "# TYPE rulemill_{name} counter\nrulemill_{name}_total {count}"
        )?;
    }
    Ok(())
}
