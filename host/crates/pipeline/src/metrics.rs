//! What the pipeline counts and times, rendered as OpenMetrics text.

use std::fmt::Write as _;
use std::time::Duration;

use domain::{InstanceId, RuleId};
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use store::OutboxStats;

use crate::view::PipelineStatus;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabel {
    rule_id: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FaultLabels {
    rule_id: String,
    fault: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SendLabels {
    instance: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// The pipeline's live metrics. Label values are bounded by the limits on rules and instances.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    calls: Family<RuleLabel, Histogram, fn() -> Histogram>,
    faults: Family<FaultLabels, Counter>,
    deliveries: Family<RuleLabel, Histogram, fn() -> Histogram>,
    sends: Family<SendLabels, Counter>,
    swaps: Family<OutcomeLabel, Counter>,
    pub(crate) courier_restarts: Counter,
}

fn call_buckets() -> Histogram {
    // A warm call takes microseconds, a deadline is 10 ms by default.
    Histogram::new([
        1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 5e-4, 1e-3, 1e-2, 1e-1,
    ])
}

fn delivery_buckets() -> Histogram {
    Histogram::new([
        0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0,
    ])
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let calls = Family::new_with_constructor(call_buckets as fn() -> Histogram);
        let deliveries = Family::new_with_constructor(delivery_buckets as fn() -> Histogram);
        let faults = Family::default();
        let sends = Family::default();
        let swaps = Family::default();
        let courier_restarts = Counter::default();
        let mut registry = Registry::with_prefix("rulemill");
        registry.register(
            "mapper_call_seconds",
            "Time of one mapping, averaged over the batch it was in",
            calls.clone(),
        );
        registry.register("mapper_faults", "Faults of plugins", faults.clone());
        registry.register(
            "event_delivery_seconds",
            "From the event to its storage by RocketMQ",
            deliveries.clone(),
        );
        registry.register(
            "rocketmq_sends",
            "Batches offered to RocketMQ",
            sends.clone(),
        );
        registry.register("plugin_swaps", "Mappers that took over", swaps.clone());
        registry.register(
            "courier_restarts",
            "Couriers that were restarted after a panic",
            courier_restarts.clone(),
        );
        Self {
            registry: Mutex::new(registry),
            calls,
            faults,
            deliveries,
            sends,
            swaps,
            courier_restarts,
        }
    }

    pub(crate) fn mapped(&self, rule_id: &RuleId, elapsed: Duration, events: usize) {
        let events = u32::try_from(events.max(1)).unwrap_or(u32::MAX);
        let label = RuleLabel {
            rule_id: rule_id.to_string(),
        };
        self.calls
            .get_or_create(&label)
            .observe(elapsed.as_secs_f64() / f64::from(events));
    }

    pub(crate) fn faulted(&self, rule_id: &RuleId, fault: &'static str) {
        self.faults
            .get_or_create(&FaultLabels {
                rule_id: rule_id.to_string(),
                fault,
            })
            .inc();
    }

    /// The ages of the events of one batch: the rule is looked up once for all of them.
    pub(crate) fn delivered(&self, rule_id: &RuleId, ages_ms: &[u64]) {
        let label = RuleLabel {
            rule_id: rule_id.to_string(),
        };
        let deliveries = self.deliveries.get_or_create(&label);
        for age_ms in ages_ms {
            deliveries.observe(Duration::from_millis(*age_ms).as_secs_f64());
        }
    }

    pub(crate) fn sent(&self, instance: &InstanceId, outcome: &'static str) {
        self.sends
            .get_or_create(&SendLabels {
                instance: instance.to_string(),
                outcome,
            })
            .inc();
    }

    pub(crate) fn swapped(&self, outcome: &'static str) {
        self.swaps.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Everything as OpenMetrics text without its last line `# EOF`, since others add theirs;
    /// `status` holds what is counted elsewhere.
    pub(crate) fn render(
        &self,
        status: &PipelineStatus,
        outbox: &OutboxStats,
        observed: &[(&'static str, [u64; 4])],
    ) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail; the encoder's signature is about other writers.
        let _: std::fmt::Result = encode(&mut text, &self.registry.lock());
        let end = text.rfind("# EOF").unwrap_or(text.len());
        text.truncate(end);
        status_events(&mut text, observed);
        rule_events(&mut text, status);
        let oldest = Duration::from_millis(status.outbox_oldest_ms).as_secs_f64();
        outbox_state(&mut text, outbox, oldest);
        text
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge is a double; 2^53 bytes are enough"
)]
fn bytes_as_f64(bytes: u64) -> f64 {
    bytes as f64
}

fn status_events(text: &mut String, observed: &[(&'static str, [u64; 4])]) {
    let kinds = ["observed", "unmatched", "recorded", "refused"];
    for (index, kind) in kinds.into_iter().enumerate() {
        let name = format!("rulemill_status_events_{kind}");
        let _: std::fmt::Result = writeln!(text, "# TYPE {name} counter");
        for (event_type, counts) in observed {
            let count = counts.get(index).copied().unwrap_or(0);
            let _: std::fmt::Result =
                writeln!(text, "{name}_total{{event_type=\"{event_type}\"}} {count}");
        }
    }
}

fn rule_events(text: &mut String, status: &PipelineStatus) {
    type Pick = fn(&crate::view::EventCounts) -> u64;
    let columns: [(&str, &str, &str, Pick); 7] = [
        ("delivered", "_total", "counter", |it| it.delivered),
        ("skipped", "_total", "counter", |it| it.skipped),
        ("buried", "_total", "counter", |it| it.buried),
        ("expired", "_total", "counter", |it| it.expired),
        ("discarded", "_total", "counter", |it| it.discarded),
        ("replayed", "_total", "counter", |it| it.replayed),
        ("pending", "", "gauge", |it| it.pending),
    ];
    for (column, suffix, kind, pick) in columns {
        let name = format!("rulemill_rule_events_{column}");
        let _: std::fmt::Result = writeln!(text, "# TYPE {name} {kind}");
        for rule in &status.rules {
            let _: std::fmt::Result = writeln!(
                text,
                "{name}{suffix}{{rule_id=\"{}\"}} {}",
                rule.rule_id,
                pick(&rule.events)
            );
        }
    }
}

fn outbox_state(text: &mut String, outbox: &OutboxStats, oldest_seconds: f64) {
    let gauges = [
        ("bytes", bytes_as_f64(outbox.bytes)),
        ("reserved_bytes", bytes_as_f64(outbox.reserved_bytes)),
        ("oldest_seconds", oldest_seconds),
        ("uncommitted_events", bytes_as_f64(outbox.uncommitted)),
        ("dead_letters", bytes_as_f64(outbox.dead_letters)),
        ("dead_letter_bytes", bytes_as_f64(outbox.dead_letter_bytes)),
    ];
    for (name, value) in gauges {
        let name = format!("rulemill_outbox_{name}");
        let _: std::fmt::Result = writeln!(text, "# TYPE {name} gauge\n{name} {value}");
    }
    let counters = [
        ("commits", outbox.commits),
        ("commit_failures", outbox.commit_failures),
        ("damaged_events", outbox.damaged_events),
        ("dead_letters_dropped", outbox.dead_letters_dropped),
        ("unmatched_events", outbox.unmatched_events),
        ("late_events", outbox.late_events),
        ("unknown_settlements", outbox.unknown_settlements),
    ];
    for (name, count) in counters {
        let name = format!("rulemill_outbox_{name}");
        let _: std::fmt::Result = writeln!(text, "# TYPE {name} counter\n{name}_total {count}");
    }
}
