//! What the index of labels and selectors costs by itself.

use caracal_model::{Kind, Labels};

use super::{HERE, Step, Steps, THERE, allow_from, apply, delete, global_policy, in_sync, pod, profile};

/// The pod for whose sake policies are active.
fn observer(to: Steps<'_>) {
    apply(to, Kind::Pod, pod("ns/local", HERE, 0, "kns.ns", Labels::from_iter([("local", "true")])));
}

fn member(n: u32, to: Steps<'_>) {
    let labels = Labels::from_iter([("alpha", "beta"), ("ipset-1", "true")]);
    apply(to, Kind::Pod, pod(&format!("ns/pod-{n}"), THERE, 1 + n, &format!("profile-{n}"), labels));
}

/// Pods that are new to a graph with many selectors, of which each matches one.
pub(super) fn pods(selectors: u32, to: Steps<'_>) {
    let rules = (0..selectors).map(|k| allow_from(&format!("alpha == \"beta\" && has(ipset-{k})")));
    apply(to, Kind::GlobalNetworkPolicy, global_policy("index", "has(local)", rules.collect()));
    observer(to);
    in_sync(to);
    to(Step::Measure);
    for n in 0..50_000 {
        member(n, to);
        to(Step::Sample("pod"));
    }
    to(Step::Flush);
}

/// Selectors that are new to a graph with many pods: each by a policy that comes
/// with it, its message and its set included. One in ten matches every pod.
pub(super) fn selectors(pods: u32, to: Steps<'_>) {
    const SELECTORS: u32 = 100;
    let selecting = |j: u32| {
        let rules = vec![allow_from(&format!("alpha == \"beta\" && has(ipset-{})", j % 10))];
        global_policy(&format!("index-{j}"), "has(local)", rules)
    };
    observer(to);
    for n in 0..pods {
        member(n, to);
    }
    in_sync(to);
    // The first mention of a key looks at every pod with it; after the first ten all are mentioned.
    for j in 0..10 + SELECTORS {
        if j == 10 {
            to(Step::Measure);
        }
        apply(to, Kind::GlobalNetworkPolicy, selecting(j));
        to(Step::Flush);
        if j >= 10 {
            to(Step::Sample(if j % 10 == 1 { "match" } else { "no match" }));
        }
        delete(to, Kind::GlobalNetworkPolicy, selecting(j).key());
        to(Step::Flush);
        to(Step::Skip);
    }
}

/// Profiles that change labels, each of a pod of its own, under 100 selectors
/// that ask for the label.
pub(super) fn parents(pods: u32, to: Steps<'_>) {
    const UPDATES: u32 = 10_000;
    let own = |n: u32, value: u32| {
        let labels = Labels::from_iter([("colour", format!("value-{value}"))]);
        profile(&format!("profile-{n}"), labels, Vec::new())
    };
    let rules = (0..100).map(|k| allow_from(&format!("colour == 'value-{k}'")));
    apply(to, Kind::GlobalNetworkPolicy, global_policy("index", "has(local)", rules.collect()));
    observer(to);
    for n in 0..pods {
        apply(to, Kind::Profile, own(n, n % 100));
        member(n, to);
    }
    in_sync(to);
    to(Step::Measure);
    for update in 0..UPDATES {
        let n = update % pods;
        apply(to, Kind::Profile, own(n, (n + 1 + update / pods) % 100));
        to(Step::Sample("parent"));
        // What the sets have to tell would pile up, and is not the index's.
        if update % 50 == 49 {
            to(Step::Flush);
            to(Step::Skip);
        }
    }
}
