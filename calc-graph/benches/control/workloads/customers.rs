//! Customers who share a cluster: a namespace, a pod and a policy each.

use caracal_model::{Action, Kind, Labels, Object, PolicyKey, PolicyKind, Rule};
use smol_str::format_smolstr;

use super::{HERE, Steps, THERE, allow_dns, allow_from, allow_to, apply, in_sync, pod, policy, profile};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Customers {
    pub(crate) namespaces: u32,
}

impl Customers {
    pub(super) fn snapshot(self, to: Steps<'_>) {
        const LOCAL: u32 = 100;
        for n in 0..self.namespaces {
            apply(to, Kind::NetworkPolicy, customer_policy(n));
        }
        for n in 0..self.namespaces {
            let name = format!("customer-{n}");
            let labels = Labels::from_iter([
                ("pcns.projectcalico.org/name", name.as_str()),
                ("pcns.namespace-id", &unique(n, 20)),
                ("pcns.production", binary(n, 0)),
            ]);
            let allow = vec![Rule::any(Action::Allow)];
            apply(to, Kind::Namespace, profile(&format!("kns.{name}"), labels, allow));
        }
        let step = (self.namespaces / LOCAL).max(1);
        for n in 0..self.namespaces {
            let host = if n % step == 0 { HERE } else { THERE };
            apply(to, Kind::Pod, customer_pod(n, host));
        }
        in_sync(to);
    }
}

fn customer_policy(n: u32) -> Object {
    let own = format!("pcns.projectcalico.org/name == 'customer-{n}'");
    let key = PolicyKey {
        kind: PolicyKind::NetworkPolicy,
        namespace: format_smolstr!("customer-{n}"),
        name: "isolate".into(),
    };
    Object::Policy(key, policy(&own, vec![allow_from(&own)], vec![allow_to(&own), allow_dns()]))
}

/// Fifteen labels: five that no other pod has, four of two values each, four of
/// a few, one that all have, and one of 5,000 values.
fn customer_pod(n: u32, host: &str) -> Object {
    let mut labels: Vec<(String, String)> = Vec::new();
    for (i, len) in (0u32..).zip([20, 20, 10, 20, 8]) {
        labels.push((format!("unique-{i}"), unique(n.wrapping_mul(7).wrapping_add(i), len)));
    }
    for i in 0..4 {
        labels.push((format!("binary-{i}"), binary(n, i).to_owned()));
    }
    for (i, of) in [3, 4, 4, 5].into_iter().enumerate() {
        labels.push((format!("small-{i}"), format!("value-{}", n % of)));
    }
    labels.push(("constant".to_owned(), "same".to_owned()));
    labels.push(("app".to_owned(), unique(n % 5_000, 10)));
    let namespace = format!("customer-{n}");
    pod(&format!("{namespace}/pod"), host, n + 1, &format!("kns.{namespace}"), labels.into_iter().collect())
}

fn binary(n: u32, bit: u32) -> &'static str {
    if n >> bit & 1 == 0 { "true" } else { "false" }
}

/// A text of a length that no other number has.
fn unique(n: u32, len: usize) -> String {
    let mixed = u64::from(n).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let text = format!("{n:x}-{mixed:016x}{:016x}", mixed.rotate_left(23));
    text[..len].to_owned()
}
