//! What must hold of any file at all. Driven by the fuzz target beside this
//! crate, by the test that replays its corpus, and by property tests.

use std::path::Path;

use super::{Admitted, admit};
use crate::manifest::{fuzz, read_documents};

/// Reads the bytes as a manifest, admits what it holds and asserts what must
/// hold of it.
///
/// # Panics
///
/// If something does not hold.
pub fn fuzz_one(data: &[u8]) {
    fuzz::ways_agree(data);
    // YAML counts a carriage return alone as a line break.
    let lines = 1 + data.iter().filter(|byte| b"\r\n".contains(byte)).count();
    let mut last_index = 0;
    for document in read_documents(Path::new("fuzz.yaml"), data) {
        let (index, line) = match &document {
            Ok(document) => (document.index, document.line),
            Err(refusal) => (refusal.index, refusal.line),
        };
        assert!(index >= last_index, "documents are in the file's order");
        last_index = index;
        assert!((1..=lines).contains(&line), "line {line} of {lines}");
        let mut again = document.clone();
        match document.and_then(admit) {
            Ok(Admitted::Skipped { kind }) => assert!(!kind.is_empty()),
            Ok(Admitted::Object { kind, object, value }) => {
                assert_eq!(object.resource_kind(), Some(kind));
                if let Ok(again) = &mut again {
                    again.value = value.clone();
                }
                match again.and_then(admit) {
                    Ok(Admitted::Object { value: stored, .. }) => assert_eq!(stored, value, "what is stored stays"),
                    other => panic!("{object} was admitted, then it was {other:?}"),
                }
            }
            Err(refusal) => {
                assert!((1..=lines).contains(&refusal.line), "{refusal}: {lines} lines");
                assert!(refusal.to_string().ends_with(&refusal.reason));
            }
        }
    }
}
