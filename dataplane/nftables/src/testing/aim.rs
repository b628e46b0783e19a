//! Packets at the edges of what rules say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use caracal_net::{Cidr, Family, Port, PortRange, Protocol};
use caracal_program::{Member, Packet, PolicyStore, Rule, SetId, SideMatch, Transport};
use proptest::prelude::RngExt;
use proptest::test_runner::TestRng;

use super::lab::ENDS;

/// The rules that a packet between the two ends, or at a host endpoint, may meet.
pub(crate) fn targets(store: &PolicyStore) -> Vec<&Rule> {
    let mut rules = Vec::new();
    for (direction, interface) in ENDS {
        let Some(endpoint) = store.active_on(interface) else { continue };
        let program = endpoint.program(direction);
        let policies = program.tiers().iter().flat_map(|tier| tier.enforced()).filter_map(|id| store.policy(id));
        let profiles = program.profiles().iter().filter_map(|name| store.profile(name));
        rules.extend(policies.flat_map(|policy| policy.rules(direction).iter()));
        rules.extend(profiles.flat_map(|profile| profile.rules(direction).iter()));
    }
    for program in store.hosts().flat_map(|endpoint| endpoint.programs.all()) {
        let policies = program.tiers().iter().flat_map(|tier| tier.enforced()).filter_map(|id| store.policy(id));
        let profiles = program.profiles().iter().filter_map(|name| store.profile(name));
        rules.extend(policies.flat_map(|policy| policy.rules(program.direction()).iter()));
        rules.extend(profiles.flat_map(|profile| profile.rules(program.direction()).iter()));
    }
    rules
}

/// A packet that a rule matches, or that misses it by a little; `None` where
/// no router would forward it.
pub(crate) fn aim(rng: &mut TestRng, rule: &Rule, store: &PolicyStore) -> Option<Packet> {
    let mut aim = Aim { rng, store };
    let family = rule.family.unwrap_or(*aim.one_of(&[Family::V4, Family::V6])?);
    let [src, dst] = [&rule.src, &rule.dst].map(|side| {
        let services = if std::ptr::eq(side, &rule.dst) { rule.dst_ip_port_sets.as_slice() } else { &[] };
        aim.side(side, services, family, rule.protocol)
    });
    let (src, dst) = (src?, dst?);
    let protocol = aim.protocol(rule, family, dst.protocol.or(src.protocol))?;
    let transport = if protocol == Protocol::ICMP || protocol == Protocol::ICMPV6 {
        let known = rule.icmp.or(rule.not_icmp);
        let icmp_type = known.map_or(0, |icmp| icmp.icmp_type).wrapping_add(u8::from(aim.rng.random_bool(0.2)));
        let code = known.and_then(|icmp| icmp.code).unwrap_or(0).wrapping_add(u8::from(aim.rng.random_bool(0.2)));
        Transport::Icmp { icmp_type, code }
    } else if protocol.has_ports() {
        Transport::Ports { src: src.port, dst: dst.port }
    } else {
        Transport::Opaque
    };
    Packet::new(src.addr, dst.addr, protocol, transport).ok()
}

/// One side of a packet, and the protocol that its port asks for.
struct Chosen {
    addr: IpAddr,
    port: Port,
    protocol: Option<Protocol>,
}

struct Aim<'a> {
    rng: &'a mut TestRng,
    store: &'a PolicyStore,
}

impl Aim<'_> {
    fn side(
        &mut self,
        side: &SideMatch,
        services: &[SetId],
        family: Family,
        protocol: Option<Protocol>,
    ) -> Option<Chosen> {
        let SideMatch { nets, not_nets, ports, not_ports, sets, not_sets, named_port_sets, not_named_port_sets } = side;
        let named = [named_port_sets.as_slice(), not_named_port_sets, services].concat();
        let members: Vec<Member> = self.members(&named, family).collect();
        if !members.is_empty() && self.rng.random_bool(0.6) {
            let Member::IpPort(addr, its, port) = *self.one_of(&members)? else { return None };
            let (addr, port) = (self.around(addr)?, self.near(port));
            return Some(Chosen { addr, port, protocol: protocol.or(Some(its)) });
        }
        let mut edges: Vec<Cidr> = [nets.as_slice(), not_nets].concat();
        edges.extend(self.members(&[sets.as_slice(), not_sets].concat(), family).filter_map(|member| match member {
            Member::Net(net) => Some(net),
            Member::IpPort(..) => None,
        }));
        edges.retain(|net| net.family() == family);
        let anywhere: [IpAddr; 2] = match family {
            Family::V4 => [Ipv4Addr::new(10, 0, 0, 1).into(), Ipv4Addr::new(10, 0, 0, 77).into()],
            Family::V6 => [
                Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1).into(),
                Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
            ],
        };
        let addr = match self.one_of(&edges).copied() {
            Some(net) => {
                let edge = if self.rng.random_bool(0.5) { net.addr() } else { net.last_addr() };
                self.around(edge)?
            }
            None => *self.one_of(&anywhere)?,
        };
        let ranges: Vec<PortRange> = [ports.as_slice(), not_ports].concat();
        let port = match self.one_of(&ranges).copied() {
            Some(range) => {
                let edge = if self.rng.random_bool(0.5) { range.first() } else { range.last() };
                self.near(edge)
            }
            None => *self.one_of(&[0, 79, 80, 443, 8080, Port::MAX])?,
        };
        forwarded(addr).then_some(Chosen { addr, port, protocol: None })
    }

    /// A protocol that the rule names or does not, with a leaning to one that its
    /// other fields ask for.
    fn protocol(&mut self, rule: &Rule, family: Family, asked: Option<Protocol>) -> Option<Protocol> {
        let own = match family {
            Family::V4 => Protocol::ICMP,
            Family::V6 => Protocol::ICMPV6,
        };
        let icmp = rule.icmp.or(rule.not_icmp).map(|_| own);
        let meant = rule.protocol.or(icmp).or(asked).or(rule.not_protocol);
        let any = [Protocol::TCP, Protocol::UDP, Protocol::SCTP, Protocol::UDPLITE, Protocol::ICMP, Protocol::ICMPV6];
        match meant {
            Some(meant) if self.rng.random_bool(0.85) => Some(meant),
            _ => self.one_of(&any).copied(),
        }
    }

    fn members(&self, ids: &[SetId], family: Family) -> impl Iterator<Item = Member> + use<> {
        let of = |id: &SetId| self.store.ip_set(id).map_or_else(Vec::new, |set| set.members().collect());
        let members: Vec<Member> = ids.iter().flat_map(of).collect();
        members.into_iter().filter(move |member| match member {
            Member::Net(net) => net.family() == family,
            Member::IpPort(addr, ..) => Family::of(*addr) == family,
        })
    }

    /// An address, or one of its neighbours.
    fn around(&mut self, addr: IpAddr) -> Option<IpAddr> {
        let step = *self.one_of(&[0_i8, 0, 0, -1, 1])?;
        let moved: IpAddr = match addr {
            IpAddr::V4(addr) => Ipv4Addr::from_bits(addr.to_bits().checked_add_signed(step.into())?).into(),
            IpAddr::V6(addr) => Ipv6Addr::from_bits(addr.to_bits().checked_add_signed(step.into())?).into(),
        };
        forwarded(moved).then_some(moved)
    }

    /// A port, or one of its neighbours.
    fn near(&mut self, port: Port) -> Port {
        let step = self.one_of(&[0_i16, 0, 0, -1, 1]).copied().unwrap_or(0);
        port.saturating_add_signed(step)
    }

    fn one_of<'t, T>(&mut self, list: &'t [T]) -> Option<&'t T> {
        (!list.is_empty()).then(|| &list[self.rng.random_range(0..list.len())])
    }
}

/// Whether a router forwards packets from and to an address.
fn forwarded(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => {
            !addr.is_broadcast() && !addr.is_multicast() && !addr.is_loopback() && addr.octets()[0] != 0
        }
        IpAddr::V6(addr) => {
            !addr.is_multicast() && !addr.is_loopback() && !addr.is_unspecified() && !addr.is_unicast_link_local()
        }
    }
}
