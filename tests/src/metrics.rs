//! The host's `/metrics`, read as a monitoring system reads them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use crate::admin::Admin;

/// One reading: every sample by its name and labels as they are written.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    samples: BTreeMap<String, f64>,
}

/// A histogram, or the difference of two readings of one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Upper bound of each bucket and how many values are at most it, in ascending order; the last is infinite.
    pub buckets: Vec<(f64, f64)>,
    /// Sum of all values.
    pub sum: f64,
}

impl Metrics {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// When the host does not answer, or with what is no OpenMetrics text.
    pub fn read(admin: &Admin) -> Result<Self> {
        Self::parse(&admin.get("/metrics")?.expect(200)?.text)
    }

    fn parse(text: &str) -> Result<Self> {
        let text = text
            .strip_suffix("# EOF\n")
            .context("the metrics do not end with # EOF")?;
        let mut samples = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line
                .rsplit_once(' ')
                .with_context(|| format!("no sample: {line}"))?;
            let value = value
                .parse()
                .with_context(|| format!("no number: {line}"))?;
            samples.insert(name.to_owned(), value);
        }
        Ok(Self { samples })
    }

    /// A sample, such as `rulemill_outbox_bytes` or `rulemill_rule_events_pending{rule_id="a"}`.
    ///
    /// # Errors
    ///
    /// When there is none; with the names that begin alike.
    pub fn value(&self, name: &str) -> Result<f64> {
        self.samples.get(name).copied().with_context(|| {
            let family = name.split('{').next().unwrap_or(name);
            let near: Vec<&String> = self
                .samples
                .keys()
                .filter(|other| other.starts_with(family))
                .collect();
            format!("no sample {name}; there are {near:?}")
        })
    }

    /// The sum of all samples of a name, whatever their labels; 0 without any.
    #[must_use]
    pub fn total(&self, name: &str) -> f64 {
        self.samples
            .iter()
            .filter(|(sample, _)| sample.split('{').next() == Some(name))
            .map(|(_, value)| value)
            .sum()
    }

    /// A histogram, such as `rulemill_event_delivery_seconds`, with labels such as `rule_id="a"`, or none.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn histogram(&self, name: &str, labels: &str) -> Result<Histogram> {
        let braces = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{labels}}}")
        };
        let sum = self.value(&format!("{name}_sum{braces}"))?;
        let mut buckets = Vec::new();
        for (sample, count) in &self.samples {
            let Some(rest) = sample.strip_prefix(&format!("{name}_bucket{{")) else {
                continue;
            };
            let mut bound = None;
            let mut others = Vec::new();
            for label in rest.trim_end_matches('}').split(',') {
                match label.strip_prefix("le=\"") {
                    Some(text) => bound = Some(text.trim_end_matches('"')),
                    None => others.push(label),
                }
            }
            if others.join(",") == labels {
                let bound = bound.with_context(|| format!("no bound: {sample}"))?;
                let bound = bound.replace("+Inf", "inf").parse::<f64>()?;
                buckets.push((bound, *count));
            }
        }
        buckets.sort_by(|left, right| left.0.total_cmp(&right.0));
        ensure!(
            buckets.last().is_some_and(|(bound, _)| bound.is_infinite()),
            "{name}{braces} has no bucket for everything"
        );
        Ok(Histogram { buckets, sum })
    }
}

impl Histogram {
    /// How many values there are.
    #[must_use]
    pub fn count(&self) -> f64 {
        self.buckets.last().map_or(0.0, |(_, count)| *count)
    }

    /// The values since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |bound: f64| {
            earlier
                .buckets
                .iter()
                .find(|(other, _)| other.total_cmp(&bound).is_eq())
                .map_or(0.0, |(_, count)| *count)
        };
        Self {
            buckets: self
                .buckets
                .iter()
                .map(|(bound, count)| (*bound, count - before(*bound)))
                .collect(),
            sum: self.sum - earlier.sum,
        }
    }

    /// The mean; 0 without values.
    #[must_use]
    pub fn mean(&self) -> f64 {
        if self.count() > 0.0 {
            self.sum / self.count()
        } else {
            0.0
        }
    }

    /// The value below which the part `part` (0 to 1) of the values is, taken as evenly spread within its bucket;
    /// the largest finite bound for what is above it.
    #[must_use]
    pub fn quantile(&self, part: f64) -> f64 {
        let wanted = self.count() * part;
        let (mut lower, mut below) = (0.0, 0.0);
        for (bound, count) in &self.buckets {
            if *count >= wanted && *count > below {
                return if bound.is_infinite() {
                    lower
                } else {
                    lower + (bound - lower) * (wanted - below) / (count - below)
                };
            }
            (lower, below) = (*bound, *count);
        }
        lower
    }
}

#[cfg(test)]
mod tests {
    use super::Metrics;

    const TEXT: &str = "# TYPE a counter\na_total{x=\"1\"} 2\na_total{x=\"2\"} 3\n# TYPE h histogram\nh_sum{x=\"1\"} 5.5\n\
        h_count{x=\"1\"} 4\nh_bucket{le=\"1.0\",x=\"1\"} 2\nh_bucket{le=\"3.0\",x=\"1\"} 4\nh_bucket{le=\"+Inf\",x=\"1\"} 4\n# EOF\n";

    #[test]
    fn samples_and_histograms_are_read() {
        let metrics = Metrics::parse(TEXT).unwrap();
        assert_eq!(metrics.value("a_total{x=\"2\"}").unwrap().to_string(), "3");
        assert_eq!(metrics.total("a_total").to_string(), "5");
        assert!(metrics.value("a_total").is_err());
        let histogram = metrics.histogram("h", "x=\"1\"").unwrap();
        assert_eq!(histogram.count().to_string(), "4");
        assert_eq!(histogram.quantile(0.5).to_string(), "1");
        assert_eq!(histogram.quantile(0.75).to_string(), "2");
        assert!(metrics.histogram("h", "").is_err());
        assert_eq!(histogram.since(&histogram).count().to_string(), "0");
    }
}
