//! One data half: this program on this host's kernel, or another program.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use caracal_config::Settings;
use caracal_dataplane::{KernelHost, Reply, nftables_settings};
use caracal_nftables::NftablesDriver;
use caracal_proto::sync::{Position, ToData};
use tracing::info;

use super::voice::Voice;

/// The data half that settings ask for.
pub(super) struct Plan(Settings);

/// What it takes to start a data half, without which none is ended for it.
pub(super) struct Prepared {
    settings: Settings,
    means: Means,
}

enum Means {
    Kernel(Box<(NftablesDriver, KernelHost)>),
    /// The program.
    External(PathBuf),
}

/// A running data half.
pub(super) struct Half {
    /// What it was started with.
    settings: Settings,
    runs: Runs,
    /// Set before it is told to end.
    may_end: Arc<AtomicBool>,
}

enum Runs {
    Kernel(caracal_dataplane::Handle),
    External(caracal_external::Handle),
}

/// Where frames go in.
pub(super) enum Inlet {
    Kernel(caracal_dataplane::Frames),
    External(caracal_external::Frames),
}

/// Goes down with a half's thread.
struct Watch {
    voice: Arc<Voice>,
    may_end: Arc<AtomicBool>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.may_end.load(Ordering::Relaxed) {
            self.voice.lost();
        }
    }
}

impl Plan {
    pub(super) fn of(settings: Settings) -> Self {
        Self(settings)
    }

    /// Whether a half is what is asked for; what else the settings say is its own affair.
    pub(super) fn is_for(&self, half: &Half) -> bool {
        self.0.external_driver == half.settings.external_driver
    }

    /// Gets hold of everything that may not be there. Nothing changes in the kernel.
    pub(super) fn prepare(self) -> anyhow::Result<Prepared> {
        let Self(settings) = self;
        let means = match &settings.external_driver {
            Some(named) => Means::External(find_driver(named)?),
            None => {
                let rules = nftables_settings(&settings).context("cannot use the configuration")?;
                let driver =
                    NftablesDriver::new(rules).context("cannot program nf_tables, which takes CAP_NET_ADMIN")?;
                Means::Kernel(Box::new((driver, KernelHost::open().context("cannot program routes")?)))
            }
        };
        Ok(Prepared { settings, means })
    }
}

impl Prepared {
    pub(super) fn is_external(&self) -> bool {
        matches!(self.means, Means::External(_))
    }

    pub(super) fn name(&self) -> String {
        name(&self.settings)
    }

    /// Starts it; it speaks through `voice`.
    pub(super) fn start(self, voice: &Arc<Voice>) -> anyhow::Result<Half> {
        let Self { settings, means } = self;
        let may_end = Arc::new(AtomicBool::new(false));
        let watch = Watch { voice: Arc::clone(voice), may_end: Arc::clone(&may_end) };
        let voice = Arc::clone(voice);
        let runs = match means {
            Means::External(program) => {
                info!(driver = %program.display(), "this program leaves the dataplane to another one");
                let replies = move |reply| {
                    voice.say(match reply {
                        caracal_external::Reply::Frame(frame) => Reply::Frame(frame),
                        caracal_external::Reply::StartOver(reason) => Reply::GiveUp(reason),
                    });
                };
                Runs::External(caracal_external::spawn(program, replies, watch)?)
            }
            Means::Kernel(means) => {
                let (driver, host) = *means;
                let replies = move |reply| {
                    // Owned here so that the end of the thread is noticed.
                    let _ = &watch;
                    voice.say(reply);
                };
                Runs::Kernel(caracal_dataplane::spawn(driver, host, settings.clone(), replies)?)
            }
        };
        Ok(Half { settings, runs, may_end })
    }
}

impl Half {
    pub(super) fn name(&self) -> String {
        name(&self.settings)
    }

    pub(super) fn inlet(&self) -> Inlet {
        match &self.runs {
            Runs::Kernel(handle) => Inlet::Kernel(handle.frames()),
            Runs::External(handle) => Inlet::External(handle.frames()),
        }
    }

    /// What finds the rules and routes that stay behind when it ends; `None` if it leaves none.
    pub(super) fn leftovers(&self) -> Option<Settings> {
        match self.runs {
            Runs::Kernel(_) => Some(self.settings.clone()),
            Runs::External(_) => None,
        }
    }

    /// Ends it, and waits for that.
    pub(super) fn end(self) {
        self.may_end.store(true, Ordering::Relaxed);
        drop(self.runs);
    }
}

impl Inlet {
    /// Hands a frame over. False if the half has ended.
    pub(super) fn send(&self, frame: ToData) -> bool {
        match self {
            Self::Kernel(frames) => frames.send(frame).is_ok(),
            Self::External(frames) => frames.send(frame),
        }
    }

    /// What the half holds whole.
    pub(super) fn held(&self) -> Option<Position> {
        match self {
            Self::Kernel(frames) => frames.held(),
            Self::External(frames) => frames.held(),
        }
    }
}

fn name(settings: &Settings) -> String {
    match &settings.external_driver {
        Some(driver) => format!("the dataplane driver {}", driver.display()),
        None => "the internal dataplane driver".to_owned(),
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
