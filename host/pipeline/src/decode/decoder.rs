//! The decoder: from raw records to the records of a step, without a bus.

use super::{
    body::BodyOpener,
    check::{Checker, SchemaNumber, SetNumber},
    documents::Documents,
    duplicates::Duplicates,
    failure::{ErrorType, Failure},
    known::Known,
    plugin::{BatchHead, DeployError, DeployReason, LoadedDecoder},
    settings::DecodeSettings,
    uri::Uri,
    write::{Head, Origin, RecordWriter, ValidDocument},
};
use crate::{columns::FillScratch, geo::CityDatabase};
use std::{
    collections::BTreeMap,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};
use tidemill_bus::{FetchedBatch, RecordRef, Step};
use tidemill_json::Member;
use tidemill_message::MessageRef;

/// Plugins one bit each says which of them want a message.
const PLUGINS_MAX: usize = 64;

/// Nothing of the rows may be published: the step is half written.
#[derive(Debug, thiserror::Error)]
#[error("decoding failed: {0}")]
pub struct Aborted(
    /// What happened.
    pub String,
);

/// A configuration that no decoder can be made of.
#[derive(Debug, thiserror::Error)]
pub enum DecoderError {
    /// A plugin cannot be deployed.
    #[error(transparent)]
    Plugin(#[from] DeployError),
    /// Too many plugins.
    #[error("{0} decoder plugins are configured; there may be {PLUGINS_MAX}")]
    TooMany(usize),
    /// The JSON pointers of all plugins together.
    #[error("the JSON pointers of the decoder plugins and of versions: {0}")]
    Pointers(#[from] tidemill_json::PointerError),
}

/// Decodes raw records. Owned by one thread; all memory is reused from message to message.
///
/// What it writes depends on the records and the settings alone: doing it again makes the same records.
pub struct Decoder {
    incarnation: Arc<str>,
    city: Option<Arc<CityDatabase>>,
    opener: BodyOpener,
    checker: Checker,
    plugins: Vec<LoadedDecoder>,
    writer: RecordWriter,
    pending: Pending,
    pending_bytes_max: usize,
    /// The edge's newest time in each partition, ns.
    newest_ns: BTreeMap<u32, i64>,
    /// What a test makes the decoder panic on.
    #[cfg(test)]
    pub(super) panic_on: Option<&'static [u8]>,
}

/// Rows that wait for a plugin's answer, and those behind them, because records keep their order.
#[derive(Default)]
struct Pending {
    rows: Vec<PendingRow>,
    documents: Documents,
    members: Vec<Member>,
    /// The messages that plugins see, one behind the other.
    seen: Vec<u8>,
    fill: FillScratch,
}

struct PendingRow {
    /// The row's place among the records.
    record: usize,
    outcome: Outcome,
}

enum Outcome {
    Refused(Box<Failure>),
    Valid(PendingDocument),
}

struct PendingDocument {
    document: usize,
    schema: SchemaNumber,
    members: Range<usize>,
    seen: Range<usize>,
    /// How many bytes of what plugins see begin the validated message.
    head_bytes: usize,
    set: SetNumber,
}

/// The records of the rows that are decoded together.
struct Rows<'a> {
    batch: &'a FetchedBatch,
    records: Vec<(i64, RecordRef<'a>)>,
}

impl<'a> Rows<'a> {
    fn origin(&self, at: usize) -> Origin<'a> {
        let (offset, record) = self.records[at];
        Origin { partition: &self.batch.partition, offset, record: Some(record) }
    }
}

/// A document that was opened and checked, and is in its place among the pending ones.
struct Checked {
    schema: SchemaNumber,
    set: SetNumber,
    /// The plugins that want it, a bit each.
    plugins: u64,
    seen: Range<usize>,
    head_bytes: usize,
}

impl Decoder {
    /// Loads the plugins and makes a decoder.
    ///
    /// # Errors
    /// Where a plugin cannot be deployed or the plugins together ask for too much.
    pub fn new(settings: &DecodeSettings) -> Result<Self, DecoderError> {
        if settings.plugins.len() > PLUGINS_MAX {
            return Err(DecoderError::TooMany(settings.plugins.len()));
        }
        let plugins = settings.plugins.iter().cloned().map(load).collect::<Result<Vec<_>, _>>()?;
        let pointers = plugins.iter().map(|plugin| plugin.columns().pointers().to_vec()).collect();
        Ok(Self {
            incarnation: Arc::clone(&settings.topics.raw_incarnation),
            city: settings.city.clone(),
            opener: BodyOpener::new(settings.limits.document_bytes_max),
            checker: Checker::new(Arc::clone(&settings.registry), settings.version_pointers.clone(), pointers)?,
            plugins,
            writer: RecordWriter::new(settings),
            pending: Pending::default(),
            pending_bytes_max: settings.limits.pending_bytes_max,
            newest_ns: BTreeMap::new(),
            #[cfg(test)]
            panic_on: None,
        })
    }

    /// The topic was made anew: what is decoded from now on comes from another one.
    pub fn set_incarnation(&mut self, incarnation: &Arc<str>) {
        self.incarnation = Arc::clone(incarnation);
        self.writer.set_incarnation(incarnation);
        self.duplicates().set_incarnation(incarnation);
    }

    /// The incarnation of the topic that it decodes.
    pub fn incarnation(&self) -> Arc<str> {
        Arc::clone(&self.incarnation)
    }

    /// What was seen already; nothing, unless a worker says so.
    pub fn duplicates(&mut self) -> &mut Duplicates {
        self.writer.duplicates()
    }

    /// Decodes all records of a batch into `step`: each becomes one record of `validated` or `errors`, in order.
    ///
    /// # Errors
    /// Where the code panicked or the batch is damaged: nothing of `step` may be published.
    pub fn decode_batch(&mut self, batch: &FetchedBatch, step: &mut Step) -> Result<(), Aborted> {
        self.decode_rows(batch, 0..batch.offsets.len(), step)
    }

    /// As [`Self::decode_batch`], for some of its rows.
    ///
    /// # Errors
    /// As there.
    pub fn decode_rows(&mut self, batch: &FetchedBatch, rows: Range<usize>, step: &mut Step) -> Result<(), Aborted> {
        let records: Vec<_> = batch.iter().skip(rows.start).take(rows.len()).collect();
        if records.len() != rows.len() {
            return Err(Aborted(format!("the batch has {} records less than offsets", rows.len() - records.len())));
        }
        let rows = Rows { batch, records };
        let seen_before = self.duplicates().mark(batch.partition.partition);
        let decoded = catch_unwind(AssertUnwindSafe(|| self.decode_all(&rows, step)));
        decoded.map_err(|panic| {
            self.reset();
            self.duplicates().roll_back(seen_before);
            Aborted(panic_text(&*panic))
        })
    }

    /// Writes the error record of a row that is not to be decoded.
    pub fn refuse_row(&mut self, batch: &FetchedBatch, row: usize, failure: &Failure, step: &mut Step) {
        let record = batch.iter().nth(row).map(|(_, record)| record);
        let origin = Origin { partition: &batch.partition, offset: batch.offsets[row], record };
        let city = self.city.clone();
        // Reading the message is part of what may have failed.
        let known = catch_unwind(AssertUnwindSafe(|| {
            let message = record.and_then(|record| MessageRef::parse(record.value).ok());
            message.map(|message| Known::new(message, city.as_deref()))
        }));
        self.writer.write_error(step, origin, known.ok().flatten().as_ref(), failure);
    }

    /// Forgets what a panic may have left half done.
    fn reset(&mut self) {
        self.checker.reset();
        self.pending = Pending::default();
        self.plugins.iter_mut().for_each(LoadedDecoder::clear);
    }

    fn decode_all(&mut self, rows: &Rows<'_>, step: &mut Step) {
        let city = self.city.clone();
        for at in 0..rows.records.len() {
            self.take_in(rows, at, city.as_deref(), step);
            if self.pending.documents.bytes() >= self.pending_bytes_max || self.plugins.iter().any(LoadedDecoder::is_full) {
                self.flush(rows, step);
            }
        }
        self.flush(rows, step);
    }

    /// Decodes a message as far as plugins are not needed.
    fn take_in(&mut self, rows: &Rows<'_>, at: usize, city: Option<&CityDatabase>, step: &mut Step) {
        let origin = rows.origin(at);
        let message = match MessageRef::parse(rows.records[at].1.value) {
            Ok(message) => message,
            Err(error) => {
                let failure = Failure::new(ErrorType::Internal, format!("the record is not a Heka message: {error}"));
                return self.refuse(step, origin, at, None, failure);
            }
        };
        let newest = self.newest_ns.entry(origin.partition.partition).or_insert(i64::MIN);
        *newest = (*newest).max(message.timestamp());
        let known = Known::new(message, city);
        let checked = known.uri.map_err(Failure::from).and_then(|uri| Ok((uri, self.open_and_check(&known, &uri)?)));
        match checked {
            Ok((uri, checked)) if checked.plugins == 0 && self.pending.rows.is_empty() => {
                self.write_at_once(step, origin, &known, &uri, &checked);
            }
            Ok((_, checked)) => self.wait(at, checked),
            Err(failure) => self.refuse(step, origin, at, Some(&known), failure),
        }
    }

    fn refuse(&mut self, step: &mut Step, origin: Origin<'_>, at: usize, known: Option<&Known<'_>>, failure: Failure) {
        if self.pending.rows.is_empty() {
            self.writer.write_error(step, origin, known, &failure);
        } else {
            self.pending.rows.push(PendingRow { record: at, outcome: Outcome::Refused(Box::new(failure)) });
        }
    }

    fn open_and_check(&mut self, known: &Known<'_>, uri: &Uri<'_>) -> Result<Checked, Failure> {
        let start = self.pending.seen.len();
        let (plugins, head_bytes) = self.select(known, uri);
        let document = self.pending.documents.next();
        let checked = self.opener.open(known.body(), document).and_then(|()| {
            #[cfg(test)]
            assert_ne!(Some(&document[..]), self.panic_on, "as the test wants");
            let set = self.checker.captures_for(uri, plugins)?;
            Ok((self.checker.check(uri, set, document)?, set))
        });
        match checked {
            Ok((schema, set)) => Ok(Checked { schema, set, plugins, seen: start..self.pending.seen.len(), head_bytes }),
            Err(failure) => {
                self.pending.seen.truncate(start);
                Err(failure)
            }
        }
    }

    /// Which plugins want a message, and how many bytes of what they see of it, which this writes, begin the validated message.
    fn select(&mut self, known: &Known<'_>, uri: &Uri<'_>) -> (u64, usize) {
        if self.plugins.is_empty() && self.pending.rows.is_empty() {
            return (0, 0);
        }
        let seen = &mut self.pending.seen;
        let start = seen.len();
        let mut writer = known.begin_validated(uri, seen);
        let head_end = writer.end();
        known.write_request_fields(&mut writer);
        let Ok(message) = MessageRef::parse(&seen[start..]) else { return (0, 0) };
        let wanted = self.plugins.iter().enumerate().filter(|(_, plugin)| plugin.selects(&message));
        let plugins = wanted.fold(0, |bits, (at, _)| bits | 1 << at);
        (plugins, head_end - start)
    }

    fn write_at_once(&mut self, step: &mut Step, origin: Origin<'_>, known: &Known<'_>, uri: &Uri<'_>, checked: &Checked) {
        let Self { writer, checker, pending, .. } = self;
        let valid = ValidDocument {
            head: Head::Known(known, uri),
            document: pending.documents.get(pending.documents.next_number()),
            members: checker.members(),
            schema: checker.schema(checked.schema),
            plugins: &[],
            row: 0,
        };
        if let Err(failure) = writer.write_validated(step, origin, &valid) {
            writer.write_error(step, origin, Some(known), &failure);
        }
        pending.seen.clear();
    }

    /// Lets a checked document wait for the plugins that want it, or for the rows before it.
    fn wait(&mut self, at: usize, checked: Checked) {
        let Self { checker, plugins, pending, .. } = self;
        let Pending { rows, documents, members, seen: all_seen, fill } = pending;
        let Checked { schema, set, plugins: wanted, seen, head_bytes } = checked;
        let row = rows.len() as u32;
        let document = documents.keep();
        let first_member = members.len();
        members.extend_from_slice(checker.members());
        // The host wrote it.
        if let Ok(message) = MessageRef::parse(&all_seen[seen.clone()]) {
            for (number, plugin) in plugins.iter_mut().enumerate().filter(|(number, _)| wanted & 1 << number != 0) {
                plugin.add(row, &message, &checker.captured(set, number, documents.get(document)), fill);
            }
        }
        let members = first_member..members.len();
        rows.push(PendingRow { record: at, outcome: Outcome::Valid(PendingDocument { document, schema, members, seen, head_bytes, set }) });
    }

    /// Calls the plugins for what waits, and writes it.
    fn flush(&mut self, rows: &Rows<'_>, step: &mut Step) {
        if self.pending.rows.is_empty() {
            return;
        }
        self.call_plugins(rows.batch.partition.partition);
        let city = self.city.clone();
        let Self { writer, checker, plugins, pending, .. } = self;
        for (number, row) in (0..).zip(&pending.rows) {
            let origin = rows.origin(row.record);
            let failure = match &row.outcome {
                Outcome::Refused(failure) => Err((**failure).clone()),
                Outcome::Valid(document) => match pending.valid(document, checker, plugins, number) {
                    Some(valid) => writer.write_validated(step, origin, &valid),
                    None => Err(Failure::new(ErrorType::Internal, "the message that plugins see could not be read again")),
                },
            };
            if let Err(failure) = failure {
                let message = MessageRef::parse(rows.records[row.record].1.value).ok();
                let known = message.map(|message| Known::new(message, city.as_deref()));
                writer.write_error(step, origin, known.as_ref(), &failure);
            }
        }
        self.pending.clear();
        self.plugins.iter_mut().for_each(LoadedDecoder::clear);
        self.checker.trim();
    }

    fn call_plugins(&mut self, partition: u32) {
        let newest_ns = self.newest_ns.get(&partition).copied().unwrap_or(0);
        let head = BatchHead { partition, now_ms: newest_ns.div_euclid(1_000_000) };
        let Self { checker, plugins, pending, .. } = self;
        let Pending { rows, documents, members: _, seen, fill } = pending;
        for (number, plugin) in plugins.iter_mut().enumerate() {
            plugin.decode(head, &mut |row, columns, builder| {
                let Some(Outcome::Valid(waiting)) = rows.get(row as usize).map(|row| &row.outcome) else { return };
                let document = documents.get(waiting.document);
                let Ok(message) = MessageRef::parse(&seen[waiting.seen.clone()]) else { return };
                if checker.capture_again(waiting.set, document) {
                    // No required column is null: the row was filled before.
                    let _ = columns.fill_row(&message, &checker.captured(waiting.set, number, document), builder, fill);
                }
            });
        }
    }
}

impl Pending {
    fn valid<'p>(
        &'p self,
        waiting: &'p PendingDocument,
        checker: &'p Checker,
        plugins: &'p [LoadedDecoder],
        row: u32,
    ) -> Option<ValidDocument<'p>> {
        let PendingDocument { document, schema, members, seen, head_bytes, set: _ } = waiting;
        Some(ValidDocument {
            head: Head::Seen(MessageRef::parse(&self.seen[seen.clone()]).ok()?, *head_bytes),
            document: self.documents.get(*document),
            members: &self.members[members.clone()],
            schema: checker.schema(*schema),
            plugins,
            row,
        })
    }

    fn clear(&mut self) {
        let Self { rows, documents, members, seen, fill: _ } = self;
        rows.clear();
        documents.clear();
        members.clear();
        seen.clear();
    }
}

fn load(plugin: super::plugin::DecoderPlugin) -> Result<LoadedDecoder, DeployError> {
    let name = plugin.plugin.name().to_owned();
    let loaded = LoadedDecoder::load(plugin)?;
    // Tells a wrong pointer by the plugin that has it.
    let pointers: Vec<_> = loaded.columns().pointers().iter().map(String::as_str).collect();
    match tidemill_json::Captures::new(&pointers) {
        Ok(_) => Ok(loaded),
        Err(error) => Err(DeployError { name, reason: DeployReason::Pointer(error) }),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without text".to_owned())
}
