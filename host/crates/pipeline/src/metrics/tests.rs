//! The text of `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use domain::{EventType, InstanceId, RuleId};
use plugin_runtime::FunctionStats;
use store::OutboxStats;

use super::{Metrics, Snapshot, TypeCounts};
use crate::health::Health;
use crate::view::{DrainingStatus, EventCounts, OutboxView, PipelineStatus, RuleStatus};

fn snapshot() -> Snapshot {
    let events = EventCounts {
        matched: 5,
        recorded: 4,
        refused: 1,
        pending: 2,
        delivered: 2,
        ..EventCounts::default()
    };
    Snapshot {
        live: (1, 2),
        types: vec![TypeCounts {
            event_type: EventType::Connect,
            recorded: 4,
            unmatched: 3,
            refused: 1,
        }],
        status: PipelineStatus {
            events,
            outbox: OutboxView::default(),
            rules: vec![RuleStatus {
                rule_id: RuleId::parse("rule-1").unwrap(),
                health: Health::Running,
                reason: None,
                events,
                pending_bytes: 300,
            }],
            draining: vec![
                DrainingStatus {
                    rule_id: Some(RuleId::parse("deleted").unwrap()),
                    health: Health::Retrying,
                    reason: None,
                    pending: 5,
                    pending_bytes: 700,
                },
                DrainingStatus {
                    rule_id: None,
                    health: Health::Paused,
                    reason: None,
                    pending: 6,
                    pending_bytes: 800,
                },
            ],
        },
        outbox: OutboxStats::default(),
        plugin_counters: vec![(
            RuleId::parse("rule-1").unwrap(),
            vec![("a\"b\\c\n".to_owned(), 7)],
        )],
        plugin_lines_dropped: vec![(RuleId::parse("rule-1").unwrap(), 900)],
        compiled_functions: FunctionStats {
            reused: 11,
            compiled: 12,
            kept_bytes: 13,
            kept_bytes_max: 14,
        },
    }
}

#[test]
fn every_term_of_the_sums_is_a_series() {
    let text = Metrics::new().render(&snapshot());
    for line in [
        "rulemill_status_events_observed_total{event_type=\"connect\"} 8",
        "rulemill_status_events_unmatched_total{event_type=\"connect\"} 3",
        "rulemill_status_events_recorded_total{event_type=\"connect\"} 4",
        "rulemill_status_events_refused_total{event_type=\"connect\"} 1",
        "rulemill_rule_events_matched_total{rule_id=\"rule-1\"} 5",
        "rulemill_rule_events_refused_total{rule_id=\"rule-1\"} 1",
        "rulemill_rule_events_delivered_total{rule_id=\"rule-1\"} 2",
        "rulemill_rule_events_pending{rule_id=\"rule-1\"} 2",
        "rulemill_rule_pending_bytes{rule_id=\"rule-1\"} 300",
        "rulemill_rule_events_pending{rule_id=\"deleted\"} 5",
        "rulemill_rule_pending_bytes{rule_id=\"deleted\"} 700",
        "rulemill_outbox_events_recorded_total 4",
        "rulemill_outbox_events_pending 2",
        "rulemill_plugin_counter{rule_id=\"rule-1\",name=\"a\\\"b\\\\c \"} 7",
        "rulemill_plugin_log_lines_dropped_total{rule_id=\"rule-1\"} 900",
        "rulemill_plugin_functions_total{outcome=\"reused\"} 11",
        "rulemill_plugin_functions_total{outcome=\"compiled\"} 12",
        "rulemill_plugin_functions_bytes 13",
        "rulemill_plugin_functions_bytes_max 14",
    ] {
        assert!(text.lines().any(|it| it == line), "no line {line}");
    }
    let names = [
        "recorded",
        "replayed",
        "delivered",
        "skipped",
        "buried",
        "expired",
        "discarded",
    ];
    for name in names {
        assert!(text.contains(&format!("rulemill_outbox_events_{name}_total ")));
        assert!(text.contains(&format!("rulemill_rule_events_{name}_total{{")));
    }
    assert!(
        !text.contains("rule_id=\"\""),
        "unknown rules have no series"
    );
    assert!(!text.contains("# EOF"));
}

#[test]
fn the_stages_of_an_event_are_told_apart_below_a_millisecond() {
    let metrics = Metrics::new();
    let instance = InstanceId::parse("embedded").unwrap();
    metrics.send_timed(&instance, Duration::from_micros(250));
    let rule_id = RuleId::parse("rule-1").unwrap();
    metrics.delivered_after(&rule_id, &[Duration::from_micros(400)]);
    let text = metrics.render(&snapshot());
    for line in [
        "rulemill_rocketmq_send_seconds_bucket{le=\"0.0002\",instance=\"embedded\"} 0",
        "rulemill_rocketmq_send_seconds_bucket{le=\"0.0003\",instance=\"embedded\"} 1",
        "rulemill_event_delivery_seconds_bucket{le=\"0.0002\",rule_id=\"rule-1\"} 0",
        "rulemill_event_delivery_seconds_bucket{le=\"0.0005\",rule_id=\"rule-1\"} 1",
        "rulemill_event_commit_seconds_count 0",
    ] {
        assert!(
            text.lines().any(|it| it == line),
            "no line {line} in {text}"
        );
    }
}

#[test]
fn an_event_that_was_read_from_the_file_has_no_commit_to_time() {
    let metrics = Metrics::new();
    metrics.committed(&Vec::<Arc<store::PendingEvent>>::new());
    assert!(
        metrics
            .render(&snapshot())
            .contains("rulemill_event_commit_seconds_count 0")
    );
}
