use std::time::Instant;

use super::super::Moment;
use super::*;

fn id(workload: &str) -> WorkloadId {
    WorkloadId { orchestrator: "k8s".into(), workload: workload.into(), endpoint: "eth0".into() }
}

fn workload() -> Workload {
    Workload { interface: "cali1".into(), ipv4_nets: vec!["10.0.0.1/32".into()], active: true, ..Workload::default() }
}

fn receipt(outcome: Outcome, reason: &str) -> Receipt {
    Receipt { outcome, reason: reason.to_owned(), revision: 1, at: Moment::now() }
}

#[test]
fn a_file_is_felixs_and_is_there_for_what_is_in_force_only() {
    let file = file_of(&id("default/pod-0"), &workload(), &receipt(Outcome::Programmed, ""));
    let (name, content) = file.expect("it is in force");
    assert_eq!(name, "k8s default%2Fpod-0 eth0");
    assert_eq!(content, r#"{"ifaceName":"cali1","ipv4Nets":["10.0.0.1/32"]}"#);
    for (outcome, reason) in [
        (Outcome::Programmed, "cannot write a route"),
        (Outcome::WaitingForInterface, ""),
        (Outcome::Shadowed, ""),
        (Outcome::Quarantined, "refused"),
    ] {
        assert_eq!(file_of(&id("a"), &workload(), &receipt(outcome, reason)), None, "{outcome:?} {reason}");
    }
    let down = Workload { active: false, ..workload() };
    assert_eq!(file_of(&id("a"), &down, &receipt(Outcome::Programmed, "")), None);
    assert_eq!(escape("a b/ä;:@"), "a%20b%2F%C3%A4%3B:@");
}

/// The names and contents in the directory, once they are as they should be.
fn eventually(prefix: &Path, want: &[(&str, &str)]) {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let mut found: Vec<(String, String)> = fs::read_dir(prefix.join("endpoint-status"))
            .map(|entries| entries.filter_map(Result::ok).collect::<Vec<_>>())
            .unwrap_or_default()
            .into_iter()
            .filter_map(|entry| Some((entry.file_name().into_string().ok()?, fs::read_to_string(entry.path()).ok()?)))
            .collect();
        found.sort();
        let found: Vec<(&str, &str)> = found.iter().map(|(name, content)| (name.as_str(), content.as_str())).collect();
        if found == want {
            return;
        }
        assert!(Instant::now() < deadline, "{found:?} instead of {want:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_directory_holds_what_is_wanted_and_stays_as_it_is_before_that() {
    let directory = tempfile::tempdir().expect("a directory");
    let prefix = directory.path();
    let wanted = |files: &[(&str, &str)]| Wanted {
        prefix: prefix.to_owned(),
        files: files.iter().map(|(name, content)| ((*name).to_owned(), (*content).to_owned())).collect(),
    };
    fs::create_dir(prefix.join("endpoint-status")).expect("a directory");
    fs::write(prefix.join("endpoint-status/left"), "by an earlier run").expect("a file");
    fs::write(prefix.join("endpoint-status/kept"), "1").expect("a file");

    let keeper = Keeper::start(Troubles::default()).expect("a thread");
    std::thread::sleep(Duration::from_millis(50));
    eventually(prefix, &[("kept", "1"), ("left", "by an earlier run")]);
    keeper.keep(wanted(&[("kept", "1"), ("new", "2")]));
    eventually(prefix, &[("kept", "1"), ("new", "2")]);
    keeper.keep(wanted(&[("new", "3")]));
    eventually(prefix, &[("new", "3")]);
    drop(keeper);
    eventually(prefix, &[("new", "3")]);
}

#[test]
fn no_file_stays_below_an_earlier_prefix() {
    let directories = [(); 3].map(|()| tempfile::tempdir().expect("a directory"));
    let wanted = |at: usize, files: &[&str]| Wanted {
        prefix: directories[at].path().to_owned(),
        files: files.iter().map(|name| ((*name).to_owned(), "1".to_owned())).collect(),
    };
    let check = |want: [&[(&str, &str)]; 3]| {
        directories.iter().zip(want).for_each(|(directory, want)| eventually(directory.path(), want));
    };
    let keeper = Keeper::start(Troubles::default()).expect("a thread");
    keeper.keep(wanted(0, &["a"]));
    check([&[("a", "1")], &[], &[]]);
    // The second one comes right behind the first.
    keeper.keep(wanted(1, &["a"]));
    keeper.keep(wanted(2, &["a", "b"]));
    check([&[], &[], &[("a", "1"), ("b", "1")]]);
    keeper.keep(wanted(0, &["c"]));
    check([&[("c", "1")], &[], &[]]);
    keeper.keep(wanted(0, &[]));
    check([&[], &[], &[]]);
}

#[test]
fn without_the_directory_above_nothing_is_made() {
    let directory = tempfile::tempdir().expect("a directory");
    let prefix = directory.path().join("absent");
    let files = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
    settle(&Wanted { prefix: prefix.clone(), files: files.clone() }).expect("nothing to do");
    assert!(!prefix.exists());
    fs::create_dir(&prefix).expect("a directory");
    settle(&Wanted { prefix: prefix.clone(), files }).expect("it can be written");
    eventually(&prefix, &[("a", "1")]);
}

#[test]
fn what_keeps_files_from_being_written_is_told_until_it_is_gone() {
    let directory = tempfile::tempdir().expect("a directory");
    let in_the_way = directory.path().join("endpoint-status");
    fs::write(&in_the_way, "").expect("written");
    let troubles = Troubles::default();
    let keeper = Keeper::start(troubles.clone()).expect("a thread");
    keeper.keep(Wanted { prefix: directory.path().to_owned(), files: [("a".to_owned(), "x".to_owned())].into() });
    let until = |is_so: fn(&[(&'static str, String)]) -> bool| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_so(&troubles.all()) {
            assert!(Instant::now() < deadline, "{:?}", troubles.all());
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    until(|all| matches!(all, [(WHAT, why)] if why.starts_with("cannot be kept below ")));
    fs::remove_file(in_the_way).expect("it is there");
    eventually(directory.path(), &[("a", "x")]);
    until(|all| all.is_empty());
}
