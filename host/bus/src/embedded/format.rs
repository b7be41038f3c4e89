//! The bytes on disk, all little-endian.
//!
//! A segment `NNNNNNNN.log` is a header (twice the same 32 bytes: magic, format version, number, salt, CRC) and entries. The salt
//! goes into the CRC of each entry's header, so that a record cannot be made to look like an entry to a reader that searches for
//! the next one behind damage. An entry is
//! a header ([`EntryHeader`]), items that say what it does ([`Item`]) and frames that carry bytes (records of one batch, or one
//! checkpoint), each under a CRC32C of its own, so that a reader checks a batch without its entry. The first two entries of a
//! segment are the same snapshot of all topics, ends, positions and places of checkpoints.

use crate::{
    Compression,
    crc::{crc32c, crc32c_append},
};
use std::sync::Arc;

/// The format this program writes. It reads this one and the one before.
pub(super) const FORMAT_VERSION: u32 = 1;
pub(super) const SEGMENT_MAGIC: &[u8; 8] = b"TIDELOG\0";
pub(super) const SEGMENT_HEADER_BYTES: usize = 2 * HEADER_COPY_BYTES;
const HEADER_COPY_BYTES: usize = 32;
pub(super) const ENTRY_HEADER_BYTES: usize = 36;
pub(super) const FRAME_HEADER_BYTES: usize = 12;
/// Every entry begins with it: what a reader looks for behind damage.
pub(super) const ENTRY_MARKER: u32 = u32::from_le_bytes(*b"TmE\x01");

/// Reads fixed-size values off the front.
pub(super) struct Bites<'a>(pub(super) &'a [u8]);

impl<'a> Bites<'a> {
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    fn text(&mut self) -> Option<Arc<str>> {
        let length = self.array().map(u16::from_le_bytes)?;
        std::str::from_utf8(self.take(usize::from(length))?).ok().map(Arc::from)
    }
}

pub(super) fn segment_header(number: u32, salt: u64) -> [u8; SEGMENT_HEADER_BYTES] {
    let mut header = [0; SEGMENT_HEADER_BYTES];
    let (first, second) = header.split_at_mut(HEADER_COPY_BYTES);
    first[..8].copy_from_slice(SEGMENT_MAGIC);
    first[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    first[12..16].copy_from_slice(&number.to_le_bytes());
    first[16..24].copy_from_slice(&salt.to_le_bytes());
    let crc = crc32c(&first[..28]);
    first[28..].copy_from_slice(&crc.to_le_bytes());
    second.copy_from_slice(first);
    header
}

/// What the header of a segment says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SegmentHeader {
    /// With its salt.
    Good(u64),
    /// Written by a newer program, in this version.
    Newer(u32),
    Damaged,
}

pub(super) fn read_segment_header(header: &[u8; SEGMENT_HEADER_BYTES], number: u32) -> SegmentHeader {
    let (first, second) = header.split_at(HEADER_COPY_BYTES);
    match read_header_copy(first, number) {
        SegmentHeader::Damaged => read_header_copy(second, number),
        good => good,
    }
}

fn read_header_copy(copy: &[u8], number: u32) -> SegmentHeader {
    let mut bites = Bites(copy);
    let (magic, version, found, salt) = (bites.take(8), bites.u32(), bites.u32(), bites.u64());
    match (version, salt) {
        // A newer format may lay out the rest in another way: the magic and the version alone are trusted.
        (Some(version), _) if magic == Some(SEGMENT_MAGIC) && version > FORMAT_VERSION => SegmentHeader::Newer(version),
        (Some(_), Some(salt)) if found == Some(number) && segment_header(number, salt)[..HEADER_COPY_BYTES] == *copy => {
            SegmentHeader::Good(salt)
        }
        _ => SegmentHeader::Damaged,
    }
}

fn salted_crc(salt: u64, bytes: &[u8]) -> u32 {
    crc32c_append(crc32c(&salt.to_le_bytes()), bytes)
}

/// No entry has a greater number. Nobody writes so many: a greater one that is read is damage.
pub(super) const SEQUENCE_MAX: u64 = u64::MAX >> 1;

/// The front of an entry, under a CRC of its own so that a damaged entry can be stepped over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EntryHeader {
    pub(super) items_bytes: u32,
    pub(super) body_bytes: u32,
    pub(super) items_crc: u32,
    /// Grows by one from entry to entry, over all segments.
    pub(super) sequence: u64,
    /// When it was written, ms since 1970 UTC.
    pub(super) time_ms: i64,
}

impl EntryHeader {
    pub(super) fn encode(&self, salt: u64) -> [u8; ENTRY_HEADER_BYTES] {
        let mut bytes = [0; ENTRY_HEADER_BYTES];
        bytes[..4].copy_from_slice(&ENTRY_MARKER.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.items_bytes.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.items_crc.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.time_ms.to_le_bytes());
        let crc = salted_crc(salt, &bytes[..32]);
        bytes[32..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8], salt: u64) -> Option<Self> {
        let mut bites = Bites(bytes.get(..ENTRY_HEADER_BYTES)?);
        if bites.u32()? != ENTRY_MARKER || salted_crc(salt, &bytes[..32]).to_le_bytes() != bytes[32..ENTRY_HEADER_BYTES] {
            return None;
        }
        let (items_bytes, body_bytes, items_crc) = (bites.u32()?, bites.u32()?, bites.u32()?);
        Some(Self { items_bytes, body_bytes, items_crc, sequence: bites.u64()?, time_ms: bites.i64()? })
    }

    /// The bytes of the whole entry.
    pub(super) fn entry_bytes(&self) -> u64 {
        ENTRY_HEADER_BYTES as u64 + u64::from(self.items_bytes) + u64::from(self.body_bytes)
    }
}

/// Where a frame lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) segment: u32,
    pub(super) position: u32,
    /// With its header.
    pub(super) length: u32,
}

/// One thing that an entry does.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    /// All that follows in this entry is the whole state.
    Snapshot,
    Topic {
        id: u32,
        name: Arc<str>,
        partitions: u32,
        compacted: bool,
        compression: Compression,
        incarnation: Arc<str>,
    },
    /// The next offset of a partition.
    End {
        topic: u32,
        partition: u32,
        end: i64,
    },
    /// Records; a frame of the entry's body.
    Batch {
        topic: u32,
        partition: u32,
        base: i64,
        count: u32,
        time_min_ms: i64,
        time_max_ms: i64,
        frame_bytes: u32,
    },
    Position {
        group: Arc<str>,
        topic: u32,
        partition: u32,
        position: i64,
    },
    /// A checkpoint; a frame of the entry's body.
    Checkpoint {
        group: Arc<str>,
        key: Arc<str>,
        frame_bytes: u32,
    },
    Forget {
        group: Arc<str>,
        key: Arc<str>,
    },
    /// A checkpoint that lies in an older segment.
    Kept {
        group: Arc<str>,
        key: Arc<str>,
        place: Place,
    },
}

impl Item {
    /// The bytes of its frame in the entry's body, if it has one.
    pub(super) fn frame_bytes(&self) -> u32 {
        match self {
            Self::Batch { frame_bytes, .. } | Self::Checkpoint { frame_bytes, .. } => *frame_bytes,
            _ => 0,
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Snapshot => out.push(0),
            Self::Topic { id, name, partitions, compacted, compression, incarnation } => {
                put(out, 1, &[*id, *partitions], &[]);
                out.push(u8::from(*compacted));
                let (kind, level) = compression_code(*compression);
                out.push(kind);
                out.extend_from_slice(&level.to_le_bytes());
                put_texts(out, &[name, incarnation]);
            }
            Self::End { topic, partition, end } => put(out, 2, &[*topic, *partition], &[*end]),
            Self::Batch { topic, partition, base, count, time_min_ms, time_max_ms, frame_bytes } => {
                put(out, 3, &[*topic, *partition, *count, *frame_bytes], &[*base, *time_min_ms, *time_max_ms]);
            }
            Self::Position { group, topic, partition, position } => {
                put(out, 4, &[*topic, *partition], &[*position]);
                put_texts(out, &[group]);
            }
            Self::Checkpoint { group, key, frame_bytes } => {
                put(out, 5, &[*frame_bytes], &[]);
                put_texts(out, &[group, key]);
            }
            Self::Forget { group, key } => {
                put(out, 6, &[], &[]);
                put_texts(out, &[group, key]);
            }
            Self::Kept { group, key, place } => {
                put(out, 7, &[place.segment, place.position, place.length], &[]);
                put_texts(out, &[group, key]);
            }
        }
    }

    /// Reads one item; `None` where the bytes are none.
    pub(super) fn decode(bites: &mut Bites<'_>) -> Option<Self> {
        Some(match bites.u8()? {
            0 => Self::Snapshot,
            1 => {
                let (id, partitions, compacted) = (bites.u32()?, bites.u32()?, bites.u8()? != 0);
                let compression = compression_of(bites.u8()?, bites.u32()?.cast_signed())?;
                Self::Topic { id, partitions, compacted, compression, name: bites.text()?, incarnation: bites.text()? }
            }
            2 => Self::End { topic: bites.u32()?, partition: bites.u32()?, end: bites.i64()? },
            3 => {
                let (topic, partition, count, frame_bytes) = (bites.u32()?, bites.u32()?, bites.u32()?, bites.u32()?);
                let (base, time_min_ms, time_max_ms) = (bites.i64()?, bites.i64()?, bites.i64()?);
                Self::Batch { topic, partition, base, count, time_min_ms, time_max_ms, frame_bytes }
            }
            4 => {
                let (topic, partition, position) = (bites.u32()?, bites.u32()?, bites.i64()?);
                Self::Position { group: bites.text()?, topic, partition, position }
            }
            5 => {
                let frame_bytes = bites.u32()?;
                Self::Checkpoint { group: bites.text()?, key: bites.text()?, frame_bytes }
            }
            6 => Self::Forget { group: bites.text()?, key: bites.text()? },
            7 => {
                let place = Place { segment: bites.u32()?, position: bites.u32()?, length: bites.u32()? };
                Self::Kept { group: bites.text()?, key: bites.text()?, place }
            }
            _ => return None,
        })
    }
}

fn put(out: &mut Vec<u8>, tag: u8, words: &[u32], numbers: &[i64]) {
    out.push(tag);
    words.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
    numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
}

/// Texts are at most 65,535 bytes: the API refuses longer ones before they come here.
fn put_texts(out: &mut Vec<u8>, texts: &[&Arc<str>]) {
    for text in texts {
        out.extend_from_slice(&(text.len() as u16).to_le_bytes());
        out.extend_from_slice(text.as_bytes());
    }
}

fn compression_code(compression: Compression) -> (u8, i32) {
    match compression {
        Compression::None => (0, 0),
        Compression::Lz4 => (1, 0),
        Compression::Zstd(level) => (2, level),
    }
}

fn compression_of(kind: u8, level: i32) -> Option<Compression> {
    Some(match kind {
        0 => Compression::None,
        1 => Compression::Lz4,
        2 => Compression::Zstd(level),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items() -> Vec<Item> {
        let (group, key): (Arc<str>, Arc<str>) = ("analysis".into(), "monitor/validated/3".into());
        let compression = Compression::Zstd(-3);
        let place = Place { segment: 1, position: 2, length: 3 };
        vec![
            Item::Snapshot,
            Item::Topic { id: 7, name: "raw".into(), partitions: 64, compacted: true, compression, incarnation: "i".into() },
            Item::End { topic: 7, partition: 3, end: i64::MAX },
            Item::Batch { topic: 7, partition: 3, base: 9, count: 2, time_min_ms: -1, time_max_ms: 5, frame_bytes: 77 },
            Item::Position { group: Arc::clone(&group), topic: 7, partition: 3, position: 11 },
            Item::Checkpoint { group: Arc::clone(&group), key: Arc::clone(&key), frame_bytes: 12 },
            Item::Forget { group: Arc::clone(&group), key: Arc::clone(&key) },
            Item::Kept { group, key, place },
        ]
    }

    #[test]
    fn items_come_back_and_cut_ones_do_not() {
        for item in items() {
            let mut bytes = Vec::new();
            item.encode(&mut bytes);
            let mut bites = Bites(&bytes);
            assert_eq!(Item::decode(&mut bites).as_ref(), Some(&item));
            assert!(bites.0.is_empty(), "{item:?}");
            for end in 0..bytes.len() {
                assert_eq!(Item::decode(&mut Bites(&bytes[..end])), None, "{item:?} cut at {end}");
            }
        }
    }

    #[test]
    fn a_header_with_any_flipped_byte_or_another_salt_is_none() {
        let header = EntryHeader { items_bytes: 1, body_bytes: 2, items_crc: 3, sequence: 4, time_ms: -5 };
        let bytes = header.encode(7);
        assert_eq!(EntryHeader::decode(&bytes, 7), Some(header));
        assert_eq!(EntryHeader::decode(&bytes, 8), None);
        for position in 0..bytes.len() {
            let mut bytes = bytes;
            bytes[position] ^= 0x10;
            assert_eq!(EntryHeader::decode(&bytes, 7), None, "flipped at {position}");
        }
    }

    #[test]
    fn a_newer_segment_is_told_from_a_damaged_one() {
        let good = segment_header(3, 9);
        assert_eq!(read_segment_header(&good, 3), SegmentHeader::Good(9));
        assert_eq!(read_segment_header(&good, 4), SegmentHeader::Damaged);
        for position in 0..good.len() {
            let mut header = good;
            header[position] ^= 0xf0;
            let newer = position == 8 || position == 9 || position == 10 || position == 11;
            assert_eq!(read_segment_header(&header, 3) == SegmentHeader::Good(9), !newer, "the other copy serves; flipped at {position}");
        }
        let mut header = good;
        header[8] = 2;
        assert_eq!(read_segment_header(&header, 3), SegmentHeader::Newer(2));
        assert_eq!(read_segment_header(&[0; SEGMENT_HEADER_BYTES], 3), SegmentHeader::Damaged);
    }
}
