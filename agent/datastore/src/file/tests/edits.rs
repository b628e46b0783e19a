//! Files and directories that come, change, move and go.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::{Followed, open, put, set};
use crate::manifest::limits::MAX_FILE_BYTES;
use crate::source::{Request, Source as _};

/// One edit, and what is told of it.
struct Case {
    what: &'static str,
    before: &'static [(&'static str, &'static [(&'static str, &'static str)])],
    edit: fn(&Path),
    told: &'static [&'static str],
}

/// A file of global network sets, each with one prefix.
fn sets(sets: &[(&str, &str)]) -> String {
    let documents: Vec<_> = sets.iter().map(|(name, net)| set(name, net)).collect();
    documents.join("---\n")
}

const A: (&str, &str) = ("a", "10.0.0.0/8");
const A2: (&str, &str) = ("a", "10.0.0.0/16");
const B: (&str, &str) = ("b", "11.0.0.0/8");

const CASES: &[Case] = &[
    Case {
        what: "a file comes",
        before: &[],
        edit: |dir| put(&dir.join("x.yaml"), &sets(&[A])),
        told: &["apply set a [10.0.0.0/8]"],
    },
    Case {
        what: "a JSON file comes",
        before: &[],
        edit: |dir| {
            let text = r#"{"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkSet",
                           "metadata": {"name": "a"}, "spec": {"nets": ["10.0.0.0/8"]}}"#;
            put(&dir.join("x.json"), text);
        },
        told: &["apply set a [10.0.0.0/8]"],
    },
    Case {
        what: "one object of two changes",
        before: &[("x.yaml", &[A, B])],
        edit: |dir| put(&dir.join("x.yaml"), &sets(&[A2, B])),
        told: &["apply set a [10.0.0.0/16]"],
    },
    Case {
        what: "a file is written again with the same objects, otherwise laid out",
        before: &[("x.yaml", &[A, B])],
        edit: |dir| put(&dir.join("x.yaml"), &format!("# the same\n{}", sets(&[B, A]))),
        told: &[],
    },
    Case {
        what: "a file is written in place",
        before: &[("x.yaml", &[A])],
        edit: |dir| fs::write(dir.join("x.yaml"), sets(&[A2])).expect("written"),
        told: &["apply set a [10.0.0.0/16]"],
    },
    Case {
        what: "a file is written in place bit by bit",
        before: &[("x.yaml", &[A, B])],
        edit: |dir| {
            let mut file = File::create(dir.join("x.yaml")).expect("created");
            for chunk in sets(&[A2, B]).as_bytes().chunks(40) {
                file.write_all(chunk).expect("written");
                file.sync_all().expect("synced");
            }
        },
        told: &["apply set a [10.0.0.0/16]"],
    },
    Case {
        what: "a file goes",
        before: &[("x.yaml", &[A, B]), ("y.yaml", &[("c", "12.0.0.0/8")])],
        edit: |dir| fs::remove_file(dir.join("x.yaml")).expect("removed"),
        told: &["delete set a", "delete set b"],
    },
    Case {
        what: "a file becomes empty",
        before: &[("x.yaml", &[A])],
        edit: |dir| put(&dir.join("x.yaml"), ""),
        told: &["delete set a"],
    },
    Case {
        what: "a file goes and comes back",
        before: &[("x.yaml", &[A])],
        edit: |dir| {
            fs::remove_file(dir.join("x.yaml")).expect("removed");
            put(&dir.join("x.yaml"), &sets(&[A]));
        },
        told: &[],
    },
    Case {
        what: "an editor moves the old file away before it writes the new one",
        before: &[("x.yaml", &[A, B])],
        edit: |dir| {
            fs::rename(dir.join("x.yaml"), dir.join("x.yaml~")).expect("renamed");
            fs::write(dir.join("x.yaml"), sets(&[A2, B])).expect("written");
            fs::remove_file(dir.join("x.yaml~")).expect("removed");
        },
        told: &["apply set a [10.0.0.0/16]"],
    },
    Case {
        what: "a file is renamed",
        before: &[("x.yaml", &[A])],
        edit: |dir| fs::rename(dir.join("x.yaml"), dir.join("y.yml")).expect("renamed"),
        told: &[],
    },
    Case {
        what: "an object moves to another file",
        before: &[("x.yaml", &[A, B])],
        edit: |dir| {
            put(&dir.join("w.yaml"), &sets(&[A]));
            put(&dir.join("x.yaml"), &sets(&[B]));
        },
        told: &[],
    },
    Case {
        what: "a file is renamed to what is not read",
        before: &[("x.yaml", &[A])],
        edit: |dir| fs::rename(dir.join("x.yaml"), dir.join("x.yaml.off")).expect("renamed"),
        told: &["delete set a"],
    },
    Case {
        what: "files come that are not read",
        before: &[],
        edit: |dir| {
            for name in ["x.txt", "yaml", ".x.yaml", ".git/x.yaml", "sub/.x/y.yaml"] {
                put(&dir.join(name), &sets(&[A]));
            }
        },
        told: &[],
    },
    Case {
        what: "a new directory comes with a file at once",
        before: &[],
        edit: |dir| put(&dir.join("sub/sub/x.yaml"), &sets(&[A])),
        told: &["apply set a [10.0.0.0/8]"],
    },
    Case {
        what: "a file below a directory changes",
        before: &[("sub/x.yaml", &[A])],
        edit: |dir| put(&dir.join("sub/x.yaml"), &sets(&[A2])),
        told: &["apply set a [10.0.0.0/16]"],
    },
    Case {
        what: "a directory goes",
        before: &[("sub/sub/x.yaml", &[A]), ("sub/y.yaml", &[B])],
        edit: |dir| fs::remove_dir_all(dir.join("sub")).expect("removed"),
        told: &["delete set a", "delete set b"],
    },
    Case {
        what: "a directory is hidden",
        before: &[("sub/x.yaml", &[A])],
        edit: |dir| fs::rename(dir.join("sub"), dir.join(".sub")).expect("renamed"),
        told: &["delete set a"],
    },
    Case {
        what: "a directory that is moved is still watched",
        before: &[("sub/sub/x.yaml", &[A])],
        edit: |dir| {
            fs::rename(dir.join("sub"), dir.join("moved")).expect("renamed");
            put(&dir.join("moved/sub/x.yaml"), &sets(&[A2]));
        },
        told: &["apply set a [10.0.0.0/16]"],
    },
    Case {
        what: "a directory goes and another comes in its place",
        before: &[("sub/x.yaml", &[A])],
        edit: |dir| {
            fs::remove_dir_all(dir.join("sub")).expect("removed");
            put(&dir.join("sub/y.yaml"), &sets(&[A, B]));
        },
        told: &["apply set b [11.0.0.0/8]"],
    },
];

#[test]
fn an_edit_tells_exactly_what_changed() {
    for Case { what, before, edit, told } in CASES {
        let files: Vec<_> = before.iter().map(|(name, objects)| (*name, sets(objects))).collect();
        let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let followed = Followed::start_patient(&files);
        let mut lines = followed.after(edit);
        // While an object moves it may be seen in two places.
        lines.retain(|line| !line.starts_with("raised") && !line.starts_with("cleared"));
        assert_eq!(lines, *told, "{what}");
    }
}

/// One of several edits in a row.
struct Step {
    what: &'static str,
    edit: fn(&Path),
    told: &'static [&'static str],
}

const STEPS: &[Step] = &[
    Step {
        what: "rename over",
        edit: |dir| put(&dir.join("sub/x.yaml"), &sets(&[A2])),
        told: &["apply set a [10.0.0.0/16]"],
    },
    Step {
        what: "in place",
        edit: |dir| fs::write(dir.join("sub/x.yaml"), sets(&[A])).expect("written"),
        told: &["apply set a [10.0.0.0/8]"],
    },
    Step { what: "new", edit: |dir| put(&dir.join("sub/y.yaml"), &sets(&[B])), told: &["apply set b [11.0.0.0/8]"] },
    Step {
        what: "a directory is moved, and a file below changes",
        edit: |dir| {
            fs::rename(dir.join("sub"), dir.join("other")).expect("renamed");
            put(&dir.join("other/x.yaml"), &sets(&[A2]));
        },
        told: &["apply set a [10.0.0.0/16]"],
    },
    Step {
        what: "a file goes",
        edit: |dir| fs::remove_file(dir.join("other/y.yaml")).expect("removed"),
        told: &["delete set b"],
    },
    Step {
        what: "a directory goes",
        edit: |dir| fs::remove_dir_all(dir.join("other")).expect("removed"),
        told: &["delete set a"],
    },
];

#[test]
fn an_edit_is_told_without_a_token() {
    let followed = Followed::start(&[("sub/x.yaml", &sets(&[A]))]);
    for Step { what, edit, told } in STEPS {
        edit(followed.directory.path());
        assert_eq!(followed.until("settled"), *told, "{what}");
    }
}

#[test]
fn what_is_written_but_never_closed_is_told_when_it_rests() {
    let followed = Followed::start(&[]);
    let mut file = File::create(followed.path("x.yaml")).expect("created");
    file.write_all(sets(&[A]).as_bytes()).expect("written");
    assert_eq!(followed.until("settled"), ["apply set a [10.0.0.0/8]"]);
}

#[test]
fn half_a_file_is_not_judged() {
    let followed = Followed::start_patient(&[("x.yaml", &sets(&[A, B]))]);
    let text = sets(&[A2, B]);
    let (first, rest) = text.split_at(text.len() / 2);
    let mut file = File::create(followed.path("x.yaml")).expect("created");
    file.write_all(first.as_bytes()).expect("written");
    // Another file is read meanwhile, and its whole directory.
    put(&followed.path("new/y.yaml"), &set("c", "12.0.0.0/8"));
    assert_eq!(followed.until("settled"), ["apply set c [12.0.0.0/8]"]);
    file.write_all(rest.as_bytes()).expect("written");
    drop(file);
    assert_eq!(followed.until("settled"), ["apply set a [10.0.0.0/16]"]);
}

/// What is written by another name of the same file is announced to who watches that name.
#[test]
fn what_nobody_announces_is_found_when_somebody_asks() {
    let followed = Followed::start(&[("a.yaml", &set("a", "10.0.0.0/8"))]);
    let elsewhere = TempDir::new().expect("a temporary directory");
    let other_name = elsewhere.path().join("a.yaml");
    fs::hard_link(followed.path("a.yaml"), &other_name).expect("linked");
    fs::write(other_name, set("a", "10.0.0.0/16")).expect("written");
    let told = followed.lines.recv_timeout(Duration::from_millis(300));
    assert!(told.is_err(), "{told:?}");
    followed.remote.ask(Request::Refresh);
    assert_eq!(followed.until("settled"), ["apply set a [10.0.0.0/16]"]);
}

/// Nobody announces that the process has descriptors again, or the disk answers.
#[test]
fn what_cannot_be_read_is_tried_again() {
    let followed = Followed::start(&[("b.yaml", &set("b", "11.0.0.0/8"))]);
    let elsewhere = TempDir::new().expect("a temporary directory");
    let other_name = elsewhere.path().join("a.yaml");
    let file = File::create(&other_name).expect("created");
    file.set_len(MAX_FILE_BYTES + 1).expect("it takes no room");
    fs::hard_link(&other_name, followed.path("a.yaml")).expect("linked");
    let told = followed.until("settled");
    assert!(told.iter().any(|line| line.starts_with("raised") && line.contains("a.yaml")), "{told:?}");
    fs::write(other_name, set("a", "10.0.0.0/8")).expect("written");
    let told = followed.until("settled");
    assert_eq!(told.first().map(String::as_str), Some("apply set a [10.0.0.0/8]"), "{told:?}");
    assert!(told.iter().any(|line| line.starts_with("cleared")), "{told:?}");
}

/// What is above the directory is not watched.
#[test]
fn another_directory_in_its_place_is_found() {
    let top = TempDir::new().expect("a temporary directory");
    let root = top.path().join("above/manifests");
    put(&root.join("a.yaml"), &set("a", "10.0.0.0/8"));
    let source = open(&root);
    let followed = Followed::run(top, source, |source, sink| source.run(sink));
    fs::rename(followed.path("above"), followed.path("before")).expect("moved");
    put(&root.join("a.yaml"), &set("a", "10.0.0.0/16"));
    assert_eq!(followed.until("settled"), ["apply set a [10.0.0.0/16]"]);
    put(&root.join("a.yaml"), &set("a", "10.0.0.0/24"));
    assert_eq!(followed.until("settled"), ["apply set a [10.0.0.0/24]"], "it is watched from then on");
}
