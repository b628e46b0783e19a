//! Whether the agent lives and is ready, as Kubernetes' probes ask.
//!
//! Parts of the program report under the names that Felix gives them; one that
//! is silent for longer than its timeout is neither live nor ready.

mod page;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(crate) use page::words;
pub use page::{Quality, answer};

/// Felix's name for what is there once the configuration is read and the threads run.
pub const STARTUP: &str = "FelixStartup";

/// Felix's name for the graph's thread.
pub const GRAPH: &str = "CalculationGraph";

/// Felix's name for the data half's loop.
pub const DATAPLANE: &str = "InternalDataplaneMainLoop";

/// The datastore's thread.
pub const DATASTORE: &str = "Datastore";

/// What the datastore delivers that is not in force.
pub const OBJECTS: &str = "Objects";

/// How often a thread that waits says that it does so, at least.
pub const BEAT: Duration = Duration::from_secs(10);

/// How long the graph and the datastore may be silent (Felix's `healthInterval` for its graph).
pub const SILENCE: Duration = Duration::from_secs(30);

/// How a part is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// It does what it is for.
    Yes,
    /// Not yet, or not any more.
    No,
}

/// Everything that reports, shared between those who do and those who ask.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    parts: BTreeMap<&'static str, Part>,
    /// `HealthTimeoutOverrides`, by name.
    overrides: BTreeMap<String, Duration>,
}

#[derive(Debug)]
struct Part {
    /// `None`: it may be silent for ever.
    timeout: Option<Duration>,
    /// Whether silence counts now.
    watched: bool,
    last: Instant,
    ready: Ready,
    detail: String,
}

/// How one part is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// Its name.
    pub name: &'static str,
    /// How long it may be silent; `None` for ever.
    pub timeout: Option<Duration>,
    /// Whether it has been silent for too long.
    pub timed_out: bool,
    /// What it last said.
    pub ready: Ready,
    /// What else it said.
    pub detail: String,
}

impl Component {
    /// Whether it lives.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !self.timed_out
    }

    /// Whether it is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.timed_out && self.ready == Ready::Yes
    }
}

impl Health {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A part is there: live, and not ready.
    pub fn register(&self, name: &'static str, timeout: Option<Duration>) {
        let part = Part { timeout, watched: true, last: Instant::now(), ready: Ready::No, detail: String::new() };
        self.state().parts.insert(name, part);
    }

    /// A part says how it is doing, and thereby that it lives.
    pub fn report(&self, name: &'static str, ready: Ready, detail: impl Into<String>) {
        if let Some(part) = self.state().parts.get_mut(name) {
            part.watched = true;
            part.last = Instant::now();
            part.ready = ready;
            part.detail = detail.into();
        }
    }

    /// A part lives.
    pub fn alive(&self, name: &'static str) {
        if let Some(part) = self.state().parts.get_mut(name) {
            part.last = Instant::now();
        }
    }

    /// A part of another process is away: it is not ready, and its silence says
    /// nothing about this process.
    pub fn away(&self, name: &'static str, detail: impl Into<String>) {
        self.report(name, Ready::No, detail);
        if let Some(part) = self.state().parts.get_mut(name) {
            part.watched = false;
        }
    }

    /// How another part is doing, which must say itself that it lives. One that
    /// was away is watched from now on.
    pub fn set_ready(&self, name: &'static str, ready: Ready, detail: impl Into<String>) {
        if let Some(part) = self.state().parts.get_mut(name) {
            if !part.watched {
                part.watched = true;
                part.last = Instant::now();
            }
            part.ready = ready;
            part.detail = detail.into();
        }
    }

    /// How long a part may be silent, by the configuration.
    pub fn set_timeout(&self, name: &'static str, timeout: Option<Duration>) {
        if let Some(part) = self.state().parts.get_mut(name) {
            part.timeout = timeout;
        }
    }

    /// How long parts may be silent whatever they say themselves; zero is for ever.
    pub fn set_overrides(&self, overrides: BTreeMap<String, Duration>) {
        self.state().overrides = overrides;
    }

    /// How everything is doing, by name.
    #[must_use]
    pub fn components(&self) -> Vec<Component> {
        self.components_at(Instant::now())
    }

    fn components_at(&self, now: Instant) -> Vec<Component> {
        let State { parts, overrides } = &*self.state();
        let components = parts.iter().map(|(name, part)| {
            let timeout = overrides.get(*name).copied().or(part.timeout).filter(|timeout| !timeout.is_zero());
            let silence = now.saturating_duration_since(part.last);
            Component {
                name,
                timeout,
                timed_out: part.watched && timeout.is_some_and(|timeout| silence > timeout),
                ready: part.ready,
                detail: part.detail.clone(),
            }
        });
        components.collect()
    }
}

#[cfg(test)]
mod tests;
