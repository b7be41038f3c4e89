//! Fills column batches from headers, fields and JSON values.
//!
//! A [`ColumnPlan`] is made once from what a plugin asks for; [`ColumnPlan::fill_row`] then appends a row of a message. Where the
//! document's values come from differs between the stages ([`Document`]): captured in the pass that validated it, or found in the
//! fields that a decoder moved sections to.

use tidemill_json::value;
use tidemill_message::{FieldNames, FoundField, MessageRef, Value};
use tidemill_runtime::{CellRef, ColumnKind, ColumnRequest, ColumnsBuilder, Shape};

/// Where the values of a column come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnSource {
    /// A header of the message.
    Header(Header),
    /// The first field of this name.
    Field(String),
    /// A JSON pointer into the document: its place in [`ColumnPlan::pointers`].
    Document(usize),
}

/// A header of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the message's headers")]
pub enum Header {
    Timestamp,
    Type,
    Logger,
    Hostname,
    Uuid,
    Payload,
    EnvVersion,
    Severity,
    Pid,
}

impl Header {
    /// Its name in paths and matchers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Timestamp => "Timestamp",
            Self::Type => "Type",
            Self::Logger => "Logger",
            Self::Hostname => "Hostname",
            Self::Uuid => "Uuid",
            Self::Payload => "Payload",
            Self::EnvVersion => "EnvVersion",
            Self::Severity => "Severity",
            Self::Pid => "Pid",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "Timestamp" => Self::Timestamp,
            "Type" => Self::Type,
            "Logger" => Self::Logger,
            "Hostname" => Self::Hostname,
            "Uuid" => Self::Uuid,
            "Payload" => Self::Payload,
            "EnvVersion" => Self::EnvVersion,
            "Severity" => Self::Severity,
            "Pid" => Self::Pid,
            _ => return None,
        })
    }
}

/// A column that cannot be filled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ColumnError {
    /// The path is of no known form.
    #[error("column {0:?} is neither a header (such as Timestamp), a field (Fields[name]) nor a JSON pointer")]
    Path(String),
    /// Only JSON values come in runs.
    #[error("column {0:?}: the shapes many and entries need a JSON pointer")]
    Shape(String),
    /// The whole document has one kind.
    #[error("column \"\": the whole document is of kind json and shape one")]
    WholeDocument,
}

/// The columns of a plugin, ready to be filled.
#[derive(Clone, Debug, Default)]
pub struct ColumnPlan {
    columns: Vec<PlannedColumn>,
    pointers: Vec<String>,
}

#[derive(Clone, Debug)]
struct PlannedColumn {
    path: String,
    source: ColumnSource,
    kind: ColumnKind,
    shape: Shape,
    required: bool,
    /// The pointer has a `*` segment: each value it names is one of the run.
    is_each: bool,
}

/// The values of a document, by pointer: the pointer's place in [`ColumnPlan::pointers`].
pub trait Document {
    /// The value's bytes; of duplicate keys the last counts.
    fn value(&self, pointer: usize) -> Option<&[u8]>;
    /// Every value that a pointer with `*` segments names, in the order of the document.
    fn each(&self, pointer: usize, act: &mut dyn FnMut(&[u8]));
    /// The same as int64s, of eight bytes, the lowest first; 0 where a value is none.
    fn each_int64(&self, pointer: usize, out: &mut Vec<[u8; 8]>) {
        self.each(pointer, &mut |value| out.push(value::as_i64(value).unwrap_or_default().to_le_bytes()));
    }
}

/// Numbers of a run whose memory is kept for the next one; a document of 10 MiB can have millions.
const NUMBERS_KEPT_MAX: usize = 1 << 16;

/// Memory that filling reuses.
#[derive(Debug, Default)]
pub struct FillScratch {
    text: Vec<u8>,
    key: Vec<u8>,
    numbers: Vec<[u8; 8]>,
}

/// A required column was null; the row begun was abandoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingColumn(
    /// The column's number.
    pub usize,
);

impl ColumnPlan {
    /// Plans the columns of a plugin.
    ///
    /// # Errors
    /// Where a path has no known form or does not go with its shape.
    pub fn new(requests: &[ColumnRequest]) -> Result<Self, ColumnError> {
        let mut plan = Self::default();
        for request in requests {
            let source = plan.source_of(request)?;
            plan.columns.push(PlannedColumn {
                path: request.path.clone(),
                source,
                kind: request.kind,
                shape: request.shape,
                required: request.required,
                is_each: request.path.split('/').any(|segment| segment == "*"),
            });
        }
        Ok(plan)
    }

    fn source_of(&mut self, request: &ColumnRequest) -> Result<ColumnSource, ColumnError> {
        let path = &request.path;
        let is_one = request.shape == Shape::One;
        if path.is_empty() && !(is_one && request.kind == ColumnKind::Json) {
            return Err(ColumnError::WholeDocument);
        }
        if path.is_empty() || path.starts_with('/') {
            self.pointers.push(path.clone());
            return Ok(ColumnSource::Document(self.pointers.len() - 1));
        }
        let field = path.strip_prefix("Fields[").and_then(|rest| rest.strip_suffix(']')).map(|name| ColumnSource::Field(name.to_owned()));
        let source = field.or_else(|| Header::parse(path).map(ColumnSource::Header)).ok_or_else(|| ColumnError::Path(path.clone()))?;
        if is_one { Ok(source) } else { Err(ColumnError::Shape(path.clone())) }
    }

    /// The JSON pointers of the columns, in their order.
    pub fn pointers(&self) -> &[String] {
        &self.pointers
    }

    /// The path of a column.
    pub fn path(&self, column: usize) -> &str {
        self.columns.get(column).map_or("", |column| &column.path)
    }

    /// Whether the whole document is one of the columns.
    pub fn has_whole_document(&self) -> bool {
        self.pointers.iter().any(String::is_empty)
    }

    /// Where the cells of each column come from, and their kinds.
    pub fn sources(&self) -> impl Iterator<Item = (&ColumnSource, ColumnKind)> {
        self.columns.iter().map(|column| (&column.source, column.kind))
    }

    /// The numbers of the columns that are required.
    pub fn required(&self) -> impl Iterator<Item = usize> {
        self.columns.iter().enumerate().filter_map(|(at, column)| column.required.then_some(at))
    }

    /// The place of each column's field among `names`, which gets those that are new; `usize::MAX` of a column that is no field.
    pub fn field_places(&self, names: &mut FieldNames) -> Vec<usize> {
        let place = |column: &PlannedColumn| match &column.source {
            ColumnSource::Field(name) => names.add(name.as_bytes()),
            ColumnSource::Header(_) | ColumnSource::Document(_) => usize::MAX,
        };
        self.columns.iter().map(place).collect()
    }

    /// Appends a row.
    ///
    /// # Errors
    /// Where a required column is null; nothing is appended then.
    pub fn fill_row(
        &self,
        message: &MessageRef<'_>,
        document: &impl Document,
        builder: &mut ColumnsBuilder,
        scratch: &mut FillScratch,
    ) -> Result<(), MissingColumn> {
        self.fill_row_with(message, |_, name| message.field(name).map(FoundField::from), document, builder, scratch)
    }

    /// The same with fields that `field` finds, by the column's number or by name.
    ///
    /// # Errors
    /// Where a required column is null; nothing is appended then.
    #[inline]
    pub fn fill_row_with<'m>(
        &self,
        message: &MessageRef<'m>,
        field: impl Fn(usize, &str) -> Option<FoundField<'m>>,
        document: &impl Document,
        builder: &mut ColumnsBuilder,
        scratch: &mut FillScratch,
    ) -> Result<(), MissingColumn> {
        for (at, column) in self.columns.iter().enumerate() {
            match &column.source {
                ColumnSource::Header(header) => fill_header(builder, at, column.kind, *header, message, scratch),
                ColumnSource::Field(name) => {
                    fill_cell(builder, at, field(at, name).map_or(CellRef::Null, |field| field_cell(&field, column.kind)));
                }
                ColumnSource::Document(pointer) => column.fill_from_document(builder, at, document, *pointer, scratch),
            }
            if column.required && !builder.has_value(at) {
                builder.abandon_row();
                return Err(MissingColumn(at));
            }
        }
        builder.finish_row();
        Ok(())
    }
}

impl PlannedColumn {
    fn fill_from_document(
        &self,
        builder: &mut ColumnsBuilder,
        at: usize,
        document: &impl Document,
        pointer: usize,
        scratch: &mut FillScratch,
    ) {
        match self.shape {
            Shape::One => {
                if let Some(value) = document.value(pointer) {
                    fill_value(builder, at, self.kind, value, scratch);
                }
            }
            Shape::Many if self.is_each => self.fill_each(builder, at, document, pointer, scratch),
            Shape::Many => {
                if let Some(array) = document.value(pointer).filter(|value| value.first() == Some(&b'[')) {
                    builder.begin_run(at);
                    value::elements(array).for_each(|element| fill_value(builder, at, self.kind, element, scratch));
                    builder.end_run(at);
                }
            }
            Shape::Entries => {
                if let Some(object) = document.value(pointer).filter(|value| value.first() == Some(&b'{')) {
                    fill_entries(builder, at, self.kind, object, scratch);
                }
            }
        }
    }

    /// A run of what the pointer names; null where it names nothing.
    fn fill_each(&self, builder: &mut ColumnsBuilder, at: usize, document: &impl Document, pointer: usize, scratch: &mut FillScratch) {
        // Runs are mostly counts, and many.
        if self.kind == ColumnKind::Int64 {
            document.each_int64(pointer, &mut scratch.numbers);
            if !scratch.numbers.is_empty() {
                builder.int64_run(at, &scratch.numbers);
            }
            scratch.numbers.clear();
            return scratch.numbers.shrink_to(NUMBERS_KEPT_MAX);
        }
        let mut began = false;
        document.each(pointer, &mut |value| {
            if !std::mem::replace(&mut began, true) {
                builder.begin_run(at);
            }
            fill_value(builder, at, self.kind, value, scratch);
        });
        if began {
            builder.end_run(at);
        }
    }
}

/// Fills a cell from a header; a header of another kind than the column leaves it null.
fn fill_header(
    builder: &mut ColumnsBuilder,
    at: usize,
    kind: ColumnKind,
    header: Header,
    message: &MessageRef<'_>,
    scratch: &mut FillScratch,
) {
    if is_written_out(header, kind) {
        scratch.text.clear();
        write_uuid(message.uuid(), &mut scratch.text);
        return builder.bytes(at, Some(&scratch.text));
    }
    fill_cell(builder, at, header_cell(header, kind, message));
}

/// Whether a header's cell is not in the message as it is.
pub fn is_written_out(header: Header, kind: ColumnKind) -> bool {
    header == Header::Uuid && kind == ColumnKind::Text
}

#[inline]
fn fill_cell(builder: &mut ColumnsBuilder, at: usize, cell: CellRef<'_>) {
    match cell {
        CellRef::Null => {}
        CellRef::Int64(value) => builder.int64(at, Some(value)),
        CellRef::Float64(value) => builder.float64(at, Some(value)),
        CellRef::Boolean(value) => builder.boolean(at, Some(value)),
        CellRef::Bytes(value) => builder.bytes(at, Some(value)),
    }
}

/// A header as a cell of a column of this kind; null where it is of another, or is [written out](is_written_out).
#[inline]
pub fn header_cell<'m>(header: Header, kind: ColumnKind, message: &MessageRef<'m>) -> CellRef<'m> {
    match header {
        Header::Timestamp => integer_cell(kind, Some(message.timestamp())),
        Header::Severity => integer_cell(kind, Some(i64::from(message.severity()))),
        Header::Pid => integer_cell(kind, message.pid().map(i64::from)),
        Header::Uuid if kind == ColumnKind::Text => CellRef::Null,
        Header::Uuid => bytes_cell(kind, Some(message.uuid())),
        Header::Type => bytes_cell(kind, message.type_()),
        Header::Logger => bytes_cell(kind, message.logger()),
        Header::Hostname => bytes_cell(kind, message.hostname()),
        Header::Payload => bytes_cell(kind, message.payload()),
        Header::EnvVersion => bytes_cell(kind, message.env_version()),
    }
}

#[inline]
fn integer_cell<'m>(kind: ColumnKind, value: Option<i64>) -> CellRef<'m> {
    match (kind, value) {
        (ColumnKind::Int64, Some(value)) => CellRef::Int64(value),
        (ColumnKind::Float64, Some(value)) => CellRef::Float64(value as f64),
        _ => CellRef::Null,
    }
}

#[inline]
fn bytes_cell(kind: ColumnKind, value: Option<&[u8]>) -> CellRef<'_> {
    match (kind, value) {
        (ColumnKind::Text | ColumnKind::Bytes, Some(value)) => CellRef::Bytes(value),
        _ => CellRef::Null,
    }
}

/// A field's first value as a cell of a column of this kind; json only from a field whose representation says so.
#[inline]
pub fn field_cell<'m>(field: &FoundField<'m>, kind: ColumnKind) -> CellRef<'m> {
    match (kind, field.first) {
        (ColumnKind::Json, _) if !field.is_json => CellRef::Null,
        (ColumnKind::Int64, Some(Value::Integer(integer))) => CellRef::Int64(integer),
        (ColumnKind::Float64, Some(Value::Double(double))) => CellRef::Float64(double),
        (ColumnKind::Float64, Some(Value::Integer(integer))) => CellRef::Float64(integer as f64),
        (ColumnKind::Boolean, Some(Value::Bool(bool))) => CellRef::Boolean(bool),
        (ColumnKind::Text | ColumnKind::Bytes | ColumnKind::Json, Some(Value::String(bytes) | Value::Bytes(bytes))) => {
            CellRef::Bytes(bytes)
        }
        _ => CellRef::Null,
    }
}

/// Fills a cell, of a row or of a run, from a JSON value; a value of another kind than the column's is null.
#[inline]
fn fill_value(builder: &mut ColumnsBuilder, at: usize, kind: ColumnKind, json: &[u8], scratch: &mut FillScratch) {
    match kind {
        ColumnKind::Int64 => builder.int64(at, value::as_i64(json)),
        ColumnKind::Float64 => builder.float64(at, value::as_f64(json)),
        ColumnKind::Boolean => builder.boolean(at, value::as_bool(json)),
        ColumnKind::Text => builder.bytes(at, text_of(json, &mut scratch.text)),
        ColumnKind::Bytes | ColumnKind::Json => builder.bytes(at, Some(json).filter(|json| !value::is_null(json))),
    }
}

fn fill_entries(builder: &mut ColumnsBuilder, at: usize, kind: ColumnKind, object: &[u8], scratch: &mut FillScratch) {
    builder.begin_run(at);
    for (key, json) in value::entries(object) {
        scratch.key.clear();
        // The document was parsed, so its keys' escapes are sound.
        tidemill_json::decode_into(key, &mut scratch.key);
        builder.entry(at, &scratch.key);
        fill_value(builder, at, kind, json, scratch);
    }
    builder.end_run(at);
}

fn text_of<'t>(json: &[u8], text: &'t mut Vec<u8>) -> Option<&'t [u8]> {
    text.clear();
    value::text_into(json, text).then_some(&text[..])
}

/// The 36 characters of a Uuid.
fn write_uuid(uuid: &[u8; 16], out: &mut Vec<u8>) {
    let mut buffer = [0; 36];
    out.extend_from_slice(uuid::Uuid::from_bytes(*uuid).hyphenated().encode_lower(&mut buffer).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use ColumnKind::{Boolean, Bytes, Float64, Int64, Json, Text};
    use Shape::{Entries, Many, One};
    use tidemill_json::{Captures, Padded, Pass, Program};
    use tidemill_message::MessageWriter;
    use tidemill_runtime::Columns;

    struct Captured(Pass, Padded);

    impl Document for Captured {
        fn value(&self, pointer: usize) -> Option<&[u8]> {
            self.0.captured(pointer).last().map(|span| span.of(&self.1))
        }

        fn each(&self, pointer: usize, act: &mut dyn FnMut(&[u8])) {
            self.0.captured(pointer).iter().for_each(|span| act(span.of(&self.1)));
        }
    }

    const DOCUMENT: &str =
        r#"{"n": -7, "r": 1.5, "t": "a\u00e9\n", "b": true, "null": null, "o": {"x": 1, "y": "z", "x": 2}, "l": [1, "2", null, 4]}"#;

    /// One row of one column of [`DOCUMENT`] or of a message with these headers and fields.
    fn column(path: &str, kind: ColumnKind, shape: Shape, required: bool) -> Result<Columns, MissingColumn> {
        let plan = ColumnPlan::new(&[ColumnRequest { path: path.to_owned(), kind, shape, required }]).expect("a plan");
        let pointers: Vec<_> = plan.pointers().iter().map(String::as_str).collect();
        let mut document = Captured(Pass::new(), Padded::new());
        document.1.set(DOCUMENT.as_bytes());
        document.0.run(&Program::any(), &Captures::new(&pointers).expect("pointers"), &document.1).expect("JSON");
        let mut bytes = Vec::new();
        let mut message = MessageWriter::new(&mut bytes, &[0x1f; 16], 9);
        message.type_(b"kind").field_integer("i", "", 3).field_double("d", "", 0.5).field_bool("yes", true);
        message.field_string("text", b"words").field_bytes("raw", "", b"\xff").field_bytes("doc", "json", b"{}");
        let message = MessageRef::parse(&bytes).expect("a message");
        let mut builder = ColumnsBuilder::new(&[ColumnRequest { path: path.to_owned(), kind, shape, required }]);
        plan.fill_row(&message, &document, &mut builder, &mut FillScratch::default())?;
        Ok(builder.take())
    }

    fn integers(columns: &Columns) -> Vec<i64> {
        columns.int64s.chunks(8).map(|cell| i64::from_le_bytes(cell.try_into().expect("8 bytes"))).collect()
    }

    #[test]
    fn values_of_the_columns_kind_are_cells_and_others_null() {
        let text = |path: &str, kind, expected: Option<&[u8]>| {
            let columns = column(path, kind, One, false).expect("not required");
            let found = (columns.bits == [1]).then_some(&columns.arena[..]);
            assert_eq!(found, expected, "{path} as {kind:?}");
        };
        text("/t", Text, Some("a\u{e9}\n".as_bytes()));
        text("/t", Json, Some(br#""a\u00e9\n""#));
        text("/n", Text, None);
        text("/n", Bytes, Some(b"-7"));
        text("/null", Json, None);
        text("/nowhere", Json, None);
        text("", Json, Some(DOCUMENT.as_bytes()));
        text("Type", Text, Some(b"kind"));
        text("Logger", Text, None);
        text("Uuid", Bytes, Some(&[0x1f; 16]));
        text("Uuid", Text, Some(b"1f1f1f1f-1f1f-1f1f-1f1f-1f1f1f1f1f1f"));
        text("Fields[text]", Text, Some(b"words"));
        text("Fields[raw]", Text, None);
        text("Fields[raw]", Bytes, Some(b"\xff"));
        text("Fields[doc]", Json, Some(b"{}"));
        text("Fields[text]", Json, None);
        text("Fields[i]", Text, None);
        let number = |path: &str, expected: Option<i64>| {
            let columns = column(path, Int64, One, false).expect("not required");
            assert_eq!((columns.bits == [1]).then(|| integers(&columns)[0]), expected, "{path}");
        };
        number("/n", Some(-7));
        number("/r", None);
        number("/t", None);
        number("Timestamp", Some(9));
        number("Severity", Some(7));
        number("Pid", None);
        number("Fields[i]", Some(3));
        number("Fields[d]", None);
        let float = |path| column(path, Float64, One, false).expect("not required").float64s;
        assert_eq!((float("/r"), float("Fields[i]")), (1.5f64.to_le_bytes().to_vec(), 3f64.to_le_bytes().to_vec()));
        let bits = |path| column(path, Boolean, One, false).expect("not required").bits;
        assert_eq!((bits("/b"), bits("/n"), bits("Fields[yes]")), (vec![1, 1], vec![0, 0], vec![1, 1]));
    }

    #[test]
    fn arrays_and_objects_are_runs() {
        let run = |path, shape| {
            let columns = column(path, Int64, shape, false).expect("not required");
            let cells = u32::from_le_bytes(columns.spans[4..8].try_into().expect("4 bytes"));
            assert_eq!(integers(&columns).len(), cells as usize);
            (integers(&columns), columns.arena.clone(), columns.bits == [1])
        };
        assert_eq!(run("/l", Many), (vec![1, 0, 0, 4], vec![], true));
        assert_eq!(run("/l/*", Many), (vec![1, 0, 0, 4], vec![], true));
        assert_eq!(run("/*/x", Many), (vec![2], vec![], true));
        assert_eq!(run("/o", Entries), (vec![0, 2], b"yx".to_vec(), true));
        assert_eq!(run("/o", Many), (vec![], vec![], false), "an object is no array");
        assert_eq!(run("/l", Entries), (vec![], vec![], false), "an array is no object");
        assert_eq!(run("/nowhere/*", Many), (vec![], vec![], false));
    }

    #[test]
    fn rows_without_a_required_value_are_abandoned() {
        assert_eq!(column("/nowhere", Int64, One, true), Err(MissingColumn(0)));
        assert_eq!(column("/r", Int64, One, true), Err(MissingColumn(0)), "a fraction");
        assert!(column("/n", Int64, One, true).is_ok());
    }

    #[test]
    fn columns_that_cannot_be_filled_are_refused() {
        let check = |path: &str, kind, shape, text: &str| {
            let refused = ColumnPlan::new(&[ColumnRequest { path: path.to_owned(), kind, shape, required: false }]);
            assert_eq!(refused.map(drop).map_err(|error| error.to_string()), Err(text.to_owned()));
        };
        check("Time", Int64, One, "column \"Time\" is neither a header (such as Timestamp), a field (Fields[name]) nor a JSON pointer");
        check("Type", Text, Many, "column \"Type\": the shapes many and entries need a JSON pointer");
        check("", Text, One, "column \"\": the whole document is of kind json and shape one");
    }
}
