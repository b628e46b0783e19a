//! What cannot be taken, and what stays in force meanwhile.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::{Followed, put, set};
use crate::manifest::limits::MAX_PROBLEMS;

const BAD_NET: &str = "10.0.0.0/64";

/// A document that names the object and is refused.
fn refused(name: &str) -> String {
    set(name, BAD_NET)
}

/// The lines without the reason, which admission chooses.
fn outline(lines: Vec<String>) -> Vec<String> {
    let cut = |line: String| match line.split_once(": spec.nets") {
        Some((start, rest)) if rest.contains("another version stays in force") => format!("{start}: kept"),
        Some((start, _)) => start.to_owned(),
        None => line,
    };
    lines.into_iter().map(cut).collect()
}

#[test]
fn a_refused_edit_leaves_the_last_admitted_version_in_force() {
    let followed = Followed::start_patient(&[("x.yaml", &set("a", "10.0.0.0/8"))]);
    let told = |text: &str| outline(followed.after(|dir| put(&dir.join("x.yaml"), text)));

    let raised = "raised x.yaml:4: GlobalNetworkSet a: kept";
    let cleared = "cleared x.yaml:4: GlobalNetworkSet a: kept";
    assert_eq!(told(&refused("a")), [raised]);
    assert_eq!(told(&set("a", "10.0.0.0/8")), [cleared], "as before");
    assert_eq!(told(&refused("a")), [raised]);
    assert_eq!(told(&set("a", "10.0.0.0/16")), ["apply set a [10.0.0.0/16]", cleared], "mended");
    assert_eq!(told(&refused("a")), [raised]);
    assert_eq!(told(""), ["delete set a", cleared], "nobody names it any more");
    assert_eq!(told(&refused("a")), ["raised x.yaml:4: GlobalNetworkSet a"], "nothing is in force");
}

#[test]
fn a_refused_object_that_moves_stays_in_force() {
    let followed = Followed::start_patient(&[("x.yaml", &set("a", "10.0.0.0/8"))]);
    let told = outline(followed.after(|dir| {
        put(&dir.join("x.yaml"), &refused("a"));
        fs::rename(dir.join("x.yaml"), dir.join("y.yaml")).expect("renamed");
    }));
    assert_eq!(told.last().map(String::as_str), Some("raised y.yaml:4: GlobalNetworkSet a: kept"), "{told:?}");
    assert!(!told.iter().any(|line| line.starts_with("apply") || line.starts_with("delete")), "{told:?}");
}

#[test]
fn a_valid_version_elsewhere_takes_the_place_of_a_refused_one() {
    let followed =
        Followed::start_patient(&[("x.yaml", &set("a", "10.0.0.0/8")), ("y.yaml", &set("a", "10.0.0.0/16"))]);
    let told = outline(followed.after(|dir| put(&dir.join("x.yaml"), &refused("a"))));
    assert_eq!(
        told,
        [
            "apply set a [10.0.0.0/16]",
            "raised x.yaml:4: GlobalNetworkSet a: kept",
            "cleared y.yaml:1: GlobalNetworkSet a is also at x.yaml:1, which counts",
        ]
    );
}

/// Nothing that was meant for another kind takes a policy out of force: these are what editing
/// `apiVersion` and `kind` comes to.
#[test]
fn a_slip_in_what_an_object_is_keeps_the_version_in_force() {
    let good = set("a", "10.0.0.0/8");
    for (from, to, field) in [
        ("projectcalico.org/v3", "projectcalico.org/v4", "apiVersion"),
        ("projectcalico.org/v3", "projectcalcio.org/v3", "apiVersion"),
        ("kind: GlobalNetworkSet", "kind: GlobalNetworkset", "kind"),
    ] {
        let followed = Followed::start_patient(&[("x.yaml", &good)]);
        let slip = good.replace(from, to);
        assert_ne!(slip, good, "{from}");
        let told = followed.after(|dir| put(&dir.join("x.yaml"), &slip));
        let [raised] = told.as_slice() else { panic!("{told:?}") };
        assert!(raised.contains(&format!("GlobalNetworkSet a: {field}: \"")), "{raised}");
        assert!(raised.ends_with("another version stays in force"), "{raised}");
    }
}

/// Where a file ends within a document, others may have followed.
#[test]
fn a_file_that_is_cut_off_loses_nothing() {
    let both = format!("{}---\n{}", set("a", "10.0.0.0/8"), set("b", "11.0.0.0/8"));
    let followed = Followed::start_patient(&[("x.yaml", &both)]);
    let cut = both.find("10.0").expect("it is there");
    let told = followed.after(|dir| put(&dir.join("x.yaml"), &both[..cut]));
    let [raised] = told.as_slice() else { panic!("{told:?}") };
    assert!(raised.contains("GlobalNetworkSet a: ") && raised.ends_with("another version stays in force"), "{raised}");
    let told = followed.after(|dir| put(&dir.join("x.yaml"), &set("a", "10.0.0.0/8")));
    let [deleted, cleared] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((deleted.as_str(), cleared.starts_with("cleared")), ("delete set b", true), "it says all again");
}

#[test]
fn what_cannot_be_read_keeps_the_objects_that_it_may_name() {
    let both = format!("{}---\n{}", set("a", "10.0.0.0/8"), set("b", "11.0.0.0/8"));
    let followed = Followed::start_patient(&[("x.yaml", &both)]);
    let broken = format!("{}---\nkind: [", set("a", "10.0.0.0/16"));
    let told = followed.after(|dir| put(&dir.join("x.yaml"), &broken));
    let [applied, raised] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(applied, "apply set a [10.0.0.0/16]", "the other documents count");
    assert!(raised.starts_with("raised x.yaml:6: "), "{raised}");
    let told = followed.after(|dir| put(&dir.join("x.yaml"), &set("a", "10.0.0.0/16")));
    assert_eq!(told, ["delete set b", &raised.replace("raised", "cleared")]);
}

#[test]
fn the_first_of_two_documents_counts_and_the_other_takes_over() {
    let twice = format!("{}---\n{}", set("a", "10.2.0.0/16"), set("a", "10.3.0.0/16"));
    let followed = Followed::start_patient(&[("x.yaml", &set("a", "10.1.0.0/16")), ("y.yaml", &twice)]);
    let told = followed.after(|dir| fs::remove_file(dir.join("x.yaml")).expect("removed"));
    assert_eq!(
        told,
        [
            "apply set a [10.2.0.0/16]",
            "cleared y.yaml:1: GlobalNetworkSet a is also at x.yaml:1, which counts",
            "cleared y.yaml:6: GlobalNetworkSet a is also at x.yaml:1, which counts",
            "raised y.yaml:6: GlobalNetworkSet a is also at y.yaml:1, which counts",
        ]
    );
    let told = followed.after(|dir| put(&dir.join("w.yaml"), &set("a", "10.0.0.0/16")));
    assert_eq!(
        told,
        [
            "apply set a [10.0.0.0/16]",
            "cleared y.yaml:6: GlobalNetworkSet a is also at y.yaml:1, which counts",
            "raised y.yaml:1: GlobalNetworkSet a is also at w.yaml:1, which counts",
            "raised y.yaml:6: GlobalNetworkSet a is also at w.yaml:1, which counts",
        ]
    );
}

#[test]
fn a_kind_that_is_not_read_is_named_once() {
    let followed = Followed::start_patient(&[]);
    let deployment = |name: &str| format!("apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\n");
    let both = format!("{}---\n{}", deployment("a"), deployment("b"));
    let told = followed.after(|dir| put(&dir.join("x.yaml"), &both));
    assert_eq!(told, ["skipped apps/v1 Deployment at x.yaml:1"]);
    let told = followed.after(|dir| put(&dir.join("y.yaml"), &both));
    assert!(told.is_empty(), "{told:?}");
}

#[test]
fn a_pool_keeps_its_prefix_and_its_blocks() {
    let pool =
        |spec: &str| format!("apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {{name: p}}\nspec: {spec}\n");
    let followed = Followed::start_patient(&[("pool.yaml", &pool("{cidr: 10.64.0.0/16}"))]);
    let told = |spec: &str| followed.after(|dir| put(&dir.join("pool.yaml"), &pool(spec)));
    // What else changes is followed; the default of a block's size may be written down.
    let good = "{cidr: 10.64.0.0/16, natOutgoing: true, blockSize: 26}";
    assert_eq!(told(good), ["apply pool p"]);
    for (spec, line, field, was) in [
        ("{natOutgoing: false,\n  cidr: 10.65.0.0/16}", 5, "cidr", "\"10.64.0.0/16\""),
        ("\n  cidr: 10.64.0.0/16\n  blockSize: 28", 6, "blockSize", "26"),
    ] {
        let problem = format!(
            "pool.yaml:{line}: IPPool p: spec.{field}: cannot change, it was {was}: remove the object first, or name \
             another one; another version stays in force"
        );
        assert_eq!(told(spec), [format!("raised {problem}")]);
        assert_eq!(told(good), [format!("cleared {problem}")]);
    }
    // One that was removed binds nobody.
    assert_eq!(followed.after(|dir| put(&dir.join("pool.yaml"), "")), ["delete pool p"]);
    assert_eq!(told("{cidr: 10.66.0.0/16}"), ["apply pool p"]);
}

/// What nobody could read yet has nothing in force, whatever it may say.
#[test]
fn what_was_never_read_is_not_said_to_be_in_force() {
    let followed = Followed::start_patient(&[("empty.yaml", "# nothing\n")]);
    for name in ["new.yaml", "empty.yaml"] {
        let told = followed.after(|dir| {
            fifo(&dir.join(".made"));
            fs::rename(dir.join(".made"), dir.join(name)).expect("renamed");
        });
        assert_eq!(
            told,
            [format!("raised cannot read {name}: it is a FIFO, not a file; nothing that it may say is in force")]
        );
    }
}

fn fifo(path: &Path) {
    mkfifo(path, Mode::S_IRWXU).expect("made");
}

#[test]
fn what_takes_a_files_place_and_is_none_is_named_and_loses_nothing() {
    let followed = Followed::start_patient(&[("x.yaml", &set("a", "10.0.0.0/8"))]);
    type Make = fn(&Path);
    let kinds: [(&str, Make); 5] = [
        ("a FIFO", fifo),
        ("a directory", |path| fs::create_dir(path).expect("made")),
        ("a socket", |path| drop(UnixListener::bind(path).expect("bound"))),
        ("a device", |path| symlink("/dev/zero", path).expect("linked")),
        ("a directory", |path| symlink("/tmp", path).expect("linked")),
    ];
    for (what, make) in kinds {
        let problem = format!("cannot read x.yaml: it is {what}, not a file; what it last said stays in force");
        let told = followed.after(|dir| {
            make(&dir.join(".made"));
            fs::remove_file(dir.join("x.yaml")).expect("removed");
            fs::rename(dir.join(".made"), dir.join("x.yaml")).expect("renamed");
        });
        assert_eq!(told, [format!("raised {problem}")]);
        let told = followed.after(|dir| {
            fs::rename(dir.join("x.yaml"), dir.join(".gone")).expect("renamed");
            put(&dir.join("x.yaml"), &set("a", "10.0.0.0/8"));
            let _ = fs::remove_file(dir.join(".gone")).or_else(|_| fs::remove_dir(dir.join(".gone")));
        });
        assert_eq!(told, [format!("cleared {problem}")], "{what}");
    }
}

/// A name or a text from a manifest cannot pass for a line of the log.
#[test]
fn what_has_control_characters_is_told_in_one_line() {
    let followed = Followed::start_patient(&[]);
    let told = followed.after(|dir| {
        let name = OsStr::from_bytes(b"\x1b[2J\xff\nINFO.yaml");
        put(&dir.join(name), "kind: GlobalNetworkSet\nmetadata: {name: \"a\\nb\"}\n");
    });
    let [line] = told.as_slice() else { panic!("{told:?}") };
    assert!(line.starts_with("raised \\u{1b}[2J\u{fffd}\\nINFO.yaml:1: ") && !line.contains('\n'), "{line}");
}

/// Who opened it would wait for a writer, and follow nothing meanwhile.
#[test]
fn a_fifo_in_the_tokens_place_stops_nothing() {
    let followed = Followed::start(&[]);
    fifo(&followed.path(".sync"));
    put(&followed.path("x.yaml"), &set("a", "10.0.0.0/8"));
    assert_eq!(followed.until("settled"), ["apply set a [10.0.0.0/8]"]);
    // It may have become one since it was looked at.
    let path = followed.path(".sync");
    let read = super::super::read_bounded(&path, 1).expect_err("it is no file");
    assert_eq!(read.to_string(), "it is a FIFO, not a file");
}

#[test]
fn of_very_many_problems_the_first_are_told_and_the_rest_is_counted() {
    let followed = Followed::start_patient(&[("x.yaml", &set("old", "10.0.0.0/8"))]);
    let documents = |count: usize, text: fn(usize) -> String| (0..count).map(text).collect::<Vec<_>>().join("---\n");
    let told = |text: &str| followed.after(|dir| put(&dir.join("x.yaml"), text));

    // With one more that a version is in force of.
    let text = format!("{}---\n{}", documents(2 * MAX_PROBLEMS, |i| refused(&format!("s{i}"))), refused("old"));
    let lines = told(&text);
    assert_eq!(lines.len(), MAX_PROBLEMS + 1, "{lines:#?}");
    assert!(lines[0].starts_with("raised x.yaml:4: GlobalNetworkSet s0: "), "{}", lines[0]);
    let more = "x.yaml: 101 more documents are not taken as they are, 100 of them with nothing in force";
    assert_eq!(lines[MAX_PROBLEMS], format!("raised {more}"));
    // What is not told one by one has no line of its own when it goes.
    let lines =
        told(&format!("{}---\n{}", documents(MAX_PROBLEMS, |i| refused(&format!("s{i}"))), set("old", "10.0.0.0/8")));
    assert_eq!(lines, [format!("cleared {more}")]);
    assert_eq!(told("").len(), MAX_PROBLEMS + 1, "an object and each problem");

    for (text, expected) in [
        // What names no object.
        (documents(MAX_PROBLEMS + 7, |_| "kind: [\n".to_owned()), "7 more documents are not taken as they are, 7 of"),
        // One object again and again.
        (documents(MAX_PROBLEMS + 8, |_| set("a", "10.0.0.0/8")), "7 more documents are not taken as they are, 0 of"),
    ] {
        let lines = told(&text);
        let more = lines.iter().filter(|line| line.starts_with("raised x.yaml: ")).collect::<Vec<_>>();
        assert!(more.len() == 1 && more[0].contains(expected), "{expected}: {more:#?}");
    }
}
