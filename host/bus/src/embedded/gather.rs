//! Batches put together to what one poll returns. Those that are stored as they are go from the file to their place, with no copy
//! between: each is read so that its header lies over the end of the batch before it, which is put right afterwards.

use super::{
    buffers::{Buffer, Buffers},
    format::FRAME_HEADER_BYTES,
    index::Slot,
    store::{FrameError, Store},
};
use crate::{Records, record::FIXED_BYTES};
use bytes::Bytes;
use std::sync::Arc;

/// Batches of one partition, in their order.
pub(super) struct Gathered {
    buffers: Arc<Buffers>,
    buffer: Option<Buffer>,
    /// How long the buffer is made at first.
    buffer_bytes: usize,
    /// Where the records lie in the buffer. Before them there is room for a header.
    start: usize,
    end: usize,
    /// The only batch so far, where it was compressed: it lies in memory of its own.
    alone: Option<Bytes>,
    offsets: Vec<i64>,
}

/// A batch that was read and not taken yet.
pub(super) struct Piece {
    /// `None`: behind the records in the buffer.
    elsewhere: Option<Bytes>,
    /// The bytes of records before the wanted position.
    skipped: usize,
    length: usize,
}

impl Piece {
    /// The bytes of its records.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Whether it is long enough for so many records.
    pub(super) fn can_hold(&self, count: u32) -> bool {
        (self.skipped + self.length) / FIXED_BYTES >= count as usize
    }
}

impl Gathered {
    /// For these batches.
    pub(super) fn new(store: &Store, slots: &[Slot]) -> Self {
        let stored: usize = slots.iter().map(|slot| slot.length as usize).sum();
        let (start, end) = (FRAME_HEADER_BYTES, FRAME_HEADER_BYTES);
        let (buffers, buffer_bytes) = (Arc::clone(store.buffers()), stored + FRAME_HEADER_BYTES);
        Self { buffers, buffer: None, buffer_bytes, start, end, alone: None, offsets: Vec::new() }
    }

    /// The bytes of the records that were taken.
    pub(super) fn len(&self) -> usize {
        self.end - self.start + self.alone.as_ref().map_or(0, Bytes::len)
    }

    /// Reads a batch from `position` on.
    ///
    /// # Errors
    /// Where it cannot be read; what was taken stays.
    pub(super) fn read(&mut self, store: &Store, slot: &Slot, position: i64) -> Result<Piece, FrameError> {
        let elsewhere = match store.cached(slot.place()) {
            Some(found) => Some(found),
            None => self.read_frame(store, slot)?,
        };
        let here =
            || self.buffer.as_ref().map_or(&[][..], |buffer| &buffer[self.end..self.end + slot.length as usize - FRAME_HEADER_BYTES]);
        let records = elsewhere.as_deref().unwrap_or_else(here);
        let skipped = bytes_before(records, position - slot.base);
        let length = records.len() - skipped;
        Ok(Piece { elsewhere, skipped, length })
    }

    /// Reads a frame behind the records; answers its records where they do not lie there.
    fn read_frame(&mut self, store: &Store, slot: &Slot) -> Result<Option<Bytes>, FrameError> {
        store.check_length(slot.place())?;
        if let Some(alone) = self.alone.take() {
            self.append(&alone);
        }
        let start = self.end - FRAME_HEADER_BYTES;
        let (at, header) = (start..start + slot.length as usize, start..self.end);
        let buffer = self.room(at.end.max(header.end));
        let mut before = [0; FRAME_HEADER_BYTES];
        before.copy_from_slice(&buffer[header.clone()]);
        let read = store.read_into(slot.place(), &mut buffer[at]);
        buffer[header].copy_from_slice(&before);
        read
    }

    fn room(&mut self, bytes: usize) -> &mut Buffer {
        let first = bytes.max(self.buffer_bytes);
        let buffer = self.buffer.get_or_insert_with(|| self.buffers.get(first));
        buffer.grow(bytes);
        buffer
    }

    fn append(&mut self, records: &[u8]) {
        let (start, end) = (self.end, self.end + records.len());
        self.room(end)[start..end].copy_from_slice(records);
        self.end = end;
    }

    /// Takes what was read last, and the offsets of its records.
    pub(super) fn take(&mut self, piece: Piece, offsets: std::ops::Range<i64>) {
        let Piece { elsewhere, skipped, length } = piece;
        match elsewhere {
            None if self.start == self.end => {
                self.start += skipped;
                self.end = self.start + length;
            }
            // Only the first batch begins before the position.
            None => self.end += length,
            Some(records) if self.len() == 0 => self.alone = Some(records.slice(skipped..)),
            Some(records) => {
                if let Some(alone) = self.alone.take() {
                    self.append(&alone);
                }
                self.append(&records[skipped..]);
            }
        }
        self.offsets.extend(offsets);
    }

    /// The offsets and the records; `None` where none were taken.
    pub(super) fn finish(self) -> Option<(Vec<i64>, Bytes)> {
        let bytes = match (self.alone, self.buffer) {
            (Some(alone), _) => alone,
            (None, Some(buffer)) => Bytes::from_owner(buffer).slice(self.start..self.end),
            (None, None) => return None,
        };
        (!self.offsets.is_empty()).then_some((self.offsets, bytes))
    }
}

/// The bytes of the first records.
fn bytes_before(batch: &[u8], records: i64) -> usize {
    let count = usize::try_from(records).unwrap_or(0);
    Records::new(batch).take(count).map(|record| record.encoded_len()).sum()
}
