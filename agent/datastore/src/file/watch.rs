//! Announcements of changes below a directory.
//!
//! Each directory is watched by itself, so that it is watched before it is
//! listed and nothing that happens meanwhile is missed. Whoever waits for changes
//! reads them too, all that there are at a time: another thread in between would
//! wake it for each step of what another program does to a file.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::ops::Bound;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};

use super::link::Step;
use super::tree::Inode;

/// Changes that are read before they are looked at: whoever makes more of them may not
/// keep others waiting.
const AT_ONCE: usize = 4096;

/// Changes cannot be announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WatchError {
    /// `ENOSPC`.
    #[error("the kernel has no more watches for this user (fs.inotify.max_user_watches)")]
    Watches,
    /// `EMFILE`.
    #[error("the kernel has no more inotify instances for this user (fs.inotify.max_user_instances)")]
    Instances,
    /// Anything else.
    #[error("{0}")]
    Other(Errno),
}

impl From<Errno> for WatchError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::ENOSPC => Self::Watches,
            Errno::EMFILE => Self::Instances,
            other => Self::Other(other),
        }
    }
}

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
    inotify: Inotify,
    inodes: BTreeMap<PathBuf, (Inode, WatchDescriptor)>,
    paths: HashMap<Inode, PathBuf>,
    /// The directories that the kernel tells of.
    told_of: HashMap<WatchDescriptor, PathBuf>,
    /// The last path that something was moved away from, and the number that the
    /// move's other half has as well.
    moved_away: Option<(u32, PathBuf)>,
    /// Paths that are watched only because a link leads there.
    elsewhere: BTreeSet<PathBuf>,
    /// Names on which it depends where links lead.
    steps: HashSet<(Inode, OsString)>,
}

impl Watches {
    /// Watches nothing yet.
    pub(super) fn new() -> Result<Self, WatchError> {
        Ok(Self {
            inotify: Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?,
            inodes: BTreeMap::new(),
            paths: HashMap::new(),
            told_of: HashMap::new(),
            moved_away: None,
            elsewhere: BTreeSet::new(),
            steps: HashSet::new(),
        })
    }

    /// What happened since the last time, as far as it is to be read at once.
    pub(super) fn hear(&mut self) -> Result<Vec<Change>, WatchError> {
        let mut changes = Vec::new();
        while changes.len() < AT_ONCE {
            match self.inotify.read_events() {
                Ok(events) => changes.extend(events.into_iter().filter_map(|event| self.read(event))),
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(changes)
    }

    /// What an event means: nothing, if it is of a watch that was given up.
    fn read(&mut self, event: InotifyEvent) -> Option<Change> {
        use AddWatchFlags as Flags;
        let InotifyEvent { wd, mask, cookie, name } = event;
        if mask.contains(Flags::IN_Q_OVERFLOW) {
            return Some(Change::Lost);
        }
        if mask.contains(Flags::IN_IGNORED) {
            self.told_of.remove(&wd);
            return None;
        }
        let directory = self.told_of.get(&wd)?;
        let path = name.map_or_else(|| directory.clone(), |name| directory.join(name));
        if mask.contains(Flags::IN_MOVED_TO)
            && let Some((_, from)) = self.moved_away.take_if(|(number, _)| *number == cookie)
        {
            return Some(Change::Moved { from, to: path });
        }
        let is = |flags| mask.intersects(flags);
        let what = if is(Flags::IN_CLOSE_WRITE | Flags::IN_MOVED_TO) {
            What::Complete
        } else if is(Flags::IN_CREATE | Flags::IN_MODIFY) {
            What::Written
        } else if is(Flags::IN_ATTRIB) {
            What::Touched
        } else if is(Flags::IN_MOVED_FROM) {
            self.moved_away = Some((cookie, path.clone()));
            What::Removed
        } else if is(Flags::IN_MOVE_SELF) {
            What::MovedItself
        } else if is(Flags::IN_DELETE | Flags::IN_DELETE_SELF | Flags::IN_UNMOUNT) {
            What::Removed
        } else {
            What::Complete
        };
        Some(Change::Path(what, path))
    }

    /// Watches a directory under this path.
    pub(super) fn watch(&mut self, path: &Path, inode: Inode) -> Result<(), WatchError> {
        self.elsewhere.remove(path);
        if self.inode_of(path) == Some(inode) {
            return Ok(());
        }
        self.forget(path);
        if let Some(other) = self.paths.get(&inode).cloned() {
            self.forget(&other);
        }
        match self.inotify.add_watch(path, wanted()) {
            Ok(descriptor) => {
                self.inodes.insert(path.to_owned(), (inode, descriptor));
                self.paths.insert(inode, path.to_owned());
                self.told_of.insert(descriptor, path.to_owned());
                Ok(())
            }
            // It is gone or closed, which its listing tells better; its parent's watch
            // announces it when that changes.
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The directory that is watched under a path.
    pub(super) fn inode_of(&self, path: &Path) -> Option<Inode> {
        self.inodes.get(path).map(|(inode, _)| *inode)
    }

    /// Watches the directories of these steps of links as well.
    pub(super) fn watch_steps(&mut self, steps: &[Step]) -> Result<(), WatchError> {
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
            if self.inode_of(&path).is_some_and(|inode| keep.contains(&inode)) {
                self.elsewhere.insert(path);
            } else {
                self.forget(&path);
            }
        }
    }

    /// Whether it depends on a path where a link leads.
    pub(super) fn is_step(&self, path: &Path) -> bool {
        let inode = path.parent().and_then(|directory| self.inode_of(directory));
        let step = inode.zip(path.file_name()).map(|(inode, name)| (inode, name.to_owned()));
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
        if let Some((inode, descriptor)) = self.inodes.remove(path) {
            self.paths.remove(&inode);
            self.told_of.remove(&descriptor);
            // The kernel has dropped the watch of a directory that is gone.
            let _ = self.inotify.rm_watch(descriptor);
        }
    }
}

impl AsFd for Watches {
    /// Can be read when something happened.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

/// What the kernel is to tell of a directory. Reading is no change.
fn wanted() -> AddWatchFlags {
    AddWatchFlags::IN_ONLYDIR
        | AddWatchFlags::IN_ATTRIB
        | AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_MODIFY
        | AddWatchFlags::IN_CLOSE_WRITE
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_MOVE_SELF
}
