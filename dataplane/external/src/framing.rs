//! How Felix and its external drivers write messages to each other: eight bytes
//! with the length, little-endian, and the protobuf message.

use std::io::{self, Read};

use prost::Message;

/// The longest message that is read. It is the sync API's own limit; memory is
/// taken as bytes arrive, not as the length announces them.
pub const MAX_BYTES: u64 = 64 << 20;

/// Why no message could be read. The stream cannot be used any more.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The length is beyond [`MAX_BYTES`]; most likely it is none.
    #[error("a message of {0} bytes was announced, at most {MAX_BYTES} are read")]
    TooLong(u64),
    /// The bytes are no such message.
    #[error("a message cannot be decoded: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// The stream broke, or ended within a message.
    #[error("the stream broke: {0}")]
    Io(#[from] io::Error),
}

/// Appends a message with its length.
pub fn write(message: &impl Message, out: &mut Vec<u8>) {
    let length = message.encoded_len() as u64;
    out.extend_from_slice(&length.to_le_bytes());
    message.encode(out).expect("a vector has room for any message");
}

/// Reads a message; `None` if the stream ends before it begins.
///
/// # Errors
/// [`FrameError`].
pub fn read<M: Message + Default>(stream: &mut impl Read) -> Result<Option<M>, FrameError> {
    let mut length = [0; 8];
    match read_up_to(stream, &mut length)? {
        0 => return Ok(None),
        8 => {}
        _ => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
    }
    let length = u64::from_le_bytes(length);
    if length > MAX_BYTES {
        return Err(FrameError::TooLong(length));
    }
    let mut bytes = Vec::new();
    if stream.take(length).read_to_end(&mut bytes)? as u64 != length {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(Some(M::decode(bytes.as_slice())?))
}

/// Fills the buffer unless the stream ends before; says how much was read.
fn read_up_to(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use caracal_proto::felix::{FromDataplane, ProcessStatusUpdate, from_dataplane::Payload};

    use super::*;

    fn uptime(seconds: f64) -> FromDataplane {
        let status = ProcessStatusUpdate { uptime: seconds, ..ProcessStatusUpdate::default() };
        FromDataplane { sequence_number: 0, payload: Some(Payload::ProcessStatusUpdate(status)) }
    }

    #[test]
    fn bytes_on_the_wire() {
        let mut bytes = Vec::new();
        write(&uptime(1.0), &mut bytes);
        // Field 3, eleven minus two bytes long; in it field 2, a double.
        assert_eq!(bytes, [11, 0, 0, 0, 0, 0, 0, 0, 0x1a, 9, 0x11, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
    }

    #[test]
    fn messages_come_out_as_they_went_in() {
        let messages = [uptime(1.0), FromDataplane::default(), uptime(2.5)];
        let mut bytes = Vec::new();
        messages.iter().for_each(|message| write(message, &mut bytes));
        let mut stream = bytes.as_slice();
        for message in messages {
            assert_eq!(read(&mut stream).expect("a message"), Some(message));
        }
        assert_eq!(read::<FromDataplane>(&mut stream).expect("the end"), None);
    }

    #[test]
    fn a_stream_that_is_none_is_refused() {
        for (bytes, want) in [
            (&[1, 0, 0][..], "the stream broke: unexpected end of file"),
            (&[9, 0, 0, 0, 0, 0, 0, 0, 1][..], "the stream broke: unexpected end of file"),
            (&[0xff; 9][..], "a message of 18446744073709551615 bytes was announced, at most 67108864 are read"),
            (&[2, 0, 0, 0, 0, 0, 0, 0, 0x1a, 9][..], "a message cannot be decoded: "),
        ] {
            let error = read::<FromDataplane>(&mut &*bytes).expect_err("no message").to_string();
            assert!(error.starts_with(want), "{bytes:?}: {error}");
        }
    }
}
