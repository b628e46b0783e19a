//! The page `docs/limits.md` says what the program does.

use std::collections::BTreeMap;

use caracal_agent::{encode, status, sync};
use caracal_datastore::manifest::limits;

const PAGE: &str = include_str!("../../docs/limits.md");

/// Limits that only one file has a use for: what the page calls them, and where they stand.
const PRIVATE: [(&str, &str); 20] = [
    ("datastore::file::link::MAX_LINKS", include_str!("../datastore/src/file/link.rs")),
    ("control::inbox::CAPACITY", include_str!("../src/control/inbox.rs")),
    ("thread::QUEUE", include_str!("../../dataplane/src/thread.rs")),
    ("connect::replies::WAITING", include_str!("../src/sync/connect/replies.rs")),
    ("policysync::queue::MAX_WAITING", include_str!("../src/policysync/queue.rs")),
    ("policysync::authority::MAX_FRAME", include_str!("../src/policysync/authority.rs")),
    ("policysync::authority::MAX_HEADERS", include_str!("../src/policysync/authority.rs")),
    ("policysync::credentials::MAX_BYTES", include_str!("../src/policysync/credentials.rs")),
    ("external::framing::MAX_BYTES", include_str!("../../dataplane/external/src/framing.rs")),
    ("external::pace::BURST", include_str!("../../dataplane/external/src/pace.rs")),
    ("external::child::MAX_LINE", include_str!("../../dataplane/external/src/child.rs")),
    ("policysync::serve::CONNECTIONS", include_str!("../src/policysync/serve.rs")),
    ("logging::queue::ROOM", include_str!("../src/logging/queue.rs")),
    ("http::CONNECTIONS", include_str!("../src/http.rs")),
    ("admin::client::MAX_ANSWER_BYTES", include_str!("../src/admin/client.rs")),
    ("sets::MOST_COPIED", include_str!("../../dataplane/nftables/src/sets.rs")),
    ("counters::tally::MOST_SUMS", include_str!("../../dataplane/nftables/src/driver/counters/tally.rs")),
    ("commit::MOST_KEPT", include_str!("../../dataplane/nftables/src/driver/commit.rs")),
    ("conntrack::listing::AHEAD", include_str!("../../dataplane/sys/src/conntrack/listing.rs")),
    ("conntrack::cut::LIMIT", include_str!("../../dataplane/sys/src/conntrack/cut.rs")),
];

/// A constant's number as its file writes it: `4096`, `4_096` or `64 << 10`.
fn constant(path: &str, source: &str) -> u64 {
    let name = path.rsplit("::").next().expect("a path has a last part");
    let written = source.lines().find_map(|line| {
        let (_, typed) = line.split_once(&format!("const {name}: "))?;
        typed.split_once(" = ")?.1.strip_suffix(';')
    });
    let written = written.unwrap_or_else(|| panic!("{path} is not where it was"));
    let number = |text: &str| -> u64 { text.replace('_', "").parse().unwrap_or_else(|_| panic!("{path} = {written}")) };
    match written.split_once(" << ") {
        Some((number_of, bits)) => number(number_of) << number(bits),
        None => number(written),
    }
}

/// Every limit that the page is to list, as the program has it.
fn limits() -> BTreeMap<&'static str, u64> {
    let size = |size: usize| u64::try_from(size).expect("a size has 64 bits");
    let mut limits = BTreeMap::from([
        ("manifest::limits::MAX_FILE_BYTES", limits::MAX_FILE_BYTES),
        ("manifest::limits::MAX_OBJECT_BYTES", size(limits::MAX_OBJECT_BYTES)),
        ("manifest::limits::MAX_OBJECTS", size(limits::MAX_OBJECTS)),
        ("manifest::limits::MAX_PROBLEMS", size(limits::MAX_PROBLEMS)),
        ("manifest::limits::MAX_SEARCHES", size(limits::MAX_SEARCHES)),
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
    ]);
    limits.extend(PRIVATE.map(|(path, source)| (path, constant(path, source))));
    limits
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
