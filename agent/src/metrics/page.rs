//! Measurements in Prometheus' text form.

use std::collections::BTreeMap;

use caracal_proto::sync::Measurement;
use caracal_proto::sync::measurement::Kind;
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType, Quantile, Summary};
use prometheus::{Encoder as _, TextEncoder};

/// The form of the page.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// The label that makes a family a summary.
const QUANTILE: &str = "quantile";

/// The page with all of these, by name.
pub(super) fn write(measurements: Vec<Measurement>, families: Vec<MetricFamily>) -> String {
    let mut by_name: BTreeMap<String, Vec<Measurement>> = BTreeMap::new();
    for measurement in measurements {
        by_name.entry(measurement.name.clone()).or_default().push(measurement);
    }
    let summaries: Vec<String> = by_name
        .keys()
        .filter_map(|name| name.strip_suffix("_sum"))
        .filter(|base| by_name.contains_key(&format!("{base}_count")))
        .map(str::to_owned)
        .collect();
    let mut all = families;
    for base in summaries {
        let [quantiles, sum, count] =
            ["", "_sum", "_count"].map(|suffix| by_name.remove(&format!("{base}{suffix}")).unwrap_or_default());
        all.push(summary(base, &quantiles, &sum, &count));
    }
    all.extend(by_name.into_iter().map(|(name, samples)| plain(name, samples)));
    all.sort_by(|a, b| a.name().cmp(b.name()));
    let mut text = Vec::new();
    // A family without samples is the only thing that the encoder refuses.
    all.retain(|family| !family.get_metric().is_empty());
    TextEncoder::new().encode(&all, &mut text).expect("every family has samples, and memory takes them");
    String::from_utf8(text).expect("the encoder writes text")
}

fn plain(name: String, samples: Vec<Measurement>) -> MetricFamily {
    let (help, kind) = samples.first().map(|first| (first.help.clone(), first.kind())).unwrap_or_default();
    let metrics = samples.into_iter().map(|sample| {
        let mut metric = Metric::from_label(labels(&sample));
        match kind {
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(sample.value);
                metric.set_counter(counter);
            }
            Kind::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(sample.value);
                metric.set_gauge(gauge);
            }
        }
        metric
    });
    let form = match kind {
        Kind::Counter => MetricType::COUNTER,
        Kind::Gauge => MetricType::GAUGE,
    };
    family(name, help, form, metrics.collect())
}

fn summary(name: String, quantiles: &[Measurement], sum: &[Measurement], count: &[Measurement]) -> MetricFamily {
    let value = |samples: &[Measurement]| samples.first().map_or(0.0, |sample| sample.value);
    let mut summary = Summary::default();
    summary.set_sample_sum(value(sum));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it was a count before it was a double"
    )]
    summary.set_sample_count(value(count) as u64);
    let quantiles = quantiles.iter().filter_map(|sample| {
        let mut quantile = Quantile::default();
        quantile.set_quantile(sample.labels.get(QUANTILE)?.parse().ok()?);
        quantile.set_value(sample.value);
        Some(quantile)
    });
    summary.set_quantile(quantiles.collect());
    let mut metric = Metric::default();
    metric.set_summary(summary);
    let help = sum.first().map(|sample| sample.help.clone()).unwrap_or_default();
    family(name, help, MetricType::SUMMARY, vec![metric])
}

fn family(name: String, help: String, form: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name);
    family.set_help(help);
    family.set_field_type(form);
    family.set_metric(metrics);
    family
}

fn labels(sample: &Measurement) -> Vec<LabelPair> {
    let pairs = sample.labels.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.clone());
        pair.set_value(value.clone());
        pair
    });
    pairs.collect()
}
