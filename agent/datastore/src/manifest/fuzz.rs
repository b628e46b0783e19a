//! What must hold of any text at all that is read the quick way.

use serde_json::Value;

use super::{json, split, yaml};

/// Reads each document of a file both ways, and what it holds once more as JSON.
///
/// # Panics
/// If the ways differ.
pub(crate) fn ways_agree(file: &[u8]) {
    for text in split::chunks(file).filter_map(|chunk| std::str::from_utf8(chunk.bytes).ok()) {
        check(text);
        if let Ok(Some(tree)) = yaml::parse(text) {
            let again = tree.value.to_string();
            if let Some(quick) = check(&again) {
                assert_eq!(quick, tree.value, "{again}");
            }
        }
    }
}

/// What the quick way gives, if it gives anything, is what YAML's parser gives,
/// but for texts of which that says that they have characters that YAML has not.
#[track_caller]
pub(super) fn check(text: &str) -> Option<Value> {
    let quick = json::parse(text)?;
    match yaml::parse(text) {
        Ok(slow) => {
            let slow = slow.expect("it is not empty");
            assert_eq!((&quick.value, quick.line), (&slow.value, slow.line), "{text}");
            assert_eq!(quick.item_lines, slow.item_lines, "{text}");
        }
        Err(broken) => assert!(broken.reason.starts_with("unexpected character"), "{text}: {}", broken.reason),
    }
    Some(quick.value)
}
