//! Whether what a reading of manifests looks at is what it was.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::tree::{self, Entry, Inode};

/// What tells a file or a directory from what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Print {
    inode: Inode,
    size: u64,
    /// When its content changed, in seconds and nanoseconds.
    modified: (i64, i64),
    /// When anything of it changed.
    changed: (i64, i64),
}

/// The prints of files and directories. What cannot be looked at has none, like
/// what is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prints(BTreeMap<PathBuf, Print>);

impl Prints {
    /// Takes the prints of all that a source of the manifests below a directory
    /// reads now: the manifests and the directories that they are in, by whatever
    /// links.
    #[must_use]
    pub fn below(directory: &Path) -> Self {
        let found = tree::walk(directory, directory, |_, _| Entry::Enter);
        found.directories.iter().chain(&found.files).fold(Self::default(), |prints, path| prints.with(path))
    }

    /// Takes the print of one more file.
    #[must_use]
    pub fn with(mut self, file: &Path) -> Self {
        if let Ok(metadata) = fs::metadata(file) {
            let print = Print {
                inode: Inode::of(&metadata),
                size: metadata.size(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
            };
            self.0.insert(file.to_owned(), print);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::thread::sleep;
    use std::time::Duration;

    use tempfile::TempDir;

    use super::*;

    /// Longer than the kernel's clock of files stands still.
    const TICK: Duration = Duration::from_millis(20);

    /// Whether each edit of a directory is seen, one after the other.
    #[test]
    fn what_is_read_has_a_print() {
        let (top, elsewhere) = (TempDir::new().expect("a directory"), TempDir::new().expect("a directory"));
        let path = |name: &str| top.path().join(name);
        let write = |path: PathBuf, text: &str| fs::write(path, text).expect("written");
        write(elsewhere.path().join("far.yaml"), "one");
        write(path("a.yaml"), "one");
        write(path(".hidden.yaml"), "one");
        write(path("readme.md"), "one");
        fs::create_dir(path("sub")).expect("created");
        write(path("sub/b.json"), "one");
        for round in ["x", "y", "z"] {
            symlink(".", path(round)).expect("linked");
        }
        let edits: &[(&str, bool, &dyn Fn())] = &[
            ("nothing", false, &|| {}),
            ("a manifest", true, &|| write(path("a.yaml"), "two")),
            ("a manifest in a folder", true, &|| write(path("sub/b.json"), "two")),
            ("what is hidden", false, &|| write(path(".hidden.yaml"), "two")),
            ("what is no manifest", false, &|| write(path("readme.md"), "two")),
            ("a new manifest", true, &|| write(path("sub/c.yml"), "one")),
            ("another name", true, &|| fs::rename(path("sub/c.yml"), path("sub/d.yml")).expect("renamed")),
            ("a manifest that goes", true, &|| fs::remove_file(path("sub/d.yml")).expect("removed")),
            ("a link to a folder", true, &|| symlink(elsewhere.path(), path("far")).expect("linked")),
            ("what is behind the link", true, &|| write(elsewhere.path().join("far.yaml"), "two")),
            ("what comes behind the link", true, &|| write(elsewhere.path().join("new.yaml"), "one")),
            ("a folder that goes", true, &|| fs::remove_dir_all(path("sub")).expect("removed")),
        ];
        let mut before = Prints::below(top.path());
        for (what, is_seen, edit) in edits {
            sleep(TICK);
            edit();
            let after = Prints::below(top.path());
            assert_eq!(after != before, *is_seen, "{what}");
            before = after;
        }
    }

    #[test]
    fn a_file_that_is_not_there_has_no_print() {
        let top = TempDir::new().expect("a directory");
        let file = top.path().join("felix.cfg");
        let without = Prints::below(top.path());
        assert_eq!(without.clone().with(&file), without);
        fs::write(&file, "HealthPort = 1").expect("written");
        assert_ne!(without.clone().with(&file), without);
        assert_eq!(Prints::below(&file.join("none")), Prints::default());
    }
}
