//! What clients call the server.
//!
//! On a unix socket gRPC's `:authority` names nobody. Clients in Go and those
//! built on gRPC's C core send the socket's path there, as it is or with `%2F`
//! for `/`; neither is an authority by RFC 3986, and the HTTP/2 library resets
//! such requests. So requests get a name that it accepts on their way in.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use loona_hpack::Decoder;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::sync::OwnedSemaphorePermit;
use tonic::transport::server::Connected;

/// The name that every request gets.
const AUTHORITY: &[u8] = b"localhost";

/// The client's connection preface (RFC 9113, 3.4).
const PREFACE: usize = 24;

/// A frame's header (RFC 9113, 4.1).
const FRAME_HEADER: usize = 9;

/// The largest frame's payload: no other size is announced (RFC 9113, 4.2).
const MAX_FRAME: usize = 16_384;

/// Bytes of a request's headers, encoded or decoded. gRPC's are a few hundred.
const MAX_HEADERS: usize = 64 << 10;

/// Types of frames (RFC 9113, 6.2 and 6.10).
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

/// Flags of these.
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// An accepted connection whose requests name a valid authority.
pub(super) struct Connection {
    stream: UnixStream,
    renaming: Renaming,
    /// Rewritten bytes, and how many of them were read.
    ready: Vec<u8>,
    taken: usize,
    /// Its place among the connections of the pod.
    _place: OwnedSemaphorePermit,
}

impl Connection {
    pub(super) fn new(stream: UnixStream, place: OwnedSemaphorePermit) -> Self {
        Self { stream, renaming: Renaming::default(), ready: Vec::new(), taken: 0, _place: place }
    }
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.taken == this.ready.len() {
            this.ready.clear();
            this.taken = 0;
            let mut bytes = [0; 4096];
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.renaming.push(read.filled(), &mut this.ready)?;
        }
        let waiting = &this.ready[this.taken..];
        let count = waiting.len().min(buf.remaining());
        buf.put_slice(&waiting[..count]);
        this.taken += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Rewrites the header blocks in a client's bytes. All of them: the new ones
/// use no table, so that the reader's and the client's need not agree.
struct Renaming {
    decoder: Decoder<'static>,
    /// Bytes of the preface that are still to come.
    preface: usize,
    /// A frame that is not complete.
    input: Vec<u8>,
    /// A header block whose end is still to come.
    block: Option<Block>,
}

struct Block {
    stream: [u8; 4],
    end_stream: u8,
    encoded: Vec<u8>,
}

impl Default for Renaming {
    fn default() -> Self {
        Self { decoder: Decoder::new(), preface: PREFACE, input: Vec::new(), block: None }
    }
}

impl Renaming {
    /// Takes bytes, and gives those that can be read by now to `out`.
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let (preface, bytes) = bytes.split_at(bytes.len().min(self.preface));
        self.preface -= preface.len();
        out.extend_from_slice(preface);
        self.input.extend_from_slice(bytes);
        let input = std::mem::take(&mut self.input);
        let mut rest = input.as_slice();
        while let Some((header, after)) = rest.split_first_chunk::<FRAME_HEADER>() {
            let [l0, l1, l2, kind, flags, stream @ ..] = *header;
            let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
            if length > MAX_FRAME {
                return Err(invalid("a frame is too large"));
            }
            let Some((payload, next)) = after.split_at_checked(length) else {
                break;
            };
            match (kind, &mut self.block) {
                (HEADERS, None) => {
                    let encoded = fragment(flags, payload)?.to_vec();
                    self.block = Some(Block { stream, end_stream: flags & END_STREAM, encoded });
                }
                (CONTINUATION, Some(block)) if block.stream == stream => {
                    if block.encoded.len() + payload.len() > MAX_HEADERS {
                        return Err(invalid("the headers of a request are too large"));
                    }
                    block.encoded.extend_from_slice(payload);
                }
                (_, Some(_)) | (CONTINUATION, None) => return Err(invalid("a header block is interrupted")),
                (_, None) => out.extend_from_slice(&rest[..FRAME_HEADER + length]),
            }
            if flags & END_HEADERS != 0
                && let Some(block) = self.block.take()
            {
                self.rename(&block, out)?;
            }
            rest = next;
        }
        self.input = rest.to_vec();
        Ok(())
    }

    fn rename(&mut self, block: &Block, out: &mut Vec<u8>) -> io::Result<()> {
        let mut encoded = Vec::new();
        let decoded = self.decoder.decode_with_cb(&block.encoded, |name, value| {
            // A short block can repeat a long entry of the table many times.
            if encoded.len() <= MAX_HEADERS {
                let value = if *name == *b":authority" { AUTHORITY } else { &*value };
                // A literal that is in no table (RFC 7541, 6.2.2).
                encoded.push(0);
                literal(&name, &mut encoded);
                literal(value, &mut encoded);
            }
        });
        decoded.map_err(|_| invalid("the headers of a request cannot be decoded"))?;
        if encoded.len() > MAX_HEADERS {
            return Err(invalid("the headers of a request are too large"));
        }
        let (first, mut rest) = encoded.split_at(encoded.len().min(MAX_FRAME));
        let end = |rest: &[u8]| if rest.is_empty() { END_HEADERS } else { 0 };
        frame(HEADERS, block.end_stream | end(rest), block.stream, first, out);
        while !rest.is_empty() {
            let (next, after) = rest.split_at(rest.len().min(MAX_FRAME));
            rest = after;
            frame(CONTINUATION, end(rest), block.stream, next, out);
        }
        Ok(())
    }
}

/// Rewrites bytes that arrive in pieces of a size.
pub(super) fn rewrite(bytes: &[u8], piece: usize) -> io::Result<Vec<u8>> {
    let (mut renaming, mut out) = (Renaming::default(), Vec::new());
    for piece in bytes.chunks(piece) {
        renaming.push(piece, &mut out)?;
    }
    Ok(out)
}

/// The part of a HEADERS frame's payload that belongs to the block.
fn fragment(flags: u8, payload: &[u8]) -> io::Result<&[u8]> {
    let short = || invalid("a frame is too short");
    let mut fragment = payload;
    if flags & PADDED != 0 {
        let (&padding, after) = fragment.split_first().ok_or_else(short)?;
        let length = after.len().checked_sub(padding.into()).ok_or_else(short)?;
        fragment = &after[..length];
    }
    if flags & PRIORITY != 0 {
        // A dependency and a weight, which nobody heeds any more.
        fragment = fragment.get(5..).ok_or_else(short)?;
    }
    Ok(fragment)
}

fn frame(kind: u8, flags: u8, stream: [u8; 4], payload: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(payload.len()).expect("a frame is at most 16 kB").to_be_bytes();
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream);
    out.extend_from_slice(payload);
}

/// A string without Huffman's code: its length as an integer with a prefix of
/// 7 bits, and its bytes (RFC 7541, 5.1 and 5.2).
fn literal(text: &[u8], out: &mut Vec<u8>) {
    const PREFIX: usize = 127;
    if text.len() < PREFIX {
        out.push(text.len() as u8);
    } else {
        out.push(PREFIX as u8);
        let mut rest = text.len() - PREFIX;
        while rest >= 128 {
            out.push((rest & 127) as u8 | 128);
            rest >>= 7;
        }
        out.push(rest as u8);
    }
    out.extend_from_slice(text);
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests;
