//! Signals that end the program.

use std::io;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Calls `stop` at the first SIGTERM or SIGINT. A second one ends the process
/// at once, as without this.
///
/// # Errors
/// If the handlers or the thread cannot be set up.
pub fn on_stop(stop: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if signals.forever().next().is_none() {
            return;
        }
        stop();
        if let Some(second) = signals.forever().next() {
            // Does not return for a signal whose default is to end the process.
            let _ = signal_hook::low_level::emulate_default_handler(second);
        }
    })?;
    Ok(())
}
