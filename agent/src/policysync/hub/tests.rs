//! Clients that come, go, and do not read.

use caracal_proto::felix::{NamespaceId, NamespaceUpdate, to_dataplane::Payload};
use tokio_stream::StreamExt as _;
use tonic::Code;

use super::super::{Outgoing, queue};
use super::*;

fn pod(name: &str) -> EndpointId {
    EndpointId { orchestrator: "k8s".into(), workload: format!("shop/{name}"), endpoint: "eth0".into() }
}

fn namespace(name: &str) -> ToDataplane {
    let id = Some(NamespaceId { name: name.into() });
    let update = NamespaceUpdate { id, ..NamespaceUpdate::default() };
    ToDataplane { sequence_number: 0, payload: Some(Payload::NamespaceUpdate(update)) }
}

fn join(hub: &mut Hub, name: &str, id: u64) -> Outgoing {
    let (queue, outgoing) = queue();
    hub.on_request(Request::Join { endpoint: pod(name), join: JoinId(id), queue });
    outgoing
}

fn leave(hub: &mut Hub, name: &str, id: u64) {
    hub.on_request(Request::Leave { endpoint: pod(name), join: JoinId(id) });
}

/// What waits in a stream, and how it ended if it has.
fn read(outgoing: &mut Outgoing) -> (Vec<String>, Option<Result<(), Code>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut names = Vec::new();
    loop {
        let next = runtime.block_on(async {
            tokio::select! {
                biased;
                next = outgoing.next() => Some(next),
                () = std::future::ready(()) => None,
            }
        });
        match next {
            None => return (names, None),
            Some(None) => return (names, Some(Ok(()))),
            Some(Some(Err(status))) => return (names, Some(Err(status.code()))),
            Some(Some(Ok(message))) => match message.payload {
                Some(Payload::NamespaceUpdate(update)) => names.push(update.id.expect("it has one").name),
                other => panic!("only namespaces were told, not {other:?}"),
            },
        }
    }
}

#[test]
fn the_first_client_has_the_processor_filled_and_the_last_has_it_dropped() {
    let mut hub = Hub::default();
    hub.on_message(&namespace("unheard"));
    assert!(!hub.has_clients() && !hub.is_following());

    let mut first = join(&mut hub, "a", 1);
    assert!(hub.has_clients() && !hub.is_following());
    assert_eq!(read(&mut first), (vec![], None));
    hub.on_snapshot(|out| out(namespace("one")));
    assert!(hub.is_following());
    assert_eq!(read(&mut first), (vec!["one".to_owned()], None));

    let mut second = join(&mut hub, "b", 2);
    hub.on_message(&namespace("two"));
    assert_eq!(read(&mut second), (vec!["one".to_owned(), "two".to_owned()], None));
    leave(&mut hub, "a", 1);
    assert!(hub.has_clients());
    leave(&mut hub, "b", 2);
    assert!(!hub.has_clients() && !hub.is_following());

    let _third = join(&mut hub, "a", 3);
    assert!(!hub.is_following(), "what was known is forgotten");
}

#[test]
fn a_client_that_left_before_the_snapshot_is_not_waited_for() {
    let mut hub = Hub::default();
    let _gone = join(&mut hub, "a", 1);
    leave(&mut hub, "a", 1);
    assert!(!hub.has_clients());
}

#[test]
fn a_second_stream_of_a_pod_ends_the_first_one_well() {
    let mut hub = Hub::default();
    let mut first = join(&mut hub, "a", 1);
    hub.on_snapshot(|_| {});
    let mut second = join(&mut hub, "a", 2);
    assert_eq!(read(&mut first), (vec![], Some(Ok(()))));
    leave(&mut hub, "a", 1);
    hub.on_message(&namespace("one"));
    assert_eq!(read(&mut second), (vec!["one".to_owned()], None));
}

#[test]
fn a_client_that_does_not_read_is_dropped_and_others_are_not() {
    let mut hub = Hub::default();
    let (mut slow, mut quick) = (join(&mut hub, "slow", 1), join(&mut hub, "quick", 2));
    let large = 3000;
    hub.on_snapshot(|out| (0..large).for_each(|i| out(namespace(&i.to_string()))));
    assert_eq!(read(&mut quick).0.len(), large);
    let mut told = 0;
    while hub.lines.contains_key(&JoinId(1)) {
        hub.on_message(&namespace(&format!("n{told}")));
        assert_eq!(read(&mut quick), (vec![format!("n{told}")], None));
        told += 1;
        assert!(told <= 2000, "what waits is bounded");
    }
    let (names, end) = read(&mut slow);
    assert_eq!((names.len(), end), (large + told - 1, Some(Err(Code::ResourceExhausted))));
    assert!(hub.has_clients());
}
