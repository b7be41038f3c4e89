//! Where the cells of each column lie in the six lists of a batch.

use std::fmt;

use crate::Dictionaries;
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

/// One column's part of the lists, cut into cells. Public only because a sealed trait's methods name it.
#[derive(Debug, Clone, Copy)]
pub struct Slot<'b> {
    numbers: &'b [[u8; 8]],
    bits: &'b [u8],
    validity: &'b [u8],
    /// Empty for shape `one`.
    spans: &'b [[u8; 4]],
    offsets: &'b [[u8; 4]],
    keys: &'b [[u8; 4]],
    arena: &'b [u8],
    /// For each row the number of its text, where each text is there once; else empty.
    codes: &'b [[u8; 2]],
    /// The bytes of a text column, checked in one go, and where they begin in the arena.
    text: &'b str,
    text_begin: usize,
}

impl<'b> Slot<'b> {
    /// A column that is not there.
    pub(crate) const EMPTY: Slot<'static> = Slot {
        numbers: &[],
        bits: &[],
        validity: &[],
        spans: &[],
        offsets: &[],
        keys: &[],
        arena: &[],
        codes: &[],
        text: "",
        text_begin: 0,
    };

    #[inline]
    pub(crate) fn is_valid(&self, row: usize) -> bool {
        self.validity.get(row).is_some_and(|&byte| byte != 0)
    }

    #[inline]
    pub(crate) fn bit(&self, cell: usize) -> bool {
        self.bits.get(cell).is_some_and(|&byte| byte != 0)
    }

    #[inline]
    pub(crate) fn number(&self, cell: usize) -> [u8; 8] {
        self.numbers.get(cell).copied().unwrap_or_default()
    }

    #[inline]
    pub(crate) fn bytes(&self, cell: usize) -> &'b [u8] {
        piece(self.offsets, self.arena, cell)
    }

    /// A cell of a text column. The host gives UTF-8; anything else reads as empty rather than costing the batch.
    #[inline]
    pub(crate) fn text(&self, cell: usize) -> &'b str {
        self.text_at(self.codes.get(cell).map_or(cell, |code| usize::from(u16::from_le_bytes(*code))))
    }

    /// The text of a number: the cell's own, or its code.
    #[inline]
    pub(crate) fn text_at(&self, cell: usize) -> &'b str {
        let (start, end) = (offset(self.offsets, cell), offset(self.offsets, cell + 1));
        // Wraps where there is no checked text, and is out of range then.
        match self.text.get(start.wrapping_sub(self.text_begin)..end.wrapping_sub(self.text_begin)) {
            Some(text) => text,
            None => as_text(self.bytes(cell)),
        }
    }

    /// For each row the number of its text; empty where texts are not told apart.
    pub(crate) fn codes(&self) -> &'b [[u8; 2]] {
        self.codes
    }

    /// How many texts there are.
    pub(crate) fn texts(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// The numbers of all rows.
    pub(crate) fn numbers(&self) -> &'b [[u8; 8]] {
        self.numbers
    }

    /// Whether no row is null.
    pub(crate) fn is_complete(&self) -> bool {
        let (blocks, rest) = self.validity.as_chunks::<32>();
        let has_zero = |block: &[u8; 32]| {
            let zero = |word: u64| word.wrapping_sub(0x0101_0101_0101_0101) & !word & 0x8080_8080_8080_8080;
            block.as_chunks::<8>().0.iter().fold(0, |zeros, word| zeros | zero(u64::from_le_bytes(*word))) != 0
        };
        !blocks.iter().any(has_zero) && rest.iter().all(|byte| *byte != 0)
    }

    pub(crate) fn key(&self, cell: usize) -> &'b [u8] {
        piece(self.keys, self.arena, cell)
    }

    /// The first cell of a row and the one after its last.
    pub(crate) fn span(&self, row: usize) -> (usize, usize) {
        let (start, end) = (offset(self.spans, row), offset(self.spans, row + 1));
        (start.min(end), end)
    }

    /// Checks the text of all cells together: a check for each would cost more than reading it.
    fn check_text(&mut self) {
        let (Some(first), Some(last)) = (self.offsets.first(), self.offsets.last()) else { return };
        let (first, last) = (u32::from_le_bytes(*first) as usize, u32::from_le_bytes(*last) as usize);
        let text = self.arena.get(first..last).and_then(checked_text);
        (self.text, self.text_begin) = (text.unwrap_or_default(), first);
    }
}

/// The bytes as text, where they are UTF-8. Nearly all of them are ASCII, which is found out 32 bytes at a time: the general check
/// costs several times as much in WebAssembly.
fn checked_text(bytes: &[u8]) -> Option<&str> {
    if !is_ascii(bytes) {
        return std::str::from_utf8(bytes).ok();
    }
    #[expect(unsafe_code, reason = "what was checked is not checked again")]
    // SAFETY: every byte is ASCII, and ASCII is UTF-8.
    Some(unsafe { std::str::from_utf8_unchecked(bytes) })
}

fn is_ascii(bytes: &[u8]) -> bool {
    let (blocks, rest) = bytes.as_chunks::<32>();
    let is_ascii = |block: &[u8; 32]| {
        let high = block.as_chunks::<8>().0.iter().fold(0, |high, word| high | u64::from_le_bytes(*word));
        high & 0x8080_8080_8080_8080 == 0
    };
    blocks.iter().all(is_ascii) && rest.iter().all(u8::is_ascii)
}

#[inline(never)]
fn as_text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// The bytes between an offset and the next one.
#[inline]
fn piece<'b>(offsets: &[[u8; 4]], arena: &'b [u8], cell: usize) -> &'b [u8] {
    arena.get(offset(offsets, cell)..offset(offsets, cell + 1)).unwrap_or_default()
}

#[inline]
fn offset(offsets: &[[u8; 4]], index: usize) -> usize {
    offsets.get(index).map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize)
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

    /// So many codes.
    fn codes(&mut self, count: usize) -> Result<&'b [[u8; 2]], LayoutError> {
        Ok(self.take(count * 2)?.as_chunks().0)
    }

    /// So many offsets.
    fn offsets(&mut self, count: usize) -> Result<&'b [[u8; 4]], LayoutError> {
        Ok(self.take(count * 4)?.as_chunks().0)
    }

    /// So many numbers.
    fn numbers(&mut self, count: usize) -> Result<&'b [[u8; 8]], LayoutError> {
        Ok(self.take(count * 8)?.as_chunks().0)
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
pub(crate) fn cut<'b>(
    columns: &'b Columns,
    dictionaries: Option<&'b Dictionaries>,
    rows: usize,
    requests: &[ColumnRequest],
) -> Result<Vec<Slot<'b>>, LayoutError> {
    let mut codes = List::new("codes", dictionaries.map_or(&[], |dictionaries| &dictionaries.codes));
    let mut texts = dictionaries.map_or(&[][..], |dictionaries| &dictionaries.texts).iter();
    let Columns { int64s, float64s, bits, spans, offsets, arena } = columns;
    let mut int64s = List::new("int64s", int64s);
    let mut float64s = List::new("float64s", float64s);
    let mut bits = List::new("bits", bits);
    let mut spans = List::new("spans", spans);
    let mut offsets = List::new("offsets", offsets);
    let mut slots = Vec::with_capacity(requests.len());
    for request in requests {
        let mut slot = Slot { arena, ..Slot::EMPTY };
        let mut cells = rows;
        if request.shape != Shape::One {
            slot.spans = spans.offsets(rows + 1)?;
            cells = offset(slot.spans, rows);
        }
        if request.shape == Shape::Entries {
            slot.keys = offsets.offsets(cells + 1)?;
        }
        if dictionaries.is_some() && request.kind == Kind::Text && request.shape == Shape::One {
            slot.codes = codes.codes(rows)?;
            cells = texts.next().map_or(0, |texts| *texts as usize);
        }
        match request.kind {
            Kind::Int64 => slot.numbers = int64s.numbers(cells)?,
            Kind::Float64 => slot.numbers = float64s.numbers(cells)?,
            Kind::Boolean => slot.bits = bits.take(cells)?,
            Kind::Text | Kind::Bytes | Kind::Json => slot.offsets = offsets.offsets(cells + 1)?,
        }
        if request.kind == Kind::Text {
            slot.check_text();
        }
        slots.push(slot);
    }
    for slot in &mut slots {
        slot.validity = bits.take(rows)?;
    }
    for list in [int64s, float64s, bits, spans, offsets, codes] {
        list.finish()?;
    }
    Ok(slots)
}
