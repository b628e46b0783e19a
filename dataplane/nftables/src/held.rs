//! What the kernel holds by what was sent to it: of each chain and set a print, so
//! that a look at one of them tells whether somebody else changed it.
//!
//! A print costs nothing to keep up with a change: a chain's is folded over its
//! rules, a set's is a sum over its elements, whatever their order.

use std::hash::{Hash, Hasher as _};

use caracal_sys::nft::{self, Expr, LogTarget, MetaKey, Reject, Verdict};
use rustc_hash::{FxHashMap, FxHasher};

use crate::edits::{ChainEdit, Edits};
use crate::encode;
use crate::ir::{Chain, Element, Name, SetKind, SetSpec};
use crate::names;
use crate::plan::Step;
use crate::readback::Found;

/// A hash of a rule or of some elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Print(u64);

impl Print {
    /// Of a rule; what its counters have counted does not matter.
    pub(crate) fn of_rule(rule: &nft::Rule) -> Self {
        let mut hasher = FxHasher::default();
        for expr in &rule.exprs {
            match expr {
                Expr::Counter { .. } => Expr::COUNTER.hash(&mut hasher),
                expr => expr.hash(&mut hasher),
            }
        }
        rule.comment.hash(&mut hasher);
        Self(spread(hasher.finish()))
    }

    /// Of what a rule decides, and about what: its comment, and which copy of a set it
    /// looks up, do not matter either; nor does what only parameters choose: how a
    /// denied packet ends, which bit marks, how lines are logged and how often, and
    /// whether anybody is told of flows.
    pub(crate) fn of_deed(rule: &nft::Rule) -> Self {
        let mut hasher = FxHasher::default();
        for (at, expr) in rule.exprs.iter().enumerate() {
            match expr {
                Expr::Counter { .. } => Expr::COUNTER.hash(&mut hasher),
                Expr::Lookup { set, sreg, yields } => match names::ip_set_copy(set) {
                    Some((set, _)) => Expr::Lookup { set, sreg: *sreg, yields: *yields }.hash(&mut hasher),
                    None => expr.hash(&mut hasher),
                },
                Expr::Log { target: LogTarget::Group { .. }, .. } | Expr::Limit { .. } => {}
                Expr::Log { target, .. } => Expr::Log { prefix: None, target: target.clone() }.hash(&mut hasher),
                Expr::Reject(Reject::Icmpx(_)) => Expr::Verdict(Verdict::Drop).hash(&mut hasher),
                Expr::Bitwise { sreg, dreg, .. } if sets_mark(rule.exprs.get(at + 1)) => {
                    (sreg, dreg).hash(&mut hasher);
                }
                expr => expr.hash(&mut hasher),
            }
        }
        Self(spread(hasher.finish()))
    }

    /// Its lower and its upper half.
    #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
    pub(crate) const fn halves(self) -> (u32, u32) {
        (self.0 as u32, (self.0 >> 32) as u32)
    }

    /// Of elements in any order.
    pub(crate) fn of_elements<'a>(elements: impl IntoIterator<Item = &'a Element>) -> Self {
        Self(elements.into_iter().fold(0, |sum, element| {
            let mut hasher = FxHasher::default();
            element.hash(&mut hasher);
            sum.wrapping_add(spread(hasher.finish()))
        }))
    }

    /// Of rules in their order.
    pub(crate) fn of_rules<'a>(rules: impl IntoIterator<Item = &'a nft::Rule>) -> Self {
        rules.into_iter().fold(Self::default(), |chain, rule| chain.then(Self::of_rule(rule)))
    }

    pub(crate) fn then(self, rule: Self) -> Self {
        Self(spread(self.0.rotate_left(5) ^ rule.0))
    }

    pub(crate) const fn plus(self, elements: Self) -> Self {
        Self(self.0.wrapping_add(elements.0))
    }

    const fn minus(self, elements: Self) -> Self {
        Self(self.0.wrapping_sub(elements.0))
    }
}

/// Whether an expression makes what was calculated before it the packet's mark.
const fn sets_mark(expr: Option<&Expr>) -> bool {
    matches!(expr, Some(Expr::SetMeta { key: MetaKey::Mark, .. }))
}

/// The finisher of splitmix64: sums of its values tell sets apart, which sums of
/// products do not.
const fn spread(hash: u64) -> u64 {
    let hash = (hash.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// A chain that the kernel holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeldChain {
    pub(crate) base: Option<nft::Base>,
    /// Of its rules; `None` for one that is there and is not ours to judge yet.
    pub(crate) rules: Option<Print>,
}

/// A set that the kernel holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeldSet {
    /// `None` for one that is there and is not ours to judge yet.
    pub(crate) contents: Option<(SetKind, Print)>,
}

/// The table as the kernel holds it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    pub(crate) chains: FxHashMap<Name, HeldChain>,
    pub(crate) sets: FxHashMap<Name, HeldSet>,
}

impl Held {
    /// What the kernel holds once it holds all that is desired.
    pub(crate) fn desired(desired: &Edits) -> Self {
        let mut held = Self::default();
        for spec in &desired.sets {
            held.add_set(spec);
        }
        for edit in &desired.elements {
            held.add_elements(&edit.set.name, Print::of_elements(&edit.add));
        }
        for edit in &desired.chains {
            let (ChainEdit::Create(chain) | ChainEdit::Rewrite(chain)) = edit;
            held.add_chain(chain);
            let rules = chain.rules.iter().map(|rule| Print::of_rule(&encode::rule(rule)));
            let rules = rules.fold(Print::default(), Print::then);
            held.chains.entry(chain.name.clone()).and_modify(|held| held.rules = Some(rules));
        }
        held
    }

    /// Chains and sets that are in the kernel beside those that are desired.
    pub(crate) fn and_found<'a>(
        &mut self,
        chains: impl Iterator<Item = (&'a Name, Option<nft::Base>)>,
        sets: impl Iterator<Item = &'a Name>,
    ) {
        for (name, base) in chains {
            self.chains.entry(name.clone()).or_insert(HeldChain { base, rules: None });
        }
        for name in sets {
            self.sets.entry(name.clone()).or_insert(HeldSet { contents: None });
        }
    }

    /// Takes note of what was found of chains that are about to be rewritten.
    pub(crate) fn note_rewritten(&mut self, edits: &Edits, found: &Found) {
        for edit in &edits.chains {
            let name = &edit.chain().name;
            let Some(found) = found.chains.get(name) else { continue };
            self.chains.insert(name.clone(), HeldChain { base: found.base, rules: Some(found.rules) });
        }
    }

    /// No longer judges the sets and maps of interfaces: they keep entries that nobody has told of.
    pub(crate) fn judge_no_interfaces(&mut self) {
        for set in self.sets.values_mut() {
            if matches!(set.contents, Some((kind, _)) if kind.is_of_interfaces()) {
                set.contents = None;
            }
        }
    }

    /// Takes note of a step that was carried out, with [`Held::print`] of it.
    pub(crate) fn record(&mut self, step: &Step, print: Print) {
        match step {
            Step::AddTable => {}
            Step::DeleteTable => *self = Self::default(),
            Step::AddSet(spec) => self.add_set(spec),
            Step::AddChain(chain) => self.add_chain(chain),
            Step::AddElements(spec, _) => self.add_elements(&spec.name, print),
            Step::DeleteElements(spec, _) => {
                if let Some(HeldSet { contents: Some((_, sum)) }) = self.sets.get_mut(&spec.name) {
                    *sum = sum.minus(print);
                }
            }
            Step::FlushChain(name) => {
                if let Some(chain) = self.chains.get_mut(name) {
                    chain.rules = Some(Print::default());
                }
            }
            Step::AddRule(name, _) => {
                if let Some(HeldChain { rules: Some(rules), .. }) = self.chains.get_mut(name) {
                    *rules = rules.then(print);
                }
            }
            // The whole chain is noted instead: `Held::rules`.
            Step::EditRule(..) => {}
            Step::DeleteChain(name) => {
                self.chains.remove(name);
            }
            Step::DeleteSet(name) => {
                self.sets.remove(name);
            }
        }
    }

    /// Takes note of the rules that a chain has, if it is there.
    pub(crate) fn rules(&mut self, chain: &Name, print: Print) {
        if let Some(held) = self.chains.get_mut(chain) {
            held.rules = Some(print);
        }
    }

    fn add_set(&mut self, spec: &SetSpec) {
        let contents = Some((spec.kind, Print::default()));
        self.sets.entry(spec.name.clone()).or_insert(HeldSet { contents });
    }

    fn add_chain(&mut self, chain: &Chain) {
        let made = HeldChain { base: encode::chain(chain).base, rules: Some(Print::default()) };
        self.chains.entry(chain.name.clone()).or_insert(made);
    }

    fn add_elements(&mut self, set: &Name, print: Print) {
        if let Some(HeldSet { contents: Some((_, sum)) }) = self.sets.get_mut(set) {
            *sum = sum.plus(print);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(text: &str) -> Element {
        Element::Addr(text.parse().expect("an address"))
    }

    #[test]
    fn a_set_has_one_print_whatever_the_way_to_it() {
        let [a, b, c] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(element);
        let all = Print::of_elements([&a, &b, &c]);
        assert_eq!(all, Print::of_elements([&c, &a, &b]));
        assert_eq!(all.minus(Print::of_elements([&b])), Print::of_elements([&c, &a]));
        assert_ne!(all, Print::of_elements([&a, &b]));
        assert_eq!(Print::of_elements([]), Print::default());
    }

    #[test]
    fn a_chain_is_told_by_its_rules_and_their_order() {
        let [drop, accept] = [nft::Verdict::Drop, nft::Verdict::Accept].map(|v| nft::Rule::new([Expr::Verdict(v)]));
        let counted = |packets| nft::Rule::new([Expr::Counter { packets, bytes: 0 }]);
        assert_ne!(Print::of_rules([&drop, &accept]), Print::of_rules([&accept, &drop]));
        assert_ne!(Print::of_rules([&drop]), Print::of_rules([]));
        assert_eq!(Print::of_rules([&counted(7)]), Print::of_rules([&counted(0)]));
    }
}
