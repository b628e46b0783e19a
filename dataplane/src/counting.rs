//! What rules have counted, for whoever asks over the sync API.

use std::time::{Duration, Instant};

use caracal_program::{Action, Decider, Direction, Driver, PolicyStore, RuleCount, Stamp};
use caracal_proto::COUNTS;
use caracal_proto::sync::{self, Counts, Extension, FromData, from_data};
use prost::Message as _;
use tracing::warn;

/// The rules are read no more often than this; who asks earlier gets what was read last.
const PAUSE: Duration = Duration::from_millis(100);

/// The part of the thread's time that reading them may take, where they are many: one in this many.
const SHARE: u32 = 20;

/// What was read last.
#[derive(Debug, Default)]
pub(crate) struct Counting {
    last: Option<Read>,
}

#[derive(Debug)]
struct Read {
    /// Until when this has to do.
    until: Instant,
    /// The store whose rules were counted: of another, a rule has another place in its policy.
    of: Stamp,
    counts: Counts,
}

impl Counting {
    /// The answer to somebody who asks.
    pub(crate) fn answer(&mut self, now: Instant, driver: &mut impl Driver, store: &PolicyStore) -> FromData {
        if self.last.as_ref().is_none_or(|read| now >= read.until) {
            let start = Instant::now();
            match driver.rule_counts(store) {
                Ok(counts) => {
                    let until = now + PAUSE.max(start.elapsed() * SHARE);
                    let rules = counts.rules.into_iter().map(rule).collect();
                    let totals = counts.totals.iter().map(Into::into).collect();
                    self.last = Some(Read { until, of: store.stamp(), counts: Counts { rules, totals } });
                }
                Err(error) => warn!(%error, "cannot read what rules have counted"),
            }
        }
        let counts = self.last.as_ref().map(|read| match read.of == store.stamp() {
            true => read.counts.encode_to_vec(),
            false => Counts { rules: Vec::new(), totals: read.counts.totals.clone() }.encode_to_vec(),
        });
        let value = counts.unwrap_or_default();
        FromData { frame: Some(from_data::Frame::Extension(Extension { name: COUNTS.to_owned(), value })) }
    }
}

fn rule(count: RuleCount) -> sync::RuleCount {
    let RuleCount { decider, direction, action, packets, bytes } = count;
    let place = |index: usize| u64::try_from(index).expect("a place in a list in memory fits in 64 bits");
    let (kind, namespace, name, rule) = match decider {
        Decider::Policy(id, index) => {
            (id.kind.to_string(), id.namespace.to_string(), id.name.to_string(), place(index))
        }
        Decider::Profile(name, index) => ("Profile".to_owned(), String::new(), name.to_string(), place(index)),
        Decider::EndOfTier(tier) => ("EndOfTier".to_owned(), String::new(), tier.to_string(), 0),
        Decider::NoMatch => ("NoMatch".to_owned(), String::new(), String::new(), 0),
    };
    let direction = match direction {
        Direction::Ingress => "inbound",
        Direction::Egress => "outbound",
    };
    let action = match action {
        Action::Allow => "allow",
        Action::Deny => "deny",
        Action::Pass => "pass",
        Action::Log => "log",
    };
    sync::RuleCount {
        kind,
        namespace,
        name,
        rule,
        direction: direction.to_owned(),
        action: action.to_owned(),
        packets,
        bytes,
    }
}
