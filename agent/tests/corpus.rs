//! Replays the fuzz targets' corpora.

use std::fs;
use std::path::Path;

use caracal_agent::{policysync, sync};

/// A target's name, what it runs, and the least number of cases.
type Target = (&'static str, fn(&[u8]), usize);

#[test]
fn corpora_hold() {
    let targets: [Target; 3] = [
        ("sync-to-data", sync::fuzz::to_data, 5),
        ("sync-from-data", sync::fuzz::from_data, 4),
        ("policysync", policysync::fuzz::fuzz_one, 5),
    ];
    for (target, fuzz_one, least) in targets {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let mut replayed = 0;
        for entry in fs::read_dir(&folder).expect("the corpus is there") {
            let path = entry.expect("the corpus can be listed").path();
            fuzz_one(&fs::read(&path).expect("a case can be read"));
            replayed += 1;
        }
        assert!(replayed >= least, "{replayed} cases in {}", folder.display());
    }
}
