//! A cuckoo filter that grows in small steps and loses nothing on the way.
//!
//! An id's hash has 64 bits. The upper 22 say where it belongs: to a *shard*, and in it to one of `width` *segments*; the lower 42 are the
//! fingerprint that its slot holds. A shard is a list of *rows* of one bucket (8 slots, a cache line) for each segment. Which row of a
//! segment an id goes to follows from the fingerprint alone, and so does its other segment: an id can be moved, and a shard can
//! grow by some rows, knowing nothing but what the slots hold. Rows are all of one size, so that growing leaves no gaps in memory.
//!
//! An id that was never put in is found where a slot of one of its two segments has the same fingerprint: once in 2^42 / (2 · ids of
//! a segment), and rows are bounded so that a segment holds 236 ids at most on average.

use crate::slot::{Ages, FINGERPRINT_BITS, check, fingerprint};

/// Slots of a bucket: a cache line.
const SLOTS: usize = 8;
/// Rows of a full shard: fewer make more false positives rarer and an empty filter larger.
const ROWS: u64 = 32;
/// How full a shard may be. Two choices of 8 slots work up to 98 %.
const LOAD_PER_CENT: u64 = 92;
const WIDTH_MIN: u64 = 16;
const WIDTH_MAX: u64 = 1_024;
/// Buckets looked at in search of a free slot before a shard grows.
const NODES_MAX: usize = 512;
const ROOT: u32 = u32::MAX;

#[repr(align(64))]
#[derive(Clone, Copy, Debug)]
struct Bucket([u64; SLOTS]);

/// How a filter is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    shards: u64,
    width_bits: u32,
    rows_max: usize,
}

impl Shape {
    fn of(ids_max: u64) -> Self {
        let segment_ids = ROWS * SLOTS as u64 * LOAD_PER_CENT / 100;
        let wanted = (ids_max / (segment_ids * 16)).clamp(WIDTH_MIN, WIDTH_MAX);
        let width_bits = wanted.ilog2();
        let shards_max = 1 << (u64::BITS - FINGERPRINT_BITS - width_bits);
        let shards = ids_max.div_ceil(segment_ids << width_bits).clamp(1, shards_max);
        let rows = (ids_max * 100).div_ceil((shards << width_bits) * SLOTS as u64 * LOAD_PER_CENT);
        Self { shards, width_bits, rows_max: rows.max(2) as usize }
    }

    /// The shard and the segment.
    fn place(&self, hash: u64) -> (usize, usize) {
        let place = hash >> FINGERPRINT_BITS;
        let segment = place & ((1 << self.width_bits) - 1);
        let bits = u64::BITS - FINGERPRINT_BITS - self.width_bits;
        ((((place >> self.width_bits) * self.shards) >> bits) as usize, segment as usize)
    }
}

/// A filter.
#[derive(Debug)]
pub struct Filter {
    shape: Shape,
    shards: Vec<Shard>,
    nodes: Vec<Node>,
}

/// An id that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// What tells its Uuid.
    pub(crate) check: u16,
    /// How many intervals ago it came.
    pub(crate) age: i64,
}

#[derive(Debug)]
struct Shard {
    width: usize,
    rows: Vec<Box<[Bucket]>>,
}

/// A bucket on the way to a free slot.
#[derive(Clone, Copy, Debug)]
struct Node {
    row: usize,
    segment: usize,
    /// The bucket before it, and the slot there whose id can move here.
    parent: u32,
    slot: usize,
}

impl Filter {
    /// A filter for so many ids, which takes no memory yet.
    pub(crate) fn new(ids_max: u64) -> Self {
        let shape = Shape::of(ids_max);
        let shards = (0..shape.shards).map(|_| Shard { width: 1 << shape.width_bits, rows: Vec::new() }).collect();
        Self { shape, shards, nodes: Vec::new() }
    }

    /// The live id of this hash.
    pub(crate) fn find(&self, hash: u64, ages: Ages) -> Option<Found> {
        let (shard, segment) = self.shape.place(hash);
        let shard = self.shards.get(shard)?;
        if shard.rows.is_empty() {
            return None;
        }
        let wanted = hash & ((1 << FINGERPRINT_BITS) - 1);
        let live = |slot: &&u64| fingerprint(**slot) == wanted && **slot != 0 && ages.is_live(**slot);
        let buckets = [segment, shard.other(wanted, segment)].map(|segment| shard.bucket(shard.row(wanted, segment), segment));
        let slot = buckets.iter().find_map(|bucket| bucket.0.iter().find(live))?;
        Some(Found { check: check(*slot), age: ages.age(*slot) })
    }

    /// Puts an id in; `false` where its shard is as large as it may be, and full.
    pub(crate) fn insert(&mut self, hash: u64, slot: u64, ages: Ages) -> bool {
        let (shard, segment) = self.shape.place(hash);
        let shard = &mut self.shards[shard];
        while !shard.insert(segment, slot, ages, &mut self.nodes) {
            let rows = shard.rows.len();
            if rows >= self.shape.rows_max {
                return false;
            }
            shard.grow((rows + 1 + rows / 4).min(self.shape.rows_max), ages, &mut self.nodes);
        }
        true
    }

    /// Takes an id out again.
    pub(crate) fn remove(&mut self, hash: u64, slot: u64) {
        let (shard, segment) = self.shape.place(hash);
        let shard = &mut self.shards[shard];
        if shard.rows.is_empty() {
            return;
        }
        for segment in [segment, shard.other(fingerprint(slot), segment)] {
            let row = shard.row(fingerprint(slot), segment);
            if let Some(found) = shard.rows[row][segment].0.iter_mut().find(|found| **found == slot) {
                *found = 0;
                return;
            }
        }
    }

    /// Empties what is free.
    pub(crate) fn sweep(&mut self, ages: Ages) {
        let buckets = self.shards.iter_mut().flat_map(|shard| &mut shard.rows).flat_map(|row| row.iter_mut());
        for slot in buckets.flat_map(|bucket| &mut bucket.0).filter(|slot| ages.is_free(**slot)) {
            *slot = 0;
        }
    }

    /// The memory it takes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let of_row = size_of::<Bucket>() << self.shape.width_bits;
        let of_shard = |shard: &Shard| size_of::<Shard>() + shard.rows.len() * of_row + shard.rows.capacity() * size_of::<Box<[Bucket]>>();
        self.shards.iter().map(of_shard).sum::<usize>() + self.nodes.capacity() * size_of::<Node>()
    }
}

impl Shard {
    fn row(&self, fingerprint: u64, segment: usize) -> usize {
        let mixed = (fingerprint ^ (segment as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xd6e8_feb8_6659_fd93) >> 32;
        ((mixed * self.rows.len() as u64) >> 32) as usize
    }

    /// The other segment of an id that lies in this one.
    fn other(&self, fingerprint: u64, segment: usize) -> usize {
        let mixed = fingerprint.wrapping_mul(0xa076_1d64_78bd_642f) >> 40;
        segment ^ (mixed as usize & (self.width - 1) | 1)
    }

    fn bucket(&self, row: usize, segment: usize) -> &Bucket {
        &self.rows[row][segment]
    }

    fn free_slot(&self, row: usize, segment: usize, ages: Ages) -> Option<usize> {
        self.bucket(row, segment).0.iter().position(|slot| ages.is_free(*slot))
    }

    fn insert(&mut self, segment: usize, slot: u64, ages: Ages, nodes: &mut Vec<Node>) -> bool {
        if self.rows.is_empty() {
            return false;
        }
        nodes.clear();
        for segment in [segment, self.other(fingerprint(slot), segment)] {
            let row = self.row(fingerprint(slot), segment);
            if let Some(free) = self.free_slot(row, segment, ages) {
                self.rows[row][segment].0[free] = slot;
                return true;
            }
            nodes.push(Node { row, segment, parent: ROOT, slot: 0 });
        }
        self.make_room(slot, ages, nodes)
    }

    /// Moves ids to their other buckets along the shortest way to a free slot.
    fn make_room(&mut self, slot: u64, ages: Ages, nodes: &mut Vec<Node>) -> bool {
        let mut at = 0;
        while at < nodes.len() {
            let Node { row, segment, .. } = nodes[at];
            for number in 0..SLOTS {
                let moving = self.bucket(row, segment).0[number];
                let other = self.other(fingerprint(moving), segment);
                let other_row = self.row(fingerprint(moving), other);
                if let Some(free) = self.free_slot(other_row, other, ages) {
                    self.rows[other_row][other].0[free] = moving;
                    self.shift(nodes, at, number, slot);
                    return true;
                }
                // A way through the same bucket twice would move an id to where it does not belong.
                if nodes.len() < NODES_MAX && !is_on_way(nodes, at, other_row, other) {
                    nodes.push(Node { row: other_row, segment: other, parent: at as u32, slot: number });
                }
            }
            at += 1;
        }
        false
    }

    /// The id in slot `number` of node `at` has moved on: those behind it follow, and the new one takes the first place.
    fn shift(&mut self, nodes: &[Node], mut at: usize, mut number: usize, slot: u64) {
        loop {
            let Node { row, segment, parent, slot: behind } = nodes[at];
            let incoming = match nodes.get(parent as usize) {
                Some(before) => self.bucket(before.row, before.segment).0[behind],
                None => slot,
            };
            self.rows[row][segment].0[number] = incoming;
            if parent == ROOT {
                return;
            }
            (at, number) = (parent as usize, behind);
        }
    }

    /// Goes on with so many rows, or more where that is not enough.
    fn grow(&mut self, rows: usize, ages: Ages, nodes: &mut Vec<Node>) {
        let mut kept = Vec::new();
        for row in &mut self.rows {
            for (segment, bucket) in row.iter_mut().enumerate() {
                kept.extend(bucket.0.iter().filter(|slot| !ages.is_free(**slot)).map(|slot| (segment as u32, *slot)));
            }
        }
        let mut rows = rows;
        loop {
            self.rows.iter_mut().for_each(|row| row.fill(Bucket([0; SLOTS])));
            self.rows.resize_with(rows, || vec![Bucket([0; SLOTS]); self.width].into_boxed_slice());
            if kept.iter().all(|(segment, slot)| self.insert(*segment as usize, *slot, ages, nodes)) {
                return;
            }
            rows += 1;
        }
    }
}

/// Whether the way to node `at` passes a bucket.
fn is_on_way(nodes: &[Node], at: usize, row: usize, segment: usize) -> bool {
    let mut next = Some(&nodes[at]);
    while let Some(node) = next {
        if node.row == row && node.segment == segment {
            return true;
        }
        next = nodes.get(node.parent as usize);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::pack;

    fn at(now: i64) -> Ages {
        Ages::new(now, now - 240, now - 240)
    }

    fn hash(number: u64) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&number.to_le_bytes())
    }

    #[test]
    fn a_filter_holds_what_it_is_made_for_within_its_memory() {
        for ids in [10, 1_000, 20_000, 125_000, 1_000_000] {
            let mut filter = Filter::new(ids);
            for number in 0..ids {
                assert!(filter.insert(hash(number), pack(hash(number), number as u16, 1_000), at(1_000)), "{number} of {ids}");
            }
            for number in 0..ids {
                let found = filter.find(hash(number), at(1_000));
                assert_eq!(found, Some(Found { check: number as u16 & 0x3fff, age: 0 }), "{number} of {ids}");
            }
            assert!((ids..ids + 1_000_000).all(|number| filter.find(hash(number), at(1_000)).is_none()), "of {ids}");
            let bytes = filter.memory_bytes() as f64 / ids as f64;
            assert!(ids < 100_000 || bytes < 9.3, "{bytes} bytes an id of {ids}");
        }
    }

    #[test]
    fn an_empty_filter_takes_no_memory() {
        let filter = Filter::new(8_000_000);
        assert!(filter.memory_bytes() < 4_096, "{}", filter.memory_bytes());
        assert_eq!(filter.find(1, at(1_000)), None);
    }

    #[test]
    fn a_full_filter_says_so_and_keeps_what_it_has() {
        let mut filter = Filter::new(1_000);
        let fit: Vec<u64> = (0..3_000).filter(|n| filter.insert(hash(*n), pack(hash(*n), 0, 1_000), at(1_000))).collect();
        assert!(fit.len() >= 1_000 && fit.len() < 1_300, "{}", fit.len());
        assert!(fit.iter().all(|number| filter.find(hash(*number), at(1_000)).is_some()));
        filter.remove(hash(fit[0]), pack(hash(fit[0]), 0, 1_000));
        assert_eq!(filter.find(hash(fit[0]), at(1_000)), None);
        assert!(fit[1..].iter().all(|number| filter.find(hash(*number), at(1_000)).is_some()));
        let later = at(1_241);
        assert!(filter.insert(hash(9_999), pack(hash(9_999), 0, 1_241), later), "what expired makes room");
        filter.sweep(later);
        assert!(filter.find(hash(9_999), later).is_some());
        assert!(fit.iter().all(|number| filter.find(hash(*number), at(1_000)).is_none()), "swept");
    }
}
