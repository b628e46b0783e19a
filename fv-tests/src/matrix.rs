//! The connectivity matrix: what the reference evaluator expects, what packets show.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::cluster::{Cluster, Peer};
use crate::probe::{Probe, ProbePort};

/// How long a packet that should arrive is waited for. The first retransmission
/// of a TCP handshake comes after a second.
const ARRIVAL: Duration = Duration::from_millis(1500);

/// How long a packet that should be dropped is waited for.
const SILENCE: Duration = Duration::from_millis(300);

/// The pause between two looks while rules may still be on their way.
const PAUSE: Duration = Duration::from_millis(50);

/// One cell: a first packet from a peer's address to another's, on a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    /// The source peer's name.
    pub from: String,
    /// The destination peer's name.
    pub to: String,
    /// The source address.
    pub from_addr: IpAddr,
    /// The destination address, of the same family.
    pub to_addr: IpAddr,
    /// The destination port.
    pub port: ProbePort,
}

/// Verdicts by flow; `true` is allow.
pub type Verdicts = BTreeMap<Flow, bool>;

/// What decides what a flow should do.
pub trait Reference {
    /// The verdicts that the cluster's manifests ask for.
    fn judge(&self, cluster: &Cluster, flows: &[Flow]) -> anyhow::Result<Verdicts>;
}

/// Every flow of a cluster: ordered pairs of different peers, at least one of
/// them a pod, each family that both have, each port.
#[must_use]
pub fn flows(cluster: &Cluster) -> Vec<Flow> {
    let mut flows = Vec::new();
    for from in cluster.peers.values() {
        for to in cluster.peers.values().filter(|to| to.name != from.name && (to.is_pod || from.is_pod)) {
            for from_addr in &from.addrs {
                for to_addr in to.addrs.iter().filter(|to| to.is_ipv4() == from_addr.is_ipv4()) {
                    flows.extend(cluster.ports.iter().map(|port| Flow {
                        from: from.name.clone(),
                        to: to.name.clone(),
                        from_addr: *from_addr,
                        to_addr: *to_addr,
                        port: *port,
                    }));
                }
            }
        }
    }
    flows
}

/// Sends every flow's packet at once and waits for the answers. What is
/// expected decides how long silence is believed to be a drop.
pub fn observe(cluster: &Cluster, expected: &Verdicts) -> anyhow::Result<Verdicts> {
    let pending: Vec<_> = expected
        .iter()
        .map(|(flow, allowed)| {
            let from: &Peer = cluster.peers.get(&flow.from).with_context(|| format!("no peer {}", flow.from))?;
            let patience = if *allowed { ARRIVAL } else { SILENCE };
            let probe = Probe { from: flow.from_addr, to: flow.to_addr, port: flow.port, patience };
            Ok((flow.clone(), from.prober().begin(probe)?))
        })
        .collect::<anyhow::Result<_>>()?;
    pending.into_iter().map(|(flow, answer)| Ok((flow, answer.blocking_recv().context("a prober ended")?))).collect()
}

/// Compares packets with the reference until they agree, or until `patience`
/// ends. Returns the verdicts that both gave.
pub fn agree(cluster: &Cluster, reference: &dyn Reference, patience: Duration) -> anyhow::Result<Verdicts> {
    let expected = reference.judge(cluster, &flows(cluster))?;
    let deadline = Instant::now() + patience;
    loop {
        let observed = observe(cluster, &expected)?;
        if observed == expected {
            return Ok(expected);
        }
        if Instant::now() >= deadline {
            bail!("packets and the reference evaluator disagree:\n{}", differences(&expected, &observed));
        }
        thread::sleep(PAUSE);
    }
}

/// The cells where two sets of verdicts differ, one a line.
#[must_use]
pub fn differences(expected: &Verdicts, observed: &Verdicts) -> String {
    let mut text = String::new();
    for (flow, expected) in expected {
        let observed = observed.get(flow);
        if observed == Some(expected) {
            continue;
        }
        let observed = observed.map_or("not sent", |allowed| verdict(*allowed));
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "  {} ({}) -> {} ({}) {}: should be {}, was {observed}",
            flow.from,
            flow.from_addr,
            flow.to,
            flow.to_addr,
            flow.port,
            verdict(*expected),
        );
    }
    text
}

/// The word for a verdict.
#[must_use]
pub fn verdict(allowed: bool) -> &'static str {
    if allowed { "allow" } else { "deny" }
}

/// The width of a cell: `yes`, `no`, `v4!`, and a space.
const CELL: usize = 4;

/// Two sets of verdicts as tables side by side, one pair of tables a port. Columns are the rows' letters. A cell is
/// `yes` or `no`, or `v4`/`v6` if only that family is allowed; `!` marks a cell where the two sets differ.
#[must_use]
pub fn side_by_side(expected: &Verdicts, observed: &Verdicts) -> String {
    let names: BTreeSet<&str> = expected.keys().flat_map(|flow| [flow.from.as_str(), flow.to.as_str()]).collect();
    let ports: BTreeSet<ProbePort> = expected.keys().map(|flow| flow.port).collect();
    let width = names.iter().map(|name| name.len()).max().unwrap_or_default() + CELL;
    let table = names.len() * CELL;
    let letters: String = names.iter().zip('A'..).map(|(_, letter)| format!("{letter:CELL$}")).collect();
    let mut lines = Vec::new();
    for port in ports {
        lines.push(format!("{:width$}{:table$}  {}", port.to_string(), "expected", "observed"));
        lines.push(format!("{:width$}{letters}  {letters}", "  from \\ to"));
        for (from, letter) in names.iter().zip('A'..) {
            let (mut want, mut got) = (String::new(), String::new());
            for to in &names {
                let (wanted, seen) = (cell(expected, from, to, port), cell(observed, from, to, port));
                let mark = if wanted == seen { "" } else { "!" };
                want += &format!("{wanted:CELL$}");
                got += &format!("{:CELL$}", format!("{seen}{mark}"));
            }
            lines.push(format!("{:width$}{want}  {got}", format!("{letter} {from}")));
        }
        lines.push(String::new());
    }
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn cell(verdicts: &Verdicts, from: &str, to: &str, port: ProbePort) -> String {
    let families = |allowed: bool| -> Vec<bool> {
        let cells = verdicts.iter().filter(|(f, a)| f.from == from && f.to == to && f.port == port && **a == allowed);
        cells.map(|(flow, _)| flow.from_addr.is_ipv4()).collect()
    };
    match (families(true).as_slice(), families(false).is_empty()) {
        ([], true) => "-",
        ([], false) => "no",
        (_, true) => "yes",
        ([true, ..], false) => "v4",
        ([false, ..], false) => "v6",
    }
    .to_owned()
}
