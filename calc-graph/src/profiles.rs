//! Profiles: those that exist and those that items name.
//!
//! Input: Profile objects, profile lists of items. Output: `ProfileUpdate` and
//! `ProfileRemove` for those that local endpoints list; namespaces and service
//! accounts, which are decoded from `kns.` and `ksa.` profiles. Memory per
//! profile: its name and about 60 bytes; equal rules are held once, as bytes;
//! labels are in the label store.
//! Invariant: a listed profile that does not exist denies both ways.

use std::collections::BTreeSet;
use std::ops::{Index, IndexMut};

use caracal_model::{
    Kind, Labels, NAMESPACE_LABEL_PREFIX, NAMESPACE_PROFILE_PREFIX, Rule, SERVICE_ACCOUNT_LABEL_PREFIX,
    SERVICE_ACCOUNT_PROFILE_PREFIX,
};
use roaring::RoaringBitmap;
use rustc_hash::FxHashMap;
use smol_str::SmolStr;

use crate::Delta;
use crate::census::Tally;
use crate::id_table::IdTable;
use crate::ids::{LabelsIx, ProfileIx, SetIx};
use crate::interner::{Interner, hash_of};
use crate::label_store::LabelStore;
use crate::packed_rules::{Packed, Packer};
use crate::parents::Parents;
use crate::slots::Slots;

#[derive(Debug)]
pub(crate) struct HeldProfile {
    pub(crate) name: SmolStr,
    /// `None` for a profile that does not exist.
    held: Option<(Kind, RulesIx)>,
    /// How many times lists of profiles mark it.
    lists: u32,
    /// How many times local endpoints list it.
    locals: u32,
    /// Whether the receiver has it.
    told: bool,
    /// Whether its labels changed since the last flush.
    relabelled: bool,
    /// The labels of the namespace or service account that the receiver has.
    told_labels: Option<LabelsIx>,
}

impl HeldProfile {
    pub(crate) fn kind(&self) -> Option<Kind> {
        self.held.map(|(kind, _)| kind)
    }
}

/// Rules that profiles have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RulesIx(u32);

#[derive(Debug, Default)]
pub(crate) struct Profiles {
    slots: Slots<HeldProfile>,
    table: IdTable,
    /// Packed, as one.
    rules: Interner<Box<[u8]>>,
    packer: Packer,
    /// The sets that listed profiles name.
    sets: FxHashMap<ProfileIx, Box<[SetIx]>>,
    /// Profiles whose rules, or whether they are listed, changed.
    dirty: BTreeSet<ProfileIx>,
    /// The rules that the receiver has of profiles whose rules changed since the
    /// last flush, each with a reference: they may change back.
    told_rules: FxHashMap<ProfileIx, Option<RulesIx>>,
    /// Profiles whose labels changed: those that bear the mark, and places of
    /// some that are gone since.
    relabelled: Vec<u32>,
    /// References to sets of profiles that are listed no more.
    released: Vec<SetIx>,
    tally: Tally,
}

/// What a flush tells about profiles.
#[derive(Debug, Default)]
pub(crate) struct ListedProfiles {
    /// Listed profiles whose rules changed, or that became listed; by name.
    pub(crate) updated: Vec<ProfileIx>,
    /// Told profiles that are listed no more, by name.
    pub(crate) removed: Vec<SmolStr>,
}

impl Index<ProfileIx> for Profiles {
    type Output = HeldProfile;

    fn index(&self, at: ProfileIx) -> &HeldProfile {
        &self.slots[at.0]
    }
}

impl IndexMut<ProfileIx> for Profiles {
    fn index_mut(&mut self, at: ProfileIx) -> &mut HeldProfile {
        &mut self.slots[at.0]
    }
}

impl Profiles {
    pub(crate) fn find(&self, name: &str) -> Option<ProfileIx> {
        self.table.find(hash_of(name), |at| self.slots[at].name == name).map(ProfileIx)
    }

    pub(crate) fn of_kind(&self, kind: Kind) -> RoaringBitmap {
        let profiles = self.slots.iter().filter(|(_, held)| held.kind() == Some(kind));
        profiles.map(|(at, _)| at).collect()
    }

    /// The profile of a name, held or not.
    pub(crate) fn intern(&mut self, name: &SmolStr) -> ProfileIx {
        if let Some(at) = self.find(name) {
            return at;
        }
        let at = self.slots.insert(HeldProfile {
            name: name.clone(),
            held: None,
            lists: 0,
            locals: 0,
            told: false,
            relabelled: false,
            told_labels: None,
        });
        let slots = &self.slots;
        let all = || slots.iter().map(|(at, held)| (at, hash_of(held.name.as_str())));
        self.table.insert(hash_of(name.as_str()), at, all);
        ProfileIx(at)
    }

    /// Holds a profile's rules; its labels are the caller's to set.
    pub(crate) fn put(&mut self, at: ProfileIx, kind: Kind, inbound: &[Rule], outbound: &[Rule]) {
        let packed = self.packer.rules(inbound, outbound);
        let (rules, _) = self.rules.acquire(packed, || packed.into());
        self.packer.clear();
        let rules = RulesIx(rules);
        let profile = &mut self.slots[at.0];
        self.tally.add(kind);
        let former = profile.held.replace((kind, rules)).map(|(former_kind, former)| {
            self.tally.remove(former_kind);
            former
        });
        if former != Some(rules) {
            if profile.locals > 0 {
                self.dirty.insert(at);
            }
            self.keep_told(at, former);
        }
        if let Some(former) = former {
            self.rules.release(former.0);
        }
    }

    /// The rules of a profile that exists.
    pub(crate) fn rules(&self, at: ProfileIx) -> Option<Packed<'_>> {
        let (_, rules) = self.slots[at.0].held?;
        Some(Packed::split(&self.rules[rules.0]))
    }

    /// Lets a profile not exist; its labels are the caller's to unset.
    pub(crate) fn remove(&mut self, at: ProfileIx) {
        let profile = &mut self.slots[at.0];
        let Some((kind, rules)) = profile.held.take() else { return };
        self.tally.remove(kind);
        if profile.locals > 0 {
            self.dirty.insert(at);
        }
        self.keep_told(at, Some(rules));
        self.rules.release(rules.0);
    }

    /// Notes the rules that the receiver has of a profile that had these.
    fn keep_told(&mut self, at: ProfileIx, former: Option<RulesIx>) {
        if !self.slots[at.0].told {
            return;
        }
        self.told_rules.entry(at).or_insert_with(|| {
            if let Some(RulesIx(rules)) = former {
                self.rules.retain(rules);
            }
            former
        });
    }

    /// How many there are of each kind.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Notes that a profile's labels changed.
    pub(crate) fn note_labels(&mut self, at: ProfileIx) {
        let profile = &mut self.slots[at.0];
        if !profile.relabelled && Subject::of(&profile.name).is_some() {
            profile.relabelled = true;
            self.relabelled.push(at.0);
        }
    }

    /// Counts a list that names the profile.
    pub(crate) fn enlist(&mut self, at: ProfileIx) {
        self.slots[at.0].lists += 1;
    }

    pub(crate) fn delist(&mut self, at: ProfileIx) {
        self.slots[at.0].lists -= 1;
        self.drop_if_unused(at);
    }

    /// Counts a local endpoint that lists the profile.
    pub(crate) fn add_local(&mut self, at: ProfileIx) {
        let profile = &mut self.slots[at.0];
        profile.locals += 1;
        if profile.locals == 1 {
            self.dirty.insert(at);
        }
    }

    pub(crate) fn remove_local(&mut self, at: ProfileIx) {
        let profile = &mut self.slots[at.0];
        profile.locals -= 1;
        if profile.locals == 0 {
            self.dirty.insert(at);
        }
    }

    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty() || !self.relabelled.is_empty()
    }

    /// What changed about listed profiles since the last flush.
    pub(crate) fn list(&mut self) -> ListedProfiles {
        let mut listed = ListedProfiles::default();
        let told_rules = std::mem::take(&mut self.told_rules);
        for at in std::mem::take(&mut self.dirty) {
            let profile = &mut self.slots[at.0];
            if profile.locals > 0 {
                let rules = profile.held.map(|(_, rules)| rules);
                let as_told = profile.told && told_rules.get(&at).is_none_or(|told| *told == rules);
                if !as_told {
                    listed.updated.push(at);
                }
            } else {
                self.released.extend(self.sets.remove(&at).into_iter().flatten());
                if std::mem::take(&mut profile.told) {
                    listed.removed.push(profile.name.clone());
                }
                self.drop_if_unused(at);
            }
        }
        for RulesIx(rules) in told_rules.into_values().flatten() {
            self.rules.release(rules);
        }
        listed.updated.sort_unstable_by_key(|at| &self.slots[at.0].name);
        listed.removed.sort_unstable();
        listed
    }

    /// The profiles that the receiver has, by name.
    pub(crate) fn told(&self) -> Vec<ProfileIx> {
        let told = self.slots.iter().filter(|(_, profile)| profile.told);
        self.by_name(told.map(|(at, _)| ProfileIx(at)))
    }

    /// Profiles in order of their names.
    pub(crate) fn by_name(&self, profiles: impl IntoIterator<Item = ProfileIx>) -> Vec<ProfileIx> {
        let mut profiles: Vec<ProfileIx> = profiles.into_iter().collect();
        profiles.sort_unstable_by_key(|at| &self.slots[at.0].name);
        profiles
    }

    /// The sets that a listed profile names.
    pub(crate) fn sets_of(&self, at: ProfileIx) -> &[SetIx] {
        self.sets.get(&at).map_or(&[], |sets| sets)
    }

    /// Replaces the sets that a listed profile names.
    pub(crate) fn set_sets(&mut self, at: ProfileIx, sets: Vec<SetIx>) {
        let old = self.sets.insert(at, sets.into());
        self.released.extend(old.into_iter().flatten());
    }

    /// References to sets that no listed profile needs any more.
    pub(crate) fn take_released(&mut self) -> Vec<SetIx> {
        std::mem::take(&mut self.released)
    }

    pub(crate) fn set_told(&mut self, at: ProfileIx) {
        self.slots[at.0].told = true;
    }

    /// Tells the service accounts and namespaces that changed.
    pub(crate) fn flush_subjects(
        &mut self,
        labels: &mut LabelStore,
        parents: &Parents,
        sink: &mut dyn FnMut(Delta<'_>),
    ) {
        let (mut updated, mut removed) = (Vec::new(), Vec::new());
        for at in std::mem::take(&mut self.relabelled) {
            if !self.slots.get(at).is_some_and(|profile| profile.relabelled) {
                continue;
            }
            let profile = &mut self.slots[at];
            profile.relabelled = false;
            // Namespaces and service accounts have a label with their name at least: a
            // profile without labels stands for none.
            let now = parents.labels(ProfileIx(at)).filter(|now| labels.iter_bytes(*now).next().is_some());
            let before = std::mem::replace(&mut profile.told_labels, now);
            match now {
                Some(now) if Some(now) != before => updated.push((at, now)),
                None if before.is_some() => removed.push(profile.name.clone()),
                Some(_) | None => {}
            }
            // The new labels are held before the old ones go.
            if let Some(now) = now {
                labels.retain(now);
            }
            if let Some(before) = before {
                labels.release(before);
            }
            self.drop_if_unused(ProfileIx(at));
        }
        let named = updated.into_iter().map(|(at, now)| (self.slots[at].name.as_str(), now));
        let mut updated: Vec<(&str, LabelsIx)> = named.collect();
        updated.sort_unstable();
        removed.sort_unstable();
        for kind in SubjectKind::IN_ORDER {
            for subject in removed.iter().filter_map(|name| kind.subject(name)) {
                sink(subject.removal());
            }
            kind.tell(&updated, labels, sink);
        }
    }

    /// Tells every service account and namespace that the receiver has.
    pub(crate) fn snapshot_subjects(&self, labels: &LabelStore, sink: &mut dyn FnMut(Delta<'_>)) {
        let held = self.slots.iter().map(|(_, profile)| profile);
        let mut told: Vec<_> = held.filter_map(|profile| Some((profile.name.as_str(), profile.told_labels?))).collect();
        told.sort_unstable();
        for kind in SubjectKind::IN_ORDER {
            kind.tell(&told, labels, sink);
        }
    }

    /// Forgets a profile that neither exists nor is named, if the receiver has forgotten it.
    pub(crate) fn drop_if_unused(&mut self, at: ProfileIx) {
        let HeldProfile { name, held, lists, locals, told, relabelled: _, told_labels } = &self.slots[at.0];
        let named = *lists > 0 || *locals > 0 || self.sets.contains_key(&at);
        if held.is_some() || named || *told || told_labels.is_some() {
            return;
        }
        self.table.remove(hash_of(name.as_str()), at.0);
        self.slots.remove(at.0);
        self.dirty.remove(&at);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SubjectKind {
    ServiceAccount,
    Namespace,
}

impl SubjectKind {
    const IN_ORDER: [Self; 2] = [Self::ServiceAccount, Self::Namespace];

    /// What a profile stands for, if it is of this kind.
    fn subject(self, profile: &str) -> Option<Subject<'_>> {
        Subject::of(profile).filter(|subject| subject.kind() == self)
    }

    /// Tells those of this kind among profiles with these labels.
    fn tell(self, profiles: &[(&str, LabelsIx)], labels: &LabelStore, sink: &mut dyn FnMut(Delta<'_>)) {
        for (name, now) in profiles {
            if let Some(subject) = self.subject(name) {
                sink(subject.update(&subject.own_labels(labels, *now)));
            }
        }
    }
}

/// What a profile's name says that it stands for.
#[derive(Clone, Copy, Debug)]
enum Subject<'a> {
    ServiceAccount { namespace: &'a str, name: &'a str },
    Namespace { name: &'a str },
}

impl<'a> Subject<'a> {
    fn of(profile: &'a str) -> Option<Self> {
        if let Some(name) = profile.strip_prefix(NAMESPACE_PROFILE_PREFIX) {
            return Some(Self::Namespace { name });
        }
        // Namespaces have no dots; names of service accounts may.
        let (namespace, name) = profile.strip_prefix(SERVICE_ACCOUNT_PROFILE_PREFIX)?.split_once('.')?;
        Some(Self::ServiceAccount { namespace, name })
    }

    const fn kind(self) -> SubjectKind {
        match self {
            Self::ServiceAccount { .. } => SubjectKind::ServiceAccount,
            Self::Namespace { .. } => SubjectKind::Namespace,
        }
    }

    /// The labels as the namespace or service account has them itself.
    fn own_labels(self, store: &LabelStore, labels: LabelsIx) -> Labels {
        let prefix = match self {
            Self::ServiceAccount { .. } => SERVICE_ACCOUNT_LABEL_PREFIX,
            Self::Namespace { .. } => NAMESPACE_LABEL_PREFIX,
        };
        let own = store.iter(labels).map(|(key, value)| {
            let key = store.key(key);
            (key.strip_prefix(prefix).unwrap_or(key), value)
        });
        own.collect()
    }

    fn update<'b>(self, labels: &'b Labels) -> Delta<'b>
    where
        'a: 'b,
    {
        match self {
            Self::ServiceAccount { namespace, name } => Delta::ServiceAccountUpdate { namespace, name, labels },
            Self::Namespace { name } => Delta::NamespaceUpdate { name, labels },
        }
    }

    fn removal(self) -> Delta<'a> {
        match self {
            Self::ServiceAccount { namespace, name } => Delta::ServiceAccountRemove { namespace, name },
            Self::Namespace { name } => Delta::NamespaceRemove { name },
        }
    }
}

#[cfg(test)]
mod tests;
