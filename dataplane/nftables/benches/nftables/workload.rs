//! The rulesets of the sizes S, M and L, and the messages of each change.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use caracal_proto::felix::{self, to_dataplane::Payload};

/// A size of the ruleset.
#[derive(Clone, Copy)]
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    pub(crate) sets: u32,
    pub(crate) members: u32,
    pub(crate) chains: u32,
    /// Endpoints on the node; they share the policy chains among them.
    pub(crate) pods: u32,
}

pub(crate) const SPECS: [Spec; 3] = [
    Spec { name: "S", sets: 100, members: 20, chains: 100, pods: 100 },
    Spec { name: "M", sets: 500, members: 50, chains: 500, pods: 100 },
    Spec { name: "L", sets: 2_000, members: 100, chains: 2_000, pods: 100 },
];

/// Rules in each policy chain.
pub(crate) const RULES: u32 = 10;

/// Pods with policies of their own; further pods have the policies of one of these.
pub(crate) const PROGRAMS: u32 = 100;

/// Sets that a new pod is a member of.
pub(crate) const POD_SETS: u32 = 50;

/// The one profile: everything is allowed.
pub(crate) const PROFILE: &str = "kns.ns";

impl Spec {
    /// Everything in a ruleset of this size, one message at a time.
    pub(crate) fn ruleset(&self) -> impl Iterator<Item = Payload> + '_ {
        let sets = (0..self.sets).map(|set| {
            Payload::IpsetUpdate(felix::IpSetUpdate {
                id: set_id(set),
                members: self.addresses(set).map(|addr| format!("{addr}/32")).collect(),
                r#type: felix::ip_set_update::IpSetType::Net.into(),
            })
        });
        let policies = (0..self.chains).map(|policy| policy_update(policy, &self.rules_of(policy)));
        let open = felix::Rule { action: "allow".into(), ..felix::Rule::default() };
        let profile = Payload::ActiveProfileUpdate(felix::ActiveProfileUpdate {
            id: Some(felix::ProfileId { name: PROFILE.into() }),
            profile: Some(felix::Profile { inbound_rules: vec![open.clone()], outbound_rules: vec![open] }),
        });
        let pods = (0..self.pods).map(|pod| {
            endpoint(&format!("ns/pod{pod}"), &interface(pod), addresses_of(13, pod), self.policies_of(pod))
        });
        sets.chain(policies).chain([profile]).chain(pods).chain([Payload::InSync(felix::InSync {})])
    }

    /// The members of a set.
    pub(crate) fn addresses(&self, set: u32) -> impl Iterator<Item = Ipv4Addr> + use<> {
        let first = 0x0a00_0001 + set * self.members;
        (0..self.members).map(move |n| Ipv4Addr::from_bits(first + n))
    }

    /// What the rules of a policy let in: the ports, and the sets of sources.
    pub(crate) fn ports_and_sets(&self, policy: u32) -> impl Iterator<Item = (u16, u32)> + use<> {
        let sets = self.sets;
        (0..RULES).map(move |rule| (u16::try_from(8_000 + rule).expect("a port"), (policy * RULES + rule) % sets))
    }

    pub(crate) fn rules_of(&self, policy: u32) -> Vec<felix::Rule> {
        self.ports_and_sets(policy).map(|(port, set)| allow(port, set)).collect()
    }

    /// The policies of a pod.
    pub(crate) fn policies_of(&self, pod: u32) -> std::ops::Range<u32> {
        let (share, pod) = (self.chains / PROGRAMS, pod % PROGRAMS);
        pod * share..(pod + 1) * share
    }
}

/// As long as an id that the graph gives, and as different from others in its first characters.
pub(crate) fn set_id(set: u32) -> String {
    format!("s:{set:04}{:034}", 0)
}

/// The interface of a pod of the ruleset.
pub(crate) fn interface(pod: u32) -> String {
    format!("cali{pod}")
}

/// A pod's two addresses, in the networks of a number.
pub(crate) fn addresses_of(network: u8, pod: u32) -> [IpAddr; 2] {
    let [.., high, low] = pod.to_be_bytes();
    let v6 = Ipv6Addr::new(0xfd00, network.into(), 0, 0, 0, 0, 0, u16::from_be_bytes([high, low]));
    [Ipv4Addr::new(network, 0, high, low).into(), v6.into()]
}

/// A rule that lets the members of a set in on a port.
pub(crate) fn allow(port: u16, set: u32) -> felix::Rule {
    let port = i32::from(port);
    felix::Rule {
        action: "allow".into(),
        protocol: Some(felix::Protocol { number_or_name: Some(felix::protocol::NumberOrName::Name("tcp".into())) }),
        dst_ports: vec![felix::PortRange { first: port, last: port }],
        src_ip_set_ids: vec![set_id(set)],
        ..felix::Rule::default()
    }
}

pub(crate) fn policy_id(policy: u32) -> felix::PolicyId {
    felix::PolicyId { kind: "NetworkPolicy".into(), namespace: "ns".into(), name: format!("p{policy}") }
}

pub(crate) fn policy_update(policy: u32, rules: &[felix::Rule]) -> Payload {
    Payload::ActivePolicyUpdate(felix::ActivePolicyUpdate {
        id: Some(policy_id(policy)),
        policy: Some(felix::Policy {
            inbound_rules: rules.to_vec(),
            tier: "default".into(),
            ..felix::Policy::default()
        }),
    })
}

/// Members that join and leave a set.
pub(crate) fn members(set: u32, added: &[Ipv4Addr], removed: &[Ipv4Addr]) -> Payload {
    let [added_members, removed_members] =
        [added, removed].map(|addrs| addrs.iter().map(|addr| format!("{addr}/32")).collect());
    Payload::IpsetDeltaUpdate(felix::IpSetDeltaUpdate { id: set_id(set), added_members, removed_members })
}

/// An endpoint with these addresses and policies.
pub(crate) fn endpoint(pod: &str, interface: &str, addrs: [IpAddr; 2], policies: std::ops::Range<u32>) -> Payload {
    let [v4, v6] = addrs.map(|addr| vec![caracal_net::Cidr::host(addr).to_string()]);
    let tier = felix::TierInfo {
        name: "default".into(),
        default_action: "Deny".into(),
        ingress_policies: policies.map(policy_id).collect(),
        egress_policies: Vec::new(),
    };
    Payload::WorkloadEndpointUpdate(felix::WorkloadEndpointUpdate {
        id: Some(workload_id(pod)),
        endpoint: Some(felix::WorkloadEndpoint {
            state: "active".into(),
            name: interface.into(),
            profile_ids: vec![PROFILE.into()],
            ipv4_nets: v4,
            ipv6_nets: v6,
            tiers: vec![tier],
            ..felix::WorkloadEndpoint::default()
        }),
    })
}

pub(crate) fn endpoint_remove(pod: &str) -> Payload {
    Payload::WorkloadEndpointRemove(felix::WorkloadEndpointRemove { id: Some(workload_id(pod)) })
}

fn workload_id(pod: &str) -> felix::WorkloadEndpointId {
    felix::WorkloadEndpointId { orchestrator_id: "k8s".into(), workload_id: pod.into(), endpoint_id: "eth0".into() }
}

/// A pod that comes and goes: the sets that it joins.
pub(crate) struct NewPod {
    pub(crate) name: String,
    pub(crate) interface: String,
    pub(crate) addrs: [IpAddr; 2],
    pub(crate) sets: Vec<u32>,
}

impl NewPod {
    pub(crate) fn new(number: u8, spec: &Spec) -> Self {
        Self {
            name: format!("ns/new{number}"),
            interface: format!("calinew{number}"),
            addrs: addresses_of(12, number.into()),
            sets: (0..POD_SETS).map(|n| n * spec.sets / POD_SETS).collect(),
        }
    }

    /// The address that is a member of its sets.
    pub(crate) fn member(&self) -> Ipv4Addr {
        match self.addrs {
            [IpAddr::V4(addr), _] => addr,
            [IpAddr::V6(_), _] => unreachable!("the first one is of IPv4"),
        }
    }

    /// It joins its sets and gets the policies of the first pod.
    pub(crate) fn comes(&self, spec: &Spec) -> Vec<Payload> {
        let joins = self.sets.iter().map(|set| members(*set, &[self.member()], &[]));
        joins.chain([endpoint(&self.name, &self.interface, self.addrs, spec.policies_of(0))]).collect()
    }

    pub(crate) fn goes(&self) -> Vec<Payload> {
        let leaves = self.sets.iter().map(|set| members(*set, &[], &[self.member()]));
        leaves.chain([endpoint_remove(&self.name)]).collect()
    }
}
