//! Which kernel messages each workload of the benchmark causes, on the real
//! kernel, in a namespace of its own. The count depends on the change, not on
//! the size of the ruleset.

#[path = "../benches/nftables/workload.rs"]
#[expect(dead_code, reason = "the benchmark needs more of it")]
mod workload;

use std::net::Ipv4Addr;
use std::thread::sleep;
use std::time::Duration;

use caracal_nftables::{NftablesDriver, Settings};
use caracal_program::{Change, Driver, PolicyStore, Receipt, Sweep, coalesce};
use caracal_proto::felix::{self, to_dataplane::Payload};
use caracal_sys::netns::NetNs;

use workload::{NewPod, POD_SETS, RULES, SPECS, Spec, allow, members, policy_update};

struct Node {
    store: PolicyStore,
    driver: NftablesDriver,
}

impl Node {
    fn new(spec: &Spec) -> Self {
        let namespace = NetNs::new().expect("a network namespace; needs root");
        let driver = namespace.run(|| NftablesDriver::new(Settings::default()).expect("nf_tables"));
        let mut node = Self { store: PolicyStore::new(), driver: driver.expect("the namespace can be entered") };
        node.tell(spec.ruleset());
        node.driver.resync(&node.store, Sweep::Remove).expect("the kernel takes the ruleset");
        node
    }

    fn tell(&mut self, messages: impl IntoIterator<Item = Payload>) -> Vec<Change> {
        coalesce(messages.into_iter().map(|payload| {
            let message = felix::ToDataplane { sequence_number: 0, payload: Some(payload) };
            self.store.apply(&message).expect("a message that can be understood")
        }))
    }

    /// Kernel messages of a revision; what the one before left behind goes first.
    fn check(&mut self, what: &str, messages: impl IntoIterator<Item = Payload>, expected: u32) {
        sleep(Duration::from_millis(6));
        self.driver.poll(&self.store).expect("the kernel answers");
        let changes = self.tell(messages);
        let receipt = self.driver.apply(&self.store, &changes).expect("the kernel takes it");
        let Receipt { messages, transactions, .. } = receipt;
        assert_eq!((messages, transactions), (expected as usize, 1), "{what}");
    }
}

fn check(spec: &Spec) {
    let mut node = Node::new(spec);
    let addr = Ipv4Addr::new(11, 0, 0, 1);
    node.check("a member joins: one element", [members(3, &[addr], &[])], 1);
    node.check("a member leaves: one element", [members(3, &[], &[addr])], 1);
    node.check("a chain becomes one rule: flush, rule", [policy_update(7, &[allow(20_000, 3)])], 2);
    node.check("the chain is as before: flush, rules", [policy_update(7, &spec.rules_of(7))], 1 + RULES);
    let mut rules = spec.rules_of(7);
    rules[4] = allow(20_001, 3);
    node.check("one rule becomes another: the others go on counting", [policy_update(7, &rules)], 2);
    rules.push(allow(20_002, 3));
    node.check("one rule more at the end: the others go on counting", [policy_update(7, &rules)], 1);
    rules.insert(0, allow(20_003, 3));
    let renumbered = RULES + 1;
    node.check("one rule more in front: the others get another comment", [policy_update(7, &rules)], 1 + renumbered);
    let pod = NewPod::new(0, spec);
    node.check(
        "a pod comes: its sets, two chains of one rule, two map entries, its addresses",
        pod.comes(spec),
        POD_SETS + 8,
    );
    node.check("a pod goes: its sets, two map entries, its addresses; its chains later", pod.goes(), POD_SETS + 4);
    let receipt = node.driver.resync(&node.store, Sweep::Keep).expect("the kernel answers");
    assert_eq!(receipt.messages, 0, "what stands is right");
}

#[test]
fn a_change_costs_the_same_messages_at_any_size() {
    let [small, medium, _] = SPECS;
    for spec in [small, medium] {
        check(&spec);
    }
}
