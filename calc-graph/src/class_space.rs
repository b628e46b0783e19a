//! Which selectors match which members, calculated once per class.
//!
//! Inputs: members (endpoints and network sets) with labels and parents, labels
//! of parents, selectors. Output: per member the selectors that match it, per
//! selector the classes of members that it matches.
//!
//! - A *tracked key* is a label key that some selector mentions. Values of other
//!   keys are not looked at.
//! - A *value* is a tracked key with one of its values; if selectors only ask
//!   whether the key is there, with any of them.
//! - The *own values* of a label set are the values in it. Members with equal own
//!   values, parents and tag form a *group*.
//! - An *atom* is a test of one label that selectors make. The atoms that are
//!   true of a group's effective labels (an own value wins over a parent's, an
//!   earlier parent's over a later one's) make its *class*.
//! - Selectors are evaluated per class, and found by an atom that they require.
//!
//! Memory: 16 bytes per member, about 50 per group, 100 per class, value and
//! selector. Cost of a member's update: its own tracked labels; of a parent's:
//! the groups with that parent; of a selector: the classes that have an atom
//! which it requires. The one pass over members is the first mention of a key,
//! made once per [`settle`](ClassSpace::settle) for all keys mentioned since.
//!
//! Invariants: every member is in the group of its labels, every group in the
//! class of its effective labels; a class's matches are the settled selectors
//! that its atoms satisfy; a group has members and a class has groups, except
//! between a plan and its commit. Ids are used again at once, so plans are
//! committed before anything else is asked.

mod atoms;
mod classes;
mod groups;
mod settle;
mod values;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use caracal_selector::Selector;
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use self::atoms::{Atoms, Compiled};
use self::classes::Classes;
use self::groups::Groups;
use self::values::{KeyState, Parent, Projection, Values};
use crate::id_set::IdSet;
use crate::id_sets::IdSets;
use crate::ids::{
    AtomIx, ClassIx, GroupIx, KeyIx, LabelsIx, MemberIx, ParentsIx, Place, ProfileIx, SelectorIx, ValueIx,
};
use crate::label_store::LabelStore;
use crate::pairs::{PairHash, Pairs};
use crate::parents::Inheritance;
use crate::short_lists::ShortLists;
use crate::slots::Slots;
use crate::sparse::Sparse;

#[derive(Debug)]
struct SelectorState {
    compiled: Compiled,
    /// If the selector is true, one of these atoms is; `None` if it requires none.
    cover: Option<SmallVec<[AtomIx; 2]>>,
    classes: IdSet,
}

#[derive(Debug, Default)]
pub(crate) struct ClassSpace {
    keys: FxHashMap<KeyIx, KeyState>,
    atoms: Atoms,
    values: Values,
    owns: ShortLists<ValueIx>,
    /// By `LabelsIx`.
    projections: Sparse<Projection>,
    /// By `ProfileIx`.
    parents: Sparse<Parent>,
    /// The groups of parents.
    heirs: IdSets,
    groups: Groups,
    classes: Classes,
    selectors: Slots<SelectorState>,
    /// Settled selectors that require no atom.
    unindexed: IdSet,
    /// Selectors that no class was compared with yet.
    pending: BTreeSet<SelectorIx>,
    /// Atoms that no value was compared with yet.
    new_atoms: Vec<AtomIx>,
    /// Selectors that gained or lost a class since they were last asked for.
    changed: Vec<SelectorIx>,
    /// Classes that gained or lost a selector since they were last asked for.
    disturbed: FxHashSet<ClassIx>,
    /// The labels of members and parents, if somebody asks which there are.
    pairs: Option<Pairs>,
}

/// A member's way to its new group. The group exists; commit at once.
#[must_use]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placement {
    pub(crate) member: MemberIx,
    pub(crate) group: GroupIx,
    labels: LabelsIx,
}

/// A group's way to its new class. The class exists; commit at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reclass {
    pub(crate) group: GroupIx,
    pub(crate) class: ClassIx,
}

impl ClassSpace {
    /// Plans where a member belongs that has these labels, parents and tag;
    /// `None` if it is there already.
    pub(crate) fn plan(
        &mut self,
        cx: Inheritance<'_>,
        member: MemberIx,
        labels: LabelsIx,
        parents: ParentsIx,
        tag: u32,
    ) -> Option<Placement> {
        let own = self.project(cx, labels);
        let group = self.group_for(cx, own, parents, tag);
        if self.groups.group_of(member) == Some(group) && self.groups.labels_of(member) == labels {
            self.unproject(labels);
            return None;
        }
        Some(Placement { member, group, labels })
    }

    /// Moves a member as planned.
    pub(crate) fn commit(&mut self, cx: Inheritance<'_>, placement: Placement) {
        let Placement { member, group, labels } = placement;
        let former = self.groups.group_of(member).map(|old| (old, self.groups.labels_of(member)));
        if let Some((old, _)) = former {
            self.groups.unlink(member, old);
        }
        self.groups.link(member, group, labels);
        if let Some((old, old_labels)) = former {
            self.drop_if_empty(cx, old);
            self.unproject(old_labels);
        }
    }

    /// Takes a member out.
    pub(crate) fn leave(&mut self, cx: Inheritance<'_>, member: MemberIx) {
        let Some(group) = self.groups.group_of(member) else { return };
        let labels = self.groups.labels_of(member);
        self.groups.unlink(member, group);
        self.drop_if_empty(cx, group);
        self.unproject(labels);
    }

    /// Plans what follows from a parent's new labels, which `cx` tells already:
    /// the groups whose class changes.
    pub(crate) fn relabel_parent(&mut self, cx: Inheritance<'_>, profile: ProfileIx) -> Vec<Reclass> {
        if !self.parents.get(profile.ix()).is_some_and(Parent::is_active) {
            return Vec::new();
        }
        self.activate_parent(cx, profile);
        let groups: Vec<u32> = self.heirs(profile).collect();
        groups.into_iter().filter_map(|group| self.reclass(cx, GroupIx(group))).collect()
    }

    /// Moves groups as planned.
    pub(crate) fn commit_reclass(&mut self, moves: &[Reclass]) {
        for Reclass { group, class } in moves {
            self.classes.enter(*class, *group);
        }
        for Reclass { group, class } in moves {
            let old = self.groups.set_class(*group, *class);
            self.leave_class(old, *group);
        }
    }

    /// Adds a selector. It matches nothing before the next settling.
    pub(crate) fn add_selector(&mut self, labels: &mut LabelStore, selector: &Selector) -> SelectorIx {
        let compiled = self.compile(labels, selector.expr());
        let at = SelectorIx(self.selectors.insert(SelectorState { compiled, cover: None, classes: IdSet::default() }));
        self.pending.insert(at);
        at
    }

    /// Takes a selector out.
    pub(crate) fn remove_selector(&mut self, selector: SelectorIx) {
        let state = self.selectors.remove(selector.0);
        self.pending.remove(&selector);
        self.unindexed.remove(selector.0);
        for atom in state.cover.iter().flatten() {
            self.atoms[*atom].selectors.remove(selector.0);
        }
        for class in state.classes.iter() {
            self.classes.remove_match(ClassIx(class), selector);
            self.disturbed.insert(ClassIx(class));
        }
        self.atoms.release_all(&state.compiled);
    }

    /// Whether a settling has something to do.
    pub(crate) fn is_unsettled(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The group of a member.
    pub(crate) fn group_of(&self, member: MemberIx) -> Option<GroupIx> {
        self.groups.group_of(member)
    }

    /// The labels of a member.
    pub(crate) fn labels_of(&self, member: MemberIx) -> LabelsIx {
        self.groups.labels_of(member)
    }

    /// The class, parents and tag of a group.
    pub(crate) fn class_of(&self, group: GroupIx) -> ClassIx {
        self.groups[group].class
    }

    pub(crate) fn parents_of(&self, group: GroupIx) -> ParentsIx {
        self.groups[group].parents
    }

    pub(crate) fn tag_of(&self, group: GroupIx) -> u32 {
        self.groups[group].tag
    }

    /// The settled selectors that match a class, sorted.
    pub(crate) fn matches(&self, class: ClassIx) -> &[SelectorIx] {
        self.classes.matches(class)
    }

    /// Whether a settled selector matches a member.
    pub(crate) fn is_match(&self, member: MemberIx, selector: SelectorIx) -> bool {
        self.group_of(member).is_some_and(|group| self.matches(self.class_of(group)).binary_search(&selector).is_ok())
    }

    /// The classes that a selector matches.
    pub(crate) fn classes_of(&self, selector: SelectorIx) -> impl Iterator<Item = ClassIx> {
        self.selectors[selector.0].classes.iter().map(ClassIx)
    }

    /// Whether there is such a selector.
    pub(crate) fn has_selector(&self, selector: SelectorIx) -> bool {
        self.selectors.get(selector.0).is_some()
    }

    /// Whether a selector matches any member.
    pub(crate) fn has_match(&self, selector: SelectorIx) -> bool {
        !self.selectors[selector.0].classes.is_empty()
    }

    /// Every class, with a number that no other class ever has.
    pub(crate) fn classes(&self) -> impl Iterator<Item = (ClassIx, u64)> {
        self.classes.iter()
    }

    /// How many classes there ever were, and how many there are: neither changes
    /// as long as none comes or goes.
    pub(crate) fn class_counts(&self) -> (u64, usize) {
        self.classes.counts()
    }

    /// The members of a group.
    pub(crate) fn members(&self, group: GroupIx) -> impl Iterator<Item = MemberIx> {
        self.groups.members(group)
    }

    /// The groups of a class.
    pub(crate) fn groups_of(&self, class: ClassIx) -> impl Iterator<Item = GroupIx> {
        self.classes.groups(class)
    }

    /// The selectors that gained or lost a class since the last call. May name
    /// one twice, or one that is no more.
    pub(crate) fn take_changed(&mut self) -> Vec<SelectorIx> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.retain(|selector| self.has_selector(*selector));
        changed
    }

    /// Whether selectors, classes or watched pairs changed since they were last asked for.
    pub(crate) fn is_changed(&self) -> bool {
        let pairs = self.pairs.as_ref().is_some_and(Pairs::is_changed);
        !self.changed.is_empty() || !self.disturbed.is_empty() || pairs
    }

    /// Starts to count which labels members and parents have; before there are any.
    pub(crate) fn watch_pairs(&mut self) {
        self.pairs = Some(Pairs::default());
    }

    /// Whether a member, or a parent of one, may have a label. Always, if nobody watches.
    pub(crate) fn has_pair(&self, pair: PairHash) -> bool {
        self.pairs.as_ref().is_none_or(|pairs| pairs.holds(pair))
    }

    /// Forgets changes since the last call of labels that nobody requires.
    pub(crate) fn retain_changed_pairs(&mut self, required: impl Fn(PairHash) -> bool) {
        if let Some(pairs) = &mut self.pairs {
            pairs.retain_changed(required);
        }
    }

    /// The labels that the first member or parent got, or the last one lost,
    /// since the last call.
    pub(crate) fn take_changed_pairs(&mut self) -> Vec<PairHash> {
        self.pairs.as_mut().map(Pairs::take_changed).unwrap_or_default()
    }

    /// The classes that gained or lost a selector since the last call. May name
    /// one that is no more.
    pub(crate) fn take_disturbed(&mut self) -> FxHashSet<ClassIx> {
        std::mem::take(&mut self.disturbed)
    }
}
