use std::fs;

use super::*;

/// The health port that counts, and what is said to be wrong.
fn state(configuration: &Configuration) -> (u16, Vec<String>) {
    let problems = configuration.problems().iter().map(ToString::to_string);
    (configuration.settings().health.port, problems.collect())
}

#[test]
fn the_file_is_followed_and_its_last_good_text_counts() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("felix.cfg");
    fs::write(&path, "HealthPort = 1\n").expect("the directory can be written");
    let mut configuration = Configuration::load(Some(&path), Some("node-a")).expect("it can be used");
    assert_eq!(state(&configuration), (1, vec![]));
    let unusable = |reason: &str| {
        format!("{} \"\" from config file: cannot be used, what it last said counts: {reason}", path.display())
    };
    let broken = unusable("line 1: expected name = text, [section] or a comment");
    let bad = "HealthPort \"x\" from config file: expected a whole number from 0 to 65535; \
               the last good value \"3\" is in force"
        .to_owned();
    let gone = unusable(&format!(
        "cannot read the configuration file {}: No such file or directory (os error 2)",
        path.display()
    ));
    for (text, port, problems) in [
        (Some("HealthPort = 2\n"), 2, vec![]),
        (Some("HealthPort\n"), 2, vec![broken]),
        (Some("HealthPort = 3\n"), 3, vec![]),
        (Some("HealthPort = x\n"), 3, vec![bad]),
        (Some("HealthPort = 4\n"), 4, vec![]),
        (None, 4, vec![gone]),
        (Some("LogPrefix = x\n"), 9099, vec![]),
    ] {
        match text {
            Some(text) => fs::write(&path, text).expect("the directory can be written"),
            None => fs::remove_file(&path).expect("it is there"),
        }
        for time in ["once", "again"] {
            configuration.look_at_file();
            assert_eq!(state(&configuration), (port, problems.clone()), "{text:?} {time}");
        }
    }
}
