//! What must hold of anything at all that a driver writes. Driven by the fuzz
//! target beside this crate and by the test that replays its corpus.

use caracal_proto::felix::FromDataplane;
use caracal_proto::sync::Position;

use crate::framing;
use crate::statuses::Statuses;

/// Reads the bytes as a driver's stream, and asserts what must hold of it.
///
/// # Panics
/// If something does not hold.
pub fn fuzz_one(data: &[u8]) {
    let mut statuses = Statuses::default();
    statuses.commit(Position { epoch: 1, revision: 1 });
    let mut stream = data;
    while let Ok(Some(message)) = framing::read::<FromDataplane>(&mut stream) {
        let mut bytes = Vec::new();
        framing::write(&message, &mut bytes);
        let again: Option<FromDataplane> = framing::read(&mut bytes.as_slice()).expect("what was written can be read");
        // A number that is none differs from itself, and a negative zero is written as none at all.
        let mut rewritten = Vec::new();
        framing::write(&again.expect("a message was written"), &mut rewritten);
        assert_eq!(rewritten, bytes);
        let outcomes = statuses.heard(&message);
        assert!(outcomes.is_none(), "nobody was told of the endpoint: {outcomes:?}");
    }
}
