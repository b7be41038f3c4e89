//! A bus, schemas and a lake in a temporary folder, and buses and files that fail on demand.

use arrow_array::{RecordBatch, cast::AsArray};
use deltalake_core::{DeltaTable, DeltaTableBuilder};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tidemill_bus::embedded::{EmbeddedBus, EmbeddedOptions};
use tidemill_bus::*;
use tidemill_lake::{LakeError, LakeHandle, LakeLimits, LakeOptions, LakeStage};
use tidemill_message::MessageWriter;
use tidemill_schema::Registry;

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The time of the first message, 2018-11-01.
pub const TIME_NS: i64 = 1_541_030_400_123_456_789;

/// Everything a lake needs.
pub struct World {
    folder: tempfile::TempDir,
    pub bus: Arc<dyn Bus>,
}

impl World {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let bus = EmbeddedBus::open(EmbeddedOptions::new(folder.path().join("log"))).expect("a bus");
        let topic = |name: &str| TopicSpec { name: name.into(), partitions: 2, compacted: false, compression: Compression::Zstd(1) };
        bus.ensure_topics(&[topic("validated"), topic("errors")]).expect("topics");
        let world = Self { folder, bus: Arc::new(bus) };
        world.schema(json!({"n": {"type": "integer"}, "o": {"type": "object", "properties": {"text": {"type": "string"}}}}));
        world
    }

    /// The schema of `shop/order/1` has these properties from now on.
    pub fn schema(&self, properties: Value) {
        let folder = self.folder.path().join("schemas/shop/order");
        std::fs::create_dir_all(&folder).expect("a folder");
        let schema = json!({"$schema": "http://json-schema.org/draft-04/schema#", "type": "object", "properties": properties});
        std::fs::write(folder.join("order.1.schema.json"), schema.to_string()).expect("a schema");
    }

    pub fn lake_folder(&self) -> PathBuf {
        self.folder.path().join("lake")
    }

    pub fn table_folder(&self, table: &str) -> PathBuf {
        self.lake_folder().join(table)
    }

    pub fn start(&self) -> LakeHandle {
        self.start_with(Arc::clone(&self.bus), Duration::from_millis(50), Arc::new(SystemFiles), LakeLimits::default())
    }

    pub fn start_with(&self, bus: Arc<dyn Bus>, commit_interval: Duration, files: Arc<dyn Files>, limits: LakeLimits) -> LakeHandle {
        let url = url::Url::from_directory_path(self.lake_folder()).expect("a URL");
        LakeStage::start_with(self.options(bus, commit_interval, files, url), limits).expect("a lake")
    }

    /// A lake at another place.
    pub fn start_at(&self, url: &str) -> Result<LakeHandle, LakeError> {
        let url = url::Url::parse(url).expect("a URL");
        LakeStage::start(self.options(Arc::clone(&self.bus), Duration::from_millis(50), Arc::new(SystemFiles), url))
    }

    fn options(&self, bus: Arc<dyn Bus>, commit_interval: Duration, files: Arc<dyn Files>, url: url::Url) -> LakeOptions {
        let (registry, _) = Registry::load(&[self.folder.path().join("schemas")]).expect("schemas");
        let clock = Arc::new(SystemClock::default());
        LakeOptions {
            bus,
            registry: Arc::new(registry),
            url,
            commit_interval,
            commit_bytes: 128 << 20,
            clock,
            files,
            on_lost: OnLost::Continue,
        }
    }

    /// Publishes bytes that are no message.
    pub fn garbage(&self, topic: &str, value: &[u8]) {
        let mut records = RecordBuf::default();
        records.push(0, b"", &[], value);
        self.publish(topic, 0, records);
    }

    /// Publishes documents of `shop/order/1` made of raw offsets `from`.., one each; the document id is `id-OFFSET`.
    pub fn orders(&self, from: i64, documents: &[&str]) {
        for partition in 0..2 {
            let mut records = RecordBuf::default();
            for (offset, document) in (from..).zip(documents).filter(|(offset, _)| offset % 2 == i64::from(partition)) {
                let headers: [(&str, &[u8]); 2] = [("tm-src", &source(offset)), ("tm-schema", b"shop/order/1#00000000000000ab")];
                records.push_with(0, b"", &headers, |out| order(out, offset, document));
            }
            self.publish("validated", partition, records);
        }
    }

    /// Publishes records of `errors` of this Type.
    pub fn errors(&self, from: i64, count: i64, type_: &str) {
        let mut records = RecordBuf::default();
        for offset in from..from + count {
            records.push_with(0, b"", &[("tm-src", &source(offset))], |out| error(out, offset, type_));
        }
        self.publish("errors", 1, records);
    }

    fn publish(&self, topic: &str, partition: u32, records: RecordBuf) {
        if records.is_empty() {
            return;
        }
        let (sender, receiver) = mpsc::channel();
        self.bus.publish(topic, partition, records, Box::new(move |done| drop(sender.send(done))));
        receiver.recv_timeout(PATIENCE).expect("an answer").expect("published");
    }

    /// What group `lake` has not read durably yet.
    pub fn lag(&self) -> i64 {
        let positions = self.bus.group_positions().expect("positions");
        let position = |topic: &str, partition: u32| {
            let found =
                positions.iter().find(|at| &*at.group == "lake" && &*at.partition.topic == topic && at.partition.partition == partition);
            found.map_or(0, |at| at.position)
        };
        let topics = self.bus.topics().expect("topics");
        let of_topic =
            |topic: &TopicInfo| (0..).zip(&topic.partitions).map(|(number, range)| range.end - position(&topic.name, number)).sum::<i64>();
        topics.iter().map(of_topic).sum()
    }

    pub fn table(&self, table: &str) -> DeltaTable {
        let url = url::Url::from_directory_path(self.table_folder(table)).expect("a URL");
        let load = DeltaTableBuilder::from_url(url).expect("a builder").load();
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime").block_on(load).expect("a table")
    }

    /// The files of the table, read by the parquet crate.
    pub fn batches(&self, table: &str) -> Vec<RecordBatch> {
        let found = self.table(table);
        let files: Vec<_> = found.snapshot().expect("a snapshot").log_data().iter().map(|file| file.path().to_string()).collect();
        files.iter().flat_map(|path| read(&self.table_folder(table).join(path))).collect()
    }

    /// The document ids of the table, sorted.
    pub fn ids(&self, table: &str) -> Vec<String> {
        let mut ids = Vec::new();
        for batch in self.batches(table) {
            ids.extend(batch.column_by_name("document_id").expect("ids").as_string::<i32>().iter().flatten().map(str::to_owned));
        }
        ids.sort();
        ids
    }

    /// Asserts that the table has the documents of these raw offsets, each once.
    pub fn assert_ids(&self, table: &str, offsets: std::ops::Range<i64>) {
        let mut expected: Vec<String> = offsets.map(|offset| format!("id-{offset}")).collect();
        expected.sort();
        assert_eq!(self.ids(table), expected);
    }
}

fn read(path: &Path) -> Vec<RecordBatch> {
    let file = std::fs::File::open(path).expect("a file");
    ParquetRecordBatchReaderBuilder::try_new(file)
        .expect("Parquet")
        .build()
        .expect("a reader")
        .map(|batch| batch.expect("a batch"))
        .collect()
}

fn source(offset: i64) -> Vec<u8> {
    format!("decode/0/raw1/{}/{offset}/0", offset % 2).into_bytes()
}

fn order(out: &mut Vec<u8>, offset: i64, document: &str) {
    let mut writer = MessageWriter::new(out, &[1; 16], TIME_NS + offset * 1_000_000_000);
    writer.type_(b"validated").logger(b"shop");
    writer.field_string("documentId", format!("id-{offset}").as_bytes());
    writer.field_string("docType", b"order").field_integer("docVersion", "", 1).field_string("geoCountry", b"NZ");
    writer.field_bytes("submission", "json", document.as_bytes());
}

fn error(out: &mut Vec<u8>, offset: i64, type_: &str) {
    let mut writer = MessageWriter::new(out, &[2; 16], TIME_NS);
    writer.type_(type_.as_bytes()).logger(b"shop");
    writer.field_string("documentId", format!("id-{offset}").as_bytes()).field_bytes("content", "", b"\x1f\x8b\xff");
    writer.field_string("DecodeErrorType", b"schema").field_string("DecodeError", b"not valid").field_string("source", b"raw/0/1");
}

/// Waits until it is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A bus whose members never move a position: as if the process were killed between every commit and the step behind it.
pub struct Forgetful {
    pub bus: Arc<dyn Bus>,
    /// The group that is joined in place of the one asked for.
    pub group: &'static str,
    /// Set: its members say that a topic was made anew. Cleared when they were asked.
    pub is_anew: Arc<AtomicBool>,
}

impl Forgetful {
    pub fn of(bus: &Arc<dyn Bus>, group: &'static str) -> Self {
        Self { bus: Arc::clone(bus), group, is_anew: Arc::default() }
    }
}

struct ForgetfulMember(Box<dyn Member>, Arc<AtomicBool>);

impl Bus for Forgetful {
    fn kind(&self) -> &'static str {
        self.bus.kind()
    }
    fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), BusError> {
        self.bus.ensure_topics(topics)
    }
    fn partitions(&self, topic: &str) -> Result<u32, BusError> {
        self.bus.partitions(topic)
    }
    fn incarnation(&self, topic: &str) -> Result<Arc<str>, BusError> {
        self.bus.incarnation(topic)
    }
    fn publish(&self, topic: &str, partition: u32, records: RecordBuf, ack: Ack) {
        self.bus.publish(topic, partition, records, ack);
    }
    fn join(&self, _group: &str, topics: &[&str]) -> Result<Box<dyn Member>, BusError> {
        Ok(Box::new(ForgetfulMember(self.bus.join(self.group, topics)?, Arc::clone(&self.is_anew))))
    }
    fn reader(&self, partition: &TopicPartition, start: Start) -> Result<Box<dyn Reader>, BusError> {
        self.bus.reader(partition, start)
    }
    fn topics(&self) -> Result<Vec<TopicInfo>, BusError> {
        self.bus.topics()
    }
    fn group_positions(&self) -> Result<Vec<GroupPosition>, BusError> {
        self.bus.group_positions()
    }
    fn health(&self) -> Result<(), BusError> {
        self.bus.health()
    }
}

impl Member for ForgetfulMember {
    fn poll(&mut self, wait: Duration) -> Result<Event, BusError> {
        self.0.poll(wait)
    }
    fn commit(&mut self, _step: Step) -> Result<(), BusError> {
        Err(BusError::Unavailable("killed before the step".to_owned()))
    }
    fn is_current(&mut self) -> Result<bool, BusError> {
        Ok(!self.1.swap(false, Ordering::Relaxed))
    }
    fn checkpoint(&mut self, key: &str) -> Result<Option<bytes::Bytes>, BusError> {
        self.0.checkpoint(key)
    }
    fn seek(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), BusError> {
        self.0.seek(partition, offset)
    }
    fn pause(&mut self, partition: &TopicPartition, paused: bool) -> Result<(), BusError> {
        self.0.pause(partition, paused)
    }
}

/// Files of which those with this ending cannot be opened while the switch is on.
#[derive(Debug)]
pub struct FailingFiles {
    pub ending: &'static str,
    pub is_failing: AtomicBool,
}

impl FailingFiles {
    pub fn of(ending: &'static str) -> Arc<Self> {
        Arc::new(Self { ending, is_failing: AtomicBool::new(true) })
    }
}

impl Files for FailingFiles {
    fn open(&self, path: &Path, create: bool) -> std::io::Result<Box<dyn File>> {
        if self.is_failing.load(Ordering::Relaxed) && path.to_string_lossy().ends_with(self.ending) {
            return Err(std::io::Error::other("the disk is out of order"));
        }
        SystemFiles.open(path, create)
    }
    fn create_dir_all(&self, path: &Path) -> std::io::Result<()> {
        SystemFiles.create_dir_all(path)
    }
    fn list(&self, path: &Path) -> std::io::Result<Vec<PathBuf>> {
        SystemFiles.list(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        SystemFiles.rename(from, to)
    }
    fn remove(&self, path: &Path) -> std::io::Result<()> {
        SystemFiles.remove(path)
    }
    fn sync_dir(&self, path: &Path) -> std::io::Result<()> {
        SystemFiles.sync_dir(path)
    }
    fn free_bytes(&self, path: &Path) -> std::io::Result<u64> {
        SystemFiles.free_bytes(path)
    }
}
