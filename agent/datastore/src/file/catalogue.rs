//! Which objects the files name, and what is in force of each.
//!
//! The graph holds the objects; here is only what it takes to tell a change
//! from a repetition: names and digests. An object may be named in several
//! places. The first that is admitted counts, in order of paths and within a
//! file from the top. While nothing admitted names an object, but something
//! refused does, the version in force stays.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use caracal_model::{Event, Key, Kind, Stamp};
use smallvec::SmallVec;
use smol_str::SmolStr;

use super::digest::Digest;
use super::reading::{self, Named, ObjectId, Outcome, Reading};
use crate::admit::Fixed;
use crate::convert::{self, Converted, Settings};
use crate::manifest::Refusal;
use crate::manifest::limits::MAX_PROBLEMS;
use crate::source::{ConfigEvent, Problem, Report};

mod problems;
#[cfg(test)]
mod tests;

/// What there is at a file's path.
#[derive(Debug)]
pub(super) enum FileState {
    Text(Vec<u8>),
    Gone,
    /// Why it cannot be read.
    Unreadable(String),
}

/// What to tell.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) configs: Vec<ConfigEvent>,
    pub(super) events: Vec<Event>,
    pub(super) reports: Vec<Report>,
}

impl News {
    pub(super) fn append(&mut self, later: Self) {
        self.configs.extend(later.configs);
        self.events.extend(later.events);
        self.reports.extend(later.reports);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.configs.is_empty() && self.events.is_empty() && self.reports.is_empty()
    }
}

/// A place that names an object: a file, and the position among its objects.
type Claim = (Arc<Path>, usize);

/// The position of objects that a file named before, and may still name in what
/// cannot be read of it.
const HELD: usize = usize::MAX;

#[derive(Debug, Default)]
struct FileRecord {
    /// Of the whole text; `None` if it could not be read.
    digest: Option<Digest>,
    objects: Vec<ObjectAt>,
    /// The first refused documents that name no object that is read.
    nameless: Vec<Refusal>,
    /// How many more there are.
    more_nameless: usize,
    held: BTreeSet<ObjectId>,
    unreadable: Option<String>,
}

#[derive(Debug)]
struct ObjectAt {
    id: ObjectId,
    line: usize,
    verdict: Verdict,
}

#[derive(Debug)]
enum Verdict {
    Admitted {
        digest: Digest,
        fixed: Fixed,
        /// Why it is as if it did not exist.
        broken: Option<String>,
    },
    /// Why, for the first of a file.
    Refused(Option<Refusal>),
}

#[derive(Debug, Default)]
struct ObjectRecord {
    /// In order.
    claims: SmallVec<[Claim; 1]>,
    in_force: Option<Version>,
}

#[derive(Debug)]
struct Version {
    origin: Origin,
    /// Where it is written, and what later versions there cannot change.
    binding: Option<(Arc<Path>, Fixed)>,
    /// `None` if there was nothing to tell.
    told: Option<Told>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    BuiltIn,
    Written(Digest),
}

/// What the object was told as.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Object(Kind, Key),
    Config(SmolStr),
    Cluster,
    Bgp,
}

/// What is to be done about an object.
enum Next {
    Nothing,
    Delete,
    Apply(Origin, Option<(Arc<Path>, Fixed)>, Converted),
    /// Its file must be read again: the version there counts now.
    Read(Arc<Path>),
}

/// Whether a file is taken that has the same text as before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repetition {
    Ignored,
    Taken,
}

/// One round of changes.
#[derive(Default)]
struct Round {
    /// Objects that may have changed, and when that was noticed.
    affected: BTreeMap<ObjectId, Stamp>,
    /// What was read in this round.
    contents: HashMap<Claim, Converted>,
    /// Files whose problems may have changed.
    touched: BTreeSet<Arc<Path>>,
    news: News,
}

impl Round {
    fn affect(&mut self, id: ObjectId, noticed: Stamp) {
        let stamp = self.affected.entry(id).or_insert(noticed);
        *stamp = noticed.min(*stamp);
    }
}

/// The catalogue of a directory.
#[derive(Debug)]
pub(super) struct Catalogue {
    settings: Settings,
    files: BTreeMap<Arc<Path>, FileRecord>,
    objects: HashMap<ObjectId, ObjectRecord>,
    /// The problems of each file that were told.
    problems: BTreeMap<Arc<Path>, Vec<Problem>>,
    skipped_kinds: BTreeSet<String>,
    /// Files that could not be read when they were last looked at.
    unreadable: BTreeSet<Arc<Path>>,
}

impl Catalogue {
    /// A catalogue that knows no file.
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            files: BTreeMap::new(),
            objects: HashMap::new(),
            problems: BTreeMap::new(),
            skipped_kinds: BTreeSet::new(),
            unreadable: BTreeSet::new(),
        }
    }

    /// What objects are converted with.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Converts with other settings from here on, and anew what depends on them. What
    /// has changed in the meantime waits for its own turn.
    pub(super) fn convert_with(
        &mut self,
        settings: Settings,
        noticed: Stamp,
        mut read: impl FnMut(&Path) -> FileState,
    ) -> News {
        if self.settings == settings {
            return News::default();
        }
        self.settings = settings;
        let depending =
            self.files.iter().filter(|(_, record)| record.objects.iter().any(|at| at.id.depends_on_settings()));
        let depending: Vec<(Arc<Path>, Option<Digest>)> =
            depending.map(|(path, record)| (Arc::clone(path), record.digest)).collect();
        let mut round = Round::default();
        for (path, digest) in depending {
            if let FileState::Text(text) = read(&path)
                && Some(Digest::of(&text)) == digest
            {
                self.take(&mut round, path, FileState::Text(text), noticed, Repetition::Taken);
            }
        }
        self.settle(round, read)
    }

    /// Forgets every file, so that the next update tells everything.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.settings.clone());
    }

    /// The files that could not be read when they were last looked at.
    pub(super) fn unreadable(&self) -> impl Iterator<Item = &Path> {
        self.unreadable.iter().map(|path| &**path)
    }

    /// The known files at a path or below it.
    pub(super) fn files_below<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a Path> {
        // Paths are ordered by component, so what lies below a path follows it.
        let from = self.files.range::<Path, _>((Bound::Included(path), Bound::Unbounded));
        from.map(|(file, _)| &**file).take_while(move |file| file.starts_with(path))
    }

    /// Tells what exists without any file. Belongs before the first update.
    pub(super) fn start(&mut self, noticed: Stamp) -> News {
        let mut round = Round::default();
        for (id, _) in built_in() {
            round.affect(id, noticed);
        }
        let missing = self.decide(&mut round);
        assert!(missing.is_empty(), "no file is known yet");
        round.news
    }

    /// Takes the new states of some files. `read` is asked for a file that did
    /// not change if an object of it counts now.
    pub(super) fn update(
        &mut self,
        changes: impl IntoIterator<Item = (Arc<Path>, FileState, Stamp)>,
        read: impl FnMut(&Path) -> FileState,
    ) -> News {
        let mut round = Round::default();
        for (path, state, noticed) in changes {
            self.take(&mut round, path, state, noticed, Repetition::Ignored);
        }
        self.settle(round, read)
    }

    /// Tells what follows from what was taken.
    fn settle(&mut self, mut round: Round, mut read: impl FnMut(&Path) -> FileState) -> News {
        loop {
            let missing = self.decide(&mut round);
            if missing.is_empty() {
                break;
            }
            for (path, noticed) in missing {
                let state = read(&path);
                self.take(&mut round, path, state, noticed, Repetition::Taken);
            }
        }
        self.tell_problems(&mut round);
        round.news
    }

    /// Takes the new state of one file: who names what.
    fn take(&mut self, round: &mut Round, path: Arc<Path>, state: FileState, noticed: Stamp, again: Repetition) {
        let known = self.files.get(&path);
        let (record, contents) = match state {
            FileState::Gone => (None, Vec::new()),
            FileState::Unreadable(reason) => (Some(unreadable(known, reason)), Vec::new()),
            FileState::Text(text) => {
                let digest = Digest::of(&text);
                if again == Repetition::Ignored && known.is_some_and(|record| record.digest == Some(digest)) {
                    return;
                }
                let earlier = |id: &ObjectId| {
                    let (file, fixed) = self.objects.get(id)?.in_force.as_ref()?.binding.as_ref()?;
                    (*file == path).then_some(fixed)
                };
                let mut reading = reading::read(&path, &text, &self.settings, earlier);
                for reading::Skipped { kind, place } in std::mem::take(&mut reading.skipped) {
                    if self.skipped_kinds.insert(kind.clone()) {
                        round.news.reports.push(Report::SkippedKind { kind, place });
                    }
                }
                let (record, contents) = file_record(known, digest, reading);
                (Some(record), contents)
            }
        };
        if record.as_ref().is_some_and(|record| record.unreadable.is_some()) {
            self.unreadable.insert(Arc::clone(&path));
        } else {
            self.unreadable.remove(&path);
        }
        let old = match record {
            Some(record) => self.files.insert(Arc::clone(&path), record),
            None => self.files.remove(&path),
        };
        for (position, id) in old.iter().flat_map(FileRecord::claims) {
            let claim = (Arc::clone(&path), position);
            round.contents.remove(&claim);
            if let Some(object) = self.objects.get_mut(id) {
                object.forget(&path);
            }
            round.affect(id.clone(), noticed);
        }
        for (position, id) in self.files.get(&path).into_iter().flat_map(FileRecord::claims) {
            let object = self.objects.entry(id.clone()).or_default();
            let claim = (Arc::clone(&path), position);
            if let Err(at) = object.claims.binary_search(&claim) {
                object.claims.insert(at, claim);
            }
            round.affect(id.clone(), noticed);
        }
        for (position, converted) in contents.into_iter().enumerate() {
            if let Some(converted) = converted {
                round.contents.insert((Arc::clone(&path), position), converted);
            }
        }
        round.touched.insert(path);
    }

    /// Brings each affected object to what counts now. Answers with the files
    /// that must be read first; deciding again after that is harmless.
    fn decide(&mut self, round: &mut Round) -> BTreeMap<Arc<Path>, Stamp> {
        let mut missing = BTreeMap::new();
        for (id, noticed) in &round.affected {
            let mut object = self.objects.remove(id).unwrap_or_default();
            match next(&self.files, id, &object, &mut round.contents) {
                Next::Nothing => {}
                Next::Read(path) => {
                    missing.insert(path, *noticed);
                }
                Next::Delete => {
                    let told = object.in_force.take().and_then(|version| version.told);
                    round.news.replace(told, None, *noticed);
                }
                Next::Apply(origin, binding, converted) => {
                    let before = object.in_force.take().and_then(|version| version.told);
                    let told = round.news.replace(before, Some(converted), *noticed);
                    object.in_force = Some(Version { origin, binding, told });
                }
            }
            round.touched.extend(object.claims.iter().map(|(path, _)| Arc::clone(path)));
            if !object.claims.is_empty() || object.in_force.is_some() {
                self.objects.insert(id.clone(), object);
            }
        }
        missing
    }

    /// Tells how the problems of the touched files differ from what was told.
    fn tell_problems(&mut self, round: &mut Round) {
        for path in std::mem::take(&mut round.touched) {
            let now = self.problems_of(&path);
            let before = self.problems.remove(&path).unwrap_or_default();
            let reports = &mut round.news.reports;
            // A file may have very many.
            let [was, is]: [HashSet<&Problem>; 2] = [&before, &now].map(|problems| problems.iter().collect());
            let cleared = before.iter().filter(|problem| !is.contains(problem)).cloned();
            reports.extend(cleared.map(Report::Cleared));
            let raised = now.iter().filter(|problem| !was.contains(problem)).cloned();
            reports.extend(raised.map(Report::Raised));
            if !now.is_empty() {
                self.problems.insert(path, now);
            }
        }
    }
}

impl ObjectRecord {
    /// Forgets that a file names it.
    fn forget(&mut self, file: &Arc<Path>) {
        let start = self.claims.partition_point(|(other, _)| other < file);
        let end = self.claims.partition_point(|(other, _)| other <= file);
        self.claims.drain(start..end);
    }
}

impl News {
    /// Tells of a new version in place of an older one. Answers with what it is told as.
    fn replace(&mut self, before: Option<Told>, now: Option<Converted>, noticed: Stamp) -> Option<Told> {
        let told = match &now {
            Some(Converted::Object(kind, object)) => Some(Told::Object(*kind, object.key())),
            Some(Converted::Config(config)) => Some(Told::Config(config.name.clone())),
            Some(Converted::Cluster(_)) => Some(Told::Cluster),
            Some(Converted::Bgp(_)) => Some(Told::Bgp),
            Some(Converted::Nothing | Converted::Broken(_)) | None => None,
        };
        match before {
            before if before == told => {}
            Some(Told::Object(kind, key)) => self.events.push(Event::Delete(kind, key, noticed)),
            Some(Told::Config(name)) => self.configs.push(ConfigEvent::Delete(name)),
            Some(Told::Cluster) => self.configs.push(ConfigEvent::Cluster(None)),
            Some(Told::Bgp) => self.configs.push(ConfigEvent::Bgp(None)),
            None => {}
        }
        match now {
            Some(Converted::Object(kind, object)) => self.events.push(Event::Apply(kind, *object, noticed)),
            Some(Converted::Config(config)) => self.configs.push(ConfigEvent::Apply(config)),
            Some(Converted::Cluster(information)) => self.configs.push(ConfigEvent::Cluster(Some(information))),
            Some(Converted::Bgp(configuration)) => self.configs.push(ConfigEvent::Bgp(Some(configuration))),
            Some(Converted::Nothing | Converted::Broken(_)) | None => {}
        }
        told
    }
}

impl FileRecord {
    /// The objects that the file names, with their positions.
    fn claims(&self) -> impl Iterator<Item = (usize, &ObjectId)> {
        let named = self.objects.iter().enumerate().map(|(position, at)| (position, &at.id));
        named.chain(self.held.iter().map(|id| (HELD, id)))
    }

    /// The objects that the file may still name, of those that an earlier version named.
    fn held_from(earlier: Option<&Self>, named_now: &[ObjectAt]) -> BTreeSet<ObjectId> {
        let mut held: BTreeSet<_> = earlier.into_iter().flat_map(Self::claims).map(|(_, id)| id.clone()).collect();
        for at in named_now {
            held.remove(&at.id);
        }
        held
    }
}

/// A file that cannot be read may still name what it named.
fn unreadable(earlier: Option<&FileRecord>, reason: String) -> FileRecord {
    FileRecord { held: FileRecord::held_from(earlier, &[]), unreadable: Some(reason), ..FileRecord::default() }
}

/// What is remembered of a file, and the objects in it.
fn file_record(earlier: Option<&FileRecord>, digest: Digest, reading: Reading) -> (FileRecord, Vec<Option<Converted>>) {
    let mut objects = Vec::with_capacity(reading.objects.len());
    let mut contents = Vec::with_capacity(reading.objects.len());
    let mut nameless = reading.nameless;
    let more_nameless = nameless.len().saturating_sub(MAX_PROBLEMS);
    nameless.truncate(MAX_PROBLEMS);
    let mut room = MAX_PROBLEMS - nameless.len();
    for Named { id, line, outcome } in reading.objects {
        let (verdict, content) = match outcome {
            Outcome::Admitted { digest, fixed, converted } => {
                let broken = match &converted {
                    Converted::Broken(reason) => Some(reason.clone()),
                    Converted::Object(..)
                    | Converted::Config(_)
                    | Converted::Cluster(_)
                    | Converted::Bgp(_)
                    | Converted::Nothing => None,
                };
                (Verdict::Admitted { digest, fixed, broken }, Some(converted))
            }
            Outcome::Refused(refusal) => {
                let kept = room.checked_sub(1);
                room = kept.unwrap_or_default();
                (Verdict::Refused(kept.map(|_| refusal)), None)
            }
        };
        objects.push(ObjectAt { id, line, verdict });
        contents.push(content);
    }
    let held = if reading.hides_names { FileRecord::held_from(earlier, &objects) } else { BTreeSet::new() };
    let record = FileRecord { digest: Some(digest), objects, nameless, more_nameless, held, unreadable: None };
    (record, contents)
}

/// The place that counts.
struct Winner {
    file: Arc<Path>,
    position: usize,
    line: usize,
    digest: Digest,
    fixed: Fixed,
}

/// The first place that names an object in an admitted document.
fn winner(files: &BTreeMap<Arc<Path>, FileRecord>, object: &ObjectRecord) -> Option<Winner> {
    object.claims.iter().find_map(|(file, position)| {
        let at = files.get(file)?.objects.get(*position)?;
        match &at.verdict {
            Verdict::Admitted { digest, fixed, broken: _ } => Some(Winner {
                file: Arc::clone(file),
                position: *position,
                line: at.line,
                digest: *digest,
                fixed: fixed.clone(),
            }),
            Verdict::Refused(_) => None,
        }
    })
}

fn next(
    files: &BTreeMap<Arc<Path>, FileRecord>,
    id: &ObjectId,
    object: &ObjectRecord,
    contents: &mut HashMap<Claim, Converted>,
) -> Next {
    let origin = object.in_force.as_ref().map(|version| version.origin);
    if let Some(winner) = winner(files, object) {
        let written = Origin::Written(winner.digest);
        if origin == Some(written) {
            return Next::Nothing;
        }
        return match contents.remove(&(Arc::clone(&winner.file), winner.position)) {
            Some(converted) => {
                let binding = (winner.fixed != Fixed::default()).then_some((winner.file, winner.fixed));
                Next::Apply(written, binding, converted)
            }
            None => Next::Read(winner.file),
        };
    }
    let is_named = !object.claims.is_empty();
    match (origin, built_in().find(|(built_in, _)| built_in == id)) {
        (Some(_), _) if is_named => Next::Nothing,
        (Some(Origin::BuiltIn), Some(_)) | (None, None) => Next::Nothing,
        (_, Some((_, converted))) => Next::Apply(Origin::BuiltIn, None, converted),
        (Some(_), None) => Next::Delete,
    }
}

/// What exists without any file, unless a file says otherwise.
fn built_in() -> impl Iterator<Item = (ObjectId, Converted)> {
    convert::built_in().map(|(kind, name, converted)| (ObjectId::of_cluster(kind, name), converted))
}
