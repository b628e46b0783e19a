//! What new selectors cause: keys are tracked, atoms attached, classes compared.
//!
//! Nothing here changes what a settled selector matches: groups and classes are
//! only split, or joined where no atom in use tells them apart.

use roaring::RoaringBitmap;
use rustc_hash::FxHashSet;

use super::ClassSpace;
use crate::ids::{AtomIx, ClassIx, GroupIx, KeyIx, LabelsIx, OwnIx, Place, ProfileIx, SelectorIx};
use crate::label_store::LabelStore;
use crate::parents::{Inheritance, Parents};

impl ClassSpace {
    /// Compares every pending selector with the classes.
    pub(crate) fn settle(&mut self, labels: &mut LabelStore, parents: &Parents) {
        let cx = Inheritance { labels, parents };
        let mut split = RoaringBitmap::new();
        let mut keys = FxHashSet::default();
        for atom in std::mem::take(&mut self.new_atoms) {
            let key = self.atoms[atom].key;
            if self.keys.get(&key).is_some_and(|state| state.tracked < state.wanted()) {
                keys.insert(key);
            } else {
                self.attach(atom, &mut split);
            }
        }
        self.retrack(cx, &keys, &mut split);
        self.reclass_all(cx, &split);
        for selector in std::mem::take(&mut self.pending) {
            self.compare(selector);
        }
        self.forget_idle_atoms(labels, parents);
    }

    /// Adds an atom on a tracked key to the values that pass it, and their
    /// groups to those that may have to be split.
    fn attach(&mut self, at: AtomIx, split: &mut RoaringBitmap) {
        let atom = &self.atoms[at];
        let passing = self.values.passing(atom.key, atom.test, &atom.text);
        for value in passing {
            if !atom.admits(self.values.text(value)) {
                continue;
            }
            self.values.add_atom(value, at);
            split.extend(self.values.groups(value));
            for parent in self.values.parents(value) {
                split.extend(self.heirs(parent));
            }
        }
    }

    /// Looks at keys as closely as their atoms need: the pass over members.
    fn retrack(&mut self, cx: Inheritance<'_>, keys: &FxHashSet<KeyIx>, split: &mut RoaringBitmap) {
        for key in keys {
            if let Some(state) = self.keys.get_mut(key) {
                state.tracked = state.wanted();
            }
        }
        if keys.is_empty() {
            return;
        }
        let has_key = |shape| cx.labels.keys(shape).iter().any(|key| keys.contains(key));
        let shapes: FxHashSet<_> = cx.labels.shapes().filter(|shape| has_key(*shape)).collect();
        if shapes.is_empty() {
            return;
        }
        let mut former: Vec<(LabelsIx, OwnIx)> = Vec::new();
        for (at, projection) in self.projections.iter() {
            let labels = LabelsIx(at as u32);
            if let Some(own) = projection.own()
                && shapes.contains(&cx.labels.shape(labels))
            {
                former.push((labels, own));
            }
        }
        let is_relabelled = |labels| shapes.contains(&cx.labels.shape(labels));
        let with_labels = self.parents.iter().filter_map(|(at, parent)| Some((ProfileIx(at as u32), parent.labels()?)));
        let parents: Vec<(ProfileIx, LabelsIx)> = with_labels.filter(|(_, labels)| is_relabelled(*labels)).collect();
        for (profile, labels) in &parents {
            for heir in self.heirs(*profile) {
                split.insert(heir);
            }
            self.detach_parent(*profile, *labels);
        }
        for (labels, _) in &former {
            let own = self.build_own(cx, *labels);
            self.projections.entry(labels.ix()).own = own;
        }
        for (profile, labels) in parents {
            self.attach_parent(profile, labels);
        }
        let moving: Vec<_> = self.groups.all_members().filter(|(.., labels)| is_relabelled(*labels)).collect();
        for (member, group, labels) in moving {
            let own = self.projections.entry(labels.ix()).own;
            let (parents, tag) = (self.groups[group].parents, self.groups[group].tag);
            let to = self.group_for(cx, own, parents, tag);
            if to != group {
                self.groups.unlink(member, group);
                self.groups.link(member, to, labels);
                self.drop_if_empty(cx, group);
            }
        }
        for (_, own) in former {
            self.release_own(own);
        }
    }

    fn reclass_all(&mut self, cx: Inheritance<'_>, groups: &RoaringBitmap) {
        let mut moves = Vec::new();
        for group in groups.iter().map(GroupIx) {
            // A group may have gone since it was noted.
            if self.groups.contains(group) {
                moves.extend(self.reclass(cx, group));
            }
        }
        self.commit_reclass(&moves);
    }

    /// Finds the classes that a selector matches.
    fn compare(&mut self, at: SelectorIx) {
        let cover = self.selectors[at.0].compiled.cover(&self.atoms);
        let candidates: RoaringBitmap = match &cover {
            Some(cover) => {
                let classes = cover.iter().flat_map(|atom| self.atoms[*atom].classes.iter());
                classes.collect()
            }
            None => self.classes.iter().map(|(class, _)| class.0).collect(),
        };
        for atom in cover.iter().flatten() {
            self.atoms[*atom].selectors.insert(at.0);
        }
        if cover.is_none() {
            self.unindexed.insert(at.0);
        }
        for class in candidates {
            if self.selectors[at.0].compiled.eval(self.classes.atoms(ClassIx(class))) {
                self.classes.add_match(ClassIx(class), at);
                self.selectors[at.0].classes.insert(class);
                self.disturbed.insert(ClassIx(class));
            }
        }
        self.selectors[at.0].cover = cover;
        self.changed.push(at);
    }

    /// Forgets the atoms that no selector names, once they are the most.
    fn forget_idle_atoms(&mut self, labels: &mut LabelStore, parents: &Parents) {
        let Some(idle) = self.atoms.idle_if_many() else { return };
        let mut joined = RoaringBitmap::new();
        let mut keys = FxHashSet::default();
        self.values.forget_atoms(&idle);
        for at in &idle {
            let atom = &self.atoms[*at];
            for class in atom.classes.iter() {
                joined.extend(self.classes.groups(ClassIx(class)).map(|group| group.0));
            }
            let state = self.keys.get_mut(&atom.key).expect("a key outlives its atoms");
            state.remove_atom(*at, atom.test);
            if state.tracked != state.wanted() {
                keys.insert(atom.key);
            }
        }
        let cx = Inheritance { labels, parents };
        self.retrack(cx, &keys, &mut joined);
        self.reclass_all(cx, &joined);
        for at in idle {
            self.atoms.forget(at);
        }
        for key in keys {
            if self.keys.get(&key).is_some_and(|state| state.wanted().is_none()) {
                self.keys.remove(&key);
                labels.release_key(key);
            }
        }
    }
}
