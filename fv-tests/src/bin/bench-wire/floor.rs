//! What nothing can beat: from a rename to the return of `read` on an inotify descriptor.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// One time for each change of a file.
pub(crate) fn inotify(changes: usize) -> anyhow::Result<Vec<Duration>> {
    let dir = tempfile::tempdir()?;
    let watch = Inotify::init(InitFlags::IN_CLOEXEC)?;
    watch.add_watch(dir.path(), AddWatchFlags::IN_MOVED_TO)?;
    let (seen, events) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || -> anyhow::Result<()> {
        for _ in 0..changes {
            watch.read_events()?;
            seen.send(Instant::now())?;
        }
        Ok(())
    });
    let took = (0..changes)
        .map(|n| {
            let renamed = rename(dir.path(), n)?;
            Ok(events.recv()?.saturating_duration_since(renamed))
        })
        .collect::<anyhow::Result<_>>()?;
    reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))??;
    Ok(took)
}

/// Gives the time at which the file was about to be renamed.
fn rename(dir: &Path, n: usize) -> anyhow::Result<Instant> {
    let hidden = dir.join(".new");
    std::fs::write(&hidden, n.to_string())?;
    let renamed = Instant::now();
    std::fs::rename(&hidden, dir.join("file"))?;
    Ok(renamed)
}
