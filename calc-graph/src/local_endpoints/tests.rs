//! What the receiver has against what is held.

use caracal_model::{Labels, Policy, PolicyKey};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::ids::ClassIx;
use crate::parents::Inheritance;
use crate::policy_lists::tests::{Listing, policy, policy_key};

/// What a receiver sees of an endpoint: an object without what is for selectors
/// only, and the keys of the policies in its four lists.
type Seen = (String, [Vec<PolicyKey>; 4]);

/// The policies: one of each list that endpoints with the label `a` equal to 1 may have.
fn policies() -> [Policy; 3] {
    let selected = policy("a == '1'");
    [selected.clone(), Policy { pre_dnat: true, ..selected.clone() }, Policy { apply_on_forward: true, ..selected }]
}

/// An endpoint of a name; half of the names are of host endpoints.
fn object(name: u8, interface: u8, value: &str) -> LocalObject {
    let (labels, interface) = (Labels::from_iter([("a", value)]), format!("cali{interface}").into());
    let text = SmolStr::from(format!("e{name}"));
    if name.is_multiple_of(2) {
        let (orchestrator, endpoint) = ("k8s".into(), "eth0".into());
        let key = WorkloadEndpointKey { host: "n".into(), orchestrator, workload: text, endpoint };
        LocalObject::Workload(key, WorkloadEndpoint { labels, interface, ..WorkloadEndpoint::default() }.into())
    } else {
        let key = HostEndpointKey { host: "n".into(), name: text };
        LocalObject::Host(key, HostEndpoint { labels, interface, ..HostEndpoint::default() }.into())
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put {
        name: u8,
        interface: u8,
        value: &'static str,
    },
    Remove(u8),
    /// A policy comes or goes.
    Policy(usize, bool),
    /// Everything was listed.
    Complete,
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    let put = (0u8..4, 0u8..2, select(vec!["1", "2", "3"]));
    prop_oneof![
        6 => put.prop_map(|(name, interface, value)| Step::Put { name, interface, value }),
        3 => (0u8..4).prop_map(Step::Remove),
        2 => (0usize..3, any::<bool>()).prop_map(|(at, on)| Step::Policy(at, on)),
        1 => Just(Step::Complete),
        3 => Just(Step::Flush),
    ]
}

#[derive(Default)]
struct World {
    local: LocalEndpoints,
    listing: Listing,
    /// By name: the item that it is, its interface and label.
    held: BTreeMap<u8, (ItemIx, u8, &'static str)>,
    policies: [bool; 3],
    complete: bool,
    has: BTreeMap<String, Seen>,
    items: u32,
}

impl World {
    fn class(&self, at: LocalIx) -> Option<ClassIx> {
        self.local.space.group_of(MemberIx(at.0)).map(|group| self.local.space.class_of(group))
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Put { name, interface, value } => {
                // A key that comes again is another item.
                self.items += 1;
                let item = self.held.get(&name).map_or(ItemIx(self.items), |(item, ..)| *item);
                let (at, former) = self.local.put(item, object(name, interface, value));
                assert_eq!(former.is_some(), self.held.contains_key(&name));
                let labels = self.listing.labels.acquire(&Labels::from_iter([("a", value)]));
                let (parents, _) = self.listing.parents.acquire(&[]);
                let before = self.class(at);
                let cx = Inheritance { labels: &self.listing.labels, parents: &self.listing.parents };
                if let Some(placement) = self.local.space.plan(cx, MemberIx(at.0), labels, parents, 0) {
                    self.local.space.commit(cx, placement);
                }
                if self.class(at) != before {
                    self.local.note_class(at);
                }
                self.held.insert(name, (item, interface, value));
            }
            Step::Remove(name) => {
                let Some((item, ..)) = self.held.remove(&name) else { return };
                let at = self.local.of_item(item).expect("it is held");
                let cx = Inheritance { labels: &self.listing.labels, parents: &self.listing.parents };
                self.local.space.leave(cx, MemberIx(at.0));
                assert!(self.local.remove(item).is_some());
            }
            Step::Policy(at, on) => {
                let key = policy_key(u8::try_from(at).expect("there are few"));
                let space = &mut self.local.space;
                match on {
                    true => self.listing.put_policy(space, &key, &policies()[at]),
                    false => self.listing.remove_policy(space, &key),
                }
                self.policies[at] = on;
            }
            Step::Complete => self.complete = true,
            Step::Flush => self.flush(),
        }
    }

    fn flush(&mut self) {
        for class in self.listing.refresh(&mut self.local.space) {
            self.local.note_list(class);
        }
        let Self { local, listing, has, complete, .. } = self;
        let mut told = |delta: Delta<'_>| match seen(&delta) {
            (key, Some(seen)) => {
                assert_ne!(has.insert(key, seen.clone()), Some(seen), "told twice");
            }
            (key, None) => assert!(has.remove(&key).is_some(), "{key} was never told"),
        };
        if *complete {
            local.flush_updates(&listing.lists, &mut told);
            assert!(!local.has_updates());
        }
        local.flush_removals(&mut told);
        assert!(!local.has_removals());
        listing.lists.forget_unused();
        let want = self.naive();
        if self.complete {
            assert_eq!(self.has, want);
        } else {
            assert!(self.has.is_empty(), "nothing is told before everything was listed");
        }
        let mut whole = BTreeMap::new();
        self.local.snapshot(&mut |delta| match seen(&delta) {
            (key, Some(seen)) => assert_eq!(whole.insert(key, seen), None),
            (key, None) => panic!("a snapshot removes nothing: {key}"),
        });
        assert_eq!(whole, self.has);
    }

    /// What the receiver is to have, endpoint by endpoint.
    fn naive(&self) -> BTreeMap<String, Seen> {
        let endpoints = self.held.iter().map(|(name, (_, interface, value))| {
            let keys = |of: &[u8]| -> Vec<PolicyKey> {
                let in_force = of.iter().filter(|at| self.policies[usize::from(**at)] && *value == "1");
                in_force.map(|at| policy_key(*at)).collect()
            };
            let (normal, pre_dnat, forward) = (keys(&[0, 2]), keys(&[1]), keys(&[2]));
            match object(*name, *interface, "") {
                LocalObject::Workload(key, endpoint) => {
                    (format!("{key:?}"), (plain_workload(&endpoint), [normal, Vec::new(), Vec::new(), Vec::new()]))
                }
                LocalObject::Host(key, endpoint) => {
                    (format!("{key:?}"), (plain_host(&endpoint), [normal, Vec::new(), pre_dnat, forward]))
                }
            }
        });
        endpoints.collect()
    }
}

fn plain_workload(endpoint: &WorkloadEndpoint) -> String {
    format!("{:?}", WorkloadEndpoint { labels: Labels::default(), ..endpoint.clone() })
}

fn plain_host(endpoint: &HostEndpoint) -> String {
    format!("{:?}", HostEndpoint { labels: Labels::default(), ..endpoint.clone() })
}

/// The key of what is told, and what a receiver sees of it.
fn seen(delta: &Delta<'_>) -> (String, Option<Seen>) {
    let keys = |list: &crate::PolicyList| -> Vec<PolicyKey> {
        list.iter().flat_map(|tier| tier.ingress.iter().chain(&tier.egress)).cloned().collect()
    };
    match delta {
        Delta::WorkloadUpdate { key, endpoint, tiers } => {
            (format!("{key:?}"), Some((plain_workload(endpoint), [keys(tiers), Vec::new(), Vec::new(), Vec::new()])))
        }
        Delta::HostUpdate { key, endpoint, tiers } => {
            let HostPolicyLists { normal, untracked, pre_dnat, forward } = tiers;
            let lists = [normal, untracked, pre_dnat, forward].map(keys);
            (format!("{key:?}"), Some((plain_host(endpoint), lists)))
        }
        Delta::WorkloadRemove { key } => (format!("{key:?}"), None),
        Delta::HostRemove { key } => (format!("{key:?}"), None),
        other => panic!("not of endpoints: {other:?}"),
    }
}

proptest! {
    #[test]
    fn the_receiver_has_what_is_held_and_is_told_of_nothing_else(steps in prop::collection::vec(step(), 0..60)) {
        let mut world = World::default();
        world.local.space.watch_pairs();
        for step in steps.into_iter().chain([Step::Flush, Step::Complete, Step::Flush]) {
            world.take(step);
        }
        for name in 0..4 {
            world.take(Step::Remove(name));
        }
        world.take(Step::Flush);
        prop_assert_eq!(world.has.len(), 0);
    }
}
