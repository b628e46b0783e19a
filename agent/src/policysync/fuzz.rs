//! What must hold of anything at all that a pod sends. Driven by the fuzz target
//! of this crate and by the test that replays its corpus.

use caracal_proto::felix::{DataplaneStats, SyncRequest};
use prost::Message as _;

use super::{authority, credentials};

/// Takes the bytes as those of a connection, of a file of credentials, and of requests.
///
/// # Panics
/// If something does not hold.
pub fn fuzz_one(data: &[u8]) {
    let whole = authority::rewrite(data, data.len().max(1)).map_err(|error| error.to_string());
    for piece in [1, 13] {
        let pieces = authority::rewrite(data, piece).map_err(|error| error.to_string());
        assert_eq!(pieces, whole, "in pieces of {piece} bytes");
    }
    if let Ok(endpoint) = credentials::parse(data) {
        assert!(endpoint.workload.len() > 1 && endpoint.workload.contains('/'), "{endpoint:?}");
    }
    if let Ok(request) = SyncRequest::decode(data) {
        assert_eq!(request.encoded_len(), 0);
    }
    if let Ok(report) = DataplaneStats::decode(data) {
        let again = DataplaneStats::decode(report.encode_to_vec().as_slice());
        assert_eq!(again.as_ref(), Ok(&report));
    }
}
