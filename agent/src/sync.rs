//! The sync API: how revisions travel from the control half to the data half.
//!
//! [`Session`] is the control half's end and [`Link`] the data half's; both are
//! state machines over frames, without I/O. In one process the frames travel
//! over channels; between two processes [`serve`] and [`connect`] carry them
//! over gRPC on a unix socket. `caracal/sync.proto` has the frames.

pub mod connect;
#[doc(hidden)]
pub mod fuzz;
mod link;
pub mod serve;
mod session;
pub mod socket;

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use caracal_proto::sync::{Hello, Refusal, refusal};

pub use link::{Link, LinkError};
pub use session::{Heard, Retention, RevisionKind, Session};

/// The protocol versions that this program speaks: its own, and the last
/// release's, so that the two halves can be upgraded one after the other.
pub const VERSIONS: RangeInclusive<u32> = 1..=1;

/// Revisions that may be unacknowledged: one that the kernel works on, and one
/// that is ready when it is done.
pub const WINDOW: usize = 2;

/// The size of a message that both ends accept. The largest that is sent is a
/// policy of 2 × 1,024 rules with 4 × 256 prefixes each, about 40 MB; most are far below 4 MB.
pub const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// How long a peer may take to say hello, or to read a frame that waits for it.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Why the control half ends a stream, in words for the peer and for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The kind of reason.
    pub reason: refusal::Reason,
    /// The reason in words.
    pub message: String,
}

impl Refused {
    /// A refusal with its reason in words.
    pub fn new(reason: refusal::Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    fn protocol(message: impl Into<String>) -> Self {
        Self::new(refusal::Reason::Protocol, message)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.reason {
            refusal::Reason::Unspecified => "refused",
            refusal::Reason::Version => "no common protocol version",
            refusal::Reason::Busy => "busy",
            refusal::Reason::Protocol => "protocol violation",
            refusal::Reason::Slow => "too slow",
        };
        write!(f, "{reason}: {}", self.message)
    }
}

impl std::error::Error for Refused {}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        Self { reason: refused.reason.into(), message: refused.message }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { reason: refusal.reason(), message: refusal.message }
    }
}

/// The highest version that lies in both ranges.
fn negotiate(ours: &RangeInclusive<u32>, theirs: &Hello) -> Result<u32, Refused> {
    let (low, high) = (theirs.min_version, theirs.max_version);
    if low == 0 || low > high {
        return Err(Refused::protocol(format!("a hello must name a range of versions, not {low} to {high}")));
    }
    let version = high.min(*ours.end());
    if version < low.max(*ours.start()) {
        let text = format!(
            "the data half {:?} speaks versions {low} to {high}, this control half {} to {}",
            theirs.build,
            ours.start(),
            ours.end()
        );
        return Err(Refused::new(refusal::Reason::Version, text));
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_negotiated() {
        let reason = |result: Result<u32, Refused>| result.map_err(|refused| refused.reason);
        let hello = |min_version, max_version| Hello { min_version, max_version, ..Hello::default() };
        use refusal::Reason::{Protocol, Version};
        for (ours, theirs, want) in [
            (1..=1, hello(1, 1), Ok(1)),
            (2..=3, hello(1, 2), Ok(2)),
            (2..=3, hello(3, 4), Ok(3)),
            (2..=3, hello(2, 3), Ok(3)),
            (1..=9, hello(4, 4), Ok(4)),
            (2..=3, hello(1, 1), Err(Version)),
            (2..=3, hello(4, 5), Err(Version)),
            (1..=1, hello(0, 1), Err(Protocol)),
            (1..=1, hello(2, 1), Err(Protocol)),
        ] {
            assert_eq!(reason(negotiate(&ours, &theirs)), want, "{ours:?} {theirs:?}");
        }
    }
}
