//! What the graph holds, counted and listed for people.

use caracal_model::{Kind, PolicyKey};

use crate::CalcGraph;
use crate::ids::PolicyIx;

/// How many objects of the cluster are in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the number of what it is called")]
pub struct Census {
    pub hosts: u64,
    pub host_endpoints: u64,
    pub workload_endpoints: u64,
    /// Host and workload endpoints of this node.
    pub local_endpoints: u64,
    pub tiers: u64,
    pub policies: u64,
    pub profiles: u64,
}

const FITS: &str = "a count of things in memory fits in 64 bits";

/// How many objects of each kind a node holds, kept while they come and go.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally([u32; Kind::ALL.len()]);

impl Tally {
    /// An object came.
    pub(crate) fn add(&mut self, kind: Kind) {
        self.0[kind as usize] += 1;
    }

    /// An object went.
    pub(crate) fn remove(&mut self, kind: Kind) {
        self.0[kind as usize] -= 1;
    }

    /// How many there are of some kinds.
    pub(crate) fn of<const N: usize>(&self, kinds: [Kind; N]) -> u64 {
        kinds.into_iter().map(|kind| u64::from(self.0[kind as usize])).sum()
    }
}

impl CalcGraph {
    /// How many objects of the cluster are in force; nothing is walked for it.
    #[must_use]
    pub fn census(&self) -> Census {
        Census {
            hosts: self.hosts.tally().of([Kind::Node]),
            host_endpoints: self.cluster.items.tally().of([Kind::HostEndpoint]),
            workload_endpoints: self.cluster.items.tally().of([Kind::Pod, Kind::WorkloadEndpoint]),
            local_endpoints: u64::try_from(self.local.len()).expect(FITS),
            tiers: self.tiers.tally().of([Kind::Tier]),
            policies: u64::try_from(self.policies.len()).expect(FITS),
            profiles: self.profiles.tally().of([Kind::Namespace, Kind::ServiceAccount, Kind::Profile]),
        }
    }

    /// The active policies in the order of evaluation, each with its order if it has one.
    #[must_use]
    pub fn active_policies(&self) -> Vec<(&PolicyKey, Option<f64>)> {
        let mut active: Vec<PolicyIx> = self.policies.active().collect();
        active.sort_by(|a, b| self.policies.compare(&self.tiers, *a, *b));
        active.into_iter().map(|at| (self.policies.active_key(at), self.policies.order(at))).collect()
    }
}
