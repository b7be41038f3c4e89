//! Columns under construction. Rows may be taken back, because of duplicate keys the last counts, and a column is only filled up
//! with nulls when something is put behind them: most columns of a wide table are null in most rows.

use crate::columns::{Column, ColumnType};
use crate::layout::{element_field, entries_field};
use arrow_array::{ArrayRef, BooleanArray, ListArray, MapArray, PrimitiveArray, StringArray, StructArray, types::ArrowPrimitiveType};
use arrow_buffer::{ArrowNativeType, BooleanBufferBuilder, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, Field, Fields};
use std::{collections::HashMap, sync::Arc};

/// Which rows hold a value.
#[derive(Debug)]
pub(crate) struct Valid(BooleanBufferBuilder);

impl Valid {
    fn new() -> Self {
        Self(BooleanBufferBuilder::new(0))
    }

    fn finish(&mut self) -> Option<NullBuffer> {
        Some(NullBuffer::new(self.0.finish())).filter(|nulls| nulls.null_count() > 0)
    }
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

    pub(crate) fn push(&mut self, value: Option<T>) {
        self.values.push(value.unwrap_or_default());
        self.valid.0.append(value.is_some());
    }

    fn pad(&mut self, rows: usize) {
        self.valid.0.append_n(rows - self.values.len(), false);
        self.values.resize(rows, T::default());
    }

    fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.valid.0.truncate(rows);
    }
}

impl<T: ArrowNativeType> Numbers<T> {
    pub(crate) fn finish<P: ArrowPrimitiveType<Native = T>>(&mut self) -> PrimitiveArray<P> {
        let values = std::mem::take(&mut self.values);
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

    pub(crate) fn push(&mut self, text: Option<&[u8]>) {
        self.bytes.extend_from_slice(text.unwrap_or_default());
        self.close(text.is_some());
    }

    fn close(&mut self, is_valid: bool) {
        // Chunks are far below 2 GiB: see `rows::CHUNK_BYTES`.
        self.offsets.push(self.bytes.len() as i32);
        self.valid.0.append(is_valid);
    }

    fn pad(&mut self, rows: usize) {
        self.valid.0.append_n(rows - self.len(), false);
        self.offsets.resize(rows + 1, self.bytes.len() as i32);
    }

    fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        self.bytes.truncate(self.offsets[rows] as usize);
        self.valid.0.truncate(rows);
    }

    /// The bytes of row `row`.
    fn row(&self, row: usize) -> &[u8] {
        &self.bytes[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }

    fn take(&mut self) -> (OffsetBuffer<i32>, Buffer, Option<NullBuffer>) {
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        let bytes = std::mem::take(&mut self.bytes);
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
        self.valid.0.len()
    }

    pub(crate) fn close(&mut self) {
        self.valid.0.append(true);
    }

    /// The child of a key without escapes, looked for first behind `previous`, the child found before it.
    pub(crate) fn find(&mut self, key: &[u8], previous: Option<usize>) -> Option<usize> {
        let before = previous.unwrap_or(self.keys.len());
        let guess = self.successors[before];
        if self.keys.get(guess).is_some_and(|found| found == key) {
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
        self.valid.0.append(true);
    }

    fn pad(&mut self, rows: usize) {
        self.valid.0.append_n(rows - self.len(), false);
        self.ends.resize(rows + 1, self.end() as i32);
    }

    fn truncate(&mut self, rows: usize) {
        self.ends.truncate(rows + 1);
        self.valid.0.truncate(rows);
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
            Self::Struct(structs) => structs.valid.0.append_n(rows - structs.len(), false),
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
                structs.valid.0.truncate(rows);
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
    let ascends = |before: fn(&[u8], &[u8]) -> bool| (start + 1..keys.len()).all(|row| before(keys.row(row - 1), keys.row(row)));
    if ascends(|a, b| (a.len(), a) < (b.len(), b)) || ascends(|a, b| a < b) {
        return Vec::new();
    }
    let mut rows: Vec<usize> = (start..keys.len()).collect();
    rows.sort_unstable_by_key(|row| (keys.row(*row).len(), keys.row(*row), *row));
    let mut found: Vec<usize> = rows.windows(2).filter(|pair| keys.row(pair[0]) == keys.row(pair[1])).map(|pair| pair[0]).collect();
    found.sort_unstable();
    found
}
