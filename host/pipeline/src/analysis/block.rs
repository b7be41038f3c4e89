//! Headers and fields of some messages as columns: read once for all plugins, each of which then takes the rows that its matcher
//! selects. Reading a message for each plugin anew costs more than most plugins do with it.

use super::rows::{Fed, RowBlock};
use crate::columns::{ColumnPlan, ColumnSource, Header, field_cell, header_cell, is_written_out};
use bytes::Bytes;
use std::sync::Arc;
use tidemill_message::{BLOCK_MESSAGES_MAX, FoundFields, MatchBlock, MatcherSet, MessageRef};
use tidemill_runtime::{CellRef, ColumnKind, SharedColumn};

/// Messages of a block: their columns stay in a core's own cache.
pub const BLOCK_ROWS_MAX: usize = BLOCK_MESSAGES_MAX;

/// The most bytes of a cell without its text: a number or a code with an offset, and its validity.
const ROW_BYTES: usize = 9;

/// The columns that plugins share, each once.
#[derive(Debug, Default)]
pub struct SharedPlan {
    columns: Vec<(Source, ColumnKind)>,
    /// For each column the variable of matchers that has the same texts.
    tested: Vec<Option<usize>>,
}

/// Where a shared column's cells come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Header(Header),
    /// The field of the name at this place.
    Field(usize),
}

/// A plugin's columns among the shared ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedColumns {
    /// For each of its columns the number of the shared one.
    pub numbers: Vec<usize>,
    /// Those that a row needs.
    required: Vec<usize>,
    /// Those of which the cells are bytes of the message.
    texts: Vec<usize>,
}

impl SharedPlan {
    /// Adds the columns of a plugin, whose fields have these places. `None` for a plugin that asks for parts of the document: it is
    /// given its rows one by one.
    pub fn add(&mut self, plan: &ColumnPlan, fields: &[usize]) -> Option<SharedColumns> {
        let sources = plan.sources().zip(fields).map(|((source, kind), place)| match source {
            ColumnSource::Header(header) => (!is_written_out(*header, kind)).then_some((Source::Header(*header), kind)),
            ColumnSource::Field(_) => Some((Source::Field(*place), kind)),
            ColumnSource::Document(_) => None,
        });
        let sources = sources.collect::<Option<Vec<_>>>()?;
        let numbers: Vec<_> = sources.iter().map(|column| self.number(*column)).collect();
        let texts = sources.iter().zip(&numbers).filter(|((_, kind), _)| kind.is_in_arena()).map(|(_, number)| *number).collect();
        Some(SharedColumns { required: plan.required().map(|at| numbers[at]).collect(), numbers, texts })
    }

    /// What the matchers test of columns of text and of numbers is read once for both.
    pub fn share_with(&mut self, matchers: &MatcherSet) {
        let slot = |(source, kind): &(Source, ColumnKind)| match source {
            _ if !matches!(kind, ColumnKind::Text | ColumnKind::Float64) => None,
            Source::Header(header) => matchers.header_slot(header.name()),
            Source::Field(place) => matchers.field_slot(*place),
        };
        self.tested = self.columns.iter().map(slot).collect();
    }

    fn number(&mut self, column: (Source, ColumnKind)) -> usize {
        self.columns.iter().position(|known| *known == column).unwrap_or_else(|| {
            self.columns.push(column);
            self.columns.len() - 1
        })
    }
}

/// See the module.
pub struct Block<'m> {
    plan: &'m SharedPlan,
    columns: Vec<SharedColumn<'m>>,
    chunk: &'m Bytes,
    rows: RowBlock,
    value_bytes_max: usize,
}

impl<'m> Block<'m> {
    /// An empty block of messages that lie in what was fetched.
    pub fn new(plan: &'m SharedPlan, chunk: &'m Bytes) -> Self {
        let columns = plan.columns.iter().map(|(_, kind)| SharedColumn::new(*kind)).collect();
        Self { plan, columns, chunk, rows: RowBlock::new(chunk, BLOCK_ROWS_MAX), value_bytes_max: 0 }
    }

    /// Appends a message and answers its place.
    pub fn push(&mut self, fed: &Fed<'m>, message: &MessageRef<'m>, found: &FoundFields<'m>) -> u16 {
        for (column, (source, kind)) in self.columns.iter_mut().zip(&self.plan.columns) {
            column.push(cell(*source, *kind, message, found));
        }
        self.push_row(fed)
    }

    /// Appends a message, but for what matchers test: [`Block::take_tested`] gets it all at once.
    pub fn push_untested(&mut self, fed: &Fed<'m>, message: &MessageRef<'m>, found: &FoundFields<'m>) {
        let columns = self.columns.iter_mut().zip(&self.plan.columns).zip(&self.plan.tested);
        for ((column, (source, kind)), _) in columns.filter(|(_, tested)| tested.is_none()) {
            column.push(cell(*source, *kind, message, found));
        }
        self.push_row(fed);
    }

    /// What matchers test of all messages, which were pushed to both.
    pub fn take_tested(&mut self, matched: &MatchBlock<'m>) {
        let columns = self.columns.iter_mut().zip(&self.plan.columns).zip(&self.plan.tested);
        for ((column, (_, kind)), slot) in columns {
            let Some(slot) = *slot else { continue };
            if *kind == ColumnKind::Float64 {
                let Some((numbers, codes)) = matched.numbers(slot) else { continue };
                column.take_numbers(numbers, codes, matched.len());
            } else if let Some((texts, codes)) = matched.texts(slot) {
                column.take_texts(texts, codes, matched.len());
            }
        }
    }

    fn push_row(&mut self, fed: &Fed<'m>) -> u16 {
        self.value_bytes_max = self.value_bytes_max.max(fed.value.len());
        self.rows.push(fed);
        self.rows.rows().len() as u16 - 1
    }

    /// Whether it has to be worked on before more is pushed.
    pub fn is_full(&self) -> bool {
        self.rows.rows().len() >= BLOCK_ROWS_MAX
    }

    /// Forgets the messages, keeps the memory.
    pub fn clear(&mut self) {
        self.columns.iter_mut().for_each(SharedColumn::clear);
        self.rows = RowBlock::new(self.chunk, BLOCK_ROWS_MAX);
        self.value_bytes_max = 0;
    }

    /// The shared columns.
    pub fn columns(&self) -> &[SharedColumn<'m>] {
        &self.columns
    }

    /// Takes the messages as rows, for the plugins to share; their columns remain.
    pub fn take_rows(&mut self) -> Arc<RowBlock> {
        Arc::new(std::mem::take(&mut self.rows))
    }

    /// How many rows of a plugin surely fit into so many bytes.
    pub fn rows_within(&self, bytes: usize, columns: &SharedColumns, with_dictionaries: bool) -> usize {
        let SharedColumns { numbers, texts, .. } = columns;
        let all_texts: usize = texts.iter().map(|number| self.columns[*number].text_bytes()).sum();
        // Where each text is taken once, all of them go into a batch, or nearly; else each row's is taken for the longest one.
        let by_text = bytes.saturating_sub(all_texts) / (ROW_BYTES * numbers.len()).max(1);
        let by_value = bytes / (ROW_BYTES * numbers.len() + self.value_bytes_max * texts.len().max(1)).max(1);
        if with_dictionaries { by_text.max(by_value) } else { by_value }
    }

    /// Those of the rows that have every value that the plugin requires; `None` for all of them.
    pub fn complete(&self, rows: &[u16], columns: &SharedColumns) -> Option<Vec<u16>> {
        let lacking: Vec<_> = columns.required.iter().map(|number| &self.columns[*number]).filter(|column| column.has_null()).collect();
        let is_complete = |row: &&u16| lacking.iter().all(|column| column.is_valid(usize::from(**row)));
        (!lacking.is_empty()).then(|| rows.iter().filter(is_complete).copied().collect())
    }
}

#[inline]
fn cell<'m>(source: Source, kind: ColumnKind, message: &MessageRef<'m>, found: &FoundFields<'m>) -> CellRef<'m> {
    match source {
        Source::Header(header) => header_cell(header, kind, message),
        Source::Field(place) => found.get(place).map_or(CellRef::Null, |field| field_cell(field, kind)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::{Document, FillScratch};
    use tidemill_message::{FieldNames, MessageWriter};
    use tidemill_runtime::{ColumnRequest, Columns, ColumnsBuilder, Shape};

    struct NoDocument;

    impl Document for NoDocument {
        fn value(&self, _: usize) -> Option<&[u8]> {
            None
        }

        fn each(&self, _: usize, _: &mut dyn FnMut(&[u8])) {}
    }

    const PATHS: [&str; 16] = [
        "Timestamp",
        "Type",
        "Logger",
        "Hostname",
        "Uuid",
        "Payload",
        "EnvVersion",
        "Severity",
        "Pid",
        "Fields[text]",
        "Fields[raw]",
        "Fields[doc]",
        "Fields[integer]",
        "Fields[double]",
        "Fields[flag]",
        "Fields[nowhere]",
    ];

    fn request(path: &str, kind: ColumnKind, required: bool) -> ColumnRequest {
        ColumnRequest { path: path.to_owned(), kind, shape: Shape::One, required }
    }

    fn message(number: i64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = MessageWriter::new(&mut bytes, &[number as u8; 16], number * 1_000_000_007 - 5);
        if number % 3 != 0 {
            writer.type_(b"kind").logger(b"logger \xc3\xa9");
        }
        if number % 4 != 0 {
            writer.field_string("text", if number % 8 == 1 { b"\xff" } else { b"words" }).field_integer("integer", "", number - 9);
            writer.field_double("double", "", number as f64 / 7.0).field_bool("flag", number % 2 == 0);
        }
        writer.field_bytes("raw", "", b"\xfe\xff").field_bytes("doc", if number % 5 == 0 { "text" } else { "json" }, b"{}");
        bytes
    }

    /// The columns that a plugin gets of all messages, and of which.
    fn both_ways(requests: &[ColumnRequest]) -> Option<[(Columns, Vec<u16>); 2]> {
        let plan = ColumnPlan::new(requests).expect("a plan");
        let (mut names, mut shared) = (FieldNames::default(), SharedPlan::default());
        // Another plugin's columns come first, and some of them are the same.
        let other = ColumnPlan::new(&[request("Fields[text]", ColumnKind::Text, true), request("Pid", ColumnKind::Int64, false)]);
        let other = other.expect("a plan");
        shared.add(&other, &other.field_places(&mut names)).expect("shared");
        let fields = plan.field_places(&mut names);
        let columns = shared.add(&plan, &fields)?;
        let messages: Vec<_> = (0..40).map(message).collect();
        let chunk = Bytes::new();
        let (mut block, mut found) = (Block::new(&shared, &chunk), FoundFields::default());
        let (mut gathered, mut filled) = (ColumnsBuilder::new(requests), ColumnsBuilder::new(requests));
        let mut filled_rows = Vec::new();
        for (number, bytes) in (0_u16..).zip(&messages) {
            let message = MessageRef::parse_with(bytes, &names, &mut found).expect("a message");
            let fed = Fed { offset: 0, timestamp_ns: 0, watermark_ms: 0, chunk: &chunk, key: &[], value: bytes };
            assert_eq!(block.push(&fed, &message, &found), number);
            let field = |column: usize, _: &str| found.get(fields[column]).copied();
            if plan.fill_row_with(&message, field, &NoDocument, &mut filled, &mut FillScratch::default()).is_ok() {
                filled_rows.push(number);
            }
        }
        let all: Vec<_> = (0..messages.len() as u16).collect();
        let complete = block.complete(&all, &columns).unwrap_or(all);
        gathered.gather(block.columns(), &columns.numbers, &complete);
        let mut told_apart = ColumnsBuilder::with_dictionaries(requests);
        // In two parts, as when a batch is full within a block.
        let (left, right) = complete.split_at(complete.len() / 3);
        told_apart.gather(block.columns(), &columns.numbers, left);
        told_apart.gather(block.columns(), &columns.numbers, right);
        let gathered = gathered.take();
        assert_eq!(written_out(told_apart.take(), requests, complete.len()), gathered, "texts that are there once");
        Some([(gathered, complete), (filled.take(), filled_rows)])
    }

    /// The columns with the text of each row.
    fn written_out(columns: Columns, requests: &[ColumnRequest], rows: usize) -> Columns {
        let Some(dictionaries) = &columns.dictionaries else { return columns };
        let numbers: Vec<_> = columns.offsets.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes) as usize).collect();
        let codes: Vec<_> = dictionaries.codes.as_chunks::<2>().0.iter().map(|bytes| usize::from(u16::from_le_bytes(*bytes))).collect();
        let (mut offsets, mut arena, mut at, mut text_column) = (Vec::new(), Vec::new(), 0, 0);
        for request in requests.iter().filter(|request| request.kind.is_in_arena()) {
            let is_coded = request.kind == ColumnKind::Text;
            let cells = if is_coded { dictionaries.texts[text_column] as usize } else { rows };
            offsets.extend((arena.len() as u32).to_le_bytes());
            for row in 0..rows {
                let cell = if is_coded { codes[text_column * rows + row] } else { row };
                assert!(cell < cells, "a code is that of a text");
                arena.extend(&columns.arena[numbers[at + cell]..numbers[at + cell + 1]]);
                offsets.extend((arena.len() as u32).to_le_bytes());
            }
            at += cells + 1;
            text_column += usize::from(is_coded);
        }
        assert_eq!((at, text_column), (numbers.len(), dictionaries.texts.len()));
        Columns { offsets, arena, dictionaries: None, ..columns }
    }

    #[test]
    fn what_matchers_test_is_read_once_for_both() {
        let matchers =
            ["Type == 'kind'", "Fields[text] =~ 'w'", "Fields[integer] == 3", "Hostname == NIL", "Fields[flag] == TRUE || Severity < 3"];
        let matchers = MatcherSet::new(matchers.map(|text| tidemill_message::Matcher::parse(text).expect("a matcher")).to_vec());
        let paths = ["Type", "Logger", "Hostname", "Fields[text]", "Fields[integer]", "Fields[doc]"];
        let texts = paths.iter().map(|path| request(path, ColumnKind::Text, false));
        let paths = ["Fields[integer]", "Severity", "Pid", "Fields[flag]", "Type", "Fields[text]"];
        let numbers = paths.iter().map(|path| request(path, ColumnKind::Float64, false));
        let requests: Vec<_> = texts.chain(numbers).collect();
        let plan = ColumnPlan::new(&requests).expect("a plan");
        let (mut names, mut shared) = (matchers.field_names().clone(), SharedPlan::default());
        let columns = shared.add(&plan, &plan.field_places(&mut names)).expect("shared");
        shared.share_with(&matchers);
        let tested = [true, false, true, true, true, false, true, true, false, true, true, true];
        assert_eq!(shared.tested.iter().map(Option::is_some).collect::<Vec<_>>(), tested);
        let messages: Vec<_> = (0..100).map(message).collect();
        let chunk = Bytes::new();
        let (mut one_by_one, mut at_once) = (Block::new(&shared, &chunk), Block::new(&shared, &chunk));
        let (mut matched, mut found) = (MatchBlock::default(), FoundFields::default());
        for bytes in &messages {
            let message = MessageRef::parse_with(bytes, &names, &mut found).expect("a message");
            let fed = Fed { offset: 0, timestamp_ns: 0, watermark_ms: 0, chunk: &chunk, key: &[], value: bytes };
            one_by_one.push(&fed, &message, &found);
            at_once.push_untested(&fed, &message, &found);
            matchers.push(&mut matched, &message, &found);
        }
        at_once.take_tested(&matched);
        let rows: Vec<_> = (0..messages.len() as u16).collect();
        let [want, have] = [&one_by_one, &at_once].map(|block| {
            let mut builder = ColumnsBuilder::new(&requests);
            builder.gather(block.columns(), &columns.numbers, &rows);
            builder.take()
        });
        assert_eq!(have, want);
    }

    #[test]
    fn rows_of_a_block_are_those_that_are_filled_one_by_one() {
        use ColumnKind::{Boolean, Bytes, Float64, Int64, Json, Text};
        let kinds = [Int64, Float64, Boolean, Text, Bytes, Json];
        let mut alone = 0;
        for (path, kind) in PATHS.iter().flat_map(|path| kinds.map(|kind| (*path, kind))) {
            for required in [false, true] {
                let requests = [request("Timestamp", Int64, true), request(path, kind, required), request("Fields[raw]", Bytes, true)];
                match both_ways(&requests) {
                    Some([gathered, filled]) => assert_eq!(gathered, filled, "{path} as {kind:?}, required: {required}"),
                    None => alone += 1,
                }
            }
        }
        assert_eq!(alone, 2, "a Uuid as text is written out, so it is not shared");
    }

    #[test]
    fn parts_of_the_document_are_not_shared() {
        assert!(both_ways(&[request("/a", ColumnKind::Int64, false)]).is_none());
        assert!(both_ways(&[]).is_some_and(|[gathered, filled]| gathered.1 == filled.1));
    }
}
