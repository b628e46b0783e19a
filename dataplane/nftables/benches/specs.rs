//! Rulesets of the sizes S, M and L, loaded into a namespace of their own.

use std::net::Ipv4Addr;

use caracal_nftables::{NftablesDriver, Ownership, Settings};
use caracal_program::{Driver as _, PolicyStore, Sweep};
use caracal_proto::felix::{self, to_dataplane::Payload};
use caracal_sys::netns::NetNs;
use caracal_sys::nft::NftSocket;

/// A size of the ruleset.
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    sets: u32,
    members: u32,
    chains: u32,
}

pub(crate) const SPECS: [Spec; 3] = [
    Spec { name: "S", sets: 100, members: 20, chains: 100 },
    Spec { name: "M", sets: 500, members: 50, chains: 500 },
    Spec { name: "L", sets: 2_000, members: 100, chains: 2_000 },
];

/// Rules in each policy chain.
const RULES: u32 = 10;

/// Endpoints on the node; they share the policy chains among them.
const PODS: u32 = 100;

/// A driver that has programmed a store, and a socket of somebody else in the same
/// namespace.
pub(crate) struct Loaded {
    pub(crate) store: PolicyStore,
    pub(crate) driver: NftablesDriver,
    pub(crate) other: NftSocket,
}

/// The sizes that are named on the command line; all if none is.
pub(crate) fn wanted() -> impl Iterator<Item = &'static Spec> {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    SPECS.iter().filter(move |spec| wanted.is_empty() || wanted.iter().any(|name| name == spec.name))
}

/// Loads a ruleset of a size; needs root.
pub(crate) fn load(spec: &Spec, ownership: Ownership) -> Loaded {
    let store = store(spec);
    let mut settings = Settings::default();
    settings.ownership = ownership;
    let namespace = NetNs::new().expect("a network namespace; needs root");
    let opened = namespace.run(|| {
        let driver = NftablesDriver::new(settings).expect("nf_tables");
        (driver, NftSocket::open().expect("a netlink socket"))
    });
    let (mut driver, other) = opened.expect("the namespace can be entered");
    driver.resync(&store, Sweep::Remove).expect("the kernel takes the ruleset");
    Loaded { store, driver, other }
}

fn store(spec: &Spec) -> PolicyStore {
    let mut store = PolicyStore::new();
    let mut tell = |payload| {
        let message = felix::ToDataplane { sequence_number: 0, payload: Some(payload) };
        store.apply(&message).expect("a message that can be understood");
    };
    for set in 0..spec.sets {
        let members =
            (0..spec.members).map(|n| format!("{}/32", Ipv4Addr::from_bits(0x0a00_0001 + set * spec.members + n)));
        tell(Payload::IpsetUpdate(felix::IpSetUpdate {
            id: set_id(set),
            members: members.collect(),
            r#type: felix::ip_set_update::IpSetType::Net.into(),
        }));
    }
    for policy in 0..spec.chains {
        let rules = (0..RULES).map(|rule| allow(8_000 + rule, (policy * RULES + rule) % spec.sets));
        let policy_of =
            felix::Policy { inbound_rules: rules.collect(), tier: "default".into(), ..felix::Policy::default() };
        tell(Payload::ActivePolicyUpdate(felix::ActivePolicyUpdate {
            id: Some(policy_id(policy)),
            policy: Some(policy_of),
        }));
    }
    for pod in 0..PODS {
        tell(endpoint(pod, spec));
    }
    tell(Payload::InSync(felix::InSync {}));
    store
}

fn set_id(set: u32) -> String {
    format!("s:set{set}")
}

fn policy_id(policy: u32) -> felix::PolicyId {
    felix::PolicyId { kind: "NetworkPolicy".into(), namespace: "ns".into(), name: format!("p{policy}") }
}

fn allow(port: u32, set: u32) -> felix::Rule {
    let port = i32::try_from(port).expect("a port");
    felix::Rule {
        action: "allow".into(),
        protocol: Some(felix::Protocol { number_or_name: Some(felix::protocol::NumberOrName::Name("tcp".into())) }),
        dst_ports: vec![felix::PortRange { first: port, last: port }],
        src_ip_set_ids: vec![set_id(set)],
        ..felix::Rule::default()
    }
}

fn endpoint(pod: u32, spec: &Spec) -> Payload {
    let share = spec.chains / PODS;
    let tier = felix::TierInfo {
        name: "default".into(),
        default_action: "Deny".into(),
        ingress_policies: (pod * share..(pod + 1) * share).map(policy_id).collect(),
        egress_policies: Vec::new(),
    };
    Payload::WorkloadEndpointUpdate(felix::WorkloadEndpointUpdate {
        id: Some(felix::WorkloadEndpointId {
            orchestrator_id: "k8s".into(),
            workload_id: format!("ns/pod{pod}"),
            endpoint_id: "eth0".into(),
        }),
        endpoint: Some(felix::WorkloadEndpoint {
            state: "active".into(),
            name: format!("cali{pod}"),
            tiers: vec![tier],
            ..felix::WorkloadEndpoint::default()
        }),
    })
}
