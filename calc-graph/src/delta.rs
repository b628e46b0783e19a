//! What the graph tells: the changes of one flush, in order.

use std::net::IpAddr;
use std::sync::Arc;

use caracal_model::{
    HostEndpoint, HostEndpointKey, IpPool, Labels, Node, PolicyKey, Rule, Service, ServiceRef, TierAction,
    WorkloadEndpoint, WorkloadEndpointKey,
};
use caracal_net::{Cidr, Port, Protocol};
use smol_str::SmolStr;

/// What the members of an IP set are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IpSetKind {
    /// Prefixes of both families.
    Net,
    /// Address, protocol and port.
    IpPort,
}

/// A member of an IP set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Member {
    /// A prefix.
    Net(Cidr),
    /// An address with a protocol and a port.
    IpPort(IpAddr, Protocol, Port),
}

/// A rule with its selectors, named ports and services resolved to IP sets.
///
/// `rule` is the rule as converted; of it the encoder takes action, protocol,
/// ICMP, nets, numeric ports and the author's own texts. Everything that was
/// resolved stands in the id lists.
#[derive(Clone, Debug, PartialEq)]
pub struct ScannedRule {
    /// The rule as converted.
    pub rule: Rule,
    /// Sets that must hold the source (AND).
    pub src_ip_sets: Vec<SmolStr>,
    /// Sets that must hold the destination (AND).
    pub dst_ip_sets: Vec<SmolStr>,
    /// Sets that must not hold the source.
    pub not_src_ip_sets: Vec<SmolStr>,
    /// Sets that must not hold the destination.
    pub not_dst_ip_sets: Vec<SmolStr>,
    /// Named-port sets, alternatives to each other and to the numeric source ports.
    pub src_named_port_sets: Vec<SmolStr>,
    /// Named-port sets, alternatives to each other and to the numeric destination ports.
    pub dst_named_port_sets: Vec<SmolStr>,
    /// Named-port sets, none of which may match the source.
    pub not_src_named_port_sets: Vec<SmolStr>,
    /// Named-port sets, none of which may match the destination.
    pub not_dst_named_port_sets: Vec<SmolStr>,
    /// Service sets that must hold the destination's address, protocol and port (AND).
    pub dst_ip_port_sets: Vec<SmolStr>,
}

impl ScannedRule {
    /// A rule that names no set.
    pub(crate) const fn without_sets(rule: Rule) -> Self {
        Self {
            rule,
            src_ip_sets: Vec::new(),
            dst_ip_sets: Vec::new(),
            not_src_ip_sets: Vec::new(),
            not_dst_ip_sets: Vec::new(),
            src_named_port_sets: Vec::new(),
            dst_named_port_sets: Vec::new(),
            not_src_named_port_sets: Vec::new(),
            not_dst_named_port_sets: Vec::new(),
            dst_ip_port_sets: Vec::new(),
        }
    }

    /// Every set that the rule names, in the order of the fields.
    pub fn ip_sets(&self) -> impl Iterator<Item = &SmolStr> {
        let Self {
            rule: _,
            src_ip_sets,
            dst_ip_sets,
            not_src_ip_sets,
            not_dst_ip_sets,
            src_named_port_sets,
            dst_named_port_sets,
            not_src_named_port_sets,
            not_dst_named_port_sets,
            dst_ip_port_sets,
        } = self;
        [
            src_ip_sets,
            dst_ip_sets,
            not_src_ip_sets,
            not_dst_ip_sets,
            src_named_port_sets,
            dst_named_port_sets,
            not_src_named_port_sets,
            not_dst_named_port_sets,
            dst_ip_port_sets,
        ]
        .into_iter()
        .flatten()
    }
}

/// A policy that some local endpoint needs.
#[derive(Clone, Debug, PartialEq)]
pub struct ActivePolicy {
    /// The tier's name.
    pub tier: SmolStr,
    /// Canonical text of the combined selector.
    pub selector: SmolStr,
    /// Rules for traffic towards an endpoint, as converted; an endpoint's lists
    /// say in which directions the policy applies.
    pub inbound_rules: Vec<ScannedRule>,
    /// Rules for traffic from an endpoint, as converted.
    pub outbound_rules: Vec<ScannedRule>,
    /// Enforced before connection tracking.
    pub untracked: bool,
    /// Enforced before DNAT.
    pub pre_dnat: bool,
    /// The policy's `performanceHints`.
    pub perf_hints: Vec<SmolStr>,
}

/// A profile that some local endpoint lists.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ActiveProfile {
    /// Rules for traffic towards an endpoint.
    pub inbound_rules: Vec<ScannedRule>,
    /// Rules for traffic from an endpoint.
    pub outbound_rules: Vec<ScannedRule>,
}

/// The policies of one tier that select an endpoint, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TierPolicies {
    /// The tier's name.
    pub name: SmolStr,
    /// `None` for a tier that does not exist.
    pub default_action: Option<TierAction>,
    /// Policies for traffic towards the endpoint.
    pub ingress: Vec<PolicyKey>,
    /// Policies for traffic from the endpoint.
    pub egress: Vec<PolicyKey>,
}

/// The ordered tiers of an endpoint; endpoints selected by the same policies share one.
pub type PolicyList = Arc<[TierPolicies]>;

/// The four policy lists of a host endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPolicyLists {
    /// Tiers for traffic that ends at the host.
    pub normal: PolicyList,
    /// Tiers before connection tracking.
    pub untracked: PolicyList,
    /// Tiers before DNAT.
    pub pre_dnat: PolicyList,
    /// Tiers for forwarded traffic.
    pub forward: PolicyList,
}

/// Which tunnels the pools in force ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Encapsulation {
    /// IP in IP, always or across subnets.
    pub ipip: bool,
    /// VXLAN to pools of IPv4 addresses.
    pub vxlan: bool,
    /// VXLAN to pools of IPv6 addresses.
    pub vxlan_v6: bool,
}

/// One change. Borrowed from the graph: a receiver encodes or copies it at once.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each variant says what its fields are")]
pub enum Delta<'a> {
    /// A new IP set with its members.
    IpSetUpdate { id: &'a SmolStr, kind: IpSetKind, members: &'a [Member] },
    /// Members of a known set came and went.
    IpSetDelta { id: &'a SmolStr, added: &'a [Member], removed: &'a [Member] },
    /// No rule names the set any more.
    IpSetRemove { id: &'a SmolStr },
    /// A policy became active, or changed.
    PolicyUpdate { key: &'a PolicyKey, policy: &'a ActivePolicy },
    /// No local endpoint needs the policy any more.
    PolicyRemove { key: &'a PolicyKey },
    /// A profile became active, or changed.
    ProfileUpdate { name: &'a SmolStr, profile: &'a ActiveProfile },
    /// No local endpoint lists the profile any more.
    ProfileRemove { name: &'a SmolStr },
    /// A local workload endpoint, and what applies to it.
    WorkloadUpdate { key: &'a WorkloadEndpointKey, endpoint: &'a WorkloadEndpoint, tiers: &'a PolicyList },
    /// A local workload endpoint is gone.
    WorkloadRemove { key: &'a WorkloadEndpointKey },
    /// A host endpoint of this node, and what applies to it.
    HostUpdate { key: &'a HostEndpointKey, endpoint: &'a HostEndpoint, tiers: &'a HostPolicyLists },
    /// A host endpoint of this node is gone.
    HostRemove { key: &'a HostEndpointKey },
    /// A service account's labels.
    ServiceAccountUpdate { namespace: &'a str, name: &'a str, labels: &'a Labels },
    /// A service account is gone.
    ServiceAccountRemove { namespace: &'a str, name: &'a str },
    /// A namespace's labels.
    NamespaceUpdate { name: &'a str, labels: &'a Labels },
    /// A namespace is gone.
    NamespaceRemove { name: &'a str },
    /// A node's addresses and labels.
    HostMetadataUpdate { hostname: &'a SmolStr, node: &'a Node },
    /// A node is gone.
    HostMetadataRemove { hostname: &'a SmolStr },
    /// A pool of addresses.
    IpPoolUpdate { pool: &'a IpPool },
    /// There is no pool of a prefix any more.
    IpPoolRemove { cidr: Cidr },
    /// The tunnels that pools ask for: once everything was listed, and when they change.
    Encapsulation { encapsulation: Encapsulation },
    /// A service, and what it is reached at.
    ServiceUpdate { key: &'a ServiceRef, service: &'a Service },
    /// A service is gone.
    ServiceRemove { key: &'a ServiceRef },
    /// Everything that the sources listed first has been told. Sent once.
    InSync,
}
