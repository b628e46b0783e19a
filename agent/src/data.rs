//! The data half, made of what this node has.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use caracal_config::Settings;
use caracal_dataplane::{KernelHost, Reply, nftables_settings};
use caracal_nftables::NftablesDriver;
use caracal_proto::sync::{Position, ToData};
use tracing::info;

/// A running data half; it ends when dropped.
pub enum DataHalf {
    /// This program, on this host's kernel.
    Kernel(caracal_dataplane::Handle),
    /// The program that `DataplaneDriver` names.
    External(caracal_external::Handle),
}

/// Where the control half's frames go in.
#[derive(Clone)]
pub enum Frames {
    /// See [`DataHalf::Kernel`].
    Kernel(caracal_dataplane::Frames),
    /// See [`DataHalf::External`].
    External(caracal_external::Frames),
}

/// Starts the data half that the settings ask for. `replies` must not wait for
/// it; `guard` is dropped when it ends, however it does.
///
/// # Errors
/// If the kernel does not let this process program it, or there is no such driver.
pub fn start(
    settings: Settings,
    replies: impl Fn(Reply) + Send + 'static,
    guard: impl Send + 'static,
) -> anyhow::Result<DataHalf> {
    if let Some(named) = &settings.external_driver {
        let driver = find_driver(named)?;
        info!(driver = %driver.display(), "this program leaves the dataplane to another one");
        let replies = move |reply| {
            replies(match reply {
                caracal_external::Reply::Frame(frame) => Reply::Frame(frame),
                caracal_external::Reply::StartOver(reason) => Reply::GiveUp(reason),
            });
        };
        return Ok(DataHalf::External(caracal_external::spawn(driver, replies, guard)?));
    }
    let rules = nftables_settings(&settings).context("cannot use the configuration")?;
    let driver = NftablesDriver::new(rules).context("cannot program nf_tables")?;
    let host = KernelHost::open().context("cannot program routes")?;
    let replies = move |reply| {
        // Owned here so that the end of the thread is noticed.
        let _ = &guard;
        replies(reply);
    };
    Ok(DataHalf::Kernel(caracal_dataplane::spawn(driver, host, settings, replies)?))
}

impl DataHalf {
    /// Where the control half's frames go in.
    #[must_use]
    pub fn frames(&self) -> Frames {
        match self {
            Self::Kernel(handle) => Frames::Kernel(handle.frames()),
            Self::External(handle) => Frames::External(handle.frames()),
        }
    }
}

impl Frames {
    /// Hands a frame over. False if the data half has ended.
    #[must_use]
    pub fn send(&self, frame: ToData) -> bool {
        match self {
            Self::Kernel(frames) => frames.send(frame).is_ok(),
            Self::External(frames) => frames.send(frame),
        }
    }

    /// What the data half holds whole.
    #[must_use]
    pub fn held(&self) -> Option<Position> {
        match self {
            Self::Kernel(frames) => frames.held(),
            Self::External(frames) => frames.held(),
        }
    }
}

/// Looks for a driver as Felix does: a name without a folder stands for a
/// program beside this one, or on the path.
fn find_driver(named: &Path) -> anyhow::Result<PathBuf> {
    let folders: Vec<PathBuf> = if named.is_absolute() {
        Vec::new()
    } else {
        let own = std::env::current_exe().ok().and_then(|program| program.parent().map(Path::to_owned));
        let path = std::env::var_os("PATH").unwrap_or_default();
        own.into_iter().chain(std::env::split_paths(&path)).collect()
    };
    let mut places = folders.into_iter().map(|folder| folder.join(named)).chain([named.to_owned()]);
    places.find(|place| place.is_file()).with_context(|| {
        format!(
            "DataplaneDriver names {}, which is not there, not beside this program and not on the path",
            named.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_are_found_by_path_or_by_name() {
        assert_eq!(find_driver(Path::new("/bin/sh")).expect("it is there"), Path::new("/bin/sh"));
        assert!(find_driver(Path::new("sh")).expect("it is on the path").ends_with("sh"));
        let own = std::env::current_exe().expect("a path");
        let name = own.file_name().expect("a name");
        assert_eq!(find_driver(Path::new(name)).expect("it is beside this one"), own);
        for nowhere in ["/nowhere/driver", "no-such-driver"] {
            let error = find_driver(Path::new(nowhere)).expect_err("it is not there").to_string();
            assert!(error.starts_with(&format!("DataplaneDriver names {nowhere}, ")), "{error}");
        }
    }
}
