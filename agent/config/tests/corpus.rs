//! Replays the fuzz target's corpus.

use std::fs;
use std::path::Path;

#[test]
fn corpus_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/values");
    let mut replayed = 0;
    for entry in fs::read_dir(&folder).expect("the corpus is there") {
        let path = entry.expect("the corpus can be listed").path();
        caracal_config::fuzz::fuzz_one(&fs::read(&path).expect("a case can be read"));
        replayed += 1;
    }
    assert!(replayed >= 12, "{replayed} cases in {}", folder.display());
}
