//! Records in the bus's own encoding, one behind another in one buffer: built once by a stage, compressed, written and read
//! as they are by the embedded log, walked by the Kafka producer. No allocation a record.
//!
//! Encoding of a record, little-endian: `u32` length of what follows, `i64` timestamp in ms, `u16` key length, key, `u8` number of
//! headers, each `u8` name length, name, `u32` value length, value; the rest is the record's value.

use crate::{TopicPartition, memory::Memory};
use bytes::Bytes;

/// Encoded records.
#[derive(Clone, Debug, Default)]
pub struct RecordBuf {
    bytes: Memory,
    count: u32,
}

/// A record, read in place.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    /// Milliseconds since 1970 UTC.
    pub timestamp_ms: i64,
    /// The key that chose the partition.
    pub key: &'a [u8],
    /// The record's bytes.
    pub value: &'a [u8],
    headers: &'a [u8],
    header_count: u8,
}

/// What a record takes beside key, headers and value: length, timestamp, key length, number of headers.
pub(crate) const FIXED_BYTES: usize = 4 + 8 + 2 + 1;

impl RecordBuf {
    /// An empty one with the memory of a large one that this thread has dropped, where there is one.
    pub(crate) fn of_stock() -> Self {
        Self { bytes: Memory::of_stock(), count: 0 }
    }

    /// Appends a record. A key is at most 65,535 bytes, a header's name 255, and there are at most 255 headers: what is
    /// longer is a mistake of the caller and is cut.
    pub fn push(&mut self, timestamp_ms: i64, key: &[u8], headers: &[(&str, &[u8])], value: &[u8]) {
        // Most buffers of publishers hold one record, and get their memory at once.
        let in_headers: usize = headers.iter().map(|(name, value)| 1 + name.len() + 4 + value.len()).sum();
        self.bytes.reserve(FIXED_BYTES + key.len() + in_headers + value.len());
        self.push_from(timestamp_ms, key, headers.iter().map(|(name, value)| (name.as_bytes(), *value)), value);
    }

    /// As [`RecordBuf::push`], with headers that need not lie side by side.
    pub(crate) fn push_from<'h>(
        &mut self,
        timestamp_ms: i64,
        key: &[u8],
        headers: impl ExactSizeIterator<Item = (&'h [u8], &'h [u8])>,
        value: &[u8],
    ) {
        let start = self.begin(timestamp_ms, key, headers);
        self.bytes.extend_from_slice(value);
        self.finish(start);
    }

    /// Appends a record whose value is written in place by `write`.
    pub fn push_with(&mut self, timestamp_ms: i64, key: &[u8], headers: &[(&str, &[u8])], write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.begin(timestamp_ms, key, headers.iter().map(|(name, value)| (name.as_bytes(), *value)));
        write(&mut self.bytes);
        self.finish(start);
    }

    #[inline]
    fn begin<'h>(&mut self, timestamp_ms: i64, key: &[u8], headers: impl ExactSizeIterator<Item = (&'h [u8], &'h [u8])>) -> usize {
        let start = self.bytes.len();
        let key = &key[..key.len().min(usize::from(u16::MAX))];
        let count = headers.len().min(usize::from(u8::MAX));
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&timestamp_ms.to_le_bytes());
        self.bytes.extend_from_slice(&(key.len() as u16).to_le_bytes());
        self.bytes.extend_from_slice(key);
        self.bytes.push(count as u8);
        for (name, value) in headers.take(count) {
            let name = &name[..name.len().min(usize::from(u8::MAX))];
            self.bytes.push(name.len() as u8);
            self.bytes.extend_from_slice(name);
            self.bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
            self.bytes.extend_from_slice(value);
        }
        start
    }

    fn finish(&mut self, start: usize) {
        let length = (self.bytes.len() - start - 4) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_le_bytes());
        self.count += 1;
    }

    /// The encoded records.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many records there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The bytes of the largest record: key, headers and value in this encoding, without the length in front.
    pub fn largest(&self) -> usize {
        let (mut rest, mut largest) = (&self.bytes[..], 0);
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            let length = u32::from_le_bytes(*length) as usize;
            largest = largest.max(length);
            rest = behind.get(length..).unwrap_or_default();
        }
        largest
    }

    /// Takes the encoded records, for a bus that keeps them.
    pub fn into_bytes(self) -> Bytes {
        if self.bytes.is_large() { Bytes::from_owner(self.bytes) } else { Bytes::from(self.bytes.into_vec()) }
    }

    /// Forgets the records, keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }

    /// Walks the records.
    pub fn iter(&self) -> Records<'_> {
        Records { rest: &self.bytes }
    }
}

/// Walks encoded records; ends early where they are damaged (readers check a CRC before they walk).
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    /// Walks records that lie in `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = RecordRef<'a>;

    fn next(&mut self) -> Option<RecordRef<'a>> {
        let (length, rest) = self.rest.split_first_chunk::<4>()?;
        let (record, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        self.rest = rest;
        read_record(record)
    }
}

fn read_record(record: &[u8]) -> Option<RecordRef<'_>> {
    let (timestamp, record) = record.split_first_chunk::<8>()?;
    let (key_length, record) = record.split_first_chunk::<2>()?;
    let (key, record) = record.split_at_checked(usize::from(u16::from_le_bytes(*key_length)))?;
    let (header_count, headers) = record.split_first()?;
    let mut value = headers;
    for _ in 0..*header_count {
        value = split_header(value)?.2;
    }
    let headers = &headers[..headers.len() - value.len()];
    Some(RecordRef { timestamp_ms: i64::from_le_bytes(*timestamp), key, value, headers, header_count: *header_count })
}

fn split_header(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (name_length, bytes) = bytes.split_first()?;
    let (name, bytes) = bytes.split_at_checked(usize::from(*name_length))?;
    let (length, bytes) = bytes.split_first_chunk::<4>()?;
    let (value, bytes) = bytes.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some((name, value, bytes))
}

impl<'a> RecordRef<'a> {
    /// The bytes it takes in its buffer.
    pub fn encoded_len(&self) -> usize {
        FIXED_BYTES + self.key.len() + self.headers.len() + self.value.len()
    }

    /// The headers in order.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut rest = self.headers;
        (0..self.header_count).map_while(move |_| {
            let (name, value, next) = split_header(rest)?;
            rest = next;
            Some((name, value))
        })
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers().find(|(found, _)| *found == name.as_bytes()).map(|(_, value)| value)
    }
}

/// Records of one partition, in the order of their offsets.
#[derive(Clone, Debug)]
pub struct FetchedBatch {
    /// Where they come from.
    pub partition: TopicPartition,
    /// Each record's offset: ascending, on Kafka with gaps.
    pub offsets: Vec<i64>,
    /// The encoded records.
    pub bytes: Bytes,
}

impl FetchedBatch {
    /// Walks the records with their offsets.
    pub fn iter(&self) -> impl Iterator<Item = (i64, RecordRef<'_>)> {
        self.offsets.iter().copied().zip(Records::new(&self.bytes))
    }

    /// The offset after the last record, or `None` where there is none.
    pub fn next_offset(&self) -> Option<i64> {
        self.offsets.last().map(|offset| offset + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_they_went_in() {
        let mut records = RecordBuf::default();
        records.push(5, b"key", &[("tm-v", b"1"), ("tm-idx", b"")], b"value");
        records.push_with(-1, b"", &[], |value| value.extend_from_slice(b"in place"));
        let found: Vec<_> = records.iter().map(|r| (r.timestamp_ms, r.key, r.header("tm-v"), r.value)).collect();
        assert_eq!(found, [(5, &b"key"[..], Some(&b"1"[..]), &b"value"[..]), (-1, b"", None, b"in place")]);
        assert_eq!(records.count(), 2);
        assert_eq!(records.iter().map(|record| record.encoded_len()).sum::<usize>(), records.bytes().len());
        assert_eq!(records.largest(), records.iter().map(|record| record.encoded_len() - 4).max().unwrap_or_default());
    }

    #[test]
    fn a_damaged_buffer_ends_the_walk() {
        let mut records = RecordBuf::default();
        records.push(5, b"key", &[("tm-v", b"1")], b"value");
        for end in 0..records.bytes().len() {
            assert_eq!(Records::new(&records.bytes()[..end]).count(), 0, "cut at {end}");
        }
    }
}
