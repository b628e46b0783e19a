//! Symbolic links, and directories that go away as a whole.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

use super::{Followed, open, put, set};
use crate::convert::Settings;
use crate::file::FileSource;
use crate::source::Source as _;
use crate::source::SourceError;

/// What a kubelet does to a mounted ConfigMap: a new directory, and one rename.
fn swap_config_map(mount: &Path, version: &str, files: &[(&str, &str)]) {
    let data = format!("..{version}");
    for (name, text) in files {
        let path = mount.join(&data).join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("created");
        fs::write(path, text).expect("written");
    }
    let before = fs::read_link(mount.join("..data")).ok();
    symlink(&data, mount.join("..data_tmp")).expect("linked");
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).expect("renamed");
    for (name, _) in files {
        let top = name.split('/').next().expect("a name");
        if !mount.join(top).is_symlink() {
            symlink(Path::new("..data").join(top), mount.join(top)).expect("linked");
        }
    }
    if let Some(before) = before {
        fs::remove_dir_all(mount.join(before)).expect("removed");
    }
}

#[test]
fn a_config_map_swap_tells_what_changed() {
    let mount = TempDir::new().expect("a temporary directory");
    let (a, b) = (set("a", "10.0.0.0/8"), set("b", "11.0.0.0/8"));
    swap_config_map(mount.path(), "one", &[("a.yaml", &a), ("b.yaml", &b)]);
    let followed = Followed::start_in(mount);
    let told = followed.after(|mount| {
        swap_config_map(mount, "two", &[("a.yaml", &a), ("b.yaml", &set("b", "12.0.0.0/8"))]);
    });
    assert_eq!(told, ["apply set b [12.0.0.0/8]"]);
    swap_config_map(followed.directory.path(), "three", &[("a.yaml", &a), ("b.yaml", &b)]);
    assert_eq!(followed.until("settled"), ["apply set b [11.0.0.0/8]"], "without a token");
}

#[test]
fn a_directory_behind_a_swapped_link_is_followed() {
    let mount = TempDir::new().expect("a temporary directory");
    swap_config_map(mount.path(), "one", &[("sub/a.yaml", &set("a", "10.0.0.0/8"))]);
    let followed = Followed::start_in(mount);
    swap_config_map(followed.directory.path(), "two", &[("sub/a.yaml", &set("a", "10.0.0.0/16"))]);
    assert_eq!(followed.until("settled"), ["apply set a [10.0.0.0/16]"]);
    put(&followed.path("sub/b.yaml"), &set("b", "11.0.0.0/8"));
    assert_eq!(followed.until("settled"), ["apply set b [11.0.0.0/8]"]);
}

#[test]
fn what_a_link_leads_to_is_followed() {
    let elsewhere = TempDir::new().expect("a temporary directory");
    let target = elsewhere.path().join("target.yaml");
    fs::write(&target, set("a", "10.0.0.0/8")).expect("written");
    let followed = Followed::start(&[]);
    symlink(&target, followed.path("x.yaml")).expect("linked");
    assert_eq!(followed.until("settled"), ["apply set a [10.0.0.0/8]"]);
    fs::write(&target, set("a", "10.0.0.0/16")).expect("written");
    assert_eq!(followed.until("settled"), ["apply set a [10.0.0.0/16]"]);
    fs::remove_file(&target).expect("removed");
    assert_eq!(followed.until("settled"), ["delete set a"]);
}

#[test]
fn a_linked_directory_is_read_once_and_followed() {
    let elsewhere = TempDir::new().expect("a temporary directory");
    put(&elsewhere.path().join("x.yaml"), &set("a", "10.0.0.0/8"));
    let followed = Followed::start(&[]);
    let told = followed.after(|dir| {
        symlink(elsewhere.path(), dir.join("one")).expect("linked");
        symlink(elsewhere.path(), dir.join("two")).expect("linked");
        symlink(".", dir.join("loop")).expect("linked");
    });
    assert_eq!(told, ["apply set a [10.0.0.0/8]"]);
    put(&elsewhere.path().join("x.yaml"), &set("a", "10.0.0.0/16"));
    assert_eq!(followed.until("settled"), ["apply set a [10.0.0.0/16]"]);
    // The other link takes over: nothing is told, and what comes then is.
    fs::remove_file(followed.path("one")).expect("removed");
    put(&elsewhere.path().join("y.yaml"), &set("b", "11.0.0.0/8"));
    assert_eq!(followed.until("settled"), ["apply set b [11.0.0.0/8]"]);
}

#[test]
fn a_link_within_the_directory_is_followed() {
    let followed = Followed::start(&[("sub/real.yaml", &set("a", "10.0.0.0/8"))]);
    symlink("sub/real.yaml", followed.path("link.yaml")).expect("linked");
    followed.until("settled");
    put(&followed.path("sub/real.yaml"), &set("a", "10.0.0.0/16"));
    assert_eq!(followed.until("settled"), ["apply set a [10.0.0.0/16]"]);
}

#[test]
fn a_link_that_leads_nowhere_is_followed_when_it_leads_somewhere() {
    let elsewhere = TempDir::new().expect("a temporary directory");
    let followed = Followed::start(&[]);
    symlink(elsewhere.path().join("x.yaml"), followed.path("x.yaml")).expect("linked");
    put(&followed.path("y.yaml"), &set("b", "11.0.0.0/8"));
    assert_eq!(followed.until("settled"), ["apply set b [11.0.0.0/8]"]);
    put(&elsewhere.path().join("x.yaml"), &set("a", "10.0.0.0/8"));
    assert_eq!(followed.until("settled"), ["apply set a [10.0.0.0/8]"]);
}

#[test]
fn a_link_that_cannot_be_followed_keeps_what_was_there() {
    let followed = Followed::start(&[("x.yaml", &set("a", "10.0.0.0/8"))]);
    let told = followed.after(|dir| {
        symlink("x.yaml", dir.join(".tmp")).expect("linked");
        fs::rename(dir.join(".tmp"), dir.join("x.yaml")).expect("renamed");
    });
    let [raised] = told.as_slice() else { panic!("{told:?}") };
    assert!(raised.starts_with("raised cannot read x.yaml: "), "{raised}");
    let told = followed.after(|dir| put(&dir.join("x.yaml"), &set("a", "10.0.0.0/16")));
    assert_eq!(told, ["apply set a [10.0.0.0/16]", &raised.replace("raised", "cleared")]);
}

#[test]
fn a_directory_that_goes_away_takes_nothing_with_it() {
    let outer = TempDir::new().expect("a temporary directory");
    let dir = outer.path().join("manifests");
    put(&dir.join("x.yaml"), &set("a", "10.0.0.0/8"));
    let source = open(&dir);
    let followed = Followed::run(outer, source, |source, sink| source.run(sink));
    fs::rename(&dir, dir.with_extension("away")).expect("renamed");
    let told = followed.until("settled");
    let [raised] = told.as_slice() else { panic!("{told:?}") };
    assert!(raised.starts_with("raised cannot read ") && raised.ends_with("stays in force"), "{raised}");
    fs::rename(dir.with_extension("away"), &dir).expect("renamed");
    assert_eq!(followed.until("settled"), [raised.replace("raised", "cleared")]);
    put(&dir.join("x.yaml"), &set("a", "10.0.0.0/16"));
    assert_eq!(followed.until("settled"), ["apply set a [10.0.0.0/16]"]);
}

#[test]
fn a_directory_that_is_a_link_is_followed_where_it_leads_now() {
    let outer = TempDir::new().expect("a temporary directory");
    let top = outer.path().to_owned();
    put(&top.join("one/x.yaml"), &set("a", "10.0.0.0/8"));
    put(&top.join("two/x.yaml"), &set("a", "10.0.0.0/16"));
    symlink("one", top.join("current")).expect("linked");
    let source = open(&top.join("current"));
    let followed = Followed::run(outer, source, |source, sink| source.run(sink));
    symlink("two", top.join("next")).expect("linked");
    fs::rename(top.join("next"), top.join("current")).expect("renamed");
    assert_eq!(followed.until("settled"), ["apply set a [10.0.0.0/16]"]);
    put(&top.join("two/x.yaml"), &set("a", "10.0.0.0/24"));
    assert_eq!(followed.until("settled"), ["apply set a [10.0.0.0/24]"]);
}

#[test]
fn a_relative_directory_is_followed() {
    let directory = TempDir::new().expect("a temporary directory");
    let here = std::env::current_dir().expect("it exists");
    let up: std::path::PathBuf = here.components().skip(1).map(|_| "..").collect();
    let path = directory.path().strip_prefix("/").expect("it is absolute");
    let source = open(&up.join(path));
    let followed = Followed::run(directory, source, |source, sink| source.run(sink));
    put(&followed.path("x.yaml"), &set("a", "10.0.0.0/8"));
    assert_eq!(followed.until("settled"), ["apply set a [10.0.0.0/8]"]);
}

#[test]
fn a_missing_directory_is_named() {
    let dir = TempDir::new().expect("a temporary directory");
    let missing = dir.path().join("missing");
    let error = FileSource::open(&missing, Settings::default()).expect_err("it does not exist");
    assert!(matches!(&error, SourceError::Directory { directory, .. } if *directory == missing), "{error:?}");
    assert!(error.to_string().contains(&missing.display().to_string()), "{error}");
}
