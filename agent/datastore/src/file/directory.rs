//! The directory: what is found in it, and who announces changes.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::{fs, io};

use nix::errno::Errno;

use super::tree::{self, Entry, Found, Inode};
use super::watch::{Change, WatchError, Watches};
use crate::source::{InForce, Problem, Report};

/// The file whose content is a token: once it changes, everything that was done
/// before is told, and then the token.
pub(super) const TOKEN_FILE: &str = ".sync";

/// What a scan found at a path and below it.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Manifests, in order.
    pub(super) files: Vec<PathBuf>,
    /// What could not be read; what is known of it is neither confirmed nor gone.
    pub(super) unreadable: Vec<PathBuf>,
    /// Whether a directory was left out because it is known by another path. A
    /// scan of everything decides which path counts.
    pub(super) skipped_known: bool,
    pub(super) reports: Vec<Report>,
}

/// Who announces changes.
#[derive(Debug)]
enum Announcer {
    /// Nobody is to: the directory is only listed.
    Unwanted,
    Watches(Box<Watches>),
    /// Nobody can, which was told.
    Nobody,
}

/// A directory of manifests.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    announcer: Announcer,
    /// Why nobody announces, as it was told.
    silence: Option<Problem>,
    has_links: bool,
    /// What cannot be read, as it was told.
    unreadable: BTreeMap<PathBuf, Problem>,
}

impl Directory {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, announcer: Announcer::Unwanted, silence: None, has_links: false, unreadable: BTreeMap::new() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn token_path(&self) -> PathBuf {
        self.path.join(TOKEN_FILE)
    }

    /// Whether changes must be looked for because nobody announces them.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self.announcer, Announcer::Nobody)
    }

    /// Whether the directory itself was away or closed at the last scan.
    pub(super) fn is_away(&self) -> bool {
        self.unreadable.contains_key(&self.path)
    }

    /// What could not be read at the last scan of it.
    pub(super) fn unreadable(&self) -> impl Iterator<Item = &Path> {
        self.unreadable.keys().map(PathBuf::as_path)
    }

    /// Whether a path is the directory, the token, or below the directory by
    /// names that are not hidden.
    pub(super) fn is_read(&self, path: &Path) -> bool {
        let Ok(below) = path.strip_prefix(&self.path) else {
            return false;
        };
        let mut names = below.components();
        below == Path::new(TOKEN_FILE) || !names.any(|name| tree::is_hidden(Path::new(&name)))
    }

    /// From now on has changes announced. A scan must follow: it is what sets the watches.
    pub(super) fn announce(&mut self) -> Vec<Report> {
        match Watches::new() {
            Ok(watches) => {
                self.announcer = Announcer::Watches(Box::new(watches));
                Vec::new()
            }
            Err(e) => self.fall_silent(e),
        }
    }

    /// What can be read when something was announced; `None` if nobody announces.
    pub(super) fn announcements(&self) -> Option<BorrowedFd<'_>> {
        match &self.announcer {
            Announcer::Watches(watches) => Some(watches.as_fd()),
            Announcer::Unwanted | Announcer::Nobody => None,
        }
    }

    /// What was announced.
    pub(super) fn hear(&mut self) -> Result<Vec<Change>, WatchError> {
        match &mut self.announcer {
            Announcer::Watches(watches) => watches.hear(),
            Announcer::Unwanted | Announcer::Nobody => Ok(Vec::new()),
        }
    }

    /// Stops announcing.
    pub(super) fn stop_announcing(&mut self) {
        self.announcer = Announcer::Unwanted;
    }

    /// Gives up having changes announced.
    pub(super) fn fall_silent(&mut self, reason: WatchError) -> Vec<Report> {
        self.announcer = Announcer::Nobody;
        let problem = Problem::Polling { reason: reason.to_string() };
        if self.silence.as_ref() == Some(&problem) {
            return Vec::new();
        }
        let before = self.silence.replace(problem.clone());
        before.map(Report::Cleared).into_iter().chain([Report::Raised(problem)]).collect()
    }

    /// Whether there is another directory at its path than the one whose changes are announced:
    /// what is mounted there, or what happens to the directories above, nobody announces.
    pub(super) fn is_another(&self) -> bool {
        let Announcer::Watches(watches) = &self.announcer else { return false };
        let Some(watched) = watches.inode_of(&self.path) else { return false };
        fs::metadata(&self.path).is_ok_and(|found| Inode::of(&found) != watched)
    }

    /// Forgets the watches at a path and below it, because another directory may
    /// be there now. A scan sets them again.
    ///
    /// A directory that was moved must come here under both names, the new one
    /// last: the kernel has one watch for both, and it ends with the old name.
    ///
    /// Answers whether something that links lead to may be elsewhere now.
    pub(super) fn forget_watches(&mut self, path: &Path) -> bool {
        match &mut self.announcer {
            Announcer::Watches(watches) => watches.forget_below(path) && self.has_links,
            Announcer::Unwanted | Announcer::Nobody => false,
        }
    }

    /// Whether a link may lead to a path: then more than the path is concerned.
    pub(super) fn is_linked_to(&self, path: &Path) -> bool {
        match &self.announcer {
            Announcer::Watches(watches) => watches.is_step(path),
            Announcer::Unwanted | Announcer::Nobody => false,
        }
    }

    /// Finds what is at a path or below it, and watches the directories there. `in_force` knows
    /// what is in force of what cannot be read.
    pub(super) fn scan(&mut self, path: &Path, in_force: impl Fn(&Path) -> InForce) -> Scan {
        let is_whole = path == self.path;
        let mut failure = None;
        let mut skipped_known = false;
        let announcer = &mut self.announcer;
        let mut found = tree::walk(&self.path, path, |directory, inode| {
            let Announcer::Watches(watches) = announcer else {
                return Entry::Enter;
            };
            // A walk of the whole directory itself knows what it has entered.
            if !is_whole && watches.path_of(inode).is_some_and(|watched| !watched.starts_with(path)) {
                skipped_known = true;
                return Entry::Skip;
            }
            if let Err(e) = watches.watch(directory, inode) {
                failure = Some(e);
            }
            Entry::Enter
        });
        if is_whole && found.directories.is_empty() && found.unreadable.is_empty() {
            found.unreadable.push((path.to_owned(), Errno::ENOENT.into()));
        }
        if let Announcer::Watches(watches) = &mut self.announcer {
            watches.keep_below(path, &found.directories.iter().map(PathBuf::as_path).collect());
            if let Err(e) = watches.watch_steps(&found.steps) {
                failure = Some(e);
            }
            if is_whole {
                watches.keep_steps(&found.steps);
            }
        }
        self.has_links = !found.steps.is_empty() || (self.has_links && !is_whole);
        let mut reports = self.tell_unreadable(path, &found, in_force);
        reports.extend(failure.into_iter().flat_map(|e| self.fall_silent(e)));
        if is_whole && matches!(self.announcer, Announcer::Watches(_)) {
            reports.extend(self.silence.take().map(Report::Cleared));
        }
        Scan {
            files: found.files,
            unreadable: found.unreadable.into_iter().map(|(path, _)| path).collect(),
            skipped_known,
            reports,
        }
    }

    /// Which paths at a path or below it cannot be read, and which can again.
    fn tell_unreadable(&mut self, path: &Path, found: &Found, in_force: impl Fn(&Path) -> InForce) -> Vec<Report> {
        let problem = |(path, reason): &(PathBuf, io::Error)| {
            let (reason, in_force) = (reason.to_string(), in_force(path));
            let problem = Problem::Unreadable { path: path.clone(), reason, in_force };
            (path.clone(), problem)
        };
        let now: BTreeMap<PathBuf, Problem> = found.unreadable.iter().map(problem).collect();
        let before: BTreeMap<_, _> = self.unreadable.extract_if(.., |known, _| known.starts_with(path)).collect();
        let cleared = before.iter().filter(|(path, problem)| now.get(*path) != Some(problem));
        let raised = now.iter().filter(|(path, problem)| before.get(*path) != Some(problem));
        let mut reports: Vec<_> = cleared.map(|(_, problem)| Report::Cleared(problem.clone())).collect();
        reports.extend(raised.map(|(_, problem)| Report::Raised(problem.clone())));
        self.unreadable.extend(now);
        reports
    }
}
