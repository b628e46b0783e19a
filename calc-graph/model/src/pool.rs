//! Pools of addresses.

use caracal_net::Cidr;

/// When traffic to a pool's addresses on other nodes goes through a tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TunnelMode {
    /// Never.
    #[default]
    Never,
    /// Always.
    Always,
    /// If the other node is not in this node's subnet.
    CrossSubnet,
}

impl TunnelMode {
    /// Felix's spelling (`libcalico-go/lib/backend/encap`): never is empty.
    #[must_use]
    pub const fn as_wire(self) -> &'static str {
        match self {
            Self::Never => "",
            Self::Always => "always",
            Self::CrossSubnet => "cross-subnet",
        }
    }
}

/// What a pool's addresses may be given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PoolUse {
    /// Workloads.
    Workload,
    /// The hosts' ends of tunnels.
    Tunnel,
    /// Services of the type LoadBalancer.
    LoadBalancer,
}

impl PoolUse {
    /// Every use.
    pub const ALL: [Self; 3] = [Self::Workload, Self::Tunnel, Self::LoadBalancer];

    /// Calico's and the wire's spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Workload => "Workload",
            Self::Tunnel => "Tunnel",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}

/// A range of addresses that workloads get theirs from, disabled or not: what
/// was given out before it was disabled still counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpPool {
    /// The addresses.
    pub cidr: Cidr,
    /// Whether what leaves the pools gets the node's address (`natOutgoing`).
    pub masquerade: bool,
    /// Tunnels of IP in IP.
    pub ipip: TunnelMode,
    /// Tunnels of VXLAN.
    pub vxlan: TunnelMode,
    /// What the addresses are for, in the author's order.
    pub allowed_uses: Vec<PoolUse>,
}
