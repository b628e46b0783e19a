//! What rules have counted, for whoever asks over the sync API.

use std::time::{Duration, Instant};

use caracal_program::{Action, Decider, Direction, Driver, PolicyStore, RuleCount, Stamp};
use caracal_proto::COUNTS;
use caracal_proto::sync::{self, Counts, Extension, FromData, from_data};
use prost::Message as _;
use tracing::warn;

/// All rules are read no more often than this; who asks earlier gets what was read last.
const PAUSE: Duration = Duration::from_millis(100);

/// The part of the thread's time that reading them may take, where they are many: one in this many.
const SHARE: u32 = 20;

/// What was read last, and whether somebody waits for more.
#[derive(Debug, Default)]
pub(crate) struct Counting {
    last: Option<Read>,
    /// Since when somebody waits.
    asked: Option<Instant>,
    /// How long the reading that goes on has taken.
    spent: Duration,
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
    /// Somebody asks: [`Counting::go_on`] gives the answer.
    pub(crate) fn ask(&mut self, now: Instant) {
        self.asked.get_or_insert(now);
    }

    /// When there is something to do for who asks.
    pub(crate) const fn due(&self) -> Option<Instant> {
        self.asked
    }

    /// Reads on for a while, if somebody asks; gives the answer when all was read.
    pub(crate) fn go_on(&mut self, now: Instant, driver: &mut impl Driver, store: &PolicyStore) -> Option<FromData> {
        self.asked?;
        if self.last.as_ref().is_none_or(|read| now >= read.until) {
            let start = Instant::now();
            let counts = driver.rule_counts(store);
            self.spent += start.elapsed();
            match counts {
                Ok(None) => {
                    self.asked = Some(now);
                    return None;
                }
                Ok(Some(counts)) => {
                    let until = now + PAUSE.max(self.spent * SHARE);
                    let rules = counts.rules.into_iter().map(rule).collect();
                    let totals = counts.totals.iter().map(Into::into).collect();
                    self.last = Some(Read { until, of: store.stamp(), counts: Counts { rules, totals } });
                }
                Err(error) => warn!(%error, "cannot read what rules have counted"),
            }
        }
        (self.asked, self.spent) = (None, Duration::ZERO);
        let counts = self.last.as_ref().map(|read| match read.of == store.stamp() {
            true => read.counts.encode_to_vec(),
            false => Counts { rules: Vec::new(), totals: read.counts.totals.clone() }.encode_to_vec(),
        });
        let value = counts.unwrap_or_default();
        Some(FromData { frame: Some(from_data::Frame::Extension(Extension { name: COUNTS.to_owned(), value })) })
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
