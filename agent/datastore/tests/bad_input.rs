//! A directory of everything that is oversized, conflicting or nonsensical, and
//! of one object that is none of it. In a program of its own, for its memory is
//! measured.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;

use caracal_datastore::convert::Settings;
use caracal_datastore::{ConfigEvent, FileSource, Report, Sink, Source as _};
use caracal_model::{Event, Key};

#[derive(Default)]
struct Heard {
    keys: Vec<Key>,
    problems: Vec<String>,
}

impl Sink for Heard {
    fn event(&mut self, event: Event) {
        if let Event::Apply(_, object, _) = event {
            self.keys.push(object.key());
        }
    }

    fn config(&mut self, _: ConfigEvent) {}

    fn report(&mut self, report: Report) {
        if let Report::Raised(problem) = report {
            self.problems.push(problem.to_string());
        }
    }

    fn settled(&mut self) {}
    fn synced(&mut self, _: &str) {}
}

fn set(name: &str, nets: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {{name: {name}}}\nspec:\n  nets: [{nets}]\n"
    )
}

fn policy(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"
    )
}

/// Many of something, between commas.
fn many(count: usize, one: impl Fn(usize) -> String) -> String {
    let mut text = String::new();
    for i in 0..count {
        write!(text, "{}, ", one(i)).expect("a string takes text");
    }
    text
}

/// The most memory that this process has had at a time (`VmHWM`), in MiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("it can be read");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel says it");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") >> 10
}

/// Forgets the peak, so that the next one is of what comes (`proc_pid_clear_refs(5)`).
fn forget_peak() {
    fs::write("/proc/self/clear_refs", "5").expect("a process may forget its own peak");
}

/// Each file's content and what the problem with it says, after the file's name.
fn files() -> BTreeMap<&'static str, (String, &'static str)> {
    let terms = |count: usize| vec!["a == 'b'"; count].join(" || ");
    let inverted = "ingress: [{action: Allow, protocol: TCP, destination: {ports: ['90:80']}}]";
    let mut aliases = "apiVersion: v1\nkind: Pod\nmetadata: {name: bomb}\na0: &a0 [x]\n".to_owned();
    for i in 1..20 {
        writeln!(aliases, "a{i}: &a{i} [{}]", vec![format!("*a{}", i - 1); 10].join(",")).expect("a string takes text");
    }
    let long = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: long}}\na: &a {}\nb: [{}]\n",
        "x".repeat(1 << 20),
        vec!["*a"; 4000].join(",")
    );
    let labels = many(100_000, |i| format!("label-{i}: value-of-the-label-{i}"));
    BTreeMap::from([
        (
            "cidrs.yaml",
            (
                set("million", &many(1_000_000, |i| format!("10.{}.{}.{}", i >> 16, i >> 8 & 255, i & 255))),
                ":1: GlobalNetworkSet million: is ",
            ),
        ),
        (
            "selector.yaml",
            (
                policy("terms", &format!("selector: \"{}\"", terms(100_000))),
                ":4: GlobalNetworkPolicy terms: spec.selector: is longer than 1024 characters",
            ),
        ),
        (
            "ports.yaml",
            (
                policy("ports", inverted),
                ":4: GlobalNetworkPolicy ports: spec.ingress[0].destination.ports[0]: port range 90:80 is inverted",
            ),
        ),
        ("aliases.yaml", (aliases, ":9: Pod default/bomb: the aliases stand for more than 100000 nodes")),
        ("long.yaml", (long, ":5: Pod default/long: the anchors and aliases stand for more than 16777216 bytes")),
        (
            "deep.yaml",
            (
                format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: deep}}\nspec: {}\n", "[".repeat(100_000)),
                ":4: Pod default/deep: nested more than 100 deep",
            ),
        ),
        (
            "labels.yaml",
            (
                format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: labels\n  labels: {{{labels}}}\n"),
                ":1: Pod default/labels: is ",
            ),
        ),
        ("twice-1.yaml", (set("twice", "10.1.0.0/16"), "")),
        ("twice-2.yaml", (set("twice", "10.2.0.0/16"), ":1: GlobalNetworkSet twice is also at ")),
        ("good.yaml", (set("good", "10.3.0.0/16"), "")),
    ])
}

fn list(directory: &Path) -> Heard {
    let mut heard = Heard::default();
    let mut source = FileSource::open(directory, Settings::default()).expect("it is a directory");
    source.list(&mut heard).expect("it is listed");
    heard
}

/// Each kind of bad input alone, beside an object that is none.
fn each_kind_alone() {
    for (name, (text, problem)) in files().into_iter().filter(|(_, (_, problem))| !problem.is_empty()) {
        let directory = tempfile::TempDir::new().expect("a temporary directory");
        fs::write(directory.path().join("a-good.yaml"), set("good", "10.3.0.0/16")).expect("written");
        fs::write(directory.path().join(name), &text).expect("written");
        if name == "twice-2.yaml" {
            fs::write(directory.path().join("twice-1.yaml"), set("twice", "10.1.0.0/16")).expect("written");
        }
        forget_peak();
        let before = peak();
        let heard = list(directory.path());
        let (taken, allowed) = (peak() - before, 32 + 24 * (text.len() as u64 >> 20));
        assert!(taken < allowed, "{name} of {} MiB takes {taken} MiB", text.len() >> 20);
        assert_eq!(heard.problems.len(), 1, "{name}: {:#?}", heard.problems);
        assert!(heard.problems[0].contains(problem), "{name}: {:#?}", heard.problems);
        let good = |key: &&Key| matches!(key, Key::NetworkSet(set) if set.0 == "good");
        assert_eq!(heard.keys.iter().filter(good).count(), 1, "{name}: the rest flows");
    }
}

#[test]
fn what_is_bad_is_named_and_the_rest_flows_in_bounded_memory() {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let top = directory.path();
    let huge = File::create(top.join("huge.yaml")).expect("created");
    // A gibibyte of nothing, which takes no room on the disk.
    huge.set_len(1 << 30).expect("it is sparse");
    symlink("circle.yaml", top.join("circle.yaml")).expect("linked");
    symlink(".", top.join("here")).expect("linked");
    fs::write(top.join("good.yaml"), set("good", "10.3.0.0/16")).expect("written");
    forget_peak();
    let before = peak();
    let heard = list(top);
    assert!(peak() - before < 16, "{} MiB for a file that is not read", peak() - before);
    assert_eq!(heard.problems.len(), 2, "{:#?}", heard.problems);

    let files = files();
    for (name, (text, _)) in &files {
        fs::write(top.join(name), text).expect("written");
    }
    forget_peak();
    let before = peak();
    let heard = list(top);
    assert!(peak() - before < 512, "{} MiB for {} files", peak() - before, files.len());
    let has = |file: &str, text: &str| {
        heard.problems.iter().any(|problem| problem.contains(&format!("/{file}{text}")) && problem.len() < 500)
    };
    for (name, (_, problem)) in files.iter().filter(|(_, (_, problem))| !problem.is_empty()) {
        assert!(has(name, problem), "{name}{problem}\n{:#?}", heard.problems);
    }
    assert!(has("huge.yaml", ": it is 1073741824 bytes or more, 67108864 at most are read"), "{:#?}", heard.problems);
    assert!(has("circle.yaml", ": Too many levels of symbolic links"), "{:#?}", heard.problems);
    assert_eq!(heard.problems.len(), 10, "{:#?}", heard.problems);
    let sets: Vec<&Key> = heard.keys.iter().filter(|key| matches!(key, Key::NetworkSet(_))).collect();
    assert_eq!(sets.len(), 2, "{sets:?}");
    each_kind_alone();
}
