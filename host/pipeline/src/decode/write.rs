//! Writes the records of `validated` and `errors`.

use super::{
    counters::Counters,
    duplicates::Duplicates,
    failure::{ErrorType, Failure, bounded},
    known::{Known, write_error_head_of_bytes},
    plugin::{LoadedDecoder, RowVerdict},
    sections::{Cut, SectionPlan},
    settings::{DecodeLimits, DecodeSettings},
    uri::Uri,
};
use crate::source::Source;
use std::sync::Arc;
use tidemill_bus::{RecordRef, Step, TopicPartition, partition_of};
use tidemill_dedupe::Verdict;
use tidemill_json::{Member, index};
use tidemill_message::{MessageRef, MessageWriter};
use tidemill_runtime::{Cell, Decoded, Field};
use tidemill_schema::{Registry, Schema};

/// The producer's name in `tm-src`.
pub const PRODUCER: &str = "decode";
/// Bytes of a record beside the raw message, the document and long texts: headers, the index (4,096 members) and the host's fields,
/// whose values are parts of the path.
const RECORD_MARGIN_BYTES: usize = 96 << 10;
/// What a field costs beside its name, representation and value.
const FIELD_MARGIN_BYTES: usize = 32;
/// Pieces of a document that are put together on the stack; a plan that makes more costs an allocation.
const PIECES: usize = 64;

/// Where a record comes from.
#[derive(Clone, Copy)]
pub struct Origin<'a> {
    /// The raw partition.
    pub partition: &'a TopicPartition,
    /// The raw offset.
    pub offset: i64,
    /// The raw record; `None` where it was damaged.
    pub record: Option<RecordRef<'a>>,
}

impl Origin<'_> {
    fn raw_bytes(&self) -> usize {
        self.record.map_or(0, |record| record.value.len())
    }
}

/// How a validated message begins: with what the host knows of it.
pub enum Head<'a> {
    /// Written from what is known.
    Known(&'a Known<'a>, &'a Uri<'a>),
    /// Copied from what decoder plugins saw: so many bytes of it.
    Seen(MessageRef<'a>, usize),
}

/// A valid document and what belongs to it.
pub struct ValidDocument<'a> {
    /// How the message begins.
    pub head: Head<'a>,
    /// The document.
    pub document: &'a [u8],
    /// Its members at depth 1 and 2.
    pub members: &'a [Member],
    /// Its schema.
    pub schema: &'a Schema,
    /// The plugins, and the pending row they gave verdicts on.
    pub plugins: &'a [LoadedDecoder],
    /// The pending row.
    pub row: u32,
}

/// Writes records; its memory is reused.
pub struct RecordWriter {
    validated: Vec<TopicPartition>,
    errors: Vec<TopicPartition>,
    registry: Arc<Registry>,
    incarnation: Arc<str>,
    generation: u64,
    epoch: String,
    limits: DecodeLimits,
    counters: Counters,
    key: Vec<u8>,
    source: Vec<u8>,
    index: Vec<u8>,
    cut: Cut,
    members_left: Vec<Member>,
    duplicates: Duplicates,
}

impl RecordWriter {
    /// A writer for these topics.
    pub fn new(settings: &DecodeSettings) -> Self {
        let topics = &settings.topics;
        Self {
            validated: partitions("validated", topics.validated_partitions),
            errors: partitions("errors", topics.errors_partitions),
            registry: Arc::clone(&settings.registry),
            incarnation: Arc::clone(&topics.raw_incarnation),
            generation: settings.generation,
            epoch: settings.epoch.to_string(),
            limits: settings.limits.clone(),
            counters: Counters::new(),
            key: Vec::new(),
            source: Vec::new(),
            index: Vec::new(),
            cut: Cut::default(),
            members_left: Vec::new(),
            duplicates: Duplicates::default(),
        }
    }

    /// What was seen already.
    pub fn duplicates(&mut self) -> &mut Duplicates {
        &mut self.duplicates
    }

    /// Writes the validated message of a document, with what the plugins said of it; where it was seen before, that it was, or nothing.
    ///
    /// # Errors
    /// The first failure of a plugin; `too_large` where the message is too large for a record. Nothing is written then.
    pub fn write_validated(&mut self, step: &mut Step, origin: Origin<'_>, valid: &ValidDocument<'_>) -> Result<(), Failure> {
        valid.refusal().map_or(Ok(()), Err)?;
        self.check_size(valid)?;
        let head = valid.message();
        self.key.clear();
        valid.head.write_key(&mut self.key);
        self.set_source(origin);
        match self.look_up(origin, valid, head.uuid()) {
            (Verdict::New, _) => {}
            (Verdict::Redelivered, _) => {
                self.counters.redelivered(origin.raw_bytes());
                return Ok(());
            }
            (Verdict::Duplicate { .. }, _) if self.is_redelivered(origin, head.uuid()) => return Ok(()),
            (Verdict::Duplicate { intervals }, interval_s) => {
                self.write_duplicate(step, origin, valid, intervals, interval_s);
                return Ok(());
            }
        }
        let plan = valid.section_plan();
        let rest_bytes = self.cut_document(plan, valid);
        let left = if plan.is_some() { &self.members_left } else { valid.members };
        self.index.clear();
        // The index needs no more of the document than its length.
        let has_index = index::encode(left, &valid.document[..rest_bytes], &mut self.index);
        let headers: [(&str, &[u8]); 5] = [
            ("tm-v", b"1"),
            ("tm-src", &self.source),
            ("tm-epoch", self.epoch.as_bytes()),
            ("tm-schema", valid.schema.header()),
            ("tm-idx", &self.index),
        ];
        let headers = &headers[..if has_index { 5 } else { 4 }];
        let to = &self.validated[partition_of(&self.key, self.validated.len() as u32) as usize];
        let cut = plan.map(|plan| (plan, &self.cut));
        step.records(to).push_with(timestamp_ms(head.timestamp()), &self.key, headers, |out| valid.write(out, cut));
        self.counters.validated(origin.raw_bytes(), valid.document.len());
        Ok(())
    }

    fn look_up(&mut self, origin: Origin<'_>, valid: &ValidDocument<'_>, uuid: &[u8; 16]) -> (Verdict, i64) {
        let partition = origin.partition.partition;
        self.duplicates.observe(partition, valid.message().timestamp());
        self.duplicates.check(partition, (&valid.schema.namespace, &valid.schema.doctype, &self.key), uuid)
    }

    /// Whether a message left its record in `errors` before; then it is counted.
    fn is_redelivered(&mut self, origin: Origin<'_>, uuid: &[u8; 16]) -> bool {
        let Some(RecordRef { value: raw, .. }) = origin.record else { return false };
        let is_redelivered = self.duplicates.is_redelivered(origin.partition.partition, raw, uuid);
        if is_redelivered {
            self.counters.redelivered(origin.raw_bytes());
        }
        is_redelivered
    }

    /// Writes what is known of a document that was seen `intervals` of `interval_s` seconds ago; key and source are set.
    fn write_duplicate(&mut self, step: &mut Step, origin: Origin<'_>, valid: &ValidDocument<'_>, intervals: u32, interval_s: i64) {
        let unit = if interval_s % 60 == 0 { format!("{}m", interval_s / 60) } else { format!("{interval_s}s") };
        let headers: [(&str, &[u8]); 3] = [("tm-v", b"1"), ("tm-src", &self.source), ("tm-epoch", self.epoch.as_bytes())];
        let to = &self.errors[partition_of(&self.key, self.errors.len() as u32) as usize];
        step.records(to).push_with(timestamp_ms(valid.message().timestamp()), &self.key, &headers, |out| {
            let mut writer = valid.write_metadata(b"duplicate", out);
            writer.field_integer("duplicateDelta", &unit, i64::from(intervals));
            writer.field_string("source", source_text(origin).as_bytes());
        });
        self.counters.duplicate(origin.raw_bytes());
    }

    fn check_size(&self, valid: &ValidDocument<'_>) -> Result<(), Failure> {
        let bytes = valid.bytes_at_most();
        if bytes <= self.limits.record_bytes_max {
            return Ok(());
        }
        let text = format!("the validated message may be {bytes} bytes, a record {}", self.limits.record_bytes_max);
        Err(Failure::new(ErrorType::TooLarge, text))
    }

    /// Cuts the sections out; returns the bytes of what is left.
    fn cut_document(&mut self, plan: Option<&SectionPlan>, valid: &ValidDocument<'_>) -> usize {
        let Some(plan) = plan else { return valid.document.len() };
        self.cut.make(plan, valid.members, valid.document);
        self.cut.members_left(valid.members, &mut self.members_left);
        self.cut.rest(valid.document).map(<[u8]>::len).sum()
    }

    /// The topic was made anew.
    pub fn set_incarnation(&mut self, incarnation: &Arc<str>) {
        self.incarnation = Arc::clone(incarnation);
    }

    fn set_source(&mut self, origin: Origin<'_>) {
        self.source.clear();
        let source = Source {
            producer: PRODUCER,
            generation: self.generation,
            incarnation: &self.incarnation,
            partition: origin.partition.partition,
            offset: origin.offset,
            n: 0,
        };
        source.write_into(&mut self.source);
    }

    /// Writes the error record of a message, once for a message that is delivered twice. What is known of it is worked out anew; bytes that are no message are kept as
    /// `content`, with a Uuid made from the record's source and the record's own time.
    pub fn write_error(&mut self, step: &mut Step, origin: Origin<'_>, known: Option<&Known<'_>>, failure: &Failure) {
        self.set_source(origin);
        self.key.clear();
        if let Some(known) = known {
            self.duplicates.observe(origin.partition.partition, known.message.timestamp());
            if self.is_redelivered(origin, known.message.uuid()) {
                return;
            }
        }
        let raw = origin.record.map_or(&[][..], |record| record.value);
        let record_ms = origin.record.map_or(0, |record| record.timestamp_ms);
        let uuid = uuid_of(&self.source);
        let timestamp = known.map_or(record_ms.saturating_mul(1_000_000), |known| known.message.timestamp());
        match known {
            Some(known) => known.write_key(&mut self.key),
            None => self.key.extend_from_slice(&uuid),
        }
        let headers: [(&str, &[u8]); 3] = [("tm-v", b"1"), ("tm-src", &self.source), ("tm-epoch", self.epoch.as_bytes())];
        let to = &self.errors[partition_of(&self.key, self.errors.len() as u32) as usize];
        // Which types are real bounds what readers may keep for each type: a path can name any.
        let doc_type_known = known.and_then(|known| known.uri.ok()).map(|uri| self.registry.knows(uri.namespace, uri.doc_type));
        let fits = raw.len() + RECORD_MARGIN_BYTES + 2 * self.limits.error_detail_bytes_max <= self.limits.record_bytes_max;
        step.records(to).push_with(timestamp_ms(timestamp), &self.key, &headers, |out| {
            let mut writer = match known {
                Some(known) => known.begin_error(fits, out),
                None => write_error_head_of_bytes(&uuid, timestamp, if fits { raw } else { &[] }, out),
            };
            write_failure(&mut writer, origin, failure, &self.limits, fits);
            if let Some(is_known) = doc_type_known {
                writer.field_bool("docTypeKnown", is_known);
            }
        });
        self.counters.refused(failure.kind, origin.raw_bytes());
    }
}

fn partitions(topic: &str, count: u32) -> Vec<TopicPartition> {
    let topic: Arc<str> = topic.into();
    (0..count.max(1)).map(|partition| TopicPartition { topic: Arc::clone(&topic), partition }).collect()
}

fn timestamp_ms(timestamp_ns: i64) -> i64 {
    timestamp_ns.div_euclid(1_000_000)
}

/// The Uuid (of version 8) of a record that has none: equal for equal sources, so that doing it again makes the same record.
fn uuid_of(source: &[u8]) -> [u8; 16] {
    let hash = xxhash_rust::xxh3::xxh3_128(source).to_be_bytes();
    uuid::Builder::from_custom_bytes(hash).into_uuid().into_bytes()
}

fn source_text(origin: Origin<'_>) -> String {
    let TopicPartition { topic, partition } = origin.partition;
    format!("{topic}/{partition}/{}", origin.offset)
}

fn write_failure(writer: &mut MessageWriter<'_>, origin: Origin<'_>, failure: &Failure, limits: &DecodeLimits, has_content: bool) {
    let Failure { kind, text, detail, plugin } = failure;
    writer.field_string("DecodeErrorType", kind.as_str().as_bytes());
    writer.field_string("DecodeError", bounded(text, limits.error_text_bytes_max).as_bytes());
    if !has_content {
        writer.field_string("DecodeErrorDetail", b"the raw message has no room beside its error; it is at `source`");
    } else if !detail.is_empty() {
        writer.field_string("DecodeErrorDetail", bounded(detail, limits.error_detail_bytes_max).as_bytes());
    }
    writer.field_string("source", source_text(origin).as_bytes());
    if let Some(plugin) = plugin {
        writer.field_string("plugin", plugin.name.as_bytes());
        writer.field_string("plugin_version", plugin.version.as_bytes());
        if let Some(fuel) = plugin.fuel {
            writer.field_integer("fuel", "", i64::try_from(fuel).unwrap_or(i64::MAX));
        }
        if !plugin.backtrace.is_empty() {
            writer.field_string("backtrace", bounded(&plugin.backtrace, limits.error_detail_bytes_max).as_bytes());
        }
    }
}

impl Head<'_> {
    fn begin<'v>(&self, out: &'v mut Vec<u8>) -> MessageWriter<'v> {
        match self {
            Self::Known(known, uri) => known.begin_validated(uri, out),
            Self::Seen(seen, bytes) => {
                out.extend_from_slice(&seen.raw()[..*bytes]);
                MessageWriter::append(out)
            }
        }
    }

    /// The same under another Type.
    fn begin_as<'v>(&self, type_: &[u8], out: &'v mut Vec<u8>) -> MessageWriter<'v> {
        match self {
            Self::Known(known, uri) => known.begin_valid(type_, uri, out),
            // The host wrote the front: it can be read.
            Self::Seen(seen, bytes) => copy_head(type_, &MessageRef::parse(&seen.raw()[..*bytes]).unwrap_or(*seen), out),
        }
    }

    /// Bytes of the message without the document, but for the host's own fields, which are within the margin.
    fn bytes_at_most(&self) -> usize {
        match self {
            Self::Known(known, _) => known.message.raw().len() - known.body().len(),
            Self::Seen(seen, _) => seen.raw().len(),
        }
    }

    fn write_key(&self, key: &mut Vec<u8>) {
        match self {
            Self::Known(known, _) => known.write_key(key),
            Self::Seen(seen, _) => {
                let id = seen.field("documentId").and_then(|field| field.bytes()).unwrap_or(seen.uuid());
                key.extend(id.iter().map(u8::to_ascii_lowercase));
            }
        }
    }
}

/// The same message, as far as it is there, under another Type.
fn copy_head<'v>(type_: &[u8], head: &MessageRef<'_>, out: &'v mut Vec<u8>) -> MessageWriter<'v> {
    let mut writer = MessageWriter::new(out, head.uuid(), head.timestamp());
    writer.type_(type_);
    if let Some(logger) = head.logger() {
        writer.logger(logger);
    }
    if let Some(env_version) = head.env_version() {
        writer.env_version(env_version);
    }
    if let Some(hostname) = head.hostname() {
        writer.hostname(hostname);
    }
    head.fields().for_each(|field| {
        writer.field_raw(field.raw());
    });
    writer
}

impl ValidDocument<'_> {
    fn message(&self) -> MessageRef<'_> {
        match &self.head {
            Head::Known(known, _) => known.message,
            Head::Seen(seen, _) => *seen,
        }
    }

    /// The plugins that answered for this row, with their answers and the row in them.
    fn answers(&self) -> impl Iterator<Item = (&LoadedDecoder, &Decoded, u32)> {
        self.plugins.iter().filter_map(|plugin| match plugin.verdict(self.row)? {
            RowVerdict::Decoded(answer, row) => Some((plugin, plugin.answer(*answer)?, *row)),
            RowVerdict::Refused(_) => None,
        })
    }

    /// The first plugin's failure.
    fn refusal(&self) -> Option<Failure> {
        self.plugins.iter().find_map(|plugin| match plugin.verdict(self.row)? {
            RowVerdict::Refused(failure) => Some((**failure).clone()),
            RowVerdict::Decoded(..) => None,
        })
    }

    /// The first plugin that chose a section plan decides.
    fn section_plan(&self) -> Option<&SectionPlan> {
        self.answers().find_map(|(plugin, answer, row)| plugin.sections(answer, row))
    }

    fn bytes_at_most(&self) -> usize {
        let cells = self.answers().flat_map(|(plugin, answer, row)| {
            let fields = plugin.fields().iter().enumerate();
            fields.map(move |(at, field)| field_bytes_at_most(field, answer.cell(at, row)))
        });
        let names = self.section_plan().map_or(&[][..], SectionPlan::names);
        let sections = names.iter().map(|name| name.len() + FIELD_MARGIN_BYTES);
        RECORD_MARGIN_BYTES + self.head.bytes_at_most() + self.document.len() + cells.sum::<usize>() + sections.sum::<usize>()
    }

    /// What is known of the document, without any part of it: of the plugins' fields those that are numbers, flags and texts.
    fn write_metadata<'v>(&self, type_: &[u8], out: &'v mut Vec<u8>) -> MessageWriter<'v> {
        let mut writer = self.head.begin_as(type_, out);
        for (plugin, answer, row) in self.answers() {
            for (at, field) in plugin.fields().iter().enumerate() {
                match answer.cell(at, row) {
                    Cell::Bytes(_) | Cell::Json(_) => {}
                    cell => write_cell(&mut writer, field, cell),
                }
            }
        }
        writer
    }

    fn write(&self, out: &mut Vec<u8>, cut: Option<(&SectionPlan, &Cut)>) {
        let mut writer = self.head.begin(out);
        for (plugin, answer, row) in self.answers() {
            for (at, field) in plugin.fields().iter().enumerate() {
                write_cell(&mut writer, field, answer.cell(at, row));
            }
        }
        let Some((plan, cut)) = cut else {
            writer.field_bytes("submission", "json", self.document);
            return;
        };
        for (name, span) in plan.names().iter().zip(&cut.moved) {
            if let Some(span) = span {
                writer.field_bytes(name, "json", span.of(self.document));
            }
        }
        write_rest(&mut writer, cut, self.document);
    }
}

fn write_rest(writer: &mut MessageWriter<'_>, cut: &Cut, document: &[u8]) {
    let mut pieces: [&[u8]; PIECES] = [&[]; PIECES];
    let mut count = 0;
    for piece in cut.rest(document) {
        if let Some(place) = pieces.get_mut(count) {
            *place = piece;
        }
        count += 1;
    }
    if count <= PIECES {
        writer.field_bytes_parts("submission", "json", &pieces[..count]);
    } else {
        writer.field_bytes_parts("submission", "json", &cut.rest(document).collect::<Vec<_>>());
    }
}

fn write_cell(writer: &mut MessageWriter<'_>, field: &Field, cell: Cell<'_>) {
    let Field { name, kind: _, representation } = field;
    match cell {
        Cell::Null => {}
        Cell::Int64(value) => drop(writer.field_integer(name, representation, value)),
        Cell::Float64(value) => drop(writer.field_double(name, representation, value)),
        Cell::Bool(value) => drop(writer.field_bool(name, value)),
        Cell::Text(text) => drop(writer.field_strings(name, representation, &[text.as_bytes()])),
        Cell::Bytes(bytes) => drop(writer.field_bytes(name, representation, bytes)),
        Cell::Json(json) => {
            let representation = if representation.is_empty() { "json" } else { representation };
            writer.field_bytes(name, representation, json);
        }
    }
}

fn field_bytes_at_most(field: &Field, cell: Cell<'_>) -> usize {
    let value = match cell {
        Cell::Text(text) => text.len(),
        Cell::Bytes(bytes) | Cell::Json(bytes) => bytes.len(),
        Cell::Null | Cell::Int64(_) | Cell::Float64(_) | Cell::Bool(_) => 0,
    };
    field.name.len() + field.representation.len() + value + FIELD_MARGIN_BYTES
}
