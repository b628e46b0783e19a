//! The source that reads a directory of manifests.
//!
//! The directory stands for an API server: what it holds is admitted, converted
//! and told, and every edit is followed. A file that is renamed into place, or
//! closed after writing, is read at once; one that is only written to is read
//! when it has been quiet for a moment, so that half a file is never judged.

mod bell;
mod catalogue;
mod clock;
mod digest;
mod directory;
mod link;
mod print;
mod reading;
mod schedule;
mod tree;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use caracal_model::{Event, Kind, Stamp};
use nix::fcntl::OFlag;

use self::bell::Bell;
use self::catalogue::{Catalogue, FileState, News};
use self::directory::Directory;
pub use self::print::Prints;
use self::schedule::{Due, Pace, Reason, Schedule, Why};
use self::watch::{Change, What};
use crate::convert::Settings;
use crate::manifest::limits::{MAX_FILE_BYTES, MAX_TOKEN_BYTES};
use crate::source::{ConfigEvent, Remote, Request, Sink, Source, SourceError};

/// How often the directory is looked at while nobody announces changes, and what cannot be read anyhow.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How long after changes could not be announced that is tried again.
const WATCH_PAUSE: Duration = Duration::from_secs(60);

/// How long the source may wait without saying that it lives.
const BEAT: Duration = Duration::from_secs(10);

/// How far a look trusts what it finds.
#[derive(Clone, Debug)]
enum Trust {
    /// Somebody says that everything is as it should be.
    Everything,
    /// What is being written is left for later, and so is what is not there, but
    /// for what is at these paths or below them.
    GoneBelow(Vec<PathBuf>),
}

/// What there is at a path, and when that was noticed.
type FileChange = (Arc<Path>, Seen, Stamp);

/// A directory of manifests.
#[derive(Debug)]
pub struct FileSource {
    directory: Directory,
    catalogue: Catalogue,
    schedule: Schedule,
    asks: Sender<Request>,
    asked: Receiver<Request>,
    /// Rings when something was asked for.
    bell: Arc<Bell>,
    /// When to look at the whole directory though nothing was announced.
    next_look: Option<Instant>,
    /// When to try again to have changes announced, and how long after a failure.
    next_watch: Option<Instant>,
    watch_pause: Duration,
    /// When to look again at what could not be read.
    next_try: Option<Instant>,
    token: Option<String>,
    /// What is to be converted with from the next look on.
    tuned: Option<Settings>,
}

impl FileSource {
    /// A source of the manifests below a directory.
    ///
    /// # Errors
    /// If the directory does not exist or cannot be read.
    pub fn open(directory: impl Into<PathBuf>, settings: Settings) -> Result<Self, SourceError> {
        let directory = directory.into();
        check_readable(&directory)?;
        // Changes are announced with absolute paths.
        let directory = std::path::absolute(&directory).unwrap_or(directory);
        let (asks, asked) = mpsc::channel();
        let bell = Bell::new().map_err(|errno| SourceError::Descriptors { reason: errno.into() })?;
        Ok(Self {
            directory: Directory::new(directory),
            catalogue: Catalogue::new(settings),
            schedule: Schedule::new(Pace::default()),
            asks,
            asked,
            bell: Arc::new(bell),
            next_look: None,
            next_watch: None,
            watch_pause: WATCH_PAUSE,
            next_try: None,
            token: None,
            tuned: None,
        })
    }

    /// The files that the source has read, in the order in which they count.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.catalogue.files_below(self.directory.path())
    }

    /// The token. A blank one is about to be written.
    fn read_token(&self) -> Option<String> {
        let text = String::from_utf8(read_bounded(&self.directory.token_path(), MAX_TOKEN_BYTES).ok()?).ok()?;
        Some(text.trim().to_owned()).filter(|token| !token.is_empty())
    }

    /// Takes note of an announcement.
    fn note(&mut self, change: Change, noticed: Stamp) {
        match change {
            Change::Path(what, path) => self.note_path(what, path, noticed),
            Change::Moved { from, to } => {
                // What is moved to where it is not read may be an editor's backup: a new version follows.
                let is_read = self.directory.is_read(&to) && (tree::is_manifest(&to) || to.is_dir());
                let what = if is_read { What::MovedAway } else { What::Removed };
                self.note_path(what, from, noticed);
                self.note_path(What::Complete, to, noticed);
            }
            Change::Lost => self.look_at_everything(noticed),
        }
    }

    fn note_path(&mut self, what: What, path: PathBuf, noticed: Stamp) {
        if what == What::MovedItself && path != self.directory.path() {
            return;
        }
        let is_linked_to = self.directory.is_linked_to(&path);
        let took_watches = what != What::Touched && self.directory.forget_watches(&path);
        if is_linked_to || took_watches {
            self.note_links(what, noticed);
        }
        if !self.directory.is_read(&path) {
            return;
        }
        let is_file = || fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file());
        match what {
            What::Touched if self.schedule.is_due(&path) => {}
            What::Touched | What::Written if is_file() => {
                self.schedule.later(path, noticed, Instant::now(), Why::BeingWritten);
            }
            What::Complete | What::Touched | What::Written => self.schedule.now(path, noticed, Reason::Changed),
            What::MovedAway => self.schedule.now(path, noticed, Reason::Removed),
            What::Removed | What::MovedItself => self.schedule.later(path, noticed, Instant::now(), Why::Removed),
        }
    }

    /// Links lead elsewhere now, or may come to count: everything is concerned.
    fn note_links(&mut self, what: What, noticed: Stamp) {
        let everything = self.directory.path().to_owned();
        let why = match what {
            What::Touched => return,
            What::Complete => return self.schedule.now(everything, noticed, Reason::Changed),
            What::MovedAway => return self.schedule.now(everything, noticed, Reason::Removed),
            What::Written => Why::BeingWritten,
            What::Removed | What::MovedItself => Why::Removed,
        };
        if !self.schedule.is_due(&everything) {
            self.schedule.later(everything, noticed, Instant::now(), why);
        }
    }

    fn look_at_everything(&mut self, noticed: Stamp) {
        self.schedule.now(self.directory.path().to_owned(), noticed, Reason::Changed);
        self.schedule.now(self.directory.token_path(), noticed, Reason::Changed);
    }

    /// Looks at what has come to rest, and tells what changed.
    fn look(&mut self, sink: &mut dyn Sink) {
        let now = Instant::now();
        if self.next_look.is_some_and(|at| at <= now) {
            self.next_look = None;
            self.look_at_everything(clock::now());
        }
        if self.next_watch.is_some_and(|at| at <= now) {
            self.next_watch = None;
            self.directory.announce().into_iter().for_each(|report| sink.report(report));
            // That sets the watches.
            self.look_at_everything(clock::now());
        }
        if self.directory.is_another() {
            self.look_at_everything(clock::now());
        }
        if self.next_try.is_some_and(|at| at <= now) {
            self.next_try = None;
            self.try_unreadable(clock::now());
        }
        let mut due = self.schedule.take_due(now);
        // The token is read before the files: what was done before it is seen then.
        let mut token = None;
        if let Some(asked) = due.remove(&self.directory.token_path()) {
            token = self.read_token().filter(|token| self.token.as_ref() != Some(token));
            if token.is_some() {
                due.entry(self.directory.path().to_owned()).or_insert(asked);
            }
        }
        let trust = if token.is_some() {
            Trust::Everything
        } else {
            let removed = due.iter().filter(|(_, due)| due.reason == Reason::Removed);
            Trust::GoneBelow(removed.map(|(path, _)| path.clone()).collect())
        };
        let mut news = News::default();
        let mut changes = Vec::new();
        let mut above: Option<PathBuf> = None;
        // In order of paths, so what lies below a path follows it.
        for (path, Due { noticed, .. }) in due {
            if above.as_ref().is_some_and(|above| path.starts_with(above)) {
                continue;
            }
            changes.extend(self.scan(&path, noticed, &trust, &mut news));
            above = Some(path);
        }
        news.append(self.catalogue.update(read_found(changes, &trust, self.schedule.pace().quiet), read_file));
        self.plan_try();
        if !news.is_empty() || token.is_some() {
            tell_changes(news, sink);
            sink.settled();
        }
        if let Some(token) = token {
            sink.synced(&token);
            self.token = Some(token);
        }
    }

    /// What could not be read may be readable again without anybody announcing it: the process
    /// was short of descriptors, or the disk of answers.
    fn try_unreadable(&mut self, noticed: Stamp) {
        let paths: Vec<PathBuf> =
            self.directory.unreadable().chain(self.catalogue.unreadable()).map(Path::to_owned).collect();
        for path in paths {
            if !self.schedule.is_waiting(&path) {
                self.schedule.now(path, noticed, Reason::Changed);
            }
        }
    }

    fn plan_try(&mut self) {
        let is_needed = self.directory.unreadable().chain(self.catalogue.unreadable()).next().is_some();
        self.next_try = is_needed.then(|| self.next_try.unwrap_or_else(|| Instant::now() + LOOK_INTERVAL));
    }

    /// Finds what is at a path and below it.
    fn scan(&mut self, path: &Path, noticed: Stamp, trust: &Trust, news: &mut News) -> Vec<FileChange> {
        let scan = self.directory.scan(path, |path| self.catalogue.in_force_below(path));
        news.reports.extend(scan.reports);
        if scan.skipped_known {
            self.schedule.now(self.directory.path().to_owned(), noticed, Reason::Changed);
        }
        if (self.directory.is_silent() || self.directory.is_away()) && self.next_look.is_none() {
            self.next_look = Some(Instant::now() + LOOK_INTERVAL);
        }
        if self.directory.is_silent() && self.next_watch.is_none() {
            self.next_watch = Some(Instant::now() + self.watch_pause);
        }
        let found: BTreeSet<&Path> = scan.files.iter().map(PathBuf::as_path).collect();
        let unknown = |file: &Path| scan.unreadable.iter().any(|above| file.starts_with(above));
        let known = self.catalogue.files_below(path);
        let gone: Vec<PathBuf> =
            known.filter(|file| !found.contains(file) && !unknown(file)).map(Path::to_owned).collect();
        let mut changes: Vec<FileChange> = Vec::new();
        for file in gone {
            let is_gone = match trust {
                Trust::Everything => true,
                Trust::GoneBelow(removed) => {
                    removed.iter().any(|above| file.starts_with(above)) || !file.parent().is_some_and(Path::exists)
                }
            };
            if is_gone {
                changes.push((file.into(), Seen::Gone, noticed));
            } else if !self.schedule.is_waiting(&file) {
                self.schedule.later(file, noticed, Instant::now(), Why::Removed);
            }
        }
        for file in scan.files {
            let is_complete = match trust {
                Trust::Everything => true,
                Trust::GoneBelow(_) => !self.is_being_written(&file, noticed),
            };
            if is_complete {
                changes.push((file.into(), Seen::There, noticed));
            }
        }
        changes
    }

    /// Whether somebody may be writing a file, which is then read later.
    fn is_being_written(&mut self, file: &Path, noticed: Stamp) -> bool {
        if self.schedule.is_being_written(file) {
            return true;
        }
        // Without announcements, the time of the last write must do. So it must where a file is
        // empty: whoever writes in its place has it so first, and what is announced may be the write before.
        let is_doubtful = self.directory.is_silent() || fs::metadata(file).is_ok_and(|metadata| metadata.len() == 0);
        let is_fresh = is_doubtful && is_fresh(file, self.schedule.pace().quiet);
        if is_fresh {
            self.schedule.later(file.to_owned(), noticed, Instant::now(), Why::BeingWritten);
        }
        is_fresh
    }

    /// Tells everything, and then what changes.
    fn follow(&mut self, sink: &mut dyn Sink) -> Result<(), SourceError> {
        self.list(sink)?;
        while self.wait(sink) {
            sink.alive();
            self.convert_anew(sink);
            self.look(sink);
        }
        Ok(())
    }

    /// Tells what comes out otherwise with the settings that were asked for.
    fn convert_anew(&mut self, sink: &mut dyn Sink) {
        let Some(settings) = self.tuned.take() else { return };
        sink.converts(&settings);
        tell_changes(self.catalogue.convert_with(settings, clock::now(), read_file), sink);
        sink.settled();
    }

    /// Waits for something to look at; false once the source is stopped.
    fn wait(&mut self, sink: &mut dyn Sink) -> bool {
        let deadline =
            self.schedule.deadline(Instant::now()).into_iter().chain(self.next_look).chain(self.next_try).min();
        let pause = deadline.map_or(BEAT, |at| at.saturating_duration_since(Instant::now()).min(BEAT));
        self.bell.wait(self.directory.announcements(), pause);
        let noticed = clock::now();
        // What has been announced meanwhile belongs to the same round.
        match self.directory.hear() {
            Ok(changes) => changes.into_iter().for_each(|change| self.note(change, noticed)),
            Err(error) => {
                self.directory.fall_silent(error).into_iter().for_each(|report| sink.report(report));
                self.look_at_everything(noticed);
            }
        }
        while let Ok(request) = self.asked.try_recv() {
            match request {
                // As if announcements were lost.
                Request::Refresh => self.look_at_everything(noticed),
                Request::Tune(settings) => self.tuned = Some(settings),
                Request::Stop => return false,
            }
        }
        true
    }
}

impl Source for FileSource {
    fn remote(&self) -> Remote {
        let (asks, bell) = (self.asks.clone(), Arc::clone(&self.bell));
        Remote::new(move |request| {
            // A source that has ended needs nothing.
            let _ = asks.send(request);
            bell.ring();
        })
    }

    /// A list forgets which refused documents have an earlier version in force:
    /// it is what a source that starts now would tell.
    fn list(&mut self, sink: &mut dyn Sink) -> Result<(), SourceError> {
        check_readable(self.directory.path())?;
        sink.converts(self.catalogue.settings());
        self.catalogue.clear();
        self.token = self.read_token();
        let noticed = clock::now();
        let mut news = self.catalogue.start(noticed);
        let root = self.directory.path().to_owned();
        let changes = self.scan(&root, noticed, &Trust::Everything, &mut news);
        let quiet = self.schedule.pace().quiet;
        news.append(self.catalogue.update(read_found(changes, &Trust::Everything, quiet), read_file));
        self.plan_try();
        tell_list(news, sink);
        sink.settled();
        if let Some(token) = &self.token {
            sink.synced(token);
        }
        Ok(())
    }

    fn run(&mut self, sink: &mut dyn Sink) -> Result<(), SourceError> {
        self.directory.announce().into_iter().for_each(|report| sink.report(report));
        let followed = self.follow(sink);
        self.directory.stop_announcing();
        followed
    }
}

fn check_readable(directory: &Path) -> Result<(), SourceError> {
    match fs::read_dir(directory) {
        Ok(_) => Ok(()),
        Err(reason) => Err(SourceError::Directory { directory: directory.to_owned(), reason }),
    }
}

/// What a look found at a file's path; what is there is read when its turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Gone,
    There,
}

/// Reads what was found, one file at a time.
fn read_found<'t>(
    changes: Vec<FileChange>,
    trust: &'t Trust,
    quiet: Duration,
) -> impl Iterator<Item = (Arc<Path>, FileState, Stamp)> + use<'t> {
    changes.into_iter().filter_map(move |(path, seen, noticed)| {
        let state = match seen {
            Seen::Gone => FileState::Gone,
            Seen::There => match (read_file(&path), trust) {
                // It went just now, or is about to be written in place, which will be announced.
                (FileState::Gone, Trust::GoneBelow(_)) => return None,
                (FileState::Text(text), Trust::GoneBelow(_)) if text.is_empty() && is_fresh(&path, quiet) => {
                    return None;
                }
                (state, _) => state,
            },
        };
        Some((path, state, noticed))
    })
}

/// Whether a file was written within that time.
fn is_fresh(file: &Path, quiet: Duration) -> bool {
    let written = fs::metadata(file).and_then(|metadata| metadata.modified());
    written.is_ok_and(|written| written.elapsed().is_ok_and(|age| age < quiet))
}

fn read_file(file: &Path) -> FileState {
    match read_bounded(file, MAX_FILE_BYTES) {
        Ok(text) => FileState::Text(text),
        Err(e) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&e.kind()) => FileState::Gone,
        Err(e) => FileState::Unreadable(e.to_string()),
    }
}

/// Reads a file that is not larger than a limit.
fn read_bounded(file: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // Whoever opens a FIFO waits for a writer, if it does not say otherwise.
    let mut opened = fs::OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(file)?;
    let too_large = |size: u64| io::Error::other(format!("it is {size} bytes or more, {limit} at most are read"));
    let metadata = opened.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other(tree::not_a_file(metadata.file_type())));
    }
    let size = metadata.len();
    if size > limit {
        return Err(too_large(size));
    }
    let mut text = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    // Somebody may be writing to it.
    if opened.by_ref().take(limit + 1).read_to_end(&mut text)? as u64 > limit {
        return Err(too_large(limit + 1));
    }
    Ok(text)
}

fn tell_list(news: News, sink: &mut dyn Sink) {
    sink.config(ConfigEvent::Begin);
    for event in news.configs {
        sink.config(event);
    }
    sink.config(ConfigEvent::End);
    let mut events = news.events;
    for kind in Kind::ALL {
        sink.event(Event::Begin(kind));
        for event in events.extract_if(.., |event| kind_of(event) == kind) {
            sink.event(event);
        }
        sink.event(Event::End(kind));
    }
    for report in news.reports {
        sink.report(report);
    }
}

fn tell_changes(news: News, sink: &mut dyn Sink) {
    for event in news.configs {
        sink.config(event);
    }
    for event in news.events {
        sink.event(event);
    }
    for report in news.reports {
        sink.report(report);
    }
}

fn kind_of(event: &Event) -> Kind {
    match event {
        Event::Begin(kind) | Event::End(kind) | Event::Apply(kind, ..) | Event::Delete(kind, ..) => *kind,
    }
}
