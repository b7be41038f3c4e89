//! Columns under construction. Rows may be taken back, because of duplicate keys the last counts, and a column is only filled up
//! with nulls when something is put behind them: most columns of a wide table are null in most rows.

use crate::columns::{Column, ColumnType};
use crate::layout::{element_field, entries_field};
use arrow_array::{ArrayRef, BooleanArray, ListArray, MapArray, PrimitiveArray, StringArray, StructArray, types::ArrowPrimitiveType};
use arrow_buffer::{ArrowNativeType, BooleanBufferBuilder, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, Field, Fields};
use std::{collections::HashMap, sync::Arc};

/// Which rows hold a value. As long as all do, they are only counted.
#[derive(Debug)]
pub(crate) struct Valid {
    rows: usize,
    /// Empty before the first null.
    bits: BooleanBufferBuilder,
}

impl Valid {
    fn new() -> Self {
        Self { rows: 0, bits: BooleanBufferBuilder::new(0) }
    }

    fn len(&self) -> usize {
        self.rows
    }

    #[inline(always)]
    fn append(&mut self, is_valid: bool) {
        if !is_valid || !self.bits.is_empty() {
            self.append_bit(is_valid);
        }
        self.rows += 1;
    }

    fn append_bit(&mut self, is_valid: bool) {
        self.bits.append_n(self.rows - self.bits.len(), true);
        self.bits.append(is_valid);
    }

    fn append_nulls(&mut self, rows: usize) {
        self.bits.append_n(self.rows - self.bits.len(), true);
        self.bits.append_n(rows, false);
        self.rows += rows;
    }

    fn truncate(&mut self, rows: usize) {
        self.bits.truncate(rows);
        self.rows = self.rows.min(rows);
    }

    fn finish(&mut self) -> Option<NullBuffer> {
        self.rows = 0;
        Some(NullBuffer::new(self.bits.finish())).filter(|nulls| nulls.null_count() > 0)
    }
}

/// Takes what is there and leaves room for as much again: the next rows of a table are mostly like the last.
fn take_full<T>(values: &mut Vec<T>) -> Vec<T> {
    let room = Vec::with_capacity(values.len());
    std::mem::replace(values, room)
}

/// Numbers.
#[derive(Debug)]
pub(crate) struct Numbers<T> {
    values: Vec<T>,
    valid: Valid,
}

impl<T: Copy + Default> Numbers<T> {
    pub(crate) fn new() -> Self {
        Self { values: Vec::new(), valid: Valid::new() }
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, value: Option<T>) {
        self.values.push(value.unwrap_or_default());
        self.valid.append(value.is_some());
    }

    fn pad(&mut self, rows: usize) {
        self.valid.append_nulls(rows - self.values.len());
        self.values.resize(rows, T::default());
    }

    fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.valid.truncate(rows);
    }
}

impl<T: ArrowNativeType> Numbers<T> {
    pub(crate) fn finish<P: ArrowPrimitiveType<Native = T>>(&mut self) -> PrimitiveArray<P> {
        let values = take_full(&mut self.values);
        PrimitiveArray::new(ScalarBuffer::from(values), self.valid.finish())
    }
}

/// Texts.
#[derive(Debug)]
pub(crate) struct Texts {
    offsets: Vec<i32>,
    bytes: Vec<u8>,
    valid: Valid,
}

impl Texts {
    pub(crate) fn new() -> Self {
        Self { offsets: vec![0], bytes: Vec::new(), valid: Valid::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Appends a row whose bytes `write` appends; a null, and nothing else, where it says `false`.
    pub(crate) fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
        let start = self.bytes.len();
        let is_written = write(&mut self.bytes);
        if !is_written {
            self.bytes.truncate(start);
        }
        self.close(is_written);
        is_written
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, text: Option<&[u8]>) {
        self.bytes.extend_from_slice(text.unwrap_or_default());
        self.close(text.is_some());
    }

    #[inline(always)]
    fn close(&mut self, is_valid: bool) {
        // Chunks are far below 2 GiB: see `rows::CHUNK_BYTES`.
        self.offsets.push(self.bytes.len() as i32);
        self.valid.append(is_valid);
    }

    fn pad(&mut self, rows: usize) {
        self.valid.append_nulls(rows - self.len());
        self.offsets.resize(rows + 1, self.bytes.len() as i32);
    }

    fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        self.bytes.truncate(self.offsets[rows] as usize);
        self.valid.truncate(rows);
    }

    /// The bytes of row `row`.
    fn row(&self, row: usize) -> &[u8] {
        &self.bytes[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }

    /// The first eight bytes of row `row`, zeros where it has less, in an order that compares as the bytes do.
    fn prefix(&self, row: usize) -> u64 {
        let (start, end) = (self.offsets[row] as usize, self.offsets[row + 1] as usize);
        let length = end - start;
        let word = match self.bytes.get(start..).and_then(|rest| rest.first_chunk::<8>()) {
            Some(word) => u64::from_be_bytes(*word),
            None => {
                let mut word = [0; 8];
                word[..length].copy_from_slice(&self.bytes[start..end]);
                u64::from_be_bytes(word)
            }
        };
        if length >= 8 { word } else { word & !(u64::MAX >> (8 * length)) }
    }

    /// Whether the rows from `start` on ascend, each in front of the next: as names, or as numbers without leading zeros.
    fn ascends(&self, start: usize) -> bool {
        let (mut by_name, mut by_number, mut after) = (true, true, if start < self.len() { self.prefix(start) } else { 0 });
        for row in start + 1..self.len() {
            let before = std::mem::replace(&mut after, self.prefix(row));
            let is_less = if before == after { self.row(row - 1) < self.row(row) } else { before < after };
            let lengths = (self.row(row - 1).len(), self.row(row).len());
            by_name &= is_less;
            by_number &= lengths.0 < lengths.1 || (lengths.0 == lengths.1 && is_less);
            if !by_name && !by_number {
                return false;
            }
        }
        true
    }

    fn take(&mut self) -> (OffsetBuffer<i32>, Buffer, Option<NullBuffer>) {
        let offsets = take_full(&mut self.offsets);
        self.offsets.push(0);
        let bytes = take_full(&mut self.bytes);
        (OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(bytes), self.valid.finish())
    }

    pub(crate) fn finish(&mut self) -> Result<StringArray, ArrowError> {
        let (offsets, bytes, nulls) = self.take();
        StringArray::try_new(offsets, bytes, nulls)
    }

    pub(crate) fn finish_binary(&mut self) -> Result<arrow_array::BinaryArray, ArrowError> {
        let (offsets, bytes, nulls) = self.take();
        arrow_array::BinaryArray::try_new(offsets, bytes, nulls)
    }
}

/// Objects with a column for each known member.
#[derive(Debug)]
pub(crate) struct Structs {
    pub(crate) children: Vec<Builder>,
    names: Vec<String>,
    /// The children by their keys, as they stand in documents without escapes.
    by_key: HashMap<Vec<u8>, usize>,
    keys: Vec<Vec<u8>>,
    /// The child that came behind each in the last document: members mostly keep their order. The last stands for the beginning.
    successors: Vec<usize>,
    valid: Valid,
}

impl Structs {
    pub(crate) fn new(columns: &[Column]) -> Self {
        let keys: Vec<Vec<u8>> = columns.iter().map(|column| column.key.clone().into_bytes()).collect();
        Self {
            children: columns.iter().map(|column| Builder::new(&column.kind)).collect(),
            names: columns.iter().map(|column| column.name.clone()).collect(),
            by_key: keys.iter().cloned().enumerate().map(|(at, key)| (key, at)).collect(),
            successors: vec![0; keys.len() + 1],
            keys,
            valid: Valid::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.valid.len()
    }

    pub(crate) fn close(&mut self) {
        self.valid.append(true);
    }

    /// The child of a key without escapes, looked for first behind `previous`, the child found before it.
    #[inline(always)]
    pub(crate) fn find(&mut self, key: &[u8], previous: Option<usize>) -> Option<usize> {
        let before = previous.unwrap_or(self.keys.len());
        let guess = self.successors[before];
        if self.keys.get(guess).is_some_and(|found| is_same(found, key)) {
            return Some(guess);
        }
        let found = self.by_key.get(key).copied()?;
        self.successors[before] = found;
        Some(found)
    }

    /// Whether there is a column for this key.
    pub(crate) fn knows(&self, key: &[u8]) -> bool {
        self.by_key.contains_key(key)
    }

    fn finish(&mut self, rows: usize) -> Result<StructArray, ArrowError> {
        let arrays = self.finish_children(rows)?;
        let fields: Fields =
            self.names.iter().zip(&arrays).map(|(name, array)| Field::new(name, array.data_type().clone(), true)).collect();
        StructArray::try_new_with_length(fields, arrays, self.valid.finish(), rows)
    }

    /// The children's arrays, each with so many rows.
    pub(crate) fn finish_children(&mut self, rows: usize) -> Result<Vec<ArrayRef>, ArrowError> {
        self.children.iter_mut().map(|child| child.finish(rows)).collect()
    }

    /// Forgets the validity of the rows, where it is not asked for.
    pub(crate) fn reset(&mut self) {
        self.valid = Valid::new();
    }
}

/// Whether two keys are the same. Keys are short: a call to compare them would be most of the work.
#[inline(always)]
fn is_same(a: &[u8], b: &[u8]) -> bool {
    match (a.first_chunk::<8>(), b.first_chunk::<8>()) {
        (Some(first), Some(second)) if a.len() <= 16 && a.len() == b.len() => first == second && a.last_chunk::<8>() == b.last_chunk::<8>(),
        (Some(_), Some(_)) => a == b,
        (None, None) => match (a.first_chunk::<4>(), b.first_chunk::<4>()) {
            (Some(first), Some(second)) => a.len() == b.len() && first == second && a.last_chunk::<4>() == b.last_chunk::<4>(),
            (None, None) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b),
            _ => false,
        },
        _ => false,
    }
}

/// Arrays of one type, and the places of maps' entries.
#[derive(Debug)]
pub(crate) struct Offsets {
    ends: Vec<i32>,
    valid: Valid,
}

impl Offsets {
    fn new() -> Self {
        Self { ends: vec![0], valid: Valid::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len() - 1
    }

    /// Where the next row begins.
    pub(crate) fn end(&self) -> usize {
        self.ends.last().copied().unwrap_or(0) as usize
    }

    pub(crate) fn close(&mut self, end: usize) {
        self.ends.push(end as i32);
        self.valid.append(true);
    }

    fn pad(&mut self, rows: usize) {
        self.valid.append_nulls(rows - self.len());
        self.ends.resize(rows + 1, self.end() as i32);
    }

    fn truncate(&mut self, rows: usize) {
        self.ends.truncate(rows + 1);
        self.valid.truncate(rows);
    }

    fn take(&mut self) -> (OffsetBuffer<i32>, Option<NullBuffer>) {
        (OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(&mut self.ends, vec![0]))), self.valid.finish())
    }
}

/// A column under construction.
#[derive(Debug)]
pub(crate) enum Builder {
    Boolean(Numbers<bool>),
    Long(Numbers<i64>),
    Double(Numbers<f64>),
    Text(Texts),
    Json(Texts),
    Struct(Structs),
    List(Offsets, Box<Builder>),
    Map(Offsets, Texts, Box<Builder>),
}

impl Builder {
    pub(crate) fn new(kind: &ColumnType) -> Self {
        match kind {
            ColumnType::Boolean => Self::Boolean(Numbers::new()),
            ColumnType::Long => Self::Long(Numbers::new()),
            ColumnType::Double => Self::Double(Numbers::new()),
            ColumnType::Text => Self::Text(Texts::new()),
            ColumnType::Json => Self::Json(Texts::new()),
            ColumnType::Struct(columns) => Self::Struct(Structs::new(columns)),
            ColumnType::List(inner) => Self::List(Offsets::new(), Box::new(Self::new(inner))),
            ColumnType::Map(inner) => Self::Map(Offsets::new(), Texts::new(), Box::new(Self::new(inner))),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Boolean(values) => values.values.len(),
            Self::Long(values) => values.values.len(),
            Self::Double(values) => values.values.len(),
            Self::Text(texts) | Self::Json(texts) => texts.len(),
            Self::Struct(structs) => structs.len(),
            Self::List(offsets, _) | Self::Map(offsets, ..) => offsets.len(),
        }
    }

    /// Appends nulls until there are so many rows.
    pub(crate) fn pad(&mut self, rows: usize) {
        if self.len() >= rows {
            return;
        }
        match self {
            Self::Boolean(values) => values.pad(rows),
            Self::Long(values) => values.pad(rows),
            Self::Double(values) => values.pad(rows),
            Self::Text(texts) | Self::Json(texts) => texts.pad(rows),
            Self::Struct(structs) => structs.valid.append_nulls(rows - structs.len()),
            Self::List(offsets, _) | Self::Map(offsets, ..) => offsets.pad(rows),
        }
    }

    /// Takes back all rows from `rows` on.
    pub(crate) fn truncate(&mut self, rows: usize) {
        if self.len() <= rows {
            return;
        }
        match self {
            Self::Boolean(values) => values.truncate(rows),
            Self::Long(values) => values.truncate(rows),
            Self::Double(values) => values.truncate(rows),
            Self::Text(texts) | Self::Json(texts) => texts.truncate(rows),
            Self::Struct(structs) => {
                structs.valid.truncate(rows);
                structs.children.iter_mut().for_each(|child| child.truncate(rows));
            }
            Self::List(offsets, inner) => {
                offsets.truncate(rows);
                inner.truncate(offsets.end());
            }
            Self::Map(offsets, keys, values) => {
                offsets.truncate(rows);
                Self::truncate_entries(offsets.end(), keys, values);
            }
        }
    }

    /// Takes back all entries of a map column from `end` on.
    pub(crate) fn truncate_entries(end: usize, keys: &mut Texts, values: &mut Self) {
        if keys.len() > end {
            keys.truncate(end);
        }
        values.truncate(end);
    }

    /// The array of so many rows; the builder is empty then.
    pub(crate) fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        self.pad(rows);
        Ok(match self {
            Self::Boolean(values) => {
                let bits = std::mem::take(&mut values.values);
                Arc::new(BooleanArray::new(bits.into(), values.valid.finish()))
            }
            Self::Long(values) => Arc::new(values.finish::<arrow_array::types::Int64Type>()),
            Self::Double(values) => Arc::new(values.finish::<arrow_array::types::Float64Type>()),
            Self::Text(texts) | Self::Json(texts) => Arc::new(texts.finish()?),
            Self::Struct(structs) => Arc::new(structs.finish(rows)?),
            Self::List(offsets, inner) => {
                let (offsets, nulls) = offsets.take();
                let inner = inner.finish(offsets.last().copied().unwrap_or(0) as usize)?;
                Arc::new(ListArray::try_new(element_field(inner.data_type().clone()), offsets, inner, nulls)?)
            }
            Self::Map(offsets, keys, values) => {
                let (offsets, nulls) = offsets.take();
                let count = offsets.last().copied().unwrap_or(0) as usize;
                let keys: ArrayRef = Arc::new(keys.finish()?);
                let values = values.finish(count)?;
                let field = entries_field(values.data_type().clone());
                let arrow_schema::DataType::Struct(inside) = field.data_type() else { unreachable!("entries are a struct") };
                let entries = StructArray::try_new(inside.clone(), vec![keys, values], None)?;
                Arc::new(MapArray::try_new(field, offsets, entries, nulls, false)?)
            }
        })
    }
}

/// The rows from `start` on whose key comes again later; in order. Keys mostly ascend, as numbers (histograms) or as names: then
/// none does, which costs no memory.
pub(crate) fn superseded_keys(keys: &Texts, start: usize) -> Vec<usize> {
    if keys.ascends(start) {
        return Vec::new();
    }
    let mut rows: Vec<usize> = (start..keys.len()).collect();
    rows.sort_unstable_by_key(|row| (keys.row(*row).len(), keys.row(*row), *row));
    let mut found: Vec<usize> = rows.windows(2).filter(|pair| keys.row(pair[0]) == keys.row(pair[1])).map(|pair| pair[0]).collect();
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(texts: &[&str]) -> Texts {
        let mut keys = Texts::new();
        texts.iter().for_each(|text| keys.push(Some(text.as_bytes())));
        keys
    }

    #[test]
    fn of_keys_that_come_twice_the_last_counts() {
        let check = |texts: &[&str], start: usize, expected: &[usize], ascends: bool| {
            let keys = keys(texts);
            assert_eq!((superseded_keys(&keys, start).as_slice(), keys.ascends(start)), (expected, ascends), "{texts:?} from {start}");
        };
        check(&[], 0, &[], true);
        check(&["x", "x"], 1, &[], true);
        check(&["0", "1", "3", "10", "100"], 0, &[], true);
        check(&["16", "24", "5", "6", "63", "7"], 0, &[], true);
        check(&["b", "a", "ab"], 0, &[], false);
        check(&["a", "a"], 0, &[0], false);
        check(&["9", "a", "b", "a", "a"], 1, &[1, 3], false);
        check(&["", "\0", "\0\0"], 0, &[], true);
        check(&["LONGER_THAN_8_A", "LONGER_THAN_8_B", "LONGER_THAN_8_B"], 0, &[1], false);
        check(&["LONGER_THAN_8_A", "LONGER_THAN_8_AB", "LONGER_THAN_8_C"], 0, &[], true);
    }

    #[test]
    fn keys_of_every_length_are_told_apart() {
        let text = "abcdefghijklmnopqrstuvwxyz";
        let twin = text.to_owned();
        for length in 0..=text.len() {
            let key = &text.as_bytes()[..length];
            assert!(is_same(key, &twin.as_bytes()[..length]));
            for other in (0..=text.len()).filter(|other| *other != length) {
                assert!(!is_same(key, &text.as_bytes()[..other]), "{length} {other}");
            }
            for place in 0..length {
                let mut other = key.to_vec();
                other[place] ^= 1;
                assert!(!is_same(key, &other), "{length}, changed at {place}");
            }
        }
    }

    #[test]
    fn nulls_are_where_they_were_put() {
        let mut valid = Valid::new();
        (0..3).for_each(|_| valid.append(true));
        assert!(valid.bits.is_empty(), "nothing is kept as long as there is no null");
        valid.append(false);
        valid.append(true);
        valid.append_nulls(2);
        valid.append(true);
        valid.truncate(7);
        assert_eq!(valid.len(), 7);
        let nulls = valid.finish().expect("nulls");
        assert_eq!(nulls.iter().collect::<Vec<_>>(), [true, true, true, false, true, false, false]);
        assert_eq!((valid.len(), valid.finish()), (0, None));
        valid.append(true);
        valid.truncate(0);
        valid.append_nulls(1);
        assert_eq!(valid.finish().map(|nulls| nulls.len()), Some(1));
    }
}
