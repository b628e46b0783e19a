//! What the graph is told besides the datastore's objects.

use smol_str::SmolStr;

/// Which workload endpoints are calculated for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Locality {
    /// The endpoints of one node, by its name.
    Node(SmolStr),
    /// Every endpoint of the cluster.
    Everywhere,
}

impl Locality {
    /// Whether endpoints of a host are calculated for.
    #[must_use]
    pub fn is_local(&self, host: &str) -> bool {
        match self {
            Self::Node(node) => node == host,
            Self::Everywhere => true,
        }
    }
}

/// Whether IP sets hold prefixes that a broader member already covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlaps {
    /// Covered members are left out: nftables interval sets refuse overlaps.
    #[default]
    Suppressed,
    /// Every member is told. Felix's choice with `NFTablesMode: Disabled`.
    Kept,
}

/// Felix's `WorkloadSourceSpoofing`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceSpoofing {
    /// A workload endpoint with allowed source prefixes is refused.
    #[default]
    Disabled,
    /// A workload may ask for source prefixes that are not its own.
    Any,
}

/// Settings that may change while the graph runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether covered prefixes are left out of IP sets.
    pub suppress_overlaps: Overlaps,
    /// Whether workloads may use source addresses that are not their own.
    pub source_spoofing: SourceSpoofing,
}
