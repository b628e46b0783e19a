//! The two sizes of cluster: live-S and live-L.

use std::time::Instant;

use caracal_fv_tests::cluster::Cluster;
use caracal_fv_tests::pod::pod;
use caracal_fv_tests::probe::udp;
use caracal_fv_tests::stream::SINK_PORT;
use clap::ValueEnum;
use serde_json::{Value, json};

/// Groups of pods, and policies of three rules about them.
const GROUPS: usize = 5;

/// How much there is on the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scale {
    /// 20 pods, 6 policies.
    S,
    /// 100 pods, 1,006 policies, 1,000 network sets of 100 addresses; each
    /// policy lets one set in, and each pod has 200 of them.
    L,
}

impl Scale {
    /// The name in the output.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::S => "live-S",
            Self::L => "live-L",
        }
    }

    const fn pods(self) -> usize {
        match self {
            Self::S => 20,
            Self::L => 100,
        }
    }

    const fn sets(self) -> usize {
        match self {
            Self::S => 0,
            Self::L => 1_000,
        }
    }

    /// How many changes of each kind are timed.
    pub(crate) const fn changes(self) -> usize {
        match self {
            Self::S => 300,
            Self::L => 30,
        }
    }

    /// The cluster, without an agent.
    pub(crate) fn cluster(self) -> anyhow::Result<Cluster> {
        let mut cluster = Cluster::serving([udp(53)])?;
        cluster.namespace("bench", &[])?;
        for group in 0..GROUPS {
            write(&cluster, &format!("group-{group}"), &group_policy(group))?;
        }
        for number in 0..self.sets() {
            write(&cluster, &format!("set-{number}"), &network_set(number))?;
            write(&cluster, &format!("lets-in-{number}"), &lets_in(number))?;
        }
        edit(&cluster, false)?;
        for number in 0..self.pods() {
            cluster.start_pod(pod(&format!("bench/pod-{number}"), &[("group", &format!("g{}", number % GROUPS))]))?;
        }
        Ok(cluster)
    }
}

/// Writes the policy that is edited: `pod-0` may be reached on the discard port
/// by everyone, or by friends only. Gives the time of the rename.
pub(crate) fn edit(cluster: &Cluster, open: bool) -> anyhow::Result<Instant> {
    let from = if open { json!([]) } else { json!([{"podSelector": {"matchLabels": {"friend": "yes"}}}]) };
    let ports = json!([{"protocol": "UDP", "port": SINK_PORT}]);
    let spec = json!({
        "podSelector": {"matchLabels": {"group": "g0"}},
        "ingress": [{"from": from, "ports": ports}],
    });
    write(cluster, "edited", &kubernetes_policy("edited", &spec))
}

fn group_policy(group: usize) -> Value {
    let rule = |n: usize| {
        let friends = format!("g{}", (group + n) % GROUPS);
        json!({
            "from": [{"podSelector": {"matchLabels": {"group": friends}}}],
            "ports": [{"protocol": "UDP", "port": 53 + n}],
        })
    };
    let spec = json!({
        "podSelector": {"matchLabels": {"group": format!("g{group}")}},
        "ingress": [rule(0), rule(1), rule(2)],
    });
    kubernetes_policy(&format!("group-{group}"), &spec)
}

fn kubernetes_policy(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": "bench", "name": name},
        "spec": spec,
    })
}

/// A set of 100 addresses that no pod has.
fn network_set(number: usize) -> Value {
    let nets: Vec<_> = (0..100).map(|n| format!("10.{}.{}.{n}/32", 100 + number / 200, number % 200)).collect();
    json!({
        "apiVersion": "projectcalico.org/v3", "kind": "NetworkSet",
        "metadata": {"namespace": "bench", "name": format!("set-{number}"), "labels": {"set": format!("s{number}")}},
        "spec": {"nets": nets},
    })
}

/// A policy of one group that lets one set in.
fn lets_in(number: usize) -> Value {
    json!({
        "apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
        "metadata": {"namespace": "bench", "name": format!("lets-in-{number}")},
        "spec": {
            "selector": format!("group == 'g{}'", number % GROUPS),
            "types": ["Ingress"],
            "ingress": [{
                "action": "Allow", "protocol": "UDP",
                "source": {"selector": format!("set == 's{number}'")},
                "destination": {"ports": [SINK_PORT]},
            }],
        },
    })
}

fn write(cluster: &Cluster, name: &str, object: &Value) -> anyhow::Result<Instant> {
    cluster.write(&format!("{name}.json"), &object.to_string())
}
