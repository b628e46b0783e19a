//! What the data half tries again and again: said once in the log, and told as
//! long as it does not work.

use std::collections::BTreeMap;

use caracal_program::Problem;
use tracing::{debug, warn};

/// What does not work now, and why, by what it is.
#[derive(Debug, Default)]
pub(crate) struct Complaints(BTreeMap<&'static str, String>);

impl Complaints {
    /// It does not work. The log says so unless it said the same last.
    pub(crate) fn raise(&mut self, subject: &'static str, reason: String) {
        if self.0.get(subject) == Some(&reason) {
            debug!(subject, reason, "still does not work");
        } else {
            warn!("{subject}: {reason}; trying again");
            self.0.insert(subject, reason);
        }
    }

    /// It works.
    pub(crate) fn settle(&mut self, subject: &'static str) {
        self.0.remove(subject);
    }

    /// What does not work, for who asks.
    pub(crate) fn problems(&self) -> impl Iterator<Item = Problem> {
        self.0.iter().map(|(subject, reason)| Problem { subject: (*subject).to_owned(), reason: reason.clone() })
    }
}
