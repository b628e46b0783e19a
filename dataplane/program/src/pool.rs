//! Pools of addresses that workloads get theirs from.

use caracal_net::Cidr;

/// When traffic to addresses of a pool on other nodes goes through a tunnel.
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

/// A pool of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpPool {
    /// The addresses.
    pub cidr: Cidr,
    /// Whether what leaves from the pool to addresses of no pool gets the
    /// node's address (`natOutgoing`).
    pub masquerade: bool,
    /// Tunnels of IP in IP.
    pub ipip: TunnelMode,
    /// Tunnels of VXLAN.
    pub vxlan: TunnelMode,
}
