//! The page `docs/limits.md` says what the program does.

use std::collections::BTreeMap;

use caracal_agent::{encode, status, sync};
use caracal_datastore::manifest::limits;

const PAGE: &str = include_str!("../../docs/limits.md");

/// Every limit that the page is to list, as the program has it.
fn limits() -> BTreeMap<&'static str, u64> {
    let size = |size: usize| u64::try_from(size).expect("a size has 64 bits");
    BTreeMap::from([
        ("manifest::limits::MAX_FILE_BYTES", limits::MAX_FILE_BYTES),
        ("manifest::limits::MAX_OBJECT_BYTES", size(limits::MAX_OBJECT_BYTES)),
        ("manifest::limits::MAX_OBJECTS", size(limits::MAX_OBJECTS)),
        ("manifest::limits::MAX_NODES", size(limits::MAX_NODES)),
        ("manifest::limits::MAX_DEPTH", size(limits::MAX_DEPTH)),
        ("manifest::limits::MAX_ALIASED_NODES", size(limits::MAX_ALIASED_NODES)),
        ("manifest::limits::MAX_COPIED_BYTES", size(limits::MAX_COPIED_BYTES)),
        ("manifest::limits::MAX_ANNOTATION_BYTES", size(limits::MAX_ANNOTATION_BYTES)),
        ("manifest::limits::MAX_TOKEN_BYTES", limits::MAX_TOKEN_BYTES),
        ("selector::MAX_DEPTH", size(caracal_selector::MAX_DEPTH)),
        ("selector::MAX_LABEL_BYTES", size(caracal_selector::MAX_LABEL_BYTES)),
        ("encode::MAX_MEMBERS", size(encode::MAX_MEMBERS)),
        ("sync::WINDOW", size(sync::WINDOW)),
        ("status::MAX_FLOWS", size(status::MAX_FLOWS)),
        ("sync::MAX_MESSAGE_BYTES", size(sync::MAX_MESSAGE_BYTES)),
    ])
}

/// The rows of the page's tables that name a limit, with its number and reason.
fn rows() -> Vec<(&'static str, u64, &'static str)> {
    let row = |line: &'static str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, value, why] = cells.as_slice() else { return None };
        let name = name.strip_prefix('`')?.strip_suffix('`')?;
        Some((name, value.parse().unwrap_or_else(|_| panic!("{line}: the value is a number")), *why))
    };
    PAGE.lines().filter(|line| line.starts_with('|')).filter_map(row).collect()
}

#[test]
fn the_page_lists_every_limit_with_its_value_and_reason() {
    let written: BTreeMap<&str, u64> = rows().into_iter().map(|(name, value, _)| (name, value)).collect();
    assert_eq!(written, limits());
    for (name, _, why) in rows() {
        assert!(why.len() > 20, "{name}: {why:?} is no reason");
    }
}

/// A limit that is added must come to the page.
#[test]
fn no_limit_of_manifests_is_left_out() {
    let source = include_str!("../datastore/src/manifest/limits.rs");
    let constants = source.lines().filter_map(|line| line.strip_prefix("pub const ")?.split(':').next());
    for constant in constants {
        let name = format!("manifest::limits::{constant}");
        assert!(limits().contains_key(name.as_str()), "{name}");
    }
}
