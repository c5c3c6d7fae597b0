//! The sums that the host's counts promise, in `/v1/status` and in `/metrics`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::admin::Admin;
use crate::eventually::eventually;
use crate::metrics::Metrics;

/// What a recorded event may become.
const FATES: [&str; 5] = ["delivered", "skipped", "buried", "expired", "discarded"];

/// Checks all sums: those of `/v1/status`, of each rule and in total, those of `/metrics`, and that both say the same.
///
/// Counts move while events do, so it asks for a while.
///
/// # Errors
///
/// When a sum does not hold; with the counts.
pub fn conservation(admin: &Admin) -> Result<()> {
    admin.expect_conservation()?;
    let mut last = Ok(());
    let done = eventually(
        "the sums of status and metrics",
        Duration::from_secs(5),
        || {
            let before = admin.get("/v1/status")?.expect(200)?;
            let metrics = Metrics::read(admin)?;
            last = in_metrics(&metrics, &before.json);
            Ok(last.is_ok().then_some(()))
        },
    );
    match (done, last) {
        (Ok(()), _) => Ok(()),
        (Err(error), Err(last)) => Err(last.context(error)),
        (Err(error), Ok(())) => Err(error),
    }
}

fn in_metrics(metrics: &Metrics, status: &Value) -> Result<()> {
    let of_types = |name: &str| metrics.total(&format!("rulemill_status_events_{name}_total"));
    let [observed, matched, unmatched, recorded, refused] =
        ["observed", "matched", "unmatched", "recorded", "refused"].map(of_types);
    ensure!(
        is_equal(observed, matched + unmatched) && is_equal(matched, recorded + refused),
        "metrics: {observed} observed, {matched} matched, {unmatched} unmatched, {recorded} recorded, {refused} refused"
    );
    let total = |name: &str| -> Result<f64> {
        match name {
            "pending" => metrics.value("rulemill_outbox_events_pending"),
            _ => metrics.value(&format!("rulemill_outbox_events_{name}_total")),
        }
    };
    one("all rules", &total, status.get("events"))?;
    let rules = status.get("rules").and_then(Value::as_array);
    for rule in rules.context("no rules")? {
        let rule_id = rule
            .get("ruleId")
            .and_then(Value::as_str)
            .context("no id")?;
        let of_rule = |name: &str| -> Result<f64> {
            let end = if name == "pending" { "" } else { "_total" };
            metrics.value(&format!(
                "rulemill_rule_events_{name}{end}{{rule_id=\"{rule_id}\"}}"
            ))
        };
        one(rule_id, &of_rule, rule.get("events"))?;
    }
    Ok(())
}

/// What was entered became something, and the status says the same.
fn one(what: &str, metric: &dyn Fn(&str) -> Result<f64>, status: Option<&Value>) -> Result<()> {
    let mut said = Vec::new();
    for name in ["recorded", "replayed", "pending"].iter().chain(&FATES) {
        let (value, counted) = (metric(name)?, status.and_then(|it| it.get(name)));
        let counted = counted.and_then(Value::as_f64);
        ensure!(
            counted.is_some_and(|counted| is_equal(counted, value)),
            "{what}: {name} is {value} in the metrics, {counted:?} in the status"
        );
        said.push((*name, value));
    }
    let (entered, became) = said.split_at(2);
    let sum = |of: &[(&str, f64)]| of.iter().map(|(_, value)| value).sum::<f64>();
    ensure!(is_equal(sum(entered), sum(became)), "{what}: {said:?}");
    Ok(())
}

/// Counts are whole numbers below 2^53.
fn is_equal(left: f64, right: f64) -> bool {
    (left - right).abs() < 0.5
}
