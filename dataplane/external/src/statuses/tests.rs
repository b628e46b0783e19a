use caracal_proto::felix::EndpointStatus;

use super::*;

fn id(name: &str) -> felix::WorkloadEndpointId {
    felix::WorkloadEndpointId { orchestrator_id: "k8s".into(), workload_id: name.into(), endpoint_id: "eth0".into() }
}

fn telling(payload: to_dataplane::Payload) -> ToDataplane {
    ToDataplane { sequence_number: 0, payload: Some(payload) }
}

fn update(name: &str) -> ToDataplane {
    let update = felix::WorkloadEndpointUpdate { id: Some(id(name)), endpoint: None };
    telling(to_dataplane::Payload::WorkloadEndpointUpdate(update))
}

fn remove(name: &str) -> ToDataplane {
    let remove = felix::WorkloadEndpointRemove { id: Some(id(name)) };
    telling(to_dataplane::Payload::WorkloadEndpointRemove(remove))
}

/// A status in a word; `gone` is the removal of one.
fn status(name: &str, status: &str) -> FromDataplane {
    let id = Some(id(name));
    let payload = if status == "gone" {
        from_dataplane::Payload::WorkloadEndpointStatusRemove(felix::WorkloadEndpointStatusRemove { id })
    } else {
        let status = Some(EndpointStatus { status: status.into() });
        let update = felix::WorkloadEndpointStatusUpdate { id, status, endpoint: None };
        from_dataplane::Payload::WorkloadEndpointStatusUpdate(update)
    };
    FromDataplane { sequence_number: 0, payload: Some(payload) }
}

fn outcomes(ack: Ack) -> Vec<(String, Outcome)> {
    let name = |outcome: &EndpointOutcome| outcome.id.clone().expect("an id").workload_id;
    ack.outcomes.iter().map(|outcome| (name(outcome), outcome.outcome())).collect()
}

#[test]
fn statuses_become_outcomes_once() {
    let mut statuses = Statuses::default();
    statuses.telling(&update("a"));
    statuses.telling(&update("b"));
    assert_eq!(statuses.heard(&status("b", "up")), None, "the revision is not whole yet");
    let ack = statuses.commit(Position { epoch: 7, revision: 3 });
    assert_eq!((ack.epoch, ack.revision), (7, 3));
    assert!(ack.committed > 0);
    assert_eq!(outcomes(ack), [("b".to_owned(), Outcome::Programmed)]);
    let mut heard = |name, text| statuses.heard(&status(name, text)).map(outcomes);
    let one = |name: &str, outcome| Some(vec![(name.to_owned(), outcome)]);
    assert_eq!(heard("a", "down"), one("a", Outcome::WaitingForInterface));
    assert_eq!(heard("a", "down"), None, "nothing new");
    assert_eq!(heard("a", "error"), one("a", Outcome::Quarantined));
    assert_eq!(heard("a", "confused"), one("a", Outcome::Quarantined));
    assert_eq!(heard("a", "up"), one("a", Outcome::Programmed));
    assert_eq!(heard("a", "gone"), one("a", Outcome::Removed));
    assert_eq!(heard("a", "gone"), None, "nothing new");
    assert_eq!(heard("stranger", "up"), None, "nobody told the driver of it");
}

#[test]
fn host_endpoints_have_outcomes_too() {
    let id = || Some(felix::HostEndpointId { endpoint_id: "eth0".into() });
    let update = felix::HostEndpointUpdate { id: id(), endpoint: None };
    let said = |status: &str| {
        let status = Some(EndpointStatus { status: status.into() });
        let update = felix::HostEndpointStatusUpdate { id: id(), status };
        let payload = Some(from_dataplane::Payload::HostEndpointStatusUpdate(update));
        FromDataplane { sequence_number: 0, payload }
    };
    let mut statuses = Statuses::default();
    statuses.telling(&telling(to_dataplane::Payload::HostEndpointUpdate(update)));
    let position = Position { epoch: 7, revision: 3 };
    statuses.commit(position);
    for (status, want) in [("up", Outcome::Programmed), ("error", Outcome::WaitingForInterface)] {
        let ack = statuses.heard(&said(status)).expect("news");
        assert_eq!((ack.outcomes[0].host.clone(), ack.outcomes[0].outcome()), (id(), want), "{status}");
    }
    let remove = felix::HostEndpointRemove { id: id() };
    statuses.telling(&telling(to_dataplane::Payload::HostEndpointRemove(remove)));
    assert_eq!(statuses.commit(position).outcomes[0].outcome(), Outcome::Removed);
}

#[test]
fn an_endpoint_is_removed_with_the_revision_that_says_so() {
    let position = Position { epoch: 7, revision: 3 };
    let mut statuses = Statuses::default();
    statuses.telling(&update("a"));
    statuses.commit(position);
    statuses.heard(&status("a", "up"));
    statuses.telling(&remove("a"));
    assert_eq!(outcomes(statuses.commit(position)), [("a".to_owned(), Outcome::Removed)]);
    for late in ["up", "gone"] {
        assert_eq!(statuses.heard(&status("a", late)), None, "{late}");
    }
    assert!(statuses.told.is_empty() && statuses.outcomes.is_empty(), "{statuses:?}");
}
