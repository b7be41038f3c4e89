//! The columns of a batch and their byte layout, as `wit/plugin.wit` defines it.
//!
//! All numbers are little-endian. With `R` rows and the requested columns in their order, the six lists are:
//!
//! | list | holds |
//! |---|---|
//! | `int64s` | for each column of kind int64 its cells, 8 bytes each |
//! | `float64s` | for each column of kind float64 its cells, 8 bytes each |
//! | `bits` | for each column of kind boolean its cells, a byte each; then for each column, whatever its kind, `R` validity bytes |
//! | `spans` | for each column of shape many or entries `R` + 1 offsets (u32) counted in its cells, the first 0 |
//! | `offsets` | for each column of kind text, bytes or json, cells + 1 offsets (u32) into `arena`; the keys of an entries column come as such a column directly before its values, also where the values are numbers |
//! | `arena` | the bytes of all keys, texts, bytes and JSON values, column by column |
//!
//! A column of shape one has `R` cells. A null cell keeps its place: 0, 0.0, 0 or empty, with validity 0. Where there are
//! dictionaries, a column of kind text and shape one has a cell for each of its texts in `offsets` and `arena`, and for each row
//! the number of its text in `codes`.

/// Most rows of one batch.
pub const BATCH_ROWS_MAX: u32 = 4_096;
/// A batch is full when its columns reach so many bytes; its last row may go beyond.
pub const BATCH_BYTES_MAX: usize = 256 << 10;

/// The rows of one call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// The input partition that all rows come from.
    pub partition: u32,
    /// At least 1, at most [`BATCH_ROWS_MAX`].
    pub rows: u32,
    /// Milliseconds since 1970: the edge's time of the newest row so far in this partition.
    pub now_ms: i64,
    /// The cells, made by a [`ColumnsBuilder`](crate::ColumnsBuilder) for the plan of the plugin.
    pub columns: Columns,
}

/// Six lists of bytes; see the layout in the documentation of this module's file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    /// Cells of the int64 columns.
    pub int64s: Vec<u8>,
    /// Cells of the float64 columns.
    pub float64s: Vec<u8>,
    /// Cells of the boolean columns, then the validity of all columns.
    pub bits: Vec<u8>,
    /// Where each row's run begins, for shapes many and entries.
    pub spans: Vec<u8>,
    /// Where each text, bytes or json cell begins in the arena.
    pub offsets: Vec<u8>,
    /// Bytes of keys and of text, bytes and json cells.
    pub arena: Vec<u8>,
    /// Where a text that repeats is there once: for plugins that export `dictionary`.
    pub dictionaries: Option<Dictionaries>,
}

/// Which texts the rows have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dictionaries {
    /// For each column of kind text and shape one how many texts it has.
    pub texts: Vec<u32>,
    /// For each such column for each row the number of its text, two bytes each.
    pub codes: Vec<u8>,
}

impl Columns {
    /// Bytes of all six lists.
    pub fn byte_len(&self) -> usize {
        let Self { int64s, float64s, bits, spans, offsets, arena, dictionaries } = self;
        let lists = [int64s, float64s, bits, spans, offsets, arena].into_iter().map(Vec::len).sum::<usize>();
        lists + dictionaries.as_ref().map_or(0, |dictionaries| 4 * dictionaries.texts.len() + dictionaries.codes.len())
    }

    pub(crate) fn clear(&mut self) {
        let Self { int64s, float64s, bits, spans, offsets, arena, dictionaries } = self;
        [int64s, float64s, bits, spans, offsets, arena].into_iter().for_each(Vec::clear);
        if let Some(Dictionaries { texts, codes }) = dictionaries {
            texts.clear();
            codes.clear();
        }
    }
}
