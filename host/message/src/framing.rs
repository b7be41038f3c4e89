//! The stream format of Heka: `0x1E, header length, header, 0x1F, message`.
//!
//! The header is a protobuf message that begins with the message's length (tag 1); what follows that (signatures) is
//! ignored. A reader finds its way again after garbage: it goes on at the next byte that could begin a frame.

use crate::error::MessageError;
use crate::reader::MessageRef;
use crate::wire::{VARINT, key, read_varint, varint_len, write_varint};

/// Begins a frame.
pub const RECORD_SEPARATOR: u8 = 0x1e;
/// Stands between header and message.
pub const UNIT_SEPARATOR: u8 = 0x1f;
/// The most a frame adds to its message: separator, length, 255 bytes of header, separator.
pub const FRAME_OVERHEAD_MAX: usize = 258;

/// The header's first byte: tag 1, a varint.
const LENGTH_KEY: u8 = key(1, VARINT);

/// Appends a message in a frame. The message is not looked at; readers refuse an empty one.
pub fn write_frame(out: &mut Vec<u8>, message: &[u8]) {
    let length = message.len() as u64;
    out.reserve(4 + varint_len(u64::MAX) + message.len());
    // A varint has at most ten bytes.
    out.extend_from_slice(&[RECORD_SEPARATOR, 1 + varint_len(length) as u8, LENGTH_KEY]);
    write_varint(out, length);
    out.push(UNIT_SEPARATOR);
    out.extend_from_slice(message);
}

/// Why bytes were discarded from a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    /// Bytes that no frame begins with.
    #[error("bytes outside of any frame")]
    Garbage,
    /// The header is not followed by 0x1F, or does not begin with a message length.
    #[error("not a frame header")]
    Header,
    /// The header announces a message that is too large.
    #[error("a message of {size} bytes is over the limit of {limit} bytes")]
    TooLarge {
        /// What the header says.
        size: u64,
        /// The reader's limit.
        limit: usize,
    },
    /// The frame does not hold a Heka message.
    #[error("not a Heka message: {0}")]
    Message(MessageError),
}

/// Takes frames out of a stream that arrives in pieces of any size.
///
/// Memory: the limit of a message and [`FRAME_OVERHEAD_MAX`], twice at most. Read all frames after each piece:
///
/// ```
/// # use tidemill_message::framing::{FrameReader, write_frame};
/// # let mut stream = Vec::new();
/// # write_frame(&mut stream, b"payload");
/// let mut reader = FrameReader::any_payload(1 << 20);
/// let mut rest = &stream[..];
/// while !rest.is_empty() {
///     rest = &rest[reader.push(rest)..];
///     while let Some(message) = reader.next_frame() {
///         assert_eq!(message, b"payload");
///     }
/// }
/// ```
#[derive(Debug)]
pub struct FrameReader {
    buffer: Vec<u8>,
    /// Where the next frame is looked for.
    scan: usize,
    message_bytes_max: usize,
    heka_only: bool,
    discarded: u64,
    last_fault: Option<FrameFault>,
}

impl FrameReader {
    /// Frames of Heka messages; a frame of anything else is garbage in which a message may hide.
    pub fn new(message_bytes_max: usize) -> Self {
        Self { buffer: Vec::new(), scan: 0, message_bytes_max, heka_only: true, discarded: 0, last_fault: None }
    }

    /// Frames of any payload, which is not looked at.
    pub fn any_payload(message_bytes_max: usize) -> Self {
        Self { heka_only: false, ..Self::new(message_bytes_max) }
    }

    /// Takes as many of the bytes as there is room for and says how many. There is room for at least one once
    /// [`FrameReader::next_frame`] has answered `None`.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        self.buffer.drain(..self.scan);
        self.scan = 0;
        let room = (self.message_bytes_max + FRAME_OVERHEAD_MAX).saturating_sub(self.buffer.len());
        let taken = room.min(bytes.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        taken
    }

    /// The next whole message; `None` until more bytes are pushed.
    pub fn next_frame(&mut self) -> Option<&[u8]> {
        loop {
            match self.look() {
                Look::More => return None,
                Look::Frame { start, end } => {
                    self.scan = end;
                    return Some(&self.buffer[start..end]);
                }
                Look::Discard { bytes, fault } => self.discard(bytes, fault),
            }
        }
    }

    /// How many bytes belonged to no frame, so far.
    pub fn discarded(&self) -> u64 {
        self.discarded
    }

    /// Why bytes were discarded the last time.
    pub fn last_fault(&self) -> Option<FrameFault> {
        self.last_fault
    }

    /// How many bytes wait for the rest of their frame. At the end of a stream these are cut off.
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.scan
    }

    fn discard(&mut self, bytes: usize, fault: FrameFault) {
        self.scan += bytes;
        self.discarded += bytes as u64;
        // Garbage is what is left of a frame that failed: the first reason is the better one.
        if fault != FrameFault::Garbage || self.last_fault.is_none() {
            self.last_fault = Some(fault);
        }
    }

    fn look(&self) -> Look {
        let rest = &self.buffer[self.scan..];
        if rest.first() != Some(&RECORD_SEPARATOR) {
            return look_for_frame(rest);
        }
        match frame_bounds(rest, self.message_bytes_max) {
            Ok(Some((start, end))) => self.look_at_message(start, end),
            Ok(None) => Look::More,
            Err(fault) => Look::Discard { bytes: 1, fault },
        }
    }

    fn look_at_message(&self, start: usize, end: usize) -> Look {
        let (start, end) = (self.scan + start, self.scan + end);
        match self.buffer.get(start..end) {
            None => Look::More,
            Some(message) if self.heka_only => match MessageRef::parse(message) {
                Ok(_) => Look::Frame { start, end },
                Err(error) => Look::Discard { bytes: 1, fault: FrameFault::Message(error) },
            },
            Some(_) => Look::Frame { start, end },
        }
    }
}

/// What is to be seen at the place where a frame is looked for.
enum Look {
    Frame { start: usize, end: usize },
    Discard { bytes: usize, fault: FrameFault },
    More,
}

fn look_for_frame(rest: &[u8]) -> Look {
    let bytes = memchr::memchr(RECORD_SEPARATOR, rest).unwrap_or(rest.len());
    match bytes {
        0 => Look::More,
        _ => Look::Discard { bytes, fault: FrameFault::Garbage },
    }
}

/// Where the message of the frame at the beginning of `rest` lies; `None` while its header is not whole.
fn frame_bounds(rest: &[u8], message_bytes_max: usize) -> Result<Option<(usize, usize)>, FrameFault> {
    let Some(&header_bytes) = rest.get(1) else { return Ok(None) };
    let header_end = 2 + usize::from(header_bytes);
    match rest.get(header_end) {
        None => Ok(None),
        Some(&UNIT_SEPARATOR) => {
            let length = message_length(&rest[2..header_end], message_bytes_max)?;
            Ok(Some((header_end + 1, header_end + 1 + length)))
        }
        Some(_) => Err(FrameFault::Header),
    }
}

fn message_length(header: &[u8], limit: usize) -> Result<usize, FrameFault> {
    if header.first() != Some(&LENGTH_KEY) {
        return Err(FrameFault::Header);
    }
    let size = read_varint(header, &mut 1).map_err(|_| FrameFault::Header)?;
    match usize::try_from(size) {
        Ok(0) => Err(FrameFault::Header),
        Ok(length) if length <= limit => Ok(length),
        _ => Err(FrameFault::TooLarge { size, limit }),
    }
}
