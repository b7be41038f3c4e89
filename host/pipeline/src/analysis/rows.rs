//! The rows of a batch, with the fetched bytes that their records lie in.

use bytes::Bytes;

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
    chunk: u32,
    key: (u32, u32),
    value: (u32, u32),
}

impl Row {
    /// A row of what was fetched with it, the first chunk of what it is put into.
    pub fn new(fed: &Fed<'_>) -> Self {
        let Fed { offset, timestamp_ns, watermark_ms, chunk, key, value } = *fed;
        Self { offset, timestamp_ns, watermark_ms, chunk: 0, key: span(chunk, key), value: span(chunk, value) }
    }

    /// Bytes of its record's value.
    pub fn value_len(&self) -> usize {
        (self.value.1 - self.value.0) as usize
    }
}

/// See the module. Fetched bytes are shared by all rows that lie in them: counting a reference for each row costs more than
/// the row itself.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    list: Vec<Row>,
    chunks: Vec<Bytes>,
}

impl Rows {
    /// Appends a row.
    pub fn push(&mut self, fed: &Fed<'_>) {
        let chunk = self.chunk(fed.chunk);
        self.list.push(Row { chunk, ..Row::new(fed) });
    }

    /// Appends those of `rows` that `places` names, all of one chunk; none of their times is before `watermark_ms`. Answers the bytes
    /// of their values.
    pub fn extend(&mut self, chunk: &Bytes, rows: &[Row], places: &[u16], watermark_ms: i64) -> usize {
        let (chunk, begin) = (self.chunk(chunk), self.list.len());
        self.list.extend(places.iter().map(|place| {
            let row = rows[usize::from(*place)];
            Row { chunk, watermark_ms: row.watermark_ms.max(watermark_ms), ..row }
        }));
        self.list[begin..].iter().map(Row::value_len).sum()
    }

    /// The number of a chunk, which is appended unless it is the last one.
    fn chunk(&mut self, chunk: &Bytes) -> u32 {
        if self.chunks.last().is_none_or(|last| last.as_ptr() != chunk.as_ptr() || last.len() != chunk.len()) {
            self.chunks.push(chunk.clone());
        }
        self.chunks.len() as u32 - 1
    }

    /// In the order of the partition.
    pub fn list(&self) -> &[Row] {
        &self.list
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The key of a row's record.
    pub fn key(&self, row: &Row) -> &[u8] {
        self.piece(row, row.key)
    }

    /// The value of a row's record.
    pub fn value(&self, row: &Row) -> &[u8] {
        self.piece(row, row.value)
    }

    /// Bytes of all values.
    pub fn value_bytes(&self) -> usize {
        self.list.iter().map(Row::value_len).sum()
    }

    /// Forgets the rows, keeps the memory.
    pub fn clear(&mut self) {
        self.list.clear();
        self.chunks.clear();
    }

    /// Takes the rows from this one on away.
    pub fn split_off(&mut self, at: usize) -> Self {
        Self { list: self.list.split_off(at), chunks: self.chunks.clone() }
    }

    fn piece(&self, row: &Row, (start, end): (u32, u32)) -> &[u8] {
        self.chunks.get(row.chunk as usize).and_then(|chunk| chunk.get(start as usize..end as usize)).unwrap_or_default()
    }
}

/// Where a part of a chunk lies in it; nowhere (an empty part) where it does not.
fn span(chunk: &[u8], part: &[u8]) -> (u32, u32) {
    let start = (part.as_ptr() as usize).wrapping_sub(chunk.as_ptr() as usize);
    if start > chunk.len() || part.is_empty() { (0, 0) } else { (start as u32, (start + part.len()) as u32) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_find_their_records_also_when_they_are_split() {
        let chunks = [Bytes::from_static(b"k1v1k2v22"), Bytes::from_static(b"v3")];
        let mut rows = Rows::default();
        for (offset, chunk, key, value) in [(1, 0, 0..2, 2..4), (2, 0, 4..6, 6..9), (3, 1, 0..0, 0..2)] {
            let chunk: &Bytes = &chunks[chunk];
            rows.push(&Fed { offset, timestamp_ns: 0, watermark_ms: 0, chunk, key: &chunk[key], value: &chunk[value] });
        }
        assert_eq!((rows.chunks.len(), rows.len(), rows.value_bytes()), (2, 3, 7));
        let right = rows.split_off(1);
        let pieces = |rows: &Rows| {
            let piece = |row: &Row| (row.offset, rows.key(row).to_vec(), rows.value(row).to_vec());
            rows.list().iter().map(piece).collect::<Vec<_>>()
        };
        assert_eq!(pieces(&rows), [(1, b"k1".to_vec(), b"v1".to_vec())]);
        assert_eq!(pieces(&right), [(2, b"k2".to_vec(), b"v22".to_vec()), (3, Vec::new(), b"v3".to_vec())]);
        assert!(rows.split_off(0).len() == 1 && rows.is_empty());
    }
}
