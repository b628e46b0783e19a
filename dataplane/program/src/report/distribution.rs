//! How long things take, or how large they are: sum, number and quantiles.

use std::collections::VecDeque;

use super::{Measurement, MeasurementKind};

/// How many of the newest values the quantiles are taken of. Prometheus' own
/// summaries go by the last ten minutes; a number of values needs no clock.
const RECENT: usize = 1024;

/// The quantiles that Prometheus' Go client gives by default, with the text that their label has there.
const QUANTILES: [(f64, &str); 3] = [(0.5, "0.5"), (0.9, "0.9"), (0.99, "0.99")];

/// A summary in Prometheus' sense: the sum and the number of all values, and
/// quantiles of the newest ones.
#[derive(Clone, Debug, Default)]
pub struct Distribution {
    recent: VecDeque<f64>,
    sum: f64,
    count: u64,
}

/// What the three families of a summary are called.
#[derive(Clone, Copy, Debug)]
pub struct DistributionNames {
    /// The quantiles.
    pub quantiles: &'static str,
    /// The same with `_sum` at its end.
    pub sum: &'static str,
    /// The same with `_count` at its end.
    pub count: &'static str,
}

impl Distribution {
    /// Takes a value.
    pub fn observe(&mut self, value: f64) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(value);
        self.sum += value;
        self.count += 1;
    }

    /// The summary as measurements; of nothing there are no quantiles.
    #[must_use]
    pub fn measurements(&self, names: DistributionNames, help: &'static str) -> Vec<Measurement> {
        let DistributionNames { quantiles, sum, count } = names;
        let mut sorted: Vec<f64> = self.recent.iter().copied().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let quantiles = QUANTILES.iter().filter_map(|(quantile, text)| {
            let value = at_quantile(&sorted, *quantile)?;
            let measurement =
                Measurement { name: quantiles, help, kind: MeasurementKind::Gauge, labels: Vec::new(), value };
            Some(measurement.with("quantile", *text))
        });
        let mut all: Vec<Measurement> = quantiles.collect();
        all.push(Measurement { name: sum, help, kind: MeasurementKind::Counter, labels: Vec::new(), value: self.sum });
        all.push(Measurement::counter(count, help, self.count));
        all
    }
}

/// The smallest value that a share of the values does not exceed.
fn at_quantile(sorted: &[f64], quantile: f64) -> Option<f64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a share of at most a thousand values"
    )]
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: DistributionNames = DistributionNames { quantiles: "x", sum: "x_sum", count: "x_count" };

    fn values(distribution: &Distribution) -> Vec<f64> {
        distribution.measurements(NAMES, "").iter().map(|measurement| measurement.value).collect()
    }

    #[test]
    fn quantiles_are_of_the_newest_values_and_sums_of_all() {
        let mut distribution = Distribution::default();
        assert_eq!(values(&distribution), [0.0, 0.0], "sum and count");
        for value in 1..=100 {
            distribution.observe(f64::from(value));
        }
        assert_eq!(values(&distribution), [50.0, 90.0, 99.0, 5050.0, 100.0]);
        for _ in 0..RECENT {
            distribution.observe(7.0);
        }
        assert_eq!(values(&distribution)[..3], [7.0; 3]);
        assert_eq!(values(&distribution)[4], 1124.0);
    }
}
