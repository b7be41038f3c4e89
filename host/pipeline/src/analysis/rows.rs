//! The rows of a batch, with the fetched bytes that their records lie in.

use bytes::Bytes;
use std::{ops::Range, sync::Arc};

/// A record as it is fed to slots.
#[derive(Clone, Copy, Debug)]
pub struct Fed<'a> {
    /// Its offset.
    pub offset: i64,
    /// Its event time.
    pub timestamp_ns: i64,
    /// The greatest event time up to it.
    pub watermark_ms: i64,
    /// What was fetched with it.
    pub chunk: &'a Bytes,
    /// Its key, which lies there.
    pub key: &'a [u8],
    /// Its value, which lies there.
    pub value: &'a [u8],
}

/// A row given to a plugin.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its record's offset.
    pub offset: i64,
    /// Its event time.
    pub timestamp_ns: i64,
    /// The greatest event time up to it.
    pub watermark_ms: i64,
    key: (u32, u32),
    value: (u32, u32),
}

impl Row {
    /// A row of what was fetched with it.
    fn new(fed: &Fed<'_>) -> Self {
        let Fed { offset, timestamp_ns, watermark_ms, chunk, key, value } = *fed;
        Self { offset, timestamp_ns, watermark_ms, key: span(chunk, key), value: span(chunk, value) }
    }

    /// Bytes of its record's value.
    fn value_len(&self) -> usize {
        (self.value.1 - self.value.0) as usize
    }
}

/// Rows of one fetch that several plugins may be given, each some of them.
#[derive(Clone, Debug, Default)]
pub struct RowBlock {
    rows: Vec<Row>,
    /// The bytes of each row's value, once more: they are added up for every plugin.
    value_lens: Vec<u32>,
    chunk: Bytes,
}

impl RowBlock {
    /// No rows of this fetch yet, and room for some.
    pub fn new(chunk: &Bytes, room: usize) -> Self {
        Self { rows: Vec::with_capacity(room), value_lens: Vec::with_capacity(room), chunk: chunk.clone() }
    }

    /// Appends a row, of the same fetch.
    pub fn push(&mut self, fed: &Fed<'_>) {
        self.rows.push(Row::new(fed));
        self.value_lens.push(fed.value.len() as u32);
    }

    /// The rows.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }
}

/// See the module. What the plugins of a partition are given is there once: copying each row for each plugin costs more than most of
/// them do with it.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// The places of the rows, block by block.
    places: Vec<u16>,
    parts: Vec<Part>,
    value_bytes: usize,
}

/// Rows of one block.
#[derive(Clone, Debug)]
struct Part {
    block: Arc<RowBlock>,
    /// Which of the places.
    places: Range<usize>,
    /// None of their times is before it.
    watermark_ms: i64,
    /// Whether the block is of these rows alone, and grows with them.
    is_own: bool,
}

impl Rows {
    /// Appends a row.
    pub fn push(&mut self, fed: &Fed<'_>) {
        let end = self.places.len();
        let is_of_chunk =
            |part: &&mut Part| part.is_own && is_same(&part.block.chunk, fed.chunk) && part.block.rows.len() < usize::from(u16::MAX);
        if self.parts.last_mut().filter(is_of_chunk).is_none() {
            let block = Arc::new(RowBlock::new(fed.chunk, 0));
            self.parts.push(Part { block, places: end..end, watermark_ms: i64::MIN, is_own: true });
        }
        let Some(part) = self.parts.last_mut() else { return };
        let block = Arc::make_mut(&mut part.block);
        self.places.push(block.rows.len() as u16);
        block.push(fed);
        part.places.end = end + 1;
        self.value_bytes += fed.value.len();
    }

    /// Appends those rows of a block that `places` names; none of their times is before `watermark_ms`. Answers the bytes of their
    /// values.
    pub fn extend(&mut self, block: &Arc<RowBlock>, places: &[u16], watermark_ms: i64) -> usize {
        let begin = self.places.len();
        self.places.extend_from_slice(places);
        self.parts.push(Part { block: Arc::clone(block), places: begin..self.places.len(), watermark_ms, is_own: false });
        let value_bytes = places.iter().map(|place| block.value_lens[usize::from(*place)] as usize).sum();
        self.value_bytes += value_bytes;
        value_bytes
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// In the order of the partition.
    pub fn get(&self, number: usize) -> Option<Row> {
        let (part, row) = self.find(number)?;
        Some(Row { watermark_ms: row.watermark_ms.max(part.watermark_ms), ..*row })
    }

    /// The first row.
    pub fn first(&self) -> Option<Row> {
        self.get(0)
    }

    /// The last row.
    pub fn last(&self) -> Option<Row> {
        self.get(self.len().checked_sub(1)?)
    }

    /// The key of a row's record.
    pub fn key(&self, number: usize) -> &[u8] {
        self.find(number).map_or(&[], |(part, row)| piece(&part.block.chunk, row.key))
    }

    /// The value of a row's record.
    pub fn value(&self, number: usize) -> &[u8] {
        self.find(number).map_or(&[], |(part, row)| piece(&part.block.chunk, row.value))
    }

    /// Bytes of all values.
    pub fn value_bytes(&self) -> usize {
        self.value_bytes
    }

    /// Forgets the rows, keeps the memory.
    pub fn clear(&mut self) {
        self.places.clear();
        self.parts.clear();
        self.value_bytes = 0;
    }

    /// Takes the rows from this one on away.
    pub fn split_off(&mut self, at: usize) -> Self {
        let at = at.min(self.len());
        let mut right = Self { places: self.places.split_off(at), ..Self::default() };
        for part in &self.parts {
            let places = part.places.start.max(at) - at..part.places.end.max(at) - at;
            if !places.is_empty() {
                right.parts.push(Part { places, is_own: false, ..part.clone() });
            }
        }
        self.parts.retain(|part| part.places.start < at);
        if let Some(last) = self.parts.last_mut() {
            last.places.end = last.places.end.min(at);
            last.is_own = false;
        }
        right.value_bytes = (0..right.len()).filter_map(|number| right.find(number)).map(|(_, row)| row.value_len()).sum();
        self.value_bytes -= right.value_bytes;
        right
    }

    fn find(&self, number: usize) -> Option<(&Part, &Row)> {
        let part = self.parts.partition_point(|part| part.places.end <= number);
        let part = self.parts.get(part)?;
        Some((part, part.block.rows.get(usize::from(*self.places.get(number)?))?))
    }
}

fn is_same(one: &Bytes, other: &Bytes) -> bool {
    one.as_ptr() == other.as_ptr() && one.len() == other.len()
}

fn piece(chunk: &Bytes, (start, end): (u32, u32)) -> &[u8] {
    chunk.get(start as usize..end as usize).unwrap_or_default()
}

/// Where a part of a chunk lies in it; nowhere (an empty part) where it does not.
fn span(chunk: &[u8], part: &[u8]) -> (u32, u32) {
    let start = (part.as_ptr() as usize).wrapping_sub(chunk.as_ptr() as usize);
    if start > chunk.len() || part.is_empty() { (0, 0) } else { (start as u32, (start + part.len()) as u32) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(rows: &Rows) -> Vec<(i64, i64, &[u8], &[u8])> {
        let piece = |number| rows.get(number).map(|row| (row.offset, row.watermark_ms, rows.key(number), rows.value(number)));
        (0..rows.len()).filter_map(piece).collect()
    }

    #[test]
    fn rows_find_their_records_also_when_they_are_split() {
        let chunks = [Bytes::from_static(b"k1v1k2v22"), Bytes::from_static(b"v3")];
        let fed = |offset, chunk: usize, key: Range<usize>, value: Range<usize>| {
            let chunk: &Bytes = &chunks[chunk];
            Fed { offset, timestamp_ns: 0, watermark_ms: offset, chunk, key: &chunk[key], value: &chunk[value] }
        };
        let all = [fed(1, 0, 0..2, 2..4), fed(2, 0, 4..6, 6..9), fed(3, 1, 0..0, 0..2)];
        let want: [(i64, i64, &[u8], &[u8]); 5] =
            [(1, 1, b"k1", b"v1"), (2, 2, b"k2", b"v22"), (3, 3, b"", b"v3"), (1, 2, b"k1", b"v1"), (2, 2, b"k2", b"v22")];
        let mut block = RowBlock::new(&chunks[0], 2);
        all[..2].iter().for_each(|fed| block.push(fed));
        let block = Arc::new(block);
        let make = || {
            let mut rows = Rows::default();
            all.iter().for_each(|fed| rows.push(fed));
            assert_eq!((rows.parts.len(), rows.len()), (2, 3), "a part for each fetch");
            assert_eq!(rows.extend(&block, &[0, 1], 2), 5);
            rows
        };
        for at in 0..=6 {
            let mut rows = make();
            assert_eq!((pieces(&rows), rows.value_bytes()), (want.to_vec(), 12));
            let mut right = rows.split_off(at);
            assert_eq!((pieces(&rows), pieces(&right)), (want[..at.min(5)].to_vec(), want[at.min(5)..].to_vec()));
            assert_eq!(rows.value_bytes() + right.value_bytes(), 12);
            // What is pushed to one of them is not seen by the other.
            rows.push(&all[2]);
            right.push(&all[0]);
            assert_eq!((pieces(&rows)[at.min(5)..].to_vec(), pieces(&right).last()), (vec![want[2]], Some(&want[0])));
            rows.clear();
            assert!(rows.is_empty() && rows.get(0).is_none() && rows.last().is_none() && rows.value(0).is_empty());
        }
    }
}
