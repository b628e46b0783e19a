//! The process boundary: Felix's messages, its policy sync service, the sync
//! service between the two halves, and the admin service.
//!
//! [`felix`] is generated from `felix/felixbackend.proto` with canonical proto3
//! JSON for every message; [`sync`] from `caracal/sync.proto`; [`admin`] from
//! `caracal/admin.proto`, its answers as plain JSON.

/// Felix's messages and the `PolicySync` service.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated from the protocol file"
)]
pub mod felix {
    tonic::include_proto!("felix");
    include!(concat!(env!("OUT_DIR"), "/felix.serde.rs"));
}

/// The generated packages under their own names, which references between them need.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated from the protocol file"
)]
mod caracal {
    pub mod admin {
        pub mod v1 {
            tonic::include_proto!("caracal.admin.v1");
        }
    }
    pub mod sync {
        pub mod v1 {
            tonic::include_proto!("caracal.sync.v1");
        }
    }
}

/// The envelope of revisions and the `DataplaneSync` service.
pub use caracal::sync::v1 as sync;

/// The name of the extension of the sync API that asks what rules have counted,
/// and of its answer, whose value is [`sync::Counts`].
pub const COUNTS: &str = "counts";

/// The name of the extension of the sync API that tells of flows, whose value is
/// [`sync::Flows`], and of its answer, which has none.
pub const FLOWS: &str = "flows";

/// What a running agent says of itself: the `Admin` service.
pub use caracal::admin::v1 as admin;
