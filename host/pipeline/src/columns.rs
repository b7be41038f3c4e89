//! Fills column batches from headers, fields and JSON values.
//!
//! A [`ColumnPlan`] is made once from what a plugin asks for; [`ColumnPlan::fill_row`] then appends a row of a message. Where the
//! document's values come from differs between the stages ([`Document`]): captured in the pass that validated it, or found in the
//! fields that a decoder moved sections to.

use tidemill_json::value;
use tidemill_message::{FieldRef, MessageRef};
use tidemill_runtime::{ColumnKind, ColumnRequest, ColumnsBuilder, Shape};

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
}

/// Memory that filling reuses.
#[derive(Debug, Default)]
pub struct FillScratch {
    text: Vec<u8>,
    key: Vec<u8>,
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
        for (at, column) in self.columns.iter().enumerate() {
            match &column.source {
                ColumnSource::Header(header) => fill_header(builder, at, column.kind, *header, message, scratch),
                ColumnSource::Field(name) => fill_field(builder, at, column.kind, message.field(name).as_ref()),
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
    match header {
        Header::Timestamp => fill_integer(builder, at, kind, Some(message.timestamp())),
        Header::Severity => fill_integer(builder, at, kind, Some(i64::from(message.severity()))),
        Header::Pid => fill_integer(builder, at, kind, message.pid().map(i64::from)),
        Header::Uuid if kind == ColumnKind::Text => {
            scratch.text.clear();
            write_uuid(message.uuid(), &mut scratch.text);
            builder.bytes(at, Some(&scratch.text));
        }
        Header::Uuid => fill_bytes(builder, at, kind, Some(message.uuid())),
        Header::Type => fill_bytes(builder, at, kind, message.type_()),
        Header::Logger => fill_bytes(builder, at, kind, message.logger()),
        Header::Hostname => fill_bytes(builder, at, kind, message.hostname()),
        Header::Payload => fill_bytes(builder, at, kind, message.payload()),
        Header::EnvVersion => fill_bytes(builder, at, kind, message.env_version()),
    }
}

fn fill_integer(builder: &mut ColumnsBuilder, at: usize, kind: ColumnKind, value: Option<i64>) {
    match kind {
        ColumnKind::Int64 => builder.int64(at, value),
        ColumnKind::Float64 => builder.float64(at, value.map(|value| value as f64)),
        _ => {}
    }
}

fn fill_bytes(builder: &mut ColumnsBuilder, at: usize, kind: ColumnKind, value: Option<&[u8]>) {
    if matches!(kind, ColumnKind::Text | ColumnKind::Bytes) {
        builder.bytes(at, value);
    }
}

/// Fills a cell from a field's first value; json only from a field whose representation says so.
fn fill_field(builder: &mut ColumnsBuilder, at: usize, kind: ColumnKind, field: Option<&FieldRef<'_>>) {
    let Some(field) = field else { return };
    match kind {
        ColumnKind::Int64 => builder.int64(at, field.integer()),
        ColumnKind::Float64 => builder.float64(at, field.double()),
        ColumnKind::Boolean => builder.boolean(at, field.boolean()),
        ColumnKind::Text | ColumnKind::Bytes => builder.bytes(at, field.bytes()),
        ColumnKind::Json => builder.bytes(at, field.bytes().filter(|_| field.representation == b"json")),
    }
}

/// Fills a cell, of a row or of a run, from a JSON value; a value of another kind than the column's is null.
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
