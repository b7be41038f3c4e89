//! The columns that a decoder answers with.

use std::fmt;
use std::marker::PhantomData;

use crate::Time;
use crate::rows::{Boolean, Bytes, Float64, Int64, Json, Scalar, Text, Timestamp};
use crate::wire;

/// The handle of a field that a decoder writes.
pub struct Field<S> {
    index: u32,
    marker: PhantomData<fn(S)>,
}

impl<S> Field<S> {
    pub(super) fn new(index: usize) -> Self {
        Self { index: index as u32, marker: PhantomData }
    }

    pub(super) fn index(self) -> usize {
        self.index as usize
    }
}

impl<S> Clone for Field<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Field<S> {}

impl<S> fmt::Debug for Field<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Field({})", self.index)
    }
}

/// What a field's cells may be. Not to be implemented outside of this crate.
pub trait Writable: Scalar {
    #[doc(hidden)]
    fn write(column: &mut FieldColumn, value: Self::Value<'_>);
}

impl Writable for Int64 {
    fn write(column: &mut FieldColumn, value: i64) {
        column.push(&value.to_le_bytes());
    }
}

/// NaN says nothing and the host refuses it, so the field stays null.
impl Writable for Float64 {
    fn write(column: &mut FieldColumn, value: f64) {
        if !value.is_nan() {
            column.push(&value.to_le_bytes());
        }
    }
}

impl Writable for Boolean {
    fn write(column: &mut FieldColumn, value: bool) {
        column.push(&[u8::from(value)]);
    }
}

impl Writable for Text {
    fn write(column: &mut FieldColumn, value: &str) {
        column.push(value.as_bytes());
    }
}

impl Writable for Bytes {
    fn write(column: &mut FieldColumn, value: &[u8]) {
        column.push(value);
    }
}

impl Writable for Json {
    fn write(column: &mut FieldColumn, value: &[u8]) {
        column.push(value);
    }
}

impl Writable for Timestamp {
    fn write(column: &mut FieldColumn, value: Time) {
        column.push(&value.ns().to_le_bytes());
    }
}

/// One field's cells, row by row; a row has one cell at most until `finish_row`. Public only because a sealed trait names it.
#[derive(Debug)]
pub struct FieldColumn {
    kind: wire::Kind,
    bytes: Vec<u8>,
    /// Where each cell ends in `bytes`.
    ends: Vec<u32>,
    validity: Vec<u8>,
    /// Whether the current row has its cell.
    set: bool,
}

impl FieldColumn {
    pub(super) fn new(kind: wire::Kind) -> Self {
        Self { kind, bytes: Vec::new(), ends: Vec::new(), validity: Vec::new(), set: false }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.validity.clear();
        self.set = false;
    }

    fn push(&mut self, cell: &[u8]) {
        self.bytes.extend_from_slice(cell);
        self.set = true;
    }

    /// Takes the current row's cell back.
    pub(super) fn clear_cell(&mut self) {
        self.bytes.truncate(self.ends.last().map_or(0, |&end| end as usize));
        self.set = false;
    }

    /// Ends the current row; without a cell it is null, in its place a zero of its size.
    pub(super) fn finish_row(&mut self) {
        if !self.set {
            self.bytes.extend_from_slice(&[0; 8][..self.cell_size()]);
        }
        self.ends.push(self.bytes.len() as u32);
        self.validity.push(u8::from(std::mem::take(&mut self.set)));
    }

    /// Bytes of a cell, 0 where each has a length of its own.
    fn cell_size(&self) -> usize {
        match self.kind {
            wire::Kind::Int64 | wire::Kind::Float64 => 8,
            wire::Kind::Boolean => 1,
            wire::Kind::Text | wire::Kind::Bytes | wire::Kind::Json => 0,
        }
    }
}

/// Lays the fields' cells one behind the other, as the WIT's `columns` wants them.
pub(super) fn join(fields: &[FieldColumn]) -> wire::Columns {
    let mut out = empty();
    for field in fields {
        match field.kind {
            wire::Kind::Int64 => out.int64s.extend_from_slice(&field.bytes),
            wire::Kind::Float64 => out.float64s.extend_from_slice(&field.bytes),
            wire::Kind::Boolean => out.bits.extend_from_slice(&field.bytes),
            wire::Kind::Text | wire::Kind::Bytes | wire::Kind::Json => {
                let base = out.arena.len() as u32;
                out.offsets.extend_from_slice(&base.to_le_bytes());
                out.offsets.extend(field.ends.iter().flat_map(|end| (base + end).to_le_bytes()));
                out.arena.extend_from_slice(&field.bytes);
            }
        }
    }
    for field in fields {
        out.bits.extend_from_slice(&field.validity);
    }
    out
}

fn empty() -> wire::Columns {
    let (int64s, float64s, bits, spans, offsets, arena) = Default::default();
    wire::Columns { int64s, float64s, bits, spans, offsets, arena }
}
