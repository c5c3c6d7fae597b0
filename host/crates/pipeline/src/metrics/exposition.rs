//! What is counted elsewhere, as OpenMetrics text: the names and the order of the series.

use std::fmt::Write as _;
use std::time::Duration;

use domain::{EventType, RuleId};
use plugin_runtime::FunctionStats;
use store::OutboxStats;

use crate::view::{EventCounts, PipelineStatus};

/// Events of one type since start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TypeCounts {
    pub(crate) event_type: EventType,
    pub(crate) recorded: u64,
    pub(crate) unmatched: u64,
    pub(crate) refused: u64,
}

/// Everything that is counted elsewhere, at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) types: Vec<TypeCounts>,
    pub(crate) status: PipelineStatus,
    pub(crate) outbox: OutboxStats,
    /// Readers of live events, and events that readers missed.
    pub(crate) live: (usize, u64),
    /// Of each rule those of its plugin, by name.
    pub(crate) plugin_counters: Vec<(RuleId, Vec<(String, u64)>)>,
    /// Of each rule the log lines of its plugin that were too many.
    pub(crate) plugin_lines_dropped: Vec<(RuleId, u64)>,
    pub(crate) compiled_functions: FunctionStats,
}

type Pick = fn(&EventCounts) -> u64;

/// Counters of a rule: those from the outbox are for ever.
const RULE_COUNTERS: [(&str, Pick); 9] = [
    ("matched", |it| it.matched),
    ("recorded", |it| it.recorded),
    ("refused", |it| it.refused),
    ("replayed", |it| it.replayed),
    ("delivered", |it| it.delivered),
    ("skipped", |it| it.skipped),
    ("buried", |it| it.buried),
    ("expired", |it| it.expired),
    ("discarded", |it| it.discarded),
];

/// Counters of all rules that ever were.
const TOTAL_COUNTERS: [(&str, Pick); 7] = [
    ("recorded", |it| it.recorded),
    ("replayed", |it| it.replayed),
    ("delivered", |it| it.delivered),
    ("skipped", |it| it.skipped),
    ("buried", |it| it.buried),
    ("expired", |it| it.expired),
    ("discarded", |it| it.discarded),
];

// Writing to a String cannot fail; the results are about other writers.
macro_rules! line {
    ($text:expr, $($part:tt)*) => {{ let _: std::fmt::Result = writeln!($text, $($part)*); }};
}

pub(super) fn write(text: &mut String, snapshot: &Snapshot) {
    status_events(text, &snapshot.types);
    rule_events(text, &snapshot.status);
    total_events(text, &snapshot.status.events);
    outbox_state(text, snapshot);
    plugin_counters(text, snapshot);
    plugin_lines(text, snapshot);
    compiled_functions(text, snapshot.compiled_functions);
    live_readers(text, snapshot.live);
}

fn live_readers(text: &mut String, (readers, missed): (usize, u64)) {
    let name = "rulemill_live_event_readers";
    line!(text, "# TYPE {name} gauge\n{name} {readers}");
    let name = "rulemill_live_events_missed";
    line!(text, "# TYPE {name} counter\n{name}_total {missed}");
}

/// At most 32 of a rule. They begin anew with each generation, so they are gauges.
fn plugin_counters(text: &mut String, snapshot: &Snapshot) {
    line!(text, "# TYPE rulemill_plugin_counter gauge");
    for (rule_id, counters) in &snapshot.plugin_counters {
        for (name, value) in counters {
            let name = escaped(name);
            line!(
                text,
                "rulemill_plugin_counter{{rule_id=\"{rule_id}\",name=\"{name}\"}} {value}"
            );
        }
    }
}

/// They begin anew with each generation, as a counter may.
fn plugin_lines(text: &mut String, snapshot: &Snapshot) {
    let name = "rulemill_plugin_log_lines_dropped";
    line!(text, "# TYPE {name} counter");
    for (rule_id, dropped) in &snapshot.plugin_lines_dropped {
        line!(text, "{name}_total{{rule_id=\"{rule_id}\"}} {dropped}");
    }
}

fn compiled_functions(text: &mut String, functions: FunctionStats) {
    let name = "rulemill_plugin_functions";
    line!(text, "# TYPE {name} counter");
    for (outcome, count) in [
        ("compiled", functions.compiled),
        ("reused", functions.reused),
    ] {
        line!(text, "{name}_total{{outcome=\"{outcome}\"}} {count}");
    }
    for (what, bytes) in [
        ("bytes", functions.kept_bytes),
        ("bytes_max", functions.kept_bytes_max),
    ] {
        line!(text, "# TYPE {name}_{what} gauge\n{name}_{what} {bytes}");
    }
}

/// What a plugin says, as the value of a label: it must not end the line or the label.
fn escaped(name: &str) -> String {
    let clean = name.chars().map(|c| if c.is_control() { ' ' } else { c });
    let clean: String = clean.collect();
    clean.replace('\\', "\\\\").replace('"', "\\\"")
}

fn status_events(text: &mut String, types: &[TypeCounts]) {
    type PickType = fn(&TypeCounts) -> u64;
    let counters: [(&str, PickType); 5] = [
        ("observed", |it| it.recorded + it.unmatched + it.refused),
        ("matched", |it| it.recorded + it.refused),
        ("unmatched", |it| it.unmatched),
        ("recorded", |it| it.recorded),
        ("refused", |it| it.refused),
    ];
    for (counter, pick) in counters {
        let name = format!("rulemill_status_events_{counter}");
        line!(text, "# TYPE {name} counter");
        for counts in types {
            let event_type = counts.event_type.as_str();
            let count = pick(counts);
            line!(text, "{name}_total{{event_type=\"{event_type}\"}} {count}");
        }
    }
}

fn rule_events(text: &mut String, status: &PipelineStatus) {
    for (counter, pick) in RULE_COUNTERS {
        let name = format!("rulemill_rule_events_{counter}");
        line!(text, "# TYPE {name} counter");
        for rule in &status.rules {
            let (rule_id, count) = (&rule.rule_id, pick(&rule.events));
            line!(text, "{name}_total{{rule_id=\"{rule_id}\"}} {count}");
        }
    }
    // A deleted rule has a series for as long as it has events.
    let deleted = || {
        let known = status.draining.iter();
        known.filter_map(|it| Some((it.rule_id.as_ref()?, it.pending, it.pending_bytes)))
    };
    let pending = || {
        let rules = status.rules.iter();
        let rules = rules.map(|it| (&it.rule_id, it.events.pending, it.pending_bytes));
        rules.chain(deleted())
    };
    line!(text, "# TYPE rulemill_rule_events_pending gauge");
    for (rule_id, count, _) in pending() {
        line!(
            text,
            "rulemill_rule_events_pending{{rule_id=\"{rule_id}\"}} {count}"
        );
    }
    line!(text, "# TYPE rulemill_rule_pending_bytes gauge");
    for (rule_id, _, bytes) in pending() {
        line!(
            text,
            "rulemill_rule_pending_bytes{{rule_id=\"{rule_id}\"}} {bytes}"
        );
    }
}

fn total_events(text: &mut String, events: &EventCounts) {
    for (counter, pick) in TOTAL_COUNTERS {
        let name = format!("rulemill_outbox_events_{counter}");
        let count = pick(events);
        line!(text, "# TYPE {name} counter\n{name}_total {count}");
    }
    let pending = events.pending;
    line!(text, "# TYPE rulemill_outbox_events_pending gauge");
    line!(text, "rulemill_outbox_events_pending {pending}");
}

fn outbox_state(text: &mut String, snapshot: &Snapshot) {
    let (outbox, view) = (&snapshot.outbox, &snapshot.status.outbox);
    let oldest = Duration::from_millis(view.oldest_ms).as_secs_f64();
    line!(text, "# TYPE rulemill_outbox_oldest_seconds gauge");
    line!(text, "rulemill_outbox_oldest_seconds {oldest}");
    let gauges = [
        ("bytes", outbox.bytes),
        ("bytes_max", view.bytes_max),
        ("share_bytes_max", view.share_bytes_max),
        ("reserved_bytes", outbox.reserved_bytes),
        ("uncommitted_events", outbox.uncommitted),
        ("dead_letters", outbox.dead_letters),
        ("dead_letter_bytes", outbox.dead_letter_bytes),
        ("dead_letter_bytes_max", view.dead_letter_bytes_max),
        ("file_bytes", outbox.file_bytes),
        ("failed", u64::from(outbox.failed)),
    ];
    for (name, value) in gauges {
        let name = format!("rulemill_outbox_{name}");
        line!(text, "# TYPE {name} gauge\n{name} {value}");
    }
    let counters = [
        ("commits", outbox.commits),
        ("commit_failures", outbox.commit_failures),
        ("damaged_events", outbox.damaged_events),
        ("unmatched_events", outbox.unmatched_events),
        ("late_events", outbox.late_events),
        ("unknown_settlements", outbox.unknown_settlements),
        ("compactions", outbox.compactions),
        ("clock_steps_back", outbox.clock_steps),
    ];
    for (name, count) in counters {
        let name = format!("rulemill_outbox_{name}");
        line!(text, "# TYPE {name} counter\n{name}_total {count}");
    }
}
