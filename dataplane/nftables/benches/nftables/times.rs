//! Three ways to do the same, taking turns under the clock.

use std::io::{self, Write as _};
use std::time::Duration;

use crate::workload::Spec;

/// Times of the driver, of the floor and of the `nft` program.
#[derive(Default)]
pub(crate) struct Times {
    pub(crate) driver: Vec<Duration>,
    pub(crate) floor: Vec<Duration>,
    pub(crate) nft: Vec<Duration>,
}

impl Times {
    /// One round of driver and floor; each goes first in every other round.
    pub(crate) fn take_turns<S>(
        &mut self,
        round: u32,
        sides: &mut S,
        driver: impl FnOnce(&mut S) -> Duration,
        floor: impl FnOnce(&mut S) -> Duration,
    ) {
        if round.is_multiple_of(2) {
            self.driver.push(driver(sides));
            self.floor.push(floor(sides));
        } else {
            self.floor.push(floor(sides));
            self.driver.push(driver(sides));
        }
    }

    /// What the driver needs beyond the floor in the middle one of the rounds, in seconds.
    pub(crate) fn own(&self) -> f64 {
        let rounds = self.driver.iter().zip(&self.floor);
        let mut beyond: Vec<f64> = rounds.map(|(driver, floor)| driver.as_secs_f64() - floor.as_secs_f64()).collect();
        beyond.sort_by(f64::total_cmp);
        beyond.get(beyond.len() / 2).copied().unwrap_or_default()
    }

    /// Prints the medians as one JSON line.
    pub(crate) fn report(self, workload: &str, spec: &Spec) {
        self.report_with(workload, spec, []);
    }

    /// The same, with more figures.
    pub(crate) fn report_with<const N: usize>(self, workload: &str, spec: &Spec, more: [(&str, serde_json::Value); N]) {
        let [driver, floor, nft] = [self.driver, self.floor, self.nft].map(median);
        let (driver, floor) = (driver.unwrap_or_default(), floor.unwrap_or_default());
        let mut line = serde_json::json!({
            "workload": workload,
            "spec": spec.name,
            "seconds": driver,
            "floor_seconds": floor,
            "floor_ratio": driver / floor,
            "nft_seconds": nft,
        });
        for (name, figure) in more {
            line[name] = figure;
        }
        print(&line);
    }
}

/// The middle one, in seconds; `None` of nothing.
pub(crate) fn median(mut times: Vec<Duration>) -> Option<f64> {
    times.sort_unstable();
    times.get(times.len() / 2).map(Duration::as_secs_f64)
}

/// One line on standard output.
pub(crate) fn print(line: &serde_json::Value) {
    writeln!(io::stdout(), "{line}").expect("standard output is open");
}
