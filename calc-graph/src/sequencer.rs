//! The flush: what follows from the events is worked out and told, in order.
//!
//! Inputs: what the nodes noted. Output: deltas in the order that
//! [`OrderChecker`](crate::order::OrderChecker) checks. Memory: what a flush tells.
//! Invariant: after a flush the receiver has what a fresh graph would tell of
//! the same objects.

use std::collections::BTreeSet;

use caracal_model::Stamp;

use crate::Delta;
use crate::active_rules::{RulesOf, acquire_sets, policy_message, profile_message};
use crate::graph::CalcGraph;
use crate::ids::PolicyIx;
use crate::ip_sets::RemovedSets;
use crate::policies::Selection;
use crate::policy_lists::ListContext;
use crate::policy_rank::TiersChanged;
use crate::profiles::ListedProfiles;

/// What a flush did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flush {
    /// How many deltas went to the sink.
    pub deltas: usize,
    /// The oldest stamp among the events that the deltas are of; `None` without deltas.
    pub stamp: Option<Stamp>,
}

/// A snapshot was asked for between an event and its flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the graph holds changes that no flush has told; flush first")]
pub struct NotFlushed;

impl CalcGraph {
    /// Whether a flush has something to do. It may still turn out to tell
    /// nothing: what changed may have changed back, or matter to no local endpoint.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        let complete = self.intake.is_complete();
        self.policies.is_dirty()
            || self.local.space.is_unsettled()
            || self.local.space.is_changed()
            || self.tiers.is_changed()
            || self.profiles.is_dirty()
            || self.sets.is_dirty()
            || self.local.has_removals()
            || self.hosts.is_dirty()
            || self.pools.is_dirty()
            || self.services.is_dirty()
            || (complete && (self.local.has_updates() || self.pools.has_new_encapsulation() || !self.in_sync_told))
    }

    /// Whether a flush has told [`Delta::InSync`].
    #[must_use]
    pub fn in_sync(&self) -> bool {
        self.in_sync_told
    }

    /// Tells what changed since the last flush, in the order that
    /// [`order::OrderChecker`](crate::order::OrderChecker) checks.
    pub fn flush(&mut self, sink: &mut dyn FnMut(Delta<'_>)) -> Flush {
        let mut deltas = 0;
        let mut counted = |delta: Delta<'_>| {
            deltas += 1;
            sink(delta);
        };
        if self.is_dirty() {
            self.flush_dirty(&mut counted);
        }
        let stamp = self.stamp.take().filter(|_| deltas > 0);
        Flush { deltas, stamp }
    }

    fn flush_dirty(&mut self, sink: &mut dyn FnMut(Delta<'_>)) {
        let policies = self.select_policies();
        let profiles = self.profiles.list();
        self.acquire_sets(&policies, &profiles);
        self.cluster.space.settle(&mut self.labels, &self.parents);
        let removed_sets = self.release_sets();

        self.sets.flush(&self.cluster, sink);
        self.tell_policies(&policies, sink);
        self.tell_profiles(&profiles, sink);
        let complete = self.intake.is_complete();
        if complete {
            self.local.flush_updates(&self.lists, sink);
        }
        self.local.flush_removals(sink);
        for name in &profiles.removed {
            sink(Delta::ProfileRemove { name });
        }
        for key in &self.policies.take_gone() {
            sink(Delta::PolicyRemove { key });
        }
        removed_sets.flush(sink);
        self.profiles.flush_subjects(&mut self.labels, &self.parents, sink);
        self.hosts.flush(sink);
        self.pools.flush(sink);
        if complete {
            self.pools.flush_encapsulation(sink);
        }
        self.services.flush(sink);
        if complete && !self.in_sync_told {
            self.in_sync_told = true;
            sink(Delta::InSync);
        }
        self.lists.forget_unused();
    }

    /// Decides which policies are active, and brings the policy lists up to date.
    fn select_policies(&mut self) -> BTreeSet<PolicyIx> {
        self.policies.follow_pairs(&mut self.local.space, &mut self.labels, &mut self.parser);
        self.local.space.settle(&mut self.labels, &self.parents);
        let Selection { updated, moved, selectors } = self.policies.select(&mut self.local.space);
        let tiers_changed = if self.tiers.take_changed() { TiersChanged::Yes } else { TiersChanged::No };
        self.rank.refresh(&self.policies, &self.tiers, &moved, tiers_changed);
        let mut stale = self.local.space.take_disturbed();
        for selector in selectors {
            stale.extend(self.local.space.classes_of(selector));
        }
        let cx =
            ListContext { space: &self.local.space, policies: &self.policies, tiers: &self.tiers, rank: &self.rank };
        for class in self.lists.refresh(cx, &stale, tiers_changed) {
            self.local.note_list(class);
        }
        updated
    }

    /// Takes the sets that changed policies and profiles need, before any is given back.
    fn acquire_sets(&mut self, policies: &BTreeSet<PolicyIx>, profiles: &ListedProfiles) {
        for at in policies {
            let rules = RulesOf::Policy(self.policies.packed(*at));
            let sets = acquire_sets(rules, &mut self.parser, &mut self.sets, &mut self.cluster.space, &mut self.labels);
            self.policies.set_sets(*at, sets);
        }
        for at in &profiles.updated {
            let rules = RulesOf::Profile(self.profiles.rules(*at));
            let sets = acquire_sets(rules, &mut self.parser, &mut self.sets, &mut self.cluster.space, &mut self.labels);
            self.profiles.set_sets(*at, sets);
        }
    }

    /// Gives back the sets that policies and profiles need no more.
    fn release_sets(&mut self) -> RemovedSets {
        let mut released = self.policies.take_released();
        released.extend(self.profiles.take_released());
        self.sets.release(&mut self.cluster.space, &released)
    }

    fn tell_policies(&mut self, updated: &BTreeSet<PolicyIx>, sink: &mut dyn FnMut(Delta<'_>)) {
        for at in self.policies.by_key(updated.iter().copied()) {
            if self.policies.is_told_as_it_is(at, &self.tiers) {
                self.policies.set_told(at);
                continue;
            }
            let policy = policy_message(&self.policies, at, &self.tiers, &mut self.parser, &self.sets);
            self.policies.set_told(at);
            let key = self.policies.active_key(at);
            sink(Delta::PolicyUpdate { key, policy: &policy });
        }
    }

    fn tell_profiles(&mut self, profiles: &ListedProfiles, sink: &mut dyn FnMut(Delta<'_>)) {
        for at in &profiles.updated {
            let profile = profile_message(self.profiles.rules(*at), &mut self.parser, &self.sets);
            self.profiles.set_told(*at);
            let name = &self.profiles[*at].name;
            sink(Delta::ProfileUpdate { name, profile: &profile });
        }
    }

    /// Tells everything as of the last flush, in flush order, to a receiver
    /// that starts from nothing; [`Delta::InSync`] comes last if it was told.
    ///
    /// # Errors
    /// [`NotFlushed`] if the graph [is dirty](Self::is_dirty): flush, also when
    /// nobody else listens, and call again.
    pub fn snapshot(&mut self, sink: &mut dyn FnMut(Delta<'_>)) -> Result<(), NotFlushed> {
        if self.is_dirty() {
            return Err(NotFlushed);
        }
        self.sets.snapshot(&self.cluster, sink);
        let active: Vec<PolicyIx> = self.policies.active().collect();
        self.tell_policies(&active.into_iter().collect(), sink);
        let listed = ListedProfiles { updated: self.profiles.told(), removed: Vec::new() };
        self.tell_profiles(&listed, sink);
        self.local.snapshot(sink);
        self.profiles.snapshot_subjects(&self.labels, sink);
        self.hosts.snapshot(sink);
        self.pools.snapshot(sink);
        self.services.snapshot(sink);
        if self.in_sync_told {
            sink(Delta::InSync);
        }
        Ok(())
    }
}
