use std::collections::BTreeSet;

use super::*;

fn message(pod: &str, tiers: Vec<felix::TierInfo>) -> felix::ToDataplane {
    let id = felix::WorkloadEndpointId { workload_id: pod.to_owned(), ..Default::default() };
    let endpoint = felix::WorkloadEndpoint { tiers, ..Default::default() };
    let payload = felix::WorkloadEndpointUpdate { id: Some(id), endpoint: Some(endpoint) };
    felix::ToDataplane { sequence_number: 0, payload: Some(Payload::WorkloadEndpointUpdate(payload)) }
}

fn policies(names: &[&str]) -> Vec<felix::PolicyId> {
    names.iter().map(|name| felix::PolicyId { name: (*name).to_owned(), ..Default::default() }).collect()
}

fn tier(ingress: &[&str], egress: &[&str]) -> felix::TierInfo {
    felix::TierInfo { ingress_policies: policies(ingress), egress_policies: policies(egress), ..Default::default() }
}

#[test]
fn a_policy_of_both_directions_is_listed_once() {
    let listed = |ingress: &[&str], egress: &[&str]| {
        let Tier { name: _, policies } = Tier::of(&tier(ingress, egress));
        policies.into_iter().map(|id| id.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(listed(&["a", "b"], &["a", "b"]), ["a", "b"]);
    assert_eq!(listed(&["c", "a"], &["b", "a"]), ["c", "a", "b"]);
    assert_eq!(listed(&[], &["a"]), ["a"]);
}

#[test]
fn endpoints_share_equal_lists() {
    let mut ledger = Ledger::default();
    for pod in 0..200 {
        let list = if pod % 2 == 0 { tier(&["a", "b"], &[]) } else { tier(&["b"], &["a"]) };
        ledger.on_message(&message(&pod.to_string(), vec![list]));
    }
    let lists: BTreeSet<*const [Tier]> =
        ledger.workloads().values().map(|workload| Arc::as_ptr(&workload.tiers)).collect();
    assert_eq!(lists.len(), 2);
    assert_eq!(ledger.lists.shared.len(), 2);
}

#[test]
fn lists_that_no_endpoint_has_do_not_pile_up() {
    let mut ledger = Ledger::default();
    for round in 0..1_000 {
        for pod in ["x", "y", "z"] {
            let policy = format!("{pod}-{round}");
            ledger.on_message(&message(pod, vec![tier(&[policy.as_str()], &[])]));
        }
        assert!(ledger.lists.shared.len() <= 9, "round {round}: {}", ledger.lists.shared.len());
    }
}
