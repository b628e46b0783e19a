//! The answers to probes, in the form of libcalico-go's health package.

use comfy_table::{Table, presets};

use super::{Component, Health};
use crate::http::Answer;

/// What a probe asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quality {
    /// Whether every part lives: if not, a restart may help.
    Liveness,
    /// Whether every part is ready.
    Readiness,
}

/// Answers a probe: 200 with a table if something has a detail to tell, 204 if
/// nothing has, 503 with the table if the answer is no.
#[must_use]
pub fn answer(health: &Health, quality: Quality) -> Answer {
    let components = health.components();
    let good = components.iter().all(|component| match quality {
        Quality::Liveness => component.is_live(),
        Quality::Readiness => component.is_ready(),
    });
    match good {
        true if components.iter().all(|component| component.detail.is_empty()) => Answer::nothing(),
        true => Answer::text(200, table(&components)),
        false => Answer::text(503, table(&components)),
    }
}

fn table(components: &[Component]) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_FULL_CONDENSED);
    table.set_header(["COMPONENT", "TIMEOUT", "LIVENESS", "READINESS", "DETAIL"]);
    for component in components {
        let timeout = component.timeout.map_or_else(|| "-".to_owned(), |timeout| format!("{timeout:?}"));
        let [liveness, readiness] = words(component);
        table.add_row([component.name, &timeout, liveness, readiness, &component.detail]);
    }
    format!("{table}\n")
}

/// How a part is doing, as libcalico-go's health package says it: liveness, and readiness.
#[must_use]
pub(crate) fn words(component: &Component) -> [&'static str; 2] {
    if component.timed_out {
        return ["timed out", "timed out"];
    }
    ["reporting live", if component.is_ready() { "reporting ready" } else { "reporting non-ready" }]
}
