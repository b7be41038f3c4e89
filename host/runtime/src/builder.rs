//! From rows, cell by cell, to the columns of a batch.

use crate::columns::{BATCH_BYTES_MAX, BATCH_ROWS_MAX, Columns, Dictionaries};
use crate::plan::{ColumnKind, ColumnRequest, Shape};
use crate::shared::SharedColumn;

/// Collects rows for one plugin. It keeps its memory from batch to batch: in steady state nothing is allocated.
///
/// For each row push the cells that are there, in any order, then [`finish_row`](Self::finish_row), or
/// [`abandon_row`](Self::abandon_row) when a required one is missing. What was not pushed is null. A cell whose kind is not
/// the column's, text that is not UTF-8, and a second cell for a column of shape one are ignored. Numbers of columns must be
/// those of the plan; others panic.
#[derive(Debug)]
pub struct ColumnsBuilder {
    columns: Vec<Column>,
    rows: u32,
    byte_len: usize,
    /// Lists that came back through [`recycle`](Self::recycle).
    spare: Vec<Columns>,
}

/// Batches whose memory is kept: two are under way where one is filled while another is called with, more where they are kept until
/// a plugin's state is saved.
const SPARE_MAX: usize = 8;

impl ColumnsBuilder {
    /// A builder for the columns of a plan.
    pub fn new(requests: &[ColumnRequest]) -> Self {
        let columns = requests.iter().map(|request| Column::new(request.kind, request.shape)).collect();
        Self { columns, rows: 0, byte_len: 0, spare: Vec::new() }
    }

    /// The same for a plugin that reads [`Dictionaries`]: of what is [gathered](Self::gather), texts that repeat are there once.
    pub fn with_dictionaries(requests: &[ColumnRequest]) -> Self {
        let mut builder = Self::new(requests);
        let texts = builder.columns.iter_mut().filter(|column| column.kind == ColumnKind::Text && column.shape == Shape::One);
        texts.for_each(|column| column.codes = Some(Codes::default()));
        builder
    }

    /// Whether it was made with them.
    pub fn has_dictionaries(&self) -> bool {
        self.columns.iter().any(|column| column.codes.is_some())
    }

    /// A cell of an int64 column.
    #[inline]
    pub fn int64(&mut self, column: usize, value: Option<i64>) {
        self.columns[column].fixed(ColumnKind::Int64, value.map(i64::to_le_bytes));
    }

    /// A cell of a float64 column.
    #[inline]
    pub fn float64(&mut self, column: usize, value: Option<f64>) {
        self.columns[column].fixed(ColumnKind::Float64, value.map(f64::to_le_bytes));
    }

    /// A cell of a boolean column.
    #[inline]
    pub fn boolean(&mut self, column: usize, value: Option<bool>) {
        self.columns[column].fixed(ColumnKind::Boolean, value.map(|value| [u8::from(value)]));
    }

    /// A cell of a text, bytes or json column.
    #[inline]
    pub fn bytes(&mut self, column: usize, value: Option<&[u8]>) {
        self.columns[column].bytes(value);
    }

    /// The cells pushed until [`end_run`](Self::end_run) are this row's run of a many or entries column.
    #[inline]
    pub fn begin_run(&mut self, column: usize) {
        self.columns[column].begin_run();
    }

    /// The key of the next cell of an entries column. A key that is not UTF-8 is empty.
    #[inline]
    pub fn entry(&mut self, column: usize, key: &[u8]) {
        self.columns[column].entry(key);
    }

    /// Ends a run; an empty one is not null.
    #[inline]
    pub fn end_run(&mut self, column: usize) {
        self.columns[column].end_run();
    }

    /// This row's whole run of an int64 column of shape many, which has none yet: as if each cell had been pushed.
    #[inline]
    pub fn int64_run(&mut self, column: usize, cells: &[[u8; 8]]) {
        self.columns[column].int64_run(cells);
    }

    /// Whether a column of the row begun has a value that is not null.
    pub fn has_value(&self, column: usize) -> bool {
        let column = &self.columns[column];
        column.valid.len() > column.rows && column.valid.last() == Some(&1)
    }

    /// The row is complete; what was not pushed is null.
    pub fn finish_row(&mut self) {
        self.rows += 1;
        self.byte_len = self.columns.iter_mut().map(Column::finish_row).sum();
    }

    /// Appends rows of shared columns as if each of their cells had been pushed: `rows` are their places, `numbers` the column's
    /// place among `shared` for each column of the plan. All columns of the plan are of shape one and of the kinds of theirs; no
    /// row is begun.
    pub fn gather(&mut self, shared: &[SharedColumn<'_>], numbers: &[usize], rows: &[u16]) {
        for (column, number) in self.columns.iter_mut().zip(numbers) {
            column.gather(&shared[*number], rows);
        }
        self.rows += rows.len() as u32;
        self.byte_len = self.columns.iter().map(|column| column.byte_len() + column.rows).sum();
    }

    /// Takes back the cells of the row begun.
    pub fn abandon_row(&mut self) {
        self.columns.iter_mut().for_each(Column::abandon_row);
    }

    /// Finished rows.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Bytes of the finished rows, as they will cross.
    pub fn byte_len(&self) -> usize {
        self.byte_len
    }

    /// Whether the batch has to go now: [`BATCH_ROWS_MAX`] rows or [`BATCH_BYTES_MAX`] bytes.
    pub fn is_full(&self) -> bool {
        self.rows >= BATCH_ROWS_MAX || self.byte_len >= BATCH_BYTES_MAX
    }

    /// The finished rows as columns; the builder is empty then. A row begun is lost.
    pub fn take(&mut self) -> Columns {
        let mut out = self.spare.pop().unwrap_or_default();
        self.take_into(&mut out);
        out
    }

    /// As [`take`](Self::take), into lists whose memory is reused.
    pub fn take_into(&mut self, out: &mut Columns) {
        self.abandon_row();
        out.clear();
        self.reserve(out);
        let is_only = |kind| self.columns.iter().filter(|column| column.kind == kind).count() == 1;
        let only = [ColumnKind::Int64, ColumnKind::Float64].map(is_only);
        self.columns.iter_mut().for_each(|column| column.append(out, only));
        self.columns.iter().for_each(|column| out.bits.extend_from_slice(&column.valid));
        let with_codes = self.columns.iter().filter_map(|column| column.codes.as_ref().map(|codes| (column, codes)));
        let mut dictionaries = out.dictionaries.take();
        for (column, codes) in with_codes {
            let Dictionaries { texts, codes: out } = out.dictionaries.get_or_insert_with(|| dictionaries.take().unwrap_or_default());
            texts.push(column.cells.len() as u32);
            out.extend_from_slice(codes.rows.as_flattened());
        }
        self.columns.iter_mut().for_each(Column::clear);
        (self.rows, self.byte_len) = (0, 0);
    }

    /// Makes room for all cells at once.
    fn reserve(&self, out: &mut Columns) {
        let (mut int64s, mut float64s, mut bits, mut spans, mut offsets, mut arena) = (0, 0, 0, 0, 0, 0);
        for column in &self.columns {
            match column.kind {
                ColumnKind::Int64 => int64s += column.cells.data.len(),
                ColumnKind::Float64 => float64s += column.cells.data.len(),
                ColumnKind::Boolean => bits += column.cells.data.len(),
                ColumnKind::Text | ColumnKind::Bytes | ColumnKind::Json => {
                    offsets += 4 * (column.cells.ends.len() + 1);
                    arena += column.cells.data.len();
                }
            }
            bits += column.valid.len();
            spans += 4 * (column.ends.len() + 1);
            offsets += 4 * (column.keys.ends.len() + 1);
            arena += column.keys.data.len();
        }
        out.int64s.reserve(int64s);
        out.float64s.reserve(float64s);
        out.bits.reserve(bits);
        out.spans.reserve(spans);
        out.offsets.reserve(offsets);
        out.arena.reserve(arena);
    }

    /// Gives the lists of a batch back, so that the next [`take`](Self::take) allocates nothing.
    pub fn recycle(&mut self, columns: Columns) {
        if self.spare.len() < SPARE_MAX {
            self.spare.push(columns);
        }
    }
}

/// The cells of one column so far.
#[derive(Debug)]
struct Column {
    kind: ColumnKind,
    shape: Shape,
    cells: Cells,
    /// Keys of an entries column, in step with `cells`.
    keys: Cells,
    /// Finished rows.
    rows: usize,
    /// A byte a row, also for the row begun once it has a cell or a run.
    valid: Vec<u8>,
    /// Where each row's run ends, counted in cells; empty for shape one.
    ends: Vec<u32>,
    in_run: bool,
    /// Where cells are texts that are told apart.
    codes: Option<Codes>,
}

/// For each row the number of its text.
#[derive(Debug, Default)]
struct Codes {
    rows: Vec<[u8; 2]>,
    /// For each text of a shared column its number here.
    of_shared: Vec<u16>,
}

/// The number of a shared text that no row had yet.
const NO_CODE: u16 = u16::MAX;

impl Column {
    fn new(kind: ColumnKind, shape: Shape) -> Self {
        let (cells, keys) = (Cells::new(width(kind)), Cells::new(None));
        Self { kind, shape, cells, keys, rows: 0, valid: Vec::new(), ends: Vec::new(), in_run: false, codes: None }
    }

    #[inline]
    fn byte_len(&self) -> usize {
        self.cells.byte_len() + self.codes.as_ref().map_or(0, |codes| 2 * codes.rows.len())
    }

    #[inline(always)]
    fn fixed<const N: usize>(&mut self, kind: ColumnKind, value: Option<[u8; N]>) {
        if self.kind == kind && self.accepts(value.is_some()) {
            self.cells.data.extend_from_slice(&value.unwrap_or([0; N]));
        }
    }

    #[inline]
    fn bytes(&mut self, value: Option<&[u8]>) {
        let is_text = matches!(self.kind, ColumnKind::Text | ColumnKind::Json);
        let value = value.filter(|value| !is_text || is_utf8(value));
        if self.kind.is_in_arena() && self.accepts(value.is_some()) {
            self.push_code();
            self.cells.push(value.unwrap_or_default());
        }
    }

    /// The next row's text is the next one.
    #[inline]
    fn push_code(&mut self) {
        if let Some(codes) = &mut self.codes {
            codes.rows.push((self.cells.len() as u16).to_le_bytes());
        }
    }

    /// Makes room for a cell: marks the row's validity, or gives the cell a key where its column has keys.
    #[inline(always)]
    fn accepts(&mut self, is_valid: bool) -> bool {
        match self.shape {
            Shape::One if self.valid.len() == self.rows => {
                self.valid.push(u8::from(is_valid));
                true
            }
            Shape::One => false,
            Shape::Many => self.in_run,
            Shape::Entries => {
                if self.in_run && self.keys.len() == self.cells.len() {
                    self.keys.push(&[]);
                }
                self.in_run
            }
        }
    }

    fn begin_run(&mut self) {
        self.in_run = self.shape != Shape::One && self.valid.len() == self.rows;
    }

    fn int64_run(&mut self, cells: &[[u8; 8]]) {
        if self.kind == ColumnKind::Int64 && self.shape == Shape::Many && self.valid.len() == self.rows {
            self.cells.data.extend_from_slice(cells.as_flattened());
            self.valid.push(1);
        }
    }

    fn entry(&mut self, key: &[u8]) {
        if !self.in_run || self.shape != Shape::Entries {
            return;
        }
        self.fill_last_entry();
        let key = if is_utf8(key) { key } else { &[] };
        self.keys.push(key);
    }

    /// A key without a value gets a null one.
    fn fill_last_entry(&mut self) {
        if self.keys.len() > self.cells.len() {
            self.cells.push_null();
        }
    }

    fn end_run(&mut self) {
        if self.in_run {
            self.fill_last_entry();
            self.valid.push(1);
            self.in_run = false;
        }
    }

    /// Completes the row and answers the bytes of the column.
    #[inline]
    fn finish_row(&mut self) -> usize {
        if self.shape == Shape::One {
            if self.valid.len() == self.rows {
                self.valid.push(0);
                self.push_code();
                self.cells.push_null();
            }
            self.rows += 1;
            return self.byte_len() + self.rows;
        }
        self.finish_run()
    }

    fn finish_run(&mut self) -> usize {
        self.end_run();
        if self.valid.len() == self.rows {
            self.valid.push(0);
        }
        self.rows += 1;
        self.ends.push(self.cells.len() as u32);
        let keys = if self.shape == Shape::Entries { self.keys.byte_len() } else { 0 };
        self.cells.byte_len() + self.rows + 4 * (self.rows + 1) + keys
    }

    fn gather(&mut self, shared: &SharedColumn<'_>, rows: &[u16]) {
        debug_assert!(self.kind == shared.kind && self.shape == Shape::One && self.valid.len() == self.rows);
        let data = &mut self.cells.data;
        match self.kind {
            ColumnKind::Int64 | ColumnKind::Float64 => {
                let cell = |row: &u16| shared.numbers[usize::from(*row)];
                // Eight at a time: to look for room for each, or to fill it with zeros first, costs more than the copy.
                let (blocks, rest) = rows.as_chunks::<8>();
                blocks.iter().for_each(|block| data.extend_from_slice(block.each_ref().map(cell).as_flattened()));
                rest.iter().for_each(|row| data.extend_from_slice(&cell(row)));
            }
            ColumnKind::Boolean => data.extend(rows.iter().map(|row| shared.bits[usize::from(*row)])),
            ColumnKind::Text | ColumnKind::Bytes | ColumnKind::Json => match &mut self.codes {
                Some(codes) => codes.gather(shared, rows, &mut self.cells),
                None => rows.iter().for_each(|row| self.cells.push(shared.text(*row))),
            },
        }
        self.rows += rows.len();
        match shared.has_null {
            true => self.valid.extend(rows.iter().map(|row| shared.valid[usize::from(*row)])),
            false => self.valid.resize(self.rows, 1),
        }
    }

    fn abandon_row(&mut self) {
        let cells = if self.shape == Shape::One { self.rows } else { self.ends.last().map_or(0, |end| *end as usize) };
        match &mut self.codes {
            // A text that no row has does no harm.
            Some(codes) => codes.rows.truncate(self.rows),
            None => self.cells.truncate(cells),
        }
        if self.shape == Shape::Entries {
            self.keys.truncate(cells);
        }
        self.valid.truncate(self.rows);
        self.in_run = false;
    }

    /// Appends the cells to the lists; where a list is of this column `only`, they are handed over.
    fn append(&mut self, out: &mut Columns, [only_int64, only_float64]: [bool; 2]) {
        if self.shape != Shape::One {
            out.spans.extend_from_slice(&[0; 4]);
            self.ends.iter().for_each(|end| out.spans.extend_from_slice(&end.to_le_bytes()));
        }
        if self.shape == Shape::Entries {
            self.keys.append_to_arena(out);
        }
        match self.kind {
            ColumnKind::Int64 if only_int64 => std::mem::swap(&mut out.int64s, &mut self.cells.data),
            ColumnKind::Float64 if only_float64 => std::mem::swap(&mut out.float64s, &mut self.cells.data),
            ColumnKind::Int64 => out.int64s.extend_from_slice(&self.cells.data),
            ColumnKind::Float64 => out.float64s.extend_from_slice(&self.cells.data),
            ColumnKind::Boolean => out.bits.extend_from_slice(&self.cells.data),
            ColumnKind::Text | ColumnKind::Bytes | ColumnKind::Json => self.cells.append_to_arena(out),
        }
    }

    fn clear(&mut self) {
        let Self { kind: _, shape: _, cells, keys, rows, valid, ends, in_run, codes } = self;
        *rows = 0;
        cells.truncate(0);
        keys.truncate(0);
        valid.clear();
        ends.clear();
        *in_run = false;
        if let Some(codes) = codes {
            codes.rows.clear();
        }
    }
}

impl Codes {
    /// Appends rows of a shared column, and those of its texts that none of them had yet to `texts`.
    fn gather(&mut self, shared: &SharedColumn<'_>, rows: &[u16], texts: &mut Cells) {
        let Self { rows: codes, of_shared } = self;
        of_shared.clear();
        of_shared.resize(shared.texts.list().len(), NO_CODE);
        codes.extend(rows.iter().map(|row| {
            let text = usize::from(shared.codes[usize::from(*row)]);
            let code = &mut of_shared[text];
            if *code == NO_CODE {
                *code = texts.len() as u16;
                texts.push(shared.texts.list()[text]);
            }
            code.to_le_bytes()
        }));
    }
}

/// Nearly all text is ASCII, and short: a check of its own is quicker than the general one's beginning.
#[inline]
pub(crate) fn is_utf8(bytes: &[u8]) -> bool {
    bytes.is_ascii() || simdutf8::basic::from_utf8(bytes).is_ok()
}

/// Bytes of a cell of a kind that has a fixed width.
fn width(kind: ColumnKind) -> Option<usize> {
    match kind {
        ColumnKind::Int64 | ColumnKind::Float64 => Some(8),
        ColumnKind::Boolean => Some(1),
        ColumnKind::Text | ColumnKind::Bytes | ColumnKind::Json => None,
    }
}

/// Cells one behind the other, of a fixed width or with the end of each.
#[derive(Debug)]
struct Cells {
    width: Option<usize>,
    data: Vec<u8>,
    ends: Vec<u32>,
}

impl Cells {
    fn new(width: Option<usize>) -> Self {
        Self { width, data: Vec::new(), ends: Vec::new() }
    }

    fn len(&self) -> usize {
        self.width.map_or(self.ends.len(), |width| self.data.len() / width)
    }

    fn push(&mut self, cell: &[u8]) {
        self.data.extend_from_slice(cell);
        self.ends.push(self.data.len() as u32);
    }

    fn push_null(&mut self) {
        match self.width {
            Some(width) => self.data.extend_from_slice(&[0; 8][..width]),
            None => self.push(&[]),
        }
    }

    fn truncate(&mut self, cells: usize) {
        let bytes = match self.width {
            Some(width) => cells * width,
            None => {
                self.ends.truncate(cells);
                self.ends.last().map_or(0, |end| *end as usize)
            }
        };
        self.data.truncate(bytes);
    }

    #[inline]
    fn byte_len(&self) -> usize {
        self.data.len() + self.width.map_or(4 * (self.ends.len() + 1), |_| 0)
    }

    /// Appends the cells of a column without width: its offsets, moved to where its bytes lie in the arena.
    fn append_to_arena(&self, out: &mut Columns) {
        let base = out.arena.len() as u32;
        out.offsets.extend_from_slice(&base.to_le_bytes());
        self.ends.iter().for_each(|end| out.offsets.extend_from_slice(&(base + end).to_le_bytes()));
        out.arena.extend_from_slice(&self.data);
    }
}

#[cfg(test)]
#[path = "builder_tests.rs"]
mod tests;
