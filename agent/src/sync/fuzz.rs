//! What must hold of anything at all that one half says to the other. Driven by
//! the fuzz targets of this crate and by the test that replays their corpora.

use caracal_dataplane::{Assembler, RevisionError};
use caracal_program::PolicyStore;
use caracal_proto::felix;
use caracal_proto::sync::{FromData, ToData, from_data, to_data};
use prost::Message;

use super::{Heard, Link, Retention, Session, WINDOW};

/// Takes the bytes as the control half's, and asserts what must hold of the data half.
///
/// # Panics
/// If something does not hold.
pub fn to_data(data: &[u8]) {
    let mut link = Link::new();
    link.hello(None);
    let (mut assembler, mut store) = (Assembler::default(), PolicyStore::new());
    for frame in frames::<ToData>(data) {
        let passed = match link.receive(frame) {
            Ok(passed) => passed,
            Err(_) => break,
        };
        let taken = match passed.and_then(|frame| frame.frame) {
            Some(to_data::Frame::Begin(begin)) => assembler.begin(&begin),
            Some(to_data::Frame::Felix(message)) => assembler.message(message),
            Some(to_data::Frame::Commit(commit)) => assembler.commit(&commit, &mut store).map(drop),
            Some(to_data::Frame::Extension(_)) | None => Ok(()),
            Some(frame @ (to_data::Frame::Welcome(_) | to_data::Frame::Refusal(_))) => panic!("passed on: {frame:?}"),
        };
        match taken {
            Ok(()) => assert_eq!(link.passed(), assembler.held()),
            Err(RevisionError::Baseless { .. }) => break,
            Err(RevisionError::Outside) => panic!("a frame outside a revision was passed on"),
        }
    }
    assert_eq!(store.diff_from(&store.clone()), [], "a store differs from itself");
}

/// Takes the bytes as the data half's, and asserts what must hold of the control half.
///
/// # Panics
/// If something does not hold.
pub fn from_data(data: &[u8]) {
    const EPOCH: u64 = 1;
    let mut session = Session::new(EPOCH, Retention::Resumable);
    let mut frames = frames::<FromData>(data);
    let Some(FromData { frame: Some(from_data::Frame::Hello(hello)) }) = frames.next() else {
        return;
    };
    if session.attach(&hello, &mut |_| {}).is_err() {
        assert!(!session.is_attached());
        return;
    }
    let (mut newest, mut acked) = (0, 0);
    for frame in frames {
        // A graph that always has something to tell.
        while let Some(kind) = session.wants() {
            session.begin(kind, &mut |_| {});
            session.message(felix::ToDataplane::default(), &mut |_| {});
            newest = session.commit(0, &mut |_| {}).expect("it has a message");
            assert!(newest - acked <= WINDOW as u64, "{newest} was sent and {acked} acknowledged");
        }
        match session.receive(frame) {
            Ok(Heard::Ack { ack, .. }) if ack.epoch == EPOCH => {
                assert!(ack.revision <= newest, "{} of {newest} was acknowledged", ack.revision);
                acked = acked.max(ack.revision);
            }
            Ok(_) => {}
            Err(_) => return session.detach(),
        }
    }
}

/// Messages as gRPC sends them: a flag for compression, the length in four
/// bytes, the message. A stream that is none ends.
fn frames<M: Message + Default>(mut data: &[u8]) -> impl Iterator<Item = M> {
    std::iter::from_fn(move || {
        let (&[0, length @ ..], rest) = data.split_first_chunk::<5>()? else {
            return None;
        };
        let (message, rest) = rest.split_at_checked(u32::from_be_bytes(length) as usize)?;
        data = rest;
        M::decode(message).ok()
    })
}
