//! The flow records of this node, the youngest of them.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use caracal_net::{Cidr, Protocol};
use caracal_proto::admin::{Flow, FlowEnd, FlowHit, FlowsResponse};
use caracal_proto::sync;

use super::Ledger;

/// Records that are kept, some 4 MB. The oldest make room for new ones.
pub const MAX_FLOWS: usize = 8192;

/// Records in one answer.
const ANSWER: usize = 2048;

/// Tells the records of one life of the data half's listener apart.
type Key = (String, u64);

/// What was heard of flows, oldest first. Each record has a place, which only
/// grows: who asks again says the last one that it has seen.
#[derive(Debug, Default)]
pub struct FlowLog {
    /// Whose numbers `places` has.
    life: u64,
    places: HashMap<Key, u64>,
    records: VecDeque<(Key, Flow)>,
    /// The place of the oldest record, from 0.
    first: u64,
}

impl FlowLog {
    /// Takes a batch. Ends are named by the endpoints that the data half was told of.
    pub fn take(&mut self, batch: sync::Flows, ledger: &Ledger) {
        if std::mem::replace(&mut self.life, batch.life) != batch.life {
            self.places.clear();
        }
        let names = names(ledger);
        for flow in batch.flows {
            let key = (flow.direction.clone(), flow.number);
            let flow = named(flow, &names);
            let place = self.places.get(&key).and_then(|place| place.checked_sub(self.first));
            let held = place.and_then(|at| self.records.get_mut(usize::try_from(at).ok()?));
            match held {
                // It has grown. Who its ends were is told as they were then.
                Some((_, held)) => (held.packets, held.last) = (flow.packets, flow.last),
                None => self.push(key, flow),
            }
        }
    }

    fn push(&mut self, key: Key, flow: Flow) {
        if self.records.len() >= MAX_FLOWS
            && let Some((gone, _)) = self.records.pop_front()
        {
            if self.places.get(&gone) == Some(&self.first) {
                self.places.remove(&gone);
            }
            self.first += 1;
        }
        self.places.insert(key.clone(), self.first + self.records.len() as u64);
        self.records.push_back((key, flow));
    }

    /// The records behind a place, oldest first, as many as go into one answer.
    #[must_use]
    pub fn after(&self, place: u64) -> FlowsResponse {
        let end = self.first + self.records.len() as u64;
        let from = place.clamp(self.first, end);
        let at = usize::try_from(from - self.first).expect("a place in a list in memory");
        let flows: Vec<Flow> = self.records.range(at..).take(ANSWER).map(|(_, flow)| flow.clone()).collect();
        let next = from + flows.len() as u64;
        FlowsResponse { enabled: false, flows, next, missed: from.saturating_sub(place), more: next < end }
    }
}

/// The workloads of this node by address.
fn names(ledger: &Ledger) -> HashMap<IpAddr, String> {
    let nets = |nets: &[smol_str::SmolStr]| nets.iter().filter_map(|net| net.parse::<Cidr>().ok()).collect::<Vec<_>>();
    let workloads = ledger.workloads().iter();
    let addresses = workloads.flat_map(|(id, workload)| {
        let nets = nets(&workload.ipv4_nets).into_iter().chain(nets(&workload.ipv6_nets));
        nets.filter(Cidr::is_host).map(|net| (net.addr(), id.workload.to_string()))
    });
    addresses.collect()
}

fn named(flow: sync::Flow, names: &HashMap<IpAddr, String>) -> Flow {
    let end = |address: String, port: Option<u32>| {
        let endpoint = address.parse().ok().and_then(|address: IpAddr| names.get(&address).cloned());
        FlowEnd { endpoint: endpoint.unwrap_or_default(), address, port }
    };
    let sync::Flow { number: _, direction, action, decider, passed, source, destination, .. } = flow;
    let known = u8::try_from(flow.protocol).ok().and_then(|number| Protocol::from_number(number.into()).ok());
    Flow {
        direction,
        action,
        source: Some(end(source, flow.source_port)),
        destination: Some(end(destination, flow.destination_port)),
        protocol: known.and_then(Protocol::name).map_or_else(|| flow.protocol.to_string(), str::to_owned),
        icmp_type: flow.icmp_type,
        icmp_code: flow.icmp_code,
        called: flow.called,
        decider: decider.map(hit),
        passed: passed.into_iter().map(hit).collect(),
        packets: flow.packets,
        first: seconds(flow.first),
        last: seconds(flow.last),
    }
}

fn hit(hit: sync::FlowHit) -> FlowHit {
    let sync::FlowHit { kind, namespace, name, tier, rule } = hit;
    FlowHit { kind, namespace, name, tier, rule }
}

#[expect(clippy::cast_precision_loss, reason = "the API has seconds since 1970 as doubles")]
const fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests;
