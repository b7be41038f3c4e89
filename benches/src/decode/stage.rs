//! The stage's core: fuel and limits on, GeoIP and the decoder plugin of the namespace, no bus, no compression.

use crate::{harness::Pinned, paths};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tidemill_bus::{FetchedBatch, RecordRef, Step, TopicPartition};
use tidemill_pipeline::{
    decode::{DecodeLimits, DecodeSettings, DecodeTopics, Decoder, DecoderPlugin, StepLimits, VersionPointers},
    geo::CityDatabase,
    status::LiveState,
};
use tidemill_runtime::Limits;
use tidemill_schema::Registry;
use xxhash_rust::xxh3::Xxh3;

/// The plugin that decodes documents of the namespace `telemetry`.
const PLUGIN: &str = "plugins/moz-telemetry";

/// Partitions of the topics that are written.
pub const PARTITIONS: u32 = 4;

/// A decoder, and the step that it fills as a worker does: until it is full.
pub struct Stage {
    decoder: Decoder,
}

/// A run.
pub struct Ran {
    /// Of decoding alone.
    pub time: Duration,
    /// Of all records that came out, in order.
    pub digest: u64,
}

impl Stage {
    /// Loads the plugin.
    ///
    /// # Errors
    /// The plugin is not built.
    pub fn new(registry: &Arc<Registry>) -> anyhow::Result<Self> {
        // What compiling and first calls leave behind belongs to no core in particular.
        let _pinned = Pinned::new()?;
        Ok(Self { decoder: Decoder::new(&settings(registry)?)? })
    }

    /// Decodes all batches.
    ///
    /// # Errors
    /// The decoder gave up.
    pub fn run(&mut self, batches: &[FetchedBatch]) -> anyhow::Result<Ran> {
        let mut digest = Digest::default();
        let time = self.decode(batches, |step| step.publish.iter().for_each(|(to, records)| digest.add(to, records.bytes())))?;
        Ok(Ran { time, digest: digest.finish() })
    }

    /// Decodes all batches and shows each full step; the time is that of decoding alone.
    ///
    /// # Errors
    /// The decoder gave up.
    pub fn decode(&mut self, batches: &[FetchedBatch], mut seen: impl FnMut(&Step)) -> anyhow::Result<Duration> {
        let step_bytes_max = StepLimits::default().step_bytes_max;
        let (mut step, mut time) = (Step::default(), Duration::ZERO);
        for (number, batch) in (1..).zip(batches) {
            let began = Instant::now();
            self.decoder.decode_batch(batch, &mut step)?;
            time += began.elapsed();
            if step.bytes() >= step_bytes_max || number == batches.len() {
                seen(&step);
                step = Step::default();
            }
        }
        Ok(time)
    }
}

/// A hash of the records of each partition, in their order, however they are cut into steps or batches.
#[derive(Default)]
pub struct Digest {
    partitions: BTreeMap<TopicPartition, Xxh3>,
}

impl Digest {
    /// Adds encoded records to those of their partition.
    pub fn add(&mut self, to: &TopicPartition, records: &[u8]) {
        if !self.partitions.contains_key(to) {
            self.partitions.insert(to.clone(), Xxh3::new());
        }
        if let Some(partition) = self.partitions.get_mut(to) {
            partition.update(records);
        }
    }

    /// The hash of all.
    pub fn finish(&self) -> u64 {
        let mut all = Xxh3::new();
        for (to, records) in &self.partitions {
            all.update(to.topic.as_bytes());
            all.update(&to.partition.to_le_bytes());
            all.update(&records.digest().to_le_bytes());
        }
        all.digest()
    }
}

/// A number for a record, wherever it came from: of its partition, time, key, headers and bytes, but `tm-src` and `tm-epoch`. The sum
/// of those of many, which has no order, says what was made of messages that lay in other places and other logs.
pub fn number_of(to: &TopicPartition, record: &RecordRef<'_>) -> u64 {
    let mut hash = Xxh3::new();
    let headers = record.headers().filter(|(name, _)| !matches!(*name, b"tm-src" | b"tm-epoch"));
    let parts = headers.flat_map(|(name, value)| [name, value]).chain([to.topic.as_bytes(), record.key, record.value]);
    for part in parts {
        hash.update(&part.len().to_le_bytes());
        hash.update(part);
    }
    hash.update(&to.partition.to_le_bytes());
    hash.update(&record.timestamp_ms.to_le_bytes());
    hash.digest()
}

/// What the benches' decoders are made of.
///
/// # Errors
/// The plugin is not built.
pub fn settings(registry: &Arc<Registry>) -> anyhow::Result<DecodeSettings> {
    let city = paths::shared("data/geoip/GeoIP2-City-Test.mmdb");
    Ok(DecodeSettings {
        registry: Arc::clone(registry),
        city: city.map(|path| open(&path)).transpose()?,
        version_pointers: VersionPointers::default(),
        plugins: vec![plugin()?],
        limits: DecodeLimits::default(),
        topics: DecodeTopics { raw_incarnation: "bench".into(), validated_partitions: PARTITIONS, errors_partitions: PARTITIONS },
        generation: 0,
        epoch: 1,
    })
}

fn open(path: &Path) -> anyhow::Result<Arc<CityDatabase>> {
    Ok(Arc::new(CityDatabase::open(path)?))
}

fn plugin() -> anyhow::Result<DecoderPlugin> {
    let plugin = paths::plugin(PLUGIN)?;
    let status = LiveState::default().plugin(plugin.name(), "decoder", plugin.version());
    Ok(DecoderPlugin { plugin, config: "{}".to_owned(), limits: Limits::default(), matcher: None, status })
}
