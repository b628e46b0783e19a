//! Groups, and the members in them.

use std::ops::Index;

use smallvec::SmallVec;

use super::{ClassSpace, Reclass};
use crate::id_table::IdTable;
use crate::ids::{AtomIx, ClassIx, GroupIx, KeyIx, LabelsIx, MemberIx, OwnIx, ParentsIx, Place};
use crate::interner::hash_of;
use crate::parents::Inheritance;
use crate::slots::Slots;
use crate::sparse::Sparse;

/// Stands for no member, and for no group.
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Member {
    group: u32,
    labels: LabelsIx,
    previous: u32,
    next: u32,
}

const ABSENT: Member = Member { group: NONE, labels: LabelsIx(NONE), previous: NONE, next: NONE };

impl Default for Member {
    fn default() -> Self {
        ABSENT
    }
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) own: OwnIx,
    pub(super) parents: ParentsIx,
    /// Whatever else members must have in common.
    pub(super) tag: u32,
    pub(super) class: ClassIx,
    /// The first member.
    first: u32,
}

#[derive(Debug, Default)]
pub(super) struct Groups {
    slots: Slots<Group>,
    table: IdTable,
    members: Sparse<Member>,
}

impl Index<GroupIx> for Groups {
    type Output = Group;

    fn index(&self, at: GroupIx) -> &Group {
        &self.slots[at.0]
    }
}

impl Groups {
    fn find(&self, own: OwnIx, parents: ParentsIx, tag: u32) -> Option<GroupIx> {
        let same = |at| {
            let group = &self.slots[at];
            (group.own, group.parents, group.tag) == (own, parents, tag)
        };
        let hash = hash_of(&(own, parents, tag));
        self.table.find(hash, same).map(GroupIx)
    }

    fn insert(&mut self, group: Group) -> GroupIx {
        let hash = hash_of(&(group.own, group.parents, group.tag));
        let at = self.slots.insert(group);
        let slots = &self.slots;
        let hash_of = |group: &Group| hash_of(&(group.own, group.parents, group.tag));
        self.table.insert(hash, at, || slots.iter().map(|(at, group)| (at, hash_of(group))));
        GroupIx(at)
    }

    fn remove(&mut self, at: GroupIx) -> Group {
        let group = self.slots.remove(at.0);
        let hash = hash_of(&(group.own, group.parents, group.tag));
        self.table.remove(hash, at.0);
        group
    }

    pub(super) fn contains(&self, at: GroupIx) -> bool {
        self.slots.get(at.0).is_some()
    }

    pub(super) fn group_of(&self, member: MemberIx) -> Option<GroupIx> {
        let group = self.members.get(member.ix())?.group;
        (group != NONE).then_some(GroupIx(group))
    }

    fn member(&self, at: u32) -> &Member {
        self.members.get(at as usize).expect("a member in a group is in the table")
    }

    /// The labels of a member that is in a group.
    pub(super) fn labels_of(&self, member: MemberIx) -> LabelsIx {
        self.member(member.0).labels
    }

    /// Replaces a group's class and gives the former one out.
    pub(super) fn set_class(&mut self, at: GroupIx, class: ClassIx) -> ClassIx {
        std::mem::replace(&mut self.slots[at.0].class, class)
    }

    pub(super) fn link(&mut self, member: MemberIx, group: GroupIx, labels: LabelsIx) {
        let next = std::mem::replace(&mut self.slots[group.0].first, member.0);
        if next != NONE {
            self.members.entry(next as usize).previous = member.0;
        }
        *self.members.entry(member.ix()) = Member { group: group.0, labels, previous: NONE, next };
    }

    pub(super) fn unlink(&mut self, member: MemberIx, group: GroupIx) {
        let Member { previous, next, .. } = std::mem::take(self.members.entry(member.ix()));
        if previous == NONE {
            self.slots[group.0].first = next;
        } else {
            self.members.entry(previous as usize).next = next;
        }
        if next != NONE {
            self.members.entry(next as usize).previous = previous;
        }
    }

    /// The members of a group, the newest first.
    pub(super) fn members(&self, group: GroupIx) -> impl Iterator<Item = MemberIx> {
        let mut at = self.slots[group.0].first;
        std::iter::from_fn(move || {
            let member = MemberIx((at != NONE).then_some(at)?);
            at = self.member(member.0).next;
            Some(member)
        })
    }

    /// Every member with its group and labels.
    pub(super) fn all_members(&self) -> impl Iterator<Item = (MemberIx, GroupIx, LabelsIx)> {
        let present = self.members.iter().filter(|(_, member)| member.group != NONE);
        present.map(|(at, member)| (MemberIx(at as u32), GroupIx(member.group), member.labels))
    }
}

impl ClassSpace {
    /// The group of these own values, parents and tag; a new one has no members yet.
    pub(super) fn group_for(&mut self, cx: Inheritance<'_>, own: OwnIx, parents: ParentsIx, tag: u32) -> GroupIx {
        if let Some(group) = self.groups.find(own, parents, tag) {
            return group;
        }
        self.retain_own(own);
        // The class is known once the parents are; until then it stands for none.
        let group = self.groups.insert(Group { own, parents, tag, class: ClassIx(NONE), first: NONE });
        for value in self.owns.get(own.0).iter().copied() {
            self.values.add_group(value, group);
        }
        for profile in cx.parents.list(parents).iter() {
            self.enter_parent(cx, *profile, group);
        }
        let atoms = self.effective_atoms(cx, group);
        let class = self.class_for(&atoms);
        self.groups.set_class(group, class);
        self.classes.enter(class, group);
        group
    }

    pub(super) fn drop_if_empty(&mut self, cx: Inheritance<'_>, at: GroupIx) {
        if self.groups[at].first != NONE {
            return;
        }
        let group = self.groups.remove(at);
        self.leave_class(group.class, at);
        for value in self.owns.get(group.own.0).iter().copied() {
            self.values.remove_group(value, at);
        }
        for profile in cx.parents.list(group.parents).iter() {
            self.leave_parent(*profile, at);
        }
        self.release_own(group.own);
    }

    /// The class that a group belongs to, if it is not the one it is in.
    pub(super) fn reclass(&mut self, cx: Inheritance<'_>, group: GroupIx) -> Option<Reclass> {
        let atoms = self.effective_atoms(cx, group);
        let class = self.class_for(&atoms);
        (class != self.groups[group].class).then_some(Reclass { group, class })
    }

    /// The atoms that are true of a group's effective labels, sorted.
    fn effective_atoms(&self, cx: Inheritance<'_>, group: GroupIx) -> SmallVec<[AtomIx; 16]> {
        let Group { own, parents, .. } = &self.groups[group];
        let mut keys: SmallVec<[KeyIx; 16]> = SmallVec::new();
        let mut atoms: SmallVec<[AtomIx; 16]> = SmallVec::new();
        let parents = cx.parents.list(*parents);
        let inherited = parents.iter().filter_map(|profile| self.parents.get(profile.ix())?.labels());
        let sources = inherited.map(|labels| self.own_values(labels));
        for source in std::iter::once(self.owns.get(own.0)).chain(sources) {
            // Keys of one source differ from each other: compare with former sources only.
            let before = keys.len();
            for value in source.iter() {
                let key = self.values.key(*value);
                if !keys[..before].contains(&key) {
                    keys.push(key);
                    atoms.extend_from_slice(&self.values.atoms(*value));
                }
            }
        }
        atoms.sort_unstable();
        atoms
    }
}
