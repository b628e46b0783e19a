//! Announcements of changes below a directory.
//!
//! Each directory is watched by itself, so that it is watched before it is
//! listed and nothing that happens meanwhile is missed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::path::{Path, PathBuf};

use caracal_model::Stamp;
use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::clock;
use super::tree::Inode;

/// What happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// It is there, and complete as far as one can tell.
    Complete,
    /// It was created or written to, and somebody may go on writing.
    Written,
    /// Its permissions, owner or times changed.
    Touched,
    /// It went.
    Removed,
    /// A watched directory was moved, which its parent's watch, if it has one, tells better.
    MovedItself,
}

/// An announcement.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Something happened to a path.
    Path(What, PathBuf),
    /// What was at one path is at another.
    Moved { from: PathBuf, to: PathBuf },
    /// Announcements were lost.
    Lost,
}

/// The watches below a directory.
#[derive(Debug)]
pub(super) struct Watches {
    watcher: RecommendedWatcher,
    directories: BTreeMap<PathBuf, Inode>,
    /// Directories elsewhere that links lead to.
    elsewhere: BTreeSet<PathBuf>,
}

impl Watches {
    /// Watches nothing yet; announcements go to `tell`, on a thread of their own.
    pub(super) fn new(tell: impl Fn(Change, Stamp) + Send + 'static) -> notify::Result<Self> {
        let mut reader = Reader::default();
        let handler = move |event: notify::Result<notify::Event>| {
            let noticed = clock::now();
            for change in reader.read(event) {
                tell(change, noticed);
            }
        };
        Ok(Self {
            watcher: notify::recommended_watcher(handler)?,
            directories: BTreeMap::new(),
            elsewhere: BTreeSet::new(),
        })
    }

    /// Watches a directory, unless it is watched already.
    pub(super) fn watch(&mut self, path: &Path, inode: Inode) -> notify::Result<()> {
        if self.directories.get(path) == Some(&inode) {
            return Ok(());
        }
        self.forget(path);
        match self.watcher.watch(path, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.directories.insert(path.to_owned(), inode);
                Ok(())
            }
            Err(e) if is_about_the_directory(&e) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// The path by which a directory is watched.
    pub(super) fn path_of(&self, inode: Inode) -> Option<&Path> {
        let mut watched = self.directories.iter();
        watched.find(|(_, known)| **known == inode).map(|(path, _)| path.as_path())
    }

    /// Stops watching what is below a path, except for these directories.
    pub(super) fn keep_below(&mut self, path: &Path, keep: &BTreeSet<&Path>) {
        let watched = self.directories.range::<Path, _>((Bound::Included(path), Bound::Unbounded));
        let below = watched.map(|(directory, _)| directory).take_while(|directory| directory.starts_with(path));
        let gone: Vec<_> = below.filter(|directory| !keep.contains(directory.as_path())).cloned().collect();
        for directory in gone {
            self.forget(&directory);
        }
    }

    /// Watches directories elsewhere in place of those that were.
    pub(super) fn watch_elsewhere(&mut self, targets: &[PathBuf]) -> notify::Result<()> {
        let targets: BTreeSet<&PathBuf> =
            targets.iter().filter(|target| !self.directories.contains_key(*target)).collect();
        let gone: Vec<_> = self.elsewhere.iter().filter(|path| !targets.contains(path)).cloned().collect();
        for path in gone {
            let _ = self.watcher.unwatch(&path);
            self.elsewhere.remove(&path);
        }
        for target in targets {
            if self.elsewhere.insert(target.clone()) {
                match self.watcher.watch(target, RecursiveMode::NonRecursive) {
                    Err(e) if !is_about_the_directory(&e) => return Err(e),
                    Ok(()) | Err(_) => {}
                }
            }
        }
        Ok(())
    }

    fn forget(&mut self, path: &Path) {
        if self.directories.remove(path).is_some() {
            // The kernel has dropped the watch of a directory that is gone.
            let _ = self.watcher.unwatch(path);
        }
    }
}

/// Whether a watch failed because the directory is gone or closed, which its
/// listing tells better; its parent's watch announces it when that changes.
fn is_about_the_directory(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(e) => e.kind() == std::io::ErrorKind::PermissionDenied,
        _ => false,
    }
}

/// Reads the events of the watcher.
#[derive(Debug, Default)]
struct Reader {
    /// The last path that something was moved away from, and the number that the
    /// move's other half has as well.
    moved_away: Option<(usize, PathBuf)>,
}

impl Reader {
    /// What an event means: nothing, if it changes nothing, such as our own reading.
    fn read(&mut self, event: notify::Result<notify::Event>) -> Vec<Change> {
        let event = match event {
            Ok(event) if !event.need_rescan() => event,
            Ok(_) | Err(_) => return vec![Change::Lost],
        };
        let what = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => What::Complete,
            EventKind::Access(_) => return Vec::new(),
            EventKind::Create(_) => What::Written,
            EventKind::Modify(ModifyKind::Name(RenameMode::From)) => {
                self.moved_away = event.tracker().zip(event.paths.first().cloned());
                if self.moved_away.is_some() { What::Removed } else { What::MovedItself }
            }
            EventKind::Modify(ModifyKind::Name(RenameMode::To)) => {
                let away = self.moved_away.take().filter(|(number, _)| event.tracker() == Some(*number));
                if let (Some((_, from)), [to]) = (away, event.paths.as_slice()) {
                    return vec![Change::Moved { from, to: to.clone() }];
                }
                What::Complete
            }
            // Repeats the two halves.
            EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => return Vec::new(),
            EventKind::Modify(ModifyKind::Name(_)) => What::Complete,
            EventKind::Modify(ModifyKind::Metadata(_)) => What::Touched,
            EventKind::Modify(_) => What::Written,
            EventKind::Remove(_) => What::Removed,
            EventKind::Any | EventKind::Other => What::Complete,
        };
        event.paths.into_iter().map(|path| Change::Path(what, path)).collect()
    }
}
