//! The index of a sealed segment, in a file beside it (`NNNNNNNN.idx`), so that opening does not read all records. It can always
//! be made anew from the segment: damaged, missing or of another format, it is.
//!
//! Magic (8 bytes), format version (4), number of batches (4), bytes of the segment (8), newest entry in ms (8), batches of 36 bytes,
//! CRC32C of all before (4).

use super::{
    format::{Bites, FORMAT_VERSION, Item, Place},
    index::Slot,
    store::{Store, io_error},
};
use crate::{BusError, crc::crc32c};

const MAGIC: &[u8; 8] = b"TIDEIDX\0";

/// A batch with its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SideSlot {
    pub(super) topic: u32,
    pub(super) partition: u32,
    pub(super) slot: Slot,
}

/// What the file says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Side {
    pub(super) segment_bytes: u64,
    pub(super) newest_ms: i64,
    pub(super) slots: Vec<SideSlot>,
}

impl SideSlot {
    /// The batch that this item appends; `None` where it is another item.
    pub(super) fn of(item: &Item, place: Place) -> Option<Self> {
        let Item::Batch { topic, partition, base, count, time_max_ms, .. } = item else { return None };
        let Place { segment, position, length } = place;
        let slot = Slot { base: *base, time_max_ms: *time_max_ms, count: *count, segment, position, length };
        Some(Self { topic: *topic, partition: *partition, slot })
    }
}

impl Side {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(36 + 36 * self.slots.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&(self.slots.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.segment_bytes.to_le_bytes());
        out.extend_from_slice(&self.newest_ms.to_le_bytes());
        for SideSlot { topic, partition, slot } in &self.slots {
            let Slot { base, time_max_ms, count, segment: _, position, length } = slot;
            [topic, partition, count, position, length].into_iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
            [base, time_max_ms].into_iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
        }
        let crc = crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8], segment: u32) -> Option<Self> {
        let (content, crc) = bytes.split_last_chunk::<4>()?;
        let mut bites = Bites(content);
        if bites.take(8)? != MAGIC || bites.u32()? != FORMAT_VERSION || crc32c(content).to_le_bytes() != *crc {
            return None;
        }
        let (count, segment_bytes, newest_ms) = (bites.u32()?, bites.u64()?, bites.i64()?);
        let slots: Option<Vec<_>> = (0..count).map(|_| decode_slot(&mut bites, segment)).collect();
        Some(Self { segment_bytes, newest_ms, slots: slots? })
    }

    /// Writes the file, durably.
    pub(super) fn write(&self, store: &Store, segment: u32) -> Result<(), BusError> {
        let path = store.index_path(segment);
        let failed = |error| io_error("cannot write", &path, error);
        let file = store.files().open(&path, true).map_err(failed)?;
        let bytes = self.encode();
        file.write_all_at(&bytes, 0).map_err(failed)?;
        file.set_len(bytes.len() as u64).map_err(failed)?;
        file.sync().map_err(failed)
    }

    /// Reads the file; `None` where it is not there, damaged, or of a segment of another length.
    pub(super) fn read(store: &Store, segment: u32, segment_bytes: u64) -> Option<Self> {
        let file = store.files().open(&store.index_path(segment), false).ok()?;
        let mut bytes = vec![0; usize::try_from(file.len().ok()?).ok()?];
        file.read_exact_at(&mut bytes, 0).ok()?;
        Self::decode(&bytes, segment).filter(|side| side.segment_bytes == segment_bytes)
    }
}

fn decode_slot(bites: &mut Bites<'_>, segment: u32) -> Option<SideSlot> {
    let (topic, partition, count, position, length) = (bites.u32()?, bites.u32()?, bites.u32()?, bites.u32()?, bites.u32()?);
    let slot = Slot { base: bites.i64()?, time_max_ms: bites.i64()?, count, segment, position, length };
    Some(SideSlot { topic, partition, slot })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_and_a_damaged_one_does_not() {
        let slot = Slot { base: 5, time_max_ms: -1, count: 2, segment: 3, position: 64, length: 99 };
        let side = Side { segment_bytes: 1000, newest_ms: 77, slots: vec![SideSlot { topic: 1, partition: 2, slot }; 3] };
        let bytes = side.encode();
        assert_eq!(Side::decode(&bytes, 3), Some(side));
        for position in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[position] ^= 4;
            assert_eq!(Side::decode(&bytes, 3), None, "flipped at {position}");
            assert_eq!(Side::decode(&bytes[..position], 3), None, "cut at {position}");
        }
    }
}
