//! Rows under construction: from a message to the columns of its table.

use crate::builder::{Numbers, Structs, Texts};
use crate::document::assemble;
use crate::extras::Extras;
use crate::layout::{ERROR_TEXTS, Layout, METADATA, timestamp_type};
use crate::walk::put_document;
use arrow_array::{ArrayRef, RecordBatch, types};
use arrow_schema::ArrowError;
use std::sync::Arc;
use tidemill_message::{MessageRef, Value};

/// Rows are encoded when this much was put into them: 4 MiB, so that most of it is still in the processor's cache, and far from the
/// 2 GiB that offsets of 32 bits allow (a record is at most 10 MiB, and no byte of it is kept more than twice).
pub const CHUNK_BYTES: usize = 4 << 20;

/// Numbered like [`crate::layout::LEADING_COLUMNS`], without those that are no text.
const LEADING_TEXTS: [TextOf; 7] = [
    TextOf::Field("documentId"),
    TextOf::Logger,
    TextOf::Field("docType"),
    TextOf::Field("normalizedChannel"),
    TextOf::Field("normalizedAppName"),
    TextOf::Field("normalizedOs"),
    TextOf::Field("normalizedCountryCode"),
];
const METADATA_FIELDS: [&str; 13] = [
    "geoCountry",
    "geoCity",
    "geoSubdivision1",
    "geoSubdivision2",
    "Date",
    "DNT",
    "Host",
    "X-PingSender-Version",
    "appBuildId",
    "appName",
    "appUpdateChannel",
    "appVersion",
    "uri",
];
const ERROR_FIELDS: [TextOf; 7] = [
    TextOf::Logger,
    TextOf::Field("docType"),
    TextOf::Field("DecodeErrorType"),
    TextOf::Field("DecodeError"),
    TextOf::Field("DecodeErrorDetail"),
    TextOf::Field("source"),
    TextOf::Field("plugin"),
];
const _: () = assert!(ERROR_FIELDS.len() == ERROR_TEXTS.len());

#[derive(Clone, Copy)]
enum TextOf {
    Field(&'static str),
    Logger,
}

impl TextOf {
    fn of<'a>(self, message: &MessageRef<'a>) -> Option<&'a [u8]> {
        match self {
            Self::Field(name) => message.field(name)?.bytes(),
            Self::Logger => message.logger(),
        }
    }
}

/// The first field of each name that a leading column is made of: one walk over the fields instead of one for each column.
struct Found<'a>([Option<Option<&'a [u8]>>; FIELDS]);

const FIELDS: usize = 19;

impl<'a> Found<'a> {
    fn of(message: &MessageRef<'a>) -> Self {
        let mut found = [None; FIELDS];
        for field in message.fields() {
            if let Some(slot) = slot_of(field.name) {
                found[slot].get_or_insert_with(|| field.bytes());
            }
        }
        Self(found)
    }

    fn text(&self, of: TextOf, message: &MessageRef<'a>) -> Option<&'a [u8]> {
        match of {
            TextOf::Field(name) => slot_of(name.as_bytes()).and_then(|slot| self.0[slot]).flatten(),
            TextOf::Logger => message.logger(),
        }
    }
}

fn slot_of(name: &[u8]) -> Option<usize> {
    Some(match name {
        b"documentId" => 0,
        b"docType" => 1,
        b"normalizedChannel" => 2,
        b"normalizedAppName" => 3,
        b"normalizedOs" => 4,
        b"normalizedCountryCode" => 5,
        b"geoCountry" => 6,
        b"geoCity" => 7,
        b"geoSubdivision1" => 8,
        b"geoSubdivision2" => 9,
        b"Date" => 10,
        b"DNT" => 11,
        b"Host" => 12,
        b"X-PingSender-Version" => 13,
        b"appBuildId" => 14,
        b"appName" => 15,
        b"appUpdateChannel" => 16,
        b"appVersion" => 17,
        b"uri" => 18,
        _ => return None,
    })
}

/// What is known of a chunk of rows.
#[derive(Clone, Copy, Debug, Default)]
pub struct RowStats {
    /// How many rows.
    pub rows: u64,
    /// The least `submission_timestamp` in microseconds.
    pub min_us: Option<i64>,
    /// The greatest.
    pub max_us: Option<i64>,
}

impl RowStats {
    /// Counts one more row.
    fn count(&mut self, us: i64) {
        self.add(&Self { rows: 1, min_us: Some(us), max_us: Some(us) });
    }

    /// Counts the rows of both.
    pub fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.min_us = self.min_us.into_iter().chain(other.min_us).min();
        self.max_us = self.max_us.into_iter().chain(other.max_us).max();
    }
}

/// Rows under construction, of documents or of errors.
#[derive(Debug)]
pub struct Rows {
    layout: Arc<Layout>,
    identity: Identity,
    kind: Kind,
    stats: RowStats,
    bytes: usize,
    row_bytes: usize,
}

#[derive(Debug)]
enum Kind {
    Documents(Box<Documents>),
    Errors(Box<Errors>),
}

/// The columns that both kinds of tables have.
#[derive(Debug)]
struct Identity {
    timestamp: Numbers<i64>,
}

#[derive(Debug)]
struct Documents {
    leading: Vec<Texts>,
    sample_id: Numbers<i32>,
    metadata: Vec<Texts>,
    columns: Structs,
    additional: Texts,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Errors {
    document_id: Texts,
    texts: Vec<Texts>,
    payload: Texts,
}

impl Rows {
    /// For rows of documents.
    pub fn documents(layout: Arc<Layout>) -> Self {
        let documents = Documents {
            leading: LEADING_TEXTS.iter().map(|_| Texts::new()).collect(),
            sample_id: Numbers::new(),
            metadata: METADATA_FIELDS.iter().map(|_| Texts::new()).collect(),
            columns: Structs::new(&layout.columns),
            additional: Texts::new(),
            buffer: Vec::new(),
        };
        Self::new(layout, Kind::Documents(Box::new(documents)))
    }

    /// For rows of the errors table.
    pub fn errors(layout: Arc<Layout>) -> Self {
        let texts = ERROR_FIELDS.iter().map(|_| Texts::new()).collect();
        Self::new(layout, Kind::Errors(Box::new(Errors { document_id: Texts::new(), texts, payload: Texts::new() })))
    }

    fn new(layout: Arc<Layout>, kind: Kind) -> Self {
        // A null costs five bytes at most in most columns; most of them are null.
        let row_bytes = 200 + 5 * layout.leaves();
        Self { layout, identity: Identity { timestamp: Numbers::new() }, kind, stats: RowStats::default(), bytes: 0, row_bytes }
    }

    /// Puts a message in; returns how many of its values did not fit their columns and were kept in `additional_properties`.
    pub fn push(&mut self, message: &MessageRef<'_>) -> u64 {
        let us = message.timestamp().div_euclid(1_000);
        self.identity.timestamp.push(Some(us));
        self.stats.count(us);
        self.bytes += message.raw().len() + self.row_bytes;
        match &mut self.kind {
            Kind::Documents(documents) => documents.push(message),
            Kind::Errors(errors) => errors.push(message),
        }
    }

    /// What is in.
    pub fn stats(&self) -> RowStats {
        self.stats
    }

    /// About how much memory the rows take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The rows as a batch; none are in then.
    ///
    /// # Errors
    /// Where the arrays do not make the layout's schema, which would be a mistake of this program.
    pub fn take(&mut self) -> Result<RecordBatch, ArrowError> {
        let rows = self.stats.rows as usize;
        (self.stats, self.bytes) = (RowStats::default(), 0);
        let timestamp = self.identity.timestamp.finish::<types::TimestampMicrosecondType>().with_data_type(timestamp_type());
        let arrays = match &mut self.kind {
            Kind::Documents(documents) => documents.take(rows, Arc::new(timestamp))?,
            Kind::Errors(errors) => errors.take(Arc::new(timestamp))?,
        };
        RecordBatch::try_new(Arc::clone(&self.layout.arrow), arrays)
    }
}

/// Text that is not UTF-8 is repaired: it never stops a row.
fn push_text(texts: &mut Texts, text: Option<&[u8]>) {
    match text.map(|text| (text, std::str::from_utf8(text).is_ok())) {
        Some((text, false)) => texts.push(Some(String::from_utf8_lossy(text).as_bytes())),
        Some((text, true)) => texts.push(Some(text)),
        None => texts.push(None),
    }
}

fn sample_id(message: &MessageRef<'_>) -> Option<i32> {
    match message.field("sampleId")?.values().next()? {
        Value::Integer(id) => i32::try_from(id).ok(),
        Value::Double(id) => Some(id as i32).filter(|whole| f64::from(*whole) == id),
        _ => None,
    }
}

impl Documents {
    fn push(&mut self, message: &MessageRef<'_>) -> u64 {
        let Self { leading, sample_id: sample_ids, metadata, columns, additional, buffer } = self;
        let found = Found::of(message);
        for (texts, of) in leading.iter_mut().zip(LEADING_TEXTS) {
            push_text(texts, found.text(of, message));
        }
        sample_ids.push(sample_id(message));
        for (texts, name) in metadata.iter_mut().zip(METADATA_FIELDS) {
            push_text(texts, found.text(TextOf::Field(name), message));
        }
        let is_key = |name: &str| columns.knows(name.as_bytes());
        let document = assemble(message, is_key, buffer).filter(|document| simdutf8::basic::from_utf8(document).is_ok());
        let mut extras = Extras::default();
        match document {
            Some(document) => put_document(document, columns, &mut extras),
            None => columns.close(),
        }
        additional.push_with(|out| extras.write(out));
        extras.misfits()
    }

    fn take(&mut self, rows: usize, timestamp: ArrayRef) -> Result<Vec<ArrayRef>, ArrowError> {
        let mut arrays: Vec<ArrayRef> = Vec::new();
        for texts in &mut self.leading {
            arrays.push(Arc::new(texts.finish()?));
        }
        arrays.insert(1, timestamp);
        arrays.push(Arc::new(self.sample_id.finish::<types::Int32Type>()));
        arrays.push(metadata_array(&mut self.metadata)?);
        arrays.extend(self.columns.finish_children(rows)?);
        self.columns.reset();
        arrays.push(Arc::new(self.additional.finish()?));
        Ok(arrays)
    }
}

fn metadata_array(texts: &mut [Texts]) -> Result<ArrayRef, ArrowError> {
    let mut texts = texts.iter_mut();
    let mut parts = Vec::new();
    for (part, names) in METADATA {
        let arrays =
            texts.by_ref().take(names.len()).map(|texts| Ok(Arc::new(texts.finish()?) as ArrayRef)).collect::<Result<_, ArrowError>>()?;
        parts.push((part, struct_array(names, arrays)?));
    }
    let (names, arrays): (Vec<&str>, Vec<ArrayRef>) = parts.into_iter().unzip();
    struct_array(&names, arrays)
}

fn struct_array(names: &[&str], arrays: Vec<ArrayRef>) -> Result<ArrayRef, ArrowError> {
    let fields = names.iter().zip(&arrays).map(|(name, array)| arrow_schema::Field::new(*name, array.data_type().clone(), true)).collect();
    Ok(Arc::new(arrow_array::StructArray::try_new(fields, arrays, None)?))
}

impl Errors {
    fn push(&mut self, message: &MessageRef<'_>) -> u64 {
        push_text(&mut self.document_id, TextOf::Field("documentId").of(message));
        for (texts, of) in self.texts.iter_mut().zip(ERROR_FIELDS) {
            push_text(texts, of.of(message));
        }
        self.payload.push(TextOf::Field("content").of(message));
        0
    }

    fn take(&mut self, timestamp: ArrayRef) -> Result<Vec<ArrayRef>, ArrowError> {
        let mut arrays: Vec<ArrayRef> = vec![Arc::new(self.document_id.finish()?), timestamp];
        for texts in &mut self.texts {
            arrays.push(Arc::new(texts.finish()?));
        }
        arrays.push(Arc::new(self.payload.finish_binary()?));
        Ok(arrays)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_leading_field_has_a_place_of_its_own() {
        let leading = LEADING_TEXTS.iter().filter_map(|of| match of {
            TextOf::Field(name) => Some(*name),
            TextOf::Logger => None,
        });
        let slots: Vec<_> = leading.chain(METADATA_FIELDS).map(|name| slot_of(name.as_bytes())).collect();
        assert_eq!(slots, (0..FIELDS).map(Some).collect::<Vec<_>>());
        assert_eq!(slot_of(b"payload"), None);
    }
}
