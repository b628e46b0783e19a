//! Signals to the program.

use std::io;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use tracing::info;

/// Calls `reload` at each SIGHUP, and `stop` at the first SIGTERM or SIGINT. A
/// second one of these ends the process at once, as without this. SIGUSR1 and SIGUSR2, at
/// which Felix writes profiles, are taken note of: they would end the process otherwise.
///
/// # Errors
/// If the handlers or the thread cannot be set up.
pub fn follow(reload: impl Fn() + Send + 'static, stop: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGTERM, SIGINT, SIGUSR1, SIGUSR2])?;
    let mut stop = Some(stop);
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            match (signal, stop.take()) {
                (SIGHUP, untouched) => {
                    stop = untouched;
                    reload();
                }
                (SIGUSR1 | SIGUSR2, untouched) => {
                    stop = untouched;
                    info!("SIGUSR1 and SIGUSR2 have profiles written by Felix; there are none here");
                }
                (_, Some(stop)) => stop(),
                // Does not return for a signal whose default is to end the process.
                (_, None) => drop(signal_hook::low_level::emulate_default_handler(signal)),
            }
        }
    })?;
    Ok(())
}
