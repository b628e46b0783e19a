//! Random messages over few values, so that they meet.

use caracal_program::{Packet, Transport};
use caracal_proto::felix;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::{Tier, World, ports, protocol, rule, texts};

const PREFIXES: &[&str] = &[
    "10.0.0.1/32",
    "10.0.0.2/32",
    "10.0.0.3/32",
    "10.0.0.0/31",
    "10.0.0.0/24",
    "10.0.0.2/31",
    "10.1.0.0/16",
    "0.0.0.0/0",
    "0.0.0.0/1",
    "255.255.255.254/31",
    "fd00::1/128",
    "fd00::2/128",
    "fd00::/64",
    "fd00::/127",
    "::/0",
    "ffff::/16",
];
const ADDRS_V4: &[&str] =
    &["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.77", "10.1.0.1", "192.0.2.1", "255.255.255.255"];
const ADDRS_V6: &[&str] = &["fd00::1", "fd00::2", "fd00::77", "2001:db8::1", "ffff::1"];
const PORT_MEMBERS: &[&str] = &[
    "10.0.0.1,tcp:80",
    "10.0.0.1,udp:80",
    "10.0.0.2,tcp:80",
    "10.0.0.2,sctp:8080",
    "10.0.0.3,tcp:443",
    "fd00::1,tcp:80",
    "fd00::2,udp:443",
];
const PORTS: &[u16] = &[0, 79, 80, 81, 443, 8080, 65535];
const RANGES: &[&str] = &["80", "443", "80:81", "81:443", "0:65535", "0:79", "8080:65535"];
const PROTOCOLS: &[&str] = &["tcp", "udp", "sctp", "udplite", "icmp", "icmpv6", "47"];
const NET_SETS: &[&str] = &["s:a", "s:b", "s:c"];
/// Sets of addresses, and what they hold.
const ADDR_SETS: &[&str] = &["i:a"];
const ADDR_MEMBERS: &[&str] = &["10.0.0.1", "10.0.0.3", "10.1.0.1", "fd00::1", "fd00::77"];
/// The sets that may hold an address.
const SETS: &[&str] = &["s:a", "s:b", "s:c", "i:a"];
const PORT_SETS: &[&str] = &["n:a", "n:b"];
const POLICIES: &[&str] = &["ns/a", "ns/b", "c", "d", "staged:e"];
const PROFILES: &[&str] = &["kns.ns", "ksa.ns.default"];
const PODS: &[&str] = &["ns/0", "ns/1", "ns/2"];
const HOSTS: &[&str] = &["a", "b", "c"];
/// The names that host endpoints give: two interfaces, none, all, a workload's.
const HOST_NAMES: &[&str] = &["eth0", "eth1", "", "", "*", "*", "cali0"];
const HOST_ADDRS: &[&str] = &["192.0.2.1", "192.0.2.2", "fd00::1"];
pub(crate) const INTERFACES: &[&str] = &["cali0", "cali1", "tap\"0"];

/// Something told to a store.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Set(&'static str, Vec<&'static str>),
    Members(&'static str, Vec<&'static str>, Vec<&'static str>),
    RemoveSet(&'static str),
    Policy(&'static str, Vec<felix::Rule>, Vec<felix::Rule>),
    RemovePolicy(&'static str),
    Profile(&'static str, Vec<felix::Rule>, Vec<felix::Rule>),
    Endpoint(&'static str, &'static str, &'static str, Vec<RandomTier>, Vec<&'static str>),
    RemoveEndpoint(&'static str),
    /// A host endpoint: id, interface, expected addresses, four lists of tiers, profiles.
    Host(&'static str, &'static str, Vec<&'static str>, [Vec<RandomTier>; 4], Vec<&'static str>),
    RemoveHost(&'static str),
    Addresses(&'static str, Vec<&'static str>),
    /// The sources that the workload of an interface may use.
    Sources(&'static str, Vec<&'static str>),
    /// Pools with tunnels of both kinds, and a host of the cluster.
    Tunnels,
}

pub(crate) type RandomTier = (&'static str, &'static str, Vec<&'static str>, Vec<&'static str>);

impl World {
    /// Tells what makes sense in the store's state: a change of a set that is
    /// not there is left out.
    pub(crate) fn hear(&mut self, told: &Told) {
        match told {
            Told::Set(id, members) => self.set(id, members),
            Told::Members(id, added, removed) if self.store.ip_set(id).is_some() => self.members(id, added, removed),
            Told::Members(..) => self,
            Told::RemoveSet(id) => self.remove_set(id),
            Told::Policy(id, inbound, outbound) => self.policy(id, inbound, outbound),
            Told::RemovePolicy(id) => self.remove_policy(id),
            Told::Profile(name, inbound, outbound) => self.profile(name, inbound, outbound),
            Told::Endpoint(state, pod, interface, tiers, profiles) => {
                let tiers: Vec<_> = tiers.iter().map(tier).collect();
                self.endpoint_in_state(state, pod, interface, &tiers, profiles)
            }
            Told::RemoveEndpoint(pod) => self.remove_endpoint(pod),
            Told::Host(id, interface, expected, lists, profiles) => {
                let lists = lists.each_ref().map(|list| list.iter().map(tier).collect::<Vec<_>>());
                self.host(id, interface, expected, lists.each_ref().map(Vec::as_slice), profiles)
            }
            Told::RemoveHost(id) => self.remove_host(id),
            Told::Addresses(interface, addresses) => self.addresses(interface, addresses),
            Told::Sources(interface, prefixes) => self.sources(interface, prefixes),
            Told::Tunnels => {
                self.pool("10.0.0.0/8", "ipip vxlan").pool("fd00::/8", "vxlan").node("other", "10.0.0.2", "fd00::2")
            }
        };
    }
}

/// Something to tell.
pub(crate) fn told() -> impl Strategy<Value = Told> {
    let nets = || subsequence(PREFIXES, 0..6);
    let members = || subsequence(PORT_MEMBERS, 0..4);
    let addrs = || subsequence(ADDR_MEMBERS, 0..4);
    prop_oneof![
        3 => (select(NET_SETS), nets()).prop_map(|(id, m)| Told::Set(id, m)),
        1 => (select(PORT_SETS), members()).prop_map(|(id, m)| Told::Set(id, m)),
        1 => (select(ADDR_SETS), addrs()).prop_map(|(id, m)| Told::Set(id, m)),
        1 => (select(ADDR_SETS), addrs(), addrs()).prop_map(|(id, a, r)| Told::Members(id, a, r)),
        4 => (select(NET_SETS), nets(), nets()).prop_map(|(id, a, r)| Told::Members(id, a, r)),
        2 => (select(PORT_SETS), members(), members()).prop_map(|(id, a, r)| Told::Members(id, a, r)),
        1 => select([SETS, PORT_SETS].concat()).prop_map(Told::RemoveSet),
        6 => (select(POLICIES), rules(), rules()).prop_map(|(id, i, o)| Told::Policy(id, i, o)),
        1 => select(POLICIES).prop_map(Told::RemovePolicy),
        2 => (select(PROFILES), rules(), rules()).prop_map(|(name, i, o)| Told::Profile(name, i, o)),
        6 => endpoint(INTERFACES),
        1 => select(PODS).prop_map(Told::RemoveEndpoint),
        3 => host(),
        1 => select(HOSTS).prop_map(Told::RemoveHost),
        2 => addresses(),
    ]
}

/// Every set, policy and profile, and some endpoints.
pub(crate) fn everything() -> impl Strategy<Value = Vec<Told>> {
    let endpoints = prop::collection::vec(endpoint(INTERFACES), PODS.len());
    let hosts = (prop::collection::vec(host(), 0..4), prop::collection::vec(addresses(), 0..3));
    (all_but_endpoints(), endpoints, hosts)
        .prop_map(|(told, endpoints, (hosts, addresses))| [told, endpoints, hosts, addresses].concat())
}

/// Every set, policy and profile, and an endpoint on each interface.
pub(crate) fn everything_on(interfaces: &'static [&'static str]) -> impl Strategy<Value = Vec<Told>> {
    let mut endpoints = Vec::new();
    for (pod, interface) in PODS.iter().zip(interfaces) {
        endpoints.push(endpoint(std::slice::from_ref(interface)).prop_map(move |told| match told {
            Told::Endpoint(state, _, interface, tiers, profiles) => {
                Told::Endpoint(state, pod, interface, tiers, profiles)
            }
            other => other,
        }));
    }
    (all_but_endpoints(), endpoints).prop_map(|(told, endpoints)| [told, endpoints].concat())
}

/// Some host endpoints, and the addresses by which they are found.
pub(crate) fn hosts() -> impl Strategy<Value = Vec<Told>> {
    (prop::collection::vec(host(), 0..4), prop::collection::vec(addresses(), 0..3))
        .prop_map(|(hosts, addresses)| [hosts, addresses].concat())
}

/// The sources that the workload of an interface may use.
pub(crate) fn sources(interface: &'static str) -> impl Strategy<Value = Told> {
    subsequence(PREFIXES, 1..8).prop_map(move |prefixes| Told::Sources(interface, prefixes))
}

/// Whether a router forwards the packet at all.
pub(crate) fn routed(packet: &Packet) -> bool {
    let forwards = |addr: std::net::IpAddr| match addr {
        std::net::IpAddr::V4(addr) => !addr.is_broadcast(),
        std::net::IpAddr::V6(addr) => !addr.is_multicast(),
    };
    forwards(packet.src()) && forwards(packet.dst())
}

fn all_but_endpoints() -> impl Strategy<Value = Vec<Told>> {
    let sets = NET_SETS.iter().map(|id| subsequence(PREFIXES, 0..6).prop_map(move |m| Told::Set(id, m)).boxed());
    let ports = PORT_SETS.iter().map(|id| subsequence(PORT_MEMBERS, 0..4).prop_map(move |m| Told::Set(id, m)).boxed());
    let addrs = ADDR_SETS.iter().map(|id| subsequence(ADDR_MEMBERS, 0..4).prop_map(move |m| Told::Set(id, m)).boxed());
    let policies = POLICIES.iter().map(|id| (rules(), rules()).prop_map(move |(i, o)| Told::Policy(id, i, o)).boxed());
    let profiles = PROFILES.iter().map(|id| (rules(), rules()).prop_map(move |(i, o)| Told::Profile(id, i, o)).boxed());
    sets.chain(ports).chain(addrs).chain(policies).chain(profiles).collect::<Vec<_>>()
}

fn host() -> impl Strategy<Value = Told> {
    let list = || prop_oneof![2 => Just(Vec::new()), 3 => prop::collection::vec(a_tier(), 1..3)];
    let lists = [list(), list(), list(), list()];
    (select(HOSTS), select(HOST_NAMES), subsequence(HOST_ADDRS, 0..=2), lists, subsequence(PROFILES, 0..=1))
        .prop_map(|(id, interface, expected, lists, profiles)| Told::Host(id, interface, expected, lists, profiles))
}

fn addresses() -> impl Strategy<Value = Told> {
    (select(&HOST_NAMES[..2]), subsequence(HOST_ADDRS, 0..=2)).prop_map(|(name, addrs)| Told::Addresses(name, addrs))
}

fn tier(tier: &RandomTier) -> Tier<'_> {
    let (name, end, ingress, egress) = tier;
    (*name, *end, ingress.as_slice(), egress.as_slice())
}

fn a_tier() -> impl Strategy<Value = RandomTier> {
    let policies = || subsequence(POLICIES, 0..4);
    (select(&["kube-admin", "default"][..]), select(&["Deny", "Pass", "Pass"][..]), policies(), policies())
}

fn endpoint(interfaces: &'static [&'static str]) -> impl Strategy<Value = Told> {
    let state = prop_oneof![9 => Just("active"), 1 => Just("down")];
    let tiers = prop::collection::vec(a_tier(), 0..3);
    (state, select(PODS), select(interfaces), tiers, subsequence(PROFILES, 0..=2))
        .prop_map(|(state, pod, interface, tiers, profiles)| Told::Endpoint(state, pod, interface, tiers, profiles))
}

fn rules() -> impl Strategy<Value = Vec<felix::Rule>> {
    prop::collection::vec(any_rule(), 0..4)
}

/// Mostly empty, so that rules match something.
fn some<T: Clone + std::fmt::Debug + 'static>(of: &'static [T]) -> impl Strategy<Value = Vec<T>> {
    prop_oneof![12 => Just(Vec::new()), 1 => subsequence(of, 1..=2)]
}

/// A rule with any of its fields.
pub(crate) fn any_rule() -> impl Strategy<Value = felix::Rule> {
    let action = select(&["allow", "allow", "deny", "next-tier", "log"][..]);
    let family = prop_oneof![8 => Just(0), 1 => Just(4), 1 => Just(6)];
    let a_protocol = || prop::option::weighted(0.3, select(PROTOCOLS));
    let icmp = || prop::option::weighted(0.08, (0..3i32, prop::option::of(0..2i32)));
    let side = || (some(PREFIXES), some(PREFIXES), some(RANGES), some(RANGES), some(SETS), some(SETS));
    let named = (some(PORT_SETS), some(PORT_SETS), some(PORT_SETS), some(PORT_SETS), some(PORT_SETS));
    let head = (action, family, a_protocol(), prop::option::weighted(0.1, select(PROTOCOLS)), icmp(), icmp());
    (head, side(), side(), named).prop_map(|(head, src, dst, named)| {
        let (action, ip_version, is, is_not, icmp, not_icmp) = head;
        let owned = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect::<Vec<_>>();
        felix::Rule {
            ip_version,
            protocol: is.and_then(protocol),
            not_protocol: is_not.and_then(protocol),
            icmp: icmp.map(|(r#type, code)| match code {
                None => felix::rule::Icmp::IcmpType(r#type),
                Some(code) => felix::rule::Icmp::IcmpTypeCode(felix::IcmpTypeAndCode { r#type, code }),
            }),
            not_icmp: not_icmp.map(|(r#type, code)| match code {
                None => felix::rule::NotIcmp::NotIcmpType(r#type),
                Some(code) => felix::rule::NotIcmp::NotIcmpTypeCode(felix::IcmpTypeAndCode { r#type, code }),
            }),
            src_net: owned(src.0),
            not_src_net: owned(src.1),
            src_ports: ports(&src.2),
            not_src_ports: ports(&src.3),
            src_ip_set_ids: owned(src.4),
            not_src_ip_set_ids: owned(src.5),
            dst_net: owned(dst.0),
            not_dst_net: owned(dst.1),
            dst_ports: ports(&dst.2),
            not_dst_ports: ports(&dst.3),
            dst_ip_set_ids: owned(dst.4),
            not_dst_ip_set_ids: owned(dst.5),
            src_named_port_ip_set_ids: owned(named.0),
            dst_named_port_ip_set_ids: owned(named.1),
            not_src_named_port_ip_set_ids: owned(named.2),
            not_dst_named_port_ip_set_ids: owned(named.3),
            dst_ip_port_set_ids: owned(named.4),
            ..rule(action)
        }
    })
}

/// A rule with many alternatives, most of which match.
pub(crate) fn rule_of_choices() -> impl Strategy<Value = felix::Rule> {
    let sets = || subsequence(SETS, 0..=2);
    let named = prop::option::of(Just("n:a"));
    (select(&["next-tier", "log", "allow", "deny"][..]), sets(), sets(), named, any::<bool>()).prop_map(
        |(action, src, dst, named, not_icmp)| felix::Rule {
            src_ip_set_ids: texts(&src),
            dst_ip_set_ids: texts(&dst),
            dst_ports: if named.is_some() { ports(&["80"]) } else { Vec::new() },
            dst_named_port_ip_set_ids: named.map(str::to_owned).into_iter().collect(),
            not_icmp: not_icmp
                .then_some(felix::rule::NotIcmp::NotIcmpTypeCode(felix::IcmpTypeAndCode { r#type: 0, code: 0 })),
            ..rule(action)
        },
    )
}

/// A packet that the values above say something about.
pub(crate) fn packet() -> impl Strategy<Value = Packet> {
    let pair = |addrs: &'static [&'static str]| (select(addrs), select(addrs));
    let addrs = prop_oneof![3 => pair(ADDRS_V4), 2 => pair(ADDRS_V6)];
    let fields = (select(PROTOCOLS), select(PORTS), select(PORTS), 0..3u8, 0..2u8);
    (addrs, fields).prop_map(|((src, dst), (proto, src_port, dst_port, icmp_type, code))| {
        let transport = match proto {
            "icmp" | "icmpv6" => Transport::Icmp { icmp_type, code },
            "47" => Transport::Opaque,
            _ => Transport::Ports { src: src_port, dst: dst_port },
        };
        let addr = |text: &str| text.parse().expect("an address");
        let protocol = proto.parse().expect("a protocol");
        Packet::new(addr(src), addr(dst), protocol, transport).expect("both are of one family")
    })
}
