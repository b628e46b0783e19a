//! Bytes of a client in, bytes that the server reads out.

use loona_hpack::Encoder;

use super::*;

fn built(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame(kind, flags, [0, 0, 0, 1], payload, &mut out);
    out
}

/// The headers in what comes after the preface, whose other frames must be these.
fn headers(out: &[u8], others: &[Vec<u8>]) -> Vec<(String, String)> {
    let mut rest = &out[PREFACE..];
    let (mut block, mut seen) = (Vec::new(), Vec::new());
    while let Some((header, after)) = rest.split_first_chunk::<FRAME_HEADER>() {
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        match header[3] {
            HEADERS | CONTINUATION => block.extend_from_slice(&after[..length]),
            _ => seen.push(rest[..FRAME_HEADER + length].to_vec()),
        }
        rest = &after[length..];
    }
    assert_eq!(seen, others);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    let decoded = Decoder::new().decode(&block).expect("a block without a table");
    decoded.into_iter().map(|(name, value)| (text(name), text(value))).collect()
}

#[test]
fn every_request_gets_the_name_and_keeps_the_rest() {
    let long = "x".repeat(40_000);
    let (settings, data) = (built(4, 0, &[]), built(0, END_STREAM, &[7; 100]));
    let mut encoder = Encoder::new();
    let mut bytes = vec![b'p'; PREFACE];
    bytes.extend_from_slice(&settings);
    let mut want = Vec::new();
    for authority in ["%2Frun%2Fpod%2Fsocket", "/run/pod/socket", "/run/pod/socket", "localhost"] {
        let fields = [(":path", "/felix.PolicySync/Sync"), (":authority", authority), ("user-agent", &long)];
        let block = encoder.encode(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        let (first, last) = block.split_at(block.len() / 2);
        // Padding of two bytes and a priority.
        let mut payload = vec![2, 0, 0, 0, 0, 9];
        payload.extend_from_slice(&first[..first.len().min(100)]);
        payload.extend_from_slice(&[0, 0]);
        bytes.extend(built(HEADERS, PADDED | PRIORITY, &payload));
        for part in first[first.len().min(100)..].chunks(9_000) {
            bytes.extend(built(CONTINUATION, 0, part));
        }
        for part in last.chunks(MAX_FRAME) {
            bytes.extend(built(CONTINUATION, 0, part));
        }
        bytes.extend(built(CONTINUATION, END_HEADERS, &[]));
        for (name, value) in [fields[0], (":authority", "localhost"), fields[2]] {
            want.push((name.to_owned(), value.to_owned()));
        }
    }
    bytes.extend_from_slice(&data);
    for piece in [1, 7, 4096, bytes.len()] {
        let out = rewrite(&bytes, piece).expect("it is well formed");
        assert_eq!(headers(&out, &[settings.clone(), data.clone()]), want, "pieces of {piece} bytes");
    }
}

#[test]
fn what_breaks_the_protocol_ends_the_connection() {
    let mut bomb = vec![0x40, 1, b'a', 127, 0x81, 0x1e];
    bomb.extend(vec![b'x'; 4000 - 32]);
    bomb.extend(vec![0xbe; 12_000]);
    for (frames, want) in [
        (vec![0xff; 20], "a frame is too large"),
        (built(CONTINUATION, END_HEADERS, &[]), "a header block is interrupted"),
        ([built(HEADERS, 0, &[]), built(0, 0, &[])].concat(), "a header block is interrupted"),
        (built(HEADERS, PADDED, &[3, 0, 0]), "a frame is too short"),
        (built(HEADERS, PRIORITY, &[0; 4]), "a frame is too short"),
        (built(HEADERS, END_HEADERS, &[0xff, 0xff, 0xff]), "the headers of a request cannot be decoded"),
        (
            [built(HEADERS, 0, &[]), built(CONTINUATION, 0, &[0; MAX_FRAME]).repeat(5)].concat(),
            "the headers of a request are too large",
        ),
        (built(HEADERS, END_HEADERS, &bomb), "the headers of a request are too large"),
    ] {
        let bytes = [vec![b'p'; PREFACE], frames].concat();
        let error = rewrite(&bytes, bytes.len()).expect_err(want);
        assert_eq!((error.kind(), error.to_string().as_str()), (io::ErrorKind::InvalidData, want));
    }
}
