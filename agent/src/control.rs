//! The control half: datastore, calculation graph and the sync API's server side.
//!
//! Sources and peers write to one bounded [`Inbox`]; one thread reads it, and
//! owns the graph.

mod calculator;
mod counting;
mod feed;
mod half;
mod inbox;
mod insight;
mod outward;
mod questions;

use caracal_datastore::{Report, one_line};
use tracing::{info, warn};

pub use calculator::Calculator;
pub use feed::Feed;
pub use half::{ControlError, ControlHalf};
pub use inbox::{Inbox, Input, News, Outlet, PeerId, Receiver, SourceInbox, inbox};
pub use insight::{Concern, InForce, Insight, Question, Unanswered};
pub use outward::{Followers, Outward};

/// Logs news about what is wrong with what a source reads.
pub fn log_report(report: &Report) {
    match report {
        Report::Raised(problem) => warn!("{problem}"),
        Report::Cleared(problem) => info!("mended: {problem}"),
        Report::SkippedKind { kind, place } => {
            warn!("{}", one_line(&format!("{place}: objects of kind {kind} are skipped")));
        }
    }
}
