//! Why an object that a source delivered is not in force.

use std::net::IpAddr;

use caracal_model::{Kind, ServiceRef};
use caracal_net::Cidr;
use caracal_selector::SelectorError;
use smol_str::SmolStr;

/// Why an object that a source delivered counts as deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A selector does not parse; the source should have refused the object.
    #[error("{field}: invalid selector {text:?}: {error}")]
    Selector {
        /// The path of the field within the object, for example `inbound_rules[2].source.selector`.
        field: String,
        /// The selector.
        text: SmolStr,
        /// What is wrong with it.
        error: SelectorError,
    },
    /// A workload endpoint asks for source prefixes, which the settings do not
    /// allow; it comes into force when they do.
    #[error("allowed_source_prefixes: refused while WorkloadSourceSpoofing is not Any")]
    SourcePrefixes,
    /// A workload endpoint has no interface.
    #[error("interface: must not be empty")]
    NoInterface,
    /// Another resource describes an object of the same key; this one comes
    /// into force when that one goes.
    #[error("hidden by an object of the same key of kind {0:?}")]
    HiddenBy(Kind),
    /// A service claims an address that is another's; it comes into force when
    /// that one gives it up.
    #[error("clusterIPs: {address} belongs to the service {}/{}", by.namespace, by.name)]
    ClusterIpTaken {
        /// The address.
        address: IpAddr,
        /// The service that has it: of all that claim it the first by namespace and name.
        by: ServiceRef,
    },
    /// A pool overlaps another; it comes into force when that one goes.
    #[error("cidr: {cidr} overlaps {its} of the pool {other}")]
    PoolOverlaps {
        /// The pool's prefix.
        cidr: Cidr,
        /// The other pool, whose name sorts before the pool's.
        other: SmolStr,
        /// The other pool's prefix.
        its: Cidr,
    },
}
