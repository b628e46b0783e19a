//! The calculation oracle's scenarios list which objects a cluster refuses, and
//! which of its gates does. Exactly those must be refused here.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use caracal_datastore::admit::admit;
use caracal_datastore::manifest::{ResourceKind, read_documents};
use serde::Deserialize;

#[derive(Deserialize)]
struct Scenario {
    #[serde(default)]
    refused: Vec<Refused>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Refused {
    file: PathBuf,
    doc: usize,
    kind: String,
    #[serde(default)]
    namespace: Option<String>,
    name: String,
    layer: String,
}

/// The objects of a directory that are refused.
fn refused(state: &Path) -> BTreeSet<Refused> {
    let mut refused = BTreeSet::new();
    for path in files(state) {
        let file = path.strip_prefix(state).expect("files are below their directory");
        let text = fs::read(&path).expect("a manifest can be read");
        for document in read_documents(file, text) {
            let Err(refusal) = document.and_then(admit) else {
                continue;
            };
            let object = *refusal.object.expect("each refused object of the oracle has a name");
            refused.insert(Refused {
                file: file.to_owned(),
                doc: refusal.index,
                kind: object.kind,
                namespace: object.namespace,
                name: object.name,
                layer: refusal.layer.as_str().to_owned(),
            });
        }
    }
    refused
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in entries(directory) {
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path);
        }
    }
    files
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory)
        .unwrap_or_else(|e| panic!("{}: {e}", directory.display()))
        .map(|entry| entry.expect("a directory can be listed").path())
        .collect()
}

#[test]
fn what_the_oracle_refuses_is_refused_and_nothing_else() {
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fv-tests/data/calc");
    let is_read = |kind: &str| ResourceKind::ALL.iter().any(|known| known.kind() == kind);
    let mut total = 0;
    for scenario in entries(&scenarios) {
        let state = scenario.join("state");
        if !state.is_dir() {
            continue;
        }
        let text = fs::read(scenario.join("scenario.json")).expect("a scenario says what it is");
        let expected: Scenario = serde_json::from_slice(&text).expect("a scenario is JSON");
        let expected: BTreeSet<_> = expected.refused.into_iter().filter(|object| is_read(&object.kind)).collect();
        total += expected.len();
        assert_eq!(refused(&state), expected, "{}", scenario.display());
    }
    assert!(total >= 8, "{total} refused objects in all scenarios");
}
