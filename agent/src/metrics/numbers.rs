//! What the graph's thread counts.

use std::collections::BTreeMap;
use std::time::Duration;

use caracal_model::{Event, Key};
use caracal_program::{Distribution, DistributionNames, Measurement};
use caracal_proto::sync::refusal::Reason;
use prometheus::core::Collector as _;
use prometheus::proto::MetricFamily;
use prometheus::{Histogram, HistogramOpts};

/// Counts since the start.
#[derive(Debug)]
pub struct Numbers {
    updates: BTreeMap<&'static str, u64>,
    update_time: Distribution,
    lists: u64,
    outputs: u64,
    failures: u64,
    refused: BTreeMap<&'static str, u64>,
    latency: Histogram,
}

const UPDATE_TIME: DistributionNames = DistributionNames {
    quantiles: "felix_calc_graph_update_time_seconds",
    sum: "felix_calc_graph_update_time_seconds_sum",
    count: "felix_calc_graph_update_time_seconds_count",
};

impl Default for Numbers {
    fn default() -> Self {
        // From half a millisecond to half a minute, each bucket twice the one before.
        let buckets =
            prometheus::exponential_buckets(0.0005, 2.0, 17).expect("a start above zero and a factor above one");
        let options = HistogramOpts::new(
            "caracal_event_to_kernel_seconds",
            "From the oldest change of a revision in the datastore to the kernel's acknowledgement.",
        );
        let latency = Histogram::with_opts(options.buckets(buckets)).expect("the name is in Prometheus' form");
        Self {
            updates: BTreeMap::new(),
            update_time: Distribution::default(),
            lists: 0,
            outputs: 0,
            failures: 0,
            refused: BTreeMap::new(),
            latency,
        }
    }
}

impl Numbers {
    /// The graph took an event, within this time.
    pub fn update(&mut self, kind: Option<&'static str>, time: Duration) {
        if let Some(kind) = kind {
            *self.updates.entry(kind).or_default() += 1;
            self.update_time.observe(time.as_secs_f64());
        }
    }

    /// A source begins to list everything.
    pub fn list(&mut self) {
        self.lists += 1;
    }

    /// The graph told something.
    pub fn output(&mut self) {
        self.outputs += 1;
    }

    /// A revision was acknowledged, so long after the oldest change.
    pub fn acknowledged(&mut self, latency: Duration) {
        self.latency.observe(latency.as_secs_f64());
    }

    /// A revision could not be programmed.
    pub fn failed(&mut self) {
        self.failures += 1;
    }

    /// A peer was turned away, or its stream ended, for a reason.
    pub fn refused(&mut self, reason: Reason) {
        *self.refused.entry(word(reason)).or_default() += 1;
    }

    /// The counts.
    #[must_use]
    pub fn measurements(&self) -> Vec<Measurement> {
        let mut all = Vec::new();
        for (kind, count) in &self.updates {
            let help = "Changes of the datastore that the graph took, by the Go type of Felix's key.";
            all.push(Measurement::counter("felix_calc_graph_updates_processed", help, *count).with("type", *kind));
        }
        all.extend(self.update_time.measurements(UPDATE_TIME, "Seconds in which the graph took one change."));
        all.push(Measurement::counter("felix_calc_graph_output_events", "Messages that the graph told.", self.outputs));
        all.push(Measurement::counter(
            "felix_resyncs_started",
            "Lists of everything that the source began.",
            self.lists,
        ));
        all.push(Measurement::counter(
            "caracal_revision_failures_total",
            "Revisions that the data half could not put in force at once.",
            self.failures,
        ));
        for reason in [Reason::Version, Reason::Busy, Reason::Protocol, Reason::Slow] {
            let count = self.refused.get(word(reason)).copied().unwrap_or_default();
            let help = "Streams of the sync API that were ended by the control half, by reason.";
            all.push(Measurement::counter("caracal_sync_refusals_total", help, count).with("reason", word(reason)));
        }
        all
    }

    /// The histograms.
    #[must_use]
    pub fn families(&self) -> Vec<MetricFamily> {
        self.latency.collect()
    }
}

const fn word(reason: Reason) -> &'static str {
    match reason {
        Reason::Unspecified => "unspecified",
        Reason::Version => "version",
        Reason::Busy => "busy",
        Reason::Protocol => "protocol",
        Reason::Slow => "slow",
    }
}

/// The Go type of the key that Felix has for what an event is about.
#[must_use]
pub fn go_type(event: &Event) -> Option<&'static str> {
    let key = match event {
        Event::Apply(_, object, _) => &object.key(),
        Event::Delete(_, key, _) => key,
        Event::Begin(_) | Event::End(_) => return None,
    };
    Some(match key {
        Key::WorkloadEndpoint(_) => "WorkloadEndpointKey",
        Key::HostEndpoint(_) => "HostEndpointKey",
        Key::NetworkSet(_) => "NetworkSetKey",
        Key::Policy(_) => "PolicyKey",
        Key::Profile(_) => "ProfileRulesKey",
        Key::Tier(_) => "TierKey",
        Key::IpPool(_) => "IPPoolKey",
        Key::Node(_) | Key::EndpointSlice(_) | Key::Service(_) => "ResourceKey",
    })
}
