use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;

fn key(name: u8) -> ServiceRef {
    ServiceRef { namespace: "shop".into(), name: format!("s{name}").into() }
}

fn service(addresses: &[&str]) -> Service {
    Service { cluster_ips: addresses.iter().copied().map(Into::into).collect(), ..Service::default() }
}

/// The services in force: of those that claim an address, the first.
fn in_force(held: &BTreeMap<ServiceRef, Service>) -> BTreeMap<ServiceRef, Service> {
    let mut claimed = BTreeSet::new();
    let mut in_force = BTreeMap::new();
    for (key, service) in held {
        let own: BTreeSet<IpAddr> = service.own_addresses().collect();
        if own.is_disjoint(&claimed) {
            in_force.insert(key.clone(), service.clone());
        }
        claimed.extend(own);
    }
    in_force
}

proptest! {
    #[test]
    fn the_receiver_has_what_is_in_force(
        steps in prop::collection::vec(
            (0u8..4, select(vec!["put", "put", "remove", "flush"]), subsequence(vec!["10.0.0.1", "10.0.0.2", "None"], 0..=2)),
            0..60,
        )
    ) {
        let (mut table, mut held, mut has) = (ServiceTable::default(), BTreeMap::new(), BTreeMap::new());
        for (name, step, addresses) in steps {
            match step {
                "put" => {
                    table.put(key(name), service(&addresses));
                    held.insert(key(name), service(&addresses));
                }
                "remove" => {
                    table.remove(&key(name));
                    held.remove(&key(name));
                }
                _ => {
                    let before = has.clone();
                    table.flush(&mut |delta| match delta {
                        Delta::ServiceUpdate { key, service } => {
                            assert_ne!(has.insert(key.clone(), service.clone()).as_ref(), Some(service), "told twice");
                        }
                        Delta::ServiceRemove { key } => assert!(has.remove(key).is_some() && before.contains_key(key)),
                        other => panic!("not of services: {other:?}"),
                    });
                    prop_assert_eq!(&has, &in_force(&held));
                    let mut whole = BTreeMap::new();
                    table.snapshot(&mut |delta| {
                        if let Delta::ServiceUpdate { key, service } = delta {
                            whole.insert(key.clone(), service.clone());
                        }
                    });
                    prop_assert_eq!(&whole, &has);
                    prop_assert!(!table.is_dirty());
                }
            }
            let refused = held.len() - in_force(&held).len();
            prop_assert_eq!(table.problems().count(), refused);
        }
    }
}
