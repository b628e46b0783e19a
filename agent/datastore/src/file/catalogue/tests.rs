//! Rounds of random files against a model that works everything out anew: from
//! what the files hold now, and from what was in force before.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use caracal_model::{Event, Key, Object, Stamp};
use proptest::prelude::*;

use super::{Catalogue, FileState, News};
use crate::convert::Settings;
use crate::source::{InForce, Problem, Report};

const FILES: [&str; 4] = ["a.yaml", "b.yaml", "sub/a.yaml", "z.yaml"];
const OBJECTS: [&str; 3] = ["one", "two", "three"];

/// A document of a file.
#[derive(Clone, Debug)]
enum Document {
    /// A network set of 10.VERSION.0.0/16.
    Valid(&'static str, u8),
    /// It names an object, and is refused.
    Refused(&'static str),
    /// It may name anything.
    Broken,
}

impl Document {
    fn text(&self) -> String {
        let set = |name, net| {
            format!(
                "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\n\
                 metadata: {{name: {name}}}\nspec: {{nets: [{net}]}}\n"
            )
        };
        match self {
            Self::Valid(name, version) => set(name, format!("10.{version}.0.0/16")),
            Self::Refused(name) => set(name, "nonsense".to_owned()),
            Self::Broken => "{\n".to_owned(),
        }
    }

    fn name(&self) -> Option<&'static str> {
        match self {
            Self::Valid(name, _) | Self::Refused(name) => Some(name),
            Self::Broken => None,
        }
    }
}

/// What there is at a path.
#[derive(Clone, Debug)]
enum File {
    Documents(Vec<Document>),
    Gone,
    Unreadable,
}

impl File {
    fn state(&self) -> FileState {
        match self {
            Self::Documents(documents) => {
                let texts: Vec<_> = documents.iter().map(Document::text).collect();
                FileState::Text(texts.join("---\n").into_bytes())
            }
            Self::Gone => FileState::Gone,
            Self::Unreadable => FileState::Unreadable("no".to_owned()),
        }
    }

    fn documents(&self) -> &[Document] {
        match self {
            Self::Documents(documents) => documents,
            Self::Gone | Self::Unreadable => &[],
        }
    }

    /// Whether it may name more than it does.
    fn hides_names(&self) -> bool {
        matches!(self, Self::Unreadable) || self.documents().iter().any(|document| document.name().is_none())
    }
}

fn document() -> impl Strategy<Value = Document> {
    let name = || prop::sample::select(&OBJECTS[..]);
    prop_oneof![
        5 => (name(), 0..3_u8).prop_map(|(name, version)| Document::Valid(name, version)),
        2 => name().prop_map(Document::Refused),
        1 => Just(Document::Broken),
    ]
}

fn file() -> impl Strategy<Value = File> {
    prop_oneof![
        8 => prop::collection::vec(document(), 0..4).prop_map(File::Documents),
        2 => Just(File::Gone),
        1 => Just(File::Unreadable),
    ]
}

/// The whole state, worked out without haste.
#[derive(Debug, Default)]
struct Model {
    files: BTreeMap<PathBuf, File>,
    /// What each file names, or may name.
    named: BTreeMap<PathBuf, BTreeSet<&'static str>>,
    in_force: BTreeMap<&'static str, u8>,
}

impl Model {
    fn update(&mut self, changes: &[(PathBuf, File)]) {
        for (path, file) in changes {
            let before = self.named.remove(path).unwrap_or_default();
            let mut named: BTreeSet<_> = file.documents().iter().filter_map(Document::name).collect();
            if file.hides_names() {
                named.extend(before);
            }
            self.named.insert(path.clone(), named);
            self.files.insert(path.clone(), file.clone());
        }
        for name in OBJECTS {
            let valid = self.files.values().flat_map(File::documents).find_map(|document| match document {
                Document::Valid(valid, version) if *valid == name => Some(*version),
                Document::Valid(..) | Document::Refused(_) | Document::Broken => None,
            });
            if let Some(version) = valid {
                self.in_force.insert(name, version);
            } else if !self.named.values().any(|named| named.contains(name)) {
                self.in_force.remove(name);
            }
        }
    }

    /// How many problems there are: of refused documents with a version in
    /// force and without, of duplicates, and of unreadable files.
    fn problems(&self) -> [usize; 4] {
        let mut problems = [0; 4];
        let mut valid = BTreeSet::new();
        for file in self.files.values() {
            problems[3] += usize::from(matches!(file, File::Unreadable));
            for document in file.documents() {
                match document {
                    Document::Valid(name, _) => problems[2] += usize::from(!valid.insert(*name)),
                    Document::Refused(name) if self.in_force.contains_key(name) => problems[0] += 1,
                    Document::Refused(_) | Document::Broken => problems[1] += 1,
                }
            }
        }
        problems
    }
}

/// What a receiver makes of the news.
#[derive(Debug, Default)]
struct Receiver {
    sets: BTreeMap<String, String>,
    problems: Vec<Problem>,
}

impl Receiver {
    fn take(&mut self, news: News) {
        for event in news.events {
            match event {
                Event::Apply(_, Object::NetworkSet(key, set), _) => {
                    let version = format!("{:?}", set.nets);
                    let before = self.sets.insert(key.0.to_string(), version.clone());
                    assert_ne!(before, Some(version), "told twice");
                }
                Event::Delete(_, Key::NetworkSet(key), _) => {
                    assert!(self.sets.remove(key.0.as_str()).is_some(), "it was not there");
                }
                other => panic!("{other:?}"),
            }
        }
        for report in news.reports {
            match report {
                Report::Raised(problem) => self.problems.push(problem),
                Report::Cleared(problem) => {
                    let at = self.problems.iter().position(|raised| *raised == problem);
                    self.problems.remove(at.expect("it was raised"));
                }
                Report::SkippedKind { .. } => panic!("{report:?}"),
            }
        }
    }

    fn problems(&self) -> [usize; 4] {
        let mut problems = [0; 4];
        for problem in &self.problems {
            problems[match problem {
                Problem::Refused { in_force: InForce::OtherVersion, .. } => 0,
                Problem::Refused { in_force: InForce::Nothing, .. } => 1,
                Problem::Duplicate { .. } => 2,
                Problem::Unreadable { .. } => 3,
                Problem::More { .. } | Problem::Broken { .. } | Problem::Polling { .. } => panic!("{problem}"),
            }] += 1;
        }
        problems
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_news_add_up_to_the_model(
        rounds in prop::collection::vec(prop::collection::btree_map(prop::sample::select(&FILES[..]), file(), 1..3), 1..10)
    ) {
        let mut catalogue = Catalogue::new(Settings::default());
        let mut model = Model::default();
        let mut receiver = Receiver::default();
        for changes in rounds {
            let changes: Vec<_> = changes.into_iter().map(|(path, file)| (PathBuf::from(path), file)).collect();
            model.update(&changes);
            let states = changes.iter().map(|(path, file)| (path.as_path().into(), file.state(), Stamp(1)));
            let files = &model.files;
            receiver.take(catalogue.update(states, |path: &Path| files[path].state()));
            let want: BTreeMap<_, _> =
                model.in_force.iter().map(|(name, n)| ((*name).to_owned(), format!("[10.{n}.0.0/16]"))).collect();
            prop_assert_eq!(&receiver.sets, &want);
            prop_assert_eq!(receiver.problems(), model.problems());
        }
    }
}

#[test]
fn the_oldest_stamp_counts() {
    let mut catalogue = Catalogue::new(Settings::default());
    let text = |version| FileState::Text(Document::Valid("one", version).text().into_bytes());
    let changes = [(Path::new("b.yaml").into(), text(1), Stamp(7)), (Path::new("a.yaml").into(), text(2), Stamp(9))];
    let news = catalogue.update(changes, |path| panic!("{} was just read", path.display()));
    let [Event::Apply(.., stamp)] = news.events.as_slice() else { panic!("{news:?}") };
    assert_eq!(*stamp, Stamp(7));
}
