//! What the data half tells beside its answers to revisions: flows, counts, its report.

use std::time::Instant;

use caracal_program::{Problem, Report};
use caracal_proto::sync::FromData;

use super::{ConfiguredDriver, DataHalf};
use crate::host::Host;

impl<D: ConfiguredDriver, H: Host> DataHalf<D, H> {
    /// What rules decided about flows since it was last asked, if it is time to
    /// tell and there is somebody to tell.
    pub fn flows(&mut self, now: Instant) -> Option<FromData> {
        self.assembler.held()?;
        self.flows.take(now, &self.store)
    }

    /// When [`DataHalf::counts`] has something to do.
    #[must_use]
    pub fn counts_due(&self) -> Option<Instant> {
        self.counting.due()
    }

    /// What rules have counted, for who asked; reads for a millisecond or so at a time.
    pub fn counts(&mut self, now: Instant) -> Option<FromData> {
        self.counting.go_on(now, &mut self.driver, &self.store)
    }

    /// What was counted, and what does not work now.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut report = self.driver.report();
        report.measurements.extend(self.numbers.measurements());
        report.measurements.extend(self.outcomes.measurements());
        report.measurements.extend(self.workloads.measurements());
        report.measurements.extend(self.revocation.measurements());
        report.measurements.extend(self.flows.measurements());
        let own = [
            ("rules", "cannot be put in force, the last good ones stand", &self.failure),
            ("configuration", "not in force, what it said before is", &self.unusable),
        ];
        let own = own.into_iter().filter_map(|(subject, what, why)| {
            why.as_ref().map(|why| Problem { subject: subject.to_owned(), reason: format!("{what}: {why}") })
        });
        report.problems.extend(own.chain(self.closed.problems()));
        report.problems.extend(self.complaints.problems());
        report.problems.extend(self.outcomes.problems());
        report.problems.extend(self.hosts.problems(&self.store));
        report.problems.extend(self.flows.problems());
        report
    }
}
