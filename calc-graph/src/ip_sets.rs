//! The IP sets that active rules name: which there are, and what changed in them.
//!
//! Inputs: requests of the rule scanner, touches of members that may come or go.
//! Outputs: `IpSetUpdate`, `IpSetDelta`, `IpSetRemove`. Memory per set: about 200
//! bytes, and 18 per prefix of more than one address; per touched member one
//! entry until the flush, none for members at rest.
//! Invariants: a touched member's entry says whether the receiver's set holds
//! it, hidden or not; `wide` are those that it holds and that are more than one
//! address. References are given back by a flush, after it took new ones, so that
//! a set that is named again in between is not told anew.

use std::collections::BTreeSet;

use caracal_model::{EndpointPort, EndpointSlice, ServiceRef};
use caracal_net::Cidr;
use caracal_selector::{NamedPortProtocol, canonical_named_port_id, set_id};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use smol_str::SmolStr;

use crate::class_space::ClassSpace;
use crate::cluster::{Cluster, contributions};
use crate::excerpt::Around;
use crate::ids::{Place, SelectorIx, SetIx};
use crate::label_store::LabelStore;
use crate::overlap::Cover;
use crate::rule_scanner::{ServicePorts, SetRequest};
use crate::selector_table::SelectorTable;
use crate::services;
use crate::slots::Slots;
use crate::{Delta, IpSetKind, Member, Overlaps};

/// What a set is made of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SetSpec {
    /// The prefixes of what a selector matches.
    Selector(SelectorIx),
    /// Addresses and ports of what a selector matches and calls a port by a name.
    NamedPort(SelectorIx, NamedPortProtocol, SmolStr),
    /// The endpoints of a service.
    Service(ServiceRef, ServicePorts),
}

impl SetSpec {
    /// The selector of items that contribute.
    pub(crate) const fn selector(&self) -> Option<SelectorIx> {
        match self {
            Self::Selector(selector) | Self::NamedPort(selector, ..) => Some(*selector),
            Self::Service(..) => None,
        }
    }

    const fn kind(&self) -> IpSetKind {
        match self {
            Self::Selector(_) | Self::Service(_, ServicePorts::Without) => IpSetKind::Net,
            Self::NamedPort(..) | Self::Service(_, ServicePorts::With) => IpSetKind::IpPort,
        }
    }
}

#[derive(Debug)]
struct IpSet {
    id: SmolStr,
    spec: SetSpec,
    refs: u32,
    told: bool,
    touched: FxHashMap<Member, bool>,
    /// Sorted.
    wide: Box<[Cidr]>,
}

#[derive(Debug, Default)]
pub(crate) struct IpSets {
    sets: Slots<IpSet>,
    by_spec: FxHashMap<SetSpec, SetIx>,
    selectors: SelectorTable,
    /// By selector.
    of_selector: Vec<SmallVec<[SetIx; 2]>>,
    fresh: BTreeSet<SetIx>,
    touched: BTreeSet<SetIx>,
    overlaps: Overlaps,
    told_overlaps: Overlaps,
}

/// Sets that a flush has taken out, to be told after what named them.
#[derive(Debug, Default)]
pub(crate) struct RemovedSets(Vec<SmolStr>);

impl IpSets {
    /// Takes a reference to a set, making it first if need be.
    pub(crate) fn acquire(
        &mut self,
        space: &mut ClassSpace,
        labels: &mut LabelStore,
        request: SetRequest<'_>,
    ) -> (SetIx, SmolStr) {
        if let Some(at) = self.find(request) {
            let set = &mut self.sets[at.0];
            set.refs += 1;
            return (at, set.id.clone());
        }
        let mut select = |selector| self.selectors.acquire(space, labels, selector);
        let spec = match request {
            SetRequest::Selector(selector) => SetSpec::Selector(select(selector)),
            SetRequest::NamedPort { selector, protocol, name } => {
                SetSpec::NamedPort(select(selector), protocol, name.clone())
            }
            SetRequest::Service(service, ports) => SetSpec::Service(service.clone(), ports),
        };
        let id = SmolStr::from(id_of(request));
        let at = SetIx(self.sets.insert(IpSet {
            id: id.clone(),
            spec: spec.clone(),
            refs: 1,
            told: false,
            touched: FxHashMap::default(),
            wide: Box::default(),
        }));
        if let Some(selector) = spec.selector() {
            if self.of_selector.len() <= selector.ix() {
                self.of_selector.resize(selector.ix() + 1, SmallVec::new());
            }
            self.of_selector[selector.ix()].push(at);
        }
        self.by_spec.insert(spec, at);
        self.fresh.insert(at);
        (at, id)
    }

    /// The id of a set that there is.
    pub(crate) fn id(&self, request: SetRequest<'_>) -> SmolStr {
        let at = self.find(request).expect("a set is acquired before it is named");
        self.sets[at.0].id.clone()
    }

    fn find(&self, request: SetRequest<'_>) -> Option<SetIx> {
        let spec = match request {
            SetRequest::Selector(selector) => SetSpec::Selector(self.selectors.find(selector)?),
            SetRequest::NamedPort { selector, protocol, name } => {
                SetSpec::NamedPort(self.selectors.find(selector)?, protocol, name.clone())
            }
            SetRequest::Service(service, ports) => SetSpec::Service(service.clone(), ports),
        };
        self.by_spec.get(&spec).copied()
    }

    /// The sets of a selector that the receiver has.
    pub(crate) fn told_of(&self, selector: SelectorIx) -> SmallVec<[SetIx; 2]> {
        let sets = self.of_selector.get(selector.ix()).into_iter().flatten();
        sets.filter(|set| self.sets[set.0].told).copied().collect()
    }

    /// Notes, before it changes, whether a set holds what an item with these
    /// prefixes and ports contributes.
    pub(crate) fn touch(&mut self, cluster: &Cluster, at: SetIx, nets: &[Cidr], ports: &[EndpointPort]) {
        let IpSet { spec, touched, .. } = &mut self.sets[at.0];
        contributions(spec, nets.iter().copied(), ports, |member| {
            touched.entry(member).or_insert_with(|| cluster.holds(spec, &member));
        });
        if !touched.is_empty() {
            self.touched.insert(at);
        }
    }

    /// Notes, before it changes, whether the sets of a slice's service hold what
    /// the slice contributes.
    pub(crate) fn touch_service(&mut self, cluster: &Cluster, slice: &EndpointSlice) {
        for ports in [ServicePorts::With, ServicePorts::Without] {
            let spec = SetSpec::Service(slice.service.clone(), ports);
            let Some(at) = self.by_spec.get(&spec).copied().filter(|at| self.sets[at.0].told) else { continue };
            let touched = &mut self.sets[at.0].touched;
            for member in services::contributions(slice, ports) {
                touched.entry(member).or_insert_with(|| cluster.holds(&spec, &member));
            }
            if !touched.is_empty() {
                self.touched.insert(at);
            }
        }
    }

    /// Changes whether covered prefixes are told.
    pub(crate) fn set_overlaps(&mut self, overlaps: Overlaps) {
        self.overlaps = overlaps;
    }

    pub(crate) fn is_dirty(&self) -> bool {
        let settings = self.overlaps != self.told_overlaps;
        settings || !self.fresh.is_empty() || !self.touched.is_empty()
    }

    /// Gives references back, and takes out the sets that nothing names any more.
    pub(crate) fn release(&mut self, space: &mut ClassSpace, released: &[SetIx]) -> RemovedSets {
        let mut removed = Vec::new();
        for at in released {
            let set = &mut self.sets[at.0];
            set.refs -= 1;
            if set.refs > 0 {
                continue;
            }
            let IpSet { id, spec, told, .. } = self.sets.remove(at.0);
            self.by_spec.remove(&spec);
            self.fresh.remove(at);
            self.touched.remove(at);
            if let Some(selector) = spec.selector() {
                self.of_selector[selector.ix()].retain(|other| other != at);
                self.selectors.release(space, selector);
            }
            if told {
                removed.push(id);
            }
        }
        removed.sort_unstable();
        RemovedSets(removed)
    }

    /// Tells new sets, then what changed in the others.
    pub(crate) fn flush(&mut self, cluster: &Cluster, sink: &mut dyn FnMut(Delta<'_>)) {
        if self.overlaps != self.told_overlaps {
            let covering = self.sets.iter().filter(|(_, set)| set.told && !set.wide.is_empty());
            self.touched.extend(covering.map(|(at, _)| SetIx(at)));
        }
        let fresh = std::mem::take(&mut self.fresh);
        for at in self.sorted(fresh) {
            let set = &mut self.sets[at.0];
            let mut members = cluster.members(&set.spec);
            set.wide = members.iter().filter_map(wide).collect();
            let cover = Cover::of(&set.wide, self.overlaps);
            cover.uncover(&mut members);
            set.told = true;
            sink(Delta::IpSetUpdate { id: &set.id, kind: set.spec.kind(), members: &members });
        }
        let touched = std::mem::take(&mut self.touched);
        for at in self.sorted(touched) {
            let (from, to) = (self.told_overlaps, self.overlaps);
            let set = &mut self.sets[at.0];
            let (added, removed) = set.changes(cluster, from, to);
            if !added.is_empty() || !removed.is_empty() {
                sink(Delta::IpSetDelta { id: &set.id, added: &added, removed: &removed });
            }
        }
        self.told_overlaps = self.overlaps;
    }

    /// Tells every set to a receiver that starts from nothing.
    pub(crate) fn snapshot(&self, cluster: &Cluster, sink: &mut dyn FnMut(Delta<'_>)) {
        let sets = self.sets.iter().filter(|(_, set)| set.told);
        for at in self.sorted(sets.map(|(at, _)| SetIx(at)).collect()) {
            let set = &self.sets[at.0];
            let cover = Cover::of(&set.wide, self.told_overlaps);
            let mut members = cluster.members(&set.spec);
            cover.uncover(&mut members);
            sink(Delta::IpSetUpdate { id: &set.id, kind: set.spec.kind(), members: &members });
        }
    }

    /// Sets with the members that hold an address.
    pub(crate) fn excerpt(
        &self,
        cluster: &Cluster,
        sets: BTreeSet<SetIx>,
        around: &Around<'_>,
    ) -> Vec<(SmolStr, IpSetKind, Vec<Member>)> {
        let sets = self.sorted(sets).into_iter().map(|at| {
            let set = &self.sets[at.0];
            let mut members = cluster.members_around(&set.spec, around);
            // What covers one of them holds an address as well.
            let wide: Vec<Cidr> = members.iter().filter_map(wide).collect();
            Cover::of(&wide, self.told_overlaps).uncover(&mut members);
            (set.id.clone(), set.spec.kind(), members)
        });
        sets.collect()
    }

    /// The sets in order of their ids' text.
    fn sorted(&self, sets: BTreeSet<SetIx>) -> Vec<SetIx> {
        let mut sets: Vec<SetIx> = sets.into_iter().collect();
        sets.sort_unstable_by_key(|at| &self.sets[at.0].id);
        sets
    }
}

impl IpSet {
    /// The visible members that came and went since the last flush, sorted.
    fn changes(&mut self, cluster: &Cluster, from: Overlaps, to: Overlaps) -> (Vec<Member>, Vec<Member>) {
        let mut come = BTreeSet::new();
        let mut gone = BTreeSet::new();
        for (member, was) in std::mem::take(&mut self.touched) {
            match (was, cluster.holds(&self.spec, &member)) {
                (false, true) => come.insert(member),
                (true, false) => gone.insert(member),
                (false, false) | (true, true) => false,
            };
        }
        let before = Cover::of(&self.wide, from);
        if come.iter().chain(&gone).any(|member| wide(member).is_some()) {
            let mut nets: BTreeSet<Cidr> = self.wide.iter().copied().collect();
            nets.extend(come.iter().filter_map(wide));
            for net in gone.iter().filter_map(wide) {
                nets.remove(&net);
            }
            self.wide = nets.into_iter().collect();
        }
        let after = Cover::of(&self.wide, to);
        let added = come.iter().filter(|member| !after.hides(member)).copied();
        let removed = gone.iter().filter(|member| !before.hides(member)).copied();
        let (mut added, mut removed): (Vec<Member>, Vec<Member>) = (added.collect(), removed.collect());
        if before != after {
            for member in cluster.members(&self.spec) {
                if come.contains(&member) {
                    continue;
                }
                match (before.hides(&member), after.hides(&member)) {
                    (true, false) => added.push(member),
                    (false, true) => removed.push(member),
                    (false, false) | (true, true) => {}
                }
            }
            added.sort_unstable();
            removed.sort_unstable();
        }
        (added, removed)
    }
}

impl RemovedSets {
    pub(crate) fn flush(&self, sink: &mut dyn FnMut(Delta<'_>)) {
        for id in &self.0 {
            sink(Delta::IpSetRemove { id });
        }
    }
}

/// The member's prefix if it is more than one address.
fn wide(member: &Member) -> Option<Cidr> {
    match member {
        Member::Net(net) if !net.is_host() => Some(*net),
        Member::Net(_) | Member::IpPort(..) => None,
    }
}

fn id_of(request: SetRequest<'_>) -> String {
    match request {
        SetRequest::Selector(selector) => selector.id(),
        SetRequest::NamedPort { selector, protocol, name } => canonical_named_port_id(&selector.id(), protocol, name),
        SetRequest::Service(ServiceRef { namespace, name }, ports) => {
            let prefix = match ports {
                ServicePorts::With => "svc",
                ServicePorts::Without => "svcnoport",
            };
            set_id(prefix, &format!("{namespace}/{name}"))
        }
    }
}

#[cfg(test)]
mod tests;
