//! Where symbolic links lead.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::tree::Inode;

/// As many links as the kernel follows for one path (`MAXSYMLINKS`).
const MAX_LINKS: usize = 40;

/// A name on the way from a link to what it leads to: a link again, the end, or
/// what is missing. If what has this name changes, the link leads elsewhere.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// The directory, free of links.
    pub(super) directory: PathBuf,
    pub(super) inode: Inode,
    pub(super) name: OsString,
}

/// The steps from a link to its end, the link itself first.
pub(super) fn steps(link: &Path) -> Vec<Step> {
    let mut steps = Vec::new();
    let (Some(start), Some(name)) = (link.parent(), link.file_name()) else {
        return steps;
    };
    let Ok(mut directory) = fs::canonicalize(start) else {
        return steps;
    };
    let mut rest: VecDeque<OsString> = [name.to_owned()].into();
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            directory.pop();
            continue;
        }
        let path = directory.join(&name);
        let metadata = fs::symlink_metadata(&path);
        if metadata.as_ref().is_ok_and(|metadata| metadata.is_dir()) && !rest.is_empty() {
            directory = path;
            continue;
        }
        steps.extend(step(&directory, &name));
        let Ok(target) = fs::read_link(&path) else {
            break;
        };
        links += 1;
        if links > MAX_LINKS {
            break;
        }
        if target.is_absolute() {
            directory = PathBuf::from("/");
        }
        for component in target.components().rev() {
            match component {
                Component::Normal(_) | Component::ParentDir => rest.push_front(component.as_os_str().to_owned()),
                Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
            }
        }
    }
    steps
}

fn step(directory: &Path, name: &OsStr) -> Option<Step> {
    let inode = Inode::of(&fs::metadata(directory).ok()?);
    Some(Step { directory: directory.to_owned(), inode, name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn each_name_that_matters_is_a_step() {
        let top = TempDir::new().expect("a temporary directory");
        let top = fs::canonicalize(top.path()).expect("it exists");
        fs::create_dir_all(top.join("one/two")).expect("created");
        fs::write(top.join("one/two/file"), "").expect("written");
        for (link, target) in [
            ("direct", "one/two/file"),
            ("absolute", top.join("one/two/file").to_str().expect("a text")),
            ("data", "one/two"),
            ("through", "./data/../two/file"),
            ("directory", "data"),
            ("dangling", "one/none/file"),
            ("loop", "loop"),
        ] {
            symlink(target, top.join(link)).expect("linked");
        }
        for (link, names) in [
            ("direct", &["direct", "one/two/file"][..]),
            ("absolute", &["absolute", "one/two/file"]),
            ("through", &["through", "data", "one/two/file"]),
            ("directory", &["directory", "data", "one/two"]),
            ("dangling", &["dangling", "one/none"]),
        ] {
            let steps = steps(&top.join(link));
            let paths: Vec<_> = steps.iter().map(|step| step.directory.join(&step.name)).collect();
            let names: Vec<_> = names.iter().map(|name| top.join(name)).collect();
            assert_eq!(paths, names, "{link}");
        }
        assert_eq!(steps(&top.join("loop")).len(), MAX_LINKS + 1);
    }
}
