//! Frames: bytes under a CRC, compressed as their topic says. CRC32C (4 bytes, of all that follows), length before compression (4),
//! compression (1), reserved (3), bytes.

use super::format::{Bites, FRAME_HEADER_BYTES};
use crate::{
    Compression, Records,
    crc::{crc32c, crc32c_append},
    safeguard,
};
use bytes::Bytes;
use std::cell::RefCell;

/// Batches of records are cut at about this many bytes, so that a reader decompresses no more than it takes.
pub(super) const BATCH_BYTES: usize = 1 << 20;
/// What a damaged length may make a reader allocate: a batch, its last record of the largest size, and room.
const RAW_BYTES_MAX: u32 = 64 << 20;

/// Records of one partition, ready to be framed.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    pub(super) bytes: Bytes,
    pub(super) codec: Codec,
    pub(super) raw_bytes: u32,
    pub(super) count: u32,
    pub(super) time_min_ms: i64,
    pub(super) time_max_ms: i64,
}

/// How the bytes of a frame are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Plain = 0,
    Lz4 = 1,
    Zstd = 2,
}

/// Cuts encoded records into batches and compresses them.
pub(super) fn prepare(records: &Bytes, compression: Compression) -> Vec<Prepared> {
    let mut made = Vec::with_capacity(records.len() / BATCH_BYTES + 1);
    let mut start = 0;
    while let Some(batch) = next_batch(records, start) {
        start += batch.bytes.len();
        made.push(compress(batch, compression));
    }
    made
}

/// The records from `start` on, up to [`BATCH_BYTES`] and at least one; `None` at the end.
fn next_batch(records: &Bytes, start: usize) -> Option<Prepared> {
    let (mut length, mut count) = (0, 0);
    let (mut time_min_ms, mut time_max_ms) = (i64::MAX, i64::MIN);
    for record in Records::new(&records[start..]) {
        let bytes = record.encoded_len();
        if count > 0 && length + bytes > BATCH_BYTES {
            break;
        }
        length += bytes;
        count += 1;
        time_min_ms = time_min_ms.min(record.timestamp_ms);
        time_max_ms = time_max_ms.max(record.timestamp_ms);
    }
    let bytes = records.slice(start..start + length);
    let raw_bytes = length as u32;
    (count > 0).then_some(Prepared { raw_bytes, bytes, codec: Codec::Plain, count, time_min_ms, time_max_ms })
}

thread_local! {
    /// A context costs far more than a small batch: one a thread.
    static ZSTD: RefCell<Option<(i32, zstd::bulk::Compressor<'static>)>> = const { RefCell::new(None) };
    static UNZSTD: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

fn compress(batch: Prepared, compression: Compression) -> Prepared {
    let (codec, stored) = match compression {
        Compression::None => return batch,
        Compression::Lz4 => (Codec::Lz4, Some(lz4_flex::block::compress(&batch.bytes))),
        Compression::Zstd(level) => (Codec::Zstd, ZSTD.with_borrow_mut(|context| compress_zstd(context, level, &batch.bytes))),
    };
    match stored {
        // A copy: the buffer that was compressed into is as large as the batch, and would stay so for as long as this waits.
        Some(stored) if stored.len() < batch.bytes.len() => Prepared { bytes: Bytes::copy_from_slice(&stored), codec, ..batch },
        _ => batch,
    }
}

fn compress_zstd(context: &mut Option<(i32, zstd::bulk::Compressor<'static>)>, level: i32, bytes: &[u8]) -> Option<Vec<u8>> {
    if context.as_ref().is_none_or(|(made_for, _)| *made_for != level) {
        *context = zstd::bulk::Compressor::new(level).ok().map(|made| (level, made));
    }
    context.as_mut()?.1.compress(bytes).ok()
}

/// Appends a frame of these pieces; returns its length.
pub(super) fn put_frame(out: &mut Vec<u8>, pieces: &[Bytes], codec: Codec, raw_bytes: u32) -> u32 {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&raw_bytes.to_le_bytes());
    out.extend_from_slice(&[codec as u8, 0, 0, 0]);
    pieces.iter().for_each(|piece| out.extend_from_slice(piece));
    let crc = crc32c(&out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    (out.len() - start) as u32
}

/// Compares the CRC of a frame that comes in pieces.
#[derive(Default)]
pub(super) struct Checker {
    stated: Option<[u8; 4]>,
    crc: u32,
}

impl Checker {
    /// The next piece. The first has the whole header.
    pub(super) fn add(&mut self, piece: &[u8]) {
        let covered = match (self.stated, piece.split_first_chunk::<4>()) {
            (None, Some((stated, covered))) if piece.len() >= FRAME_HEADER_BYTES => {
                self.stated = Some(*stated);
                covered
            }
            _ => piece,
        };
        self.crc = crc32c_append(self.crc, covered);
    }

    pub(super) fn is_right(&self) -> bool {
        self.stated.is_some_and(|stated| stated == self.crc.to_le_bytes() || !safeguard("log-crc"))
    }
}

/// Whether the frame's CRC is right.
pub(super) fn is_whole(frame: &[u8]) -> bool {
    let mut checker = Checker::default();
    checker.add(frame);
    checker.is_right()
}

/// The bytes of a frame as they were before compression.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unpacked {
    /// They are what lies behind its header.
    Plain,
    /// They were compressed.
    Raw(Vec<u8>),
}

/// Opens a frame that is whole; `None` where it cannot be: damaged in a way that its CRC covers, or by another program.
pub(super) fn unpack(frame: &[u8]) -> Option<Unpacked> {
    let mut bites = Bites(frame.get(4..)?);
    let (raw_bytes, codec) = (bites.u32()?, bites.u8()?);
    let stored = frame.get(FRAME_HEADER_BYTES..)?;
    if codec == Codec::Plain as u8 {
        return Some(Unpacked::Plain);
    }
    if raw_bytes > RAW_BYTES_MAX {
        return None;
    }
    let raw = match codec {
        _ if codec == Codec::Lz4 as u8 => lz4_flex::block::decompress(stored, raw_bytes as usize).ok()?,
        _ if codec == Codec::Zstd as u8 => UNZSTD.with_borrow_mut(|context| decompress_zstd(context, stored, raw_bytes as usize))?,
        _ => return None,
    };
    (raw.len() == raw_bytes as usize).then_some(Unpacked::Raw(raw))
}

fn decompress_zstd(context: &mut Option<zstd::bulk::Decompressor<'static>>, stored: &[u8], raw_bytes: usize) -> Option<Vec<u8>> {
    if context.is_none() {
        *context = zstd::bulk::Decompressor::new().ok();
    }
    context.as_mut()?.decompress(stored, raw_bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RecordBuf;

    #[test]
    fn frames_come_back_and_damaged_ones_do_not() {
        let mut records = RecordBuf::default();
        (0..50).for_each(|n| records.push(n, b"key", &[], b"the same again and again"));
        let records = records.into_bytes();
        for compression in [Compression::None, Compression::Lz4, Compression::Zstd(1)] {
            let prepared = prepare(&records, compression);
            assert_eq!((prepared.len(), prepared[0].count), (1, 50));
            assert_eq!((prepared[0].time_min_ms, prepared[0].time_max_ms), (0, 49));
            let mut out = Vec::new();
            put_frame(&mut out, &[prepared[0].bytes.clone()], prepared[0].codec, prepared[0].raw_bytes);
            let unpacked = match unpack(&out).filter(|_| is_whole(&out)) {
                Some(Unpacked::Plain) => out[FRAME_HEADER_BYTES..].to_vec(),
                Some(Unpacked::Raw(raw)) => raw,
                None => Vec::new(),
            };
            assert_eq!(unpacked, records, "{compression:?}");
            for position in 0..out.len() {
                let mut out = out.clone();
                out[position] ^= 1;
                assert!(!is_whole(&out), "{compression:?}, flipped at {position}");
                assert!(!is_whole(&out[..position]), "{compression:?}, cut at {position}");
            }
        }
    }

    #[test]
    fn large_buffers_are_cut_between_records() {
        let mut records = RecordBuf::default();
        (0..5).for_each(|n| records.push(n, b"", &[], &vec![0; 400 << 10]));
        records.push(9, b"", &[], &vec![0; 3 << 20]);
        let prepared = prepare(&records.into_bytes(), Compression::None);
        assert_eq!(prepared.iter().map(|batch| batch.count).collect::<Vec<_>>(), [2, 2, 1, 1]);
        assert_eq!(prepare(&Bytes::new(), Compression::Lz4).len(), 0);
    }
}
