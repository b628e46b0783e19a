//! Policy rules as kernel rules.
//!
//! A rule is a conjunction of tests. Most tests are one comparison; some are a
//! choice of alternatives: numeric or named ports, an address in the hashed or
//! in the interval part of a set, an ICMP type or code that differs. With one
//! choice, each alternative is a kernel rule of its own; with more, or where a
//! second match would show (a logged packet is logged once), each choice is a
//! chain whose alternatives lead to the next.

mod conditions;

use caracal_net::Family;
use caracal_program::{Action, Direction, Rule as PolicyRule};
use conditions::{Alternative, Conditions, Tests, names_addresses};

use super::{SetObjects, Stage, denial, deny_told};
use crate::flow_log::told;
use crate::ir::{Chain, Comment, LogPrefix, Match, Name, Rule, Set, Statement, Verdict};
use crate::model::Owner;
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
    /// Where the rules stand.
    pub stage: Stage,
    /// Whose rules they are, and for which direction, if flow records name them.
    pub owner: Option<(&'a Owner, Direction)>,
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

/// Lowers a list of rules.
pub(crate) fn lower_rules(list: &RuleList<'_>, sets: &impl SetObjects, settings: &Settings) -> LoweredRules {
    let mut lowering =
        Lowering { list, tests: Tests::new(sets), settings, main: Vec::new(), extra: Vec::new(), faults: Vec::new() };
    for (index, rule) in list.rules.iter().enumerate() {
        lowering.rule(index, rule);
    }
    let main = Chain { name: list.chain.clone(), base: None, rules: lowering.main };
    let mut chains = vec![main];
    chains.append(&mut lowering.extra);
    LoweredRules { chains, lists: lowering.tests.lists, faults: lowering.faults }
}

struct Lowering<'a, S> {
    list: &'a RuleList<'a>,
    tests: Tests<'a, S>,
    settings: &'a Settings,
    main: Vec<Rule>,
    extra: Vec<Chain>,
    faults: Vec<String>,
}

impl<S: SetObjects> Lowering<'_, S> {
    fn rule(&mut self, index: usize, rule: &PolicyRule) {
        let place = Place { index, comment: names::rule_comment(&self.list.title, index) };
        if let Some(unknown) = self.tests.unknown_set(rule) {
            let fault = format!("{} {index}: set {unknown} is unknown", self.list.title);
            self.deny(index, fault);
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
            let Some(conditions) = self.tests.conditions(rule, *family) else { continue };
            if conditions.choices.len() > MOST_CHOICES {
                let fault = format!(
                    "{} {index}: {} sets with both addresses and prefixes, or ports both numeric and named, are more than {MOST_CHOICES}; the rule denies instead",
                    self.list.title,
                    conditions.choices.len(),
                );
                self.deny(index, fault);
                return;
            }
            self.emit(&place, *family, rule.action, conditions);
        }
    }

    /// A rule that cannot be expressed denies.
    fn deny(&mut self, index: usize, fault: String) {
        let told = self.told(index, Action::Deny);
        self.main.push(deny_told(self.list.stage, self.settings, &fault, told));
        self.faults.push(fault);
    }

    fn emit(&mut self, place: &Place, family: Option<Family>, action: Action, tests: Conditions) {
        let Conditions { matches, choices } = tests;
        match (choices.as_slice(), action) {
            ([], _) => {
                let rule = self.act(matches, action, Leave::Return, place);
                self.main.push(rule);
            }
            ([choice], Action::Allow | Action::Deny | Action::Pass) => {
                for alternative in choice {
                    let matches = matches.iter().chain(alternative).cloned().collect();
                    let rule = self.act(matches, action, Leave::Return, place);
                    self.main.push(rule);
                }
            }
            (choices, _) => self.emit_chains(place, family, action, matches, choices),
        }
    }

    /// One chain for each choice.
    fn emit_chains(
        &mut self,
        place: &Place,
        family: Option<Family>,
        action: Action,
        matches: Vec<Match>,
        choices: &[Vec<Alternative>],
    ) {
        let name = |step: usize| names::alternatives(&self.list.chain, place.index, family, step);
        // A rate is the rule's, whichever alternatives match: all of them lead to one limit.
        let is_limited = action == Action::Log && self.settings.log_rate.is_some();
        if is_limited {
            let log = self.act(Vec::new(), action, Leave::Return, place);
            self.extra.push(Chain { name: name(choices.len()), base: None, rules: vec![log] });
        }
        for (i, choice) in choices.iter().enumerate() {
            let rules = choice.iter().map(|alternative| {
                if i + 1 < choices.len() || is_limited {
                    when_all(alternative.to_vec()).verdict(Verdict::Goto(name(i + 1)))
                } else {
                    self.act(alternative.to_vec(), action, Leave::Mark, place)
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
    fn act(&self, matches: Vec<Match>, action: Action, leave: Leave, place: &Place) -> Rule {
        let rule = when_all(matches).then(Statement::Counter);
        let rule = self.told(place.index, action).into_iter().fold(rule, Rule::then);
        match (action, leave) {
            (Action::Allow, _) => self.allow(rule),
            (Action::Deny, _) => rule.then(denial(self.list.stage, self.settings)),
            (Action::Pass, leave) => match (self.list.pass, leave) {
                (PassMeans::NextProfile, Leave::Return) => rule.verdict(Verdict::Return),
                (PassMeans::NextTier, _) | (PassMeans::NextProfile, Leave::Mark) => {
                    rule.then(Statement::SetMark(self.settings.pass_mark())).verdict(Verdict::Return)
                }
            },
            (Action::Log, Leave::Return) => self.log(rule),
            (Action::Log, Leave::Mark) => self.log(rule).verdict(Verdict::Return),
        }
        .comment(place.comment.clone())
    }
}

impl<S> Lowering<'_, S> {
    /// What tells of a rule's decision, if anything does.
    fn told(&self, index: usize, action: Action) -> Option<Statement> {
        let (owner, direction) = self.list.owner?;
        told(self.settings, self.list.stage, direction, || owner.decider(index), action)
    }

    fn log(&self, rule: Rule) -> Rule {
        let rule = match self.settings.log_rate {
            None => rule,
            Some(rate) => rule.then(Statement::Limit(rate)),
        };
        rule.then(Statement::Log(self.list.log_prefix.clone()))
    }

    fn allow(&self, rule: Rule) -> Rule {
        let bit = self.settings.pass_mark();
        match self.list.stage {
            Stage::Filter | Stage::Leaving => rule,
            Stage::PreDnat => rule.then(Statement::SetMark(bit)),
            Stage::Untracked => rule.then(Statement::SetMark(bit)).then(Statement::Notrack),
        }
        .verdict(Verdict::Accept)
    }
}

/// A policy rule among the others.
struct Place {
    index: usize,
    comment: Comment,
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
        Match::CtState(_)
        | Match::SourceIn(..)
        | Match::EndIn(..)
        | Match::InterfacePrefix(..)
        | Match::Interface(..)
        | Match::MarkBit(_)
        | Match::Local
        | Match::FromOpener
        | Match::Translated
        | Match::Unrevoked
        | Match::TcpReset => 8,
    });
    matches
}
