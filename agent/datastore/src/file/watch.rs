//! Announcements of changes below a directory.
//!
//! Each directory is watched by itself, so that it is watched before it is
//! listed and nothing that happens meanwhile is missed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use caracal_model::Stamp;
use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::clock;
use super::link::Step;
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
    /// It is somewhere else now, where it is looked for as well.
    MovedAway,
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

/// The watches of a directory, and of what its links lead to.
///
/// The kernel has one watch for a directory, however many paths lead to it, and
/// it ends when any of them is given up. So each directory has one path here.
#[derive(Debug)]
pub(super) struct Watches {
    watcher: RecommendedWatcher,
    inodes: BTreeMap<PathBuf, Inode>,
    paths: HashMap<Inode, PathBuf>,
    /// Paths that are watched only because a link leads there.
    elsewhere: BTreeSet<PathBuf>,
    /// Names on which it depends where links lead.
    steps: HashSet<(Inode, OsString)>,
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
            inodes: BTreeMap::new(),
            paths: HashMap::new(),
            elsewhere: BTreeSet::new(),
            steps: HashSet::new(),
        })
    }

    /// Watches a directory under this path.
    pub(super) fn watch(&mut self, path: &Path, inode: Inode) -> notify::Result<()> {
        self.elsewhere.remove(path);
        if self.inodes.get(path) == Some(&inode) {
            return Ok(());
        }
        self.forget(path);
        if let Some(other) = self.paths.get(&inode).cloned() {
            self.forget(&other);
        }
        match self.watcher.watch(path, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.inodes.insert(path.to_owned(), inode);
                self.paths.insert(inode, path.to_owned());
                Ok(())
            }
            Err(e) if is_about_the_directory(&e) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Watches the directories of these steps of links as well.
    pub(super) fn watch_steps(&mut self, steps: &[Step]) -> notify::Result<()> {
        for Step { directory, inode, name } in steps {
            self.steps.insert((*inode, name.clone()));
            if !self.paths.contains_key(inode) {
                self.watch(directory, *inode)?;
                self.elsewhere.insert(directory.clone());
            }
        }
        Ok(())
    }

    /// Watches no other steps of links any more.
    pub(super) fn keep_steps(&mut self, steps: &[Step]) {
        self.steps = steps.iter().map(|step| (step.inode, step.name.clone())).collect();
        let keep: HashSet<Inode> = steps.iter().map(|step| step.inode).collect();
        for path in std::mem::take(&mut self.elsewhere) {
            if self.inodes.get(&path).is_some_and(|inode| keep.contains(inode)) {
                self.elsewhere.insert(path);
            } else {
                self.forget(&path);
            }
        }
    }

    /// Whether it depends on a path where a link leads.
    pub(super) fn is_step(&self, path: &Path) -> bool {
        let inode = path.parent().and_then(|directory| self.inodes.get(directory));
        let step = inode.zip(path.file_name()).map(|(inode, name)| (*inode, name.to_owned()));
        step.is_some_and(|step| self.steps.contains(&step))
    }

    /// The path under which a directory is watched.
    pub(super) fn path_of(&self, inode: Inode) -> Option<&Path> {
        let path = self.paths.get(&inode).filter(|path| !self.elsewhere.contains(*path));
        path.map(PathBuf::as_path)
    }

    /// Stops watching the directories at a path and below it, except for these
    /// and for those of links' steps.
    pub(super) fn keep_below(&mut self, path: &Path, keep: &BTreeSet<&Path>) {
        for directory in self.below(path) {
            if !keep.contains(directory.as_path()) && !self.elsewhere.contains(&directory) {
                self.forget(&directory);
            }
        }
    }

    /// Stops watching what is at a path and below it. Answers whether there was anything.
    pub(super) fn forget_below(&mut self, path: &Path) -> bool {
        let below = self.below(path);
        for directory in &below {
            self.forget(directory);
        }
        !below.is_empty()
    }

    fn below(&self, path: &Path) -> Vec<PathBuf> {
        let watched = self.inodes.range::<Path, _>((Bound::Included(path), Bound::Unbounded));
        let paths = watched.map(|(directory, _)| directory);
        paths.take_while(|directory| directory.starts_with(path)).cloned().collect()
    }

    fn forget(&mut self, path: &Path) {
        if let Some(inode) = self.inodes.remove(path) {
            self.paths.remove(&inode);
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
