//! Random edits of a real directory: what was told adds up to what a fresh
//! start tells, and nothing is told twice.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::mpsc::channel;

use proptest::prelude::*;

use super::{Followed, Lines, open, set, try_put};
use crate::source::Source as _;

const FILES: [&str; 5] = ["a.yaml", "b.yaml", "sub/a.yaml", "sub/deep/a.yaml", "other/b.yaml"];
const DIRECTORIES: [&str; 4] = ["sub", "sub/deep", "other", "new"];
const OBJECTS: [&str; 3] = ["one", "two", "three"];

#[derive(Clone, Debug)]
enum Edit {
    Put(&'static str, String),
    Write(&'static str, String),
    Remove(&'static str),
    Rename(&'static str, &'static str),
    RemoveDirectory(&'static str),
    MoveDirectory(&'static str, &'static str),
    Link(&'static str, &'static str),
}

impl Edit {
    /// What fails is as if it had not been tried.
    fn apply(&self, dir: &Path) {
        let _ = match self {
            Self::Put(path, text) => try_put(&dir.join(path), text),
            Self::Write(path, text) => fs::write(dir.join(path), text),
            Self::Remove(path) => fs::remove_file(dir.join(path)),
            Self::Rename(from, to) | Self::MoveDirectory(from, to) => fs::rename(dir.join(from), dir.join(to)),
            Self::RemoveDirectory(path) => fs::remove_dir_all(dir.join(path)),
            Self::Link(target, path) => symlink(dir.join(target), dir.join(path)),
        };
    }
}

fn text() -> impl Strategy<Value = String> {
    let objects = prop::collection::vec((prop::sample::select(&OBJECTS[..]), 0..3_u8), 0..3);
    objects.prop_map(|objects| {
        let documents: Vec<_> = objects.iter().map(|(name, n)| set(name, &format!("10.{n}.0.0/16"))).collect();
        documents.join("---\n")
    })
}

fn edit() -> impl Strategy<Value = Edit> {
    let file = || prop::sample::select(&FILES[..]);
    let directory = || prop::sample::select(&DIRECTORIES[..]);
    prop_oneof![
        4 => (file(), text()).prop_map(|(path, text)| Edit::Put(path, text)),
        3 => (file(), text()).prop_map(|(path, text)| Edit::Write(path, text)),
        1 => file().prop_map(Edit::Remove),
        2 => (file(), file()).prop_map(|(from, to)| Edit::Rename(from, to)),
        1 => directory().prop_map(Edit::RemoveDirectory),
        1 => (directory(), directory()).prop_map(|(from, to)| Edit::MoveDirectory(from, to)),
        1 => (file(), file()).prop_map(|(target, path)| Edit::Link(target, path)),
        1 => (directory(), directory()).prop_map(|(target, path)| Edit::Link(target, path)),
    ]
}

/// The objects that were told, by their names.
#[derive(Debug, Default, PartialEq)]
struct Folded {
    objects: BTreeMap<String, String>,
    /// Something could not be read, and what it last said stays in force.
    is_unreadable: bool,
}

impl Folded {
    fn tell(&mut self, line: &str) {
        if let Some(object) = line.strip_prefix("apply ") {
            let words: Vec<_> = object.splitn(3, ' ').collect();
            let (name, version) = (words[..2].join(" "), words.get(2).copied().unwrap_or_default());
            let before = self.objects.insert(name, version.to_owned());
            assert_ne!(before.as_deref(), Some(version), "{line} tells nothing new");
        } else if let Some(name) = line.strip_prefix("delete ") {
            assert!(self.objects.remove(name).is_some(), "{line} tells nothing new");
        }
        self.is_unreadable |= line.starts_with("raised cannot read");
    }

    /// What a fresh start tells.
    fn fresh(directory: &Path) -> Self {
        let (tell, lines) = channel();
        open(directory).list(&mut Lines(tell)).expect("it is listed");
        let mut folded = Self::default();
        for line in lines.try_iter() {
            folded.tell(&line);
        }
        folded
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn edits_add_up(rounds in prop::collection::vec(prop::collection::vec(edit(), 1..4), 1..8)) {
        let followed = Followed::start(&[]);
        let mut folded = Folded::fresh(followed.directory.path());
        for edits in rounds {
            let lines = followed.after(|dir| edits.iter().for_each(|edit| edit.apply(dir)));
            lines.iter().for_each(|line| folded.tell(line));
            let fresh = Folded::fresh(followed.directory.path());
            prop_assume!(!folded.is_unreadable && !fresh.is_unreadable);
            prop_assert_eq!(&folded, &fresh, "after {:?}", edits);
        }
    }

    /// The same without the token's full look: announcements alone lead there.
    #[test]
    fn announced_edits_add_up(edits in prop::collection::vec(edit(), 1..12)) {
        let followed = Followed::start(&[]);
        let mut folded = Folded::fresh(followed.directory.path());
        for edit in &edits {
            edit.apply(followed.directory.path());
        }
        let wanted = Folded::fresh(followed.directory.path());
        prop_assume!(!wanted.is_unreadable);
        while folded.objects != wanted.objects {
            let lines = followed.until("settled");
            lines.iter().for_each(|line| folded.tell(line));
        }
    }
}
