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
    pub tiers: u64,
    pub policies: u64,
    pub profiles: u64,
}

impl CalcGraph {
    /// Counts the objects of the cluster. Takes time in proportion to their number.
    #[must_use]
    pub fn census(&self) -> Census {
        let items = |kinds: &[Kind]| kinds.iter().map(|kind| self.cluster.items.of_kind(*kind).len()).sum();
        let profiles = [Kind::Namespace, Kind::ServiceAccount, Kind::Profile];
        Census {
            hosts: number(self.hosts.names_of(Kind::Node).len()),
            host_endpoints: items(&[Kind::HostEndpoint]),
            workload_endpoints: items(&[Kind::Pod, Kind::WorkloadEndpoint]),
            tiers: number(self.tiers.names_of(Kind::Tier).len()),
            policies: number(self.policies.len()),
            profiles: profiles.map(|kind| self.profiles.of_kind(kind).len()).iter().sum(),
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

fn number(count: usize) -> u64 {
    u64::try_from(count).expect("a count of things in memory fits in 64 bits")
}
