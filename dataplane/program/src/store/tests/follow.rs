//! A driver in miniature keeps a copy of the state by following changes; the
//! copy must equal the state however the changes came about.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use caracal_net::Cidr;
use caracal_proto::felix::{self, to_dataplane::Payload};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use smol_str::SmolStr;

use crate::messages::wrap;
use crate::{
    Change, HostEndpoint, HostId, IpPool, Member, PolicyId, PolicyProgram, PolicyStore, PoolId, ProfileName,
    ProfileProgram, SetId, SetKind, WorkloadEndpoint, coalesce,
};

#[derive(Debug, Default, PartialEq)]
struct Follower {
    sets: BTreeMap<SetId, (SetKind, BTreeSet<Member>)>,
    policies: BTreeMap<PolicyId, Arc<PolicyProgram>>,
    profiles: BTreeMap<ProfileName, Arc<ProfileProgram>>,
    hosts: BTreeMap<HostId, Arc<HostEndpoint>>,
    interfaces: BTreeMap<SmolStr, Arc<WorkloadEndpoint>>,
    pools: BTreeMap<PoolId, IpPool>,
    cluster: (Vec<IpAddr>, Vec<Cidr>),
    config: BTreeMap<String, String>,
    in_sync: bool,
}

fn cluster(store: &PolicyStore) -> (Vec<IpAddr>, Vec<Cidr>) {
    (store.node_addresses().collect(), store.service_prefixes().collect())
}

fn put<K: Ord, V: Clone>(map: &mut BTreeMap<K, V>, key: K, value: Option<&V>) {
    match value {
        Some(value) => drop(map.insert(key, value.clone())),
        None => drop(map.remove(&key)),
    }
}

impl Follower {
    /// The copy that was made by reading everything.
    fn of(store: &PolicyStore) -> Self {
        Self {
            sets: store.ip_sets().map(|(id, set)| (id.clone(), (set.kind(), set.members().collect()))).collect(),
            policies: store.policies().map(|p| (p.id.clone(), Arc::clone(p))).collect(),
            profiles: store.profiles().map(|p| (p.name.clone(), Arc::clone(p))).collect(),
            hosts: store.hosts().map(|h| (h.id.clone(), Arc::clone(h))).collect(),
            interfaces: store
                .workloads()
                .filter(|endpoint| store.is_active(endpoint))
                .map(|endpoint| (endpoint.interface.clone(), Arc::clone(endpoint)))
                .collect(),
            pools: store.pools().map(|(id, pool)| (id.clone(), pool.clone())).collect(),
            cluster: cluster(store),
            config: store.config().clone(),
            in_sync: store.in_sync(),
        }
    }

    fn follow(&mut self, store: &PolicyStore, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Nothing => {}
                Change::SetMembers { id, added, removed } => {
                    let (_, members) = self.sets.get_mut(id).expect("a known set");
                    for member in removed {
                        assert!(members.remove(member), "{member:?} was not in {id}");
                    }
                    for member in added {
                        assert!(members.insert(*member), "{member:?} was in {id} already");
                    }
                }
                Change::SetReplaced(id) => {
                    let set = store.ip_set(id).expect("a set of the store");
                    self.sets.insert(id.clone(), (set.kind(), set.members().collect()));
                }
                Change::SetRemoved(id) => drop(self.sets.remove(id)),
                Change::Policy(id) => put(&mut self.policies, id.clone(), store.policy(id)),
                Change::Profile(name) => put(&mut self.profiles, name.clone(), store.profile(name)),
                Change::HostEndpoint(id) => put(&mut self.hosts, id.clone(), store.host(id)),
                Change::Endpoint { interfaces, .. } => {
                    for interface in interfaces {
                        put(&mut self.interfaces, interface.clone(), store.active_on(interface));
                    }
                }
                Change::IpPool(id) => put(&mut self.pools, id.clone(), store.pool(id)),
                Change::HostAddresses => {}
                Change::Cluster => self.cluster = cluster(store),
                Change::Config => self.config.clone_from(store.config()),
                Change::InSync => self.in_sync = store.in_sync(),
            }
        }
    }
}

const MEMBERS: [&str; 5] = ["10.0.0.1/32", "10.0.0.2/32", "10.0.0.0/24", "fd00::1/128", "fd00::/64"];
const PORT_MEMBERS: [&str; 3] = ["10.0.0.1,tcp:80", "10.0.0.1,udp:80", "fd00::1,tcp:80"];

fn texts(choices: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    subsequence(choices, 0..=choices.len()).prop_map(|picked| picked.into_iter().map(str::to_owned).collect())
}

fn set_messages() -> impl Strategy<Value = Payload> {
    use felix::ip_set_update::IpSetType;
    let ids = || select(&["s", "t"]).prop_map(str::to_owned);
    let update = |kind: IpSetType, members| {
        (ids(), members).prop_map(move |(id, members)| {
            Payload::IpsetUpdate(felix::IpSetUpdate { id, members, r#type: kind.into() })
        })
    };
    prop_oneof![
        1 => update(IpSetType::Net, texts(&MEMBERS).boxed()),
        1 => update(IpSetType::IpAndPort, texts(&PORT_MEMBERS).boxed()),
        4 => (ids(), texts(&MEMBERS), texts(&MEMBERS)).prop_map(|(id, added_members, removed_members)| {
            Payload::IpsetDeltaUpdate(felix::IpSetDeltaUpdate { id, added_members, removed_members })
        }),
        1 => ids().prop_map(|id| Payload::IpsetRemove(felix::IpSetRemove { id })),
    ]
}

fn rule_messages() -> impl Strategy<Value = Payload> {
    let names = || select(&["a", "b"]).prop_map(str::to_owned);
    // One of the actions is unknown, so that some messages are refused.
    let rules = || {
        prop::collection::vec(select(&["allow", "deny", "permit"]), 0..2).prop_map(|actions| {
            let rule = |action: &str| felix::Rule { action: action.to_owned(), ..felix::Rule::default() };
            actions.into_iter().map(rule).collect::<Vec<_>>()
        })
    };
    let policy_id =
        |name: String| Some(felix::PolicyId { name, kind: "NetworkPolicy".to_owned(), namespace: String::new() });
    prop_oneof![
        (names(), rules()).prop_map(move |(name, inbound_rules)| {
            Payload::ActivePolicyUpdate(felix::ActivePolicyUpdate {
                id: policy_id(name),
                policy: Some(felix::Policy { inbound_rules, ..felix::Policy::default() }),
            })
        }),
        names()
            .prop_map(move |name| { Payload::ActivePolicyRemove(felix::ActivePolicyRemove { id: policy_id(name) }) }),
        (names(), rules()).prop_map(|(name, outbound_rules)| {
            Payload::ActiveProfileUpdate(felix::ActiveProfileUpdate {
                id: Some(felix::ProfileId { name }),
                profile: Some(felix::Profile { outbound_rules, ..felix::Profile::default() }),
            })
        }),
        names().prop_map(|name| {
            Payload::ActiveProfileRemove(felix::ActiveProfileRemove { id: Some(felix::ProfileId { name }) })
        }),
    ]
}

fn endpoint_messages() -> impl Strategy<Value = Payload> {
    let ids = || {
        select(&["a", "b", "c"]).prop_map(|name| {
            Some(felix::WorkloadEndpointId { workload_id: name.to_owned(), ..felix::WorkloadEndpointId::default() })
        })
    };
    let host_ids = || select(&["h", "i"]).prop_map(|name| Some(felix::HostEndpointId { endpoint_id: name.to_owned() }));
    let interfaces = || select(&["cali0", "cali1"]).prop_map(str::to_owned);
    let profiles = subsequence(vec!["p".to_owned(), "q".to_owned()], 0..=2);
    prop_oneof![
        4 => (ids(), interfaces(), profiles).prop_map(|(id, name, profile_ids)| {
            Payload::WorkloadEndpointUpdate(felix::WorkloadEndpointUpdate {
                id,
                endpoint: Some(felix::WorkloadEndpoint { name, profile_ids, ..felix::WorkloadEndpoint::default() }),
            })
        }),
        2 => ids().prop_map(|id| Payload::WorkloadEndpointRemove(felix::WorkloadEndpointRemove { id })),
        1 => (host_ids(), interfaces()).prop_map(|(id, name)| {
            Payload::HostEndpointUpdate(felix::HostEndpointUpdate {
                id,
                endpoint: Some(felix::HostEndpoint { name, ..felix::HostEndpoint::default() }),
            })
        }),
        1 => host_ids().prop_map(|id| Payload::HostEndpointRemove(felix::HostEndpointRemove { id })),
    ]
}

fn pool_messages() -> impl Strategy<Value = Payload> {
    let ids = || select(&["10.0.0.0-8", "fd00::-64"]).prop_map(str::to_owned);
    // One of the prefixes is none, so that some messages are refused.
    let cidrs = select(&["10.0.0.0/8", "fd00::/64", "everything"]);
    prop_oneof![
        2 => (ids(), cidrs, any::<bool>()).prop_map(|(id, cidr, masquerade)| {
            let pool = felix::IpamPool { cidr: cidr.to_owned(), masquerade, ..felix::IpamPool::default() };
            Payload::IpamPoolUpdate(felix::IpamPoolUpdate { id, pool: Some(pool) })
        }),
        1 => ids().prop_map(|id| Payload::IpamPoolRemove(felix::IpamPoolRemove { id })),
    ]
}

fn other_messages() -> impl Strategy<Value = Payload> {
    prop_oneof![
        Just(Payload::InSync(felix::InSync {})),
        texts(&["A", "B"]).prop_map(|names| {
            Payload::ConfigUpdate(felix::ConfigUpdate {
                config: names.into_iter().map(|name| (name, String::new())).collect(),
                ..felix::ConfigUpdate::default()
            })
        }),
    ]
}

fn messages() -> impl Strategy<Value = Vec<felix::ToDataplane>> {
    let message = prop_oneof![
        4 => set_messages(),
        3 => rule_messages(),
        4 => endpoint_messages(),
        1 => pool_messages(),
        1 => other_messages(),
    ];
    prop::collection::vec(message.prop_map(wrap), 0..40)
}

proptest! {
    #[test]
    fn following_changes_gives_the_state(revisions in prop::collection::vec(messages(), 1..4)) {
        let mut store = PolicyStore::new();
        let mut one_by_one = Follower::default();
        let mut by_revision = Follower::default();
        let mut by_difference = Follower::default();
        for revision in revisions {
            let before = store.clone();
            let mut changes = Vec::new();
            for message in &revision {
                let untouched = store.clone();
                match store.apply(message) {
                    Ok(change) => {
                        prop_assert_eq!(change == Change::Nothing, store == untouched);
                        one_by_one.follow(&store, std::slice::from_ref(&change));
                        changes.push(change);
                    }
                    Err(_) => prop_assert_eq!(&store, &untouched),
                }
            }
            by_revision.follow(&store, &coalesce(changes));
            by_difference.follow(&store, &store.diff_from(&before));
            for follower in [&one_by_one, &by_revision, &by_difference] {
                prop_assert_eq!(follower, &Follower::of(&store));
            }
            prop_assert_eq!(store.diff_from(&store), []);
        }
    }

    #[test]
    fn the_state_is_that_of_a_snapshot(messages in messages(), reversed in any::<bool>()) {
        let mut store = PolicyStore::new();
        let mut snapshot = Snapshot::default();
        for message in &messages {
            let understood = store.apply(message).is_ok();
            prop_assert_eq!(understood, snapshot.fold(message), "{:?}", message);
        }
        let mut messages = snapshot.messages();
        if reversed {
            messages.reverse();
        }
        let mut fresh = PolicyStore::new();
        for message in &messages {
            fresh.apply(message).expect("an understood message");
        }
        prop_assert_eq!(fresh, store);
    }
}

/// The last message about each object, and sets as lists of texts.
#[derive(Default)]
struct Snapshot {
    sets: BTreeMap<String, felix::IpSetUpdate>,
    objects: BTreeMap<String, Payload>,
}

impl Snapshot {
    /// Takes a message in, unless it is one that has to be refused.
    fn fold(&mut self, message: &felix::ToDataplane) -> bool {
        let payload = message.payload.clone().expect("a payload");
        match &payload {
            Payload::IpsetUpdate(update) => {
                self.sets.insert(update.id.clone(), update.clone());
            }
            Payload::IpsetDeltaUpdate(delta) => {
                let Some(set) = self.sets.get_mut(&delta.id) else { return false };
                let ports = set.r#type == i32::from(felix::ip_set_update::IpSetType::IpAndPort);
                if ports && !(delta.added_members.is_empty() && delta.removed_members.is_empty()) {
                    return false;
                }
                set.members.retain(|member| !delta.removed_members.contains(member));
                set.members.extend(delta.added_members.iter().cloned());
            }
            Payload::IpsetRemove(remove) => drop(self.sets.remove(&remove.id)),
            Payload::ActivePolicyUpdate(update) => {
                let policy = update.policy.as_ref().expect("a policy");
                if policy.inbound_rules.iter().any(|rule| rule.action == "permit") {
                    return false;
                }
                self.objects.insert(format!("policy {:?}", update.id), payload);
            }
            Payload::ActivePolicyRemove(remove) => drop(self.objects.remove(&format!("policy {:?}", remove.id))),
            Payload::ActiveProfileUpdate(update) => {
                let profile = update.profile.as_ref().expect("a profile");
                if profile.outbound_rules.iter().any(|rule| rule.action == "permit") {
                    return false;
                }
                self.objects.insert(format!("profile {:?}", update.id), payload);
            }
            Payload::ActiveProfileRemove(remove) => drop(self.objects.remove(&format!("profile {:?}", remove.id))),
            Payload::WorkloadEndpointUpdate(update) => {
                self.objects.insert(format!("workload {:?}", update.id), payload);
            }
            Payload::WorkloadEndpointRemove(remove) => drop(self.objects.remove(&format!("workload {:?}", remove.id))),
            Payload::HostEndpointUpdate(update) => {
                self.objects.insert(format!("host {:?}", update.id), payload);
            }
            Payload::HostEndpointRemove(remove) => drop(self.objects.remove(&format!("host {:?}", remove.id))),
            Payload::IpamPoolUpdate(update) => {
                if update.pool.as_ref().is_some_and(|pool| pool.cidr == "everything") {
                    return false;
                }
                self.objects.insert(format!("pool {}", update.id), payload);
            }
            Payload::IpamPoolRemove(remove) => drop(self.objects.remove(&format!("pool {}", remove.id))),
            Payload::ConfigUpdate(_) => drop(self.objects.insert("config".to_owned(), payload)),
            Payload::InSync(_) => drop(self.objects.insert("in sync".to_owned(), payload)),
            other => panic!("not generated: {other:?}"),
        }
        true
    }

    fn messages(self) -> Vec<felix::ToDataplane> {
        let sets = self.sets.into_values().map(Payload::IpsetUpdate);
        sets.chain(self.objects.into_values()).map(wrap).collect()
    }
}
