//! Where the cells of each column lie in the six lists of a batch.

use std::fmt;

use crate::wire::{ColumnRequest, Columns, Kind, Shape};

/// A list of the batch is shorter or longer than its columns need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LayoutError {
    list: &'static str,
    need: usize,
    have: usize,
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { list, need, have } = self;
        write!(f, "the batch's list `{list}` needs {need} bytes for the columns of open and has {have}: host and plugin disagree")
    }
}

impl From<LayoutError> for crate::Failure {
    fn from(error: LayoutError) -> Self {
        Self::new(error.to_string())
    }
}

/// One column's part of the lists. Public only because a sealed trait's methods name it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Slot<'b> {
    /// Fixed-size cells: 8 bytes each, booleans 1.
    cells: &'b [u8],
    validity: &'b [u8],
    /// Empty for shape `one`.
    spans: &'b [u8],
    offsets: &'b [u8],
    keys: &'b [u8],
    arena: &'b [u8],
}

impl<'b> Slot<'b> {
    pub(crate) fn is_valid(self, row: usize) -> bool {
        self.validity.get(row).is_some_and(|&byte| byte != 0)
    }

    pub(crate) fn bit(self, cell: usize) -> bool {
        self.cells.get(cell).is_some_and(|&byte| byte != 0)
    }

    #[inline]
    pub(crate) fn number(self, cell: usize) -> [u8; 8] {
        self.cells.get(cell * 8..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default()
    }

    #[inline]
    pub(crate) fn bytes(self, cell: usize) -> &'b [u8] {
        piece(self.offsets, self.arena, cell)
    }

    pub(crate) fn key(self, cell: usize) -> &'b [u8] {
        piece(self.keys, self.arena, cell)
    }

    /// The first cell of a row and the one after its last.
    pub(crate) fn span(self, row: usize) -> (usize, usize) {
        let (start, end) = (offset(self.spans, row), offset(self.spans, row + 1));
        (start.min(end), end)
    }
}

/// The bytes between an offset and the next one.
#[inline]
fn piece<'b>(offsets: &[u8], arena: &'b [u8], cell: usize) -> &'b [u8] {
    arena.get(offset(offsets, cell)..offset(offsets, cell + 1)).unwrap_or_default()
}

#[inline]
fn offset(offsets: &[u8], index: usize) -> usize {
    offsets.get(index * 4..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize)
}

/// Takes columns off the front of a list, one after the other.
struct List<'b> {
    name: &'static str,
    bytes: &'b [u8],
    taken: usize,
}

impl<'b> List<'b> {
    fn new(name: &'static str, bytes: &'b [u8]) -> Self {
        Self { name, bytes, taken: 0 }
    }

    fn take(&mut self, len: usize) -> Result<&'b [u8], LayoutError> {
        let end = self.taken.saturating_add(len);
        let part = self.bytes.get(self.taken..end).ok_or_else(|| self.error(end))?;
        self.taken = end;
        Ok(part)
    }

    /// Every byte belongs to a column.
    fn finish(self) -> Result<(), LayoutError> {
        if self.taken == self.bytes.len() { Ok(()) } else { Err(self.error(self.taken)) }
    }

    fn error(&self, need: usize) -> LayoutError {
        LayoutError { list: self.name, need, have: self.bytes.len() }
    }
}

/// Cuts the lists into one slot for each requested column.
pub(crate) fn cut<'b>(columns: &'b Columns, rows: usize, requests: &[ColumnRequest]) -> Result<Vec<Slot<'b>>, LayoutError> {
    let Columns { int64s, float64s, bits, spans, offsets, arena } = columns;
    let mut int64s = List::new("int64s", int64s);
    let mut float64s = List::new("float64s", float64s);
    let mut bits = List::new("bits", bits);
    let mut spans = List::new("spans", spans);
    let mut offsets = List::new("offsets", offsets);
    let mut slots = Vec::with_capacity(requests.len());
    for request in requests {
        let mut slot = Slot { arena, ..Slot::default() };
        let mut cells = rows;
        if request.shape != Shape::One {
            slot.spans = spans.take((rows + 1) * 4)?;
            cells = offset(slot.spans, rows);
        }
        if request.shape == Shape::Entries {
            slot.keys = offsets.take((cells + 1) * 4)?;
        }
        match request.kind {
            Kind::Int64 => slot.cells = int64s.take(cells * 8)?,
            Kind::Float64 => slot.cells = float64s.take(cells * 8)?,
            Kind::Boolean => slot.cells = bits.take(cells)?,
            Kind::Text | Kind::Bytes | Kind::Json => slot.offsets = offsets.take((cells + 1) * 4)?,
        }
        slots.push(slot);
    }
    for slot in &mut slots {
        slot.validity = bits.take(rows)?;
    }
    for list in [int64s, float64s, bits, spans, offsets] {
        list.finish()?;
    }
    Ok(slots)
}
