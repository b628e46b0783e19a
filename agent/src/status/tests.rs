use caracal_proto::felix::{self, ToDataplane, to_dataplane::Payload};
use caracal_proto::sync::{Ack, EndpointOutcome, endpoint_outcome::Outcome};

use super::*;

fn told(status: &mut Status, payload: Payload) {
    status.on_message(&ToDataplane { sequence_number: 0, payload: Some(payload) });
}

fn id() -> felix::WorkloadEndpointId {
    let [orchestrator_id, workload_id, endpoint_id] = ["k8s", "shop/web", "eth0"].map(str::to_owned);
    felix::WorkloadEndpointId { orchestrator_id, workload_id, endpoint_id }
}

fn policy() -> Payload {
    let (id, policy) = (Some(felix::PolicyId::default()), Some(felix::Policy::default()));
    Payload::ActivePolicyUpdate(felix::ActivePolicyUpdate { id, policy })
}

fn endpoint() -> Payload {
    let (id, endpoint) = (Some(id()), Some(felix::WorkloadEndpoint::default()));
    Payload::WorkloadEndpointUpdate(felix::WorkloadEndpointUpdate { id, endpoint })
}

fn removal() -> Payload {
    Payload::WorkloadEndpointRemove(felix::WorkloadEndpointRemove { id: Some(id()) })
}

/// An acknowledgement that tells of the endpoint, or of none.
fn ack(revision: u64, outcome: Option<Outcome>) -> Ack {
    let of = |outcome: Outcome| EndpointOutcome { id: Some(id()), outcome: outcome.into(), ..Default::default() };
    Ack { revision, outcomes: outcome.map(of).into_iter().collect(), ..Ack::default() }
}

#[test]
fn only_what_concerns_endpoints_stirs() {
    let mut status = Status::default();
    let mut stirs = |what: &dyn Fn(&mut Status)| {
        let before = status.stirs();
        what(&mut status);
        status.stirs() > before
    };
    assert!(stirs(&|status| status.on_snapshot()), "a snapshot");
    assert!(stirs(&|status| told(status, endpoint())), "an endpoint");
    assert!(stirs(&|status| status.on_ack(&ack(1, Some(Outcome::Programmed)), 0)), "news of an endpoint");
    assert!(!stirs(&|status| told(status, policy())), "a policy");
    assert!(!stirs(&|status| status.on_commit(2)), "a revision of a policy");
    assert!(!stirs(&|status| status.on_ack(&ack(2, None), 0)), "its acknowledgement");
    assert!(stirs(&|status| told(status, removal())), "the end of an endpoint");
}

#[test]
fn receipts_go_with_their_endpoints() {
    let mut status = Status::default();
    told(&mut status, endpoint());
    status.on_commit(1);
    status.on_ack(&ack(1, Some(Outcome::Programmed)), 0);
    told(&mut status, policy());
    status.on_commit(2);
    assert_eq!(status.receipts().endpoints().len(), 1, "it is still there");
    told(&mut status, removal());
    status.on_commit(3);
    assert_eq!(status.receipts().endpoints().len(), 0);

    status.on_ack(&ack(3, Some(Outcome::Programmed)), 0);
    status.on_snapshot();
    status.on_commit(4);
    assert_eq!(status.receipts().endpoints().len(), 0, "the snapshot does not name it");
}

#[test]
fn objects_that_are_not_in_force_are_counted_as_they_are_told() {
    let more = Problem::More { file: std::path::Path::new("pods.yaml").into(), documents: 9, absent: 3 };
    let unreadable = Problem::Unreadable {
        path: "a.yaml".into(),
        reason: "it is a directory".to_owned(),
        in_force: caracal_datastore::InForce::Nothing,
    };
    let mut status = Status::default();
    for (report, absent) in [
        (Report::Raised(more.clone()), 3),
        (Report::Raised(unreadable.clone()), 4),
        (Report::Raised(unreadable.clone()), 4),
        (Report::Cleared(more), 1),
        (Report::Cleared(unreadable.clone()), 0),
        (Report::Cleared(unreadable), 0),
    ] {
        status.on_source_report(&report);
        assert_eq!(status.absent(), absent, "{report:?}");
        assert_eq!(status.source_problems().map(Problem::absent).sum::<usize>(), absent, "{report:?}");
    }
}

#[test]
fn an_endpoint_lacks_what_it_was_told_to_lack() {
    let mut status = Status::default();
    let programmed = ack(2, Some(Outcome::Programmed));
    let was_lacking = |status: &Status| status.receipts().was_lacking(&programmed.outcomes[0]);
    assert!(!was_lacking(&status), "nothing was told of it");
    status.on_ack(&ack(1, Some(Outcome::WaitingForInterface)), 0);
    assert!(was_lacking(&status));
    let mut without_route = programmed.clone();
    "no route".clone_into(&mut without_route.outcomes[0].reason);
    status.on_ack(&without_route, 0);
    assert!(was_lacking(&status), "it is programmed, but something is wrong");
    status.on_ack(&programmed, 0);
    assert!(!was_lacking(&status));
}
