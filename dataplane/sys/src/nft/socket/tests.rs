use super::*;
use crate::netns::NetNs;
use crate::nft::{Chain, Element, Field, Guard, Set, SetHeader, SetKind};

fn name(text: &str) -> Name {
    Name::new(text).expect("a good name")
}

/// Runs `work` in a fresh namespace, with a socket and a table of which nothing is there yet.
fn in_namespace(work: impl FnOnce(NftSocket, TableId) + Send) {
    let inside = || work(NftSocket::open().expect("a socket"), TableId::inet(name("t")));
    NetNs::new().expect("a namespace; needs root").run(inside).expect("the namespace can be entered");
}

/// A batch that makes a set of addresses with as many elements.
fn filled(table: &TableId, elements: u32) -> Batch {
    let mut batch = Batch::new(table);
    batch.add_table(&Table::default()).expect("short");
    batch.add_set(&Set::new(name("s"), SetKind::Hash, [Field::Mark].as_slice())).expect("short");
    let elements = (0..elements).map(|mark| Element::at(caracal_net::Mark(mark)));
    batch.add_elements(&SetHeader::new(table, &name("s")), elements).expect("short");
    batch
}

#[test]
fn a_batch_beyond_the_room_is_refused_whole_and_the_socket_can_be_used_on() {
    in_namespace(|mut socket, table| {
        // As if the kernel had granted more than it has.
        socket.send_room = usize::MAX;
        let mut batch = filled(&table, 50_000);
        let outcome = socket.commit(&mut batch);
        assert!(matches!(outcome, Err(CommitError::TooBig { bytes }) if bytes > 500_000), "{outcome:?}");
        assert_eq!(socket.table(&table).expect("an answer"), None);
        socket.send_room = 0;
        socket.commit(&mut batch).expect("with room enough");
        assert_eq!(socket.elements(&table, &name("s")).expect("a listing").len(), 50_000);
    });
}

#[test]
fn reports_beyond_the_room_are_lost_but_not_the_outcome() {
    const BAD: usize = 4000;
    in_namespace(|mut socket, table| {
        socket.receive_room = usize::MAX;
        let mut batch = Batch::new(&table);
        batch.add_table(&Table::default()).expect("short");
        for _ in 0..BAD {
            batch.delete_chain(&name("nowhere")).expect("short");
        }
        let outcome = socket.commit(&mut batch);
        let Err(CommitError::Refused(refused)) = outcome else { panic!("{outcome:?}") };
        assert!((1..BAD).contains(&refused.len()), "{} of {BAD}", refused.len());
        batch.restart(Guard::Any);
        batch.add_table(&Table::default()).expect("short");
        batch.add_chain(&Chain::regular(name("c"))).expect("short");
        socket.commit(&mut batch).expect("nothing is left over");
    });
}
