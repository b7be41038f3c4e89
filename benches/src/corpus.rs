//! Raw messages in memory, as the decode stage fetches them.
//!
//! Main pings come from `../shared/bench/gen.py` where that is, and are kept in `target/corpus`; elsewhere pings of the project's own
//! `telemetry/usage` stand in for them ([`own`]), under another corpus name.

mod own;
mod small;

pub use small::Small;

use crate::{harness::skip, paths};
use anyhow::{Context, ensure};
use bytes::Bytes;
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};
use tidemill_bus::{FetchedBatch, RecordBuf, TopicPartition};
use tidemill_message::{MessageRef, MessageWriter, framing::FrameReader};
use tidemill_schema::{Registry, Schema};

/// Main pings of the corpus.
const PINGS: usize = 20_000;
/// Pings of the corpus of which one in ten is faulty.
const DIRTY_PINGS: usize = 4_000;
/// What one fetch from the bus returns.
const BATCH_BYTES: usize = 1 << 20;
const MESSAGE_BYTES_MAX: usize = 10 << 20;
/// Addresses of the GeoIP test database: four places and one that is unknown.
const ADDRESSES: [&str; 5] = ["216.160.83.56", "2.125.160.216", "81.2.69.142", "89.160.20.112", "192.0.2.7"];

/// Raw messages with what is needed to decode them.
pub struct Corpus {
    /// Its name in the table.
    pub name: &'static str,
    /// The records of one partition; offsets count from 0.
    pub batches: Vec<FetchedBatch>,
    /// The body of each.
    pub bodies: Vec<Bytes>,
    /// The schemas.
    pub registry: Arc<Registry>,
    /// The folder that they were read from.
    pub schemas: PathBuf,
    /// The schema that the valid ones have.
    pub schema: Arc<Schema>,
}

impl Corpus {
    /// Valid main pings.
    ///
    /// # Errors
    /// They cannot be made or read.
    pub fn pings() -> anyhow::Result<Self> {
        match generated("pings", PINGS)? {
            Some(folder) => main_pings("main-pings", messages_of(&folder.join("main_pings.raw.gz.hpb"))?),
            None => own_pings("own-usage-pings", own::messages(PINGS)?),
        }
    }

    /// Pings of the project's own, as few as a test needs.
    #[cfg(test)]
    pub fn own(count: usize) -> anyhow::Result<Self> {
        own_pings("own-usage-pings", own::messages(count)?)
    }

    /// Main pings of which one in ten is faulty, and what each is: `ok`, `duplicate`, or its fault.
    ///
    /// # Errors
    /// They cannot be made or read.
    pub fn dirty() -> anyhow::Result<(Self, Vec<String>)> {
        let Some(folder) = generated("dirty", DIRTY_PINGS)? else {
            return skip("there is no ../shared/bench/gen.py, which makes faulty pings");
        };
        let expected = std::fs::read_to_string(folder.join("dirty.expect.ndjson")).context("dirty.expect.ndjson")?;
        let expected = expected.lines().map(expectation).collect::<anyhow::Result<Vec<_>>>()?;
        let corpus = main_pings("main-pings-dirty", messages_of(&folder.join("dirty.raw.gz.hpb"))?)?;
        ensure!(expected.len() == corpus.len(), "{} expectations of {} pings", expected.len(), corpus.len());
        Ok((corpus, expected))
    }

    /// The messages that `keep` wants by number, as a corpus of their own.
    pub fn only(&self, name: &'static str, keep: impl Fn(usize) -> bool) -> Self {
        let values = self.batches.iter().flat_map(FetchedBatch::iter).map(|(_, record)| record.value.to_vec());
        let kept: Vec<_> = values.enumerate().filter(|(number, _)| keep(*number)).map(|(_, value)| value).collect();
        Self::new(name, &kept, (self.schemas.clone(), Arc::clone(&self.registry)), Arc::clone(&self.schema))
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.bodies.len()
    }

    fn new(name: &'static str, messages: &[Vec<u8>], (schemas, registry): (PathBuf, Arc<Registry>), schema: Arc<Schema>) -> Self {
        let batches = batches_of(messages);
        let bodies = batches.iter().flat_map(|batch| batch.iter().map(|(_, record)| body(&batch.bytes, record.value))).collect();
        Self { name, batches, bodies, registry, schemas, schema }
    }
}

fn main_pings(name: &'static str, messages: Vec<Vec<u8>>) -> anyhow::Result<Corpus> {
    let schemas = paths::shared("data/pipeline-schemas/schemas").context("no ../shared/data/pipeline-schemas/schemas")?;
    load(name, &messages, schemas, ("telemetry", "main", 4))
}

fn own_pings(name: &'static str, messages: Vec<Vec<u8>>) -> anyhow::Result<Corpus> {
    load(name, &messages, paths::root().join("schemas"), ("telemetry", "usage", 4))
}

fn load(name: &'static str, messages: &[Vec<u8>], schemas: PathBuf, schema: (&str, &str, u32)) -> anyhow::Result<Corpus> {
    let (registry, _) = Registry::load(std::slice::from_ref(&schemas))?;
    let (namespace, doctype, version) = schema;
    let schema = Arc::clone(registry.find(namespace, doctype, version).context("the corpus' schema is missing")?);
    Ok(Corpus::new(name, messages, (schemas, Arc::new(registry)), schema))
}

/// The folder of a generated corpus, made where it is missing; `None` without the generator.
fn generated(what: &str, count: usize) -> anyhow::Result<Option<PathBuf>> {
    let Some(generator) = paths::shared("bench/gen.py") else { return Ok(None) };
    let folder = paths::target().join("corpus").join(what);
    if folder.exists() {
        return Ok(Some(folder));
    }
    let part = folder.with_extension("part");
    std::fs::create_dir_all(&part).with_context(|| part.display().to_string())?;
    eprintln!("making {count} {what}: under a minute, once");
    let schemas = paths::shared("data/pipeline-schemas").context("no ../shared/data/pipeline-schemas")?;
    let mut command = Command::new("python3");
    command.arg(generator).arg(what).args(["-n", &count.to_string(), "--seed", "1", "--schemas"]).arg(schemas);
    let status = command.arg("--out").arg(&part).stdout(Stdio::null()).status().context("python3")?;
    ensure!(status.success(), "gen.py {what}: {status}");
    std::fs::rename(&part, &folder).context("keeping the corpus")?;
    Ok(Some(folder))
}

fn expectation(line: &str) -> anyhow::Result<String> {
    let line: serde_json::Value = serde_json::from_str(line).context("dirty.expect.ndjson")?;
    Ok(line["expect"].as_str().context("a line without expect")?.to_owned())
}

/// The messages of a framed stream, as the edge would have made them.
fn messages_of(path: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut messages = Vec::new();
    each_frame(path, &mut |message| {
        messages.push(as_received(&MessageRef::parse(message)?, messages.len()));
        Ok(())
    })?;
    Ok(messages)
}

/// Each message of a framed stream.
fn each_frame(path: &Path, act: &mut dyn FnMut(&[u8]) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let stream = std::fs::read(path).with_context(|| path.display().to_string())?;
    let mut reader = FrameReader::new(MESSAGE_BYTES_MAX);
    let mut rest = &stream[..];
    while !rest.is_empty() {
        rest = &rest[reader.push(rest)..];
        while let Some(message) = reader.next_frame() {
            act(message)?;
        }
    }
    ensure!(reader.discarded() == 0, "{}: {} bytes belong to no frame", path.display(), reader.discarded());
    Ok(())
}

/// The message without the place that the generator gave it and with an address instead, so that the place must be looked up.
fn as_received(message: &MessageRef<'_>, number: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.raw().len() + 64);
    let mut writer = MessageWriter::new(&mut out, message.uuid(), message.timestamp());
    writer.type_(b"raw").logger(b"moz_ingest").hostname(message.hostname().unwrap_or_default());
    for field in message.fields() {
        match field.name {
            b"geoCountry" | b"geoCity" => {}
            b"remote_addr" => drop(writer.field_string("remote_addr", ADDRESSES[number % ADDRESSES.len()].as_bytes())),
            _ => drop(writer.field_raw(field.raw())),
        }
    }
    out
}

fn batches_of(messages: &[Vec<u8>]) -> Vec<FetchedBatch> {
    let partition = TopicPartition { topic: "raw".into(), partition: 0 };
    let (mut batches, mut records, mut offsets) = (Vec::new(), RecordBuf::default(), Vec::new());
    for (offset, message) in (0..).zip(messages) {
        // The value of the key does not matter to the stage.
        records.push(0, b"", &[("tm-v", b"1")], message);
        offsets.push(offset);
        if records.bytes().len() >= BATCH_BYTES || offset as usize + 1 == messages.len() {
            let bytes = std::mem::take(&mut records).into_bytes();
            batches.push(FetchedBatch { partition: partition.clone(), offsets: std::mem::take(&mut offsets), bytes });
        }
    }
    batches
}

/// `Fields[content]`; empty where there is none.
fn body(batch: &Bytes, message: &[u8]) -> Bytes {
    let message = MessageRef::parse(message).ok();
    let content = message.and_then(|message| message.field("content")).and_then(|field| field.bytes());
    content.map(|content| batch.slice_ref(content)).unwrap_or_default()
}
