//! A kernel on paper: takes steps as strictly as the real one, and walks packets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use caracal_net::{Family, Mark, Port, Protocol};
use caracal_program::{Packet, Transport};

use crate::ir::{Chain, Element, IcmpField, Match, Name, Op, Rule, SetKind, SetSpec, Side, Statement, Verdict, Via};
use crate::plan::Step;

/// The table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sim {
    chains: BTreeMap<Name, Chain>,
    sets: BTreeMap<Name, (SetSpec, BTreeSet<Element>)>,
}

/// What became of a packet in one base chain, and its mark after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fate {
    pub(crate) allowed: bool,
    pub(crate) mark: Mark,
    /// Lines written to the log.
    pub(crate) logged: usize,
    /// Whether connection tracking leaves it alone.
    pub(crate) untracked: bool,
    /// Whether its source is another one afterwards.
    pub(crate) translated: bool,
}

/// What the kernel knows of a packet beside its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Way<'a> {
    /// The interface it came in by; none if this host made it.
    pub(crate) incoming: Option<&'a str>,
    /// The interface it leaves by.
    pub(crate) outgoing: Option<&'a str>,
    /// Whether DNAT gave it another destination.
    pub(crate) translated: bool,
}

impl Sim {
    /// Carries steps out as one transaction; says which one is refused.
    pub(crate) fn commit(&mut self, steps: &[Step]) -> Result<(), String> {
        let mut next = self.clone();
        for step in steps {
            next.step(step).map_err(|why| format!("{step}: {why}"))?;
        }
        next.check_jumps()?;
        *self = next;
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), &'static str> {
        match step {
            Step::AddTable => {}
            Step::DeleteTable => *self = Self::default(),
            Step::AddSet(spec) => {
                let old = self.sets.insert(spec.name.clone(), (spec.clone(), BTreeSet::new()));
                ensure(old.is_none(), "it is there already")?;
            }
            Step::AddChain(chain) => {
                ensure(chain.rules.is_empty(), "rules come one by one")?;
                ensure(self.chains.insert(chain.name.clone(), chain.clone()).is_none(), "it is there already")?;
            }
            Step::AddElements(spec, elements) => {
                for element in elements {
                    if let Element::Interface(_, Verdict::Jump(chain)) = element {
                        ensure(self.chains.contains_key(chain), "its chain is not there")?;
                    }
                    let (_, held) = self.sets.get_mut(&spec.name).ok_or("no such set")?;
                    ensure(!held.iter().any(|other| overlaps(other, element)), "an element is there or overlaps")?;
                    held.insert(element.clone());
                }
                let (_, held) = &self.sets[&spec.name];
                ensure(spec.size.is_none_or(|size| held.len() <= size as usize), "the set is full")?;
            }
            Step::DeleteElements(spec, elements) => {
                let (_, held) = self.sets.get_mut(&spec.name).ok_or("no such set")?;
                for element in elements {
                    ensure(held.remove(element), "an element is not there")?;
                }
            }
            Step::FlushChain(name) => self.chains.get_mut(name).ok_or("no such chain")?.rules.clear(),
            Step::AddRule(name, rule) => {
                for set in sets_of(rule) {
                    ensure(self.sets.contains_key(set), "its set is not there")?;
                }
                for target in targets(rule) {
                    ensure(self.chains.contains_key(target), "its target is not there")?;
                }
                self.chains.get_mut(name).ok_or("no such chain")?.rules.push(rule.clone());
            }
            Step::EditRule(..) => return Err("only a driver that has read the chain edits it"),
            Step::DeleteChain(name) => {
                let chain = self.chains.remove(name).ok_or("no such chain")?;
                ensure(chain.rules.is_empty(), "it has rules")?;
                let mut rules = self.chains.values().flat_map(|chain| &chain.rules);
                ensure(!rules.any(|rule| targets(rule).any(|target| target == name)), "a rule leads to it")?;
                let elements = self.sets.values().flat_map(|(_, elements)| elements);
                let entry =
                    |element: &Element| matches!(element, Element::Interface(_, Verdict::Jump(to)) if to == name);
                ensure(!elements.into_iter().any(entry), "a map leads to it")?;
            }
            Step::DeleteSet(name) => {
                ensure(self.sets.remove(name).is_some(), "no such set")?;
                let mut rules = self.chains.values().flat_map(|chain| &chain.rules);
                ensure(!rules.any(|rule| sets_of(rule).any(|set| set == name)), "a rule looks it up")?;
            }
        }
        Ok(())
    }

    /// No loops, and no deeper than the kernel's stack (`NFT_JUMP_STACK_SIZE`).
    fn check_jumps(&self) -> Result<(), String> {
        fn depth(sim: &Sim, chain: &Name, level: usize) -> Result<(), String> {
            ensure(level < 16, "the jumps are too deep").map_err(|why| format!("{chain}: {why}"))?;
            let rules = sim.chains.get(chain).map_or(&[][..], |chain| &chain.rules);
            let entries = rules.iter().flat_map(maps).flat_map(|map| &sim.sets[map].1);
            let entries = entries.filter_map(|element| match element {
                Element::Interface(_, Verdict::Jump(to)) => Some(to),
                _ => None,
            });
            rules.iter().flat_map(targets).chain(entries).try_for_each(|to| depth(sim, to, level + 1))
        }
        self.chains.values().filter(|chain| chain.base.is_some()).try_for_each(|base| depth(self, &base.name, 0))
    }

    /// Whether there is a base chain.
    pub(crate) fn has_base(&self, base: &Name) -> bool {
        self.chains.contains_key(base)
    }

    /// Walks a packet through a base chain, as the first of its connection.
    pub(crate) fn walk(&self, base: &Name, interface: &str, packet: &Packet, mark: Mark) -> Fate {
        let way = Way { incoming: Some(interface), outgoing: Some(interface), translated: false };
        self.walk_on(base, way, packet, mark)
    }

    /// As [`Sim::walk`], on any way.
    pub(crate) fn walk_on(&self, base: &Name, way: Way<'_>, packet: &Packet, mark: Mark) -> Fate {
        let fate = Fate { allowed: true, mark, logged: 0, untracked: false, translated: false };
        let mut walk = Walk { sim: self, way, packet, fate };
        let end = walk.chain(&self.chains[base]);
        walk.fate.allowed = end != End::Dropped;
        walk.fate
    }
}

fn ensure(holds: bool, why: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(why) }
}

fn overlaps(a: &Element, b: &Element) -> bool {
    match (a, b) {
        (Element::Net(a, b), Element::Net(c, d)) => a <= d && c <= b,
        (Element::Interface(a, _), Element::Interface(b, _)) => a == b,
        (Element::WorkloadNet(a, first, last), Element::WorkloadNet(b, low, high)) => {
            a == b && first <= high && low <= last
        }
        (a, b) => a == b,
    }
}

fn targets(rule: &Rule) -> impl Iterator<Item = &Name> {
    rule.statements.iter().filter_map(|statement| match statement {
        Statement::Verdict(Verdict::Jump(name) | Verdict::Goto(name)) => Some(name),
        _ => None,
    })
}

fn maps(rule: &Rule) -> impl Iterator<Item = &Name> {
    rule.statements.iter().filter_map(|statement| match statement {
        Statement::Dispatch(_, map) => Some(map),
        _ => None,
    })
}

fn sets_of(rule: &Rule) -> impl Iterator<Item = &Name> {
    let looked_up = rule.matches.iter().filter_map(|condition| match condition {
        Match::ProtocolIn(_, name)
        | Match::AddrIn(.., name)
        | Match::PortIn(.., name)
        | Match::AddrPortIn(.., name)
        | Match::SourceIn(_, name)
        | Match::EndIn(.., name) => Some(name),
        _ => None,
    });
    looked_up.chain(maps(rule))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Accepted,
    Dropped,
    /// The caller goes on after its jump.
    Returned,
}

struct Walk<'a> {
    sim: &'a Sim,
    way: Way<'a>,
    packet: &'a Packet,
    fate: Fate,
}

impl<'a> Walk<'a> {
    fn chain(&mut self, chain: &'a Chain) -> End {
        for rule in &chain.rules {
            if !rule.matches.iter().all(|condition| self.holds(condition)) {
                continue;
            }
            for statement in &rule.statements {
                match statement {
                    Statement::Counter | Statement::Nflog(..) => {}
                    Statement::Log(_) => self.fate.logged += 1,
                    // The first packet within any time is within the rate.
                    Statement::Limit(_) => {}
                    Statement::Masquerade(_) | Statement::SourceNat(..) => {
                        self.fate.translated = true;
                        return End::Accepted;
                    }
                    Statement::SetMark(bit) => self.fate.mark.0 |= bit.0,
                    Statement::ClearMark(bit) => self.fate.mark.0 &= !bit.0,
                    Statement::Reject | Statement::ResetTcp => return End::Dropped,
                    Statement::Revoke => {}
                    Statement::Notrack => self.fate.untracked = true,
                    Statement::Dispatch(via, map) => {
                        let interface = self.interface(*via);
                        let entry = self.sim.sets[map].1.iter().find_map(|element| match element {
                            Element::Interface(name, verdict) if name.as_str() == interface => Some(verdict),
                            _ => None,
                        });
                        match entry.map(|verdict| self.verdict(verdict)) {
                            None | Some(None) => {}
                            Some(Some(end)) => return end,
                        }
                    }
                    Statement::Verdict(verdict) => {
                        if let Some(end) = self.verdict(verdict) {
                            return end;
                        }
                    }
                }
            }
        }
        End::Returned
    }

    /// How the chain ends by a verdict; `None` if it goes on.
    fn verdict(&mut self, verdict: &Verdict) -> Option<End> {
        match verdict {
            Verdict::Accept => Some(End::Accepted),
            Verdict::Drop => Some(End::Dropped),
            Verdict::Return => Some(End::Returned),
            Verdict::Goto(name) => Some(self.chain(&self.sim.chains[name])),
            Verdict::Jump(name) => match self.chain(&self.sim.chains[name]) {
                End::Returned => None,
                end => Some(end),
            },
        }
    }

    fn holds(&self, condition: &Match) -> bool {
        let packet = self.packet;
        let is = |op: &Op, holds: bool| holds == (*op == Op::Is);
        match condition {
            // Packets are first ones here.
            Match::FromOpener => true,
            Match::CtState(_) | Match::EndIn(..) | Match::Unrevoked | Match::TcpReset => false,
            Match::Family(family) => packet.family() == *family,
            Match::Protocol(op, protocol) => is(op, packet.protocol() == *protocol),
            Match::ProtocolIn(op, set) => is(op, self.has(set, &Element::Protocol(packet.protocol()))),
            Match::Addr(side, op, net) => packet.family() == net.family() && is(op, net.contains(self.addr(*side))),
            Match::AddrIn(side, op, family, set) => {
                packet.family() == *family && is(op, self.holds_addr(set, self.addr(*side)))
            }
            // A header too short for ports leaves the rule, whatever the comparison.
            Match::SourceIn(family, set) => {
                let addr = self.addr(Side::Src);
                let is = |element: &Element| match element {
                    Element::WorkloadAddr(_, held) => *held == addr,
                    Element::WorkloadNet(_, first, last) => *first <= addr && addr <= *last,
                    _ => false,
                };
                let interface = self.interface(Via::In);
                let of = |element: &&Element| element.interface().is_some_and(|name| name.as_str() == interface);
                packet.family() == *family && self.sim.sets[set].1.iter().filter(of).any(is)
            }
            Match::Port(side, op, range) => self.port(*side).is_some_and(|port| is(op, range.contains(port))),
            Match::PortIn(side, op, set) => self.port(*side).is_some_and(|port| {
                let holds = |element: &Element| matches!(element, Element::Ports(range) if range.contains(port));
                is(op, self.sim.sets[set].1.iter().any(holds))
            }),
            Match::AddrPortIn(side, op, family, set) => {
                packet.family() == *family
                    && self.port(*side).is_some_and(|port| {
                        let key = Element::AddrPort(self.addr(*side), packet.protocol(), port);
                        is(op, self.has(set, &key))
                    })
            }
            Match::Icmp(family, field, op, value) => {
                let own = match family {
                    Family::V4 => Protocol::ICMP,
                    Family::V6 => Protocol::ICMPV6,
                };
                let Transport::Icmp { icmp_type, code } = packet.transport() else { return false };
                let held = match field {
                    IcmpField::Type => icmp_type,
                    IcmpField::Code => code,
                };
                packet.family() == *family && packet.protocol() == own && is(op, held == *value)
            }
            Match::Interface(via, name) => self.interface(*via) == name.as_str(),
            Match::InterfacePrefix(via, prefix) => self.interface(*via).starts_with(prefix.as_str()),
            Match::MarkBit(bit) => self.fate.mark.0 & bit.0 == bit.0,
            Match::Local => self.way.incoming.is_none(),
            Match::Translated => self.way.translated,
        }
    }

    fn interface(&self, via: Via) -> &'a str {
        match via {
            Via::In => self.way.incoming,
            Via::Out => self.way.outgoing,
        }
        .unwrap_or("")
    }

    fn addr(&self, side: Side) -> IpAddr {
        match side {
            Side::Src => self.packet.src(),
            Side::Dst => self.packet.dst(),
        }
    }

    /// What the kernel reads where a port would be; of ICMP that is its head.
    fn port(&self, side: Side) -> Option<Port> {
        match (self.packet.transport(), side) {
            (Transport::Ports { src, .. }, Side::Src) => Some(src),
            (Transport::Ports { dst, .. }, Side::Dst) => Some(dst),
            (Transport::Icmp { icmp_type, code }, Side::Src) => Some(Port::from_be_bytes([icmp_type, code])),
            (Transport::Icmp { .. }, Side::Dst) => Some(0x5050),
            (Transport::Opaque, _) => None,
        }
    }

    fn has(&self, set: &Name, element: &Element) -> bool {
        self.sim.sets[set].1.contains(element)
    }

    fn holds_addr(&self, set: &Name, addr: IpAddr) -> bool {
        let (spec, elements) = &self.sim.sets[set];
        match spec.kind {
            SetKind::Addrs(_) => elements.contains(&Element::Addr(addr)),
            _ => elements.iter().any(|element| matches!(element, Element::Net(a, b) if *a <= addr && addr <= *b)),
        }
    }
}
