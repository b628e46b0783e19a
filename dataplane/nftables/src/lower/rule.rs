//! Policy rules as kernel rules.
//!
//! A rule is a conjunction of tests. Most tests are one comparison; some are a
//! choice of alternatives: numeric or named ports, an address in the hashed or
//! in the interval part of a set, an ICMP type or code that differs. With one
//! choice, each alternative is a kernel rule of its own; with more, or where a
//! second match would show (a logged packet is logged once), each choice is a
//! chain whose alternatives lead to the next.

use caracal_net::{Cidr, Family, PortRange, Protocol};
use caracal_program::{Action, IcmpMatch, Rule as PolicyRule, SetId, SideMatch};
use smallvec::{SmallVec, smallvec};

use super::{SetObjects, denial, deny_all};
use crate::ir::{
    Chain, Comment, Element, IcmpField, LogPrefix, Match, Name, Op, Rule, Set, SetKind, SetSpec, Side, Statement,
    Verdict,
};
use crate::lists::{self, List};
use crate::names;
use crate::settings::{Ipv6, Settings};

/// More choices in one rule than this are refused: each is a level of jumps,
/// and the kernel allows 16 from the base chain (`NFT_JUMP_STACK_SIZE`).
const MOST_CHOICES: usize = 8;

/// What a Pass does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PassMeans {
    /// The next tier decides: in a policy.
    NextTier,
    /// The next profile decides: in a profile.
    NextProfile,
}

/// Rules to lower, and where they go.
pub(crate) struct RuleList<'a> {
    /// The chain's name.
    pub chain: Name,
    /// Beginning of the rules' comments: policy or profile, and direction.
    pub title: String,
    /// The rules.
    pub rules: &'a [PolicyRule],
    /// The text before what a Log rule writes.
    pub log_prefix: LogPrefix,
    /// What a Pass does.
    pub pass: PassMeans,
}

/// Chains of a list of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoweredRules {
    /// The list's chain, then chains of alternatives.
    pub chains: Vec<Chain>,
    /// Shared sets that the chains look up, with their elements.
    pub lists: Vec<Set>,
    /// What cannot be expressed and is a denial instead, for a person to read.
    pub faults: Vec<String>,
}

/// The matches of one alternative.
type Alternative = SmallVec<[Match; 2]>;

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
struct Conditions {
    matches: Vec<Match>,
    choices: Vec<Vec<Alternative>>,
}

/// Lowers a list of rules.
pub(crate) fn lower_rules(list: &RuleList<'_>, sets: &impl SetObjects, settings: &Settings) -> LoweredRules {
    let mut lowering =
        Lowering { list, sets, settings, main: Vec::new(), extra: Vec::new(), lists: Vec::new(), faults: Vec::new() };
    for (index, rule) in list.rules.iter().enumerate() {
        lowering.rule(index, rule);
    }
    let main = Chain { name: list.chain.clone(), base: None, rules: lowering.main };
    let mut chains = vec![main];
    chains.append(&mut lowering.extra);
    LoweredRules { chains, lists: lowering.lists, faults: lowering.faults }
}

struct Lowering<'a, S> {
    list: &'a RuleList<'a>,
    sets: &'a S,
    settings: &'a Settings,
    main: Vec<Rule>,
    extra: Vec<Chain>,
    lists: Vec<Set>,
    faults: Vec<String>,
}

impl<S: SetObjects> Lowering<'_, S> {
    fn rule(&mut self, index: usize, rule: &PolicyRule) {
        let comment = names::comment(&format!("{} {index}", self.list.title));
        if let Some(unknown) = rule.set_ids().find(|id| !self.sets.is_known(id)) {
            self.main.push(deny_all(self.settings, &format!("{} {index}: set {unknown} is unknown", self.list.title)));
            return;
        }
        let families: &[Option<Family>] = match rule.family {
            Some(Family::V4) => &[Some(Family::V4)],
            Some(Family::V6) => &[Some(Family::V6)],
            None if names_addresses(rule) => &[Some(Family::V4), Some(Family::V6)],
            None => &[None],
        };
        for family in families {
            if *family == Some(Family::V6) && self.settings.ipv6 == Ipv6::Off {
                continue;
            }
            let Some(conditions) = self.conditions(rule, *family) else { continue };
            if conditions.choices.len() > MOST_CHOICES {
                let fault = format!(
                    "{} {index}: {} sets with both addresses and prefixes, or ports both numeric and named, are more than {MOST_CHOICES}; the rule denies instead",
                    self.list.title,
                    conditions.choices.len(),
                );
                self.main.push(deny_all(self.settings, &fault));
                self.faults.push(fault);
                return;
            }
            self.emit(index, *family, rule.action, &comment, conditions);
        }
    }

    /// The rule's tests; `None` if no packet of the family passes them.
    fn conditions(&mut self, rule: &PolicyRule, family: Option<Family>) -> Option<Conditions> {
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
                    spec: SetSpec { name: names::protocols_with_ports(), kind: SetKind::Protocols },
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

    fn emit(&mut self, index: usize, family: Option<Family>, action: Action, comment: &Comment, tests: Conditions) {
        let Conditions { matches, choices } = tests;
        match (choices.as_slice(), action) {
            ([], _) => {
                let rule = self.act(matches, action, Leave::Return, comment);
                self.main.push(rule);
            }
            ([choice], Action::Allow | Action::Deny | Action::Pass) => {
                for alternative in choice {
                    let matches = matches.iter().chain(alternative).cloned().collect();
                    let rule = self.act(matches, action, Leave::Return, comment);
                    self.main.push(rule);
                }
            }
            (choices, _) => self.emit_chains(index, family, action, comment, matches, choices),
        }
    }

    /// One chain for each choice.
    fn emit_chains(
        &mut self,
        index: usize,
        family: Option<Family>,
        action: Action,
        comment: &Comment,
        matches: Vec<Match>,
        choices: &[Vec<Alternative>],
    ) {
        let name = |step: usize| names::alternatives(&self.list.chain, index, family, step);
        for (i, choice) in choices.iter().enumerate() {
            let rules = choice.iter().map(|alternative| {
                if i + 1 < choices.len() {
                    when_all(alternative.to_vec()).verdict(Verdict::Goto(name(i + 1)))
                } else {
                    self.act(alternative.to_vec(), action, Leave::Mark, comment)
                }
            });
            self.extra.push(Chain { name: name(i), base: None, rules: rules.collect() });
        }
        let pass = self.settings.pass_mark();
        let came_back = Rule::new().when(Match::MarkBit(pass));
        match (action, self.list.pass) {
            (Action::Allow | Action::Deny | Action::Log, _) => {
                self.main.push(when_all(matches).verdict(Verdict::Jump(name(0))));
            }
            // The return of a Pass comes back here, and has one chain more to leave.
            (Action::Pass, PassMeans::NextTier) => {
                self.main.push(when_all(matches).verdict(Verdict::Jump(name(0))));
                self.main.push(came_back.verdict(Verdict::Return));
            }
            // Nobody has cleared the bit before, and nobody will after.
            (Action::Pass, PassMeans::NextProfile) => {
                let jump = Verdict::Jump(name(0));
                self.main.push(when_all(matches).then(Statement::ClearMark(pass)).verdict(jump));
                self.main.push(came_back.then(Statement::ClearMark(pass)).verdict(Verdict::Return));
            }
        }
    }

    /// A kernel rule with a policy rule's action.
    fn act(&self, matches: Vec<Match>, action: Action, leave: Leave, comment: &Comment) -> Rule {
        let rule = when_all(matches).then(Statement::Counter);
        match (action, leave) {
            (Action::Allow, _) => rule.verdict(Verdict::Accept),
            (Action::Deny, _) => rule.then(denial(self.settings)),
            (Action::Pass, leave) => match (self.list.pass, leave) {
                (PassMeans::NextProfile, Leave::Return) => rule.verdict(Verdict::Return),
                (PassMeans::NextTier, _) | (PassMeans::NextProfile, Leave::Mark) => {
                    rule.then(Statement::SetMark(self.settings.pass_mark())).verdict(Verdict::Return)
                }
            },
            (Action::Log, Leave::Return) => rule.then(Statement::Log(self.list.log_prefix.clone())),
            (Action::Log, Leave::Mark) => {
                rule.then(Statement::Log(self.list.log_prefix.clone())).verdict(Verdict::Return)
            }
        }
        .comment(comment.clone())
    }
}

/// What a rule stands in, and thus how it leaves.
#[derive(Clone, Copy)]
enum Leave {
    /// In the list's own chain: a return leaves the list.
    Return,
    /// In a chain of alternatives: a return goes on in the list, unless the mark says more.
    Mark,
}

fn when_all(matches: Vec<Match>) -> Rule {
    in_order(matches).into_iter().fold(Rule::new(), Rule::when)
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
fn names_addresses(rule: &PolicyRule) -> bool {
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
        Match::Family(family) | Match::AddrIn(_, _, family, _) | Match::AddrPortIn(_, _, family, _) => Some(*family),
        Match::Addr(_, _, net) => Some(net.family()),
        // The kernel takes the protocol number of any family for one.
        Match::Icmp(..)
        | Match::CtState(_)
        | Match::Protocol(..)
        | Match::ProtocolIn(..)
        | Match::Port(..)
        | Match::PortIn(..)
        | Match::InterfacePrefix(..)
        | Match::MarkBit(_) => None,
    }
}

/// The tests that cost least first; a protocol before what depends on it.
fn in_order(mut matches: Vec<Match>) -> Vec<Match> {
    matches.sort_by_key(|condition| match condition {
        Match::Protocol(..) | Match::ProtocolIn(..) => 0,
        Match::Port(..) => 1,
        Match::PortIn(..) => 2,
        Match::Family(_) => 3,
        Match::Icmp(..) => 4,
        Match::Addr(..) => 5,
        Match::AddrIn(..) => 6,
        Match::AddrPortIn(..) => 7,
        Match::CtState(_) | Match::InterfacePrefix(..) | Match::MarkBit(_) => 8,
    });
    matches
}
