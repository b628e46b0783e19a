//! The walls between the crates, as `ARCHITECTURE.md` states them, read from
//! `cargo metadata` and from the source tree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What each crate may depend on, of ours.
const ALLOWED: &[(&str, &[&str])] = &[
    ("caracal-net", &[]),
    ("caracal-selector", &[]),
    ("caracal-proto", &["caracal-net"]),
    ("caracal-model", &["caracal-net", "caracal-selector"]),
    ("caracal-calc-graph", &["caracal-model", "caracal-selector", "caracal-net"]),
    ("caracal-config", &["caracal-net"]),
    ("caracal-program", &["caracal-proto", "caracal-net"]),
    ("caracal-sys", &["caracal-net"]),
    ("caracal-nftables", &["caracal-program", "caracal-config", "caracal-sys", "caracal-proto", "caracal-net"]),
    ("caracal-external", &["caracal-proto"]),
    (
        "caracal-dataplane",
        &["caracal-nftables", "caracal-program", "caracal-config", "caracal-sys", "caracal-proto", "caracal-net"],
    ),
    ("caracal-datastore", &["caracal-model", "caracal-config", "caracal-selector", "caracal-net"]),
    ("caracal-agent", &["*"]),
    ("caracal-fv-tests", &["*"]),
];

/// Crates that must not appear among the dependencies, direct or not, of a pure crate.
const IMPURE: &[&str] =
    &["tokio", "kube", "k8s-openapi", "nix", "rtnetlink", "netlink-sys", "notify", "tracing-subscriber"];

/// Crates that compute and do nothing else.
const PURE: &[&str] = &["caracal-net", "caracal-selector", "caracal-model", "caracal-calc-graph"];

struct Workspace {
    /// Normal and build dependencies by package, with development ones left out.
    dependencies: BTreeMap<String, BTreeSet<String>>,
}

impl Workspace {
    fn read() -> Self {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked"])
            .current_dir(root())
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let packages = metadata["packages"].as_array().expect("packages");
        let names: BTreeMap<_, _> = packages.iter().map(|p| (text(&p["id"]), text(&p["name"]))).collect();
        let nodes = metadata["resolve"]["nodes"].as_array().expect("nodes");
        let dependencies = nodes
            .iter()
            .map(|node| {
                let direct =
                    node["deps"].as_array().expect("deps").iter().filter(|dep| {
                        dep["dep_kinds"].as_array().expect("kinds").iter().any(|kind| kind["kind"] != "dev")
                    });
                (names[&text(&node["id"])].clone(), direct.map(|dep| names[&text(&dep["pkg"])].clone()).collect())
            })
            .collect();
        Self { dependencies }
    }

    fn all_below(&self, package: &str) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut open = vec![package.to_owned()];
        while let Some(next) = open.pop() {
            for dependency in self.dependencies.get(&next).into_iter().flatten() {
                if seen.insert(dependency.clone()) {
                    open.push(dependency.clone());
                }
            }
        }
        seen
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_path_buf()
}

/// Every Rust source file that is kept in the repository.
fn sources() -> Vec<(PathBuf, String)> {
    let listed = Command::new("git").args(["ls-files", "*.rs"]).current_dir(root()).output().expect("git runs");
    assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).expect("file names are text");
    let read = |name: &str| std::fs::read_to_string(root().join(name)).expect("a listed file can be read");
    let files: Vec<_> = names.lines().map(|name| (PathBuf::from(name), read(name))).collect();
    assert!(files.len() > 20, "the listing is not empty");
    files
}

#[test]
fn crates_depend_only_on_what_their_wall_allows() {
    let workspace = Workspace::read();
    let ours: BTreeSet<_> = workspace.dependencies.keys().filter(|name| name.starts_with("caracal-")).collect();
    let listed: BTreeSet<_> = ALLOWED.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(ours, listed.iter().collect(), "every crate has its wall");
    for (name, allowed) in ALLOWED {
        for dependency in workspace.dependencies[*name].iter().filter(|name| name.starts_with("caracal-")) {
            assert!(dependency != "caracal-agent" || *name == "caracal-fv-tests", "{name} depends on the agent");
            assert!(allowed.contains(&"*") || allowed.contains(&dependency.as_str()), "{name} depends on {dependency}");
        }
    }
}

#[test]
fn the_graph_is_pure() {
    let workspace = Workspace::read();
    for name in PURE {
        let below = workspace.all_below(name);
        for impure in IMPURE.iter().chain(&["prost", "tonic"]) {
            assert!(!below.contains(*impure), "{name} depends on {impure}");
        }
    }
    // The programs read protocol messages, so tonic is below them, but nothing of the kernel is.
    let below = workspace.all_below("caracal-program");
    for impure in ["nix", "rtnetlink", "netlink-sys", "notify", "caracal-sys"] {
        assert!(!below.contains(impure), "caracal-program depends on {impure}");
    }
}

#[test]
fn the_data_half_knows_nothing_of_the_cluster() {
    let below = Workspace::read().all_below("caracal-dataplane");
    for name in ["caracal-calc-graph", "caracal-model", "caracal-datastore", "caracal-selector", "kube"] {
        assert!(!below.contains(name), "the data half depends on {name}");
    }
}

#[test]
fn unsafe_code_lives_in_one_crate() {
    let needles = ["{", "fn", "impl", "extern"].map(|what| ["unsafe", what].join(" "));
    for (path, text) in sources().into_iter().filter(|(path, _)| !path.starts_with("dataplane/sys")) {
        let found = needles.iter().find(|needle| text.contains(*needle));
        assert_eq!(found, None, "{}", path.display());
    }
}

#[test]
fn files_stay_small_enough_to_read() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= 600, "{} has {lines} lines", path.display());
    }
}
