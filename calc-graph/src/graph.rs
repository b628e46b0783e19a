//! The wiring: which node is told what. Read first.
//!
//! ```text
//! events ─▶ intake ─┬─▶ items ─▶ class space of rules ─────────▶ IP sets ──────┐
//!                   ├─▶ endpoint slices ─▶ services ───────────▶ IP sets ──────┤
//!                   ├─▶ local endpoints ─▶ class space of policies             ├─▶ sequencer ─▶ deltas
//!                   ├─▶ policies ─▶ active? ─▶ rank ─▶ lists ──▶ endpoints ────┤
//!                   ├─▶ profiles ─▶ listed? ─▶ namespaces, service accounts ───┤
//!                   └─▶ tiers, hosts, pools, services ─────────────────────────┘
//! ```
//!
//! Events change what the nodes hold at once, and what is to be told is noted;
//! the flush, in `sequencer.rs`, works it out and tells it. Which object of a key
//! is in force is decided in `graph/admission.rs`; `graph/objects.rs` hands the
//! parts of an object to the nodes.
//! Invariant: for each label set, profile list and port list the graph holds one
//! reference per item.

mod admission;
mod objects;

use caracal_model::{Event, Key, Kind, Object, Stamp};

use crate::cluster::Cluster;
use crate::hosts::Hosts;
use crate::intake::{Intake, Unseen};
use crate::ip_sets::IpSets;
use crate::label_store::LabelStore;
use crate::local_endpoints::LocalEndpoints;
use crate::parents::Parents;
use crate::policies::Policies;
use crate::policy_lists::PolicyLists;
use crate::policy_rank::PolicyRank;
use crate::pools::Pools;
use crate::profiles::Profiles;
use crate::selector_table::SelectorParser;
use crate::service_table::ServiceTable;
use crate::tiers::Tiers;
use crate::{Locality, Problem, Settings};

/// The calculation graph of one node.
pub struct CalcGraph {
    locality: Locality,
    settings: Settings,
    pub(crate) intake: Intake,
    pub(crate) parser: SelectorParser,
    pub(crate) labels: LabelStore,
    pub(crate) parents: Parents,
    pub(crate) profiles: Profiles,
    pub(crate) cluster: Cluster,
    pub(crate) sets: IpSets,
    pub(crate) local: LocalEndpoints,
    pub(crate) policies: Policies,
    pub(crate) tiers: Tiers,
    pub(crate) rank: PolicyRank,
    pub(crate) lists: PolicyLists,
    pub(crate) hosts: Hosts,
    pub(crate) pools: Pools,
    pub(crate) services: ServiceTable,
    pub(crate) in_sync_told: bool,
    /// The oldest stamp among the events since the last flush.
    pub(crate) stamp: Option<Stamp>,
}

impl CalcGraph {
    /// A graph that holds nothing.
    #[must_use]
    pub fn new(locality: Locality, settings: Settings) -> Self {
        let mut graph = Self {
            locality,
            settings,
            intake: Intake::default(),
            parser: SelectorParser::default(),
            labels: LabelStore::default(),
            parents: Parents::default(),
            profiles: Profiles::default(),
            cluster: Cluster::default(),
            sets: IpSets::default(),
            local: LocalEndpoints::default(),
            policies: Policies::default(),
            tiers: Tiers::default(),
            rank: PolicyRank::default(),
            lists: PolicyLists::default(),
            hosts: Hosts::default(),
            pools: Pools::default(),
            services: ServiceTable::default(),
            in_sync_told: false,
            stamp: None,
        };
        graph.sets.set_overlaps(settings.suppress_overlaps);
        match graph.locality {
            Locality::Node(_) => graph.local.space.watch_pairs(),
            // Every endpoint is local: what a policy asks for is there.
            Locality::Everywhere => {}
        }
        graph
    }

    /// Takes an event of a source. Nothing is told before the next [`flush`](Self::flush).
    pub fn on_event(&mut self, event: Event) {
        match event {
            Event::Begin(kind) => {
                let unseen = self.in_force(kind);
                self.intake.begin(kind, unseen);
            }
            Event::Apply(kind, object, stamp) => {
                self.apply(kind, object);
                self.note(stamp);
            }
            Event::Delete(kind, key, stamp) => {
                self.delete(kind, &key);
                self.note(stamp);
            }
            Event::End(kind) => {
                let Unseen { ids, keys } = self.intake.end(kind);
                let gone: Vec<Key> = ids.iter().map(|id| self.key_of(kind, id)).chain(keys).collect();
                for key in gone {
                    self.delete(kind, &key);
                }
            }
        }
    }

    /// Changes the settings; what follows from it is told by the next flush.
    pub fn set_settings(&mut self, settings: Settings) {
        let former = std::mem::replace(&mut self.settings, settings);
        self.sets.set_overlaps(settings.suppress_overlaps);
        if former.source_spoofing != settings.source_spoofing {
            for (kind, key, endpoint) in self.intake.with_prefixes() {
                // No source said anything: a list still waits for what it waited for.
                let id = self.id_of(&key);
                self.intake.await_by_key(kind, &key, id);
                if let Key::WorkloadEndpoint(of) = key.clone() {
                    self.admit(kind, key, id, Object::WorkloadEndpoint(of, endpoint));
                }
            }
        }
    }

    /// The delivered objects that are not in force, and why; by key, with the
    /// kind of resource that delivered them. Of pools, as of the last flush.
    pub fn problems(&self) -> impl Iterator<Item = (&Key, Kind, &Problem)> {
        self.intake.problems().chain(self.services.problems()).chain(self.pools.problems())
    }

    fn note(&mut self, stamp: Stamp) {
        self.local.space.retain_changed_pairs(|pair| self.policies.requires(pair));
        if self.is_dirty() {
            self.stamp = Some(self.stamp.map_or(stamp, |oldest| oldest.min(stamp)));
        }
    }
}
