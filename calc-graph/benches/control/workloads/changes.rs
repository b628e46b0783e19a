//! Single changes in clusters of different sizes: each sample is one change and
//! its flush, so that the samples of two sizes tell what the size costs.

use caracal_model::{Kind, Labels, Object, PolicyKey};

use super::markers::{MARKERS, marker_pod, tag_policy};
use super::{
    HERE, Step, Steps, THERE, allow_dns, allow_from, apply, global_policy, in_sync, network_set, pod, profile, v4,
};

pub(super) fn changes([pods, policies, sets]: [u32; 3], to: Steps<'_>) {
    const REPEATS: u32 = 200;
    // A policy for each set, for one local pod; and the rest of the policies for nobody here.
    for i in 0..sets {
        apply(to, Kind::GlobalNetworkPolicy, set_policy(i));
        apply(to, Kind::GlobalNetworkSet, one_set(i, 0));
    }
    for i in 0..policies {
        apply(to, Kind::GlobalNetworkPolicy, remote_policy(i));
    }
    for i in 0..31 {
        apply(to, Kind::GlobalNetworkPolicy, tag_policy(i));
    }
    for s in 1..=pods {
        apply(to, Kind::Pod, marker_pod(s, if s <= 100 { HERE } else { THERE }));
    }
    apply(to, Kind::Namespace, own_namespace("red"));
    apply(to, Kind::Pod, pod("lone/pod", THERE, pods + 1, "kns.lone", Labels::new()));
    apply(
        to,
        Kind::GlobalNetworkPolicy,
        global_policy("team", "alpha == 'true'", vec![allow_from("pcns.team == 'red'")]),
    );
    apply(to, Kind::Pod, pod("sets/pod", HERE, pods + 2, "kns.sets", Labels::from_iter([("sets", "")])));
    // Its endpoint is told with all its policies, so it has few.
    apply(to, Kind::Pod, pod("few/pod", HERE, pods + 3, "kns.few", Labels::from_iter([("few", "")])));
    in_sync(to);
    to(Step::Measure);
    for n in 0..REPEATS {
        let Object::WorkloadEndpoint(key, mut endpoint) = marker_pod(200 + n, THERE) else {
            unreachable!("a pod is a workload")
        };
        apply(to, Kind::Pod, Object::WorkloadEndpoint(key.clone(), endpoint.clone()));
        done(to, "pod, nothing changed");
        endpoint.labels = Labels::from_iter([(MARKERS[n as usize % 31], "true"), ("unheard-of", "yes")]);
        apply(to, Kind::Pod, Object::WorkloadEndpoint(key.clone(), endpoint));
        done(to, "pod, label changed");
        apply(to, Kind::Pod, marker_pod(pods + 10 + n, THERE));
        done(to, "pod, new");
        apply(to, Kind::GlobalNetworkSet, one_set(n, 1));
        done(to, "set, prefix changed");
        let Object::Policy(key, policy) = set_policy(n) else { unreachable!("a policy is a policy") };
        let mut changed = policy;
        changed.inbound_rules.push(allow_dns());
        apply(to, Kind::GlobalNetworkPolicy, Object::Policy(key, changed));
        done(to, "policy, rule added");
        let Object::Policy(key, mut policy) = remote_policy(n) else { unreachable!("a policy is a policy") };
        policy.inbound_rules.push(allow_dns());
        apply(to, Kind::GlobalNetworkPolicy, Object::Policy(PolicyKey { ..key }, policy));
        done(to, "policy of nobody here, rule added");
        apply(to, Kind::GlobalNetworkPolicy, new_policy(n, "has(few)"));
        done(to, "policy, new");
        apply(to, Kind::GlobalNetworkPolicy, new_policy(REPEATS + n, &format!("nowhere == 'new-{n}'")));
        done(to, "policy of nobody here, new");
        apply(to, Kind::Namespace, own_namespace(if n % 2 == 0 { "blue" } else { "red" }));
        done(to, "namespace, label changed");
    }
}

fn done(to: Steps<'_>, what: &'static str) {
    to(Step::Flush);
    to(Step::Sample(what));
}

fn set_policy(i: u32) -> Object {
    let rules = vec![allow_from(&format!("network-set-name == 'network-set-{i}'"))];
    global_policy(&format!("netset-{i}"), "has(sets)", rules)
}

fn one_set(i: u32, offset: u32) -> Object {
    let name = format!("network-set-{i}");
    let nets = vec![v4(0xc000_0000 + 2 * i + offset)];
    network_set(&name, Labels::from_iter([("network-set-name", &name)]), nets)
}

fn remote_policy(i: u32) -> Object {
    global_policy(&format!("remote-{i}"), &format!("elsewhere == 'place-{i}'"), vec![allow_from("has(alpha)")])
}

/// Lets in a set that there is already.
fn new_policy(i: u32, selector: &str) -> Object {
    let rules = vec![allow_from(&format!("network-set-name == 'network-set-{}'", i % 200))];
    global_policy(&format!("new-{i}"), selector, rules)
}

fn own_namespace(team: &str) -> Object {
    profile("kns.lone", Labels::from_iter([("pcns.team", team)]), Vec::new())
}
