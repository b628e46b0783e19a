//! The tunnels by which hosts of a cluster carry packets of workloads to each other.

use caracal_net::{Family, Port, Protocol};

use crate::{Packet, PolicyStore, Transport, TunnelMode};

/// A kind of tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tunnel {
    /// IP in IP.
    Ipip,
    /// VXLAN.
    Vxlan,
}

impl Tunnel {
    /// The kind that a packet is of by its looks.
    pub(super) fn of(packet: &Packet, vxlan_port: Port) -> Option<Self> {
        match (packet.protocol(), packet.transport()) {
            (Protocol::IPIP, _) => Some(Self::Ipip),
            (Protocol::UDP, Transport::Ports { dst, .. }) if dst == vxlan_port => Some(Self::Vxlan),
            _ => None,
        }
    }

    /// Whether hosts of the cluster speak so: a pool of the family has such tunnels.
    pub(super) fn is_used(self, family: Family, store: &PolicyStore) -> bool {
        let mut pools = store.pools().map(|(_, pool)| pool).filter(|pool| pool.cidr.family() == family);
        match self {
            // IP in IP is for IPv4 only.
            Self::Ipip => family == Family::V4 && pools.any(|pool| pool.ipip != TunnelMode::Never),
            Self::Vxlan => pools.any(|pool| pool.vxlan != TunnelMode::Never),
        }
    }
}
