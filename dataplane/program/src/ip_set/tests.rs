use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn net(text: &str) -> Member {
    Member::Net(text.parse().expect("a prefix"))
}

fn addr(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn an_ipv4_member_takes_at_most_ten_bytes() {
    let hosts = (0..10_000u32).map(|i| Member::Net(Cidr::host(Ipv4Addr::from_bits(i).into())));
    let mut set = IpSet::with_members(SetKind::Net, hosts);
    assert_eq!(set.v4_hosts.capacity_in_bytes(), 4 * 10_000);
    set.add([net("10.0.0.1")]);
    assert!(set.v4_hosts.capacity_in_bytes() <= 10 * set.len());
    let ports = (0..10_000u32).map(|i| Member::IpPort(Ipv4Addr::from_bits(i).into(), Protocol::TCP, 80));
    assert_eq!(IpSet::with_members(SetKind::IpPort, ports).v4_ports.capacity_in_bytes(), 8 * 10_000);
}

#[test]
fn overlapping_prefixes_are_kept_apart() {
    let mut set = IpSet::with_members(SetKind::Net, [net("10.0.0.0/8"), net("10.1.0.0/16")]);
    assert!(set.holds(addr("10.1.2.3")));
    assert_eq!(set.remove([net("10.0.0.0/8")]), [net("10.0.0.0/8")]);
    assert!(set.holds(addr("10.1.2.3")) && !set.holds(addr("10.2.0.0")));
}

#[test]
fn the_whole_address_space_is_a_prefix_like_others() {
    let set = IpSet::with_members(SetKind::Net, [net("0.0.0.0/0")]);
    assert!(set.holds(addr("203.0.113.9")) && !set.holds(addr("::1")));
    let set = IpSet::with_members(SetKind::Net, [net("::/0")]);
    assert!(set.holds(addr("fd00::1")) && !set.holds(addr("203.0.113.9")));
}

fn addresses() -> impl Strategy<Value = IpAddr> {
    select(&["10.0.0.0", "10.0.0.1", "10.0.1.1", "11.0.0.0", "fd00::", "fd00::1", "fe00::"]).prop_map(addr)
}

fn members() -> impl Strategy<Value = Member> {
    let nets = (addresses(), select(&[0u8, 8, 15, 16, 31, 32, 64, 127, 128]))
        .prop_filter_map("too long", |(addr, len)| Cidr::new(addr, len).ok().map(Member::Net));
    let ports = (addresses(), select(&[Protocol::TCP, Protocol::UDP]), 80..82u16)
        .prop_map(|(addr, protocol, port)| Member::IpPort(addr, protocol, port));
    prop_oneof![3 => nets, 1 => ports]
}

proptest! {
    #[test]
    fn behaves_as_a_set_of_members(
        first in prop::collection::vec(members(), 0..20),
        steps in prop::collection::vec((any::<bool>(), prop::collection::vec(members(), 0..12)), 0..6),
        probes in prop::collection::vec(addresses(), 1..8),
    ) {
        let mut model: BTreeSet<Member> = first.iter().copied().collect();
        let mut set = IpSet::with_members(SetKind::Net, first);
        let start = set.clone();
        for (add, members) in steps {
            let before = model.clone();
            let changed: BTreeSet<Member> = if add {
                model.extend(members.iter().copied());
                set.add(members).into_iter().collect()
            } else {
                model.retain(|member| !members.contains(member));
                set.remove(members).into_iter().collect()
            };
            prop_assert_eq!(changed, &model ^ &before);
        }
        prop_assert_eq!(set.members().collect::<BTreeSet<_>>(), model.clone());
        prop_assert_eq!(set.len(), model.len());
        let start_model: BTreeSet<Member> = start.members().collect();
        prop_assert_eq!(set.without(&start).into_iter().collect::<BTreeSet<_>>(), &model - &start_model);
        for probe in probes {
            let held = model.iter().any(|member| matches!(member, Member::Net(net) if net.contains(probe)));
            prop_assert_eq!(set.holds(probe), held, "{}", probe);
            for port in 80..82 {
                let held = model.contains(&Member::IpPort(probe, Protocol::TCP, port));
                prop_assert_eq!(set.holds_port(probe, Protocol::TCP, port), held);
            }
        }
    }
}
