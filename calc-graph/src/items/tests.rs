use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;

/// Keys that share parts: hosts, names, and a name that is one kind's and another's.
fn keys() -> Vec<Key> {
    let workload = |host: &str, workload: &str| {
        Key::WorkloadEndpoint(WorkloadEndpointKey {
            host: host.into(),
            orchestrator: "k8s".into(),
            workload: workload.into(),
            endpoint: "eth0".into(),
        })
    };
    let host = |host: &str, name: &str| Key::HostEndpoint(HostEndpointKey { host: host.into(), name: name.into() });
    let set = |name: &str| Key::NetworkSet(NetworkSetKey(name.into()));
    // Of some length, so that the arena is compacted when they go.
    let long = "x".repeat(200);
    vec![
        workload("n1", "shop/web"),
        workload("n1", "shop/db"),
        workload("n2", "shop/web"),
        workload("n2", &long),
        workload("", ""),
        host("n1", "shop/web"),
        host("n1", &long),
        set("shop/web"),
        set(&long),
    ]
}

fn borrowed(key: &Key) -> ItemKey<'_> {
    match key {
        Key::WorkloadEndpoint(key) => ItemKey::Workload(key),
        Key::HostEndpoint(key) => ItemKey::Host(key),
        Key::NetworkSet(key) => ItemKey::NetworkSet(key),
        other => panic!("not of an item: {other:?}"),
    }
}

#[derive(Debug, Default)]
struct Model {
    held: BTreeMap<Key, (ItemIx, Kind, BTreeSet<Cidr>)>,
}

impl Model {
    fn check(&self, items: &Items) {
        for key in keys() {
            assert_eq!(items.find(borrowed(&key)), self.held.get(&key).map(|(at, ..)| *at), "{key:?}");
        }
        let distinct: BTreeSet<ItemIx> = self.held.values().map(|(at, ..)| *at).collect();
        assert_eq!(distinct.len(), self.held.len(), "two items have one id");
        for (key, (at, kind, nets)) in &self.held {
            assert_eq!((&items.key(*at), items.kind(*at)), (key, *kind));
            assert_eq!(&items.nets(*at).collect::<BTreeSet<_>>(), nets);
            let (mut v4, mut other) = (Vec::new(), Vec::new());
            items.collect_nets(*at, &mut v4, &mut other);
            let single = v4.into_iter().map(|bits| Member::Net(Cidr::host(Ipv4Addr::from_bits(bits).into())));
            let collected: BTreeSet<Member> = single.chain(other).collect();
            assert_eq!(collected, nets.iter().copied().map(Member::Net).collect());
        }
        for kind in [Kind::Pod, Kind::WorkloadEndpoint] {
            let of_kind = self.held.values().filter(|(_, of, _)| *of == kind).map(|(at, ..)| at.0);
            let of_kind: RoaringBitmap = of_kind.collect();
            assert_eq!((items.tally().of([kind]), items.of_kind(kind)), (of_kind.len(), of_kind));
        }
    }
}

proptest! {
    #[test]
    fn items_are_found_and_tell_what_they_were_given(
        steps in prop::collection::vec(
            (
                select(keys()),
                any::<Option<bool>>(),
                subsequence(vec!["10.0.0.1", "10.0.0.2", "10.0.0.0/24", "fd00::1", "fd00::/64"], 0..=5),
            ),
            0..80,
        )
    ) {
        let (mut items, mut model) = (Items::default(), Model::default());
        for (key, step, nets) in steps {
            match step {
                None => {
                    if let Some((at, ..)) = model.held.remove(&key) {
                        items.remove(at);
                    }
                }
                Some(pod) => {
                    let kind = if pod { Kind::Pod } else { Kind::WorkloadEndpoint };
                    let nets: BTreeSet<Cidr> = nets.iter().map(|net| net.parse().expect("a prefix")).collect();
                    let at = match items.find(borrowed(&key)) {
                        Some(at) => {
                            items.set_kind(at, kind);
                            at
                        }
                        None => items.insert(borrowed(&key), kind),
                    };
                    items.set_nets(at, &nets.iter().copied().collect::<Vec<_>>());
                    model.held.insert(key, (at, kind, nets));
                }
            }
            model.check(&items);
        }
        for (at, ..) in std::mem::take(&mut model.held).into_values() {
            items.remove(at);
        }
        model.check(&items);
        prop_assert_eq!((items.lists.iter().count(), items.slots.len()), (0, 0), "nothing is left behind");
    }
}
