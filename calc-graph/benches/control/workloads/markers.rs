//! Pods with one label in common by the dozen, and policies that ask for it.

use caracal_model::{Event, Kind, Labels, Object, Stamp};
use smol_str::format_smolstr;

use super::{
    HERE, Step, Steps, THERE, allow_from, apply, delete, global_policy, in_sync, network_set, pod, profile, v4,
};

/// 31 labels of which each pod has one; two of them appear twice.
pub(super) const MARKERS: [&str; 31] = [
    "alpha", "alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliet", "kilo",
    "lima", "mike", "november", "oscar", "papa", "quebec", "romeo", "sierra", "tango", "tango", "uniform", "victor",
    "whiskey", "xray", "yankee", "zulu", "one", "two", "three",
];

const LOCAL: u32 = 200;
const NAMESPACES: u32 = 100;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Markers {
    pub(crate) remote: u32,
    pub(crate) tags: u32,
    pub(crate) netsets: u32,
}

impl Markers {
    pub(super) fn snapshot(self, to: Steps<'_>) {
        let Self { remote, tags, netsets } = self;
        for i in 0..tags {
            apply(to, Kind::GlobalNetworkPolicy, tag_policy(i));
        }
        for i in 0..netsets {
            let rules = vec![allow_from(&format!("network-set-name == 'network-set-{i}'"))];
            apply(to, Kind::GlobalNetworkPolicy, global_policy(&format!("netset-{i}"), "all()", rules));
        }
        for i in 0..NAMESPACES {
            let name = format!("namespace-{i}");
            let labels = Labels::from_iter([("pcns.projectcalico.org/name", &name)]);
            apply(to, Kind::Namespace, profile(&format!("kns.{name}"), labels, Vec::new()));
        }
        for s in LOCAL + 1..=LOCAL + remote {
            apply(to, Kind::Pod, marker_pod(s, THERE));
        }
        let mut address = 0x0a00_0001;
        for (i, size) in (0..netsets).zip([1, 1, 1, 1, 2, 3, 4, 5, 100, 1000].into_iter().cycle()) {
            let name = format_smolstr!("network-set-{i}");
            let nets = (address..address + size).map(v4).collect();
            address += size;
            let set = network_set(&name, Labels::from_iter([("network-set-name", &name)]), nets);
            apply(to, Kind::GlobalNetworkSet, set);
        }
        for s in 1..=LOCAL {
            apply(to, Kind::Pod, marker_pod(s, HERE));
        }
        in_sync(to);
    }

    pub(super) fn teardown(self, to: Steps<'_>) {
        for s in 1..=LOCAL {
            delete(to, Kind::Pod, marker_pod(s, HERE).key());
        }
        to(Step::Flush);
    }

    /// A second of steady state: a thousand updates of remote pods, of which a
    /// tenth each changes labels, makes a pod and deletes one; the rest touch
    /// nothing that matters.
    pub(super) fn churn(self, to: Steps<'_>) {
        for n in 0..1_000u32 {
            let s = 1_000 + n * 97;
            let Object::WorkloadEndpoint(key, mut endpoint) = marker_pod(s, THERE) else {
                unreachable!("a pod is a workload")
            };
            match n % 10 {
                0 => {
                    endpoint.labels = Labels::from_iter([(MARKERS[n as usize % 31], "true")]);
                    apply(to, Kind::Pod, Object::WorkloadEndpoint(key, endpoint));
                }
                1 => apply(to, Kind::Pod, marker_pod(LOCAL + self.remote + 1 + n, THERE)),
                2 => delete(to, Kind::Pod, caracal_model::Key::WorkloadEndpoint(key)),
                _ => {
                    endpoint.annotations.insert("touched".into(), "yes".into());
                    to(Step::Event(Event::Apply(Kind::Pod, Object::WorkloadEndpoint(key, endpoint), Stamp(2))));
                }
            }
            to(Step::Flush);
            to(Step::Sample("update"));
        }
    }
}

pub(super) fn marker_pod(s: u32, host: &str) -> Object {
    let mut labels: Vec<(String, String)> =
        [10, 11, 20, 30, 40].into_iter().map(|n| (format!("one-in-{n}"), format!("value-{}", s % n))).collect();
    labels.push((MARKERS[s as usize % 31].to_owned(), "true".to_owned()));
    let namespace = s % NAMESPACES;
    let workload = format!("namespace-{namespace}/pod-{s}");
    pod(&workload, host, s, &format!("kns.namespace-{namespace}"), labels.into_iter().collect())
}

pub(super) fn tag_policy(i: u32) -> Object {
    let marker = |i: u32| format!("has({})", MARKERS[i as usize % 31]);
    let rules = (0..5).map(|j| allow_from(&marker(i + j))).collect();
    global_policy(&format!("tag-{i}"), &marker(i), rules)
}
