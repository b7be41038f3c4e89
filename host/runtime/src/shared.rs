//! Columns that are read once from each message for all plugins that ask for them.

use crate::builder::is_utf8;
use crate::plan::ColumnKind;
use tidemill_message::{NUMBER_CODE, Texts};

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
    /// Cells of text, bytes and json, and for each row which it is.
    pub(crate) texts: Texts<'m>,
    pub(crate) codes: Vec<u16>,
}

impl<'m> SharedColumn<'m> {
    /// A column without rows.
    pub fn new(kind: ColumnKind) -> Self {
        let texts = Texts::new(kind == ColumnKind::Text);
        Self { kind, valid: Vec::new(), has_null: false, numbers: Vec::new(), bits: Vec::new(), texts, codes: Vec::new() }
    }

    /// Appends a row. A cell whose kind is not the column's, and text that is not UTF-8, are null.
    #[inline]
    pub fn push(&mut self, cell: CellRef<'m>) {
        let is_valid = match (self.kind, cell) {
            (ColumnKind::Int64, CellRef::Int64(value)) => self.push_number(value.to_le_bytes()),
            (ColumnKind::Float64, CellRef::Float64(value)) => self.push_number(value.to_le_bytes()),
            (ColumnKind::Boolean, CellRef::Boolean(value)) => self.push_bit(value),
            (ColumnKind::Bytes, CellRef::Bytes(value)) => self.push_text(value, |_| true),
            (ColumnKind::Text | ColumnKind::Json, CellRef::Bytes(value)) => self.push_text(value, is_utf8),
            _ => self.push_zero(),
        };
        self.has_null |= !is_valid;
        self.valid.push(u8::from(is_valid));
    }

    /// Appends rows of a text column of which somebody told the texts apart: `codes` has for each the number of its text, from 1, or
    /// another one, or none, where it has no text.
    pub fn take_texts(&mut self, texts: &[&'m [u8]], codes: &[u16], rows: usize) {
        let known: Vec<_> = texts.iter().map(|text| self.texts.push(text, is_utf8)).collect();
        let mut empty = None;
        for row in 0..rows {
            let text = codes.get(row).and_then(|code| known.get(usize::from(*code).wrapping_sub(1)));
            let (code, is_valid) = match text {
                Some(text) => *text,
                None => (*empty.get_or_insert_with(|| self.texts.push(&[], |_| true).0), false),
            };
            self.codes.push(code);
            self.valid.push(u8::from(is_valid));
            self.has_null |= !is_valid;
        }
    }

    /// Appends rows of a float64 column: those whose code is [`NUMBER_CODE`] have the number at their place, all of them where there
    /// are no codes.
    pub fn take_numbers(&mut self, numbers: &[f64], codes: &[u16], rows: usize) {
        if codes.is_empty() && numbers.len() == rows {
            self.numbers.extend(numbers.iter().map(|number| number.to_le_bytes()));
            return self.valid.resize(self.numbers.len(), 1);
        }
        for row in 0..rows {
            let number = numbers.get(row).filter(|_| codes.get(row).is_none_or(|code| *code == NUMBER_CODE));
            self.push(number.map_or(CellRef::Null, |number| CellRef::Float64(*number)));
        }
    }

    /// Whether some row is null.
    pub fn has_null(&self) -> bool {
        self.has_null
    }

    /// Whether a row has a value.
    pub fn is_valid(&self, row: usize) -> bool {
        self.valid.get(row) == Some(&1)
    }

    /// Bytes of all texts, each once where they are told apart.
    pub fn text_bytes(&self) -> usize {
        self.texts.byte_len()
    }

    /// Forgets the rows, keeps the memory.
    pub fn clear(&mut self) {
        let Self { kind: _, valid, has_null, numbers, bits, texts, codes } = self;
        valid.clear();
        numbers.clear();
        bits.clear();
        texts.clear();
        codes.clear();
        *has_null = false;
    }

    fn push_zero(&mut self) -> bool {
        match self.kind {
            ColumnKind::Int64 | ColumnKind::Float64 => self.push_number([0; 8]),
            ColumnKind::Boolean => self.push_bit(false),
            ColumnKind::Text | ColumnKind::Bytes | ColumnKind::Json => self.push_text(&[], |_| true),
        };
        false
    }

    #[inline]
    fn push_number(&mut self, value: [u8; 8]) -> bool {
        self.numbers.push(value);
        true
    }

    #[inline]
    fn push_text(&mut self, value: &'m [u8], is_valid: impl FnOnce(&[u8]) -> bool) -> bool {
        let (code, is_valid) = self.texts.code(value, is_valid);
        self.codes.push(code);
        is_valid
    }

    /// The text of a row.
    #[inline]
    pub(crate) fn text(&self, row: u16) -> &'m [u8] {
        self.texts.list()[usize::from(self.codes[usize::from(row)])]
    }

    #[inline]
    fn push_bit(&mut self, value: bool) -> bool {
        self.bits.push(u8::from(value));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_repeat_are_there_once() {
        let mut column = SharedColumn::new(ColumnKind::Text);
        let texts: [&[u8]; 4] = [b"a", b"", b"\xff", b"a"];
        for _ in 0..2 {
            texts.iter().for_each(|text| column.push(CellRef::Bytes(text)));
            column.push(CellRef::Int64(1));
            let rows: Vec<_> = (0..5).map(|row| (column.text(row), column.is_valid(usize::from(row)))).collect();
            assert_eq!(rows, [(&b"a"[..], true), (b"", true), (b"", false), (b"a", true), (b"", false)]);
            assert_eq!((column.codes[0], column.codes[3], column.text_bytes(), column.has_null()), (0, 0, 1, true));
            column.clear();
        }
    }
}
