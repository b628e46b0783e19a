//! What the program says on standard error.

mod queue;

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use caracal_config::{ConfigSources, LogSeverity, Resolved};
use tracing::warn;
use tracing_subscriber::fmt::MakeWriter as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::configuration::environment;
use queue::Queue;

/// The log's lines that wait to be written; a process has one log.
static QUEUE: OnceLock<Queue> = OnceLock::new();

/// How long the end of the process may wait for the log's last lines to be read.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Who reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// A person who waits for the command to end: no times, warnings only.
    Person,
    /// A log: times, and what happens.
    Log,
}

/// The log level, which may change while the program runs.
pub struct Logging {
    /// `None` if the command line or the environment has set the level for good.
    reload: Option<reload::Handle<EnvFilter, Registry>>,
    /// What was set last, if anything.
    severity: Mutex<Option<Option<LogSeverity>>>,
}

/// `--log-level` is not a level or a filter.
#[derive(Debug, thiserror::Error)]
#[error("--log-level {text:?} is not a log filter, write error, warn, info, debug or trace")]
pub struct LevelError {
    text: String,
    source: tracing_subscriber::filter::ParseError,
}

/// Logging cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// There is no such level.
    #[error(transparent)]
    Level(#[from] LevelError),
    /// The system has no room for another thread.
    #[error("cannot start the thread that writes the log")]
    Thread(#[from] io::Error),
}

/// Starts logging; once per process.
///
/// # Errors
/// If the level is not a filter, or if there can be no thread that writes the log.
pub fn start(level: Option<&str>, reader: Reader) -> Result<Logging, LoggingError> {
    let explicit =
        level.map(|text| EnvFilter::try_new(text).map_err(|source| LevelError { text: text.to_owned(), source }));
    let early = early(environment());
    let by_default = || match reader {
        Reader::Person => EnvFilter::new("warn"),
        Reader::Log => EnvFilter::new(filter_of(early.settings().log_severity_screen)),
    };
    let live = explicit.is_none() && reader == Reader::Log;
    let filter = explicit.transpose()?.unwrap_or_else(by_default);
    let (filter, handle) = reload::Layer::new(filter);
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let format = tracing_subscriber::fmt::layer().with_ansi(colours);
    let registry = tracing_subscriber::registry().with(filter);
    // A test may have started logging already; then its choice stands.
    let _ = match reader {
        Reader::Person => registry.with(format.with_writer(io::stderr).without_time().with_target(false)).try_init(),
        Reader::Log => {
            let queue = Queue::start(io::stderr())?;
            registry.with(format.with_writer(QUEUE.get_or_init(|| queue).clone())).try_init()
        }
    };
    if reader == Reader::Log {
        for problem in early.warnings() {
            warn!("until the configuration is read: {problem}");
        }
    }
    Ok(Logging { reload: live.then_some(handle), severity: Mutex::new(None) })
}

/// How many lines of the log were dropped because nobody read it in time.
#[must_use]
pub fn dropped() -> u64 {
    QUEUE.get().map_or(0, Queue::dropped)
}

/// Has the log's last lines written, and one more, if somebody reads them. Belongs at the end
/// of the process.
pub fn finish(last_words: Option<&str>) {
    let last_words = last_words.unwrap_or_default().as_bytes();
    // With standard error closed there is nobody left to tell.
    let _ = match QUEUE.get() {
        Some(queue) => queue.make_writer().write_all(last_words),
        None => io::stderr().write_all(last_words),
    };
    if let Some(queue) = QUEUE.get() {
        queue.flush(LAST_LINES);
    }
}

/// The configuration until it is read: `EarlyLogSeverityScreen` alone, which stands for
/// `LogSeverityScreen`.
fn early(variables: impl Iterator<Item = (String, String)>) -> Resolved {
    const EARLY: &str = "EarlyLogSeverityScreen";
    let mut sources = ConfigSources::new();
    sources.set_environment(variables.filter_map(|(name, text)| {
        let (prefix, rest) = name.split_at_checked(name.len().checked_sub(EARLY.len())?)?;
        rest.eq_ignore_ascii_case(EARLY).then(|| (format!("{prefix}LogSeverityScreen"), text))
    }));
    sources.resolve()
}

impl Logging {
    /// Follows `LogSeverityScreen`, unless the level was set for good. `None` is silence.
    pub fn set_severity(&self, severity: Option<LogSeverity>) {
        let Some(reload) = &self.reload else {
            return;
        };
        let mut current = self.severity.lock().expect("nothing panics with the lock held");
        if current.replace(severity) == Some(severity) {
            return;
        }
        if let Err(error) = reload.reload(EnvFilter::new(filter_of(severity))) {
            warn!("the log level stays as it is: {error}");
        }
    }
}

const fn filter_of(severity: Option<LogSeverity>) -> &'static str {
    let Some(severity) = severity else {
        return "off";
    };
    match severity {
        LogSeverity::Trace => "trace",
        LogSeverity::Debug => "debug",
        LogSeverity::Info => "info",
        LogSeverity::Warning => "warn",
        LogSeverity::Error | LogSeverity::Fatal => "error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_sets_the_level_until_the_configuration_is_read() {
        for (variables, filter, problems) in [
            (&[][..], "info", 0),
            (&[("FELIX_LOGSEVERITYSCREEN", "debug")], "info", 0),
            (&[("FELIX_EARLYLOGSEVERITYSCREEN", "debug")], "debug", 0),
            (&[("FELIX_EarlyLogSeverityScreen", "none")], "off", 0),
            (&[("FELIX_EARLYLOGSEVERITYSCREEN", "error"), ("CARACAL_EARLYLOGSEVERITYSCREEN", "error")], "error", 0),
            (&[("FELIX_EARLYLOGSEVERITYSCREEN", "loud")], "info", 1),
            (&[("EARLYLOGSEVERITYSCREEN", "debug")], "info", 0),
        ] {
            let early = early(variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())));
            let found = (filter_of(early.settings().log_severity_screen), early.warnings().len());
            assert_eq!(found, (filter, problems), "{variables:?}");
        }
    }
}
