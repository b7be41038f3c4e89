//! Columns that are read once from each message for all plugins that ask for them.

use crate::builder::is_utf8;
use crate::plan::ColumnKind;

/// A cell as it is in a message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CellRef<'m> {
    /// There is none, or it is of another kind than the column.
    Null,
    /// For columns of kind int64.
    Int64(i64),
    /// For columns of kind float64.
    Float64(f64),
    /// For columns of kind boolean.
    Boolean(bool),
    /// For columns of kind text, bytes or json.
    Bytes(&'m [u8]),
}

/// The cells of a column of shape one, a row each. [`ColumnsBuilder::gather`](crate::ColumnsBuilder::gather) takes the rows
/// that a plugin wants.
#[derive(Debug)]
pub struct SharedColumn<'m> {
    pub(crate) kind: ColumnKind,
    /// A byte a row.
    pub(crate) valid: Vec<u8>,
    pub(crate) has_null: bool,
    /// Cells of int64 and float64.
    pub(crate) numbers: Vec<[u8; 8]>,
    /// Cells of boolean.
    pub(crate) bits: Vec<u8>,
    /// Cells of text, bytes and json.
    pub(crate) bytes: Vec<&'m [u8]>,
}

impl<'m> SharedColumn<'m> {
    /// A column without rows.
    pub fn new(kind: ColumnKind) -> Self {
        Self { kind, valid: Vec::new(), has_null: false, numbers: Vec::new(), bits: Vec::new(), bytes: Vec::new() }
    }

    /// Appends a row. A cell whose kind is not the column's, and text that is not UTF-8, are null.
    #[inline]
    pub fn push(&mut self, cell: CellRef<'m>) {
        let is_valid = match (self.kind, cell) {
            (ColumnKind::Int64, CellRef::Int64(value)) => self.push_number(value.to_le_bytes()),
            (ColumnKind::Float64, CellRef::Float64(value)) => self.push_number(value.to_le_bytes()),
            (ColumnKind::Boolean, CellRef::Boolean(value)) => self.push_bit(value),
            (ColumnKind::Bytes, CellRef::Bytes(value)) => self.push_bytes(value),
            (ColumnKind::Text | ColumnKind::Json, CellRef::Bytes(value)) if is_utf8(value) => self.push_bytes(value),
            _ => {
                self.push_zero();
                self.has_null = true;
                false
            }
        };
        self.valid.push(u8::from(is_valid));
    }

    /// Whether some row is null.
    pub fn has_null(&self) -> bool {
        self.has_null
    }

    /// Whether a row has a value.
    pub fn is_valid(&self, row: usize) -> bool {
        self.valid.get(row) == Some(&1)
    }

    /// Forgets the rows, keeps the memory.
    pub fn clear(&mut self) {
        let Self { kind: _, valid, has_null, numbers, bits, bytes } = self;
        valid.clear();
        numbers.clear();
        bits.clear();
        bytes.clear();
        *has_null = false;
    }

    fn push_zero(&mut self) {
        match self.kind {
            ColumnKind::Int64 | ColumnKind::Float64 => self.push_number([0; 8]),
            ColumnKind::Boolean => self.push_bit(false),
            ColumnKind::Text | ColumnKind::Bytes | ColumnKind::Json => self.push_bytes(&[]),
        };
    }

    fn push_number(&mut self, value: [u8; 8]) -> bool {
        self.numbers.push(value);
        true
    }

    fn push_bit(&mut self, value: bool) -> bool {
        self.bits.push(u8::from(value));
        true
    }

    fn push_bytes(&mut self, value: &'m [u8]) -> bool {
        self.bytes.push(value);
        true
    }
}
