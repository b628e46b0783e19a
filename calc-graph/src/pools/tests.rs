use caracal_model::PoolUse;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn pool(cidr: &str, ipip: TunnelMode, vxlan: TunnelMode, masquerade: bool) -> IpPool {
    IpPool { cidr: cidr.parse().expect("a prefix"), masquerade, ipip, vxlan, allowed_uses: vec![PoolUse::Workload] }
}

fn overlap(a: &Cidr, b: &Cidr) -> bool {
    a.covers(b) || b.covers(a)
}

/// By name, each pool that overlaps none that was taken before it.
fn in_force(held: &BTreeMap<SmolStr, IpPool>) -> BTreeMap<Cidr, IpPool> {
    let mut taken: BTreeMap<Cidr, IpPool> = BTreeMap::new();
    for pool in held.values() {
        if !taken.keys().any(|other| overlap(other, &pool.cidr)) {
            taken.insert(pool.cidr, pool.clone());
        }
    }
    taken
}

fn tunnels(pools: &BTreeMap<Cidr, IpPool>) -> Encapsulation {
    let mut tunnels = Encapsulation::default();
    for (cidr, pool) in pools {
        tunnels.ipip |= pool.ipip != TunnelMode::Never;
        if pool.vxlan != TunnelMode::Never {
            let family = if cidr.addr().is_ipv4() { &mut tunnels.vxlan } else { &mut tunnels.vxlan_v6 };
            *family = true;
        }
    }
    tunnels
}

fn a_pool() -> impl Strategy<Value = IpPool> {
    let cidrs = vec!["10.0.0.0/8", "10.1.0.0/16", "10.1.0.0/24", "10.2.0.0/16", "10.1.0.7/32", "fd00::/8", "fd00::/16"];
    let modes = || select(vec![TunnelMode::Never, TunnelMode::Always, TunnelMode::CrossSubnet]);
    (select(cidrs), modes(), modes(), any::<bool>()).prop_map(|(cidr, ipip, vxlan, out)| pool(cidr, ipip, vxlan, out))
}

proptest! {
    #[test]
    fn the_receiver_has_the_pools_in_force_and_their_tunnels(
        steps in prop::collection::vec(
            (0u8..5, select(vec!["put", "put", "put", "remove", "flush", "complete"]), a_pool()),
            0..60,
        )
    ) {
        let (mut pools, mut held, mut has) = (Pools::default(), BTreeMap::new(), BTreeMap::new());
        let (mut told_tunnels, mut complete) = (None, false);
        for (name, step, pool) in steps {
            let name = SmolStr::from(format!("p{name}"));
            match step {
                "put" => {
                    pools.put(name.clone(), pool.clone());
                    held.insert(name, pool);
                }
                "remove" => {
                    pools.remove(&name);
                    held.remove(&name);
                }
                "complete" => complete = true,
                _ => {
                    pools.flush(&mut |delta| match delta {
                        Delta::IpPoolUpdate { pool } => {
                            assert_ne!(has.insert(pool.cidr, pool.clone()).as_ref(), Some(pool), "told twice");
                            let others = has.keys().filter(|other| overlap(other, &pool.cidr));
                            assert_eq!(others.count(), 1, "the receiver never has two that overlap");
                        }
                        Delta::IpPoolRemove { cidr } => assert!(has.remove(&cidr).is_some()),
                        other => panic!("not of pools: {other:?}"),
                    });
                    if complete {
                        pools.flush_encapsulation(&mut |delta| match delta {
                            Delta::Encapsulation { encapsulation } => {
                                assert_ne!(told_tunnels.replace(encapsulation), Some(encapsulation), "told twice");
                            }
                            other => panic!("not of tunnels: {other:?}"),
                        });
                        prop_assert_eq!(told_tunnels, Some(tunnels(&in_force(&held))));
                        prop_assert!(!pools.has_new_encapsulation());
                    }
                    let want = in_force(&held);
                    prop_assert_eq!(&has, &want);
                    prop_assert_eq!(pools.problems().count(), held.len() - want.len());
                    for (key, _, problem) in pools.problems() {
                        let Problem::PoolOverlaps { cidr, other, its } = problem else { panic!("{problem}") };
                        prop_assert!(overlap(cidr, its) && want.get(its) == held.get(other));
                        let Key::IpPool(name) = key else { panic!("{key:?}") };
                        prop_assert!(other < name, "{} before {}", other, name);
                    }
                    prop_assert!(!pools.is_dirty());
                    let (mut whole, mut all_tunnels) = (BTreeMap::new(), None);
                    pools.snapshot(&mut |delta| match delta {
                        Delta::IpPoolUpdate { pool } => drop(whole.insert(pool.cidr, pool.clone())),
                        Delta::Encapsulation { encapsulation } => all_tunnels = Some(encapsulation),
                        other => panic!("not of pools: {other:?}"),
                    });
                    prop_assert_eq!((&whole, all_tunnels), (&has, told_tunnels));
                }
            }
            prop_assert_eq!(pools.names().collect::<Vec<_>>(), held.keys().collect::<Vec<_>>());
        }
    }
}
