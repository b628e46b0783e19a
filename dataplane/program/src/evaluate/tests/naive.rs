//! A second evaluator, straight on the messages and deliberately naive: texts
//! are parsed at each comparison, a rule is first cut down to the packet's
//! family as Felix does, and everything is a loop.

use std::collections::BTreeMap;
use std::net::IpAddr;

use caracal_proto::felix::{self, protocol::NumberOrName, rule as wire, to_dataplane::Payload};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::evaluate::Digest;
use crate::messages::wrap;
use crate::{Direction, Packet, PolicyStore, Transport, Verdict, evaluate, evaluate_endpoint, trace_endpoint};

#[derive(Clone, Debug)]
struct World {
    sets: Vec<felix::IpSetUpdate>,
    policies: Vec<felix::ActivePolicyUpdate>,
    profiles: Vec<felix::ActiveProfileUpdate>,
    endpoint: felix::WorkloadEndpoint,
}

impl World {
    fn messages(&self) -> Vec<felix::ToDataplane> {
        let sets = self.sets.iter().cloned().map(Payload::IpsetUpdate);
        let policies = self.policies.iter().cloned().map(Payload::ActivePolicyUpdate);
        let profiles = self.profiles.iter().cloned().map(Payload::ActiveProfileUpdate);
        let endpoint = Payload::WorkloadEndpointUpdate(felix::WorkloadEndpointUpdate {
            id: Some(felix::WorkloadEndpointId::default()),
            endpoint: Some(self.endpoint.clone()),
        });
        sets.chain(policies).chain(profiles).chain([endpoint]).map(wrap).collect()
    }

    fn allows(&self, direction: Direction, packet: &Packet) -> bool {
        let ingress = direction == Direction::Ingress;
        'tiers: for tier in &self.endpoint.tiers {
            let ids = if ingress { &tier.ingress_policies } else { &tier.egress_policies };
            let enforced: Vec<_> = ids.iter().filter(|id| !id.kind.starts_with("Staged")).collect();
            if enforced.is_empty() {
                continue;
            }
            for id in enforced {
                let policy = self.policies.iter().find(|p| p.id.as_ref() == Some(id));
                let policy = policy.and_then(|p| p.policy.as_ref()).expect("a known policy");
                let rules = if ingress { &policy.inbound_rules } else { &policy.outbound_rules };
                match self.first_verdict(rules, packet) {
                    Some("allow") => return true,
                    Some("deny") => return false,
                    Some(_) => continue 'tiers,
                    None => {}
                }
            }
            if tier.default_action != "Pass" {
                return false;
            }
        }
        for name in &self.endpoint.profile_ids {
            let profile = self.profiles.iter().find(|p| p.id.as_ref().is_some_and(|id| id.name == *name));
            let profile = profile.and_then(|p| p.profile.as_ref()).expect("a known profile");
            let rules = if ingress { &profile.inbound_rules } else { &profile.outbound_rules };
            match self.first_verdict(rules, packet) {
                Some("allow") => return true,
                Some("deny") => return false,
                _ => {}
            }
        }
        false
    }

    fn first_verdict<'a>(&self, rules: &'a [felix::Rule], packet: &Packet) -> Option<&'a str> {
        let matching = rules.iter().filter(|rule| self.matches(rule, packet));
        matching.map(|rule| rule.action.as_str()).find(|action| *action != "log")
    }

    fn matches(&self, rule: &felix::Rule, packet: &Packet) -> bool {
        let v4 = packet.src().is_ipv4();
        if (rule.ip_version == 4 && !v4) || (rule.ip_version == 6 && v4) {
            return false;
        }
        let mut rule = rule.clone();
        for nets in [&mut rule.src_net, &mut rule.dst_net, &mut rule.not_src_net, &mut rule.not_dst_net] {
            let before = nets.len();
            nets.retain(|net| net.contains(':') != v4);
            if nets.is_empty() && before > 0 {
                return false;
            }
        }
        let number = i32::from(packet.protocol().number());
        let (icmp_type, code) = match packet.transport() {
            Transport::Icmp { icmp_type, code } if number == if v4 { 1 } else { 58 } => (icmp_type.into(), code.into()),
            _ => (-1, -1),
        };
        let with_ports = [6, 17, 132, 136].contains(&number);
        let (src_port, dst_port) = match packet.transport() {
            Transport::Ports { src, dst } if with_ports => (src.into(), dst.into()),
            _ => (-1, -1),
        };
        let (src, dst) = (packet.src(), packet.dst());
        let in_ports =
            |ranges: &[felix::PortRange], port: i32| ranges.iter().any(|r| r.first <= port && port <= r.last);
        let in_named = |ids: &[String], addr, port| ids.iter().any(|id| self.holds_port(id, addr, number, port));
        let side_ports = |ranges: &[felix::PortRange], ids: &[String], addr, port| {
            (ranges.is_empty() && ids.is_empty()) || in_ports(ranges, port) || in_named(ids, addr, port)
        };
        rule.protocol.as_ref().is_none_or(|p| protocol_number(p) == number)
            && rule.not_protocol.as_ref().is_none_or(|p| protocol_number(p) != number)
            && match rule.icmp {
                None => true,
                Some(wire::Icmp::IcmpType(t)) => t == icmp_type,
                Some(wire::Icmp::IcmpTypeCode(m)) => m.r#type == icmp_type && m.code == code,
            }
            && match rule.not_icmp {
                None => true,
                Some(wire::NotIcmp::NotIcmpType(t)) => t != icmp_type,
                Some(wire::NotIcmp::NotIcmpTypeCode(m)) => m.r#type != icmp_type || m.code != code,
            }
            && (rule.src_net.is_empty() || rule.src_net.iter().any(|net| holds(net, src)))
            && (rule.dst_net.is_empty() || rule.dst_net.iter().any(|net| holds(net, dst)))
            && rule.not_src_net.iter().all(|net| !holds(net, src))
            && rule.not_dst_net.iter().all(|net| !holds(net, dst))
            && side_ports(&rule.src_ports, &rule.src_named_port_ip_set_ids, src, src_port)
            && side_ports(&rule.dst_ports, &rule.dst_named_port_ip_set_ids, dst, dst_port)
            && !in_ports(&rule.not_src_ports, src_port)
            && !in_ports(&rule.not_dst_ports, dst_port)
            && !in_named(&rule.not_src_named_port_ip_set_ids, src, src_port)
            && !in_named(&rule.not_dst_named_port_ip_set_ids, dst, dst_port)
            && rule.src_ip_set_ids.iter().all(|id| self.holds_addr(id, src))
            && rule.dst_ip_set_ids.iter().all(|id| self.holds_addr(id, dst))
            && !rule.not_src_ip_set_ids.iter().any(|id| self.holds_addr(id, src))
            && !rule.not_dst_ip_set_ids.iter().any(|id| self.holds_addr(id, dst))
            && rule.dst_ip_port_set_ids.iter().all(|id| self.holds_port(id, dst, number, dst_port))
    }

    fn members(&self, id: &str) -> &[String] {
        &self.sets.iter().find(|set| set.id == id).expect("a known set").members
    }

    fn holds_addr(&self, id: &str, addr: IpAddr) -> bool {
        self.members(id).iter().any(|member| !member.contains(',') && holds(member, addr))
    }

    fn holds_port(&self, id: &str, addr: IpAddr, protocol: i32, port: i32) -> bool {
        let names = BTreeMap::from([(6, "tcp"), (17, "udp"), (132, "sctp")]);
        let name = names.get(&protocol).copied().unwrap_or("none");
        self.members(id).contains(&format!("{addr},{name}:{port}"))
    }
}

fn protocol_number(protocol: &felix::Protocol) -> i32 {
    match protocol.number_or_name.as_ref().expect("a protocol") {
        NumberOrName::Number(number) => *number,
        NumberOrName::Name(name) => match name.as_str() {
            "icmp" => 1,
            "tcp" => 6,
            "udp" => 17,
            "icmpv6" => 58,
            "sctp" => 132,
            other => panic!("{other}"),
        },
    }
}

/// Compares the first bits of both addresses, one by one.
fn holds(net: &str, addr: IpAddr) -> bool {
    let (base, len) = net.split_once('/').expect("a prefix");
    let bits = |addr: IpAddr| -> Vec<bool> {
        let bytes = match addr {
            IpAddr::V4(a) => a.octets().to_vec(),
            IpAddr::V6(a) => a.octets().to_vec(),
        };
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |i| byte >> i & 1 == 1)).collect()
    };
    let base: IpAddr = base.parse().expect("an address");
    let len: usize = len.parse().expect("a length");
    base.is_ipv4() == addr.is_ipv4() && bits(base)[..len] == bits(addr)[..len]
}

const ADDRESSES: [&str; 6] = ["10.0.0.1", "10.0.0.2", "10.0.1.1", "fd00::1", "fd00::2", "fd01::1"];
const NETS: [&str; 9] = [
    "10.0.0.1/32",
    "10.0.0.0/24",
    "10.0.0.0/31",
    "128.0.0.0/1",
    "0.0.0.0/0",
    "fd00::1/128",
    "fd00::/16",
    "fd01::/112",
    "::/0",
];
const NET_SETS: [&str; 3] = ["s:a", "s:b", "s:c"];
const PORT_SETS: [&str; 3] = ["n:a", "n:b", "n:c"];
const PORTS: [i32; 3] = [53, 80, 81];

fn some_of(choices: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    subsequence(choices, 0..=2).prop_map(|picked| picked.into_iter().map(str::to_owned).collect())
}

/// A field is empty more often than not, so that rules match now and then.
fn seldom<T: std::fmt::Debug + Clone + Default + 'static>(
    value: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<T> {
    prop_oneof![4 => Just(T::default()), 1 => value].boxed()
}

fn port_ranges() -> BoxedStrategy<Vec<felix::PortRange>> {
    let range =
        (select(&PORTS), select(&PORTS)).prop_map(|(a, b)| felix::PortRange { first: a.min(b), last: a.max(b) });
    seldom(prop::collection::vec(range, 1..3))
}

fn protocols() -> BoxedStrategy<Option<felix::Protocol>> {
    let numbers = select(&[1, 6, 17, 47, 58, 132]).prop_map(NumberOrName::Number);
    let names = select(&["icmp", "tcp", "udp", "icmpv6", "sctp"]).prop_map(|name| NumberOrName::Name(name.to_owned()));
    seldom(prop_oneof![numbers, names].prop_map(|p| Some(felix::Protocol { number_or_name: Some(p) })))
}

fn icmp() -> BoxedStrategy<Option<(i32, Option<i32>)>> {
    seldom((0..2i32, prop::option::of(0..2i32)).prop_map(Some))
}

prop_compose! {
    fn sides()(
        nets in seldom(some_of(&NETS)),
        not_nets in seldom(some_of(&NETS)),
        ports in port_ranges(),
        not_ports in port_ranges(),
        sets in seldom(some_of(&NET_SETS)),
        not_sets in seldom(some_of(&NET_SETS)),
        named in seldom(some_of(&PORT_SETS)),
        not_named in seldom(some_of(&PORT_SETS)),
    ) -> (Vec<String>, Vec<String>, Vec<felix::PortRange>, Vec<felix::PortRange>, [Vec<String>; 4]) {
        (nets, not_nets, ports, not_ports, [sets, not_sets, named, not_named])
    }
}

fn rules() -> impl Strategy<Value = felix::Rule> {
    let actions = select(&["allow", "deny", "next-tier", "log"]);
    let versions = seldom(select(&[4, 6]));
    let services = seldom(some_of(&PORT_SETS));
    (actions, versions, protocols(), protocols(), icmp(), icmp(), sides(), sides(), services).prop_map(
        |(action, ip_version, protocol, not_protocol, icmp, not_icmp, src, dst, services)| {
            let (src_net, not_src_net, src_ports, not_src_ports, [src_sets, not_src_sets, src_named, not_src_named]) =
                src;
            let (dst_net, not_dst_net, dst_ports, not_dst_ports, [dst_sets, not_dst_sets, dst_named, not_dst_named]) =
                dst;
            felix::Rule {
                action: action.to_owned(),
                ip_version,
                protocol,
                not_protocol,
                src_net,
                not_src_net,
                src_ports,
                not_src_ports,
                dst_net,
                not_dst_net,
                dst_ports,
                not_dst_ports,
                src_ip_set_ids: src_sets,
                dst_ip_set_ids: dst_sets,
                not_src_ip_set_ids: not_src_sets,
                not_dst_ip_set_ids: not_dst_sets,
                src_named_port_ip_set_ids: src_named,
                dst_named_port_ip_set_ids: dst_named,
                not_src_named_port_ip_set_ids: not_src_named,
                not_dst_named_port_ip_set_ids: not_dst_named,
                dst_ip_port_set_ids: services,
                icmp: icmp.map(|(t, code)| match code {
                    None => wire::Icmp::IcmpType(t),
                    Some(code) => wire::Icmp::IcmpTypeCode(felix::IcmpTypeAndCode { r#type: t, code }),
                }),
                not_icmp: not_icmp.map(|(t, code)| match code {
                    None => wire::NotIcmp::NotIcmpType(t),
                    Some(code) => wire::NotIcmp::NotIcmpTypeCode(felix::IcmpTypeAndCode { r#type: t, code }),
                }),
                ..felix::Rule::default()
            }
        },
    )
}

fn rule_lists() -> impl Strategy<Value = Vec<felix::Rule>> {
    prop::collection::vec(rules(), 0..4)
}

fn policy_ids() -> Vec<felix::PolicyId> {
    ["a", "b", "c", "d", "staged"]
        .map(|name| felix::PolicyId {
            name: name.to_owned(),
            namespace: "ns".to_owned(),
            kind: match name {
                "staged" => "StagedNetworkPolicy".to_owned(),
                _ => "NetworkPolicy".to_owned(),
            },
        })
        .into()
}

fn tiers() -> impl Strategy<Value = felix::TierInfo> {
    let policies = || subsequence(policy_ids(), 0..=3);
    (policies(), policies(), select(&["Deny", "Pass", ""])).prop_map(|(ingress, egress, action)| felix::TierInfo {
        name: "t".to_owned(),
        ingress_policies: ingress,
        egress_policies: egress,
        default_action: action.to_owned(),
    })
}

fn sets() -> impl Strategy<Value = Vec<felix::IpSetUpdate>> {
    let net = |id: &'static str| {
        subsequence(&NETS, 0..=3).prop_map(move |members| felix::IpSetUpdate {
            id: id.to_owned(),
            members: members.into_iter().map(str::to_owned).collect(),
            r#type: felix::ip_set_update::IpSetType::Net.into(),
        })
    };
    let port = |id: &'static str| {
        let member = (select(&ADDRESSES), select(&["tcp", "udp", "sctp"]), select(&PORTS))
            .prop_map(|(addr, protocol, port)| format!("{addr},{protocol}:{port}"));
        prop::collection::vec(member, 0..8).prop_map(move |members| felix::IpSetUpdate {
            id: id.to_owned(),
            members,
            r#type: felix::ip_set_update::IpSetType::IpAndPort.into(),
        })
    };
    (NET_SETS.map(net), PORT_SETS.map(port)).prop_map(|(nets, ports)| nets.into_iter().chain(ports).collect())
}

fn worlds() -> impl Strategy<Value = World> {
    let policies = prop::collection::vec((rule_lists(), rule_lists()), policy_ids().len());
    let profiles = (0..2usize).prop_flat_map(|n| prop::collection::vec((rule_lists(), rule_lists()), n..=n));
    (sets(), policies, profiles, prop::collection::vec(tiers(), 0..3)).prop_map(|(sets, policies, profiles, tiers)| {
        World {
            sets,
            policies: policy_ids()
                .into_iter()
                .zip(policies)
                .map(|(id, (inbound_rules, outbound_rules))| felix::ActivePolicyUpdate {
                    id: Some(id),
                    policy: Some(felix::Policy { inbound_rules, outbound_rules, ..felix::Policy::default() }),
                })
                .collect(),
            endpoint: felix::WorkloadEndpoint {
                state: "active".to_owned(),
                name: "cali0".to_owned(),
                profile_ids: (0..profiles.len()).map(|i| format!("p{i}")).collect(),
                tiers,
                ..felix::WorkloadEndpoint::default()
            },
            profiles: profiles
                .into_iter()
                .enumerate()
                .map(|(i, (inbound_rules, outbound_rules))| felix::ActiveProfileUpdate {
                    id: Some(felix::ProfileId { name: format!("p{i}") }),
                    profile: Some(felix::Profile { inbound_rules, outbound_rules }),
                })
                .collect(),
        }
    })
}

/// Every packet of a small universe.
fn packets() -> Vec<Packet> {
    let mut packets = Vec::new();
    for (src, dst) in ADDRESSES.iter().flat_map(|src| ADDRESSES.iter().map(move |dst| (src, dst))) {
        let [src, dst]: [IpAddr; 2] = [src, dst].map(|addr| addr.parse().expect("an address"));
        if src.is_ipv4() != dst.is_ipv4() {
            continue;
        }
        for protocol in [1, 6, 17, 47, 58, 132] {
            let transports = match protocol {
                1 | 58 => vec![(0, 0), (0, 1), (1, 1)]
                    .into_iter()
                    .map(|(icmp_type, code)| Transport::Icmp { icmp_type, code })
                    .collect(),
                47 => vec![Transport::Opaque],
                _ => vec![(80, 53), (1000, 80)].into_iter().map(|(src, dst)| Transport::Ports { src, dst }).collect(),
            };
            let protocol = caracal_net::Protocol::from_number(protocol).expect("a protocol");
            packets.extend(
                transports.into_iter().map(|transport| Packet::new(src, dst, protocol, transport).expect("one family")),
            );
        }
    }
    packets
}

/// The packet, and the same from other ports if it has ports.
fn from_any_port(packet: &Packet) -> Vec<Packet> {
    let Transport::Ports { dst, .. } = packet.transport() else { return vec![*packet] };
    let from = |src| Packet::new(packet.src(), packet.dst(), packet.protocol(), Transport::Ports { src, dst });
    [0, 53, 80, 81, 1000].into_iter().map(|src| from(src).expect("one family")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_evaluator_agrees_with_a_naive_one(world in worlds()) {
        let mut store = PolicyStore::new();
        for message in world.messages() {
            store.apply(&message).expect("an understood message");
        }
        let endpoint = store.workloads().next().expect("the endpoint");
        for packet in packets() {
            for direction in Direction::ALL {
                let want = world.allows(direction, &packet);
                let decision = evaluate_endpoint(endpoint, direction, &store, &packet);
                prop_assert_eq!(decision.verdict == Verdict::Allow, want, "{:?} {:?}", direction, packet);
                let (traced, _) = trace_endpoint(endpoint, direction, &store, &packet);
                prop_assert_eq!(traced, decision);
            }
        }
    }

    /// A digest says what the evaluator says, also where the store lacks what a
    /// program names, and whatever it was asked before.
    #[test]
    fn a_digest_agrees_with_the_evaluator(world in worlds(), lacks in subsequence((0..13).collect::<Vec<_>>(), 0..=2)) {
        let mut store = PolicyStore::new();
        let messages = world.messages();
        let (endpoint, others) = messages.split_last().expect("the endpoint");
        let known = others.iter().enumerate().filter(|(i, _)| !lacks.contains(i)).map(|(_, message)| message);
        for message in known.chain([endpoint]) {
            store.apply(message).expect("an understood message");
        }
        let endpoint = store.workloads().next().expect("the endpoint");
        for direction in Direction::ALL {
            let program = endpoint.program(direction);
            let mut digest = Digest::of(program, &store);
            for packet in packets().iter().flat_map(from_any_port) {
                let want = evaluate(program, &store, &packet);
                prop_assert_eq!(digest.verdict(&packet), want.verdict, "{:?} {:?} {:?}", direction, packet, want.cause);
            }
        }
    }

    /// What sets may do to verdicts is foreseen, in either direction.
    #[test]
    fn a_verdict_changes_only_as_its_effect_says(world in worlds(), then in sets()) {
        let mut store = PolicyStore::new();
        for message in world.messages() {
            store.apply(&message).expect("an understood message");
        }
        let before = store.clone();
        let changes = then.into_iter().map(|set| store.apply(&wrap(Payload::IpsetUpdate(set))).expect("a set"));
        let mut touched = crate::Touched::default();
        touched.take(&changes.collect::<Vec<_>>());
        let endpoint = store.workloads().next().expect("the endpoint");
        let effect = crate::Effects::of(&store, &touched).on(endpoint);
        for packet in packets() {
            for direction in Direction::ALL {
                let judge = |store| evaluate_endpoint(endpoint, direction, store, &packet).verdict;
                match (judge(&before), judge(&store)) {
                    (Verdict::Allow, Verdict::Deny) => prop_assert!(effect.tightens, "{:?} {:?}", direction, packet),
                    (Verdict::Deny, Verdict::Allow) => prop_assert!(effect.loosens, "{:?} {:?}", direction, packet),
                    (Verdict::Allow, Verdict::Allow) | (Verdict::Deny, Verdict::Deny) => {}
                }
            }
        }
    }
}
