use caracal_proto::felix::{self, to_dataplane::Payload};

use super::*;

fn flow(number: u64, port: u32, packets: u64) -> sync::Flow {
    sync::Flow {
        number,
        direction: "inbound".into(),
        action: "deny".into(),
        source: "10.0.0.1".into(),
        destination: "10.0.0.2".into(),
        protocol: 6,
        source_port: Some(port),
        destination_port: Some(80),
        packets,
        first: 1_500_000_000,
        last: 2_000_000_000,
        ..sync::Flow::default()
    }
}

fn batch(life: u64, flows: &[sync::Flow]) -> sync::Flows {
    sync::Flows { life, flows: flows.to_vec() }
}

/// A node with one pod, at 10.0.0.2.
fn ledger() -> Ledger {
    let mut ledger = Ledger::default();
    let [orchestrator_id, workload_id, endpoint_id] = ["k8s", "shop/web", "eth0"].map(str::to_owned);
    let id = Some(felix::WorkloadEndpointId { orchestrator_id, workload_id, endpoint_id });
    let endpoint = Some(felix::WorkloadEndpoint { ipv4_nets: vec!["10.0.0.2/32".into()], ..Default::default() });
    let payload = Payload::WorkloadEndpointUpdate(felix::WorkloadEndpointUpdate { id, endpoint });
    ledger.on_message(&felix::ToDataplane { sequence_number: 0, payload: Some(payload) });
    ledger
}

/// Source port and packets of what an answer has.
fn told(answer: &FlowsResponse) -> Vec<(u32, u64)> {
    let port = |flow: &Flow| flow.source.as_ref().and_then(|end| end.port).expect("a port");
    answer.flows.iter().map(|flow| (port(flow), flow.packets)).collect()
}

#[test]
fn ends_bear_the_names_of_this_nodes_pods() {
    let mut log = FlowLog::default();
    log.take(batch(1, &[flow(0, 7, 1)]), &ledger());
    let answer = log.after(0);
    let [Flow { source: Some(source), destination: Some(destination), protocol, first, last, .. }] = &answer.flows[..]
    else {
        panic!("{answer:?}")
    };
    assert_eq!((source.endpoint.as_str(), source.address.as_str()), ("", "10.0.0.1"));
    assert_eq!((destination.endpoint.as_str(), destination.port), ("shop/web", Some(80)));
    assert_eq!((protocol.as_str(), *first, *last), ("tcp", 1.5, 2.0));
}

#[test]
fn a_record_that_has_grown_keeps_its_place() {
    let mut log = FlowLog::default();
    log.take(batch(1, &[flow(0, 7, 1), flow(1, 8, 1)]), &ledger());
    log.take(batch(1, &[flow(0, 7, 4)]), &ledger());
    assert_eq!(told(&log.after(0)), [(7, 4), (8, 1)]);
    log.take(batch(2, &[flow(0, 9, 1)]), &ledger());
    assert_eq!(told(&log.after(0)), [(7, 4), (8, 1), (9, 1)], "another life has numbers of its own");
    assert_eq!(told(&log.after(2)), [(9, 1)]);
}

#[test]
fn records_are_bounded_and_who_was_too_slow_gets_to_know() {
    let mut log = FlowLog::default();
    let count = MAX_FLOWS as u64 + 100;
    for number in 0..count {
        let port = u32::try_from(number).expect("a small number");
        log.take(batch(1, &[flow(number, port, 1)]), &Ledger::default());
    }
    assert_eq!((log.records.len(), log.places.len()), (MAX_FLOWS, MAX_FLOWS));
    let (mut place, mut seen, mut missed) = (0, Vec::new(), 0);
    loop {
        let answer = log.after(place);
        assert!(answer.flows.len() <= ANSWER);
        (seen, missed) = ([seen, told(&answer)].concat(), missed + answer.missed);
        place = answer.next;
        if !answer.more {
            break;
        }
    }
    assert_eq!((seen.len(), missed, place), (MAX_FLOWS, 100, count));
    assert_eq!((seen[0].0, log.after(count).flows.len()), (100, 0));
    assert_eq!(log.after(count + 5).next, count, "who asks for more than there is starts at the end");
}
