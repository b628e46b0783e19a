//! What a rule tests, as matches of the kernel.

use caracal_net::{Cidr, Family, PortRange, Protocol};
use caracal_program::{IcmpMatch, Rule as PolicyRule, SetId, SideMatch};
use smallvec::{SmallVec, smallvec};

use crate::ir::{Element, IcmpField, Match, Name, Op, Set, SetKind, SetSpec, Side};
use crate::lists::{self, List};
use crate::lower::SetObjects;
use crate::names;

/// The matches of one alternative.
pub(super) type Alternative = SmallVec<[Match; 2]>;

/// One test of a rule.
enum Test {
    /// Every packet passes.
    Always,
    /// No packet passes.
    Never,
    /// All matches must hold.
    All(Alternative),
    /// All matches of one of the alternatives must hold.
    AnyOf(Vec<Alternative>),
}

/// A port against a list.
enum PortTest {
    /// Every port passes.
    Always,
    /// No port passes.
    Never,
    /// The ports that match.
    If(Match),
}

/// The tests of one rule for one family, or for both.
pub(super) struct Conditions {
    /// What must hold in any case.
    pub(super) matches: Vec<Match>,
    /// Of each of these lists, one alternative must hold.
    pub(super) choices: Vec<Vec<Alternative>>,
}

/// Finds the tests of rules, and the shared sets that they look up.
pub(super) struct Tests<'a, S> {
    sets: &'a S,
    pub(super) lists: Vec<Set>,
}

impl<'a, S: SetObjects> Tests<'a, S> {
    pub(super) const fn new(sets: &'a S) -> Self {
        Self { sets, lists: Vec::new() }
    }

    pub(super) fn unknown_set<'r>(&self, rule: &'r PolicyRule) -> Option<&'r SetId> {
        rule.set_ids().find(|id| !self.sets.is_known(id))
    }

    /// The rule's tests; `None` if no packet of the family passes them.
    pub(super) fn conditions(&mut self, rule: &PolicyRule, family: Option<Family>) -> Option<Conditions> {
        let mut conditions = Conditions { matches: Vec::new(), choices: Vec::new() };
        let protocol = rule.protocol;
        conditions.add(protocol.map_or(Test::Always, |p| one(Match::Protocol(Op::Is, p))))?;
        conditions.add(match rule.not_protocol {
            None => Test::Always,
            Some(refused) if protocol == Some(refused) => Test::Never,
            Some(_) if protocol.is_some() => Test::Always,
            Some(refused) => one(Match::Protocol(Op::IsNot, refused)),
        })?;
        for (side, wanted) in [(Side::Src, &rule.src), (Side::Dst, &rule.dst)] {
            let ports = self.ports(side, wanted, protocol, family);
            conditions.add(ports)?;
            let not_ports = self.not_ports(side, wanted, protocol);
            conditions.add(not_ports)?;
        }
        if let Some(family) = family {
            if let Some(icmp) = rule.icmp {
                conditions.add(is_icmp(family, icmp, protocol, rule.not_protocol))?;
            }
            if let Some(icmp) = rule.not_icmp {
                conditions.add(is_not_icmp(family, icmp, protocol, rule.icmp))?;
            }
            for (side, wanted) in [(Side::Src, &rule.src), (Side::Dst, &rule.dst)] {
                self.addresses(&mut conditions, side, wanted, protocol, family)?;
            }
            for id in &rule.dst_ip_port_sets {
                let test = self.in_port_set(Side::Dst, id, protocol, family);
                conditions.add(test.map_or(Test::Never, one))?;
            }
            let implied = conditions.matches.iter().any(|m| implied_family(m).is_some());
            if !implied {
                conditions.matches.push(Match::Family(family));
            }
        }
        Some(conditions)
    }

    /// Ports by number and ports by name are alternatives.
    fn ports(&mut self, side: Side, wanted: &SideMatch, protocol: Option<Protocol>, family: Option<Family>) -> Test {
        if wanted.ports.is_empty() && wanted.named_port_sets.is_empty() {
            return Test::Always;
        }
        if protocol.is_some_and(|p| !p.has_ports()) {
            return Test::Never;
        }
        let mut alternatives: Vec<Alternative> = Vec::new();
        let has_ports = self.has_ports(Op::Is, protocol);
        match self.port_list(side, Op::Is, &wanted.ports) {
            PortTest::Never => {}
            PortTest::Always => alternatives.push(has_ports),
            // Where no protocol is named, nft reads comparisons of both ports as one of four bytes, which it cannot
            // list as ports again. A set of one range says the same and stays what it is.
            PortTest::If(Match::Port(side, op, range)) if protocol.is_none() => {
                let port = Match::PortIn(side, op, self.share(lists::port_set(&[range])));
                alternatives.push(has_ports.into_iter().chain([port]).collect());
            }
            PortTest::If(port) => alternatives.push(has_ports.into_iter().chain([port]).collect()),
        }
        for id in &wanted.named_port_sets {
            let family = family.expect("a rule that names a set has a family");
            alternatives.extend(self.in_port_set(side, id, protocol, family).map(|m| smallvec![m]));
        }
        any_of(alternatives)
    }

    /// Packets without ports are none of the refused ones.
    fn not_ports(&mut self, side: Side, wanted: &SideMatch, protocol: Option<Protocol>) -> Test {
        let refused = match self.port_list(side, Op::IsNot, &wanted.not_ports) {
            PortTest::If(port) => Some(port),
            PortTest::Always => return Test::Always,
            PortTest::Never => None,
        };
        match (protocol, refused) {
            (Some(protocol), _) if !protocol.has_ports() => Test::Always,
            (Some(_), Some(port)) => one(port),
            (Some(_), None) => Test::Never,
            (None, refused) => {
                let mut alternatives = vec![self.has_ports(Op::IsNot, None)];
                if let Some(port) = refused {
                    alternatives.push(self.has_ports(Op::Is, None).into_iter().chain([port]).collect());
                }
                any_of(alternatives)
            }
        }
    }

    /// The port of a side and a list; an empty list means that nothing is
    /// wanted of the port, and nothing refused.
    fn port_list(&mut self, side: Side, op: Op, list: &[PortRange]) -> PortTest {
        match (lists::ports(list), op) {
            (List::Nothing, Op::Is) | (List::Everything, Op::IsNot) => PortTest::Never,
            (List::Nothing, Op::IsNot) | (List::Everything, Op::Is) => PortTest::Always,
            (List::One(range), op) => PortTest::If(Match::Port(side, op, range)),
            (List::Many(set), op) => PortTest::If(Match::PortIn(side, op, self.share(set))),
        }
    }

    /// That the protocol has ports: nothing to test if the rule names one that has.
    fn has_ports(&mut self, op: Op, protocol: Option<Protocol>) -> Alternative {
        match protocol {
            Some(_) => Alternative::new(),
            None => {
                let protocols = [Protocol::TCP, Protocol::UDP, Protocol::SCTP, Protocol::UDPLITE];
                let set = Set {
                    spec: SetSpec::new(names::protocols_with_ports(), SetKind::Protocols),
                    elements: protocols.map(Element::Protocol).into(),
                };
                smallvec![Match::ProtocolIn(op, self.share(set))]
            }
        }
    }

    fn addresses(
        &mut self,
        conditions: &mut Conditions,
        side: Side,
        wanted: &SideMatch,
        protocol: Option<Protocol>,
        family: Family,
    ) -> Option<()> {
        if !wanted.nets.is_empty() {
            conditions.add(match lists::nets(family, &wanted.nets) {
                List::Nothing => Test::Never,
                List::Everything => Test::Always,
                List::One(net) => one(Match::Addr(side, Op::Is, net)),
                List::Many(set) => one(self.in_list(side, Op::Is, family, set)),
            })?;
        }
        if !wanted.not_nets.is_empty() {
            conditions.add(match lists::nets(family, &wanted.not_nets) {
                // A rule that refuses prefixes of the other family only is no rule of this one, as in Felix.
                List::Nothing | List::Everything => Test::Never,
                List::One(net) => one(Match::Addr(side, Op::IsNot, net)),
                List::Many(set) => one(self.in_list(side, Op::IsNot, family, set)),
            })?;
        }
        for id in &wanted.sets {
            let alternatives = self.in_set(side, Op::Is, id, family).map(|m| smallvec![m]).collect();
            conditions.add(any_of(alternatives))?;
        }
        for id in &wanted.not_sets {
            conditions.add(Test::All(self.in_set(side, Op::IsNot, id, family).collect()))?;
        }
        for id in &wanted.not_named_port_sets {
            let object = self.sets.object(id, SetKind::AddrPorts(family)).cloned();
            conditions.add(match (object, protocol) {
                (None, _) => Test::Always,
                (Some(_), Some(protocol)) if !protocol.has_ports() => Test::Always,
                (Some(set), Some(_)) => one(Match::AddrPortIn(side, Op::IsNot, family, set)),
                (Some(set), None) => any_of(vec![
                    self.has_ports(Op::IsNot, None),
                    self.has_ports(Op::Is, None)
                        .into_iter()
                        .chain([Match::AddrPortIn(side, Op::IsNot, family, set)])
                        .collect(),
                ]),
            })?;
        }
        Some(())
    }

    /// Lookups of an address in the parts of a set.
    fn in_set<'s>(
        &'s self,
        side: Side,
        op: Op,
        id: &'s SetId,
        family: Family,
    ) -> impl Iterator<Item = Match> + use<'s, S> {
        [SetKind::Addrs(family), SetKind::Nets(family)]
            .into_iter()
            .filter_map(move |kind| self.sets.object(id, kind))
            .map(move |name| Match::AddrIn(side, op, family, name.clone()))
    }

    fn in_port_set(&self, side: Side, id: &SetId, protocol: Option<Protocol>, family: Family) -> Option<Match> {
        if protocol.is_some_and(|p| !p.has_ports()) {
            return None;
        }
        let name = self.sets.object(id, SetKind::AddrPorts(family))?;
        Some(Match::AddrPortIn(side, Op::Is, family, name.clone()))
    }

    fn in_list(&mut self, side: Side, op: Op, family: Family, set: Set) -> Match {
        Match::AddrIn(side, op, family, self.share(set))
    }

    /// Asks for a shared set.
    fn share(&mut self, set: Set) -> Name {
        let name = set.spec.name.clone();
        if self.lists.iter().all(|held| held.spec.name != name) {
            self.lists.push(set);
        }
        name
    }
}

impl Conditions {
    fn add(&mut self, test: Test) -> Option<()> {
        match test {
            Test::Always => {}
            Test::Never => return None,
            Test::All(matches) => self.matches.extend(matches),
            Test::AnyOf(alternatives) => self.choices.push(alternatives),
        }
        Some(())
    }
}

fn one(condition: Match) -> Test {
    Test::All(smallvec![condition])
}

fn any_of(mut alternatives: Vec<Alternative>) -> Test {
    match alternatives.len() {
        0 => Test::Never,
        1 => Test::All(alternatives.remove(0)),
        _ if alternatives.iter().any(SmallVec::is_empty) => Test::Always,
        _ => Test::AnyOf(alternatives),
    }
}

/// An ICMP type is one of the family's own ICMP.
fn is_icmp(family: Family, icmp: IcmpMatch, protocol: Option<Protocol>, refused: Option<Protocol>) -> Test {
    let own = own_icmp(family);
    if protocol.is_some_and(|p| p != own) || refused == Some(own) {
        return Test::Never;
    }
    let mut matches: Alternative = smallvec![Match::Icmp(family, IcmpField::Type, Op::Is, icmp.icmp_type)];
    matches.extend(icmp.code.map(|code| Match::Icmp(family, IcmpField::Code, Op::Is, code)));
    Test::All(matches)
}

/// Not (this type and this code): another type, or this type and another code.
/// `known` is what the rule has tested already.
fn is_not_icmp(family: Family, refused: IcmpMatch, protocol: Option<Protocol>, known: Option<IcmpMatch>) -> Test {
    let own = own_icmp(family);
    let not_code = refused.code.map(|code| Match::Icmp(family, IcmpField::Code, Op::IsNot, code));
    if let Some(known) = known {
        return match (known.code, refused.code, not_code) {
            _ if known.icmp_type != refused.icmp_type => Test::Always,
            (Some(code), Some(refused), _) if code != refused => Test::Always,
            (None, Some(_), Some(not_code)) => one(not_code),
            _ => Test::Never,
        };
    }
    let mut alternatives: Vec<Alternative> = Vec::new();
    match protocol {
        Some(protocol) if protocol != own => return Test::Always,
        Some(_) => {}
        None => alternatives.push(smallvec![Match::Protocol(Op::IsNot, own)]),
    }
    alternatives.push(smallvec![Match::Icmp(family, IcmpField::Type, Op::IsNot, refused.icmp_type)]);
    alternatives.extend(not_code.map(|not_code| -> Alternative {
        smallvec![Match::Icmp(family, IcmpField::Type, Op::Is, refused.icmp_type), not_code]
    }));
    any_of(alternatives)
}

const fn own_icmp(family: Family) -> Protocol {
    match family {
        Family::V4 => Protocol::ICMP,
        Family::V6 => Protocol::ICMPV6,
    }
}

/// Whether the rule tests anything that differs between the families.
pub(super) fn names_addresses(rule: &PolicyRule) -> bool {
    let side = |side: &SideMatch| {
        let SideMatch { nets, not_nets, sets, not_sets, named_port_sets, not_named_port_sets, ports: _, not_ports: _ } =
            side;
        [nets, not_nets].into_iter().any(|nets: &Vec<Cidr>| !nets.is_empty())
            || [sets, not_sets, named_port_sets, not_named_port_sets].into_iter().any(|sets| !sets.is_empty())
    };
    rule.icmp.is_some()
        || rule.not_icmp.is_some()
        || side(&rule.src)
        || side(&rule.dst)
        || !rule.dst_ip_port_sets.is_empty()
}

/// The family without which a match cannot hold.
const fn implied_family(condition: &Match) -> Option<Family> {
    match condition {
        Match::Family(family)
        | Match::AddrIn(_, _, family, _)
        | Match::AddrPortIn(_, _, family, _)
        | Match::SourceIn(family, _)
        | Match::EndIn(_, family, _) => Some(*family),
        Match::Addr(_, _, net) => Some(net.family()),
        // The kernel takes the protocol number of any family for one.
        Match::Icmp(..)
        | Match::CtState(_)
        | Match::Protocol(..)
        | Match::ProtocolIn(..)
        | Match::Port(..)
        | Match::PortIn(..)
        | Match::InterfacePrefix(..)
        | Match::Interface(..)
        | Match::MarkBit(_)
        | Match::Local
        | Match::FromOpener
        | Match::Translated
        | Match::Unrevoked
        | Match::TcpReset => None,
    }
}
