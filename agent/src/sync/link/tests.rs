use caracal_proto::sync::{Commit, Refusal, begin, refusal};

use super::*;

fn frame(frame: to_data::Frame) -> ToData {
    ToData { frame: Some(frame) }
}

fn welcome(version: u32) -> ToData {
    frame(to_data::Frame::Welcome(Welcome { version, epoch: 7, ..Welcome::default() }))
}

fn begin(epoch: u64) -> ToData {
    frame(to_data::Frame::Begin(Begin { epoch, kind: begin::Kind::Snapshot.into(), from: 0 }))
}

fn message() -> ToData {
    frame(to_data::Frame::Felix(Default::default()))
}

fn commit(revision: u64) -> ToData {
    frame(to_data::Frame::Commit(Commit { revision, stamp: 0 }))
}

/// Gives frames to a new link; the number of those that were passed on, or the error.
fn run(frames: &[ToData]) -> Result<usize, LinkError> {
    let mut link = Link::new();
    link.hello(None);
    let mut passed = 0;
    for frame in frames {
        passed += usize::from(link.receive(frame.clone())?.is_some());
    }
    Ok(passed)
}

#[test]
fn revisions_pass_and_the_rest_does_not() {
    let whole = [welcome(1), begin(7), message(), message(), commit(3), begin(7), commit(4)];
    assert_eq!(run(&whole), Ok(6));
    for (bad, why) in [
        (vec![begin(7)], "no welcome before the first revision"),
        (vec![welcome(1), welcome(1)], "a second welcome"),
        (vec![welcome(9)], "it chose a version that was not offered"),
        (vec![welcome(1), begin(8)], "a revision of another epoch than the welcome's"),
        (vec![welcome(1), message()], "a message outside a revision"),
        (vec![welcome(1), commit(1)], "a message outside a revision"),
        (vec![welcome(1), begin(7), begin(7)], "a revision began within another"),
        (vec![ToData { frame: None }], "a frame of an unknown kind"),
    ] {
        assert_eq!(run(&bad), Err(LinkError::Protocol(why)));
    }
}

#[test]
fn only_whole_revisions_count_as_passed() {
    let mut link = Link::new();
    link.hello(None);
    let position = |revision| Some(Position { epoch: 7, revision });
    for (next, want) in [
        (welcome(1), None),
        (begin(7), None),
        (message(), None),
        (commit(3), position(3)),
        (begin(7), position(3)),
        (message(), position(3)),
    ] {
        link.receive(next).expect("all is in order");
        assert_eq!(link.passed(), want);
    }
    link.hello(link.passed());
    assert_eq!(link.passed(), position(3), "a new connection goes on there");
}

#[test]
fn a_refusal_is_an_error_at_any_time() {
    let refusal = frame(to_data::Frame::Refusal(Refusal {
        reason: refusal::Reason::Busy.into(),
        message: "another data half is connected".into(),
    }));
    for before in [vec![], vec![welcome(1)], vec![welcome(1), begin(7)]] {
        let error = run(&[before, vec![refusal.clone()]].concat()).expect_err("refused");
        assert_eq!(error.to_string(), "the control half refused the connection: busy: another data half is connected");
    }
}
