//! Which batches a partition holds, in memory: 32 bytes a batch.

use super::format::{FRAME_HEADER_BYTES, Place};
use crate::{OffsetRange, TopicPartition};
use parking_lot::RwLock;
use std::{
    collections::VecDeque,
    sync::atomic::{AtomicI64, Ordering},
};

/// No log gets so far: an offset beyond it is damage, and arithmetic with the others cannot overflow.
pub(super) const OFFSET_MAX: i64 = 1 << 60;

/// A batch of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) base: i64,
    pub(super) time_max_ms: i64,
    pub(super) count: u32,
    pub(super) segment: u32,
    pub(super) position: u32,
    pub(super) length: u32,
}

impl Slot {
    pub(super) fn end(&self) -> i64 {
        self.base + i64::from(self.count)
    }

    /// Whether it states offsets that a log may have.
    fn is_sound(&self) -> bool {
        (0..=OFFSET_MAX).contains(&self.base)
    }

    pub(super) fn place(&self) -> Place {
        Place { segment: self.segment, position: self.position, length: self.length }
    }
}

/// A partition: its name and its batches. The writer alone changes it.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) name: TopicPartition,
    slots: RwLock<VecDeque<Slot>>,
    /// Readable without the lock: pollers look at it each time something was appended anywhere.
    end: AtomicI64,
}

impl Partition {
    pub(super) fn new(name: TopicPartition) -> Self {
        Self { name, slots: RwLock::default(), end: AtomicI64::new(0) }
    }

    /// The offset that the next record gets.
    pub(super) fn end(&self) -> i64 {
        self.end.load(Ordering::Acquire)
    }

    pub(super) fn range(&self) -> OffsetRange {
        let slots = self.slots.read();
        let end = self.end();
        OffsetRange { start: slots.front().map_or(end, |slot| slot.base), end }
    }

    /// Appends a batch; one that does not come after the last is refused (a damaged index says so).
    pub(super) fn push(&self, slot: Slot) -> bool {
        let mut slots = self.slots.write();
        if !slot.is_sound() || slots.back().is_some_and(|last| last.end() > slot.base) {
            return false;
        }
        slots.push_back(slot);
        self.end.fetch_max(slot.end(), Ordering::AcqRel);
        true
    }

    pub(super) fn advance_end(&self, end: i64) {
        self.end.fetch_max(end, Ordering::AcqRel);
    }

    /// The batches from the one that holds `offset` (or the next there is) on, up to `bytes` of them stored and at least one.
    pub(super) fn slots_from(&self, offset: i64, bytes: usize) -> Vec<Slot> {
        let slots = self.slots.read();
        let first = slots.partition_point(|slot| slot.end() <= offset);
        let mut total = 0;
        slots
            .range(first..)
            .take_while(|slot| {
                let fits = total == 0 || total + slot.length as usize <= bytes;
                total += slot.length as usize;
                fits
            })
            .copied()
            .collect()
    }

    /// What the batches with records from `offset` on carry, as they are stored.
    pub(super) fn bytes_from(&self, offset: i64) -> u64 {
        let slots = self.slots.read();
        let first = slots.partition_point(|slot| slot.end() <= offset);
        slots.range(first..).map(|slot| u64::from(slot.length).saturating_sub(FRAME_HEADER_BYTES as u64)).sum()
    }

    /// The first batch that has a record at or after this time.
    pub(super) fn slot_at_time(&self, time_ms: i64) -> Option<Slot> {
        self.slots.read().iter().find(|slot| slot.time_max_ms >= time_ms).copied()
    }

    /// The offset after the last record that lies in this segment or an older one.
    pub(super) fn end_within(&self, segment: u32) -> Option<i64> {
        let slots = self.slots.read();
        let after = slots.partition_point(|slot| slot.segment <= segment);
        after.checked_sub(1).and_then(|last| slots.get(last)).map(Slot::end)
    }

    /// Forgets what lies in this segment and older ones.
    pub(super) fn forget_through(&self, segment: u32) {
        let mut slots = self.slots.write();
        let after = slots.partition_point(|slot| slot.segment <= segment);
        slots.drain(..after);
        if slots.len() < slots.capacity() / 4 {
            slots.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn slot(base: i64, count: u32, segment: u32) -> Slot {
        Slot { base, time_max_ms: base * 10, count, segment, position: 0, length: 100 }
    }

    #[test]
    fn a_slot_is_32_bytes() {
        assert_eq!(size_of::<Slot>(), 32);
    }

    #[test]
    fn look_ups_step_over_holes() {
        let partition = Partition::new(TopicPartition { topic: Arc::from("raw"), partition: 0 });
        assert_eq!(partition.range(), OffsetRange { start: 0, end: 0 });
        for slot in [slot(0, 5, 1), slot(5, 1, 1), slot(9, 2, 2), slot(11, 1, 3)] {
            assert!(partition.push(slot));
        }
        assert!(!partition.push(slot(3, 1, 3)), "out of order");
        assert!(!partition.push(slot(OFFSET_MAX + 1, 1, 3)) && !partition.push(slot(i64::MAX, 1, 3)), "beyond any log");
        let bases = |offset, bytes| partition.slots_from(offset, bytes).iter().map(|slot| slot.base).collect::<Vec<_>>();
        assert_eq!(bases(4, 200), [0, 5]);
        assert_eq!(bases(7, 1), [9], "one at least, and behind the hole");
        assert_eq!(bases(12, 1), [0; 0]);
        assert_eq!(partition.slot_at_time(51).map(|slot| slot.base), Some(9));
        assert_eq!((partition.end_within(0), partition.end_within(1), partition.end_within(2)), (None, Some(6), Some(11)));
        partition.forget_through(2);
        assert_eq!(partition.range(), OffsetRange { start: 11, end: 12 });
        partition.forget_through(3);
        assert_eq!(partition.range(), OffsetRange { start: 12, end: 12 });
    }
}
