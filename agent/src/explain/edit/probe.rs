//! Packets around the one that is to pass, whose verdicts must stay.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use caracal_net::{Family, Protocol};
use caracal_program::{Direction, Packet, ProgramKind, Transport, Verdict, WorkloadId};

use super::Judge;
use crate::explain::cluster::Cluster;

/// How many other workloads are looked at. What is drafted is narrow by its
/// form; the probes guard against what the form does not show.
const NEIGHBOURS: usize = 64;

/// Packets at endpoints.
pub(super) struct Probes(Vec<(Judge, Direction, Packet)>);

impl Probes {
    /// Packets that differ from one at an endpoint in one or two things.
    pub(super) fn around(cluster: &Cluster, judge: &Judge, direction: Direction, packet: &Packet) -> Self {
        let family = packet.family();
        let near = match judge {
            Judge::Workload(near) => Some(near),
            Judge::Host(..) => None,
        };
        let others: Vec<(WorkloadId, IpAddr)> = cluster
            .store()
            .workloads()
            .filter(|endpoint| Some(&endpoint.id) != near)
            .filter_map(|endpoint| {
                let address = endpoint.addresses.iter().find(|address| Family::of(**address) == family)?;
                Some((endpoint.id.clone(), *address))
            })
            .filter(|(_, address)| *address != packet.src() && *address != packet.dst())
            .take(NEIGHBOURS)
            .collect();
        let ends = (packet.src(), packet.dst());
        let (near_address, far_address) = match direction {
            Direction::Egress => ends,
            Direction::Ingress => (ends.1, ends.0),
        };
        let between = |near: IpAddr, far: IpAddr, (protocol, transport): (Protocol, Transport)| {
            let (src, dst) = match direction {
                Direction::Egress => (near, far),
                Direction::Ingress => (far, near),
            };
            Packet::new(src, dst, protocol, transport).ok()
        };
        let same = (packet.protocol(), packet.transport());
        let mut probes = Vec::new();
        let mut add = |judge: Judge, packet: Option<Packet>| {
            probes.extend(packet.map(|packet| (judge, direction, packet)));
        };
        let workload = |id: &WorkloadId| Judge::Workload(id.clone());
        for header in other_headers(packet) {
            add(judge.clone(), between(near_address, far_address, header));
            for (id, address) in others.iter().take(4) {
                add(workload(id), between(*address, far_address, header));
                add(judge.clone(), between(near_address, *address, header));
            }
        }
        for far in neighbours(far_address) {
            add(judge.clone(), between(near_address, far, same));
        }
        if let Judge::Host(..) = judge {
            // It judges for many ends.
            for near in neighbours(near_address) {
                add(judge.clone(), between(near, far_address, same));
            }
        }
        for (i, (id, address)) in others.iter().enumerate() {
            add(judge.clone(), between(near_address, *address, same));
            add(workload(id), between(*address, far_address, same));
            if let Some((_, other)) = others.get(i + 1) {
                add(workload(id), between(*address, *other, same));
            }
        }
        if let Judge::Host(..) = judge {
            probes.extend(hosts_around(cluster, judge, packet));
        }
        Self(probes)
    }

    /// What the cluster says to each.
    pub(super) fn verdicts(&self, cluster: &Cluster) -> Vec<Option<Verdict>> {
        self.0.iter().map(|(judge, direction, packet)| judge.verdict(cluster, *direction, packet)).collect()
    }
}

/// Packets beside one at each other program of each host endpoint.
fn hosts_around(cluster: &Cluster, but: &Judge, packet: &Packet) -> Vec<(Judge, Direction, Packet)> {
    let mut beside: Vec<Packet> = other_headers(packet)
        .into_iter()
        .filter_map(|(protocol, transport)| Packet::new(packet.src(), packet.dst(), protocol, transport).ok())
        .collect();
    let same = (packet.protocol(), packet.transport());
    for src in neighbours(packet.src()) {
        beside.extend(Packet::new(src, packet.dst(), same.0, same.1).ok());
    }
    let kinds = [ProgramKind::Normal, ProgramKind::Forward, ProgramKind::PreDnat, ProgramKind::Untracked];
    let judges = cluster.store().hosts().take(NEIGHBOURS).flat_map(|endpoint| {
        kinds
            .into_iter()
            .flat_map(move |kind| Direction::ALL.map(|direction| (Judge::Host(endpoint.id.clone(), kind), direction)))
    });
    let judges = judges.filter(|(judge, _)| judge != but);
    judges.flat_map(|(judge, direction)| beside.iter().map(move |packet| (judge.clone(), direction, *packet))).collect()
}

/// Other ports and protocols.
fn other_headers(packet: &Packet) -> Vec<(Protocol, Transport)> {
    let protocol = packet.protocol();
    let mut headers = match packet.transport() {
        Transport::Ports { src, dst } => {
            let other = if protocol == Protocol::TCP { Protocol::UDP } else { Protocol::TCP };
            let ports = |dst| Transport::Ports { src, dst };
            vec![(protocol, ports(dst.wrapping_add(1))), (protocol, ports(dst.wrapping_sub(1))), (other, ports(dst))]
        }
        Transport::Icmp { icmp_type, code } => {
            vec![(protocol, Transport::Icmp { icmp_type: icmp_type.wrapping_add(1), code })]
        }
        Transport::Opaque => Vec::new(),
    };
    if !matches!(protocol, Protocol::TCP) {
        headers.push((Protocol::TCP, Transport::Ports { src: 49152, dst: 443 }));
    }
    headers
}

/// The addresses on both sides of one.
fn neighbours(address: IpAddr) -> [IpAddr; 2] {
    match address {
        IpAddr::V4(v4) => {
            let bits = v4.to_bits();
            [bits.wrapping_add(1), bits.wrapping_sub(1)].map(|bits| Ipv4Addr::from_bits(bits).into())
        }
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            [bits.wrapping_add(1), bits.wrapping_sub(1)].map(|bits| Ipv6Addr::from_bits(bits).into())
        }
    }
}
