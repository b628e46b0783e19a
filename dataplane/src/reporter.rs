//! When the data half reports, and what goes over the sync API.

use std::time::{Duration, Instant};

use caracal_program::{Problem, Report};
use caracal_proto::sync::{self, Alive, FromData, from_data};

/// The pause between two reports while something changes.
const PAUSE: Duration = Duration::from_secs(3);

/// The pause between two signs of life while nothing does. Felix's loop reports
/// itself as often; `DataplaneWatchdogTimeout` is at least twice as long.
const BEAT: Duration = Duration::from_secs(10);

/// Sends a report when it differs from the last one, and a sign of life otherwise.
#[derive(Debug)]
pub(crate) struct Reporter {
    sent: Option<Report>,
    /// When something was sent last.
    last: Instant,
    /// When the report was looked at last.
    looked: Instant,
    /// Whether anything happened since.
    stirred: bool,
}

impl Reporter {
    pub(crate) fn new(now: Instant) -> Self {
        Self { sent: None, last: now, looked: now, stirred: true }
    }

    /// Something happened: the report may be another one.
    pub(crate) const fn stir(&mut self) {
        self.stirred = true;
    }

    /// The receiver knows nothing any more.
    pub(crate) fn forget(&mut self) {
        self.sent = None;
        self.stirred = true;
    }

    /// When there is something to do next.
    pub(crate) fn deadline(&self) -> Instant {
        let beat = self.last + BEAT;
        if self.stirred { beat.min(self.looked + PAUSE) } else { beat }
    }

    /// What is to be sent now, if anything is.
    pub(crate) fn due(&mut self, now: Instant, report: impl FnOnce() -> Report) -> Option<FromData> {
        if now < self.deadline() {
            return None;
        }
        self.looked = now;
        self.stirred = false;
        let report = report();
        let frame = if self.sent.as_ref() != Some(&report) {
            let frame = from_data::Frame::Report(encode(&report));
            self.sent = Some(report);
            frame
        } else if now >= self.last + BEAT {
            from_data::Frame::Alive(Alive {})
        } else {
            return None;
        };
        self.last = now;
        Some(FromData { frame: Some(frame) })
    }
}

fn encode(report: &Report) -> sync::Report {
    let Report { measurements, problems } = report;
    sync::Report {
        measurements: measurements.iter().map(Into::into).collect(),
        problems: problems
            .iter()
            .map(|Problem { subject, reason }| sync::Problem { subject: subject.clone(), reason: reason.clone() })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use caracal_program::Measurement;

    use super::*;

    fn report(value: u64) -> Report {
        Report { measurements: vec![Measurement::counter("x_total", "", value)], problems: Vec::new() }
    }

    /// What is sent at a second, with the report's value then.
    fn at(reporter: &mut Reporter, start: Instant, second: u64, value: u64) -> Option<&'static str> {
        let frame = reporter.due(start + Duration::from_secs(second), || report(value))?;
        match frame.frame {
            Some(from_data::Frame::Report(sent)) => {
                assert_eq!(sent, encode(&report(value)));
                Some("report")
            }
            Some(from_data::Frame::Alive(_)) => Some("alive"),
            other => panic!("not from here: {other:?}"),
        }
    }

    #[test]
    fn changes_are_reported_with_pauses_and_silence_is_broken_by_beats() {
        let start = Instant::now();
        let mut reporter = Reporter::new(start);
        assert_eq!(at(&mut reporter, start, 1, 1), None);
        assert_eq!(at(&mut reporter, start, 3, 1), Some("report"), "the first one");
        reporter.stir();
        assert_eq!(at(&mut reporter, start, 5, 2), None);
        assert_eq!(at(&mut reporter, start, 6, 2), Some("report"));
        reporter.stir();
        assert_eq!(at(&mut reporter, start, 9, 2), None, "nothing changed");
        assert_eq!(at(&mut reporter, start, 15, 2), None);
        assert_eq!(at(&mut reporter, start, 16, 2), Some("alive"));
        assert_eq!(reporter.deadline(), start + Duration::from_secs(26));
        reporter.forget();
        assert_eq!(at(&mut reporter, start, 19, 2), Some("report"), "to somebody who knows nothing");
    }
}
