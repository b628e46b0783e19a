//! The manifests below a directory.

use std::collections::HashSet;
use std::fs::{self, FileType, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt};
use std::path::{Path, PathBuf};

use super::link::{self, Step};

/// What tells one directory from another, whatever its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Inode {
    device: u64,
    number: u64,
}

impl Inode {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), number: metadata.ino() }
    }
}

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Manifests, in order of their paths.
    pub(super) files: Vec<PathBuf>,
    /// Directories that were entered.
    pub(super) directories: Vec<PathBuf>,
    /// The steps of all symbolic links; none if there are no links.
    pub(super) steps: Vec<Step>,
    /// What could not be read. What is known of these paths is neither confirmed nor gone.
    pub(super) unreadable: Vec<(PathBuf, io::Error)>,
}

/// Whether a name is one that is not read.
pub(super) fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Whether a name is that of a manifest.
pub(super) fn is_manifest(path: &Path) -> bool {
    !is_hidden(path)
        && path
            .extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|extension| ["yaml", "yml", "json"].contains(&extension))
}

/// What is wrong with something that has a manifest's name.
pub(super) fn not_a_file(found: FileType) -> String {
    let what = if found.is_dir() {
        "a directory"
    } else if found.is_fifo() {
        "a FIFO"
    } else if found.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    format!("it is {what}, not a file")
}

/// Finds the manifests at a path or below it, entering each directory once,
/// however many links lead to it. `enter` is told of each directory before it is
/// listed, so that it can be watched without a gap, and may keep the walk out.
/// What has a manifest's name and is no file is unreadable, but for `root`.
pub(super) fn walk(root: &Path, top: &Path, mut enter: impl FnMut(&Path, Inode) -> Entry) -> Found {
    let mut found = Found::default();
    let mut seen = HashSet::new();
    let mut open = vec![top.to_owned()];
    while let Some(path) = open.pop() {
        if let Err(reason) = visit(root, &path, &mut found, &mut seen, &mut open, &mut enter)
            && reason.kind() != io::ErrorKind::NotFound
        {
            found.unreadable.push((path, reason));
        }
    }
    found.files.sort_unstable();
    found
}

/// Whether a walk goes into a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Enter,
    Skip,
}

fn visit(
    root: &Path,
    path: &Path,
    found: &mut Found,
    seen: &mut HashSet<Inode>,
    open: &mut Vec<PathBuf>,
    enter: &mut impl FnMut(&Path, Inode) -> Entry,
) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_symlink() {
        found.steps.extend(link::steps(path));
    }
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() && is_manifest(path) && path != root {
        return Err(io::Error::other(not_a_file(metadata.file_type())));
    }
    if metadata.is_dir() {
        let inode = Inode::of(&metadata);
        if !seen.insert(inode) || enter(path, inode) == Entry::Skip {
            return Ok(());
        }
        found.directories.push(path.to_owned());
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            names.push(entry?.path());
        }
        // The stack gives them back in order.
        names.sort_unstable_by(|a, b| b.cmp(a));
        open.extend(names.into_iter().filter(|name| !is_hidden(name)));
        return Ok(());
    }
    if is_manifest(path) && metadata.is_file() {
        found.files.push(path.to_owned());
    }
    Ok(())
}
