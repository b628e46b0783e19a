//! Records as the sync API has them.

use std::time::Duration;

use caracal_nftables::flow_log::Decision;
use caracal_program::{Action, Decider, Direction, PolicyStore};
use caracal_proto::FLOWS;
use caracal_proto::sync::{self, Extension, FromData, from_data};
use caracal_sys::nflog::{Key, Tuple};
use prost::Message as _;

use super::aggregator::Record;

/// A batch of records of one listener.
pub(super) fn encode(life: u64, records: Vec<(Direction, Record)>, store: &PolicyStore) -> FromData {
    let flows = records.into_iter().map(|(direction, record)| flow(direction, record, store)).collect();
    let value = sync::Flows { life, flows }.encode_to_vec();
    FromData { frame: Some(from_data::Frame::Extension(Extension { name: FLOWS.to_owned(), value })) }
}

fn flow(direction: Direction, record: Record, store: &PolicyStore) -> sync::Flow {
    let Record { number, prefix, passed, tuple, called, packets, first, last } = record;
    let Tuple { source, destination, protocol, key } = tuple;
    let mut flow = sync::Flow {
        number,
        direction: match direction {
            Direction::Ingress => "inbound",
            Direction::Egress => "outbound",
        }
        .to_owned(),
        // Prefixes that are read as nothing begin with the same letter.
        action: if prefix.starts_with('A') { "allow" } else { "deny" }.to_owned(),
        decider: Some(hit(&prefix, store)),
        passed: passed.iter().map(|prefix| hit(prefix, store)).collect(),
        source: source.to_string(),
        destination: destination.to_string(),
        called: called.map(|called| called.to_string()).unwrap_or_default(),
        protocol: protocol.into(),
        packets,
        first: nanos(first),
        last: nanos(last),
        ..sync::Flow::default()
    };
    match key {
        Key::Ports { source, destination } => {
            (flow.source_port, flow.destination_port) = (Some(source.into()), Some(destination.into()));
        }
        Key::Icmp { icmp_type, code } => {
            (flow.icmp_type, flow.icmp_code) = (Some(icmp_type.into()), Some(code.into()));
        }
        Key::Opaque => {}
    }
    flow
}

/// What a prefix says; the prefix itself where that cannot be read, as after a
/// policy with a hashed prefix has gone.
fn hit(prefix: &str, store: &PolicyStore) -> sync::FlowHit {
    let place = |index: usize| u64::try_from(index).expect("a place in a list in memory fits in 64 bits");
    let of = |kind: &str, name: &str| sync::FlowHit { kind: kind.into(), name: name.into(), ..Default::default() };
    let Some(Decision { decider, direction: _, action }) = Decision::of(prefix, store) else {
        return of("Unknown", prefix);
    };
    debug_assert_ne!(action, Action::Log, "a Log rule tells of no flow");
    match decider {
        Decider::Policy(id, index) => sync::FlowHit {
            tier: store.policy(&id).map(|policy| policy.tier.to_string()).unwrap_or_default(),
            kind: id.kind.to_string(),
            namespace: id.namespace.to_string(),
            name: id.name.to_string(),
            rule: Some(place(index)),
        },
        Decider::Profile(name, index) => sync::FlowHit { rule: Some(place(index)), ..of("Profile", &name) },
        Decider::EndOfTier(tier) => sync::FlowHit { tier: tier.to_string(), ..of("EndOfTier", &tier) },
        Decider::NoMatch => of("NoMatch", ""),
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
