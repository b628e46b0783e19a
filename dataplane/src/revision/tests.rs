use caracal_proto::felix::to_dataplane::Payload;

use super::*;

fn begin(kind: Kind, from: u64) -> Begin {
    Begin { epoch: 7, kind: kind.into(), from }
}

fn commit(revision: u64) -> Commit {
    Commit { revision, stamp: 5 }
}

fn set(id: &str, members: &[&str]) -> felix::ToDataplane {
    let members = members.iter().map(|m| (*m).to_owned()).collect();
    let update = felix::IpSetUpdate { id: id.to_owned(), members, r#type: felix::ip_set_update::IpSetType::Net.into() };
    felix::ToDataplane { sequence_number: 0, payload: Some(Payload::IpsetUpdate(update)) }
}

fn feed(
    assembler: &mut Assembler,
    store: &mut PolicyStore,
    start: &Begin,
    messages: &[felix::ToDataplane],
    revision: u64,
) -> Result<Revision, RevisionError> {
    assembler.begin(start)?;
    messages.iter().try_for_each(|message| assembler.message(message.clone()))?;
    assembler.commit(&commit(revision), store)
}

#[test]
fn a_snapshot_then_a_delta() {
    let (mut assembler, mut store) = (Assembler::default(), PolicyStore::new());
    let first = feed(&mut assembler, &mut store, &begin(Kind::Snapshot, 0), &[set("s:a", &["10.0.0.1/32"])], 3);
    let first = first.expect("a whole revision");
    assert_eq!(first.position, Position { epoch: 7, revision: 3 });
    assert_eq!(first.changes, [Change::SetReplaced("s:a".into())]);
    assert_eq!(first.stamp, 5);

    let second = feed(&mut assembler, &mut store, &begin(Kind::Delta, 3), &[set("s:b", &[])], 4).expect("a delta");
    assert_eq!(second.changes, [Change::SetReplaced("s:b".into())]);
    assert_eq!(assembler.held(), Some(Position { epoch: 7, revision: 4 }));
    assert_eq!(store.ip_sets().len(), 2);
}

#[test]
fn what_a_snapshot_does_not_name_is_swept() {
    let (mut assembler, mut store) = (Assembler::default(), PolicyStore::new());
    let old = [set("s:a", &["10.0.0.1/32"]), set("s:b", &[])];
    feed(&mut assembler, &mut store, &begin(Kind::Snapshot, 0), &old, 1).expect("a snapshot");
    let new = [set("s:a", &["10.0.0.1/32"])];
    let swept = feed(&mut assembler, &mut store, &begin(Kind::Snapshot, 0), &new, 9).expect("a snapshot");
    assert_eq!(swept.changes, [Change::SetRemoved("s:b".into())]);
}

#[test]
fn a_revision_without_its_commit_changes_nothing() {
    let (mut assembler, mut store) = (Assembler::default(), PolicyStore::new());
    feed(&mut assembler, &mut store, &begin(Kind::Snapshot, 0), &[set("s:a", &[])], 1).expect("a snapshot");
    for kind in [Kind::Delta, Kind::Snapshot] {
        assembler.begin(&begin(kind, 1)).expect("revision 1 is held");
        assembler.message(set("s:b", &[])).expect("a revision is open");
        // The connection breaks here; the next one resumes.
        let resumed = feed(&mut assembler, &mut store, &begin(Kind::Delta, 1), &[], 1).expect("a delta");
        assert_eq!(resumed.changes, []);
        assert_eq!(store.ip_sets().len(), 1);
    }
}

#[test]
fn frames_out_of_place_are_refused_and_change_nothing() {
    let (mut assembler, mut store) = (Assembler::default(), PolicyStore::new());
    assert_eq!(assembler.message(set("s:a", &[])), Err(RevisionError::Outside));
    assert_eq!(assembler.commit(&commit(1), &mut store).err(), Some(RevisionError::Outside));
    assert_eq!(assembler.begin(&begin(Kind::Delta, 0)), Err(RevisionError::Baseless { epoch: 7, from: 0 }));
    assert_eq!(assembler.held(), None);
}

#[test]
fn a_garbled_message_is_named_and_loses_no_other() {
    let (mut assembler, mut store) = (Assembler::default(), PolicyStore::new());
    let messages = [set("s:bad", &["10.0.0.0/99"]), set("s:good", &["10.0.0.0/8"])];
    for (kind, from) in [(Kind::Snapshot, 0), (Kind::Delta, 1)] {
        let revision = feed(&mut assembler, &mut store, &begin(kind, from), &messages, from + 1).expect("a revision");
        assert_eq!(revision.misunderstood.len(), 1);
        let text = revision.misunderstood[0].error.to_string();
        assert!(text.contains("s:bad") && text.contains("10.0.0.0/99"), "{text}");
        assert!(store.ip_set("s:good").is_some() && store.ip_set("s:bad").is_none());
    }
}
