//! Ordered policy lists, one per class of local endpoints.
//!
//! Input: classes and the policies that select them, ranks, tiers. Output: the
//! four lists of a class. Memory: a list per distinct outcome, shared by all
//! classes and endpoints that have it.
//! Invariant: equal lists are one allocation, so a list changed if its pointer did.

use std::collections::HashSet;
use std::sync::Arc;

use caracal_model::TierAction;
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};

use crate::class_space::ClassSpace;
use crate::ids::{ClassIx, PolicyIx};
use crate::policies::Policies;
use crate::policy_rank::{PolicyRank, TiersChanged};
use crate::tiers::Tiers;
use crate::{HostPolicyLists, PolicyList, TierPolicies};

#[derive(Debug)]
struct ClassLists {
    /// The class that the lists are of: its id may be used again.
    serial: u64,
    lists: HostPolicyLists,
}

#[derive(Debug, Default)]
pub(crate) struct PolicyLists {
    by_class: FxHashMap<ClassIx, ClassLists>,
    interned: HashSet<PolicyList, FxBuildHasher>,
    /// Whether something may have lost a list since the unused ones were forgotten.
    is_unswept: bool,
    /// The counts of classes at the last refresh.
    counts: (u64, usize),
}

/// What lists are made of.
#[derive(Clone, Copy)]
pub(crate) struct ListContext<'a> {
    pub(crate) space: &'a ClassSpace,
    pub(crate) policies: &'a Policies,
    pub(crate) tiers: &'a Tiers,
    pub(crate) rank: &'a PolicyRank,
}

/// Which of the four lists of a host endpoint a policy belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Normal,
    Untracked,
    PreDnat,
    Forward,
}

impl PolicyLists {
    /// Makes the lists of new classes, and of those named, anew. Gives out the
    /// classes whose lists changed.
    pub(crate) fn refresh(
        &mut self,
        cx: ListContext<'_>,
        stale: &FxHashSet<ClassIx>,
        tiers_changed: TiersChanged,
    ) -> Vec<ClassIx> {
        let former = std::mem::replace(&mut self.counts, cx.space.class_counts());
        if former == self.counts && stale.is_empty() && tiers_changed == TiersChanged::No {
            return Vec::new();
        }
        self.is_unswept = true;
        let mut changed = Vec::new();
        let mut alive = FxHashSet::default();
        for (class, serial) in cx.space.classes() {
            alive.insert(class);
            let known = self.by_class.get(&class).filter(|held| held.serial == serial);
            if known.is_some() && tiers_changed == TiersChanged::No && !stale.contains(&class) {
                continue;
            }
            let lists = self.build(cx, class);
            let held = self.by_class.get(&class).filter(|held| held.serial == serial);
            if !held.is_some_and(|held| same(&held.lists, &lists)) {
                self.by_class.insert(class, ClassLists { serial, lists });
                changed.push(class);
            }
        }
        self.by_class.retain(|class, _| alive.contains(class));
        changed
    }

    /// Forgets lists that nothing has any more.
    pub(crate) fn forget_unused(&mut self) {
        if std::mem::take(&mut self.is_unswept) {
            self.interned.retain(|list| Arc::strong_count(list) > 1);
        }
    }

    /// The lists of a class.
    pub(crate) fn of(&self, class: ClassIx) -> &HostPolicyLists {
        &self.by_class[&class].lists
    }

    fn build(&mut self, cx: ListContext<'_>, class: ClassIx) -> HostPolicyLists {
        let selectors = cx.space.matches(class).iter();
        let mut policies: Vec<PolicyIx> = selectors.flat_map(|selector| cx.policies.of_selector(*selector)).collect();
        policies.sort_unstable_by_key(|at| cx.rank.of(*at));
        let mut list = |stage| self.intern(build_stage(cx, &policies, stage));
        HostPolicyLists {
            normal: list(Stage::Normal),
            untracked: list(Stage::Untracked),
            pre_dnat: list(Stage::PreDnat),
            forward: list(Stage::Forward),
        }
    }

    fn intern(&mut self, tiers: Vec<TierPolicies>) -> PolicyList {
        let list = PolicyList::from(tiers);
        if let Some(held) = self.interned.get(&list) {
            return Arc::clone(held);
        }
        self.interned.insert(Arc::clone(&list));
        list
    }
}

/// Whether interned lists are equal.
pub(crate) fn same(a: &HostPolicyLists, b: &HostPolicyLists) -> bool {
    let HostPolicyLists { normal, untracked, pre_dnat, forward } = a;
    Arc::ptr_eq(normal, &b.normal)
        && Arc::ptr_eq(untracked, &b.untracked)
        && Arc::ptr_eq(pre_dnat, &b.pre_dnat)
        && Arc::ptr_eq(forward, &b.forward)
}

/// The tiers of one list. `policies` are in order.
fn build_stage(cx: ListContext<'_>, policies: &[PolicyIx], stage: Stage) -> Vec<TierPolicies> {
    let mut tiers: Vec<TierPolicies> = Vec::new();
    let mut of_tier = None;
    for at in policies {
        let held = &cx.policies[*at];
        let placing = held.placing;
        let own_stage = match (placing.untracked, placing.pre_dnat) {
            (true, _) => Stage::Untracked,
            (false, true) => Stage::PreDnat,
            (false, false) => Stage::Normal,
        };
        let listed = match stage {
            Stage::Normal | Stage::Untracked | Stage::PreDnat => own_stage == stage,
            Stage::Forward => own_stage == Stage::Normal && placing.apply_on_forward,
        };
        let egress = placing.egress && stage != Stage::PreDnat;
        if !listed || !(placing.ingress || egress) {
            continue;
        }
        if of_tier != Some(held.tier) {
            of_tier = Some(held.tier);
            tiers.push(TierPolicies {
                name: cx.tiers.name(held.tier).clone(),
                default_action: match stage {
                    Stage::Normal | Stage::Forward => cx.tiers.default_action(held.tier),
                    // Nothing is denied at the end of a tier that comes before connection tracking or DNAT.
                    Stage::Untracked | Stage::PreDnat => Some(TierAction::Pass),
                },
                ingress: Vec::new(),
                egress: Vec::new(),
            });
        }
        let tier = tiers.last_mut().expect("a tier was pushed");
        if placing.ingress {
            tier.ingress.push(cx.policies.active_key(*at).clone());
        }
        if egress {
            tier.egress.push(cx.policies.active_key(*at).clone());
        }
    }
    tiers
}

#[cfg(test)]
pub(crate) mod tests;
